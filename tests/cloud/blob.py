#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Google Cloud Storage and Azure Blob Storage for tests, with the metadata services that give tokens out.

  blob.py --config FILE --log FILE --tls PEM

Prints "ready" when it listens: on port 443 for the stores, on 169.254.169.254:80 for the metadata services.
The configuration is a JSON object:

  objects   {"gs/BUCKET/OBJECT": text, "az/ACCOUNT/CONTAINER/BLOB": text}; with "@VERSION" behind it that version
  dirs      {"gs/BUCKET": DIR, "az/ACCOUNT/CONTAINER": DIR}: the files in it are objects, too
  public    [the same without the object]: who may read without a token
  tokens    {"gs": TOKEN, "az": TOKEN}: the good one
  script    {"METHOD-less path": [{status, body, headers}, …]}: answers that come first, once each; the last stays
  list      false: what is missing looks forbidden

A request with a token, or one that is not as the documentation of the store demands, is refused as they do.
"""
import argparse
import http.server
import json
import os
import re
import ssl
import threading
from urllib.parse import parse_qs, unquote


class Service:
    def __init__(self, config, log):
        self.config, self.lock, self.counts = config, threading.Lock(), {}
        self.log_file = open(log, "a", buffering=1)

    def scripted(self, name):
        answers = self.config.get("script", {}).get(name)
        if not answers:
            return None
        with self.lock:
            n = self.counts[name] = self.counts.get(name, -1) + 1
        answer = answers[min(n, len(answers) - 1)]
        return None if answer == "ok" else answer

    def metadata(self, r):
        path, _, query = r.path.partition("?")
        if path == "/computeMetadata/v1/instance/service-accounts/default/token":
            if r.headers.get("Metadata-Flavor") != "Google":
                return 403, "", {}
            return 200, json.dumps({"access_token": self.config["tokens"].get("gs"), "expires_in": 3599,
                                    "token_type": "Bearer"}), {"Metadata-Flavor": "Google"}
        if path == "/metadata/identity/oauth2/token":
            q = parse_qs(query)
            if r.headers.get("Metadata") != "true" or q.get("resource") != ["https://storage.azure.com/"]:
                return 400, '{"error":"invalid_request"}', {}
            return 200, json.dumps({"access_token": self.config["tokens"].get("az"), "expires_in": "3599",
                                    "expires_on": "4102444800", "token_type": "Bearer",
                                    "client_id": q.get("client_id", [""])[0]}), {}
        return 404, "", {}

    def find(self, r):
        """The store, what may be read without a token, and the key of what is asked for."""
        host, (path, _, query) = r.headers.get("Host", ""), r.path.partition("?")
        q = parse_qs(query)
        m = re.fullmatch(r"/storage/v1/b/([^/]+)/o/([^/]+)", path)
        if host == "storage.googleapis.com" and m and q.get("alt") == ["media"]:
            if r.headers.get("Accept-Encoding") != "gzip":
                return None
            version = q.get("generation")
            return "gs", "gs/" + m[1], f"gs/{m[1]}/{unquote(m[2])}" + (f"@{version[0]}" if version else "")
        m = re.fullmatch(r"([a-z0-9]+)\.blob\.core\.(?:windows\.net|chinacloudapi\.cn)", host)
        if m and path.count("/") >= 2:
            if "Authorization" in r.headers and r.headers.get("x-ms-version", "") < "2017-11-09":
                return None
            version = q.get("versionid")
            return "az", f"az/{m[1]}/{path.split('/')[1]}", f"az/{m[1]}{unquote(path)}" + (f"@{version[0]}" if version else "")
        return None

    @staticmethod
    def refuse(store, status, code, text):
        if store == "az":
            return status, f'\ufeff<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{text}</Message></Error>', {
                "x-ms-error-code": code}
        if status == 401:
            return status, json.dumps({"error": {"code": 401, "message": text}}), {}
        return status, text, {}

    def object(self, r):
        found = self.find(r)
        if not found:
            return 400, "no such request", {}
        store, place, key = found
        config = self.config
        token = r.headers.get("Authorization")
        if token is None and place not in config.get("public", []):
            return self.refuse(store, 401 if store == "gs" else 409, "PublicAccessNotPermitted", "Anonymous caller")
        if token is not None and token != "Bearer " + config["tokens"][store]:
            return self.refuse(store, 401, "InvalidAuthenticationInfo", "Invalid Credentials")
        if key in config["objects"]:
            return 200, config["objects"][key], {"ETag": '"e"'}
        if place in config.get("dirs", {}):
            try:
                with open(os.path.join(config["dirs"][place], key[len(place) + 1:]), "rb") as f:
                    return 200, f.read(), {"ETag": '"e"'}
            except OSError:
                pass
        if config.get("list") is False:
            return self.refuse(store, 403, "AuthorizationPermissionMismatch", "no access")
        return self.refuse(store, 404, "BlobNotFound", f"No such object: {key[3:]}")

    def answer(self, r, metadata):
        scripted = self.scripted(r.path.partition("?")[0])
        if scripted:
            answer = scripted.get("status", 200), scripted.get("body", ""), scripted.get("headers", {})
        else:
            answer = self.metadata(r) if metadata else self.object(r)
        with self.lock:
            self.log_file.write(json.dumps({"metadata": metadata, "host": r.headers.get("Host"), "target": r.path,
                                            "status": answer[0], "token": "Authorization" in r.headers}) + "\n")
        return answer


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service = None

    def log_message(self, *_):
        pass

    def do_GET(self):
        status, body, headers = self.service.answer(self, self.server.server_address[1] == 80)
        data = body if isinstance(body, bytes) else body.encode()
        self.send_response_only(status)
        for name, value in {"Date": self.date_time_string(), **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # who does not like our certificate hangs up


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--config", required=True)
    p.add_argument("--log", required=True)
    p.add_argument("--tls", required=True, metavar="PEM")
    args = p.parse_args()
    with open(args.config) as f:
        Handler.service = Service(json.load(f), args.log)
    servers = [Server((a, n), Handler) for a, n in (("169.254.169.254", 80), ("127.0.0.1", 443))]
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(args.tls)
    servers[1].socket = tls.wrap_socket(servers[1].socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=servers[1].serve_forever, daemon=True).start()
    print("ready", flush=True)
    servers[0].serve_forever()


if __name__ == "__main__":
    main()
