#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A metadata service for tests: a happy EC2 (IMDSv2), and every way in which one may misbehave.

  imds.py [--port N] [--bind ADDRESS] [--tls PEM] [--user-data FILE] [--scenario FILE] [--log FILE]
  imds.py --stdio …            one connection on stdin/stdout (qemu guestfwd -cmd)

Prints "port N" when it listens. Ends when its stdin does (--port), so that it never outlives a test.

A scenario is a JSON object. "METHOD /path" names a list of answers, given in turn; the last one is
repeated; without the query, the path also matches any query. "*" answers what nothing else does
(default 404). "cloud" names one of clouds.json, whose recorded answers the scenario then changes. "connections" is a list of "rst", "drop" or "ok", one per accepted connection; "ec2":
false leaves the happy EC2 out. An answer is an object of:

  status, reason, headers ({name: value or [values]})
  body | base64 | file | size (that many "x") | token (a fresh one) | raw (instead of everything)
  needs          403 unless the request has these headers ({name: value}; "*": a token that is good,
                 else 401)
  low_port       403 unless the request comes from a port below 1024
  needs_token    401 unless the request bears a token that is still good
  token_uses     on "token": it is good for that many requests
  delay          ms before the answer
  drop, rst      close, or reset, the connection instead of answering
  truncate       only so many body bytes are sent, then the connection ends (with rst: reset)
  length         Content-Length to say instead of the true one
  no_length      no Content-Length: the end of the connection ends the body
  chunked        chunked coding; with truncate, its end is missing
  drip           ms between single bytes of the body
  close          close the connection after the answer

