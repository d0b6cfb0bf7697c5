#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pulls one closure over and over, with rouse and with real Nix in turns, and says what it costs.

closure.py [--scale F] [--rounds N] [--keep DIR] [SCENARIO…]

The closure has the shape of a real system: 463 paths, hundreds of them tiny, the largest an eighth of
all, 1.18 GB unpacked (times F), made of the files of this machine's /usr. Scenarios: plain (HTTP, no
latency), tls (HTTP/2), slow (50 ms a round trip), slowtls (both), xz, small (10,000 paths of 1 KB), present (all there
already), one (--jobs 1: memory). Each run writes to a fresh ext4. The floor is tests/bench/floor.c,
which leaves its files in memory; "synced" has a sync behind it, as whatever is durable at its end must.
"manifest" is rouse with a manifest of the closure in the place of narinfos and signatures.
Results go to build/bench.json beside the others, as medians; needs root.
"""
import argparse
import base64
import concurrent.futures
import contextlib
import hashlib
import json
import os
import random
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROUSE = os.path.realpath(os.environ.get("ROUSE", "build/rouse"))
TOOLS = os.path.join(os.path.dirname(ROUSE), "bench")
RESULTS = "build/bench.json"
MIB = 1 << 20
# What is promised: the largest figure that is right, of a scenario and a client. A share of another client's is
# measured in the same rounds.
AIMS = {"memory": {"plain": 64 * MIB, "tls": 64 * MIB, "slow": 64 * MIB, "xz": 64 * MIB, "small": 64 * MIB, "one": 32 * MIB},
        "wall": {"present": 50}}
SHARES = [("plain", "rouse", "wall", "synced", 1.15), ("plain", "rouse", "cpu", "floor", 1.2),
          ("tls", "rouse", "wall", "synced", 1.3), ("slow", "rouse", "wall", "synced", 1.3),
          ("slow", "manifest", "wall", "synced", 1.3), ("small", "rouse", "wall", "nix copy", 0.2),
          ("small", "rouse", "wall", "nix -r", 0.2)]
TEXTS = {"plain": "zstd over HTTP", "tls": "zstd over HTTP/2 with TLS", "slow": "zstd over HTTP, 50 ms a round trip",
         "slowtls": "zstd over HTTP/2 with TLS, 50 ms a round trip", "xz": "xz over HTTP, an eighth",
         "small": "10,000 paths of 1 KB"}
W = None
KEYS = {}
LOCK = threading.Lock()


# --- a closure ---------------------------------------------------------------------------------------

def nix32(data):
    chars = "0123456789abcdfghijklmnpqrsvwxyz"
    n, number = (len(data) * 8 + 4) // 5, int.from_bytes(data, "little")
    return "".join(chars[number >> 5 * i & 31] for i in range(n - 1, -1, -1))


def s(data):
    data = data.encode() if isinstance(data, str) else data
    return struct.pack("<Q", len(data)) + data + b"\0" * (-len(data) % 8)


def words(*items):
    return b"".join(s(i) for i in items)


def node(tree):
    """bytes: a file; str: a link; dict: a directory."""
    if isinstance(tree, dict):
        return words("(", "type", "directory") + b"".join(
            words("entry", "(", "name", k, "node") + node(v) + s(")")
            for k, v in sorted((k.encode(), v) for k, v in tree.items())) + s(")")
    if isinstance(tree, str):
        return words("(", "type", "symlink", "target", tree, ")")
    return words("(", "type", "regular", "contents", tree, ")")


def make_key():
    pem = W + "/key.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", pem], check=True)
    der = subprocess.run(["openssl", "pkey", "-in", pem, "-pubout", "-outform", "DER"], check=True,
                         stdout=subprocess.PIPE).stdout
    KEYS["pem"], KEYS["public"] = pem, "bench-1:" + base64.b64encode(der[-32:]).decode()


def sign(text):
    """By a helper that stays: ten thousand processes would take minutes."""
    with LOCK:
        if "signer" not in KEYS:
            seed = subprocess.run(["openssl", "pkey", "-in", KEYS["pem"], "-outform", "DER"], check=True,
                                  stdout=subprocess.PIPE).stdout[-32:]
            public = base64.b64decode(KEYS["public"].split(":")[1])
            KEYS["signer"] = subprocess.Popen(
                [TOOLS + "/sign", "bench-1:" + base64.b64encode(seed + public).decode()], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, text=True)
        p = KEYS["signer"]
        p.stdin.write(text + "\n")
        p.stdin.flush()
        return p.stdout.readline().strip()


PACK = {"none": ["cat"], "zstd": ["zstd", "-q", "-3", "-c"], "xz": ["xz", "-c", "-6"]}
SUFFIX = {"none": "", "zstd": ".zst", "xz": ".xz"}


def store_path(cache, name, tree, references, compression):
    """Writes a path into the cache; returns its base name, size and how many files it has."""
    archive = s("nix-archive-1") + node(tree)
    base = nix32(hashlib.sha256(("bench " + name).encode()).digest()[:20]) + "-" + name
    packed = subprocess.run(PACK[compression], input=archive, stdout=subprocess.PIPE, check=True).stdout \
        if compression != "none" else archive
    url = f"nar/{base[:32]}.nar{SUFFIX[compression]}"
    with open(f"{cache}/{url}", "wb") as f:
        f.write(packed)
    digest = "sha256:" + nix32(hashlib.sha256(archive).digest())
    references = sorted(references)
    text = (f"StorePath: /nix/store/{base}\nURL: {url}\nCompression: {compression}\nFileHash: sha256:"
            f"{nix32(hashlib.sha256(packed).digest())}\nFileSize: {len(packed)}\nNarHash: {digest}\n"
            f"NarSize: {len(archive)}\nReferences: {' '.join(references)}\nSig: " +
            sign(f"1;/nix/store/{base};{digest};{len(archive)};" +
                 ",".join("/nix/store/" + r for r in references)) + "\n")
    with open(f"{cache}/{base[:32]}.narinfo", "w", encoding="ascii") as f:
        f.write(text)
    return base, len(archive)


def usr_files():
    """Files of /usr, in an order that is the same on every run."""
    found = []
    for where, dirs, files in os.walk("/usr"):
        dirs.sort()
        for name in sorted(files):
            path = os.path.join(where, name)
            st = os.lstat(path)
            if os.path.isfile(path) and not os.path.islink(path) and st.st_size < 30 << 20:
                found.append((path, st.st_size))
    random.Random(1).shuffle(found)
    return found


def sizes(scale):
    """Archive sizes as they were measured: p25 1 kB, p50 105 kB, p75 640 kB, p90 4 MB, p99 53 MB."""
    points = [(0.0, 400), (0.25, 1000), (0.5, 105e3), (0.75, 640e3), (0.9, 4e6), (0.99, 53e6), (1.0, 193e6)]
    out = []
    for i in range(463):
        at = (i + 0.5) / 463
        (a, x), (b, y) = next((p, q) for p, q in zip(points, points[1:]) if at <= q[0])
        out.append(x * (y / x) ** ((at - a) / (b - a)))
    ratio = 1.18e9 / sum(out)
    return [max(300, v * ratio * scale) if v > 2000 else v for v in out]


def make_closure(cache, scale, compression):
    os.makedirs(cache + "/nar")
    files, made, total, n_files = iter(usr_files()), [], 0, 0
    pool = concurrent.futures.ThreadPoolExecutor(2)
    pending = []
    chance = random.Random(2)
    for i, want in enumerate(sizes(scale)):
        tree, have, k = {}, 0, 0
        while have < want * 0.97 and k < 4000:
            path, size = next(files, (None, 0))
            if path is None:
                files = iter(usr_files())
                continue
            room = int(want - have)
            with open(path, "rb") as f:
                data = f.read(room)
            d = tree.setdefault(f"d{k // 12}", {}) if want > 20000 else tree
            d[f"f{k}"] = data
            if k % 6 == 5:
                d[f"l{k}"] = f"f{k}"
            have += len(data) + 250
            k += 1
        n_files += k
        references = [f.result()[0] for f in chance.sample(pending, min(len(pending), 4))] if i % 3 == 0 else []
        pending.append(pool.submit(store_path, cache, f"p{i}", tree, references, compression))
    for f in pending:
        base, size = f.result()
        made.append(base)
        total += size
    root, size = store_path(cache, "system", {"init": b"x"}, made, compression)
    finish_cache(cache, made + [root])
    print(f"# {cache}: {len(made) + 1} paths, {n_files} files, {(total + size) / 1e6:.0f} MB", flush=True)
    return "/nix/store/" + root, total + size


def make_small(cache, n):
    os.makedirs(cache + "/nar")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        made = [base for base, _ in pool.map(
            lambda i: store_path(cache, f"u{i}", os.urandom(450) + b"%d" % i * 80, [], "zstd"), range(n))]
    root, _ = store_path(cache, "many", {"x": b"x"}, made, "zstd")
    finish_cache(cache, made + [root])
    return "/nix/store/" + root, n * 1000


def finish_cache(cache, names):
    with open(cache + "/nix-cache-info", "w", encoding="ascii") as f:
        f.write("StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n")
    with open(cache + "/list", "w", encoding="ascii") as f:
        f.write("".join(n + "\n" for n in names))


# --- servers, filesystems ----------------------------------------------------------------------------

def free_port():
    with socket.socket() as x:
        x.bind(("127.0.0.1", 0))
        return x.getsockname()[1]


def certificate():
    run = lambda *a: subprocess.run(a, check=True, stderr=subprocess.DEVNULL)  # noqa: E731
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", W + "/tls.key",
        "-out", W + "/tls.pem")
    os.environ["SSL_CERT_FILE"] = os.environ["NIX_SSL_CERT_FILE"] = W + "/tls.pem"


@contextlib.contextmanager
def servers(root):
    plain, tls = free_port(), free_port()
    certificate()
    with open(W + "/nginx.conf", "w", encoding="ascii") as f:
        f.write(f"""daemon off; worker_processes 1; pid {W}/nginx.pid; error_log {W}/nginx.err; user root;
