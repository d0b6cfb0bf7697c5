# SPDX-License-Identifier: Apache-2.0
"""Binary caches with one defect each in an otherwise valid, signed closure, and what rouse does.

Every case says the exit status, and a word that the one sentence on stderr must hold. Whatever
happens, the path with the defect must not be visible in the store, nor anything unfinished. The NAR
writer, the signing and the compressors here are our own, so that they can be wrong on purpose.
"""
import base64
import bz2
import concurrent.futures
import functools
import gzip
import hashlib
import http.server
import lzma
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib

ROUSE = os.environ.get("ROUSE", "build/rouse")
# Memory, where there is some: nothing here depends on the filesystem, and disks are slow to forget.
W = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
OK, SYSTEM, UNAVAILABLE, UNTRUSTED, DOCUMENT = 0, 71, 75, 77, 78
SOON = "2s"  # for what ends when the time is over, and not before


# --- keys, hashes, names ---------------------------------------------------------------------------

def nix32(data):
    chars = "0123456789abcdfghijklmnpqrsvwxyz"
    n, number = (len(data) * 8 + 4) // 5, int.from_bytes(data, "little")
    return "".join(chars[number >> 5 * i & 31] for i in range(n - 1, -1, -1))


class Key:
    def __init__(self, name):
        self.name, self.pem = name, f"{W}/{name}-{os.urandom(3).hex()}.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", self.pem], check=True)
        der = subprocess.run(["openssl", "pkey", "-in", self.pem, "-pubout", "-outform", "DER"],
                             check=True, capture_output=True).stdout
        self.public = name + ":" + base64.b64encode(der[-32:]).decode()

    @functools.lru_cache(maxsize=None)  # most cases differ in one path of three
    def sign(self, text):
        with tempfile.NamedTemporaryFile(dir=W) as f:
            f.write(text.encode())
            f.flush()
            out = subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.pem, "-in", f.name],
                                 check=True, capture_output=True).stdout
        return self.name + ":" + base64.b64encode(out).decode()


def store_name(name):
    return nix32(hashlib.sha256(name.encode()).digest()[:20]) + "-" + name


# --- archives ----------------------------------------------------------------------------------------

def s(data):
    data = data.encode() if isinstance(data, str) else data
    return struct.pack("<Q", len(data)) + data + b"\0" * (-len(data) % 8)


def words(*items):
    return b"".join(s(i) for i in items)


def regular(data, executable=False):
    return words("(", "type", "regular", *(["executable", ""] if executable else []), "contents", data, ")")


def symlink(target):
    return words("(", "type", "symlink", "target", target, ")")


def directory(entries):
    """A dict is sorted, as it should be; a list of pairs is taken as it is."""
    if isinstance(entries, dict):
        entries = sorted((k.encode() if isinstance(k, str) else k, v) for k, v in entries.items())
    return words("(", "type", "directory") + b"".join(
        words("entry", "(", "name", k, "node") + v + s(")") for k, v in entries) + s(")")


def nar(node):
    return s("nix-archive-1") + node


def nested(nodes):
    node = directory({})
    for _ in range(nodes - 1):
        node = directory({"d": node})
    return nar(node)


# --- compression -------------------------------------------------------------------------------------

def zstd(data, window_log=17, repeat=None):
    """One frame of raw blocks, or (repeat) of one byte so many times."""
    out = bytearray(b"\x28\xb5\x2f\xfd\0" + bytes([(window_log - 10) << 3]))
    blocks = [(0, data[i:i + 65536], None) for i in range(0, len(data), 65536)] or [(0, b"", None)]
    if repeat:
        blocks = [(1, data[:1], 65536)] * (repeat // 65536)
    for i, (kind, body, size) in enumerate(blocks):
        head = (i == len(blocks) - 1) | kind << 1 | (size or len(body)) << 3
        out += struct.pack("<I", head)[:3] + body
    return bytes(out)


def skippable(data):
    return b"\x50\x2a\x4d\x18" + struct.pack("<I", len(data)) + data


def xz(data):
    return lzma.compress(data, preset=0)


def xz_greedy(data):
    """A valid stream whose header asks for a dictionary of 4 GiB."""
    out = bytearray(xz(data))
    size = (out[12] + 1) * 4
    assert out[14] == 0x21
    out[16] = 40
    out[12 + size - 4:12 + size] = struct.pack("<I", zlib.crc32(bytes(out[12:12 + size - 4])))
    return bytes(out)


def brotli(data):
    return subprocess.run(["brotli", "-c", "-q", "1"], input=data, stdout=subprocess.PIPE, check=True).stdout


def xz_blocks(data):
    return subprocess.run(["xz", "-c", "-0", "-T2", "--block-size=16KiB"], input=data, stdout=subprocess.PIPE,
                          check=True).stdout


COMPRESS = {"none": lambda d: d, "zstd": zstd, "xz": xz, "gzip": lambda d: gzip.compress(d, 1),
            "bzip2": lambda d: bz2.compress(d, 1), "br": brotli}


# --- caches ------------------------------------------------------------------------------------------

KEY, STRANGER, NAMESAKE = Key("good-1"), Key("stranger-1"), Key("good-1")


class Path:
    """A path of a cache. Whatever is given beyond name, tree and references is the defect."""

    def __init__(self, name, archive, references=(), compression="none", key=KEY, **defect):
        self.name, self.archive, self.compression = defect.pop("full", None) or store_name(name), archive, compression
        self.references = sorted(references)
        self.key, self.defect = key, defect

    def write(self, where):
        d = self.defect
        stored = d.get("stored", COMPRESS.get(self.compression, lambda x: x)(self.archive))
        fields = {
            "StorePath": "/nix/store/" + self.name,
            "URL": "nar/" + self.name + ".nar",
            "Compression": self.compression,
            "NarHash": "sha256:" + nix32(hashlib.sha256(d.get("hashed", self.archive)).digest()),
            "NarSize": str(d.get("nar_size", len(self.archive))),
            "References": " ".join(self.references),
        }
        if "sig" not in d:
            fields["Sig"] = self.key.sign("1;%s;%s;%s;%s" % (
                fields["StorePath"], fields["NarHash"], fields["NarSize"],
                ",".join("/nix/store/" + r for r in self.references)))
        elif d["sig"]:
            fields["Sig"] = d["sig"]
        fields.update(d.get("fields", {}))
        text = "".join(f"{k}: {v}\n" for k, v in fields.items() if v is not None) + d.get("more", "")
        if "text" in d:
            text = d["text"](text)
        os.makedirs(where + "/nar", exist_ok=True)
        if not d.get("no_narinfo"):
            with open(f"{where}/{self.name[:32]}.narinfo", "wb") as f:
                f.write(text.encode() if isinstance(text, str) else text)
        if not d.get("no_nar"):
            with open(f"{where}/nar/{self.name}.nar", "wb") as f:
                f.write(stored)


# Not compressible, so that a compressed archive is about as long as the archive.
DATA = b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(5000))
GOOD = nar(directory({"bin": directory({"run": regular(b"#!/bin/sh\n", True)}), "data": regular(DATA),
                      "link": symlink("data")}))


