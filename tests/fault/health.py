#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""health, status and analyze against real local servers: good ones, slow ones, broken ones."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import xml.dom.minidom
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROUSE = os.path.abspath(os.environ.get("ROUSE", "build/rouse"))
LIMIT = 120  # seconds; no test comes near it unless something hangs
SECRET = "canary-5ecr3t"


class Handler(BaseHTTPRequestHandler):
    """/ok answers 200, /NNN answers NNN, /flaky fails once, /hang never answers."""

    def answer(self):
        length = int(self.headers.get("Content-Length", 0))
        path = self.path.split("?")[0].strip("/")
        self.server.seen.append((self.command, self.path, self.rfile.read(length)))
        if path == "hang":
            self.server.released.wait(LIMIT)
            return
        if path == "page":
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("X-Host", self.headers.get("Host", ""))
            self.send_header("X-Token", self.headers.get("X-Token", ""))
            self.send_header("Content-Length", "11")
            self.end_headers()
            self.wfile.write(b"all is well")
            return
        if path == "flaky":
            path = "503" if len(self.server.seen) == 1 else "ok"
        self.send_response(200 if path == "ok" else int(path))
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = answer

    def log_message(self, *args):
        pass


class Server:
    def __enter__(self):
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.handle_error = lambda *_: None  # a try that is over hangs up
        self.http.seen, self.http.released = [], threading.Event()
        self.seen, self.port = self.http.seen, self.http.server_port
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def __exit__(self, *args):
        self.http.released.set()
        self.http.shutdown()
        self.http.server_close()


class Machine:
    """A run directory as a boot leaves it."""

    def __init__(self, health=None, report=True, **more):
        self.top = tempfile.mkdtemp(prefix="rouse-health-")
        self.run = os.path.join(self.top, "run")
        os.mkdir(self.run)
        if health is not None:
            self.write("health.json", health)
        if report:
            self.write("report.json", dict({
                "rouse": 1, "version": "test", "verdict": "pending", "status": 0, "word": "ok",
                "reason": None, "since": 1, "instance": {"cloud": "ec2", "id": "i-0abc"},
                "document": {"sha256": "ab" * 32}, "counters": {"closure.bytes": 1000000},
                "phases": [{"name": "apply", "start": 1000, "end": 3000, "cpu": 200, "ok": True,
                            "steps": [{"module": "closure", "effect": "create", "what": "pull <1> path",
                                       "start": 1000, "end": 2000, "cpu": 100, "ok": True}]}],
                "checks": [], "signals": [], "peakRss": 100}, **more))

    def write(self, name, value):
        with open(os.path.join(self.run, name), "w", encoding="utf-8") as f:
            f.write(value if isinstance(value, str) else json.dumps(value))

    def read(self, name):
        with open(os.path.join(self.run, name), encoding="utf-8") as f:
            return json.load(f)

    def rouse(self, *args, prefix=()):
        return subprocess.run([*prefix, ROUSE, *args], stdin=subprocess.DEVNULL, timeout=LIMIT,
                              capture_output=True, text=True, check=False)

    def health(self, *args, prefix=()):
        return self.rouse("health", "--run", self.run, *args, prefix=prefix)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        shutil.rmtree(self.top)


def check(condition, *about):
    if not condition:
        raise AssertionError(*about)


REFUSING = socket.socket()
REFUSING.bind(("127.0.0.1", 0))  # nobody listens, and nobody else gets it meanwhile


def dead_port():
    return REFUSING.getsockname()[1]


def healthy_machine_is_ready():
    with Server() as s, Machine({"checks": {"web": {"http": s.url("/ok")}, "port": {"tcp": s.port}}}) as m:
        r = m.health()
        status, report = m.read("status.json"), m.read("report.json")
        check(r.returncode == 0, r)
        check("ROUSE-STATE v=1 state=ready up=" in r.stdout and "id=i-0abc" in r.stdout, r.stdout)
        check(status["verdict"] == report["verdict"] == "ready" and status["reason"] is None, status)
        check([c["name"] for c in report["checks"] if c["ok"]] == ["web", "port"], report)
        check(report["phases"][-1]["name"] == "health", report)


def machine_without_checks_is_ready():
    with Machine() as m:
        r = m.health()
        check(r.returncode == 0 and m.read("status.json")["verdict"] == "ready", r)


def service_that_starts_late_is_waited_for():
    with Server() as s, Machine({"deadline": "30s", "checks": {
            "web": {"http": s.url("/flaky"), "interval": "100ms"}}}) as m:
        r = m.health()
        check(r.returncode == 0 and m.read("report.json")["checks"][0]["tries"] == 2, r)


def failing_check_names_check_object_and_cause():
    with Server() as s, Machine({"deadline": "50s", "checks": {
            "web": {"http": s.url("/500"), "interval": "100ms", "retries": 1}}}) as m:
        r = m.health()
        status = m.read("status.json")
        check(r.returncode == 71, r)
        check(status["verdict"] == "failed" and status["status"] == 71, status)
        for part in ("check 'web'", s.url("/500"), "500"):
            check(part in status["reason"] and part in r.stderr, part, status, r)
        check("state=failed" in r.stdout and "reason=check 'web'" in r.stdout, r.stdout)
        check(status["advice"], status)