events {{ worker_connections 512; }}
http {{ access_log off; root {root}; sendfile on; tcp_nopush on; keepalive_requests 100000; http2_max_requests 100000;
client_body_temp_path {W}/t1; proxy_temp_path {W}/t2; fastcgi_temp_path {W}/t3; uwsgi_temp_path {W}/t4;
scgi_temp_path {W}/t5; server {{ listen 127.0.0.1:{plain}; }}
server {{ listen 127.0.0.1:{tls} ssl http2; ssl_certificate {W}/tls.pem; ssl_certificate_key {W}/tls.key; }} }}
""".replace("http2_max_requests 100000;\n", "\n"))
    server = subprocess.Popen(["nginx", "-c", W + "/nginx.conf", "-p", W], stderr=subprocess.DEVNULL)
    lines = [subprocess.Popen([TOOLS + "/delay", str(port), "25"], stdout=subprocess.PIPE, text=True) for port in (plain, tls)]
    try:
        far = [int(line.stdout.readline()) for line in lines]
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", tls), 1):
                break
            time.sleep(0.02)
        yield {"plain": f"http://127.0.0.1:{plain}", "tls": f"https://localhost:{tls}",
               "slow": f"http://127.0.0.1:{far[0]}", "slowtls": f"https://localhost:{far[1]}"}
    finally:
        for p in (server, *lines):
            p.terminate()
            p.wait()


@contextlib.contextmanager
def fresh_disk(size):
    """A new ext4: an old one is slow to forget what was deleted on it."""
    image, where = W + "/disk", W + "/mnt"
    with open(image, "wb") as f:
        f.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-N", "400000", image],
                   check=True)
    os.makedirs(where, exist_ok=True)
    subprocess.run(["mount", "-o", "loop", image, where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)
        os.remove(image)


# The kernel counts what a parent had before exec as the child's memory: this one has little.
LAUNCH = """import os, sys, time
begin = time.monotonic()
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, u = os.wait4(pid, 0)
print("measured", time.monotonic() - begin, u.ru_utime + u.ru_stime, u.ru_maxrss * 1024, status)
"""


def measure(argv, env=None):
    """Wall and CPU seconds, peak memory in bytes."""
    out = subprocess.run([sys.executable, "-S", "-E", "-c", LAUNCH, *argv], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, check=True, text=True, env={**os.environ, **(env or {})}).stdout
    wall, cpu, memory, status = out.splitlines()[-1].split()[1:]
    if int(status):
        sys.exit(f"closure.py: {' '.join(argv[:4])} failed:\n{out[-2000:]}")
    return float(wall), float(cpu), int(memory)


# --- what is measured ---------------------------------------------------------------------------------

def nix_env(url):
    os.makedirs(W + "/conf", exist_ok=True)
    with open(W + "/conf/nix.conf", "w", encoding="ascii") as f:
        f.write(f"build-users-group =\nsandbox = false\nsubstituters = {url}\ntrusted-public-keys = {KEYS['public']}\n"
                "experimental-features = nix-command\nmax-jobs = 16\n")
    shutil.rmtree(W + "/home", ignore_errors=True)  # it remembers what caches have
    os.makedirs(W + "/home")
    return {"NIX_CONF_DIR": W + "/conf", "HOME": W + "/home", "XDG_CACHE_HOME": W + "/home"}


def clients(cache, url, root, jobs=None, peers=True):
    more = ["--jobs", str(jobs)] if jobs else []
    manifest = f"{W}/{os.path.basename(cache)}.manifest"
    if not os.path.exists(manifest):
        subprocess.run([ROUSE, "manifest", "--cache", "file://" + cache, "--key", KEYS["public"], "--output", manifest, root],
                       check=True, stdout=subprocess.DEVNULL)
    out = {
        "floor": lambda d: ([TOOLS + "/floor", cache, KEYS["public"], cache + "/list", d, "2"], None),
        "synced": lambda d: (["sh", "-c", '"$@" && sync -f "$5"', "sh", TOOLS + "/floor", cache, KEYS["public"],
                              cache + "/list", d, "2"], None),
        "rouse": lambda d: ([ROUSE, "pull", "--store", d, "--cache", url, "--key", KEYS["public"], *more, root], None),
        "manifest": lambda d: ([ROUSE, "pull", "--store", d, "--cache", url, *more, "--manifest", manifest, root], None),
    }
    if peers:
        out["nix copy"] = lambda d: (["nix", "copy", "--from", url, "--to", f"local?root={d}", root], nix_env(url))
        out["nix -r"] = lambda d: (["nix-store", "--realise", root], {**nix_env(url), "NIX_REMOTE": f"local?root={d}"})
    return out


def compare(name, text, cache, url, root, size, rounds, **options):
    runs = {}
    for _ in range(rounds):
        for who, command in clients(cache, url, root, **options).items():
            with fresh_disk(int(size * 1.6) + (1 << 30)) as disk:
                argv, env = command(disk)
                runs.setdefault(who, []).append(measure(argv, env))
    show(name, text, runs)


def show(name, text, runs):
    floor = runs.get("floor")
    best = {who: [statistics.median(column) for column in zip(*r)] for who, r in runs.items()}
    print(f"{text}:")
    for who, (wall, cpu, memory) in best.items():
        against = f"  {wall / best['floor'][0]:5.2f} x floor, CPU {cpu / best['floor'][1]:5.2f} x" if floor else ""
        print(f"  {who:10} {wall:7.2f} s  CPU {cpu:6.2f} s  {memory / (1 << 20):6.1f} MiB{against}", flush=True)
    record(name, text, best)


def record(name, text, best):
    results = []
    if os.path.exists(RESULTS):
        with open(RESULTS, encoding="utf-8") as f:
            results = json.load(f)
    figures = {who: dict(zip(("wall", "cpu", "memory"), b)) for who, b in best.items()}
    for who, (wall, cpu, memory) in best.items():
        key = f"closure.{name}.{who.replace(' ', '-')}"
        for part, value, unit in (("wall", wall * 1000, "ms"), ("cpu", cpu * 1000, "ms"), ("memory", memory, "bytes")):
            results = [r for r in results if r["name"] != f"{key}.{part}"]
            results.append({"name": f"{key}.{part}", "text": f"{text}, {who}: {part}", "value": round(value, 1),
                            "unit": unit, "aim": AIMS.get(part, {}).get(name) if who == "rouse" else None})
    for scenario, who, part, other, aim in SHARES:
        if scenario == name and who in figures and other in figures:
            key = f"closure.{name}.{who}.{part}.{other.replace(' ', '-')}"
            results = [r for r in results if r["name"] != key]
            results.append({"name": key, "text": f"  {who}, where {other} takes 1: {part}",
                            "value": round(figures[who][part] / figures[other][part], 2), "unit": "", "aim": aim})
    os.makedirs(os.path.dirname(RESULTS), exist_ok=True)
    with open(RESULTS, "w", encoding="utf-8") as f:
        json.dump(results, f, indent=2)


def present(cache, url, root, size, rounds):
    runs = {}
    with fresh_disk(int(size * 1.6) + (1 << 30)) as disk:
        argv, _ = clients(cache, url, root)["rouse"](disk)
        measure(argv)
        for _ in range(max(rounds, 5)):
            runs.setdefault("rouse", []).append(measure(argv))
    show("present", "all of it there already", runs)


def main():
    global W
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", help="make the caches in this directory, once")
    parser.add_argument("scenario", nargs="*", default=["plain", "tls", "slow", "one", "present", "small", "xz"])
    args = parser.parse_args()
    W = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    kept = args.keep or W
    os.makedirs(kept, exist_ok=True)
    os.chmod(W, 0o755)
    try:
        run_all(args, kept)
    finally:
        shutil.rmtree(W)


def caches(args, kept):
    """Makes what the scenarios need; what is kept is used again."""
    index = kept + "/index.json"
    made = {}
    if os.path.exists(index):
        with open(index, encoding="utf-8") as f:
            made = json.load(f)
        shutil.copy(kept + "/key.pem", W + "/key.pem")
        KEYS.update(pem=W + "/key.pem", public=made["key"])
    else:
        make_key()
        made["key"] = KEYS["public"]
        if kept != W:
            shutil.copy(W + "/key.pem", kept + "/key.pem")
    want = set(args.scenario)
    if want - {"small", "xz"} and "zstd" not in made:
        made["zstd"] = make_closure(kept + "/zstd", args.scale, "zstd")
    if "xz" in want and "xz" not in made:
        made["xz"] = make_closure(kept + "/xz", args.scale / 8, "xz")
    if "small" in want and "small" not in made:
        made["small"] = make_small(kept + "/small", 10000)
    with open(index, "w", encoding="utf-8") as f:
        json.dump(made, f)
    return made


def run_all(args, kept):
    made = caches(args, kept)
    with servers(kept) as base:
        for name in args.scenario:
            which = name if name in ("xz", "small") else "zstd"
            (root, size), url = made[which], base.get(name, base["plain"]) + "/" + which
            if name == "present":
                present(f"{kept}/{which}", url, root, size, args.rounds)
            elif name == "one":
                compare(name, "zstd over HTTP, one worker", f"{kept}/{which}", url, root, size, args.rounds, jobs=1,
                        peers=False)
            else:
                compare(name, TEXTS[name], f"{kept}/{which}", url, root, size, args.rounds, peers=name != "slowtls")


main()