def closure(where, archive=GOOD, info="StoreDir: /nix/store\n", references=None, **defect):
    """A root that references `bad`, which has the defect, and a good path. Returns the root's name."""
    good = Path("good", nar(regular(b"fine")))
    bad = Path("bad", archive, [good.name] if references is None else references, **defect)
    root = Path("root", nar(regular(b"root")), [bad.name, good.name])
    for p in (good, bad, root):
        p.write(where)
    if info is not None:
        with open(where + "/nix-cache-info", "w", encoding="ascii") as f:
            f.write(info)
    return root.name


BAD = store_name("bad")


# --- a server that misbehaves on demand --------------------------------------------------------------

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    rules = {}    # prefix of a path -> what to do with the part behind it
    requests = []

    def log_message(self, *args):
        pass

    def handle(self):
        try:
            super().handle()
        except OSError:
            pass  # the client has left, as it should

    def do_GET(self):  # noqa: N802
        Handler.requests.append(self.path)
        case, rest = self.path[1:].split("/", 1)
        for (name, part), rule in Handler.rules.items():
            if name == case and part in rest:
                return rule(self)
        try:
            with open(f"{W}/{case}/{rest.split('?')[0]}", "rb") as f:
                body = f.read()
        except FileNotFoundError:
            return self.answer(404)
        return self.answer(200, body)

    def answer(self, status, body=b"", length=None, **headers):
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        if length is not None:
            self.close_connection = True

    def stall(self):
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(b"x")
        self.wfile.flush()
        STOP.wait(60)
        self.close_connection = True

    def cut_chunk(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"1000\r\n" + GOOD[:100])
        self.close_connection = True

    def reset(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(GOOD)))
        self.end_headers()
        self.wfile.write(GOOD[:1000])
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def noise(self):
        self.wfile.write(b"\0\1\2 nonsense\r\n\r\n")
        self.close_connection = True

    def endless(self):
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(1 << 14):
                self.wfile.write(b"X: y\n" * 4096)
        except OSError:
            pass
        self.close_connection = True


STOP = threading.Event()
http.server.ThreadingHTTPServer.request_queue_size = 128
SERVER = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
SERVER.daemon_threads = True
threading.Thread(target=SERVER.serve_forever, daemon=True).start()
BASE = f"http://127.0.0.1:{SERVER.server_address[1]}"


# --- running -----------------------------------------------------------------------------------------

count = failures = 0
LOCK = threading.Lock()
POOL = concurrent.futures.ThreadPoolExecutor(4)
PENDING = []


def later(function):
    """Cases have nothing to do with each other, and some do nothing but wait."""
    def submit(*args, **kwargs):
        PENDING.append(POOL.submit(function, *args, **kwargs))
    return submit


def wait():
    while PENDING:
        PENDING.pop(0).result()


def report(name, ok, *details):
    global count, failures
    with LOCK:
        count += 1
        failures += not ok
        print(f"{'ok' if ok else 'not ok'} {count} - {name}", flush=True)
        if not ok:
            for d in details:
                print("# " + str(d).replace("\n", "\n# "))


def pull(case, root, caches, keys=(KEY,), timeout="50s", pin=""):
    store = f"{W}/store-{case}"
    args = [ROUSE, "pull", "--store", store, "--timeout", timeout]
    os.makedirs(store, exist_ok=True)
    for c in caches:
        args += ["--cache", c]
    for k in keys:
        args += ["--key", k.public]
    p = subprocess.run(args + ["/nix/store/" + root + pin], capture_output=True, text=True, errors="replace",
                       timeout=120, check=False)
    return p, store + "/nix/store"


def remove(top):
    """Directories of a store cannot be written, which only root may ignore."""
    for where, _, _ in os.walk(top):
        os.chmod(where, 0o755)
    shutil.rmtree(top)


def refused(name, p, store, status, word):
    """One sentence with the object, the right status, and nothing to be seen; what is complete waits, out of
    sight, when trying again may help."""
    there = os.listdir(store) if os.path.isdir(store) else []
    lines = [line for line in p.stderr.splitlines() if "; trying again, " not in line]  # while it waits
    report(name, p.returncode == status and word in p.stderr and len(lines) == 1 and
           not any(n == BAD or n.startswith(".") and status != UNAVAILABLE for n in there),
           f"status {p.returncode}, wanted {status}; '{word}' in:", p.stderr, there)


DECIDED = {}  # what rouse does with each case: "refuses" or "accepts"
NIX = {}      # … and Nix, where that is not the same: or "waits", "dies"


def table():
    """differences.md as {case: (what Nix does, what rouse does)}; a name may have {one,another} in it."""
    def spell(name):
        head, brace, rest = name.partition("{")
        if not brace:
            return [name]
        inner, _, tail = rest.partition("}")
        return [head + word + end for word in inner.split(",") for end in spell(tail)]
    out = {}
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "differences.md"), encoding="utf-8") as f:
        for line in f:
            cells = [cell.strip() for cell in line.split("|")]
            if len(cells) != 6 or "`" not in cells[1]:
                continue
            for name in cells[1].split("`")[1::2]:
                out.update({case: (cells[2], cells[3]) for case in spell(name)})
    return out


def compare_with_table():
    """The table of the differences is about these cases; with NIX=1, it is about all that differ."""
    written = table()
    wrong = [f"{case}: rouse {DECIDED.get(case, 'has no such case')}" for case, (_, ours) in written.items()
             if DECIDED.get(case) != ours]
    report("table_of_differences_says_what_rouse_does", not wrong and written, *wrong)
    if os.environ.get("NIX"):
        theirs = {case: nix for case, (nix, _) in written.items()}
        report("table_of_differences_says_what_nix_does", NIX == theirs,
               *(f"{case}: Nix {NIX.get(case, 'agrees')}, in the table: {theirs.get(case, 'nothing')}"
                 for case in sorted(NIX.keys() | theirs.keys()) if NIX.get(case) != theirs.get(case)))


