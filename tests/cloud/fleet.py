#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A group of machines and a document that cannot work, with the fleet's breaker and without: real agents, one bucket.

  fleet.py             the tests, with 40 machines
  fleet.py --size N    the same with N; prints launches, requests and time

The group is what an autoscaling group is: a machine that is given up is replaced at once.
"""
import argparse
import concurrent.futures
import datetime
import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from urllib.parse import parse_qs, urlsplit

ROUSE = os.path.abspath(os.environ.get("ROUSE", "build/rouse"))
LIMIT = 120  # seconds for one agent
WORKERS = 8  # agents at a time: the processors of this machine are few
KEY = "acme-1:nJmSRrKkSaK3neLsRLEQXFtTM365FwldyzZpxG20GS8="


class Bucket:
    """Objects with their times; listed as S3 lists them, counted by what they are for."""

    def __init__(self):
        self.objects, self.requests, self.lock, self.age, self.broken = {}, {}, threading.Lock(), 0, False
        bucket = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def answer(self, status, body=b""):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def do_GET(self):
                url = urlsplit(self.path)
                kind = "listing" if "list-type" in url.query else url.path.split("/")[1]
                with bucket.lock:
                    bucket.requests[kind] = bucket.requests.get(kind, 0) + 1
                    if bucket.broken and kind in ("listing", "fleet"):
                        return self.answer(503)
                    if kind == "listing":
                        return self.answer(200, bucket.listing(url.path.strip("/"), parse_qs(url.query)))
                    found = bucket.objects.get(url.path)
                return self.answer(200, found[0]) if found else self.answer(404)

            do_HEAD = do_GET

            def do_PUT(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with bucket.lock:
                    bucket.requests["put"] = bucket.requests.get("put", 0) + 1
                    bucket.objects[self.path] = (body, time.time())
                self.answer(200)

        http.server.ThreadingHTTPServer.request_queue_size = 256
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.handle_error = lambda *_: None  # an agent that has heard enough hangs up
        self.port = self.http.server_port
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def listing(self, name, query):
        prefix, after = f"/{name}/{query['prefix'][0]}", query.get("continuation-token", [""])[0]
        found = [(p, *of) for p, of in sorted(self.objects.items()) if p.startswith(prefix) and "page/+ " + p > after]
        rows = []
        for path, body, at in found[:1000]:
            when = datetime.datetime.fromtimestamp(at - self.age, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            rows.append(f"<Contents><Key>{path[len(name) + 2:]}</Key><LastModified>{when}</LastModified>"
                        f'<ETag>"e"</ETag><Size>{len(body)}</Size></Contents>')
        more = f"<NextContinuationToken>page/+ {found[999][0]}</NextContinuationToken>" if len(found) > 1000 else ""
        return ('<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>fleet</Name>'
                f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{more}" + "".join(rows) + "</ListBucketResult>").encode()

    def put(self, path, body):
        self.objects[path] = (body if isinstance(body, bytes) else body.encode(), time.time())

    def tally(self):
        return [body for path, (body, _) in self.objects.items() if re.fullmatch(r"/fleet/boot/[0-9a-f]{64}/[^/]+", path)]


class Group:
    """Machines of one launch template."""

    def __init__(self, size, breaker=True, most=10**9, **settings):
        self.size, self.most, self.launches, self.ready, self.held, self.gone = size, most, 0, 0, [], 0
        self.bucket = Bucket()
        self.top = tempfile.mkdtemp(prefix="rouse-fleet-")
        self.settings = dict({"onFailure": "abandon"}, **settings)
        if breaker:
            self.settings["fleet"] = {"url": f"s3://fleet/boot?endpoint=http://127.0.0.1:{self.bucket.port}&region=eu-west-1",
                                      "failures": 3}

    def serve(self, document):
        text = json.dumps(document)
        self.bucket.put("/document/web.json", text)
        self.settings.update(document=f"http://127.0.0.1:{self.bucket.port}/document/web.json",
                             sha256=hashlib.sha256(text.encode()).hexdigest())
        with open(self.top + "/agent.json", "w", encoding="utf-8") as f:
            json.dump(self.settings, f)
        os.chmod(self.top + "/agent.json", 0o600)

    def serve_bad(self):
        """A valid document whose closure is in no cache."""
        self.serve({"rouse": 1, "caches": {"acme": {"url": f"http://127.0.0.1:{self.bucket.port}/cache", "keys": [KEY]}},
                    "profiles": {"root": {"web": {"path": "/nix/store/" + "0" * 32 + "-web-1",
                                                  "narHash": "sha256-" + "A" * 43 + "="}}}})

    def serve_good(self):
        self.serve({"rouse": 1, "files": {"/etc/motd": {"contents": "well\n"}}})

    def boot(self, name):
        """One boot of one machine; what the report says of it."""
        top = os.path.join(self.top, name)
        os.makedirs(top + "/root/etc", exist_ok=True)
        with open(top + "/boot_id", "w", encoding="utf-8") as f:
            f.write(name + "\n")
        r = subprocess.run(["unshare", "--mount", "sh", "-ec",
                            f'mount --bind {top}/boot_id /proc/sys/kernel/random/boot_id; exec "$@"', "sh", ROUSE, "boot",
                            "--root", top + "/root", "--run", top + "/run", "--settings", self.top + "/agent.json"],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False)
        with open(top + "/run/report.json", encoding="utf-8") as f:
            return r, json.load(f)

    def launch(self, name):
        r, report = self.boot(name)
        # A service in the image gives its verdict later; what counts here is that it got there.
        if r.returncode == 0:
            self.ready += 1
            self.bucket.put(f"/fleet/boot/{report.get('fleet', {}).get('digest', 'none')}/{name}", "ready\n")
        elif report.get("action") == "hold":
            self.held.append(name)
        else:
            self.gone += 1
        return r, report

    def fill(self):
        """Launches until every place is taken by a machine that was not given up, or `most` launches were made."""
        begin = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            running = set()
            while True:
                while self.launches < self.most and len(running) + self.ready + len(self.held) < self.size \
                        and len(running) < WORKERS:
                    self.launches += 1
                    running.add(pool.submit(self.launch, str(uuid.uuid4())))
                if not running:
                    break
                done, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for f in done:
                    f.result()
        self.took = time.monotonic() - begin
        return self

    def poll(self):
        """Each held machine tries once more, as it does every few minutes."""
        names, self.held = self.held, []
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(self.launch, names))

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.bucket.http.shutdown()
        self.bucket.http.server_close()
        shutil.rmtree(self.top)


def check(condition, *about):
    if not condition:
        raise AssertionError(*about)


def say(what, g):
    requests = ", ".join(f"{k} {v}" for k, v in sorted(g.bucket.requests.items()))
    print(f"# {what}: {g.launches} launches for {g.size} places, {g.gone} given up, {len(g.held)} held, {g.ready} ready; "
          f"requests: {requests} (sum {sum(g.bucket.requests.values())}); {g.took:.1f} s", flush=True)


def group_of_a_bad_document_settles(size):
    with Group(size, breaker=False, most=5 * size) as g:
        g.serve_bad()
        g.fill()
        say(f"without the breaker, stopped at {5 * size} launches", g)
        check(g.launches == 5 * size and g.ready == 0 and not g.held, g.launches, g.held)
    with Group(size) as g:
        g.serve_bad()
        g.fill()
        say("with the breaker", g)
        check(len(g.held) == size and g.gone <= 3 + WORKERS and g.launches == size + g.gone, g.launches, g.gone)
        check(len(g.bucket.tally()) == g.gone, g.bucket.tally())  # who did not try it has no say
        check(all(b.startswith(b"failed: ") and b"closure" in b for b in g.bucket.tally()), g.bucket.tally()[:1])
        before = g.launches
        g.poll()
        check(len(g.held) == size and g.gone <= 3 + WORKERS)  # still open
        g.serve_good()
        g.poll()
        say("… and after the document was corrected", g)
        check(g.ready == size and g.launches == before and not g.held, g.ready, g.launches)


def good_document_is_never_stopped(size):
    with Group(size) as g:
        g.serve_good()
        g.fill()
        check(g.ready == size == g.launches, g.ready, g.launches)


def one_success_outweighs_failures(_):
    with Group(1, most=5) as g:
        g.serve_bad()
        _, report = g.launch("first")
        digest = report["fleet"]["digest"]
        for i in range(9):
            g.bucket.put(f"/fleet/boot/{digest}/i-{i}", "failed: something\n")
        g.bucket.put(f"/fleet/boot/{digest}/i-well", "ready\n")
        r, report = g.boot("next")
        check("tripped" not in report["fleet"] and report["fleet"]["failed"] == 10 and report["fleet"]["ready"] == 1, report)
        check("closure" in r.stderr, r)
        del g.bucket.objects[f"/fleet/boot/{digest}/i-well"]
        r, report = g.boot("last")
        check(report["fleet"]["tripped"] and report["action"] == "hold" and r.returncode == 78, report)
        check("failed on 11 machines, and was well on none" in report["reason"], report["reason"])


def success_behind_thousands_of_failures_counts(_):
    with Group(1) as g:
        g.serve_bad()
        _, report = g.launch("first")
        digest = report["fleet"]["digest"]
        for i in range(2500):
            g.bucket.put(f"/fleet/boot/{digest}/i-{i:05}", "failed: something\n")
        g.bucket.requests = {}
        r, report = g.boot("next")
        check(report["fleet"]["tripped"] and report["fleet"]["failed"] == 2501 and r.returncode == 78, report)
        check(g.bucket.requests["listing"] == 3, g.bucket.requests)
        g.bucket.put(f"/fleet/boot/{digest}/i-z-well", "ready\n")
        r, report = g.boot("last")
        check("tripped" not in report["fleet"] and report["fleet"]["ready"] == 1 and "closure" in r.stderr, report)


def old_failures_are_forgotten(_):
    with Group(1) as g:
        g.serve_bad()
        for name in ("a", "b", "c", "d"):
            g.launch(name)
        check(g.held == ["d"], g.held)
        g.bucket.age = 3700
        _, report = g.boot("e")
        check("tripped" not in report["fleet"] and report["fleet"]["failed"] == 0, report["fleet"])


def breaker_that_cannot_be_asked_stops_nobody(_):
    with Group(1) as g:
        g.serve_good()
        g.bucket.broken = True
        begin = time.monotonic()
        r, report = g.boot("a")
        check(r.returncode == 0 and "ignoring" in r.stderr and "tripped" not in report["fleet"], r)
        check(time.monotonic() - begin < 45)


def people_may_overrule_it(_):
    with Group(1) as g:
        names = [subprocess.run([ROUSE, "keygen", n, "--output", f"{g.top}/{n}"], check=True, capture_output=True,
                                text=True).stdout.split()[-1] for n in ("ops", "other")]
        g.settings["keys"] = [names[0]]
        g.serve_bad()

        def control(text, key="ops"):
            with open(g.top + "/CONTROL", "w", encoding="utf-8") as f:
                f.write(text)
            subprocess.run([ROUSE, "sign", g.top + "/CONTROL", "--key", f"{g.top}/{key}"], check=True, capture_output=True)
            for name in ("CONTROL", "CONTROL.sig"):
                with open(f"{g.top}/{name}", "rb") as f:
                    g.bucket.put("/fleet/boot/" + name, f.read())

        _, report = g.boot("a")
        check(report["action"] == "abandon" and "tripped" not in report["fleet"], report)
        control('{ "gen": 1, "mode": "hold" }')
        r, report = g.boot("b")
        check(report["fleet"]["tripped"] and report["action"] == "hold" and "control object" in report["reason"], r, report)
        control('{ "gen": 2, "mode": "hold", "expires": 1000 }')
        _, report = g.boot("c")
        check("tripped" not in report["fleet"], report)
        control('{ "gen": 3, "mode": "hold" }', "other")
        r, report = g.boot("d")
        check("tripped" not in report["fleet"] and "ignoring" in r.stderr, r)
        digest = report["fleet"]["digest"]
        for i in range(9):
            g.bucket.put(f"/fleet/boot/{digest}/i-{i}", "failed: something\n")
        control('{ "gen": 4, "mode": "normal" }')
        r, report = g.boot("e")
        check("tripped" not in report["fleet"] and "closure" in r.stderr, r)


def old_word_of_people_does_not_come_back(_):
    with Group(1) as g:
        name = subprocess.run([ROUSE, "keygen", "ops", "--output", g.top + "/ops"], check=True, capture_output=True,
                              text=True).stdout.split()[-1]
        g.settings["keys"] = [name]
        g.serve_bad()

        def control(text):
            with open(g.top + "/CONTROL", "w", encoding="utf-8") as f:
                f.write(text)
            subprocess.run([ROUSE, "sign", g.top + "/CONTROL", "--key", g.top + "/ops"], check=True, capture_output=True)
            for n in ("CONTROL", "CONTROL.sig"):
                with open(f"{g.top}/{n}", "rb") as f:
                    g.bucket.put("/fleet/boot/" + n, f.read())

        control('{ "gen": 7, "mode": "hold" }')
        _, report = g.boot("a")
        check(report["fleet"]["tripped"], report)
        for old in ('{ "gen": 6, "mode": "hold" }', '{ "mode": "hold" }'):
            control(old)
            r, report = g.boot("a")  # the same machine
            check("tripped" not in report["fleet"] and "there was one with 7" in r.stderr, r)
        control('{ "gen": 6, "mode": "hold" }')
        _, report = g.boot("b")  # another, which has seen none
        check(report["fleet"]["tripped"], report)
        g.settings["fleet"]["gen"] = 7
        g.serve_bad()
        r, report = g.boot("c")
        check("tripped" not in report["fleet"] and "there was one with 7" in r.stderr, r)
        control('{ "gen": 7, "mode": "hold" }')
        _, report = g.boot("a")
        check(report["fleet"]["tripped"], report)


TESTS = [group_of_a_bad_document_settles, good_document_is_never_stopped, one_success_outweighs_failures,
         success_behind_thousands_of_failures_counts, old_failures_are_forgotten, breaker_that_cannot_be_asked_stops_nobody, people_may_overrule_it,
         old_word_of_people_does_not_come_back]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--size", type=int, default=40)
    size = p.parse_args().size
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        print("1..0 # SKIP needs root and namespaces")
        return 0
    failed = False
    print(f"1..{len(TESTS)}", flush=True)
    for n, test in enumerate(TESTS, 1):
        try:
            test(size)
            print(f"ok {n} - {test.__name__}", flush=True)
        except Exception as e:  # a test that breaks is a test that failed
            failed = True
            print(f"# {type(e).__name__}: {e}".replace("\n", "\n# "))
            print(f"not ok {n} - {test.__name__}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
