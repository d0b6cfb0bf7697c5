#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Signals against the control planes that they are for: each request is taken apart, its signature made anew,
and compared byte by byte. One machine that all clouds could have made, in namespaces of its own."""
import base64
import concurrent.futures
import fcntl
import hashlib
import http.server
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from s3 import canonical_query, signature, spell  # noqa: E402

ROUSE = os.path.abspath(os.environ.get("ROUSE", "build/rouse"))
LIMIT = 150  # seconds; no test comes near it unless something hangs
ID = "i-0abc123def4567890"
KEY, SECRET, TOKEN = "ASIAGOOD", "canary-secret-4711/+abc", "canary-token-0815/+abc=="
FORM = "application/x-www-form-urlencoded; charset=utf-8"
IDENTITY = '{\n  "instanceId" : "i-0abc123def4567890",\n  "region" : "eu-west-1"\n}'
ASG_OK = ('<{0}Response xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/"><{0}Result/><ResponseMetadata>'
          "<RequestId>r</RequestId></ResponseMetadata></{0}Response>")
AMZ_ERROR = ('<ErrorResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/"><Error><Type>Sender</Type>'
             "<Code>{}</Code><Message>{}</Message></Error><RequestId>r</RequestId></ErrorResponse>")
NO_ACTION = (400, AMZ_ERROR.format("ValidationError", "No active Lifecycle Action found with instance ID i-0"))


class World:
    """What the servers answer and have seen. A machine's requests are told apart by its instance id."""

    def __init__(self):
        self.lock = threading.Lock()
        self.seen, self.scripts, self.keys = {}, {}, {KEY: SECRET}
        self.clock = 0

    def note(self, who, request):
        with self.lock:
            self.seen.setdefault(who, []).append(request)
            answers = self.scripts.get(who, [])
            if not answers:
                return None
            return answers.pop(0) if len(answers) > 1 else answers[0]


WORLD = World()


class Request:
    def __init__(self, handler):
        self.method, self.target = handler.command, handler.requestline.split(" ")[1]
        self.headers = {k.lower(): v for k, v in handler.headers.items()}
        self.names = sorted(k.lower() for k in handler.headers)
        self.body = handler.rfile.read(int(self.headers.get("content-length", 0)))
        self.host, self.at = self.headers.get("host", ""), time.monotonic()

    def __repr__(self):
        return f"{self.method} {self.host} {self.target} {self.headers} {self.body!r}"


def verify(r, service, region, secret=SECRET):
    """The signature of a request, made anew from what has arrived."""
    m = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
                     r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})", r.headers.get("authorization", ""))
    assert m, r.headers
    key, day, got_region, got_service, names, got = m.groups()
    assert (key, got_region, got_service) == (KEY, region, service), m.groups()
    assert r.headers["x-amz-security-token"] == TOKEN, r.headers
    date, signed = r.headers["x-amz-date"], names.split(";")
    assert date.startswith(day) and signed == sorted(signed), r.headers
    assert {"host"} | {n for n in r.names if n.startswith("x-amz-")} <= set(signed), (r.names, signed)
    payload = hashlib.sha256(r.body).hexdigest()
    assert r.headers.get("x-amz-content-sha256", payload) == payload, r.headers
    path, _, query = r.target.partition("?")
    request = "\n".join([r.method, spell(path, "/%"), canonical_query(query)] + [f"{n}:{' '.join(r.headers[n].split())}" for n in signed]
                        + ["", names, payload])
    assert signature(secret, f"{day}/{region}/{service}/aws4_request", date, request) == got, request
    return date


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def any(self):
        r = Request(self)
        status, body = self.answer(r)
        if status == "hang":
            time.sleep(20)
            self.close_connection = True
            return
        self.send_response_only(status)
        self.send_header("Date", self.date_time_string(int(time.time() + WORLD.clock)))
        body = body.encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = any

    def answer(self, r):
        found = re.search(r"(?:InstanceId=|instance_id=|member\.1=|UniqueId=|/)(i-[0-9a-z]+)", f"{r.target} {r.body.decode('utf-8', 'replace')}")
        who = found[1] if found else r.headers.get("x-test") or r.target
        host = r.host.split(":")[0]
        if r.method == "GET" and host == "acme.s3.eu-west-1.amazonaws.com":
            return WORLD.note("bucket", r) or (404, "")
        if r.method == "GET" or r.target.startswith("/latest/"):
            return self.metadata(r)
        if host == "169.254.169.254":
            who = "gce"
        elif host == "168.63.129.16":
            who = "azure"
        r.who = who
        return WORLD.note(who, r) or (200, ASG_OK.format("X"))

    def metadata(self, r):
        creds = {"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": KEY, "SecretAccessKey": SECRET, "Token": TOKEN,
                 "Expiration": "2099-01-01T00:00:00Z"}
        paths = {"/latest/meta-data/autoscaling/target-lifecycle-state": "InService",
                 "/latest/meta-data/iam/security-credentials/": "web",
                 "/latest/meta-data/iam/security-credentials/web": json.dumps(creds),
                 "/latest/meta-data/placement/region": "eu-west-1",
                 "/latest/dynamic/instance-identity/document": IDENTITY,
                 "/latest/dynamic/instance-identity/signature": "c2lnbmF0dXJl\nb2YgQW1hem9u\n"}
        paths.update(WORLD.scripts.get("imds", {}))
        with WORLD.lock:
            WORLD.seen.setdefault("imds", []).append(r)
        if r.method == "PUT":
            assert r.target == "/latest/api/token", r
            return 200, "token"
        if "x-aws-ec2-metadata-token" not in r.headers:
            return 401, ""
        body = paths.get(r.target)
        return (404, "") if body is None else (200, body)


def clock_of(up):
    """What unshare(1) makes a clock of that has been running for so many seconds."""
    with open("/proc/self/timens_offsets", encoding="utf-8") as f:
        offset = [int(line.split()[1]) for line in f if line.startswith("boottime")][0]
    return ["--time", "--boottime", str(int(up - time.clock_gettime(time.CLOCK_BOOTTIME) + offset))]


class Machine:
    """A run directory as a boot leaves it."""

    count = 0

    def __init__(self, signals=None, ident=None, **report):
        Machine.count += 1
        self.id = ident or f"i-{Machine.count:017x}"
        self.top = tempfile.mkdtemp(prefix="rouse-signals-")
        self.run = os.path.join(self.top, "run")
        os.mkdir(self.run)
        self.first = dict({"rouse": 1, "version": "test", "verdict": "pending", "status": 0, "word": "ok",
                           "reason": None, "since": 1, "instance": {"cloud": "ec2", "id": self.id, "region": "eu-west-1"},
                           "document": {"sha256": "ab" * 32}, "counters": {}, "phases": [], "checks": [], "signals": [],
                           "peakRss": 100}, **report)
        self.health = {"signals": signals or {}}

    def failed(self, reason="unknown key 'x'"):
        self.first.update(verdict="failed", status=78, word="document", reason=reason)
        return self

    def degraded(self):
        self.first["fallback"] = {"reason": "the cache is away", "word": "unavailable"}
        return self

    def boot(self, env=None, *more, up=None):
        """With `up`: on a machine that is up for so many seconds."""
        for name, value in (("report.json", self.first), ("health.json", self.health)):
            if value is None:
                continue
            with open(os.path.join(self.run, name), "w", encoding="utf-8") as f:
                json.dump(value, f)
        begin = time.monotonic()
        clock = ["unshare", *clock_of(up)] if up else []
        self.r = subprocess.run([*clock, ROUSE, "health", "--run", self.run, *more], stdin=subprocess.DEVNULL, timeout=LIMIT,
                                capture_output=True, text=True, check=False, env=dict(os.environ, **(env or {})))
        self.took = time.monotonic() - begin
        with open(os.path.join(self.run, "report.json"), encoding="utf-8") as f:
            text = f.read()
        self.report = json.loads(text)
        for canary in (SECRET, TOKEN):
            assert canary not in text + self.r.stdout + self.r.stderr, canary
        return self

    def outcome(self, name):
        found = [s for s in self.report["signals"] if s["name"] == name]
        assert len(found) == 1, self.report["signals"]
        return found[0]

    def asked(self, who=None):
        return WORLD.seen.get(who or self.id, [])

    def answers(self, *answers):
        WORLD.scripts[self.id] = list(answers)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *args):
        shutil.rmtree(self.top)