def another_status_than_wanted_fails():
    with Server() as s, Machine({"deadline": "50s", "checks": {
            "web": {"http": s.url("/ok"), "status": 204, "interval": "100ms", "retries": 1}}}) as m:
        r = m.health()
        check(r.returncode == 71 and "answered 200, not 204" in m.read("status.json")["reason"], r)


def wanted_error_status_passes():
    with Server() as s, Machine({"checks": {"web": {"http": s.url("/401"), "status": 401}}}) as m:
        check(m.health().returncode == 0)


def service_that_hangs_hides_no_other():
    with Server() as s, Machine({"deadline": "50s", "checks": {
            "stuck": {"http": s.url("/hang"), "timeout": "200ms", "interval": "100ms", "retries": 1},
            "port": {"tcp": s.port}}}) as m:
        r = m.health()
        checks = {c["name"]: c["ok"] for c in m.read("report.json")["checks"]}
        check(r.returncode == 71 and checks == {"stuck": False, "port": True}, r, checks)


def verdict_on(wanted, code, part):
    """One check on its own: its exit status, and what is said of it."""
    with Machine({"deadline": "50s", "checks": {"it": dict(wanted, interval="100ms", retries=1)}}) as m:
        r = m.health()
        found = m.read("report.json")["checks"][0]
        said = json.dumps(found) + r.stderr
        if r.returncode != code or part not in said:
            raise AssertionError(r, found)
        return found


def body_of_an_answer_is_looked_at():
    with Server() as s:
        verdict_on({"http": s.url("/page"), "contains": "is well"}, 0, "true")
        verdict_on({"http": s.url("/page"), "contains": "is ill"}, 71, "answered 200, without 'is ill'")
        verdict_on({"http": s.url("/ok"), "contains": "x"}, 71, "without 'x'")


def headers_of_an_answer_are_looked_at():
    with Server() as s:
        verdict_on({"http": s.url("/page"), "answers": {"content-type": "text/html"}}, 0, "true")
        verdict_on({"http": s.url("/page"), "answers": {"Content-Type": "json"}}, 71, "text/html; charset=utf-8', without 'json'")
        verdict_on({"http": s.url("/page"), "answers": {"X-None": "x"}}, 71, "'X-None: ', without 'x'")


def request_has_its_headers_and_its_name():
    with Server() as s:
        verdict_on({"http": f"http://web.example:{s.port}/page", "host": "127.0.0.1", "headers": {"X-Token": SECRET},
                    "answers": {"X-Host": f"web.example:{s.port}", "X-Token": SECRET}}, 0, "true")
        found = verdict_on({"http": s.url("/500"), "headers": {"X-Token": SECRET}}, 71, "500")
        check(SECRET not in json.dumps(found), found)


def file_is_looked_at():
    with Machine() as m:
        m.write("state", "phase: running\n")
        path = os.path.join(m.run, "state")
        verdict_on({"file": path}, 0, "true")
        verdict_on({"file": path, "contains": "running"}, 0, "true")
        verdict_on({"file": path, "contains": "done"}, 71, "is there, without 'done'")
        verdict_on({"file": path + ".not"}, 71, "cannot find")
        os.mkfifo(path + ".fifo")
        verdict_on({"file": path + ".fifo", "contains": "x"}, 71, "not a regular file")


def program_is_run_without_a_shell():
    with Machine() as m:
        verdict_on({"exec": ["true"]}, 0, "exec true")
        verdict_on({"exec": ["/usr/bin/test", "a b", "=", "a b"]}, 0, "exec /usr/bin/test \\u2026")
        verdict_on({"exec": ["echo", "$HOME;", "x"], "contains": "$HOME; x"}, 0, "true")
        verdict_on({"exec": ["sh", "-c", "echo it is ill >&2; exit 3"]}, 71, "'sh' ended with status 3: it is ill")
        verdict_on({"exec": ["/nowhere/program"]}, 71, "/nowhere/program")
        found = verdict_on({"exec": ["sleep", "60"], "timeout": "200ms"}, 71, "sleep")
        check(found["tries"] == 2, found)
        verdict_on({"exec": ["false", SECRET]}, 71, "false")
        check(SECRET not in json.dumps(found), found)


def check_waits_for_those_before_it():
    with Server() as s, Machine({"deadline": "30s", "checks": {
            "last": {"http": s.url("/ok"), "after": ["first", "second"]},
            "first": {"http": s.url("/flaky"), "interval": "300ms"}, "second": {"tcp": s.port, "after": "first"}}}) as m:
        r = m.health()
        checks = {c["name"]: c for c in m.read("report.json")["checks"]}
        check(r.returncode == 0 and all(c["ok"] for c in checks.values()), r, checks)
        check(checks["second"]["start"] >= checks["first"]["end"] and checks["last"]["start"] >= checks["second"]["end"], checks)
        check([p for _, p, _ in s.seen] == ["/flaky", "/flaky", "/ok"], s.seen)