def ask_nix(name, root, cache, keys, path, refuses):
    """With NIX=1, what real Nix does with the case, of one cache or several; differences.md has the reasons."""
    DECIDED[name] = "refuses" if refuses else "accepts"
    if not os.environ.get("NIX"):
        return
    home = f"{W}/nix-{name}"
    os.makedirs(home + "/conf")
    with open(home + "/conf/nix.conf", "w", encoding="ascii") as f:
        f.write(f"build-users-group =\nsandbox = false\nsubstituters = {cache}\nconnect-timeout = 20\n"
                f"download-attempts = 1\nstalled-download-timeout = 15\n"
                f"trusted-public-keys = {' '.join(k.public for k in keys)}\n")
    try:
        p = subprocess.run(["nix-store", "--realise", "/nix/store/" + root], capture_output=True, timeout=60, check=False,
                           env={**os.environ, "NIX_CONF_DIR": home + "/conf", "HOME": home,
                                "NIX_REMOTE": f"local?root={home}/root"})
        took = p.returncode == 0 and os.path.lexists(f"{home}/root/nix/store/{path}")
        does = "dies" if p.returncode < 0 else "accepts" if took else "refuses"
    except subprocess.TimeoutExpired:
        does = "waits"
    if does != DECIDED[name]:
        with LOCK:
            NIX[name] = does
            print(f"# nix {does}: {name}", flush=True)
    subprocess.run(["rm", "-rf", home], check=False)  # it may have made a tree too deep for us


@later
def hostile(name, status, word=BAD, scheme="http", keys=(KEY,), timeout="50s", rules=(), pin="", **defect):
    where = f"{W}/{name}"
    root = closure(where, **defect)
    for part, rule in dict(rules).items():
        Handler.rules[(name, part)] = rule
    cache = f"file://{where}" if scheme == "file" else f"{BASE}/{name}"
    p, store = pull(name, root, [cache], keys, timeout, pin)
    if timeout == SOON and word not in p.stderr:  # a busy machine may not come so far so soon
        p, store = pull(name, root, [cache], keys, "25s", pin)
    refused(name, p, store, status, word)
    ask_nix(name, root, cache, keys, defect.get("full") or BAD, True)
    remove(where)
    remove(f"{W}/store-{name}")


@later
def accepted(name, scheme="http", keys=(KEY,), look=None, rules=(), **defect):
    where = f"{W}/{name}"
    root = closure(where, **defect)
    for part, rule in dict(rules).items():
        Handler.rules[(name, part)] = rule
    p, store = pull(name, root, [f"file://{where}" if scheme == "file" else f"{BASE}/{name}"], keys)
    there = sorted(os.listdir(store)) if os.path.isdir(store) else []
    ok = p.returncode == OK and there == sorted([defect.get("full") or BAD, store_name("good"), store_name("root")])
    report(name, ok and (look is None or look(f"{store}/{BAD}")), f"status {p.returncode}:", p.stderr, there)
    ask_nix(name, root, f"file://{where}" if scheme == "file" else f"{BASE}/{name}", keys,
            defect.get("full") or BAD, False)
    remove(where)
    remove(f"{W}/store-{name}")


def bad_nar(name, archive, word=BAD):
    """A malformed archive, hashed and signed as it is: only the parser stands before it."""
    hostile("nar_" + name, UNTRUSTED, word, archive=archive)


def signatures():
    hostile("signature_by_unknown_key", UNTRUSTED, key=STRANGER)
    hostile("signature_by_another_key_of_that_name", UNTRUSTED, key=NAMESAKE)
    hostile("signature_missing", UNTRUSTED, sig=None)
    hostile("signature_of_something_else", UNTRUSTED, sig=KEY.sign("1;x"))
    hostile("signature_not_base64", UNTRUSTED, sig="good-1:!!!!")
    hostile("no_key_given", UNTRUSTED, word=store_name("root"), keys=())
    other = "/nix/store/" + store_name("other")
    hostile("narinfo_of_another_path", UNTRUSTED, fields={"StorePath": other})
    hostile("references_dropped", UNTRUSTED, fields={"References": ""})
    hostile("reference_added", UNTRUSTED, fields={"References": store_name("good") + " " + store_name("evil")})
    hostile("nar_hash_changed", UNTRUSTED, fields={"NarHash": "sha256:" + nix32(b"\1" * 32)})
    hostile("nar_size_changed", UNTRUSTED, fields={"NarSize": "1"})
    hostile("pin_differs", UNTRUSTED, word=store_name("root"), pin="#sha256:" + nix32(b"\1" * 32))
    accepted("signature_among_others", more="Sig: " + STRANGER.sign("x") + "\n")
    accepted("signature_by_second_key", keys=(STRANGER, KEY))
    forged = Path("swapped", nar(regular(b"old but signed")))
    forged.write(W + "/forged")
    with open(f"{W}/forged/{forged.name[:32]}.narinfo", encoding="ascii") as f:
        replay = f.read()
    hostile("valid_narinfo_of_another_path_replayed", UNTRUSTED, text=lambda t: replay)


