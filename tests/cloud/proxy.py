#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Machines that reach nothing but a proxy, which wants a name and a password: real tunnels (CONNECT) to a server with
TLS, and names that only the proxy can resolve."""
import base64
import hashlib
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

ROUSE = os.path.abspath(os.environ.get("ROUSE", "build/rouse"))
LIMIT = 60  # seconds for one agent
NAMES = ("docs.invalid", "hook.invalid", "cache.invalid")
PASSWORD = "open-sesame"


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


def serve(handler, tls=None):
    server = Server(("127.0.0.1", 0), handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def relay(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


class World:
    """The server that all names lead to, and the proxy before it."""

    def __init__(self, top):
        self.objects, self.posted, self.tunnels, self.refused, world = {}, [], [], 0, self
        self.pem = top + "/pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", "/CN=test", "-addext", "subjectAltName=" + ",".join("DNS:" + n for n in NAMES),
                        "-keyout", self.pem, "-out", top + "/cert"], check=True, stderr=subprocess.DEVNULL)
        with open(top + "/cert", encoding="ascii") as cert, open(self.pem, "a", encoding="ascii") as pem:
            pem.write(cert.read())
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.pem)

        class Origin(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def answer(self, status, body=b""):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                body = world.objects.get(self.headers["Host"] + self.path)
                self.answer(404 if body is None else 200, body or b"")

            def do_POST(self):
                assert "Proxy-Authorization" not in self.headers
                world.posted.append((self.headers["Host"] + self.path, self.rfile.read(int(self.headers["Content-Length"]))))
                self.answer(204)

        class Proxy(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_CONNECT(self):
                known = "Basic " + base64.b64encode(f"fleet:{PASSWORD}".encode()).decode()
                status = 200
                if self.headers.get("Proxy-Authorization") != known:
                    status = 407
                elif self.path.rpartition(":")[0] not in NAMES:
                    status = 403
                self.close_connection = True
                self.send_response(status)
                self.end_headers()
                if status != 200:
                    world.refused += 1
                    return
                world.tunnels.append(self.path)
                with socket.create_connection(("127.0.0.1", world.origin.server_port)) as there:
                    back = threading.Thread(target=relay, args=(there, self.connection), daemon=True)
                    back.start()
                    relay(self.connection, there)
                    back.join()

        self.origin, self.proxy = serve(Origin, tls), serve(Proxy)

    def url(self, password=PASSWORD):
        return f"http://fleet:{password}@127.0.0.1:{self.proxy.server_port}"


class Machine:
    def __init__(self, world, **settings):
        self.top, self.world = tempfile.mkdtemp(prefix="rouse-proxy-"), world
        self.run, self.root = self.top + "/run", self.top + "/root"
        os.makedirs(self.root + "/etc")
        document = {"rouse": 1, "files": {"/etc/motd": {"contents": "well\n"}},
                    "health": {"checks": {"motd": {"file": self.root + "/etc/motd"}},
                               "signals": {"phoneHome": {"url": "https://hook.invalid/verdict"}}}}
        text = json.dumps(document).encode()
        world.objects["docs.invalid/web.json"] = text
        with open(self.top + "/agent.json", "w", encoding="utf-8") as f:
            json.dump(dict({"document": "https://docs.invalid/web.json", "sha256": hashlib.sha256(text).hexdigest(),
                            "onFailure": "abandon"}, **settings), f)
        os.chmod(self.top + "/agent.json", 0o600)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.top)

    def rouse(self, *args, **more):
        env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        r = subprocess.run([ROUSE, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False,
                           env=dict(env, SSL_CERT_FILE=self.world.pem, **more))
        assert PASSWORD not in r.stdout + r.stderr, r
        return r

    def boot(self):
        r = self.rouse("boot", "--root", self.root, "--run", self.run, "--settings", self.top + "/agent.json")
        with open(self.run + "/report.json", encoding="utf-8") as f:
            return r, json.load(f)


def a_boot_gets_its_document_and_tells_its_verdict_through_the_proxy(world):
    with Machine(world, proxy=world.url()) as m:
        r, _ = m.boot()
        assert r.returncode == 0 and os.path.exists(m.root + "/etc/motd"), r
        r = m.rouse("health", "--run", m.run)  # another process, as behind the hand-off
        assert r.returncode == 0, r
        assert set(world.tunnels) == {"docs.invalid:443", "hook.invalid:443"} and not world.refused, world.tunnels
        ((where, body),) = world.posted
        assert where == "hook.invalid/verdict" and json.loads(body)["verdict"] == "ready", world.posted


def the_password_is_for_root_alone(world):
    with Machine(world, proxy=world.url()) as m:
        m.boot()
        m.rouse("health", "--run", m.run)
        holders = []
        for where, _, files in os.walk(m.top):
            for name in files:
                with open(os.path.join(where, name), "rb") as f:
                    if PASSWORD.encode() in f.read():
                        holders.append(os.path.join(where, name))
        assert set(holders) == {m.top + "/agent.json", m.run + "/proxy.json"}, holders
        assert os.stat(m.run + "/proxy.json").st_mode & 0o777 == 0o600


def a_wrong_password_is_said_and_not_tried_again(world):
    with Machine(world, proxy={"url": world.url("guess")}) as m:
        r, report = m.boot()
        assert r.returncode == 78 and report["verdict"] == "failed", (r, report)
        assert "docs.invalid/web.json" in report["reason"] and "the proxy wants another name and password" in report["reason"], report
        assert world.refused == 1, world.refused


def what_the_proxy_does_not_let_pass_is_said(world):
    with Machine(world, proxy=world.url(), document="https://elsewhere.invalid/web.json") as m:
        r, report = m.boot()
        assert r.returncode == 78 and "the proxy does not let it pass" in report["reason"], (r, report)


def an_exception_is_asked_directly(world):
    with Machine(world, proxy={"url": world.url(), "except": ["docs.invalid"]}, deadline="2s") as m:
        r, report = m.boot()
        assert r.returncode == 75 and "docs.invalid" in report["reason"] and not world.tunnels, (r, report)


def without_it_an_earlier_boots_proxy_is_forgotten(world):
    with Machine(world, proxy=world.url()) as m:
        m.boot()
        assert os.path.exists(m.run + "/proxy.json")
        os.unlink(m.run + "/signals.json")  # nobody is told: it would take its time, without the proxy
        with open(m.top + "/agent.json", "w", encoding="utf-8") as f:
            json.dump({"document": m.top + "/none.json", "onFailure": "abandon"}, f)
        m.boot()
        assert not os.path.exists(m.run + "/proxy.json")


def a_command_takes_the_proxy_of_its_environment(world):
    path = "/nix/store/" + "0" * 32 + "-web-1"
    with Machine(world) as m:
        argv = ("pull", "--dry-run", "--store", m.top, "--cache", "https://cache.invalid", "--key",
                "acme-1:nJmSRrKkSaK3neLsRLEQXFtTM365FwldyzZpxG20GS8=", "--timeout", "30s", path)
        r = m.rouse(*argv, https_proxy=world.url())
        assert r.returncode == 78 and path in r.stderr and set(world.tunnels) == {"cache.invalid:443"}, (r, world.tunnels)


def settings_say_what_is_wrong_with_a_proxy(world):
    for proxy, word in (("ftp://proxy", "an http or https URL"), ("http://proxy/path", "an http or https URL"),
                        ({"url": "http://proxy", "except": ["a, b"]}, "a name, a domain"), ({"except": []}, "url")):
        with Machine(world, proxy=proxy) as m:
            r = m.rouse("check", "--settings", m.top + "/agent.json")
            assert r.returncode == 78 and "proxy" in r.stdout and word in r.stdout, (proxy, r)


TESTS = [a_boot_gets_its_document_and_tells_its_verdict_through_the_proxy, the_password_is_for_root_alone,
         a_wrong_password_is_said_and_not_tried_again, what_the_proxy_does_not_let_pass_is_said, an_exception_is_asked_directly,
         without_it_an_earlier_boots_proxy_is_forgotten, a_command_takes_the_proxy_of_its_environment,
         settings_say_what_is_wrong_with_a_proxy]


def main():
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root")
        return 0
    failed = False
    print(f"1..{len(TESTS)}", flush=True)
    for n, test in enumerate(TESTS, 1):
        top = tempfile.mkdtemp(prefix="rouse-proxy-world-")
        try:
            test(World(top))
            print(f"ok {n} - {test.__name__}", flush=True)
        except Exception as e:  # a test that breaks is a test that failed
            failed = True
            print(f"# {type(e).__name__}: {e}".replace("\n", "\n# "))
            print(f"not ok {n} - {test.__name__}", flush=True)
        shutil.rmtree(top)
    return failed


if __name__ == "__main__":
    sys.exit(main())