def check_after_one_that_fails_is_not_tried():
    with Server() as s, Machine({"deadline": "60s", "checks": {
            "first": {"http": s.url("/500"), "interval": "100ms", "retries": 2},
            "last": {"http": s.url("/ok"), "after": "first"}}}) as m:
        r = m.health()
        checks = {c["name"]: c for c in m.read("report.json")["checks"]}
        check(r.returncode == 71 and "check 'first' never passed" in r.stderr, r)
        check(checks["first"]["tries"] == 3 and checks["last"]["tries"] == 0, checks)
        check("check 'first' comes before it" in checks["last"]["error"], checks)
        check([p for _, p, _ in s.seen] == ["/500"] * 3, s.seen)


def boot_that_ended_half_way_is_failed():
    with Server() as s, Machine({"checks": {"web": {"http": s.url("/ok")}}}, phases=[
            {"name": "source", "start": 1, "end": 2, "cpu": 1, "ok": True, "steps": []},
            {"name": "apply", "start": 2, "steps": []}]) as m:
        r = m.health()
        status = m.read("status.json")
        check(r.returncode == 71 and status["verdict"] == "failed", r, status)
        check("phase 'apply'" in status["reason"] and not s.seen, status, s.seen)


def fallback_is_degraded():
    with Machine(fallback={"reason": "cache 'acme' is unreachable"}) as m:
        r = m.health()
        status = m.read("status.json")
        check(r.returncode == 3 and status["verdict"] == "degraded", r, status)
        check(status["reason"] == "cache 'acme' is unreachable", status)


def failing_check_outweighs_fallback():
    with Machine({"deadline": "200ms", "checks": {"p": {"tcp": dead_port(), "interval": "100ms"}}},
                 fallback=True) as m:
        check(m.health().returncode == 71)
        check(m.read("status.json")["verdict"] == "failed")


def verdict_is_given_and_told_once():
    with Server() as s, Machine({"checks": {"web": {"tcp": s.port}},
                                 "signals": {"phoneHome": {"url": s.url("/ok")}}}) as m:
        check(m.health().returncode == 0)
        before = m.read("report.json")
        m.write("health.json", {"deadline": "50s", "checks": {"web": {"tcp": dead_port(), "interval": "100ms", "retries": 1}}})
        r = m.health()
        check(r.returncode == 71, r)  # what is true now
        check(m.read("report.json") == before)  # what this boot came to
        check(len(s.seen) == 1, s.seen)


def boot_that_failed_is_still_told():
    with Server() as s, Machine({"signals": {"phoneHome": {"url": s.url("/ok")}}}, verdict="failed",
                                status=78, word="document", reason="unknown key 'x'") as m:
        r = m.health()
        check(r.returncode == 78 and "unknown key 'x'" in r.stderr, r)
        check(json.loads(s.seen[0][2])["reason"] == "unknown key 'x'", s.seen)


def lost_report_is_a_failed_boot():
    with Machine({}, report=False) as m:
        r = m.health()
        check(r.returncode == 71 and m.read("status.json")["verdict"] == "failed", r)


def machine_that_rouse_did_not_boot_is_left_alone():
    with Machine(report=False) as m:
        r = m.health()
        check(r.returncode == 71 and "did not boot" in r.stderr and os.listdir(m.run) == [], r)


def broken_health_file_is_named():
    with Machine('{"checks": {"web": {}}}') as m:
        r = m.health()
        check(r.returncode == 78 and "health.json" in r.stderr and "web" in r.stderr, r)


def phone_home_gets_the_verdict():
    with Server() as s, Machine({"signals": {"phoneHome": {"url": s.url("/ok?token=" + SECRET)}}}) as m:
        r = m.health("--json")
        method, path, body = s.seen[0]
        body = json.loads(body)
        check(r.returncode == 0 and method == "POST" and path == "/ok?token=" + SECRET, r, s.seen)
        check(body["verdict"] == "ready" and body["instance"]["id"] == "i-0abc", body)
        check(body["document"]["sha256"] == "ab" * 32, body)
        check(json.loads(r.stdout) == m.read("report.json"), r.stdout)
        outcome = m.read("report.json")["signals"][-1]
        check(outcome["name"] == "phoneHome" and outcome["ok"], outcome)


def phone_home_is_tried_again():
    with Server() as s, Machine({"signals": {"phoneHome": {"url": s.url("/flaky")}}}) as m:
        check(m.health().returncode == 0 and len(s.seen) == 2, s.seen)


def phone_home_that_hangs_changes_nothing():
    with Server() as s, Machine({"signals": {"phoneHome": {"url": s.url("/hang")}}}) as m:
        r = m.health()  # or the time limit of this suite ends it
        outcome = m.read("report.json")["signals"][-1]
        check(r.returncode == 0 and m.read("status.json")["verdict"] == "ready", r)
        check(not outcome["ok"] and outcome["error"], outcome)