def narinfos():
    hostile("missing_narinfo", DOCUMENT, no_narinfo=True)
    hostile("missing_narinfo_in_file_cache", DOCUMENT, scheme="file", no_narinfo=True)
    hostile("missing_nar", DOCUMENT, no_nar=True)
    for i, url in enumerate(("file:///etc/shadow", "http://169.254.169.254/latest/meta-data/", "../../x.nar",
                             "nar/%2e%2e/%2e%2e/x", "/etc/passwd", "//evil.example/x.nar", "nar/a b")):
        hostile(f"url_{i}_leaves_the_cache", UNTRUSTED, word=BAD[:32], fields={"URL": url})
    hostile("compression_unknown", DOCUMENT, word="rot13", fields={"Compression": "rot13"})
    accepted("compression_absent_means_bzip2", compression="bzip2", fields={"Compression": None})
    accepted("compression_empty_means_bzip2", compression="bzip2", fields={"Compression": ""})
    hostile("narinfo_cut_off", UNTRUSTED, word=BAD[:32], text=lambda t: t[:-1])
    hostile("narinfo_empty", UNTRUSTED, word=BAD[:32], text=lambda t: "")
    hostile("narinfo_with_nul", UNTRUSTED, word=BAD[:32], text=lambda t: t + "X: \0\n")
    hostile("narinfo_line_without_colon", UNTRUSTED, word=BAD[:32], more="nonsense\n")
    hostile("narinfo_two_hashes", UNTRUSTED, word=BAD[:32], more="NarHash: sha256:" + nix32(b"\1" * 32) + "\n")
    hostile("narinfo_size_zero", UNTRUSTED, word=BAD[:32], nar_size=0)
    hostile("narinfo_size_with_sign", UNTRUSTED, word=BAD[:32], nar_size="+5")
    hostile("narinfo_size_beyond_u64", UNTRUSTED, word=BAD[:32], nar_size=1 << 64)
    hostile("narinfo_size_of_an_exabyte", UNTRUSTED, word=BAD[:32], nar_size=1 << 60)
    hostile("narinfo_md5", UNTRUSTED, word=BAD[:32], fields={"NarHash": "md5:" + "0" * 32})
    hostile("narinfo_reference_is_a_path", UNTRUSTED, word=BAD[:32], fields={"References": "../../etc"})
    hostile("narinfo_too_large", DOCUMENT, word=BAD[:32], more="X: y\n" * 300000)
    hostile("narinfo_lying_content_address", UNTRUSTED, sig=None,
            fields={"CA": "fixed:r:sha256:" + nix32(hashlib.sha256(GOOD).digest())})
    hostile("cache_for_another_store", DOCUMENT, word="/gnu/store", info="StoreDir: /gnu/store\n")
    accepted("cache_without_info", info=None)
    accepted("narinfo_with_unknown_keys", more="System: x86_64-linux\nFuture: yes\n")
    hostile("narinfo_file_hash_malformed", UNTRUSTED, word=BAD[:32], more="FileHash: x\n")
    hostile("narinfo_file_size_absurd", UNTRUSTED, word=BAD[:32], more=f"FileSize: {1 << 50}\n")
    hostile("narinfo_file_size_negative", UNTRUSTED, word=BAD[:32], more="FileSize: -1\n")
    hostile("narinfo_file_size_too_small", DOCUMENT, more=f"FileSize: {len(GOOD) - 1}\n")
    hostile("narinfo_deriver_is_a_path", UNTRUSTED, word=BAD[:32], more="Deriver: ../x.drv\n")
    hostile("narinfo_ca_of_no_kind", UNTRUSTED, word=BAD[:32], more="CA: nonsense\n")
    hostile("narinfo_two_ca", UNTRUSTED, word=BAD[:32], more="CA: text:sha256:x\nCA: text:sha256:x\n")
    hostile("narinfo_too_many_signatures", UNTRUSTED, word=BAD[:32], more="Sig: x-1:AAAA\n" * 17)
    hostile("narinfo_too_many_references", UNTRUSTED, word=BAD[:32],
            fields={"References": " ".join([store_name("good")] * 16385)})
    hostile("narinfo_reference_in_upper_case", UNTRUSTED, word=BAD[:32],
            fields={"References": store_name("good").upper()})
    hostile("narinfo_name_of_another_case", UNTRUSTED, fields={"StorePath": "/nix/store/" + BAD[:33] + "Bad"})
    hostile("narinfo_same_hash_other_name", UNTRUSTED, fields={"StorePath": "/nix/store/" + BAD + "-2"})
    hostile("narinfo_without_dash_behind_hash", UNTRUSTED, word=BAD[:32],
            fields={"StorePath": "/nix/store/" + BAD[:32] + "+" + BAD[33:]})
    hostile("narinfo_of_another_store", UNTRUSTED, word=BAD[:32], fields={"StorePath": "/gnu/store/" + BAD})
    hostile("narinfo_hash_in_upper_case", UNTRUSTED, word=BAD[:32],
            fields={"NarHash": "sha256:" + nix32(hashlib.sha256(GOOD).digest()).upper()})
    hostile("narinfo_hash_with_spare_bits", UNTRUSTED, word=BAD[:32], fields={"NarHash": "sha256:" + "z" * 52})
    hostile("narinfo_hash_too_long", UNTRUSTED, word=BAD[:32], fields={"NarHash": "sha256:" + "0" * 53})
    hostile("narinfo_crlf", UNTRUSTED, word=BAD[:32], text=lambda t: t.replace("\n", "\r\n"))
    hostile("narinfo_no_blank_behind_colon", UNTRUSTED, word=BAD[:32], text=lambda t: t.replace("URL: ", "URL:"))
    hostile("reference_that_nobody_has", DOCUMENT, word=store_name("lost"), references=[store_name("lost")])
    accepted("references_to_itself", references=[BAD, store_name("good")])
    accepted("references_that_come_twice", fields={"References": (store_name("good") + " ") * 2})
    accepted("narinfo_hash_as_sri", fields={"NarHash": "sha256-" + base64.b64encode(
        hashlib.sha256(GOOD).digest()).decode()})
    accepted("narinfo_lines_in_another_order", text=lambda t: "".join(reversed(t.splitlines(True))))
    accepted("narinfo_with_file_size", more=f"FileSize: {len(GOOD)}\n")
    accepted("narinfo_hash_in_hex", fields={"NarHash": "sha256:" + hashlib.sha256(GOOD).hexdigest()})
    accepted("narinfo_url_with_query", fields={"URL": f"nar/{BAD}.nar?hash=abc"})


