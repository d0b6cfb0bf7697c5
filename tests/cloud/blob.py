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
  page      how many objects a page of a listing has at most; 1000

What is put is an object from then on, and in the log with its body.

A request with a token, or one that is not as the documentation of the store demands, is refused as they do.
"""
import argparse
import http.server
import json
import os
import re
import ssl
import threading
import time
from html import escape
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

    def find_other(self, r):
        """The same of a request that writes an object, or lists what begins with a prefix (a tuple of it and marker)."""
        host, (path, _, query) = r.headers.get("Host", ""), r.path.partition("?")
        q = {k: v[0] for k, v in parse_qs(query).items()}
        bucket, _, key = path[1:].partition("/")
        google = host == "storage.googleapis.com"
        account = re.fullmatch(r"([a-z0-9]+)\.blob\.core\.windows\.net", host)
        if not google and not (account and r.headers.get("x-ms-version", "") >= "2017-11-09"):
            return None
        place = "gs/" + bucket if google else f"az/{account[1]}/{bucket}"
        if r.command == "PUT":
            if not key or query or (account and r.headers.get("x-ms-blob-type") != "BlockBlob"):
                return None
            return place[:2], place, f"{place}/{unquote(key)}"
        wanted = {"list-type": "2", "max-keys": "1000"} if google else {"restype": "container", "comp": "list", "maxresults": "500"}
        marker = q.pop("continuation-token" if google else "marker", "")
        prefix = q.pop("prefix", None)
        return (place[:2], place, (prefix, marker)) if not key and prefix and q == wanted else None

    def listing(self, store, place, prefix, marker):
        """Names are in the order of their bytes; the marker is the last one of the page before."""
        objects = {k[len(place) + 1:]: v for k, v in self.config["objects"].items() if k.startswith(f"{place}/{prefix}")}
        names = sorted(n for n in objects if n > marker[2:])
        page, more = names[:self.config.get("page", 1000)], names[self.config.get("page", 1000):]
        after = escape("=&" + page[-1]) if more else ""
        now = time.gmtime()
        text = '<?xml version="1.0" encoding="UTF-8"?>'
        if store == "gs":
            at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", now)
            return text + "<ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'>" + "".join(
                f"<Contents><Key>{n}</Key><Generation>1</Generation><MetaGeneration>1</MetaGeneration><LastModified>{at}</LastModified>"
                f"<ETag>e</ETag><Size>{len(objects[n])}</Size></Contents>" for n in page) + (
                f"<IsTruncated>{str(bool(more)).lower()}</IsTruncated><NextContinuationToken>{after}</NextContinuationToken></ListBucketResult>")
        at = time.strftime("%a, %d %b %Y %H:%M:%S GMT", now)
        return "\ufeff" + text + "<EnumerationResults><Blobs>" + "".join(
            f"<Blob><Name>{n}</Name><Properties><Last-Modified>{at}</Last-Modified><Content-Length>{len(objects[n])}</Content-Length>"
            "<BlobType>BlockBlob</BlobType></Properties></Blob>" for n in page) + f"</Blobs><NextMarker>{after}</NextMarker></EnumerationResults>"

    @staticmethod
    def refuse(store, status, code, text):
        if store == "az":
            return status, f'\ufeff<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{text}</Message></Error>', {
                "x-ms-error-code": code}
        if status == 401:
            return status, json.dumps({"error": {"code": 401, "message": text}}), {}
        return status, text, {}

    def object(self, r):
        found = self.find(r) if r.command == "GET" else None
        found = found or self.find_other(r)
        if not found:
            return 400, "no such request", {}
        store, place, key = found
        config = self.config
        token = r.headers.get("Authorization")
        if token is None and place not in config.get("public", []):
            return self.refuse(store, 401 if store == "gs" else 409, "PublicAccessNotPermitted", "Anonymous caller")
        if token is not None and token != "Bearer " + config["tokens"][store]:
            return self.refuse(store, 401, "InvalidAuthenticationInfo", "Invalid Credentials")
        if r.command == "PUT":
            config["objects"][key] = r.body
            return 201 if store == "az" else 200, "", {"ETag": '"e"'}
        if isinstance(key, tuple):
            return 200, self.listing(store, place, *key), {"Content-Type": "application/xml"}
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
                                            "status": answer[0], "token": "Authorization" in r.headers,
                                            **({"put": r.body} if r.command == "PUT" else {})}) + "\n")
        return answer


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service = None
    body = ""

    def log_message(self, *_):
        pass

    def do_PUT(self):
        self.body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.do_GET()

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
    daemon_threads, request_queue_size = True, 128

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