def asg_body(action, ident, more=""):
    return (f"Action={action}&Version=2011-01-01&LifecycleHookName=launch%2Fhook&AutoScalingGroupName=web%20fleet{more}"
            f"&InstanceId={ident}").encode()


def check_query(r, service, body, names=None):
    assert (r.method, r.target, r.host) == ("POST", "/", f"{service}.eu-west-1.amazonaws.com"), r
    assert r.body == body, (r.body, body)
    assert r.headers["content-type"] == FORM, r
    assert r.names == sorted(names or ["host", "user-agent", "accept", "content-type", "content-length", "authorization",
                                       "x-amz-date", "x-amz-security-token"]), r.names


ASG = {"asg": {"group": "web fleet", "hook": "launch/hook"}}


def asg_completes_the_hook():
    with Machine(ASG) as m:
        m.boot()
        (r,) = m.asked()
        check_query(r, "autoscaling", asg_body("CompleteLifecycleAction", m.id, "&LifecycleActionResult=CONTINUE"))
        verify(r, "autoscaling", "eu-west-1")
        out = m.outcome("asg")
        assert m.r.returncode == 0 and out["ok"] and out["to"] == "web fleet/launch/hook", out
        assert out["note"] == "CONTINUE (InService)", out


def asg_reboot_in_service_signals_nothing():
    with Machine(ASG) as m:
        m.boot()
        m.boot()
        assert len(m.asked()) == 1 and "in service already" in m.outcome("asg")["note"], m.asked()


def asg_abandons_a_failed_boot():
    with Machine(ASG).failed() as m:
        m.boot()
        (r,) = m.asked()
        check_query(r, "autoscaling", asg_body("CompleteLifecycleAction", m.id, "&LifecycleActionResult=ABANDON"))
        assert m.r.returncode == 78 and m.outcome("asg")["ok"], m.report
        m.boot()
        assert len(m.asked()) == 2  # nothing is remembered of an end that replaces the machine


def asg_is_not_told_while_the_machine_is_held():
    with Machine(dict(ASG, object={"url": "s3://acme/boot/{}.json".format("i-0held")}), action="hold").failed() as m:
        m.boot()
        assert m.asked() == [] and [s["name"] for s in m.report["signals"]] == ["object"], m.report


def asg_hears_of_a_boot_that_was_given_up():
    """By a machine whose document nobody can read any more: whom to tell was kept."""
    with Machine().failed() as m:
        m.first["action"] = "abandon"
        with open(os.path.join(m.run, "signals.json"), "w", encoding="utf-8") as f:
            json.dump({"signals": ASG}, f)
        m.health = None
        m.boot()
        assert b"Result=ABANDON" in m.asked()[0].body, m.asked()


def asg_of_a_degraded_machine_goes_on():
    with Machine(ASG).degraded() as m:
        m.boot()
        assert b"Result=CONTINUE" in m.asked()[0].body and m.r.returncode == 3


def asg_of_a_degraded_machine_may_give_up():
    with Machine({"asg": dict(ASG["asg"], degraded="abandon")}).degraded() as m:
        m.boot()
        assert b"Result=ABANDON" in m.asked()[0].body


def asg_waits_for_an_action_that_is_late():
    with Machine(ASG).answers(*[NO_ACTION] * 6, (200, "")) as m:
        m.boot()
        pauses = [b.at - a.at for a, b in zip(m.asked(), m.asked()[1:])]
        assert len(m.asked()) == 7 and m.outcome("asg")["note"] == "CONTINUE (InService)", m.report
        assert all(0.9 <= p < 30 for p in pauses) and pauses[-1] >= 4.9, pauses


def asg_without_an_action_ends():
    with Machine(ASG).answers(NO_ACTION) as m:
        m.boot()
        assert m.r.returncode == 0 and m.outcome("asg")["note"] == "no lifecycle action is waiting", m.report
        assert 30 < m.took < 140 and len(m.asked()) < 20, m.took


def asg_tries_again_what_is_busy():
    busy = (500, AMZ_ERROR.format("ResourceContention", "in use")), (400, AMZ_ERROR.format("Throttling", "Rate exceeded"))
    with Machine(ASG).answers(*busy, (503, ""), (200, "")) as m:
        m.boot()
        assert len(m.asked()) == 4 and m.outcome("asg")["ok"], m.report
        assert len({verify(r, "autoscaling", "eu-west-1") for r in m.asked()}) >= 1


def asg_that_denies_is_final():
    with Machine(ASG).answers((403, AMZ_ERROR.format("AccessDenied", "not authorized to perform"))) as m:
        m.boot()
        out = m.outcome("asg")
        assert m.r.returncode == 0 and not out["ok"] and len(m.asked()) == 1, m.report
        assert "role 'web'" in out["error"] and "AccessDenied: not authorized" in out["error"], out


def asg_signs_by_the_services_clock():
    late = (400, AMZ_ERROR.format("RequestExpired", "Request has expired"))
    with Machine(ASG).answers(late, (200, "")) as m:
        WORLD.clock = 7200
        try:
            m.boot()
        finally:
            WORLD.clock = 0
        first, second = (verify(r, "autoscaling", "eu-west-1") for r in m.asked())
        stamp = lambda t: time.mktime(time.strptime(t, "%Y%m%dT%H%M%SZ"))  # noqa: E731
        assert 7100 < stamp(second) - stamp(first) < 7300, (first, second)


def asg_asks_for_fresh_credentials_once():
    with Machine(ASG).answers((403, AMZ_ERROR.format("ExpiredToken", "The security token is expired"))) as m:
        before = len(WORLD.seen.get("imds", []))
        m.boot()
        asked = [r for r in WORLD.seen["imds"][before:] if r.target.endswith("security-credentials/web")]
        assert len(m.asked()) == 2 and len(asked) == 2, (m.asked(), asked)


def asg_of_no_group_has_nothing_to_do():
    WORLD.scripts["imds"] = {"/latest/meta-data/autoscaling/target-lifecycle-state": None}
    with Machine(ASG) as m:
        m.boot()
        assert m.asked() == [] and m.outcome("asg")["ok"] and "in no group" in m.outcome("asg")["note"], m.report