def archives():
    d, f = directory({}), regular(b"x")
    pair = [("a", f), ("b", f)]
    bad_nar("not_one", b"\x7fELF" * 64)
    bad_nar("of_nothing", s("nix-archive-1"))
    for i, name in enumerate(("..", ".", "", "a/b", "/", "../../../etc/cron.d/x", "a\0b")):
        bad_nar(f"name_that_leads_elsewhere_{i}", nar(directory([(name, f)])), word="file name")
    bad_nar("name_of_256_bytes", nar(directory({"n" * 256: f})))
    bad_nar("name_twice", nar(directory([("a", f), ("a", f)])), word="order")
    bad_nar("link_and_directory_of_one_name",
            nar(directory([("a", symlink("/tmp")), ("a", directory({"evil": f}))])), word="order")
    bad_nar("names_unsorted", nar(directory(list(reversed(pair)))), word="order")
    bad_nar("names_sorted_as_signed_bytes", nar(directory([(b"\xff", f), (b"a", f)])), word="order")
    bad_nar("nested_65_deep", nested(65), word="deep")
    bad_nar("nested_5000_deep", nar(words("(", "type", "directory") +
                                    words("entry", "(", "name", "d", "node", "(", "type", "directory") * 5000))
    bad_nar("padding_not_zero", GOOD.replace(b"data\0\0\0\0", b"data\0\0\0\1", 1), word="padding")
    huge = struct.pack("<Q", (1 << 64) - 8)
    head = s("nix-archive-1") + words("(", "type")
    bad_nar("contents_of_2_to_the_64", head + words("regular", "contents") + huge)
    bad_nar("contents_of_a_terabyte", head + words("regular", "contents") + struct.pack("<Q", 1 << 40))
    bad_nar("name_of_2_to_the_64", head + words("directory", "entry", "(", "name") + huge)
    bad_nar("target_of_2_to_the_64", head + words("symlink", "target") + huge)
    bad_nar("target_empty", nar(symlink("")))
    bad_nar("target_of_4096_bytes", nar(symlink("t" * 4096)))
    bad_nar("target_with_nul", nar(symlink("a\0b")))
    bad_nar("kind_unknown", nar(words("(", "type", "device", ")")))
    bad_nar("contents_missing", nar(words("(", "type", "regular", ")")))
    bad_nar("executable_behind_contents", nar(words("(", "type", "regular", "contents", "x", "executable", "", ")")))
    bad_nar("executable_not_empty", nar(words("(", "type", "regular", "executable", "y", "contents", "x", ")")))
    bad_nar("ends_early", GOOD[:-16])
    bad_nar("goes_on_behind_its_end", GOOD + s("x"), word="behind its end")
    bad_nar("two_in_one", GOOD + GOOD, word="behind its end")
    odd = {bytes([c]): f for c in range(1, 256) if chr(c) not in "./"}
    accepted("names_of_every_byte", archive=nar(directory(odd)), look=lambda p: len(os.listdir(p)) == len(odd))
    accepted("names_of_255_bytes", archive=nar(directory({"n" * 255: f, "...": d, "..a": d})))
    accepted("nested_63_deep", archive=nested(63))
    accepted("nested_64_deep", archive=nested(64))
    accepted("directory_of_20000", archive=nar(directory({f"{i:05}": d for i in range(20000)})),
             look=lambda p: len(os.listdir(p)) == 20000)
    accepted("root_is_a_link", archive=nar(symlink("/etc/passwd")), look=os.path.islink)
    accepted("root_is_an_empty_file", archive=nar(regular(b"")), look=lambda p: os.path.getsize(p) == 0)
    accepted("target_of_4095_bytes", archive=nar(symlink("t" * 4095)))


