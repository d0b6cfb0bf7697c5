#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cuts the power at every write of a provisioning, and runs it again.

Each write and flush of the agent is recorded (record.c, preloaded). The states that a disk may be in
when the power goes are then made from the record: all writes up to the N-th, for every N; and, since a
disk may keep what was not flushed or lose it, in any order, also subsets of the writes since the last
flush, and writes of which only the first sectors arrived. From each of them, what was on the disk before
and is not to be replaced must be as it was, the agent must come to the same end, bit by bit, and then
have nothing to do.

    tests/image/powercut.py [-v] [SCENARIO…]    (one that is named is tried in all states)
"""
import hashlib
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from cuts import Zeros, digest, lost, state  # noqa: E402
from images import MIB, ROUSE, blank, content, ext4, gpt, run, write_content  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))


def read_log(path):
    ops = []
    with open(path, "rb") as f:
        raw = f.read()
    at = 0
    while at < len(raw):
        op, disk, offset, n = struct.unpack_from("=cBQQ", raw, at)
        at += 18
        if op == b"w":
            ops.append((disk, offset, raw[at:at + n]))
            at += n
        elif op == b"z":
            ops.append((disk, offset, Zeros(n)))
        else:
            ops.append((disk, None, None))
    return ops


class Scene:
    """Disks, a document, and what must never change."""

    def __init__(self, top):
        self.top = top
        self.disks = []
        self.kept = []  # (disk, offset, size)
        self.document = {}
        self.device = None  # of a loop device over the first disk, for the run that is recorded
        self.sample = 0     # so many prefixes are tried, and half as many other states; 0: all

    def path(self, i):
        return f"{self.top}/d{i}.img"

    def disk(self, size):
        self.disks.append(f"d{len(self.disks)}")
        blank(self.path(len(self.disks) - 1), size)
        return self.path(len(self.disks) - 1)

    def section(self, **disk):
        disk.setdefault("device", "root" if len(self.disks) == 1 else f"/dev/{self.disks[-1]}")
        self.document[self.disks[-1]] = disk

    def keep(self, start, size):
        self.kept.append((len(self.disks) - 1, start, size))

    def rouse(self, command, env=None):
        argv = [ROUSE, command] + (["--yes"] if command == "apply" else [])
        for i, name in enumerate(self.disks):
            argv += ["--disk", f"{name}={self.device or self.path(i)}"]
        return subprocess.run(argv + [f"{self.top}/doc.json"], capture_output=True, timeout=120, check=False,
                              env=dict(os.environ, **(env or {})))

    def close_device(self):
        if self.device:
            run("sync", self.device)
            run("losetup", "-d", self.device)
            self.device = None

    def images(self):
        return [content(self.path(i)) for i in range(len(self.disks))]

    def set_images(self, images):
        for i, image in enumerate(images):
            write_content(self.path(i), image)

    def kept_of(self, images):
        return [[(o, b) for o, b in sorted(images[d][1].items()) if start <= o < start + size]
                for d, start, size in self.kept]


def fill(path, start, size):
    """Something that a lost byte shows in."""
    rng = random.Random(start)
    with open(path, "r+b") as f:
        for at in range(start + 8 * MIB, start + size, 4 * MIB):
            f.seek(at)
            f.write(rng.randbytes(4096))


TWO = {"/boot": {"size": "4MiB", "filesystem": "vfat"}, "/": {"filesystem": "ext4"}}


def fresh(s):
    s.disk(64 * MIB)
    s.section(partitions=TWO)


def whole(s):
    s.disk(24 * MIB)
    s.section(filesystem="ext4")


def whole_vfat(s):
    s.disk(24 * MIB)
    s.section(filesystem="vfat")


def swap(s):
    s.disk(32 * MIB)
    s.section(partitions={"swap": {"size": "8MiB", "filesystem": "swap"}, "/": {"filesystem": "ext4"}})


def replace_whole(s):
    ext4(s.disk(64 * MIB), "old")
    s.section(partitions=TWO, replace=["ext4:old"])


def replace_gpt(s):
    path = s.disk(64 * MIB)
    gpt(path, "size=16M", "size=16M")
    ext4(path, "old", MIB, 16384)
    s.section(partitions=TWO, replace=["ext4:old", "gpt"])


def replace_whole_by_whole(s):
    run("mkswap", "-q", "-L", "old", s.disk(24 * MIB))
    s.section(filesystem="ext4", replace=["swap:old"])


def mixed(s):
    """One partition is kept, one replaced, two are added."""
    path = s.disk(96 * MIB)
    gpt(path, "size=16M,name=keep", "size=24M,name=data")
    ext4(path, "keep", MIB, 16384)
    fill(path, MIB, 16 * MIB)
    run("mkfs.vfat", "--offset", "34816", "-n", "OLD", path, "24576")
    s.keep(MIB, 16 * MIB)
    s.section(partitions={"a": {"label": "keep", "size": "16MiB"},
                          "/": {"label": "data", "size": "24MiB", "filesystem": "ext4"},
                          "/boot": {"size": "4MiB", "filesystem": "vfat"}, "/srv": {"filesystem": "ext4"}},
              replace=["vfat:OLD"])


def grow(s):
    path = s.disk(32 * MIB)
    gpt(path, "size=16M,name=keep")
    ext4(path, "keep", MIB, 16384)
    fill(path, MIB, 16 * MIB)
    os.truncate(path, 64 * MIB)
    s.keep(MIB, 16 * MIB)
    # The size of a filesystem is a matter for the kernel: here it is the table that grows.
    s.section(partitions={"a": {"label": "keep", "size": "16MiB"}, "b": {"filesystem": "ext4"}})


def grow_only(s):
    path = s.disk(32 * MIB)
    gpt(path, "size=16M,name=keep")
    fill(path, MIB, 16 * MIB)
    os.truncate(path, 64 * MIB)
    s.keep(MIB, 16 * MIB)
    s.section(partitions={"a": {"label": "keep"}})


def relocate(s):
    grow_only(s)
    s.section(partitions={"a": {"label": "keep", "size": "16MiB"}})


def edit(s):
    path = s.disk(32 * MIB)
    gpt(path, "size=16M,name=keep", "size=4M,name=other")
    fill(path, MIB, 16 * MIB)
    s.keep(MIB, 16 * MIB)
    s.section(partitions={"a": {"label": "keep", "size": "16MiB", "type": "linux-raid", "attributes": "no-auto"}})


def repair(s):
    path = s.disk(32 * MIB)
    gpt(path, "size=16M,name=keep")
    fill(path, MIB, 16 * MIB)
    with open(path, "r+b") as f:
        f.seek(512)
        f.write(bytes(512))
    s.keep(MIB, 16 * MIB)
    s.section(partitions={"a": {"label": "keep", "size": "16MiB"}})


def hybrid(s):
    path = s.disk(32 * MIB)
    gpt(path, "size=16M,name=keep")
    fill(path, MIB, 16 * MIB)
    with open(path, "r+b") as f:  # the partition in the MBR, too
        f.seek(446 + 16)
        f.write(struct.pack("<B3sB3sII", 0, b"\0\2\0", 0x83, b"\xff" * 3, 2048, 16 * 2048))
    s.keep(MIB, 16 * MIB)
    s.section(partitions={"a": {"label": "keep"}}, hybridMbr="keep")


def sectors(s):
    s.disk(96 * MIB)
    s.section(sectorSize=4096, partitions={
        "bios": {"number": 14, "start": "24KiB", "size": "1000KiB", "type": "bios-boot"},
        "/srv": {"weight": 1, "filesystem": "ext4"}, "/": {"weight": 2, "filesystem": "ext4"}})


def two_disks(s):
    fresh(s)
    path = s.disk(48 * MIB)
    gpt(path, "size=16M,name=keep")
    fill(path, MIB, 16 * MIB)
    s.keep(MIB, 16 * MIB)
    s.section(partitions={"k": {"label": "keep", "size": "16MiB"}, "/srv": {"filesystem": "ext4"}})


def btrfs(s):
    s.disk(160 * MIB)
    s.section(filesystem="btrfs")


def image_by_url(s):
    data = b"hsqs" + bytes(24) + struct.pack("<HH", 4, 0) + random.Random(1).randbytes(3 * MIB)
    with open(f"{s.top}/usr.img", "wb") as f:
        f.write(data)
    image = {"url": f"file://{s.top}/usr.img", "sha256": hashlib.sha256(data).hexdigest(), "type": "squashfs"}
    s.disk(48 * MIB)
    s.sample = 20
    s.section(partitions={"/usr": {"size": "4MiB", "image": image}, "/": {"filesystem": "ext4"}})


def on_device(s, size, **disk):
    """The filesystem's own program writes to the device; what it leaves is looked at in the file."""
    s.device = run("losetup", "-f", "--show", "-P", s.disk(size)).stdout.decode().strip()
    s.sample = 20
    s.section(**disk)