def asg_of_a_warm_pool_is_told_twice():
    state = "/latest/meta-data/autoscaling/target-lifecycle-state"
    with Machine(ASG) as m:
        WORLD.scripts["imds"] = {state: "Warmed:Stopped"}
        assert m.boot().outcome("asg")["note"] == "CONTINUE (Warmed:Stopped)", m.report
        assert "in service already" in m.boot().outcome("asg")["note"], m.report
        WORLD.scripts["imds"] = {state: "InService"}
        assert m.boot().outcome("asg")["note"] == "CONTINUE (InService)", m.report
        assert len(m.asked()) == 2


def asg_of_a_running_warm_pool_is_told_when_it_wants_the_machine():
    state = "/latest/meta-data/autoscaling/target-lifecycle-state"
    with Machine(ASG) as m:
        WORLD.scripts["imds"] = {state: "Warmed:Running"}
        assert m.boot(None, "--hold").outcome("asg")["note"] == "CONTINUE (Warmed:Running)", m.report
        begin = len(WORLD.seen["imds"])
        until = time.monotonic() + 100
        while sum(r.target == state for r in WORLD.seen["imds"][begin:]) < 2 and time.monotonic() < until:
            time.sleep(0.1)
        assert len(m.asked()) == 1, m.asked()  # it waits
        WORLD.scripts["imds"] = {state: "InService"}
        notes = []
        while len(notes) < 2 and time.monotonic() < until:
            time.sleep(0.1)
            with open(os.path.join(m.run, "report.json"), encoding="utf-8") as f:
                notes = [s["note"] for s in json.load(f)["signals"]]
        assert notes == ["CONTINUE (Warmed:Running)", "CONTINUE (InService)"] and len(m.asked()) == 2, (notes, m.asked())
        check_query(m.asked()[1], "autoscaling", asg_body("CompleteLifecycleAction", m.id, "&LifecycleActionResult=CONTINUE"))
        for _ in range(5):  # and ends
            time.sleep(1)
            begin = len(WORLD.seen["imds"])
            time.sleep(6)
            if len(WORLD.seen["imds"]) == begin:
                break
        assert len(WORLD.seen["imds"]) == begin, begin


def asg_is_told_again_by_what_follows_a_crash():
    """The action was completed, and nobody had noted it: the group says that it waits for nothing."""
    with Machine(ASG).answers(("hang", ""), NO_ACTION) as m:
        for name, value in (("report.json", m.first), ("health.json", m.health)):
            with open(os.path.join(m.run, name), "w", encoding="utf-8") as f:
                json.dump(value, f)
        command = [ROUSE, "health", "--run", m.run]
        p = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while not m.asked() and time.monotonic() < until:
            time.sleep(0.05)
        p.kill()
        p.wait()
        assert not os.path.exists(os.path.join(m.run, "signalled.json"))
        r = subprocess.run(command, timeout=LIMIT, capture_output=True, text=True, check=False)
        with open(os.path.join(m.run, "report.json"), encoding="utf-8") as f:
            m.report = json.load(f)
        assert r.returncode == 0 and m.report["verdict"] == "ready" and m.outcome("asg")["ok"], (r, m.report)
        assert m.outcome("asg")["note"] == "no lifecycle action is waiting", m.report
        assert len({q.body for q in m.asked()}) == 1 and b"CONTINUE" in m.asked()[0].body, m.asked()
        before = len(m.asked())
        r = subprocess.run(command, timeout=LIMIT, capture_output=True, text=True, check=False)
        assert r.returncode == 0 and len(m.asked()) == before, m.asked()


def asg_that_removes_the_machine_is_not_told_to_go_on():
    WORLD.scripts["imds"] = {"/latest/meta-data/autoscaling/target-lifecycle-state": "Terminated"}
    with Machine(ASG) as m:
        m.boot()
        assert m.asked() == [] and "removing" in m.outcome("asg")["note"], m.report


def asg_is_found_out():
    instance = ("<R><AutoScalingInstances><member><AutoScalingGroupName>web fleet</AutoScalingGroupName>"
                "<LifecycleState>Pending:Wait</LifecycleState></member></AutoScalingInstances></R>")
    hooks = ("<R><LifecycleHooks><member><LifecycleTransition>autoscaling:EC2_INSTANCE_TERMINATING</LifecycleTransition>"
             "<LifecycleHookName>end</LifecycleHookName></member><member><LifecycleHookName>launch/hook</LifecycleHookName>"
             "<LifecycleTransition>autoscaling:EC2_INSTANCE_LAUNCHING</LifecycleTransition></member></LifecycleHooks></R>")
    with Machine({"asg": {}}).answers((200, instance), (200, "")) as m:
        WORLD.scripts["/"] = [(200, hooks)]  # that question names no instance
        WORLD.seen.pop("/", None)
        m.boot()
        first, last = m.asked()
        check_query(first, "autoscaling", f"Action=DescribeAutoScalingInstances&Version=2011-01-01&InstanceIds.member.1={m.id}".encode())
        (second,) = WORLD.seen["/"]
        check_query(second, "autoscaling", b"Action=DescribeLifecycleHooks&Version=2011-01-01&AutoScalingGroupName=web%20fleet")
        check_query(last, "autoscaling", asg_body("CompleteLifecycleAction", m.id, "&LifecycleActionResult=CONTINUE"))


def asg_is_in_the_tags():
    WORLD.scripts["imds"] = {"/latest/meta-data/tags/instance/aws:autoscaling:groupName": "web fleet"}
    with Machine({"asg": {"hook": "launch/hook"}}) as m:
        m.boot()
        assert len(m.asked()) == 1 and b"AutoScalingGroupName=web%20fleet" in m.asked()[0].body, m.asked()


def asg_hears_of_a_machine_that_fails_in_service():
    with Machine({"asg": dict(ASG["asg"], setHealth=True)}) as m:
        m.boot()
        m.failed().boot()
        check_query(m.asked()[1], "autoscaling", (f"Action=SetInstanceHealth&Version=2011-01-01&InstanceId={m.id}"
                                                  "&HealthStatus=Unhealthy&ShouldRespectGracePeriod=false").encode())
        verify(m.asked()[1], "autoscaling", "eu-west-1")


def asg_beats_while_checks_go_on():
    with Machine({"asg": dict(ASG["asg"], heartbeat="30s")}) as m:
        m.health.update(deadline="26s", checks={"never": {"tcp": 9, "interval": "1s"}})
        m.boot()
        beats = m.asked()[:-1]
        assert len(beats) == 2 and m.report["heartbeats"] == 2, (m.asked(), m.report)
        for r in beats:
            check_query(r, "autoscaling", asg_body("RecordLifecycleActionHeartbeat", m.id))
            verify(r, "autoscaling", "eu-west-1")
        assert 7 <= beats[1].at - beats[0].at <= 16, beats
        assert b"ABANDON" in m.asked()[-1].body


def asg_is_kept_waiting_for_a_hundred_timeouts_at_most():
    """Amazon waits no longer: the machine is up for 2982 s when its checks begin, which never pass."""
    with Machine({"asg": dict(ASG["asg"], heartbeat="30s")}) as m:
        m.health.update(deadline="23s", checks={"never": {"tcp": 9, "interval": "1s"}})
        m.boot(up=2982)
        (beat, end) = m.asked()
        assert b"RecordLifecycleActionHeartbeat" in beat.body and b"ABANDON" in end.body, m.asked()
        assert m.report["heartbeats"] == 1, m.report


