#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""S3 for tests: takes each request apart again, and verifies its signature with code of its own.

  s3.py --config FILE --log FILE [--tls PEM] [--port N] [--tls-port N] [--bind ADDRESS]

Prints "ready" when it listens. The configuration is a JSON object:

  keys      {access key id: {secret, token}}; "expired": true answers as S3 does for old tokens
  clock     seconds by which the server's clock is ahead of ours
  buckets   {name: {region, public, payer, list, how, objects: {key: text}, versions: {"key@id": text}, dir}}
            "how" says how a request in another region is answered: 301, 301-endpoint, 307, 400, 400-header;
            what is PUT becomes an object, unless "write" is false (forbidden) or "keep" (forgotten);
            "list": false makes a missing key look forbidden; "dir" holds more objects; "payer": true wants
            whoever asks to say that he pays
  script    {"bucket/key": [{status, body, headers}, …]}: answers that come first, once each

Each request is one line of the log: method, host, target, status, code, and whether it was signed.
"""
import argparse
import calendar
import hashlib
import hmac
import http.server
import json
import os
import re
import socket
import ssl
import threading
import time
from urllib.parse import quote, unquote_to_bytes

SUFFIX = r"amazonaws\.com(?:\.cn)?"


class Refusal(Exception):
    def __init__(self, status, code, message="", headers=None, more=""):
        super().__init__(code)
        self.status, self.code, self.headers = status, code, headers or {}
        self.body = (f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code>'
                     f"<Message>{message}</Message>{more}<RequestId>R</RequestId><HostId>H</HostId></Error>")


def spell(data, safe=""):
    return quote(data, safe=safe + "-._~")


def canonical_query(query):
    parts = []
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        parts.append((spell(unquote_to_bytes(name)), spell(unquote_to_bytes(value))))
    return "&".join(f"{n}={v}" for n, v in sorted(parts))


def signature(secret, scope, date, request):
    text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


class Service:
    def __init__(self, config, log):
        self.config, self.lock = config, threading.Lock()
        self.log_file = open(log, "a", buffering=1)

    def log(self, entry):
        with self.lock:
            self.log_file.write(json.dumps(entry) + "\n")

    def scripted(self, name):
        with self.lock:
            answers = self.config.get("script", {}).get(name)
            return answers.pop(0) if answers else None

    def now(self):
        return time.time() + self.config.get("clock", 0)

    def verify(self, r, bucket):
        """Who asks; refuses a wrong signature."""
        given = r.headers.get("Authorization")
        if not given:
            if any(name.lower().startswith("x-amz-") for name in r.headers):
                raise Refusal(400, "InvalidRequest", "x-amz headers without a signature")
            if not bucket.get("public"):
                raise Refusal(403, "AccessDenied", "Access Denied")
            return
        m = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, "
                         r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})", given)
        if not m:
            raise Refusal(400, "AuthorizationHeaderMalformed", "The authorization header is malformed")
        key_id, day, region, names, got = m.groups()
        key = self.config.get("keys", {}).get(key_id)
        date = r.headers.get("x-amz-date", "")
        if not key:
            raise Refusal(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
        if region != bucket["region"]:
            raise Refusal(400, "AuthorizationHeaderMalformed",
                          f"The authorization header is malformed; the region &apos;{region}&apos; is wrong; "
                          f"expecting &apos;{bucket['region']}&apos;", more=f"<Region>{bucket['region']}</Region>")
        signed, payload = names.split(";"), hashlib.sha256(r.body).hexdigest()
        must = {"host"} | {n.lower() for n in r.headers if n.lower().startswith("x-amz-")}
        if signed != sorted(set(signed)) or not must <= set(signed) or r.headers.get("x-amz-content-sha256") != payload:
            raise Refusal(403, "AccessDenied", "There were headers present in the request which were not signed")
        self.check_time(date, day)
        path, _, query = r.target.partition("?")
        request = "\n".join([r.command, spell(unquote_to_bytes(path), "/"), canonical_query(query)]
                            + [f"{n}:{' '.join(r.headers[n].split())}" for n in signed]
                            + ["", names, payload])
        want = signature(key["secret"], f"{day}/{region}/s3/aws4_request", date, request)
        if not hmac.compare_digest(want, got):
            raise Refusal(403, "SignatureDoesNotMatch", "The request signature we calculated does not match the "
                          "signature you provided. Check your key and signing method.")
        if key.get("expired"):
            raise Refusal(400, "ExpiredToken", "The provided token has expired.")
        if r.headers.get("x-amz-security-token", "") != key.get("token", ""):
            raise Refusal(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")

    def check_time(self, date, day):
        try:
            at = calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))
        except ValueError:
            raise Refusal(403, "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header") from None
        if abs(at - self.now()) > 900 or not date.startswith(day):
            server = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.now()))
            raise Refusal(403, "RequestTimeTooSkewed", "The difference between the request time and the current time "
                          "is too large.", more=f"<RequestTime>{date}</RequestTime><ServerTime>{server}</ServerTime>"
                          "<MaxAllowedSkewMilliseconds>900000</MaxAllowedSkewMilliseconds>")

    @staticmethod
    def elsewhere(name, bucket, key):
        """What S3 says when the host is that of another region than the bucket's."""
        region, how = bucket["region"], str(bucket.get("how", "301"))
        endpoint = f"{name}.s3.{region}.amazonaws.com"
        if how == "301":
            raise Refusal(301, "PermanentRedirect", "use the endpoint", {"x-amz-bucket-region": region},
                          f"<Endpoint>{endpoint}</Endpoint><Bucket>{name}</Bucket>")
        if how == "301-endpoint":
            raise Refusal(301, "PermanentRedirect", "use the endpoint", {}, f"<Endpoint>{endpoint}</Endpoint>")
        if how == "307":
            raise Refusal(307, "TemporaryRedirect", "use the location", {"Location": f"https://{endpoint}/{key}"})
        if how == "400-header":
            raise Refusal(400, "IllegalLocationConstraintException", "elsewhere", {"x-amz-bucket-region": region})
        raise Refusal(400, "AuthorizationHeaderMalformed", "the region is wrong", {}, f"<Region>{region}</Region>")

    def answer(self, r):
        host = r.headers.get("Host", "").split(":")[0]
        path, _, query = r.target.partition("?")
        m = re.fullmatch(rf"(?:(.+)\.)?s3\.(?:dualstack\.)?([a-z0-9-]+)\.{SUFFIX}", host)
        if m and m[1]:
            name, key, region = m[1], path[1:], m[2]
        else:
            name, _, key = path[1:].partition("/")
            region = m[2] if m else None  # an endpoint of one's own has no regions in its name
        key = unquote_to_bytes(key).decode("utf-8", "surrogateescape")
        scripted = self.scripted(f"{name}/{key}")
        if scripted:
            return scripted.get("status", 200), scripted.get("headers", {}), scripted.get("body", "").encode()
        bucket = self.config.get("buckets", {}).get(name)
        if not bucket:
            raise Refusal(404, "NoSuchBucket", "The specified bucket does not exist")
        if region and region != bucket["region"]:
            self.elsewhere(name, bucket, key)
        self.verify(r, bucket)
        if bucket.get("payer") and r.headers.get("x-amz-request-payer") != "requester":
            raise Refusal(403, "AccessDenied", "Access Denied")
        if r.command == "PUT":
            if bucket.get("write") is False:
                raise Refusal(403, "AccessDenied", "Access Denied")
            if bucket.get("keep") is not False:
                bucket.setdefault("objects", {})[key] = r.body.decode()
            return 200, {}, b""
        body = self.find(bucket, key, query)
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        if r.headers.get("If-None-Match") == etag:
            return 304, {"ETag": etag}, b""
        return 200, {"ETag": etag}, body

    @staticmethod
    def find(bucket, key, query):
        version = re.fullmatch(r"versionId=(.+)", query)
        if version:
            key += "@" + unquote_to_bytes(version[1]).decode()
            if key in bucket.get("versions", {}):
                return bucket["versions"][key].encode()
        elif key in bucket.get("objects", {}):
            return bucket["objects"][key].encode()
        elif "dir" in bucket and ".." not in key:
            try:
                with open(os.path.join(bucket["dir"], key), "rb") as f:
                    return f.read()
            except OSError:
                pass
        if bucket.get("list") is False:
            raise Refusal(403, "AccessDenied", "Access Denied")
        raise Refusal(404, "NoSuchKey", "The specified key does not exist.")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service = None

    def log_message(self, *_):
        pass

    def do_GET(self):
        # self.path is what the library made of the target: without its double slash, for one.
        self.target = self.requestline.split(" ")[1]
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        code = ""
        try:
            status, headers, body = self.service.answer(self)
        except Refusal as e:
            status, headers, body, code = e.status, e.headers, e.body.encode(), e.code
        self.service.log({"method": self.command, "host": self.headers.get("Host"), "target": self.target,
                          "status": status, "code": code, "signed": "Authorization" in self.headers,
                          "token": "x-amz-security-token" in self.headers,
                          "condition": "If-None-Match" in self.headers,
                          "agent": self.client_address[1], "ms": int(time.monotonic() * 1000)})
        self.send_response_only(status)
        for name, value in {"Date": self.date_time_string(int(self.service.now())), **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(0 if status == 304 else len(body)))
        self.end_headers()
        if self.command != "HEAD" and status != 304:
            self.wfile.write(body)

    do_HEAD = do_GET
    do_PUT = do_GET


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--config", required=True)
    p.add_argument("--log", required=True)
    p.add_argument("--bind", default="0.0.0.0")
    p.add_argument("--port", type=int, default=9000)
    p.add_argument("--tls-port", type=int, default=443)
    p.add_argument("--tls", metavar="PEM")
    args = p.parse_args()
    with open(args.config) as f:
        Handler.service = Service(json.load(f), args.log)
    if ":" in args.bind:
        http.server.ThreadingHTTPServer.address_family = socket.AF_INET6
    http.server.ThreadingHTTPServer.request_queue_size = 128
    http.server.ThreadingHTTPServer.daemon_threads = True
    servers = [http.server.ThreadingHTTPServer((args.bind, args.port), Handler)]
    if args.tls:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(args.tls)
        servers.append(http.server.ThreadingHTTPServer((args.bind, args.tls_port), Handler))
        servers[1].socket = tls.wrap_socket(servers[1].socket, server_side=True, do_handshake_on_connect=False)
    for s in servers[1:]:
        threading.Thread(target=s.serve_forever, daemon=True).start()
    print("ready", flush=True)
    servers[0].serve_forever()


if __name__ == "__main__":
    main()