A request "SCENARIO /" replaces the scenario by its body, and empties the log.
"""
import argparse
import base64
import fcntl
import json
import os
import socket
import ssl
import struct
import sys
import threading
import time

IDENTITY = {
    "accountId": "123456789012", "architecture": "x86_64", "availabilityZone": "eu-west-1b",
    "imageId": "ami-0123456789abcdef0", "instanceId": "i-0abc123def4567890",
    "instanceType": "m7i.large", "pendingTime": "2026-01-01T00:00:00Z", "privateIp": "10.0.0.7",
    "region": "eu-west-1", "version": "2017-09-30", "kernelId": None, "billingProducts": None,
}


def happy_ec2(user_data):
    """The answers of an instance with tags in its metadata."""
    protected = {
        "/latest/dynamic/instance-identity/document": json.dumps(IDENTITY),
        "/latest/meta-data/instance-id": IDENTITY["instanceId"],
        "/latest/meta-data/instance-type": IDENTITY["instanceType"],
        "/latest/meta-data/placement/region": IDENTITY["region"],
        "/latest/meta-data/placement/availability-zone": IDENTITY["availabilityZone"],
        "/latest/meta-data/local-hostname": "ip-10-0-0-7.eu-west-1.compute.internal",
        "/latest/meta-data/autoscaling/target-lifecycle-state": "InService",
        "/latest/meta-data/iam/security-credentials/": "web",
        "/latest/meta-data/iam/security-credentials/web": json.dumps({
            "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIA0", "SecretAccessKey": "secret",
            "Token": "token", "Expiration": "2099-01-01T00:00:00Z"}),
        "/latest/meta-data/tags/instance": "Name\nrole",
        "/latest/meta-data/tags/instance/": "Name\nrole",
        "/latest/meta-data/tags/instance/Name": "web one",
        "/latest/meta-data/tags/instance/role": "web",
    }
    rules = {"GET " + path: [{"body": body, "needs_token": True}] for path, body in protected.items()}
    rules["PUT /latest/api/token"] = [{"token": True}]
    if user_data:
        rules["GET /latest/user-data"] = [{"file": user_data, "needs_token": True}]
    else:
        rules["GET /latest/user-data"] = [{"status": 404, "needs_token": True}]
    return rules


class Script:
    """What to answer next. The counters live in a file when each connection is its own process."""

    def __init__(self, scenario, user_data, state):
        self.user_data = user_data
        self.lock = threading.Lock()
        self.file = open(state, "a+") if state else None
        self.play(scenario)

    def play(self, scenario):
        self.rules = happy_ec2(self.user_data) if scenario.get("ec2", "cloud" not in scenario) else {}
        if "cloud" in scenario:
            with open(os.path.join(os.path.dirname(__file__), "clouds.json"), encoding="utf-8") as f:
                self.rules = json.load(f)[scenario["cloud"]]["rules"]
        self.rules.update({k: v for k, v in scenario.items() if k not in ("ec2", "cloud", "connections")})
        self.connections = scenario.get("connections", [])
        self.state = {"given": {}, "tokens": {}, "connections": 0}

    def __enter__(self):
        self.lock.acquire()
        if self.file:
            fcntl.flock(self.file, fcntl.LOCK_EX)
            self.file.seek(0)
            self.state = json.loads(self.file.read() or json.dumps(self.state))
        return self

    def __exit__(self, *_):
        if self.file:
            self.file.seek(0)
            self.file.truncate()
            self.file.write(json.dumps(self.state))
            self.file.flush()
            fcntl.flock(self.file, fcntl.LOCK_UN)
        self.lock.release()

    def connection(self):
        with self:
            n = self.state["connections"]
            self.state["connections"] = n + 1
        if n < len(self.connections):
            return self.connections[n]
        return "ok"

    def token_is_good(self, token):
        left = self.state["tokens"].get(token, 0)
        if left > 0:
            self.state["tokens"][token] = left - 1
        return left != 0

    def refusal(self, needs, headers):
        for name, value in needs.items():
            given = headers.get(name, "")
            if value == "*" and not self.token_is_good(given):
                return {"status": 401}
            if value not in ("*", given):
                return {"status": 403}
        return None

    def answer(self, method, path, headers, port=0):
        with self:
            for key in (f"{method} {path}", f"{method} {path.split('?')[0]}", "*"):
                if key in self.rules:
                    break
            else:
                return {"status": 404}
            given = self.state["given"].get(key, 0)
            self.state["given"][key] = given + 1
            rule = self.rules[key]
            a = dict(rule[min(given, len(rule) - 1)])
            if a.get("needs_token") and not self.token_is_good(headers.get("x-aws-ec2-metadata-token", "")):
                return {"status": 401}
            refusal = self.refusal(a.get("needs", {}), headers)
            if a.get("low_port") and port >= 1024:
                refusal = {"status": 403}
            if refusal:
                return refusal
            if a.get("token"):
                if not headers.get(a.get("token_request", "x-aws-ec2-metadata-token-ttl-seconds"), "").isdigit():
                    return {"status": 400}
                token = base64.b64encode(os.urandom(39)).decode()
                self.state["tokens"][token] = a.get("token_uses", -1)
                a["body"] = token
            return a


class Reset(Exception):
    pass


class Wire:
    """One connection: reads requests, writes answers, breaks where it is told to."""

    def __init__(self, script, log, source, sink, port=0):
        self.script, self.log, self.source, self.sink, self.port = script, log, source, sink, port

    def serve(self):
        while True:
            line = self.source.readline(65536)
            if not line.strip():
                return
            method, path = line.decode("latin-1").split()[:2]
            headers = {}
            while True:
                line = self.source.readline(65536).decode("latin-1").strip()
                if not line:
                    break
                name, _, value = line.partition(":")
                headers[name.strip().lower()] = value.strip()
            body = self.source.read(int(headers.get("content-length", "0")))
            if method == "SCENARIO":
                self.script.play(json.loads(body))
                self.log(None)
                self.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                continue
            a = self.script.answer(method, path, headers, self.port)
            self.log({"method": method, "path": path, "headers": headers, "length": len(body),
                      "status": a.get("status", 200)})
            if not self.give(a, method):
                return

    def write(self, data):
        self.sink.write(data)
        self.sink.flush()

    def give(self, a, method):
        if "delay" in a:
            time.sleep(a["delay"] / 1000)
        if a.get("drop"):
            return False
        if a.get("rst") and "truncate" not in a:
            raise Reset
        if "raw" in a:
            self.write(a["raw"].encode("latin-1"))
            return False
        body = self.body(a)
        self.write(self.head(a, body))
        if method != "HEAD":
            self.send(a, body)
        if a.get("rst"):
            raise Reset
        return not (a.get("close") or a.get("no_length") or "truncate" in a or "length" in a)

    @staticmethod
    def body(a):
        if "file" in a:
            with open(a["file"], "rb") as f:
                return f.read()
        if "base64" in a:
            return base64.b64decode(a["base64"])
        if "size" in a:
            return a["size"]  # made while it is sent
        return a.get("body", "").encode()

    @staticmethod
    def head(a, body):
        status = a.get("status", 200)
        lines = [f"HTTP/1.1 {status} {a.get('reason', 'OK' if status < 300 else 'Error')}"]
        for name, value in a.get("headers", {}).items():
            for v in value if isinstance(value, list) else [value]:
                lines.append(f"{name}: {v}")
        if a.get("chunked"):
            lines.append("Transfer-Encoding: chunked")
        elif not a.get("no_length"):
            lines.append(f"Content-Length: {a.get('length', body if isinstance(body, int) else len(body))}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def send(self, a, body):
        n = body if isinstance(body, int) else len(body)
        end = min(n, a.get("truncate", n))
        step = 1 if "drip" in a else 65536
        for at in range(0, end, step):
            size = min(step, end - at)
            piece = b"x" * size if isinstance(body, int) else body[at:at + size]
            if a.get("chunked"):
                piece = b"%x\r\n%s\r\n" % (size, piece)
            self.write(piece)
            if "drip" in a:
                time.sleep(a["drip"] / 1000)
        if a.get("chunked") and "truncate" not in a:
            self.write(b"0\r\n\r\n")


def make_log(path):
    if not path:
        return lambda entry: None
    file, lock, start = open(path, "a", buffering=1), threading.Lock(), time.monotonic()

    def log(entry):
        with lock:
            if entry is None:
                file.truncate(0)
                return
            entry["ms"] = round((time.monotonic() - start) * 1000)
            file.write(json.dumps(entry) + "\n")
    return log


def serve_socket(conn, script, log, tls):
    how = script.connection()
    try:
        if how == "rst":
            raise Reset
        if tls:
            conn = tls.wrap_socket(conn, server_side=True)
        if how == "ok":
            tcp = conn.family != socket.AF_UNIX
            if tcp:
                conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with conn.makefile("rb") as source, conn.makefile("wb") as sink:
                Wire(script, log, source, sink, conn.getpeername()[1] if tcp else 0).serve()
    except Reset:
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except (OSError, ValueError):
        pass  # the other side went away: that is what caps are for
    finally:
        try:
            conn.close()
        except OSError:
            pass


def listen(args, script, log):
    tls = None
    if args.tls:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(args.tls)
        if os.environ.get("IMDS_OLD_TLS"):
            tls.minimum_version, tls.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
            tls.set_ciphers("ALL:@SECLEVEL=0")
    family = socket.AF_INET6 if ":" in args.bind else socket.AF_INET
    if "/" in args.bind:
        family = socket.AF_UNIX
    server = socket.socket(family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(args.bind if family == socket.AF_UNIX else (args.bind, args.port))
    server.listen(128)
    print(f"port {0 if family == socket.AF_UNIX else server.getsockname()[1]}", flush=True)
    if not args.detached:
        def watch():
            while os.read(0, 4096):
                pass
            os._exit(0)
        threading.Thread(target=watch, daemon=True).start()
    while True:
        conn, _ = server.accept()
        threading.Thread(target=serve_socket, args=(conn, script, log, tls), daemon=True).start()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bind", default="127.0.0.1", help="an address, or the path of a socket")
    p.add_argument("--port", type=int, default=0)
    p.add_argument("--user-data", metavar="FILE")
    p.add_argument("--scenario", metavar="FILE", help="a JSON file, or the JSON text itself")
    p.add_argument("--log", metavar="FILE", help="one JSON line per request is appended")
    p.add_argument("--state", metavar="FILE", help="counters, shared by the processes of --stdio")
    p.add_argument("--tls", metavar="PEM", help="serve https with this key and certificate; with $IMDS_OLD_TLS "
                   "nothing newer than TLS 1.1")
    p.add_argument("--stdio", action="store_true")
    p.add_argument("--detached", action="store_true", help="do not end with stdin")
    args = p.parse_args()
    scenario = {}
    if args.scenario and args.scenario.lstrip().startswith("{"):
        scenario = json.loads(args.scenario)
    elif args.scenario:
        with open(args.scenario) as f:
            scenario = json.load(f)
    if args.stdio and not args.state:
        # Each connection is a process of its own: any token of the right size is good.
        Script.token_is_good = lambda self, token: len(token) == 52
    script, log = Script(scenario, args.user_data, args.state), make_log(args.log)
    if not args.stdio:
        return listen(args, script, log)
    if script.connection() == "ok":
        try:
            Wire(script, log, sys.stdin.buffer, sys.stdout.buffer).serve()
        except (Reset, BrokenPipeError):
            pass
    return None


if __name__ == "__main__":
    main()