def asg_is_kept_waiting_while_the_machine_is_held():
    """Whatever the pause between two tries is, here longer than the hold."""
    now, begin = int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1000), time.monotonic()
    with Machine({"asg": dict(ASG["asg"], heartbeat="30s")}, action="hold", fault="fleet", announced=True, bootFailed=False,
                 hold={"since": now, "until": now + 27000, "tries": 1}).failed() as m:
        with open(os.path.join(m.run, "signals.json"), "w", encoding="utf-8") as f:
            json.dump({"signals": m.health["signals"]}, f)
        with open(os.path.join(m.run, "policy.json"), "w", encoding="utf-8") as f:
            json.dump({"holdPoll": 3600000}, f)
        m.boot(None, "--hold")
        *beats, end = m.asked()
        assert len(beats) == 3, m.asked()
        for r in beats:
            check_query(r, "autoscaling", asg_body("RecordLifecycleActionHeartbeat", m.id))
        assert all(7 <= b.at - a.at <= 16 for a, b in zip(beats, beats[1:])), beats
        assert b"ABANDON" in end.body and end.at - begin >= 26, m.asked()


def asg_hears_nothing_of_a_machine_that_is_stuck():
    with Machine({"asg": dict(ASG["asg"], heartbeat="30s")}) as m, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        m.health.update(deadline="36s", checks={"hangs": {"http": url, "timeout": "60s"}})
        m.boot()
        *beats, end = m.asked()  # one, for the checks have begun, which on a busy machine may be late; not three
        assert all(b"RecordLifecycleActionHeartbeat" in r.body for r in beats) and b"ABANDON" in end.body, m.asked()
        assert 1 <= len(beats) == m.report["heartbeats"] <= 2 and "does not move on" in m.r.stderr, m.r


def asg_is_reached_over_the_other_name():
    """In a subnet without IPv4 the first name leads nowhere."""
    with Machine({"asg": dict(ASG["asg"], region="eu-central-1")}) as m:
        m.boot()
        assert m.outcome("asg")["ok"] and m.asked()[0].host == "autoscaling.eu-central-1.api.aws", m.report


def cfn(stack="web", resource="Fleet"):
    return {"cloudformation": {"stack": stack, "resource": resource}}


def cfn_body(ident, status):
    return (f"Action=SignalResource&Version=2010-05-15&StackName=web&LogicalResourceId=Fleet&UniqueId={ident}"
            f"&Status={status}").encode()


def cloudformation_is_authorized_by_the_identity():
    for machine, status in ((Machine(cfn()), "SUCCESS"), (Machine(cfn()).failed(), "FAILURE")):
        with machine as m:
            m.boot()
            (r,) = m.asked()
            check_query(r, "cloudformation", cfn_body(m.id, status),
                        ["host", "user-agent", "accept", "content-type", "content-length", "authorization"])
            document = base64.b64encode(IDENTITY.encode()).decode()
            assert r.headers["authorization"] == f"CFN_V1 {document}:c2lnbmF0dXJlb2YgQW1hem9u", r
            assert m.outcome("cloudformation")["ok"], m.report


def cloudformation_that_waits_for_nothing_is_fine():
    text = "Stack arn:x is in UPDATE_COMPLETE state and cannot be signaled"
    with Machine(cfn()).answers((400, AMZ_ERROR.format("ValidationError", text))) as m:
        m.boot()
        assert len(m.asked()) == 1 and m.outcome("cloudformation")["ok"], m.report
        assert "neither being made nor updated" in m.outcome("cloudformation")["note"]


def cloudformation_that_is_busy_is_asked_again():
    with Machine(cfn()).answers((400, AMZ_ERROR.format("Throttling", "slow")), (503, ""), (200, "")) as m:
        assert m.boot().outcome("cloudformation")["ok"] and len(m.asked()) == 3


def cloudformation_handle_gets_a_reason():
    with Machine() as m:
        m.health["signals"] = {"cloudformation": {"handle": f"http://127.0.0.1/{m.id}?Signature=" + SECRET}}
        m.failed("no lease").boot()
        (r,) = m.asked()
        assert (r.method, r.target) == ("PUT", f"/{m.id}?Signature=" + SECRET), r
        assert r.body == (f'{{"Status":"FAILURE","Reason":"no lease","UniqueId":"{m.id}","Data":"failed"}}').encode(), r
        assert "content-type" not in r.names, r


def gce_writes_a_guest_attribute():
    with Machine({"gce": {}}) as m:
        WORLD.seen["gce"] = []
        m.boot()
        (r,) = WORLD.seen["gce"]
        assert (r.method, r.target) == ("PUT", "/computeMetadata/v1/instance/guest-attributes/rouse/status"), r
        assert r.headers["metadata-flavor"] == "Google", r
        body = json.loads(r.body)
        assert body["verdict"] == "ready" and body["instance"]["id"] == m.id, body


def gce_has_the_host_keys_that_its_ssh_looks_for():
    key = "AAAAC3NzaC1lZDI1NTE5AAAAILDYWaZu4jmK5Egrspit6Y5Yka4nwwaUs1y4lvcdEgpo"
    with open("/etc/ssh/ssh_host_ed25519_key.pub", "w", encoding="ascii") as f:
        f.write(f"ssh-ed25519 {key} root@web\n")
    try:
        with Machine({"gce": {}}) as m:
            WORLD.seen["gce"] = []
            m.boot()
            status, host_key = WORLD.seen["gce"]
            assert status.target.endswith("/guest-attributes/rouse/status"), status
            assert (host_key.method, host_key.target) == (
                "PUT", "/computeMetadata/v1/instance/guest-attributes/hostkeys/ssh-ed25519"), host_key
            assert host_key.headers["metadata-flavor"] == "Google" and host_key.body == key.encode(), host_key
            assert m.outcome("gce")["ok"] and m.outcome("gce")["to"] == "rouse/status", m.outcome("gce")
    finally:
        os.unlink("/etc/ssh/ssh_host_ed25519_key.pub")


def gce_without_attributes_says_how():
    WORLD.scripts["gce"] = [(403, "")]
    with Machine({"gce": {"namespace": "boot", "key": "x"}}) as m:
        WORLD.seen["gce"] = []
        m.boot()
        out = m.outcome("gce")
        assert m.r.returncode == 0 and not out["ok"] and "enable-guest-attributes" in out["error"], out
        assert len(WORLD.seen["gce"]) == 1 and out["to"] == "boot/x", out
    WORLD.scripts["gce"] = []


def azure_hears_ready():
    with Machine({"azure": {}}) as m:
        WORLD.seen["azure"] = []
        m.boot()
        (r,) = WORLD.seen["azure"]
        assert (r.method, r.target, r.host) == ("POST", "/provisioning/health", "168.63.129.16"), r
        assert r.body == b'{"state":"Ready"}' and r.headers["content-type"] == "application/json", r
        assert re.fullmatch(r"rouse v[0-9.]+", r.headers["x-ms-guest-agent-name"]), r


