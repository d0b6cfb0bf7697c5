#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A cache that is out of order for a while, and all the machines of a fleet that want something of it at once: they
neither hammer at it meanwhile nor fall upon it when it is back."""
import http.server
import os
import subprocess
import threading
import time

ROUSE = os.path.abspath(os.environ.get("ROUSE", "build/rouse"))
KEY = "acme-1:nJmSRrKkSaK3neLsRLEQXFtTM365FwldyzZpxG20GS8="
SIZE = 50
OUTAGE = 6  # seconds
LIMIT = 120


class Cache:
    """503 until `back`, and then 404: that is an answer, and the agent that has it ends. The outage begins for all at
    once: nobody is answered before each has asked, however long this machine needs to start them."""

    def __init__(self):
        self.times, self.came, self.lock, self.back, self.all_are_there = [], 0, threading.Lock(), float("inf"), threading.Event()
        cache = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                now = time.monotonic()
                with cache.lock:
                    cache.times.append(now)
                    cache.came += self.path.endswith(".narinfo")  # of which each asks for one
                    if cache.came == SIZE and not cache.all_are_there.is_set():
                        cache.back = now + OUTAGE
                        cache.all_are_there.set()
                cache.all_are_there.wait(LIMIT)
                self.send_response(503 if now < cache.back else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()

        http.server.ThreadingHTTPServer.request_queue_size = 256
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}"


def main():
    cache = Cache()
    argv = [ROUSE, "pull", "--dry-run", "--store", "/nonexistent", "--cache", cache.url, "--key", KEY, "--timeout", f"{LIMIT}s",
            "/nix/store/" + "0" * 32 + "-web-1"]
    machines = [subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                for _ in range(SIZE)]
    cache.all_are_there.wait(LIMIT)
    begin = cache.back - OUTAGE
    out = [m.communicate()[0].decode() for m in machines]
    late = [t - begin for t in cache.times]
    during = [sum(1 for t in late if s <= t < s + 1) for s in range(OUTAGE)]
    after = sorted(t - OUTAGE for t in late if t >= OUTAGE)
    print("1..6")
    print(f"# {SIZE} machines, {OUTAGE} s of 503: requests in each second {during}, then answers over {after[-1]:.1f} s")
    verdicts = [
        ("every machine waited, and then had its answer",
         all(m.returncode == 78 for m in machines) and all("web-1" in text for text in out)),
        ("each says once what it waits for",
         all(text.count("503") == 1 and cache.url in text and "trying again, for at most 1 m" in text for text in out)),
        ("each asks again a few times at most while the cache is away", sum(during) <= 12 * SIZE),
        ("and less often the longer that takes", sum(during[-2:]) < sum(during[:2]) / 2),
        ("in no second do half of them come back", max(sum(1 for t in after if s <= t < s + 1) for s in range(60)) <= len(after) / 2),
        ("what they come back for is spread over seconds", after[-1] >= 2),
    ]
    for i, (name, good) in enumerate(verdicts, 1):
        print(f"{'ok' if good else 'not ok'} {i} - {name}")
    if not (verdicts[0][1] and verdicts[1][1]):
        print("# " + out[0].replace("\n", "\n# "), [m.returncode for m in machines])
    raise SystemExit(not all(good for _, good in verdicts))


main()
