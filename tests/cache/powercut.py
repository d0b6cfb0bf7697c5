# SPDX-License-Identifier: Apache-2.0
"""Makes the disks that a power cut may leave, and looks at each of them.

    powercut.py WORLD ROUSE KEY OLD NEW PULLED

WORLD/ram/base is the disk before the pull, WORLD/ram/log what was written to it, in the format of the
Linux target dm-log-writes; PULLED, how many records there were when the pull said that it was done. A disk may have
what was written before the last flush, and any part of what was written since. On each: the
filesystem mounts; the profile is at the old system or the new (after PULLED: the new), and what it is at
is registered; what is registered is there as Nix made it; and pulling again ends as without a cut.
"""
import os
import random
import re
import stat
import struct
import subprocess
import sys
import time

W, ROUSE, KEY, OLD, NEW, PULLED = sys.argv[1:6] + [int(sys.argv[6])]
BASE, LOG, DISK, STATE = f"{W}/ram/base", f"{W}/ram/log", f"{W}/disk", f"{W}/ram/state"
SECONDS = float(os.environ["POWERCUT_SECONDS"]) / 2  # of two recordings
SEED = int(os.environ.get("POWERCUT_SEED", random.randrange(1 << 30)))
PROFILES = "/nix/var/nix/profiles"
FLUSH, FUA, DISCARD = 1, 2, 4
SECTOR, BLOCK = 512, 4096  # of the log; what a disk writes as a whole, as filesystems believe


def run(*argv):
    r = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    if r.returncode:
        raise AssertionError(f"{' '.join(argv)}: {r.returncode}: {r.stdout.decode()}")


def read_log():
    """Records as (flags, offset on the disk, offset in the log, bytes)."""
    out = []
    with open(LOG, "rb") as f:
        magic, _, n, _ = struct.unpack("=QQQI", f.read(28))
        assert magic == 0x6A736677736872, hex(magic)
        at = SECTOR
        for _ in range(n):
            f.seek(at)
            sector, sectors, flags, _ = struct.unpack("=QQQQ", f.read(32))
            at += SECTOR
            out.append((flags, sector * SECTOR, at, sectors * SECTOR))
            if not flags & DISCARD:
                at += sectors * SECTOR
    return out


class Disks:
    def __init__(self, log):
        self.log = log

    def make(self, n, rng):
        """The first n records; with rng, those behind the last flush only in part."""
        durable = max((i for i in range(n) if self.log[i][0] & FLUSH), default=0) if rng else n
        run("cp", "--sparse=always", BASE, STATE)
        with open(STATE, "r+b") as f, open(LOG, "rb") as log:
            for i, (flags, to, at, size) in enumerate(self.log[:n]):
                if flags & DISCARD or not size:
                    continue
                if i >= durable and not flags & FUA:
                    kept = rng.choice((0, 1, 1, 2))
                    size = size if kept == 1 else kept and rng.randrange(0, size, BLOCK)
                os.pwrite(f.fileno(), os.pread(log.fileno(), size, at), to)


def lines(path):
    with open(path, encoding="ascii") as f:
        return f.read().split("\n")


def registered(path="/nix/var/nix/rouse/registration"):
    text, i, out = lines(DISK + path), 0, {}
    while i + 4 < len(text):
        n = int(text[i + 4])
        out[text[i]] = text[i + 5:i + 5 + n]
        i += 5 + n
    return out


def tree(path):
    """All that Nix cares about below a path."""
    st = os.lstat(path)
    head = [(stat.S_IFMT(st.st_mode), stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, st.st_mtime)]
    if stat.S_ISLNK(st.st_mode):
        return [head[0][:1] + head[0][2:], os.readlink(path)]
    if stat.S_ISREG(st.st_mode):
        with open(path, "rb") as f:
            return head + [f.read()]
    return head + [(name, tree(os.path.join(os.fsencode(path), name))) for name in sorted(os.listdir(os.fsencode(path)))]


class Wanted:
    """The store that Nix made, read once; and what is on a disk after a pull without a cut."""

    def __init__(self):
        self.trees = {}
        self.end = None

    def check(self, path):
        if path not in self.trees:
            self.trees[path] = tree(path)
        assert tree(DISK + path) == self.trees[path], f"registered, and not as it should be: {path}"


def current():
    link = os.readlink(f"{DISK}{PROFILES}/system")
    return link, os.readlink(f"{DISK}{PROFILES}/{link}")


def all_valid(wanted):
    valid = registered()
    for path, references in valid.items():
        wanted.check(path)
        for r in references:
            assert r in valid, f"registered without its reference: {path}, {r}"
    untold = set(valid) - set(registered("/nix-path-registration"))
    assert not untold, f"registered, and a Nix to come is not told: {untold}"
    return valid


def everything():
    """What there is but for the bytes: of the store, the profiles and the state. A file that was about to take
    the place of another ("fs.h") may stay, and is nobody's."""
    return [os.path.relpath(os.path.join(where, name), DISK) for where, dirs, files in os.walk(DISK)
            for name in dirs + files
            if f"{DISK}/nix/store/" not in where and not re.fullmatch(r"\.rouse-[0-9a-f]{8}-.*", name)]


def look(wanted, done):
    """Is it whole? Then pulls again, as another boot of the machine would."""
    link, system = current()
    assert system in (OLD, NEW), f"{link} -> {system}"
    assert system == NEW or not done, "the pull said that it was done, and the profile is at the old system"
    valid = all_valid(wanted)
    assert system in valid, f"the profile is at {system}, which is not registered"
    run(ROUSE, "pull", "--cache", f"file://{W}/cache", "--key", KEY, "--store", DISK, "--profile",
        PROFILES + "/system", NEW)
    assert current()[1] == NEW, f"pulled again: {current()}"
    all_valid(wanted)
    end = sorted(everything())
    wanted.end = wanted.end or end
    assert end == wanted.end, f"pulled again, there is {set(end) ^ set(wanted.end)}"
    return system


def main():
    log, wanted = read_log(), Wanted()
    disks = Disks(log)
    rng = random.Random(SEED)
    assert PULLED <= len(log)
    # First as it was, then the last of the pull and some behind, where the most is decided; then anywhere.
    near = [n for n in range(max(0, PULLED - 40), min(len(log), PULLED + 3))]
    rng.shuffle(near)
    states = [(PULLED, False), (0, False)] + [(n, part) for n in near for part in (True, False)]
    until = time.monotonic() + SECONDS
    seen = {OLD: 0, NEW: 0}
    tried = 0
    while time.monotonic() < until or tried < 12:
        n, part = states[tried] if tried < len(states) else (rng.randrange(len(log) + 1), rng.random() < 0.7)
        seed = rng.randrange(1 << 30)
        try:
            disks.make(n, random.Random(seed) if part else None)
            with open(f"{W}/boot-id", "w", encoding="ascii") as f:
                f.write(f"{seed:08x}-0000-4000-8000-000000000001\n")
            run("mount", "-o", "loop", STATE, DISK)
            try:
                seen[look(wanted, n >= PULLED)] += 1
            finally:
                run("umount", DISK)
        except (AssertionError, OSError) as e:
            print(f"seed {SEED}: cut after {n} of {len(log)} ({PULLED}: pulled), part {part}: {e}")
            return 1
        tried += 1
    flushes = sum(1 for r in log if r[0] & FLUSH)
    print(f"# {len(log)} writes, {flushes} flushes; {tried} cuts: {seen[OLD]} at the old generation, {seen[NEW]} at the new; seed {SEED}")
    return not (seen[OLD] and seen[NEW])


sys.exit(main())