def azure_hears_why_not():
    with Machine({"azure": {}}).failed("no | lease " + "x" * 600) as m:
        WORLD.seen["azure"] = []
        m.boot()
        details = json.loads(WORLD.seen["azure"][0].body)
        assert details["state"] == "NotReady" and details["details"]["subStatus"] == "ProvisioningFailed", details
        text = details["details"]["description"]
        assert len(text) <= 512 and text.startswith("result=error|reason=no / lease xx"), text
        assert re.search(rf"\|agent=rouse/[0-9.]+\|vm_id={m.id}\|timestamp=\d{{4}}-\d\d-\d\dT[0-9:]+Z$", text), text


def azure_that_is_busy_is_told_again():
    WORLD.scripts["azure"] = [(500, ""), (503, ""), (429, ""), (201, "")]
    with Machine({"azure": {}}) as m:
        WORLD.seen["azure"] = []
        assert m.boot().outcome("azure")["ok"] and len(WORLD.seen["azure"]) == 4, m.report
    WORLD.scripts["azure"] = [(400, "")]
    with Machine({"azure": {}}) as m:
        WORLD.seen["azure"] = []
        assert not m.boot().outcome("azure")["ok"] and len(WORLD.seen["azure"]) == 1, m.report
    WORLD.scripts["azure"] = []


POOL = "/var/lib/hyperv/.kvp_pool_1"


def kvp_records():
    with open(POOL, "rb") as f:
        data = f.read()
    assert len(data) % 2560 == 0, len(data)
    pairs = [(data[i:i + 512], data[i + 512:i + 2560]) for i in range(0, len(data), 2560)]
    return [(k.rstrip(b"\0").decode(), v.rstrip(b"\0").decode()) for k, v in pairs]


def azures_host_hears_of_it_without_a_network():
    """What the guest agents say to Hyper-V, beside the records of others and under their lock."""
    os.makedirs(os.path.dirname(POOL))
    with open(POOL, "wb") as f:
        f.write(b"other".ljust(512, b"\0") + b"stays".ljust(2048, b"\0") + b"a record that was cut")
    sh("ip address del 168.63.129.16/32 dev lo; ip route add unreachable 168.63.129.16/32")
    try:
        with Machine({"azure": {}}).failed("no | lease") as m, open(POOL, "r+b") as held:
            fcntl.lockf(held, fcntl.LOCK_EX)
            WORLD.seen["azure"] = []
            thread = threading.Thread(target=m.boot)
            thread.start()
            time.sleep(1)
            assert os.path.getsize(POOL) < 2 * 2560  # it waits for its turn
            fcntl.lockf(held, fcntl.LOCK_UN)
            until = time.monotonic() + 60
            while os.path.getsize(POOL) < 2 * 2560 and time.monotonic() < until:
                time.sleep(0.05)
            (other, (key, value)) = kvp_records()
            assert other == ("other", "stays") and key == "PROVISIONING_REPORT", (other, key)
            assert re.fullmatch(rf"result=error\|reason=no / lease\|agent=rouse/[0-9.]+\|vm_id={m.id}\|timestamp=[0-9TZ:-]+", value), value
            assert not WORLD.seen["azure"]
            sh("ip route del unreachable 168.63.129.16/32; ip address add 168.63.129.16/32 dev lo")
            thread.join()  # with a lease at last, Azure itself is told
            assert len(WORLD.seen["azure"]) == 1 and m.outcome("azure")["ok"] and m.outcome("azureHost")["ok"], m.report
            m.first.update(verdict="pending", reason=None)
            m.boot()
            assert [k for k, _ in kvp_records()] == ["other", "PROVISIONING_REPORT"], kvp_records()
            assert kvp_records()[1][1].startswith("result=success|agent=rouse/"), kvp_records()
    finally:
        shutil.rmtree(os.path.dirname(POOL))


def heat_gets_its_words():
    with Machine() as m:
        m.health["signals"] = {"heat": {"url": f"http://127.0.0.1/{m.id}", "token": SECRET}}
        m.boot()
        (r,) = m.asked()
        assert (r.method, r.target) == ("POST", f"/{m.id}") and r.headers["x-auth-token"] == SECRET, r
        assert r.body == f'{{"status":"SUCCESS","reason":"ready","data":"ready","id":"{m.id}"}}'.encode(), r
    with Machine() as m:
        m.health["signals"] = {"heat": {"url": f"http://127.0.0.1/{m.id}", "method": "PUT", "id": "node-1"}}
        m.failed("no lease").boot()
        (r,) = m.asked()
        assert r.method == "PUT" and "x-auth-token" not in r.names, r
        assert r.body == b'{"status":"FAILURE","reason":"no lease","data":"failed","id":"node-1"}', r


def phone_home_speaks_cloud_inits_form():
    with Machine() as m:
        m.health["signals"] = {"phoneHome": {"url": f"http://127.0.0.1/{m.id}", "format": "cloud-init"}}
        m.boot()
        (r,) = m.asked()
        fields = [f.split("=")[0] for f in r.body.decode().split("&")]
        assert fields == ["pub_key_rsa", "pub_key_ecdsa", "pub_key_ed25519", "instance_id", "hostname", "fqdn"], r
        assert f"instance_id={m.id}&" in r.body.decode() and r.headers["content-type"] == "application/x-www-form-urlencoded"
        m.failed().boot()
        assert len(m.asked()) == 1 and "not" in m.outcome("phoneHome")["note"]


def phone_home_speaks_cloud_inits_webhook():
    with Machine() as m:
        m.health["signals"] = {"phoneHome": {"url": f"http://127.0.0.1/{m.id}", "format": "webhook"}}
        m.failed("no lease").boot()
        body = json.loads(m.asked()[0].body)
        assert list(body) == ["name", "description", "event_type", "origin", "timestamp", "result", "duration", "instance_id"]
        assert body["result"] == "FAIL" and body["description"] == "no lease" and body["event_type"] == "finish", body


def object_is_put_and_signed():
    with Machine() as m:
        m.health["signals"] = {"object": {"url": f"s3://acme/boot/web/{m.id}.json"}}
        m.boot()
        (r,) = m.asked()
        assert (r.method, r.host, r.target) == ("PUT", "acme.s3.eu-west-1.amazonaws.com", f"/boot/web/{m.id}.json"), r
        assert r.headers["x-amz-content-sha256"] == hashlib.sha256(r.body).hexdigest(), r
        verify(r, "s3", "eu-west-1")
        body = json.loads(r.body)
        assert body["verdict"] == "ready" and body["document"] == {"sha256": "ab" * 32}, body


def object_that_cannot_be_put_costs_ten_seconds():
    with Machine() as m:
        m.health["signals"] = {"object": {"url": f"s3://acme/boot/{m.id}.json"}}
        m.answers((503, "")).boot()
        assert m.r.returncode == 0 and not m.outcome("object")["ok"] and m.took < 30, (m.took, m.report)


def signals_that_hang_hang_together():
    with Machine() as m:
        m.health["signals"] = {"object": {"url": f"http://127.0.0.1/{m.id}"},
                               "phoneHome": {"url": f"http://127.0.0.1/{m.id}"}}
        m.answers(("hang", "")).boot()
        first, second = m.asked()
        assert second.at - first.at < 8 and m.r.returncode == 0 and m.took < 30, (m.took, m.asked())  # each has ten seconds
        assert not m.outcome("object")["ok"] and not m.outcome("phoneHome")["ok"]


