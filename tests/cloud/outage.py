#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Caches that are out of order. For a while, and all the machines of a fleet want something of it at once: they neither
hammer at it meanwhile nor fall upon it when it is back. For good, in the middle of a pull: that ends."""
import base64
import hashlib
import http.server
import os
import struct
import subprocess
import tempfile
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


def words(*items):
    """Strings of an archive (Nix's thesis, figure 5.2)."""
    return b"".join(struct.pack("<Q", len(i)) + i + bytes(-len(i) % 8) for i in items)


def base32(digest):
    number = int.from_bytes(digest, "little")
    return "".join("0123456789abcdfghijklmnpqrsvwxyz"[number >> 5 * i & 31] for i in reversed(range(52)))


class Archive:
    """A path whose narinfo is signed."""

    name = "0" * 32 + "-web-1"
    data = words(b"nix-archive-1", b"(", b"type", b"regular", b"contents", b"nobody ever has the end", b")")

    def __init__(self, top):
        openssl = lambda *argv: subprocess.run(["openssl", *argv], check=True, stdout=subprocess.PIPE).stdout  # noqa: E731
        digest = "sha256:" + base32(hashlib.sha256(self.data).digest())
        with open(f"{top}/claim", "w", encoding="ascii") as f:
            f.write(f"1;/nix/store/{self.name};{digest};{len(self.data)};")
        openssl("genpkey", "-algorithm", "ed25519", "-out", f"{top}/key.pem")
        public = openssl("pkey", "-in", f"{top}/key.pem", "-pubout", "-outform", "DER")[-32:]
        signature = openssl("pkeyutl", "-sign", "-rawin", "-inkey", f"{top}/key.pem", "-in", f"{top}/claim")
        self.key = "acme-1:" + base64.b64encode(public).decode()
        self.narinfo = (f"StorePath: /nix/store/{self.name}\nURL: nar/web.nar\nCompression: none\nNarHash: {digest}\n"
                        f"NarSize: {len(self.data)}\nReferences: \nSig: acme-1:{base64.b64encode(signature).decode()}\n").encode()


class Pull:
    """A pull without a bound of its own from a cache that has all but the archive: "away" says 503 for it, "torn" sends
    its beginning, and that anew for each try."""

    def __init__(self, kind, archive, top):
        answers = {".narinfo": (200, archive.narinfo, 1000), ".nar": {"away": (503, b"", 0), "torn": (200, archive.data, 9)}[kind]}

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                status, body, most = answers.get(os.path.splitext(self.path)[1], (404, b"", 0))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[:most])

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.store = f"{top}/{kind}"
        os.mkdir(self.store)
        argv = [ROUSE, "pull", "--store", self.store, "--cache", f"http://127.0.0.1:{self.http.server_port}", "--key", archive.key,
                "/nix/store/" + archive.name]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def end(self):
        try:
            self.text = self.process.communicate(timeout=2 * LIMIT)[0]
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.text = "it goes on and on: " + self.process.communicate()[0]

    def gave_up(self, why):
        last = self.text.splitlines()[-1] if self.text else ""
        return self.process.returncode == 75 and why in last and "then no byte has come for too long, tried" in last

    def left(self):
        return [name for _, directories, files in os.walk(self.store) for name in directories + files if "web" in name]


def pulls_that_end(top):
    archive = Archive(top)
    pulls = [Pull("away", archive, top), Pull("torn", archive, top)]
    for p in pulls:
        p.end()
    return pulls


def main():
    with tempfile.TemporaryDirectory() as top:
        run(top)


def run(top):
    ended = []
    waiting = threading.Thread(target=lambda: ended.extend(pulls_that_end(top)))
    waiting.start()
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
    waiting.join()
    away, torn = ended
    print("1..9")
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
        ("a pull whose cache goes away in its middle ends, and says why", away.gave_up("503")),
        ("and so does one that only ever has the beginning of an archive", torn.gave_up("bytes remaining")),
        ("neither leaves a path", not away.left() + torn.left()),
    ]
    for i, (name, good) in enumerate(verdicts, 1):
        print(f"{'ok' if good else 'not ok'} {i} - {name}")
    if not (verdicts[0][1] and verdicts[1][1]):
        print("# " + out[0].replace("\n", "\n# "), [m.returncode for m in machines])
    for p in ended if not all(good for _, good in verdicts[6:]) else []:
        print("# " + p.text.replace("\n", "\n# "), p.process.returncode, p.left())
    raise SystemExit(not all(good for _, good in verdicts))


main()