def sizes_and_streams():
    half = len(GOOD) // 2
    hostile("content_differs", UNTRUSTED, stored=GOOD.replace(b"#!/bin/sh", b"#!/bin/id"))
    hostile("content_differs_in_file_cache", UNTRUSTED, scheme="file",
            stored=GOOD.replace(b"#!/bin/sh", b"#!/bin/id"))
    hostile("signed_size_too_small", UNTRUSTED, nar_size=len(GOOD) - 8)
    hostile("signed_size_too_large", UNTRUSTED, nar_size=len(GOOD) + 8)
    for c, pack in COMPRESS.items():
        hostile(f"{c}_cut_off", UNTRUSTED, compression=c, stored=pack(GOOD)[:-20])
        hostile(f"{c}_cut_in_half", UNTRUSTED, compression=c, stored=pack(GOOD)[:len(pack(GOOD)) // 2])
        hostile(f"{c}_empty", UNTRUSTED, compression=c, stored=b"")
        hostile(f"{c}_followed_by_garbage", UNTRUSTED, compression=c, stored=pack(GOOD) + b"garbage!")
        hostile(f"{c}_followed_by_zeros", UNTRUSTED, compression=c, stored=pack(GOOD) + bytes(5))
        hostile(f"{c}_unpacks_to_more", UNTRUSTED, compression=c, stored=pack(GOOD + bytes(8)))
        damaged = bytearray(pack(GOOD))
        damaged[half] ^= 0x40
        hostile(f"{c}_damaged", UNTRUSTED, compression=c, stored=bytes(damaged))
        accepted(f"{c}_is_read", compression=c)
    hostile("zstd_bomb", UNTRUSTED, word="more than its signed size", compression="zstd",
            stored=zstd(GOOD) + zstd(b"\0", repeat=1 << 30))
    wait()
    begin = time.monotonic()
    hostile("xz_bomb", UNTRUSTED, compression="xz", stored=xz(GOOD + bytes(64 << 20)))
    wait()
    report("bombs_are_stopped_at_once", time.monotonic() - begin < 15)
    hostile("zstd_window_of_2_gib", UNTRUSTED, compression="zstd", stored=zstd(GOOD, window_log=31))
    hostile("xz_dictionary_of_4_gib", UNTRUSTED, word="MiB", compression="xz", stored=xz_greedy(GOOD))
    hostile("zstd_called_xz", UNTRUSTED, compression="xz", stored=zstd(GOOD))
    hostile("html_instead", UNTRUSTED, compression="zstd", stored=b"<html>please log in</html>" * 20)
    accepted("zstd_of_several_frames", compression="zstd",
             stored=zstd(GOOD[:100]) + zstd(GOOD[100:half]) + zstd(b"") + zstd(GOOD[half:]))
    accepted("zstd_with_skippable_frames", compression="zstd",
             stored=skippable(b"hi") + zstd(GOOD[:half]) + skippable(b"x" * 300) + zstd(GOOD[half:]) + skippable(b""))
    accepted("zstd_window_of_128_mib", compression="zstd", stored=zstd(GOOD, window_log=27))
    accepted("xz_of_several_blocks", compression="xz", stored=xz_blocks(GOOD))
    hostile("xz_of_several_blocks_damaged", UNTRUSTED, compression="xz",
            stored=xz_blocks(GOOD)[:40000] + b"x" + xz_blocks(GOOD)[40001:])
    for c in ("gzip", "bzip2"):
        pack = COMPRESS[c]
        accepted(f"{c}_of_several_members", compression=c, stored=pack(GOOD[:half]) + pack(b"") + pack(GOOD[half:]))
        hostile(f"{c}_of_several_members_cut_off", UNTRUSTED, compression=c,
                stored=pack(GOOD[:half]) + pack(GOOD[half:])[:-9])
    for c, pack in COMPRESS.items():
        if c not in ("none", "zstd", "xz"):
            hostile(f"{c}_bomb", UNTRUSTED, compression=c, stored=pack(GOOD + bytes(64 << 20)))
            hostile(f"{c}_is_html", UNTRUSTED, compression=c, stored=b"<html>please log in</html>" * 20)
    accepted("xz_of_several_streams", compression="xz", stored=xz(GOOD[:half]) + xz(GOOD[half:]))
    accepted("xz_with_stream_padding", compression="xz", stored=xz(GOOD[:half]) + bytes(8) + xz(GOOD[half:]))


def servers():
    h = Handler
    slow = {"timeout": SOON}
    for part in (".narinfo", "nar/"):
        n = "nar" if part == "nar/" else "narinfo"
        word = BAD if n == "nar" else BAD[:32]
        for status, want in ((401, DOCUMENT), (403, DOCUMENT), (404, DOCUMENT), (410, DOCUMENT), (418, DOCUMENT)):
            hostile(f"{n}_{status}", want, word=word,
                    rules={BAD[:32] + part if n == "narinfo" else part + BAD: lambda r, s=status: r.answer(s)})
        at = BAD[:32] + part if n == "narinfo" else part + BAD
        hostile(f"{n}_500", UNAVAILABLE, word=word, rules={at: lambda r: r.answer(500)}, **slow)
        hostile(f"{n}_stalls", UNAVAILABLE, word=word, rules={at: h.stall}, **slow)
        hostile(f"{n}_shorter_than_said", UNAVAILABLE, word=word,
                rules={at: lambda r: r.answer(200, GOOD[:500], length=len(GOOD))}, **slow)
        for i, to in enumerate(("file:///etc/passwd", "http://169.254.169.254/", "http://localhost:1/x",
                                "gopher://x/")):
            hostile(f"{n}_redirect_{i}", DOCUMENT, word=word,
                    rules={at: lambda r, t=to: r.answer(302, Location=t)})
    at = "nar/" + BAD
    accepted("nar_redirect_to_the_same_server", rules={
        at: lambda r: r.answer(302, Location="/nar_redirect_to_the_same_server/moved/" + r.path.rsplit("/", 1)[1]),
        "moved/": lambda r: r.answer(200, GOOD)})
    hostile("nar_redirect_loop", DOCUMENT, rules={at: lambda r: r.answer(302, Location=r.path)})
    hostile("nar_redirect_without_place", DOCUMENT, rules={at: lambda r: r.answer(302)})
    hostile("nar_204", UNTRUSTED, rules={at: lambda r: r.answer(204)})
    hostile("nar_206", UNTRUSTED, rules={at: lambda r: r.answer(206, GOOD[100:])})
    hostile("nar_encoded_though_not_asked", UNTRUSTED,
            rules={at: lambda r: r.answer(200, gzip.compress(GOOD), Content_Encoding="gzip")})
    hostile("nar_503_with_a_long_retry_after", UNAVAILABLE, rules={at: lambda r: r.answer(503, Retry_After="86400")},
            **slow)
    hostile("nar_two_lengths", UNAVAILABLE, rules={at: lambda r: r.answer(200, GOOD, content_length="1")}, **slow)
    hostile("nar_ends_within_a_chunk", UNAVAILABLE, rules={at: h.cut_chunk}, **slow)
    hostile("nar_reset_in_the_middle", UNAVAILABLE, rules={at: h.reset}, **slow)
    hostile("nar_too_long_by_its_header", DOCUMENT, rules={at: lambda r: r.answer(200, GOOD, length=1 << 40)})
    hostile("narinfo_too_long_by_its_header", DOCUMENT, word=BAD[:32],
            rules={BAD[:32]: lambda r: r.answer(200, b"x", length=1 << 40)})
    hostile("narinfo_not_http", DOCUMENT, word=BAD[:32], rules={BAD[:32]: h.noise})
    accepted("info_too_large", rules={"nix-cache-info": lambda r: r.answer(200, b"X: y\n" * 20000)})
    hostile("narinfo_endless", DOCUMENT, word=BAD[:32], rules={BAD[:32]: h.endless})
    hostile("nar_endless", UNTRUSTED, rules={"nar/" + BAD: h.endless})
    once = []

    def fail_once(r):
        if once:
            return r.answer(200, GOOD)
        once.append(1)
        return r.answer(200, GOOD[:5000], length=len(GOOD))
    Handler.rules[("broken_download_is_tried_again", "nar/" + BAD)] = fail_once
    accepted("broken_download_is_tried_again")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]  # of which nobody else takes calls meanwhile
        p, store = pull("nobody_there", store_name("root"), [f"http://127.0.0.1:{port}"], timeout=SOON)
        refused("nobody_there", p, store, UNAVAILABLE, str(port))
        ask_nix("nobody_there", store_name("root"), f"http://127.0.0.1:{port}", (KEY,), BAD, True)


def content_addresses():
    """Paths whose name is the address of their content need no signature, and are what they say."""
    content = b"served without a key\n"
    inner = hashlib.sha256(content).digest()

    def named(kind, digest, name):
        return nix32(fold(hashlib.sha256(f"{kind}:sha256:{digest.hex()}:/nix/store:{name}".encode()).digest())) \
            + "-" + name

    def fold(digest):
        out = bytearray(20)
        for i, b in enumerate(digest):
            out[i % 20] ^= b
        return bytes(out)
    flat = named("output:out", hashlib.sha256(f"fixed:out:sha256:{inner.hex()}:".encode()).digest(), "bad")
    tree = named("source:/nix/store/" + store_name("good"), hashlib.sha256(GOOD).digest(), "bad")
    text = named("text:/nix/store/" + store_name("good"), inner, "bad")
    unsigned = {
        "flat": {"full": flat, "references": [], "archive": nar(regular(content)), "sig": None,
                 "fields": {"CA": "fixed:sha256:" + nix32(inner)}},
        "text": {"full": text, "archive": nar(regular(content)), "sig": None,
                 "fields": {"CA": "text:sha256:" + nix32(inner)}},
        "tree": {"full": tree, "sig": None, "fields": {"CA": "fixed:r:sha256:" + nix32(hashlib.sha256(GOOD).digest())}},
    }
    for kind, case in unsigned.items():
        accepted(f"address_{kind}_needs_no_signature", **case)
    for kind in ("flat", "text"):
        case, wrong = unsigned[kind], nar(regular(b"something else"))
        hostile(f"address_{kind}_with_other_content", UNTRUSTED, word=case["full"], **{**case, "archive": wrong})
        hostile(f"address_{kind}_of_an_executable", UNTRUSTED, word=case["full"],
                **{**case, "archive": nar(regular(content, True))})
        hostile(f"address_{kind}_of_a_directory", UNTRUSTED, word=case["full"],
                **{**case, "archive": nar(directory({"x": regular(content)}))})
        hostile(f"address_{kind}_named_otherwise", UNTRUSTED, **{**case, "full": BAD})
    hostile("address_tree_with_other_content", UNTRUSTED, word=tree, **{**unsigned["tree"], "stored": b"x" * 99})
    hostile("address_tree_without_its_reference", UNTRUSTED, word=tree, references=[], **unsigned["tree"])
    # What such a cache claims of sizes and hashes is its own word: another one is heard.
    for kind, case in unsigned.items():
        closure(f"{W}/honest_{kind}", **case)
        for lie, change in (("huge", {"nar_size": 1 << 35}), ("small", {"nar_size": 8}),
                            ("beyond_bounds", {"nar_size": (1 << 36)})):
            root = closure(f"{W}/lie_{kind}_{lie}", **{**case, **change})
            p, store = pull(f"lie_{kind}_{lie}", root, [f"{BASE}/lie_{kind}_{lie}", f"{BASE}/honest_{kind}"])
            name = f"address_{kind}_with_a_{lie}_size_leads_to_the_next_cache"
            report(name, p.returncode == OK and case["full"] in os.listdir(store), p.returncode, p.stderr)
            ask_nix(name, root, f"{BASE}/lie_{kind}_{lie} {BASE}/honest_{kind}", (KEY,), case["full"], False)


    # A claim that nobody certified is not remembered as one that somebody signed.
    case = {**unsigned["text"], "archive": nar(regular(b"not what the name says"))}
    root = closure(W + "/claims", no_nar=True, **case)
    closure(W + "/says_nothing", full=text, sig=None, archive=case["archive"])
    closure(W + "/claims_again", **case)
    p, store = pull("claims", root, [BASE + "/claims", BASE + "/says_nothing", BASE + "/claims_again"])
    refused("a_claim_is_still_one_in_the_third_cache", p, store, UNTRUSTED, "not what its name says")
    report("what_it_claimed_is_not_there", text not in os.listdir(store))
    # … nor pinned by a manifest, which is believed without another look.
    for name, cache, status in (("false", "claims_again", UNTRUSTED), ("true", "honest_text", OK)):
        p = subprocess.run([ROUSE, "manifest", "--cache", f"{BASE}/{cache}", "--key", KEY.public, "/nix/store/" + root],
                           capture_output=True, text=True, timeout=120, check=False)
        report(f"a_claim_that_is_{name}_in_a_manifest", p.returncode == status and (text in p.stdout) == (status == OK),
               p.returncode, p.stderr)


def places():
    """URLs of archives, absolute ones among them."""
    accepted("url_absolute_in_the_cache", fields={"URL": f"{BASE}/url_absolute_in_the_cache/nar/{BAD}.nar"})
    hostile("url_absolute_beside_the_cache", UNTRUSTED, word=BAD[:32],
            fields={"URL": f"{BASE}/url_absolute_in_the_cache/nar/{BAD}.nar"})
    hostile("url_absolute_above_the_cache", UNTRUSTED, word=BAD[:32],
            fields={"URL": f"{BASE}/url_absolute_above_the_cache/../x/nar/{BAD}.nar"})
    closure(W + "/elsewhere")
    root = closure(W + "/points", no_nar=True, fields={"URL": f"{BASE}/elsewhere/nar/{BAD}.nar"})
    p, store = pull("points", root, [BASE + "/points", BASE + "/elsewhere"])
    report("url_absolute_in_another_cache", p.returncode == OK and BAD in os.listdir(store), p.stderr)
    ask_nix("url_absolute_in_another_cache", root, f"{BASE}/points {BASE}/elsewhere", (KEY,), BAD, False)
    p, store = pull("points_out", root, [BASE + "/points"])
    refused("url_absolute_in_a_cache_that_is_not_given", p, store, UNTRUSTED, BAD[:32])
    ask_nix("url_absolute_in_a_cache_that_is_not_given", root, BASE + "/points", (KEY,), BAD, True)


def two_caches():
    """The first has a defect, the second is good."""
    nobody = "http://127.0.0.1:9"
    cases = {
        "missing": {"no_narinfo": True}, "untrusted": {"key": STRANGER}, "no_archive": {"no_nar": True},
        "wrong_content": {"stored": b"x" * len(GOOD)}, "unknown_compression": {"fields": {"Compression": "lz4"}},
    }
    other = nar(directory({"data": regular(b"another build, signed as well")}))
    again = {"no_archive_and_a_second_build": {"archive": other}, "no_archive_and_an_unsigned_one": {"sig": None}}
    unlike = {"unsigned": {"archive": other, "sig": None}, "with_other_references": {"archive": other, "references": []}}
    closure(W + "/second")
    for name, second in again.items():
        root = closure(f"{W}/first_{name}", no_nar=True)
        closure(f"{W}/second_{name}", **second)
        p, store = pull("two_" + name, root, [f"{BASE}/first_{name}", f"{BASE}/second_{name}"])
        report("second_cache_helps_when_first_has_" + name, p.returncode == OK and BAD in os.listdir(store), p.stderr)
    for name, second in unlike.items():
        root = closure(f"{W}/first_{name}", no_nar=True)
        closure(f"{W}/second_{name}", **second)
        p, store = pull("two_" + name, root, [f"{BASE}/first_{name}", f"{BASE}/second_{name}"])
        refused(f"a_second_build_{name}_is_not_taken", p, store, DOCUMENT, f"/second_{name}' (untrusted)")
    for name, defect in cases.items():
        root = closure(f"{W}/first_{name}", **defect)
        p, store = pull("two_" + name, root, [f"{BASE}/first_{name}", BASE + "/second"])
        report("second_cache_helps_when_first_is_" + name,
               p.returncode == OK and BAD in os.listdir(store), p.stderr)
        ask_nix("second_cache_helps_when_first_is_" + name, root, f"{BASE}/first_{name} {BASE}/second", (KEY,), BAD, False)
    Handler.rules[("busy", "nar/" + BAD)] = lambda r: r.answer(503, Retry_After="11")
    closure(W + "/busy")
    p, store = pull("two_busy", root, [BASE + "/busy", BASE + "/second"])
    tries = sum(r.startswith("/busy/nar/" + BAD) for r in Handler.requests)
    report("second_cache_is_asked_rather_than_a_busy_one_again",
           p.returncode == OK and BAD in os.listdir(store) and tries == 1, p.stderr, tries)
    closure(W + "/elsewhere_made", info="StoreDir: /gnu/store\n")
    p, store = pull("two_stores", root, [BASE + "/elsewhere_made", BASE + "/second"])
    report("second_cache_helps_when_first_is_for_another_store", p.returncode == OK and BAD in os.listdir(store) and
           "is for the store '/gnu/store'" in p.stderr, p.stderr)
    for name, file in (("narinfo", BAD[:32] + ".narinfo"), ("archive", f"nar/{BAD}.nar")):
        closure(f"{W}/torn_{name}")
        os.remove(f"{W}/torn_{name}/{file}")
        os.symlink(os.path.basename(file), f"{W}/torn_{name}/{file}")  # cannot be opened, also by root
        p, store = pull("torn_" + name, root, [f"file://{W}/torn_{name}"])
        refused(f"{name}_that_cannot_be_read", p, store, SYSTEM, file)
        p, store = pull("two_torn_" + name, root, [f"file://{W}/torn_{name}", BASE + "/second"])
        report(f"second_cache_helps_when_first_cannot_read_the_{name}",
               p.returncode == OK and BAD in os.listdir(store), p.stderr)
    p, store = pull("two_nobody", root, [nobody, BASE + "/second"])
    report("second_cache_helps_when_first_is_away", p.returncode == OK and BAD in os.listdir(store), p.stderr)
    ask_nix("second_cache_helps_when_first_is_away", root, f"{nobody} {BASE}/second", (KEY,), BAD, False)
    root = closure(W + "/lacks", no_narinfo=True)
    p, store = pull("lacks", root, [BASE + "/lacks", BASE + "/lacks"])
    refused("both_caches_are_named_when_neither_has_it", p, store, DOCUMENT, BAD)
    ask_nix("both_caches_are_named_when_neither_has_it", root, BASE + "/lacks", (KEY,), BAD, True)
    p, store = pull("lacks_away", root, [BASE + "/lacks", nobody], timeout="8s")
    refused("missing_in_one_and_other_away_is_unavailable", p, store, UNAVAILABLE, BAD)
    ask_nix("missing_in_one_and_other_away_is_unavailable", root, f"{BASE}/lacks {nobody}", (KEY,), BAD, True)


# Between us and the program, for the kernel counts what a parent had before exec as the child's memory.
LAUNCH = """import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ,
                     file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
_, status, usage = os.wait4(pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024)
"""


def peak_memory(args):
    """The exit status, and the largest resident size in bytes."""
    out = subprocess.run([sys.executable, "-S", "-E", "-c", LAUNCH, *args], stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, timeout=120, check=True, text=True).stdout
    return tuple(int(x) for x in out.split())


def memory():
    """A cache pads its narinfos, signed as they are, with half a megabyte each."""
    leaves = [Path(f"leaf{i}", nar(regular(b"%d" % i))) for i in range(400)]
    root = Path("padded", nar(regular(b"root")), [p.name for p in leaves])
    for p in leaves + [root]:
        p.write(W + "/padded")
    padding = b"X: " + b"y" * 500000 + b"\n"

    def pad(r):
        with open(W + r.path, "rb") as f:
            r.answer(200, f.read() + padding)
    Handler.rules[("padded", ".narinfo")] = pad
    os.mkdir(W + "/store-padded")
    status, peak = peak_memory([ROUSE, "pull", "--store", W + "/store-padded", "--timeout", "100s", "--cache",
                                BASE + "/padded", "--key", KEY.public, "/nix/store/" + root.name])
    # 24 answers are on their way at once, in buffers that double; all would be 200 MB.
    report("padded_narinfos_do_not_pile_up", status == OK and peak < 64e6, f"status {status}, {peak / 1e6:.0f} MB")


def windows():
    """Archives of 64 MB whose decoders want 128 MiB each, of which what is not touched is no memory."""
    leaves = []
    for i in range(4):
        archive = nar(regular(DATA * 400 + b"%d" % i))
        leaves.append(Path(f"wide{i}", archive, compression="zstd", stored=zstd(archive, window_log=27)))
    root = Path("wide", nar(regular(b"root")), [p.name for p in leaves])
    for p in leaves + [root]:
        p.write(W + "/wide")
    for jobs in (1, 4):
        store = f"{W}/store-wide{jobs}"
        os.mkdir(store)
        status, peak = peak_memory([ROUSE, "pull", "--store", store, "--timeout", "100s", "--jobs", str(jobs), "--cache",
                                    BASE + "/wide", "--key", KEY.public, "/nix/store/" + root.name])
        report(f"one_large_window_at_a_time_with_{jobs}_jobs", status == OK and peak < 120e6, f"status {status}, {peak / 1e6:.0f} MB")


def replacing():
    """A path that Nix put there, and that the system may run on, is never absent, whenever power fails."""
    if os.geteuid() or not shutil.which("strace"):
        return report("an_unregistered_path_is_never_absent # SKIP needs root and strace", True)
    root, store, absent = closure(W + "/again"), W + "/store-again", []
    for when in range(1, 8):
        os.makedirs(f"{store}/nix/store/{BAD}/bin")
        subprocess.run(["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat2", "-e",
                        f"inject=renameat2:signal=SIGKILL:when={when}", ROUSE, "pull", "--store", store,
                        "--cache", "file://" + W + "/again", "--key", KEY.public, "/nix/store/" + root],
                       capture_output=True, timeout=60, check=False)
        if not os.path.isdir(f"{store}/nix/store/{BAD}/bin"):
            absent.append(when)
        shutil.rmtree(store)
    return report("an_unregistered_path_is_never_absent", not absent, "killed at rename", absent)


ONLY = os.environ.get("ONLY", "")
try:
    for group in (signatures, narinfos, archives, sizes_and_streams, servers, content_addresses, places,
                  two_caches, memory, windows, replacing):
        if ONLY in group.__name__:
            group()
            wait()
    if not ONLY:
        compare_with_table()
finally:
    STOP.set()
    remove(W)
print(f"1..{count}")
sys.exit(failures > 0)