def cluster_api_finds_its_sentinel():
    path = "/run/cluster-api/bootstrap-success.complete"
    with Machine({"clusterApi": {}}).failed() as m:
        m.boot()
        assert not os.path.exists(path) and m.outcome("clusterApi")["ok"]
    with Machine({"clusterApi": {}}) as m:
        m.boot()
        with open(path, encoding="utf-8") as f:
            assert f.read() == "success"


def cloud_inits_files_are_written():
    with Machine({"cloudInit": {}}).failed("no lease") as m:
        m.boot()
        with open("/run/cloud-init/result.json", encoding="utf-8") as f:
            assert json.load(f) == {"v1": {"datasource": "DataSourceEc2", "errors": ["no lease"]}}
    with Machine({"cloudInit": {}}) as m:
        m.boot()
        with open("/run/cloud-init/result.json", encoding="utf-8") as f:
            assert json.load(f) == {"v1": {"datasource": "DataSourceEc2", "errors": []}}
        with open("/run/cloud-init/status.json", encoding="utf-8") as f:
            v1 = json.load(f)["v1"]
        assert v1["stage"] is None and all(v1[s]["finished"] and v1[s]["errors"] == [] for s in
                                           ("init-local", "init", "modules-config", "modules-final")), v1
        with open("/var/lib/cloud/instance/boot-finished", encoding="utf-8") as f:
            assert re.fullmatch(r"[0-9.]+ - \w{3}, \d\d \w{3} \d{4} [0-9:]{8} \+0000 - v\. rouse [0-9.]+\n", f.read())


def host_is_notified_by_any_kind_of_socket():
    for kind in (socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, socket.SOCK_STREAM):
        with Machine({"ci": {"vsock": True}}) as m, socket.socket(socket.AF_UNIX, kind) as host:
            address = os.path.join(m.top, "notify")
            host.bind(address)
            if kind != socket.SOCK_DGRAM:
                host.listen()
            creds = os.path.join(m.top, "creds")
            os.mkdir(creds)
            with open(os.path.join(creds, "vmm.notify_socket"), "w", encoding="utf-8") as f:
                f.write(address + "\n")
            got = []

            def hear():
                if kind == socket.SOCK_DGRAM:
                    got.append(host.recv(4096))
                    return
                with host.accept()[0] as c:
                    got.append(c.recv(4096))
            host.settimeout(LIMIT)
            thread = threading.Thread(target=hear)
            thread.start()
            m.failed("no lease").boot({"CREDENTIALS_DIRECTORY": creds})
            thread.join()
            assert m.outcome("vsock") ["ok"], m.report
            assert got[0].decode() == (f"X_ROUSE_STATE=failed\nX_ROUSE_INSTANCE={m.id}\nX_ROUSE_REASON=no lease\n"
                                       "STATUS=rouse: failed: no lease\nEXIT_STATUS=78\n"), got


def host_without_an_address_is_noted():
    with Machine({"ci": {"vsock": True}}) as m:
        m.boot()
        assert m.r.returncode == 0 and "no such credential" in m.outcome("vsock")["error"], m.report


def debug_exit_is_the_last_word():
    with Machine({"ci": {"debugExit": 1281}}).failed() as m:
        with open("/dev/port", "r+b") as f:
            f.truncate(0)
        m.boot()
        with open("/dev/port", "rb") as f:
            written = f.read()
        assert len(written) == 1282 and written[1281] == 16 + 78, written[-3:]
        assert (written[1281] << 1 | 1) == 33 + 2 * 78
        assert m.report["announced"], m.report


def manager_is_told():
    with Machine() as m, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        address = os.path.join(m.top, "notify")
        manager.bind(address)
        m.boot({"NOTIFY_SOCKET": address})
        manager.settimeout(LIMIT)
        assert manager.recv(4096) == b"STATUS=ready\nREADY=1"


def foreign_firmware_is_not_told():
    with Machine({"asg": {"group": "g", "hook": "h"}, "gce": {}, "azure": {}}) as m:
        sysroot = os.path.join(m.top, "sys")
        os.makedirs(os.path.join(sysroot, "class/dmi/id"))
        with open(os.path.join(m.run, "report.json"), "w", encoding="utf-8") as f:
            json.dump(m.first, f)
        with open(os.path.join(m.run, "health.json"), "w", encoding="utf-8") as f:
            json.dump(m.health, f)
        before = len(WORLD.seen.get("imds", []))
        WORLD.seen["gce"], WORLD.seen["azure"] = [], []
        r = subprocess.run(["unshare", "--mount", "sh", "-ec", f'mount --bind {sysroot} /sys; exec "$@"', "sh", ROUSE,
                            "health", "--run", m.run], timeout=LIMIT, capture_output=True, text=True, check=False)
        with open(os.path.join(m.run, "report.json"), encoding="utf-8") as f:
            outcomes = {s["name"]: s["ok"] for s in json.load(f)["signals"]}
        assert r.returncode == 0 and outcomes == {"asg": False, "gce": False, "azure": False, "azureHost": False}, (r, outcomes)
        assert len(WORLD.seen.get("imds", [])) == before and not WORLD.seen["gce"] and not WORLD.seen["azure"]


def boot_tries_its_channels_before_the_work():
    """A boot of a document with every kind of channel, of which some cannot work."""
    ident = ID
    document = {"rouse": 1, "files": {"/etc/motd": {"contents": "up\n"}},
                "health": {"signals": dict(ASG, object={"url": "s3://acme/boot/{instance.id}.json"}, gce={}, azure={},
                                           phoneHome={"url": "http://127.0.0.1/" + ident})}}
    WORLD.scripts["imds"] = {"/latest/user-data": json.dumps(document), "/latest/meta-data/instance-id": ident,
                             "/latest/dynamic/instance-identity/document": json.dumps(
                                 {"instanceId": ident, "region": "eu-west-1", "instanceType": "t", "availabilityZone": "a"})}
    WORLD.scripts[ident] = [(403, AMZ_ERROR.format("AccessDenied", "no"))]
    WORLD.seen["gce"], WORLD.seen["azure"] = [], []
    with Machine() as m:
        root, run = os.path.join(m.top, "root"), os.path.join(m.top, "run")
        os.makedirs(root + "/etc")
        with open(m.top + "/agent.json", "w", encoding="utf-8") as f:
            f.write("{}")
        boot = [ROUSE, "boot", "--root", root, "--run", run, "--settings", m.top + "/agent.json"]
        r = subprocess.run(boot, timeout=LIMIT, capture_output=True, text=True, check=False)
        with open(run + "/report.json", encoding="utf-8") as f:
            report = json.load(f)
        assert r.returncode == 0 and os.path.exists(root + "/etc/motd"), r
        # What `rouse health --run` of the same place is to check.
        assert "signals" in json.load(open(run + "/health.json", encoding="utf-8")), os.listdir(run)
        channels = {c["name"]: c["ok"] for c in report["channels"]}
        assert channels == {"object": False, "gce": True, "azure": True, "asg": False}, report["channels"]
        assert "cannot tell asg 'web fleet/launch/hook'" in r.stderr and "AccessDenied" in r.stderr, r.stderr
        assert json.loads(WORLD.seen["gce"][0].body)["verdict"] == "pending"
        assert json.loads(WORLD.seen["azure"][0].body) == {"state": "NotReady", "details": {
            "subStatus": "Provisioning", "description": "provisioning"}}
        beat = [q for q in WORLD.seen[ident] if b"Action=" in q.body]
        check_query(beat[0], "autoscaling", asg_body("RecordLifecycleActionHeartbeat", ident))
        # A corrected document that says nothing of health is not asked what the one before it was.
        del document["health"]
        WORLD.scripts["imds"]["/latest/user-data"] = json.dumps(document)
        r = subprocess.run(boot, timeout=LIMIT, capture_output=True, text=True, check=False)
        assert r.returncode == 0 and not os.path.exists(run + "/health.json"), r