def xfs_on_a_device(s):
    on_device(s, 320 * MIB, filesystem="xfs")


def btrfs_on_a_device(s):
    on_device(s, 160 * MIB, filesystem="btrfs")


def f2fs_on_a_device(s):
    on_device(s, 100 * MIB, filesystem="f2fs", mkfs={"options": ["-O", "extra_attr,inode_checksum,sb_checksum"]})


def partitions_of_a_device(s):
    on_device(s, 400 * MIB, partitions={"/boot": {"size": "4MiB", "filesystem": "vfat"},
                                        "/srv": {"size": "320MiB", "filesystem": "xfs"}, "/": {"filesystem": "ext4"}})


DEVICES = [xfs_on_a_device, btrfs_on_a_device, f2fs_on_a_device, partitions_of_a_device]
SCENES = [fresh, whole, whole_vfat, swap, replace_whole, replace_gpt, replace_whole_by_whole, mixed, grow,
          grow_only, relocate, edit, repair, hybrid, sectors, two_disks, image_by_url, btrfs] + DEVICES
# The figures of a run, for the last line.
total = {"writes": 0, "states": 0, "flushes": 0}


class Cutter:
    def __init__(self, scene, shim):
        self.s = scene
        self.record = {"LD_PRELOAD": shim, "RECORD_LOG": f"{scene.top}/log",
                       "RECORD_DISKS": ":".join(scene.device or scene.path(i) for i in range(len(scene.disks)))}
        self.replay = {"LD_PRELOAD": shim}
        self.seen = set()

    def whole_run(self):
        self.base = self.s.images()
        r = self.s.rouse("apply", self.record)
        self.s.close_device()
        assert r.returncode == 0, r.stderr.decode()
        self.ops = read_log(f"{self.s.top}/log")
        self.want = self.s.images()
        self.nothing_to_do("after the run without a cut")
        assert self.s.kept_of(self.want) == self.s.kept_of(self.base), "the run itself changes what it keeps"

    def nothing_to_do(self, when):
        r = self.s.rouse("plan", self.replay)
        assert b"plan: nothing to change" in r.stdout, f"{when}: {r.stdout.decode()}{r.stderr.decode()}"

    def state(self, arrived, torn):
        return state(self.base, self.ops, arrived, torn)

    def again(self, what, images):
        key = digest(images)
        if key in self.seen:
            return
        self.seen.add(key)
        total["states"] += 1
        assert self.s.kept_of(images) == self.s.kept_of(self.base), f"{what}: lost before the next run"
        self.s.set_images(images)
        r = self.s.rouse("apply", self.replay)
        end = self.s.images()
        assert r.returncode == 0, f"{what}: {r.stderr.decode()}"
        assert self.s.kept_of(end) == self.s.kept_of(self.base), f"{what}: lost by the next run"
        if end != self.want:
            self.compare(what, end)

    def compare(self, what, end):
        """Not bit by bit the same: stale bytes where nothing reads them are none of anybody's business, but
        tables, names and filesystems are."""
        self.nothing_to_do(what)
        for i in range(len(self.s.disks)):
            write_content(f"{self.s.top}/end.img", end[i])
            write_content(f"{self.s.top}/want.img", self.want[i])
            got, want = (self.seen_by_tools(f"{self.s.top}/{n}.img") for n in ("end", "want"))
            assert got == want, f"{what}: ends with\n{got}\ninstead of\n{want}"

    def seen_by_tools(self, path):
        table = run("sfdisk", "-J", path, fails=True).stdout
        parts = [(0, os.path.getsize(path))]
        if table and json.loads(table)["partitiontable"]["label"] == "gpt":
            t = json.loads(table)["partitiontable"]
            sector = t.get("sectorsize", 512)
            parts = [(p["start"] * sector, p["size"] * sector) for p in t["partitions"]]
        out = table.decode().replace(path, "disk")
        for start, size in parts:
            part = f"{self.s.top}/part.img"
            _, blocks = content(path)
            write_content(part, (size, {o - start: b for o, b in blocks.items() if start <= o < start + size}))
            info = run("blkid", "-p", "-o", "export", part, fails=True).stdout.decode()
            out += "".join(line + "\n" for line in info.splitlines() if not line.startswith(("DEVNAME", "UUID_SUB")))
            for kind, check in (("ext4", ["e2fsck", "-fn"]), ("vfat", ["fsck.vfat", "-n"]), ("btrfs", ["btrfs", "check"]),
                                ("xfs", ["xfs_repair", "-n", "-f"]), ("f2fs", ["fsck.f2fs", "-f", "--dry-run"])):
                if f"TYPE={kind}\n" in info + "\n":
                    run(*check, part)
        return out

    def cut_everywhere(self):
        self.whole_run()
        writes = [i for i, op in enumerate(self.ops) if op[1] is not None]
        total["writes"] += len(writes)
        total["flushes"] += len(self.ops) - len(writes)
        rng = random.Random(len(writes))
        step = max(1, len(writes) // self.s.sample) if self.s.sample else 1
        self.again("before the first write", self.state([], {}))
        for n in range(0, len(writes), step):
            self.again(f"after write {n} of {len(writes)}", self.state(writes[:n + 1], {}))
        before = total["states"]
        states = lost(self.ops, rng, 2)
        if self.s.sample:
            states = list(states)
            states = rng.sample(states, min(self.s.sample // 2, len(states)))
        for what, arrived, torn in states:
            self.again(what, self.state(arrived, torn))
        return (len(writes) + step - 1) // step, total["states"] - before


def main():
    names = [a for a in sys.argv[1:] if a != "-v"]
    scenes = [f for f in SCENES if not names or f.__name__ in names]
    if not all(map(shutil.which, ["cc", "sfdisk", "mkfs.ext4", "mkfs.vfat", "mkswap", "mkfs.btrfs", "mkfs.f2fs", "mkfs.xfs"])):
        print("1..0 # SKIP needs a compiler and the tools that make disks")
        return 0
    failed = 0
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 512 * MIB else None
    with tempfile.TemporaryDirectory(dir=shm) as top:
        run("cc", "-shared", "-fPIC", "-O2", "-o", f"{top}/record.so", f"{HERE}/record.c", "-ldl")
        print(f"1..{len(scenes)}", flush=True)
        for n, make in enumerate(scenes, 1):
            words = make.__name__.replace("_", " ")
            s = Scene(f"{top}/{make.__name__}")
            os.mkdir(s.top)
            if make in DEVICES and run("losetup", "-f", fails=True).returncode:
                print(f"ok {n} - {words} # SKIP needs a loop device", flush=True)
                continue
            make(s)
            s.sample = 0 if names else s.sample
            with open(f"{s.top}/doc.json", "w", encoding="utf-8") as f:
                json.dump({"rouse": 1, "disks": s.document}, f)
            try:
                writes, more = Cutter(s, f"{top}/record.so").cut_everywhere()
                print(f"ok {n} - {words}: cut at each of {writes} writes, and in {more} other states", flush=True)
            except AssertionError as e:
                failed += 1
                print(f"not ok {n} - {words}", flush=True)
                print("".join(f"# {line}\n" for line in str(e).splitlines()[:40]), end="", flush=True)
            s.close_device()
            shutil.rmtree(s.top)
    print(f"# {total['writes']} writes and {total['flushes']} flushes; {total['states']} states of disks after a cut, "
          "each of them ends as without it")
    return bool(failed)


sys.exit(main())