def agent_that_is_killed_leaves_a_verdict():
    with Server() as s, Machine({"deadline": "50s", "checks": {"stuck": {"http": s.url("/hang"), "timeout": "50s"}}}) as m:
        p = subprocess.Popen([ROUSE, "health", "--supervise", "--run", m.run], stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, text=True)
        try:
            for n in (1, 2):  # the checks are made twice
                while len(s.seen) < n:  # the child is at work
                    time.sleep(0.01)
                with open(f"/proc/{p.pid}/task/{p.pid}/children", encoding="utf-8") as f:
                    os.kill(int(f.read()), signal.SIGKILL)
            _, err = p.communicate(timeout=LIMIT)
        finally:
            p.kill()
        status = m.read("status.json")
        check(p.returncode == 71 and status["verdict"] == "failed" and "killed by signal 9" in status["reason"], err, status)
        check(len(s.seen) == 2, s.seen)


def checks_that_crash_are_made_once_more():
    stuck = {"deadline": "50s", "checks": {"stuck": {"http": None, "timeout": "50s"}}}
    with Server() as s, Machine(stuck) as m:
        def crash(n):
            p = subprocess.Popen([ROUSE, "health", "--run", m.run], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                while len(s.seen) < n:
                    time.sleep(0.01)
            finally:
                p.kill()
                p.wait()
        stuck["checks"]["stuck"]["http"] = s.url("/hang")
        well = {"checks": {"web": {"tcp": s.port}}}
        first = m.read("report.json")
        m.write("health.json", stuck)
        crash(1)
        m.write("health.json", well)
        r = m.health()
        check(r.returncode == 0 and "midst of the health checks" in r.stderr, r)
        report = m.read("report.json")
        check(report["verdict"] == "ready" and report["healthCrashes"] == 1, report)
        check([p["ok"] for p in report["phases"] if p["name"] == "health"] == [False, True], report)
        m.write("health.json", stuck)
        m.write("report.json", first)
        m.write("health.json", stuck)
        crash(2)
        crash(3)
        m.write("health.json", well)
        r = m.health()
        status = m.read("status.json")
        check(r.returncode == 71 and status["verdict"] == "failed" and "midst of the health" in status["reason"], r, status)


def system_that_was_never_activated_is_not_ready():
    with Machine({}) as m:
        m.write("activation", "/nix/store/" + "0" * 32 + "-system")
        r = m.health()
        status = m.read("status.json")
        check(r.returncode == 71 and status["verdict"] == "failed", r, status)
        check("-system' was never activated: 'systemctl status rouse-activate" in status["reason"], status)


def supervised_agent_has_its_own_status():
    with Machine() as m:
        r = m.health("--supervise")
        check(r.returncode == 0 and m.read("status.json")["verdict"] == "ready" and "state=ready" in r.stdout, r)


def no_secret_is_in_report_status_or_output():
    with Server() as s, Machine({"deadline": "50s", "checks": {
            "web": {"http": s.url("/500?token=" + SECRET), "interval": "100ms", "retries": 1}},
            "signals": {"phoneHome": {"url": s.url("/400?token=" + SECRET)}}}) as m:
        r = m.health()
        shown = m.rouse("status", "--run", m.run)
        texts = [r.stdout, r.stderr, shown.stdout, shown.stderr,
                 json.dumps(m.read("report.json")), json.dumps(m.read("status.json"))]
        check(r.returncode == 71 and len(s.seen) >= 2, r)
        check(not any(SECRET in t for t in texts), texts)


def wait_wakes_up_with_the_verdict():
    with Machine() as m:
        os.rename(m.run, m.run + ".later")
        waiter = subprocess.Popen([ROUSE, "status", "--wait", "--timeout", "50s", "--run", m.run],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            os.rename(m.run + ".later", m.run)
            check(m.health().returncode == 0)
            out, err = waiter.communicate(timeout=LIMIT)
        finally:
            waiter.kill()
        check(waiter.returncode == 0 and out.startswith("ready since "), out, err)


def wait_ends_at_its_timeout():
    with Machine() as m:
        m.write("status.json", {"rouse": 1, "verdict": "pending", "phase": "apply"})
        r = m.rouse("status", "--wait", "--timeout", "100ms", "--run", m.run)
        check(r.returncode == 75 and "still in phase 'apply'" in r.stderr, r)


def pending_status_says_phase_and_step():
    with Machine() as m:
        m.write("status.json", {"rouse": 1, "verdict": "pending", "since": 5, "phase": "apply",
                                "step": "make ext4 'root'", "now": "half of it"})
        r = m.rouse("status", "--run", m.run)
        check(r.returncode == 75, r)
        for part in ("pending", "apply", "make ext4 'root'", "half of it", "i-0abc"):
            check(part in r.stdout, part, r.stdout)


def status_shows_what_changed_and_what_failed():
    with Machine({"deadline": "50s", "checks": {"db": {"tcp": dead_port(), "interval": "100ms", "retries": 1}}}) as m:
        m.health()
        r = m.rouse("status", "--run", m.run)
        check(r.returncode == 71, r)
        for part in ("failed since", "pull <1> path", "check 'db'", "look at this machine"):
            check(part in r.stdout, part, r.stdout)
        r = m.rouse("status", "--json", "--run", m.run)
        check(json.loads(r.stdout) == m.read("status.json"), r)


def status_without_a_boot_says_so():
    with Machine(report=False) as m:
        r = m.rouse("status", "--run", m.run)
        check(r.returncode == 71 and "did not boot" in r.stderr, r)


def analyze_tells_time_rates_and_draws():
    with Machine() as m:
        report, svg = os.path.join(m.run, "report.json"), os.path.join(m.top, "t.svg")
        r = m.rouse("analyze", "--report", report, "--svg", svg)
        check(r.returncode == 0, r)
        for part in ("before rouse", "apply", "pull <1> path", "200 ms", "#", "/s"):
            check(part in r.stdout, part, r.stdout)
        check(all(ord(c) < 128 for c in r.stdout), r.stdout)  # no terminal: plain characters
        xml.dom.minidom.parse(svg)  # well-formed, whatever the steps are called
        j = json.loads(m.rouse("analyze", "--report", report, "--json").stdout)
        check(j["beforeRouse"] == 1000 and j["total"] == 3000 and j["cpu"] == 200, j)
        check(j["bytesPerSecond"]["closure.bytes"] == 1000000, j)  # in the one second of its step
        check([s["kind"] for s in j["spans"]] == ["gap", "phase", "step"], j)


def metrics_are_what_prometheus_reads():
    odd = 'a "quoted" \\ name'
    with Server() as s, Machine({"checks": {"web": {"tcp": s.port}}, "signals": {"prometheus": {}}},
                                counters={"closure.bytes": 5, odd: 1}) as m:
        m.write("health.json", {"checks": {"web": {"tcp": s.port}}, "signals": {"prometheus": {"file": m.top + "/x.prom"}}})
        check(m.health().returncode == 0 and m.read("report.json")["signals"][0]["ok"])
        with open(m.top + "/x.prom", encoding="utf-8") as f:
            lines = f.read().splitlines()
        r = m.rouse("analyze", "--report", m.run + "/report.json", "--prometheus", m.top + "/y.prom")
        check(r.returncode == 0 and os.path.exists(m.top + "/y.prom"), r)
    typed, values = set(), {}
    for line in lines:
        if line.startswith("# TYPE "):
            typed.add(line.split()[2])
        elif not line.startswith("# HELP "):
            found = re.fullmatch(r'([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\]|\\["\\n])*",?)+\})? ([0-9.e+-]+)', line)
            check(found and found[1] in typed, line)
            values[found[1] + (found[2] or "")] = float(found[3])
    check(values['rouse_verdict{verdict="ready"}'] == 1 and values['rouse_verdict{verdict="failed"}'] == 0, values)
    check(values['rouse_phase_seconds{phase="apply"}'] == 2 and values["rouse_exit_status"] == 0, values)
    check(values['rouse_check_ok{check="web"}'] == 1 and values['rouse_counter{name="closure.bytes"}'] == 5, values)
    check(any('a \\"quoted\\" \\\\ name' in v for v in values), values)
    check(any(v.startswith('rouse_info{version="test",instance_id="i-0abc",cloud="ec2"') for v in values), values)


def analyze_refuses_what_is_no_report():
    with Machine(report=False) as m:
        m.write("x.json", "{}")
        r = m.rouse("analyze", "--report", os.path.join(m.run, "x.json"))
        check(r.returncode == 78 and "not a report" in r.stderr, r)


def wrong_calls_are_usage_errors():
    with Machine() as m:
        for args in (["health", "x"], ["status", "--timeout", "soon"], ["analyze", "--nope"]):
            r = m.rouse(*args)
            check(r.returncode == 64 and r.stderr.count("\n") == 1, r)


def own_mounts(m, *lines):
    """A mount namespace of its own in which `lines` were run before rouse."""
    return ["unshare", "--mount", "sh", "-ec", "\n".join(lines) + '\nexec "$@"', "sh"]


def unit_says(state, sub, result, load="loaded"):
    def run(expected, part):
        with Machine({"deadline": "50s", "checks": {"nginx": {"unit": "nginx.service", "interval": "100ms", "retries": 1}}}) as m:
            tools = os.path.join(m.top, "sbin")
            os.mkdir(tools)
            with open(os.path.join(tools, "systemctl"), "w", encoding="utf-8") as f:
                f.write(f"#!/bin/sh\necho LoadState={load}\necho ActiveState={state}\n"
                        f"echo SubState={sub}\necho Result={result}\n")
                os.fchmod(f.fileno(), 0o755)
            r = m.health(prefix=own_mounts(m, f"mount --bind {tools} /usr/sbin"))
            check(r.returncode == expected and part in (r.stderr or r.stdout), r)
    return run


def active_unit_passes():
    unit_says("active", "running", "success")(0, "state=ready")


def failed_unit_says_why():
    unit_says("failed", "failed", "exit-code")(71, "unit 'nginx.service' has failed (exit-code)")


def missing_unit_says_so():
    unit_says("inactive", "dead", "success", "not-found")(71, "does not exist")


def starting_unit_is_not_active():
    unit_says("activating", "auto-restart", "exit-code")(71, "is activating (auto-restart)")


def system_says(failed, wanted="running", active="active"):
    with Machine({"deadline": "50s", "checks": {"all": {"system": wanted, "interval": "100ms", "retries": 1}}}) as m:
        tools = os.path.join(m.top, "sbin")
        os.mkdir(tools)
        with open(os.path.join(tools, "systemctl"), "w", encoding="utf-8") as f:
            f.write('#!/bin/sh\ncase $1 in\nshow) [ "${5-}" = default.target ] || exit 1; echo LoadState=loaded; echo ActiveState='
                    f'{active}; echo SubState={active}; echo Result=success;;\nlist-units) printf "{failed}";;\nesac\n')
            os.fchmod(f.fileno(), 0o755)
        r = m.health(prefix=own_mounts(m, f"mount --bind {tools} /usr/sbin"))
        return r.returncode, m.read("report.json")["checks"][0].get("error", "")


def system_that_is_up_passes():
    check(system_says("") == (0, ""))
    line = "nginx.service loaded failed failed A web server\\n"
    code, error = system_says(line)
    check(code == 71 and "degraded: unit 'nginx.service' has failed" in error, error)
    check(system_says(line, "degraded") == (0, ""))
    code, error = system_says("", "degraded", "inactive")
    check(code == 71 and "default.target" in error, error)


def planned_says(document, part="", code=71):
    with Machine({"deadline": "50s", "checks": {"it": {"planned": True, "interval": "100ms", "retries": 1}}}) as m:
        m.write("document.json", document)
        places = ["mkdir /mnt/rouse", f"mount --bind {m.run} /mnt/rouse", "mkdir '/mnt/a b' /mnt/data",
                  "mount -t tmpfs none '/mnt/a b'", "mount --rbind /mnt /run"]
        r = m.health(prefix=own_mounts(m, "mount -t tmpfs none /mnt", *places))
        error = m.read("report.json")["checks"][0].get("error", "")
        check(r.returncode == code and part in error, r, error)


def machine_is_what_the_document_says():
    planned_says({"disks": {"root": {"device": "root", "partitions": {"/run/a b": {"filesystem": "tmpfs"}}}}}, code=0)
    planned_says({"disks": {"d": {"device": "x", "mount": "/run/a b"}}}, code=0)
    planned_says({"disks": {"d": {"device": "x", "mount": "/run/none", "mountOptions": ["noauto"]}}}, code=0)
    planned_says({"disks": {"d": {"device": "x", "filesystem": "ext4", "mount": "/run/data"}}}, "nothing is mounted at '/run/data'")
    planned_says({"disks": {"root": {"partitions": {"/": {"lvm": {"group": "g", "volumes": {
        "/run/a b": {"filesystem": "xfs"}}}}}}}}, "")
    planned_says({"disks": {"d": {"filesystem": "ext4", "mount": "/run/a b"}}}, "is mounted as tmpfs, the document says ext4")
    planned_says({"system": {"path": "/nix/store/" + "a" * 32 + "-x"}}, "no generation says that it runs")


def without_systemctl_the_control_group_is_asked():
    with Machine({"deadline": "50s", "checks": {"n": {"unit": "rouse-test.service", "interval": "100ms", "retries": 1}}}) as m:
        empty = os.path.join(m.top, "empty")
        os.mkdir(empty)
        r = m.health(prefix=own_mounts(m, f"mount --bind {empty} /usr/sbin",
                                       f"mount --bind {empty} /usr/bin"))
        check(r.returncode == 71 and "systemctl is missing" in r.stderr, r)


def host_gets_the_report_through_its_port():
    with Machine({}) as m:
        sys_class, dev = os.path.join(m.top, "class"), os.path.join(m.top, "dev")
        os.makedirs(os.path.join(sys_class, "virtio-ports", "vport0p1"))
        os.mkdir(dev)
        with open(os.path.join(sys_class, "virtio-ports", "vport0p1", "name"), "w", encoding="utf-8") as f:
            f.write("org.rouse.status\n")
        fifo = os.path.join(dev, "vport0p1")
        os.mkfifo(fifo)
        host = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        try:
            r = m.health(prefix=own_mounts(m, f"mount --bind {sys_class} /sys/class",
                                           f"mount --bind {dev} /dev"))
            event = json.loads(os.read(host, 1 << 16))
        finally:
            os.close(host)
        check(r.returncode == 0 and event["event"] == "report", r, event)
        check(event["report"]["verdict"] == "ready", event)
        check(m.read("report.json")["signals"][0]["ok"], m.read("report.json"))


def journal_gets_fields():
    with Machine({"deadline": "50s", "checks": {"p": {"tcp": dead_port(), "interval": "100ms", "retries": 1}}}) as m, \
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        place = os.path.join(m.top, "journal")
        os.mkdir(place)
        journal.bind(place + "/socket")
        out, into = os.pipe()
        st = os.fstat(into)
        subprocess.run(own_mounts(m, "mount -t tmpfs none /mnt", "mkdir -p /mnt/systemd/journal",
                                  f"mount --bind {place} /mnt/systemd/journal", "mount --rbind /mnt /run")
                       + [ROUSE, "health", "--run", m.run], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=into,
                       timeout=LIMIT, check=False, env=dict(os.environ, JOURNAL_STREAM=f"{st.st_dev}:{st.st_ino}"))
        os.close(into)
        with os.fdopen(out, encoding="utf-8") as f:
            check("verdict" not in f.read())  # what the journal has need not come twice
        journal.setblocking(False)
        record = dict(line.split("=", 1) for line in journal.recv(1 << 16).decode().splitlines())
        check(record["MESSAGE"].startswith("verdict: failed: check 'p' never passed"), record)
        check(record["PRIORITY"] == "3" and record["SYSLOG_IDENTIFIER"] == "rouse", record)
        check(record["ROUSE_COMPONENT"] == "verdict" and record["ROUSE_PHASE"] == "health", record)
        check(record["ROUSE_VERDICT"] == "failed" and record["ROUSE_STATUS"] == "71", record)
        check(record["ROUSE_INSTANCE"] == "i-0abc" and record["ROUSE_DOCUMENT"] == "ab" * 32, record)
        check(record["ROUSE_REASON"].startswith("check 'p'") and len(record["MESSAGE_ID"]) == 32, record)


def own_machine(m, *boots):
    """Boots of the machine itself: /run, /var/lib, /dev, systemctl and bless-boot are its own. Returns what
    these two were asked, what stood on the console, and the last output."""
    places = {name: os.path.join(m.top, name) for name in ("var", "dev", "sbin", "lib")}
    for place in places.values():
        os.mkdir(place)
    for name in ("null", "console"):
        with open(os.path.join(places["dev"], name), "w", encoding="utf-8"):
            pass
    log = os.path.join(m.top, "asked")
    for path, said in (("sbin/systemctl", ""), ("lib/systemd-bless-boot", "bless ")):
        with open(os.path.join(m.top, path), "w", encoding="utf-8") as f:
            f.write(f'#!/bin/sh\necho "{said}$*" >> {log}\n')
            os.fchmod(f.fileno(), 0o755)
    first = m.read("report.json")
    for health in boots:
        m.write("health.json", health)
        m.write("report.json", first)
        r = m.rouse("health", prefix=own_mounts(
            m, "mount -t tmpfs none /mnt", "mkdir /mnt/rouse", f"mount --bind {m.run} /mnt/rouse",
            "mount --rbind /mnt /run", f"mount --bind {places['var']} /var/lib",
            f"mount --bind {places['sbin']} /usr/sbin", f"mount --bind {places['lib']} /usr/lib/systemd", f"mount --bind {places['dev']} /dev"))
    asked = ""
    if os.path.exists(log):
        with open(log, encoding="utf-8") as f:
            asked = f.read()
    with open(os.path.join(places["dev"], "console"), encoding="utf-8") as f:
        return asked, f.read(), r


def sick():
    return {"deadline": "50s", "checks": {"p": {"tcp": dead_port(), "interval": "100ms", "retries": 1}}}


def verdict_stands_on_the_console():
    with Machine() as m:
        asked, console, r = own_machine(m, {})
        check(r.returncode == 0 and "ROUSE-STATE v=1 state=ready" in console, r, console)
        check(asked == "", asked)


def sick_machine_holds_by_default():
    with Machine() as m:
        asked, console, r = own_machine(m, sick())
        check(r.returncode == 71 and "state=failed" in console and asked == "bless bad\n", r, console, asked)


def sick_machine_reboots_three_times_at_most():
    with Machine() as m:
        asked, _, r = own_machine(m, *[dict(sick(), onFailure="reboot")] * 5)
        check(asked == "--no-block reboot\n" * 3 + "bless bad\n" * 2, asked)
        check(r.returncode == 71 and "holding" in r.stderr, r)


def cured_machine_forgets_its_reboots():
    with Machine() as m:
        ill = dict(sick(), onFailure="reboot")
        asked, _, _ = own_machine(m, ill, ill, {}, ill, ill, ill, ill)
        check(asked == "--no-block reboot\n" * 5 + "bless bad\n", asked)


def entry_of_the_boot_loader_is_marked_bad():
    """By the systemd-bless-boot of Debian's package, out of the variable in which systemd-boot left the entry."""
    with Machine() as m:
        subprocess.run(["sh", "-ec", "apt-get -qq -o APT::Sandbox::User=root download systemd-boot && dpkg -x systemd-boot_*.deb root"],
                       cwd=m.top, check=True, timeout=LIMIT, capture_output=True)
        esp, efi = os.path.join(m.top, "esp"), os.path.join(m.top, "efi")
        os.makedirs(esp + "/loader/entries")
        os.makedirs(efi + "/efivars")
        with open(efi + "/efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f", "wb") as f:
            f.write(b"\6\0\0\0" + "\\loader\\entries\\web+2-1.conf\0".encode("utf-16-le"))
        with open(esp + "/loader/entries/web+2-1.conf", "w", encoding="utf-8") as f:
            f.write("title web\n")
        with open(m.top + "/bless", "w", encoding="utf-8") as f:  # an ESP without vfat
            f.write(f'#!/bin/sh\nSYSTEMD_RELAX_ESP_CHECKS=1 SYSTEMD_ESP_PATH=/efi exec {m.top}/root/lib/systemd/systemd-bless-boot "$@"\n')
            os.fchmod(f.fileno(), 0o755)
        # A root that is no container's
        enter = own_mounts(m, "mount -t tmpfs none /mnt", "mkdir /mnt/up /mnt/work /mnt/root",
                           "mount -t overlay -o lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work overlay /mnt/root", "cd /mnt/root",
                           "rm -f .dockerenv", "mkdir -p efi", "mount --rbind /proc proc", "mount --rbind /dev dev",
                           f"mkdir -p .{m.top} .{os.path.dirname(ROUSE)}", f"mount --bind {m.top} .{m.top}", "mount -t tmpfs none run", "mkdir run/rouse",
                           f"mount --bind {os.path.dirname(ROUSE)} .{os.path.dirname(ROUSE)}",
                           f"mount --bind {m.run} run/rouse", "mkdir -p sys/firmware/efi", f"mount --bind {efi} sys/firmware/efi",
                           f"mount --bind {esp} efi", f"cp {m.top}/bless usr/lib/systemd/systemd-bless-boot",
                           'set -- chroot /mnt/root "$@"')
        first = m.read("report.json")
        for health, code, entry in (({}, 0, "web+2-1.conf"), (sick(), 71, "web+0-1.conf")):
            m.write("health.json", health)
            m.write("report.json", first)
            r = m.rouse("health", prefix=enter)
            check(r.returncode == code and os.listdir(esp + "/loader/entries") == [entry], r, os.listdir(esp + "/loader/entries"))


ANY = [healthy_machine_is_ready, machine_without_checks_is_ready, service_that_starts_late_is_waited_for,
       failing_check_names_check_object_and_cause, another_status_than_wanted_fails,
       wanted_error_status_passes, service_that_hangs_hides_no_other,
       boot_that_ended_half_way_is_failed, fallback_is_degraded,
       failing_check_outweighs_fallback, verdict_is_given_and_told_once, boot_that_failed_is_still_told,
       lost_report_is_a_failed_boot, machine_that_rouse_did_not_boot_is_left_alone,
       broken_health_file_is_named, phone_home_gets_the_verdict, phone_home_is_tried_again,
       checks_that_crash_are_made_once_more, system_that_was_never_activated_is_not_ready,
       agent_that_is_killed_leaves_a_verdict, supervised_agent_has_its_own_status,
       phone_home_that_hangs_changes_nothing, no_secret_is_in_report_status_or_output,
       wait_wakes_up_with_the_verdict, wait_ends_at_its_timeout, pending_status_says_phase_and_step,
       status_shows_what_changed_and_what_failed, status_without_a_boot_says_so,
       body_of_an_answer_is_looked_at, headers_of_an_answer_are_looked_at, request_has_its_headers_and_its_name,
       file_is_looked_at, program_is_run_without_a_shell, check_waits_for_those_before_it,
       check_after_one_that_fails_is_not_tried, metrics_are_what_prometheus_reads, analyze_tells_time_rates_and_draws, analyze_refuses_what_is_no_report, wrong_calls_are_usage_errors]
ROOT = [active_unit_passes, failed_unit_says_why, missing_unit_says_so, starting_unit_is_not_active,
        system_that_is_up_passes, machine_is_what_the_document_says,
        without_systemctl_the_control_group_is_asked, host_gets_the_report_through_its_port,
        journal_gets_fields, verdict_stands_on_the_console, sick_machine_holds_by_default,
        sick_machine_reboots_three_times_at_most, cured_machine_forgets_its_reboots, entry_of_the_boot_loader_is_marked_bad]


def can_mount():
    return os.geteuid() == 0 and subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], check=False,
        stderr=subprocess.DEVNULL).returncode == 0


def main():
    failed, may_mount = False, can_mount()
    print(f"1..{len(ANY) + len(ROOT)}", flush=True)
    for n, test in enumerate(ANY + ROOT, 1):
        if test in ROOT and not may_mount:
            print(f"ok {n} - {test.__name__} # SKIP needs root and mount namespaces", flush=True)
            continue
        try:
            test()
            print(f"ok {n} - {test.__name__}", flush=True)
        except Exception:  # a test that breaks is a test that failed
            failed = True
            print("# " + traceback.format_exc().replace("\n", "\n# "))
            print(f"not ok {n} - {test.__name__}", flush=True)
    return failed


sys.exit(main())