def boot_asks_the_fleet_by_signed_requests():
    document = {"rouse": 1, "files": {"/etc/motd": {"contents": "up\n"}}}
    WORLD.scripts["imds"] = {"/latest/user-data": json.dumps(document), "/latest/meta-data/instance-id": ID,
                             "/latest/dynamic/instance-identity/document": json.dumps(
                                 {"instanceId": ID, "region": "eu-west-1", "instanceType": "t", "availabilityZone": "a"})}
    entry = "<Contents><Key>k{}</Key><LastModified>2099-01-01T00:00:00.000Z</LastModified><Size>30</Size></Contents>"
    WORLD.scripts["bucket"] = [(200, "<ListBucketResult>" + "".join(entry.format(i) for i in range(3)) + "</ListBucketResult>")]
    WORLD.seen["bucket"], WORLD.scripts[ID] = [], []
    with Machine() as m:
        os.makedirs(m.top + "/root/etc")
        with open(m.top + "/agent.json", "w", encoding="utf-8") as f:
            json.dump({"fleet": "s3://acme/fleet/web"}, f)
        os.chmod(m.top + "/agent.json", 0o600)
        r = subprocess.run([ROUSE, "boot", "--root", m.top + "/root", "--run", m.run, "--settings", m.top + "/agent.json"],
                           timeout=LIMIT, capture_output=True, text=True, check=False)
        with open(m.run + "/report.json", encoding="utf-8") as f:
            report = json.load(f)
        (q,) = WORLD.seen["bucket"]
        digest = report["document"]["sha256"]
        assert q.target == f"/?list-type=2&max-keys=1000&prefix=fleet%2Fweb%2F{digest}%2F", q
        verify(q, "s3", "eu-west-1")
        assert r.returncode == 78 and report["fleet"]["tripped"] and report["fleet"]["failed"] == 3, (r, report)
        assert report["action"] == "hold" and not os.path.exists(m.top + "/root/etc/motd"), report
        assert [s["note"] for s in report["signals"] if s["name"] == "fleet"] == ["this machine did not try the document"]


class Held:
    """The machine that the firmware speaks of, with a document that is wrong, and an image that says whom to tell."""

    def __init__(self, **settings):
        WORLD.seen[ID], WORLD.scripts[ID] = [], []
        self.serve({"rouse": 1, "hostnme": "x"})
        for path in ("/run/rouse", "/var/lib/rouse"):
            shutil.rmtree(path, ignore_errors=True)
        with open("/etc/rouse/agent.json", "w", encoding="utf-8") as f:
            json.dump(dict(settings, signals=dict(ASG, object={"url": "s3://acme/boot/{instance.id}.json"})), f)
        self.r = subprocess.run([ROUSE, "boot"], timeout=LIMIT, capture_output=True, text=True, check=False)
        self.p = subprocess.Popen([ROUSE, "health", "--hold"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def serve(self, document):
        identity = {"instanceId": ID, "region": "eu-west-1", "instanceType": "t", "availabilityZone": "a"}
        WORLD.scripts["imds"] = {"/latest/user-data": json.dumps(document), "/latest/meta-data/instance-id": ID,
                                 "/latest/dynamic/instance-identity/document": json.dumps(identity)}

    def asked(self):
        return WORLD.seen.get(ID, [])

    def beats(self):
        return [r for r in self.asked() if b"RecordLifecycleActionHeartbeat" in r.body]

    def end(self):
        try:
            out, err = self.p.communicate(timeout=LIMIT)
        finally:
            self.p.kill()
        with open("/run/rouse/report.json", encoding="utf-8") as f:
            return self.p.returncode, json.load(f), out + err


def held_machine_is_given_up_only_after_its_time():
    begin = time.monotonic()
    m = Held(holdMax="6s", holdPoll="1s")
    code, report, said = m.end()
    assert m.r.returncode == 78 and code == 78 and report["action"] == "abandon", (m.r, report, said)
    first, *beats, last = m.asked()
    assert (first.method, first.target) == ("PUT", f"/boot/{ID}.json"), first  # the reason goes out first
    assert "hostnme" in json.loads(first.body)["reason"], first
    assert [r.method for r in beats].count("PUT") == 1, m.asked()  # that it is given up; each try is no news
    beats = [r for r in beats if r.method == "POST"]
    assert len(beats) >= 2, m.asked()
    for r in beats:
        check_query(r, "autoscaling", asg_body("RecordLifecycleActionHeartbeat", ID))
    check_query(last, "autoscaling", asg_body("CompleteLifecycleAction", ID, "&LifecycleActionResult=ABANDON"))
    assert last.at - begin >= 6, (begin, first.at, last.at)


def held_machine_heals_when_its_document_is_corrected():
    m = Held(holdMax="30s", holdPoll="1s")
    until = time.monotonic() + 50
    while len(m.beats()) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    m.serve({"rouse": 1, "files": {"/run/motd": {"contents": "well\n"}}})
    code, report, said = m.end()
    assert code == 0 and report["verdict"] == "ready", (report, said)
    bodies = [r.body for r in m.asked() if r.method == "POST"]
    assert bodies[-1] == asg_body("CompleteLifecycleAction", ID, "&LifecycleActionResult=CONTINUE"), bodies
    assert set(bodies[:-1]) == {asg_body("RecordLifecycleActionHeartbeat", ID)}, bodies
    with open("/run/motd", encoding="utf-8") as f:
        assert f.read() == "well\n"


def fallback_that_is_not_well_either_is_given_up_after_its_time():
    with Machine(dict(ASG, object={"url": "s3://acme/boot/i-0f.json"}), ident="i-0f").degraded() as m:
        for path in ("/run/rouse", "/var/lib/rouse"):
            shutil.rmtree(path, ignore_errors=True)
        os.mkdir("/run/rouse")
        m.run = "/run/rouse"
        m.health.update(checks={"never": {"tcp": 9}}, deadline="1s", holdMax="4s", holdPoll="1s")
        begin = time.monotonic()
        m.boot(None, "--hold")
        assert m.r.returncode == 71 and m.report["verdict"] == "failed" and m.report["action"] == "abandon", (m.r, m.report)
        assert m.report["fallback"]["reason"] == "the cache is away" and "check 'never'" in m.report["reason"], m.report
        first, *between, last = m.asked()
        assert first.method == "PUT" and "check 'never'" in json.loads(first.body)["reason"], first
        check_query(last, "autoscaling", asg_body("CompleteLifecycleAction", m.id, "&LifecycleActionResult=ABANDON"))
        assert last.at - begin >= 5 and between[-1].method == "PUT", m.asked()
        assert all(r.method == "PUT" or b"RecordLifecycleActionHeartbeat" in r.body for r in between), m.asked()


ALONE = [held_machine_is_given_up_only_after_its_time, held_machine_heals_when_its_document_is_corrected,
         fallback_that_is_not_well_either_is_given_up_after_its_time,
         boot_asks_the_fleet_by_signed_requests, asg_signs_by_the_services_clock, asg_asks_for_fresh_credentials_once, asg_of_no_group_has_nothing_to_do,
         asg_of_a_warm_pool_is_told_twice, asg_of_a_running_warm_pool_is_told_when_it_wants_the_machine, asg_that_removes_the_machine_is_not_told_to_go_on, asg_is_found_out,
         asg_is_in_the_tags, gce_writes_a_guest_attribute, gce_has_the_host_keys_that_its_ssh_looks_for, gce_without_attributes_says_how, azure_hears_ready,
         azure_hears_why_not, azure_that_is_busy_is_told_again, azures_host_hears_of_it_without_a_network, cluster_api_finds_its_sentinel,
         cloud_inits_files_are_written, debug_exit_is_the_last_word, foreign_firmware_is_not_told,
         boot_tries_its_channels_before_the_work]
TOGETHER = [asg_without_an_action_ends, asg_is_told_again_by_what_follows_a_crash, asg_beats_while_checks_go_on, asg_is_kept_waiting_for_a_hundred_timeouts_at_most,
            asg_is_kept_waiting_while_the_machine_is_held, asg_hears_nothing_of_a_machine_that_is_stuck,
            asg_waits_for_an_action_that_is_late, object_that_cannot_be_put_costs_ten_seconds,
            signals_that_hang_hang_together, asg_tries_again_what_is_busy, asg_completes_the_hook,
            asg_reboot_in_service_signals_nothing, asg_abandons_a_failed_boot, asg_is_not_told_while_the_machine_is_held,
            asg_hears_of_a_boot_that_was_given_up, asg_of_a_degraded_machine_goes_on, asg_of_a_degraded_machine_may_give_up, asg_that_denies_is_final,
            asg_hears_of_a_machine_that_fails_in_service, asg_is_reached_over_the_other_name,
            cloudformation_is_authorized_by_the_identity, cloudformation_that_waits_for_nothing_is_fine,
            cloudformation_that_is_busy_is_asked_again, cloudformation_handle_gets_a_reason, heat_gets_its_words,
            phone_home_speaks_cloud_inits_form, phone_home_speaks_cloud_inits_webhook, object_is_put_and_signed,
            host_is_notified_by_any_kind_of_socket, host_without_an_address_is_noted, manager_is_told]


def sh(script):
    subprocess.run(["sh", "-ec", script], check=True)


def build_world(work):
    dmi = os.path.join(work, "sys/class/dmi/id")
    for d in (dmi, work + "/sys/class/block", work + "/sys/class/net", work + "/dev"):
        os.makedirs(d)
    for name, value in (("sys_vendor", "Amazon EC2"), ("product_name", "Google Compute Engine"),
                        ("chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77"), ("board_asset_tag", ID)):
        with open(os.path.join(dmi, name), "w", encoding="utf-8") as f:
            f.write(value + "\n")
    names = ["autoscaling.eu-west-1.amazonaws.com", "cloudformation.eu-west-1.amazonaws.com", "acme.s3.eu-west-1.amazonaws.com",
             "autoscaling.eu-central-1.api.aws"]
    with open(work + "/hosts", "w", encoding="utf-8") as f:
        f.write("127.0.0.1 localhost\n" + "".join(f"127.0.0.1 {n}\n" for n in names))
        f.write("127.0.0.9 autoscaling.eu-central-1.amazonaws.com\n")  # where nobody listens
    with open(work + "/cmdline", "w", encoding="utf-8") as f:
        f.write("quiet\n")
    san = ",".join("DNS:" + n for n in names)
    sh(f"""cd {work}
        mount -t tmpfs none dev && mknod -m 666 dev/null c 1 3 && mknod -m 666 dev/urandom c 1 9 && mknod -m 666 dev/random c 1 8
        touch dev/port dev/console && mount --bind dev /dev
        mount --bind sys /sys && mount --bind cmdline /proc/cmdline
        mkdir -p etc/up etc/work && mount -t tmpfs none etc && mkdir -p etc/up/rouse etc/work
        mount -t overlay -o lowerdir=/etc,upperdir=etc/up,workdir=etc/work overlay /etc && mount --bind hosts /etc/hosts
        mkdir -p /etc/ssh && rm -f /etc/ssh/ssh_host_*
        mount -t tmpfs none /run && mount -t tmpfs none /var/lib && mount -t tmpfs none /usr/lib/systemd
        ip link set lo up; ip address add 169.254.169.254/32 dev lo; ip address add 168.63.129.16/32 dev lo
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test \\
            -addext subjectAltName={san} -keyout key.pem -out ca.pem 2>/dev/null; cat key.pem ca.pem >tls.pem
        mkdir -p /etc/ssl/certs && touch /etc/ssl/certs/ca-certificates.crt && mount --bind ca.pem /etc/ssl/certs/ca-certificates.crt""")
    os.environ["SSL_CERT_FILE"] = work + "/ca.pem"
    http.server.ThreadingHTTPServer.request_queue_size = 128
    http.server.ThreadingHTTPServer.daemon_threads = True
    for address, port in (("169.254.169.254", 80), ("168.63.129.16", 80), ("127.0.0.1", 80), ("127.0.0.1", 443)):
        server = http.server.ThreadingHTTPServer((address, port), Handler)
        if port == 443:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(work + "/tls.pem")
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()


def run_one(test):
    try:
        test()
        return None
    except Exception:  # a test that breaks is a test that failed
        return traceback.format_exc()
    finally:
        if test in ALONE:
            WORLD.scripts.pop("imds", None)
            WORLD.scripts.pop("/", None)


def main():
    only = sys.argv[3:]
    together = [t for t in TOGETHER if not only or t.__name__ in only]
    alone = [t for t in ALONE if not only or t.__name__ in only]
    build_world(sys.argv[2])
    print(f"1..{len(together) + len(alone)}", flush=True)
    n, failed = 0, False
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(zip(together, pool.map(run_one, together)))
    for test, trace in results + [(t, None) for t in alone]:
        n += 1
        trace = run_one(test) if test in alone else trace
        if trace:
            failed = True
            print("# " + trace.replace("\n", "\n# "))
        print(f"{'not ok' if trace else 'ok'} {n} - {test.__name__}", flush=True)
    return failed


if sys.argv[1:2] == ["inside"]:
    sys.exit(main())
if os.geteuid() != 0 or subprocess.run(["unshare", "--net", "--mount", "--time", "true"], check=False,
                                       stderr=subprocess.DEVNULL).returncode:
    print("1..0 # SKIP needs root and namespaces")
    sys.exit(0)
top = tempfile.mkdtemp(prefix="rouse-signals-world-")
try:
    status = subprocess.run(["unshare", *clock_of(20), "--net", "--mount", "--propagation", "private", sys.executable, os.path.abspath(__file__),
                             "inside", top, *sys.argv[1:]], check=False).returncode
finally:
    shutil.rmtree(top, ignore_errors=True)
sys.exit(status)
