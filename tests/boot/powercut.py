#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cuts the power at every write while volume groups, arrays and encryption are made, and boots again.

They take a kernel: one virtual machine is up all the time, and its disks are this program's (nbd.py), which
records what is written to them. The power goes by taking the disks away from the kernel; then they are as of
some write (cuts.py), and come back, and the agent runs as in a boot. What was on a disk before must be as it
was, and the agent must come to the same end, with the same names, and have nothing left to do. The agent
alone is killed, too, while one write waits: then its arrays, mappings and mounts are still there.

    tests/boot/powercut.py [SCENE…]

ROUSE_CUTS: so many states of each scene are tried, and as many in which no prober knows what is there, beside the
first of those; or "all"; or "different": each is looked at and planned, and the agent runs in those that do not
look like one before.
"""
import atexit
import difflib
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from nbd import Disks, read  # noqa: E402
from cuts import SECTOR, Zeros, digest, put, put_zeros, state  # noqa: E402
from images import MIB, ROUSE, blank, content, ext4, gpt, run  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
KEEP = 8 * MIB
GUEST = r"""
mkdir -p /escrow /mnt
for m in virtio_pci virtio_blk virtio_console ext4 dm-mod dm-crypt dm-thin-pool dm-raid raid1 ecb xts; do
	modprobe $m 2> /dev/null
done
until [ -e /dev/vport*p1 ] && [ -e /sys/block/vdb/serial ]; do usleep 50000; done
port=$(echo /dev/vport*p1)
exec 3<> "$port"
disks=
for d in /sys/block/vd*; do disks="$disks $(basename "$(readlink $d/device)")"; done

disks() # bind|unbind
{
	for d in $disks; do echo $d > /sys/bus/virtio/drivers/virtio_blk/$1; done
}

look()
{
	rouse facts --json > /tmp/facts
	rouse plan --facts /tmp/facts /doc/$1.json > /tmp/plan 2>&1
	sed 's/^/plan: /' /tmp/plan
	sed 's/^/facts: /' /tmp/facts
}

# As a shutdown would; what each filesystem is then, is looked at.
close()
{
	nodes=$(awk '$2 ~ "^/mnt/" { print $1 }' /proc/mounts)
	for m in $(awk '$2 ~ "^/mnt/" { print $2 }' /proc/mounts | sort -r); do umount $m || echo "fsck: cannot unmount $m"; done
	for n in $nodes; do e2fsck -fn $n > /tmp/fsck 2>&1 || sed "s,^,fsck: $n: ," /tmp/fsck; done
	for i in 1 2 3; do
		ls /sys/block | grep -qE '^(dm-|md)' || break
		dmsetup remove_all > /dev/null 2>&1
		for m in /dev/md[0-9]*; do [ ! -e $m ] || mdadm --stop $m > /dev/null 2>&1; done
	done
	ls /sys/block | grep -E '^(dm-|md)' | sed 's/^/left: /'
	rm -rf /dev/sys
	disks unbind
}

disks unbind
echo . >&3
while read -r word doc <&3; do
	case $word in
	plug) disks bind ;;
	apply)
		(rouse apply --yes /doc/$doc.json > /tmp/log 2>&1; echo "status $?"; sed 's/^/log: /' /tmp/log; echo .) >&3 3>&- &
		continue ;;
	kill) killall -9 rouse; echo killed >&3; continue ;;
	settle) while pidof lvm mdadm cryptsetup > /dev/null; do usleep 20000; done ;;
	look) look $doc >&3 ;;
	close) close >&3 ;;
	esac
	echo . >&3
done
"""


def disk(name, **partitions):
    return {name: {"device": {"serial": name}, "partitions": {"keep-" + name: {"label": "keep", "size": "8MiB"},
                                                              **partitions}}}


VOLUMES = {"group": "sys", "volumes": {"/mnt/one": {"size": "16MiB", "filesystem": "ext4"},
                                       "/mnt/two": {"filesystem": "ext4"}}}
MIRROR = {**disk("a", **{"m-a": {"size": "24MiB", "raid": "m"}}), **disk("b", **{"m-b": {"size": "24MiB", "raid": "m"}})}
SCENES = {
    "lvm": disk("a", main={"lvm": VOLUMES}),
    "raid": {**MIRROR, "m": {"raid": 1, "filesystem": "ext4", "mount": "/mnt/m"}},
    "luks": disk("a", **{"/mnt/one": {"filesystem": "ext4", "luks": {"key": {"file": "/keys/main"}}}}),
    "chain": {**disk("a", **{"m-a": {"raid": "m"}}), **disk("b", **{"m-b": {"raid": "m"}}),
              "m": {"raid": 1, "luks": {"name": "m", "escrow": {"file": "/escrow/m"}}, "lvm": VOLUMES}},
}
QUICK = ["lvm", "luks"]  # a mirror writes all of itself: more than a thousand writes
total = {"writes": 0, "flushes": 0, "cuts": 0, "alike": 0, "kills": 0}


class Machine:
    def __init__(self, top, images, seconds):
        self.log = b""
        self.disks = Disks(f"{top}/disks", images)
        qemu = ["--status-socket", f"{top}/port"]
        for i, serial in enumerate("ab"):
            qemu += ["--qemu", "-drive", "--qemu",
                     f"if=none,id=n{i},format=raw,cache=writeback,file=nbd+unix:///{i}?socket={top}/disks",
                     "--qemu", "-device", "--qemu", f"virtio-blk-pci,drive=n{i},serial={serial}"]
        self.console = open(f"{top}/console", "wb")
        self.vm = subprocess.Popen(["images/vm", "--kernel", "build/kernel/vmlinuz", "--initrd", f"{top}/initramfs",
                                    "--no-network", "--timeout", str(seconds), "--cpus", "1", "--append",
                                    "rdinit=/guest quiet loglevel=3"] + qemu,
                                   stdout=self.console, stderr=subprocess.STDOUT)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(600)
        for _ in range(600):
            try:
                self.socket.connect(f"{top}/port")
                break
            except OSError:
                time.sleep(0.05)
        self.replies()

    def lines(self):
        while True:
            while b"\n" in self.log:
                line, _, self.log = self.log.partition(b"\n")
                yield line.decode()
            part = self.socket.recv(65536)
            assert part, "the machine has ended: " + open(self.console.name, errors="replace").read()[-2000:]
            self.log += part

    def replies(self, *also, release=None):
        """What the machine says until it is done with a command, and has said those words, as {word: [text]}."""
        said = {}
        for line in self.lines():
            word, _, text = line.partition(" ")
            said.setdefault(word.rstrip(":"), []).append(text)
            if word == "killed":
                release.set()  # what waits for a disk dies when it has answered
            if not {".", *also} - said.keys():
                del said["."]
                return said
        return said

    def send(self, command):
        self.socket.sendall(command.encode() + b"\n")

    def ask(self, command):
        self.send(command)
        return self.replies()

    def apply(self, scene, what):
        said = self.ask(f"apply {scene}")
        assert said["status"] == ["0"], "\n".join([f"{what}: status {said['status'][0]}"] + said.get("log", []))

    def end(self):
        self.vm.terminate()
        self.vm.wait()


def names(facts):
    """What everything is called and how large it is: what must be the same after each cut."""
    dropped = {"fingerprint", "free", "inodes", "busy", "mounts", "allocated", "diskseq"}

    def strip(value):
        if isinstance(value, dict):
            # The names that lvm invents; the kernel counts arrays that have been there
            if value.get("type") == "LVM2_member" or "extent" in value:
                value = {k: v for k, v in value.items() if k != "uuid"}
            return {k: strip(v) for k, v in value.items() if k not in dropped}
        if isinstance(value, list):
            return [strip(v) for v in value]
        return re.sub("/dev/md[0-9]+", "/dev/md", value) if isinstance(value, str) else value

    disks = strip(facts["disks"])
    return {k: disks[k] for k in ("disks", "arrays", "mappings", "groups", "orphans")}


def difference(want, got):
    return "\n".join(difflib.unified_diff(*(json.dumps(x, indent=1).splitlines() for x in (want, got)), n=3, lineterm=""))


class Cutter:
    def __init__(self, machine, name, base, different):
        self.m, self.name, self.base, self.seen = machine, name, base, set()
        self.want, self.looks = None, set() if different else None

    def kept(self, images):
        return [[(o, b) for o, b in sorted(blocks.items()) if MIB <= o < MIB + KEEP] for _, blocks in images]

    def plug(self, images, stop_at=None):
        self.m.disks.record([(size, dict(blocks)) for size, blocks in images], stop_at)
        self.m.ask("plug")

    def check(self, what):
        """The end is what it is without a cut; takes the disks away."""
        said = self.m.ask(f"look {self.name}")
        done = self.m.ask("close")
        plan = "\n".join(said["plan"])
        assert "plan: nothing to change" in plan, f"{what}: something is left to do\n{plan}"
        assert not done, f"{what}: " + "\n".join(sum(done.values(), []))
        got = names(json.loads("\n".join(said["facts"])))
        if self.want is None:
            self.want = got
        assert got == self.want, f"{what}: ends with\n{difference(self.want, got)}"
        assert self.kept(self.m.disks.images) == self.kept(self.base), f"{what}: lost what was there before"

    def whole_run(self):
        self.plug(self.base)
        self.m.apply(self.name, "without a cut")
        self.ops = list(self.m.disks.ops)
        self.check("without a cut")

    def cut(self, what, arrived, torn):
        images = state(self.base, self.ops, arrived, torn)
        key = digest(images)
        if key in self.seen:
            return
        self.seen.add(key)
        assert self.kept(images) == self.kept(self.base), f"{what}: lost before the next boot"
        total["cuts"] += 1
        if os.environ.get("V"):
            print(f"# {total['cuts']}: {what}", flush=True)
        self.plug(images)
        if self.looks_like_one_before():
            total["alike"] += 1
            self.m.ask("close")
            return
        self.m.apply(self.name, what)
        self.check(what)

    def looks_like_one_before(self):
        if self.looks is None:
            return False
        said = self.m.ask(f"look {self.name}")
        look = "\n".join(said["plan"]).split("plan id")[0] + json.dumps(names(json.loads("\n".join(said["facts"]))))
        known = look in self.looks
        self.looks.add(look)
        return known

    def kill(self, n):
        """The agent dies while write n waits for its answer."""
        what = f"killed at write {n}"
        self.plug(self.base, n)
        self.m.send(f"apply {self.name}")
        while not self.m.disks.stopped.wait(0.05) and not select.select([self.m.socket], [], [], 0)[0]:
            pass
        if self.m.disks.stopped.is_set():
            self.m.send("kill")
            said = self.m.replies("killed", release=self.m.disks.go_on)
        else:  # it had less to write this time
            self.m.disks.stop_at = None
            said = self.m.replies()
        self.m.ask("settle")
        if said["status"] == ["137"]:
            total["kills"] += 1
            self.m.apply(self.name, what)
        self.check(what)


def sample(things, n):
    """n of them, spread evenly; 0: all."""
    return things if not n or n >= len(things) else [things[(4 * i + 1) * len(things) // (4 * n)] for i in range(n)]


def is_unknown(image):
    """Is something where a volume or what is in an array begins, that no prober knows?"""
    for at in MIB + KEEP, 2 * MIB + KEEP:
        head = read(image, at, 65536)
        if any(head) and not (head[1080:1082] == b"\x53\xef" or head[:4] == b"LUKS" or b"LABELONE" in head[:2048] or
                              head[4096:4100] == b"\xfc\x4e\x2b\xa9"):
            return True
    return False


def changes(base, ops):
    """The first writes, for each of them that makes a difference; and those behind which something is unknown."""
    images = [(size, dict(blocks)) for size, blocks in base]
    writes, prefixes, unknown = [], [[]], []
    for i, (disk, offset, data) in enumerate(ops):
        if offset is None:
            continue
        writes.append(i)
        zeros = isinstance(data, Zeros)
        if read(images[disk], offset, len(data)) != (bytes(len(data)) if zeros else data):
            images[disk] = put_zeros(images[disk], offset, len(data)) if zeros else put(images[disk], offset, data)
            prefixes.append(list(writes))
            if is_unknown(images[0]):
                unknown.append(list(writes))
    return prefixes, unknown


def one_lost(ops, rng):
    """A state in which a disk has lost some of what it was not asked to flush, or a part of its last write."""
    last = rng.choice([i for i, op in enumerate(ops) if op[1] is not None])
    before = [i for i in range(last + 1) if ops[i][1] is not None]
    flushed = max((i for i in range(last) if ops[i][:2] == (ops[last][0], None)), default=-1)
    open_ = [i for i in before if i > flushed and ops[i][0] == ops[last][0]]
    n = len(ops[last][2])
    if len(open_) == 1 and n > SECTOR:
        cut = rng.randrange(1, (n + SECTOR - 1) // SECTOR) * SECTOR
        return f"write {last} torn after {cut} bytes", before[:-1], {last: cut}
    lost = [i for i in open_ if rng.random() < 0.5]
    return f"write {last}, without {len(lost)} of {len(open_)} since the last flush", [i for i in before if i not in lost], {}


def halves(ops):
    """The states in which a superblock of ext4 has one sector of a write, and the other one of the write before."""
    writes = [i for i, op in enumerate(ops) if op[1] is not None]
    for i in writes:
        data = ops[i][2]
        if not isinstance(data, Zeros) and data[1080:1082] == b"\x53\xef" and len(data) > 1536:
            yield f"write {i} torn within a superblock", [w for w in writes if w < i], {i: 1536}


def cut_everywhere(c, n, failed):
    def attempt(f, *args):
        try:
            f(*args)
        except AssertionError as e:
            failed.append(str(e))
            print("".join(f"# {line}\n" for line in failed[-1].splitlines()), end="", flush=True)
            if c.want is None:
                raise
            c.m.ask("close")

    c.whole_run()
    writes = [i for i, op in enumerate(c.ops) if op[1] is not None]
    total["writes"] += len(writes)
    total["flushes"] += len(c.ops) - len(writes)
    before = dict(total)
    # As many other states as there are writes that change something: cryptsetup does hundreds between two flushes
    prefixes, unknown = changes(c.base, c.ops)
    rng = random.Random(len(writes))
    others = [one_lost(c.ops, rng) for _ in range((n or 2 * len(prefixes)) // 2)]
    chosen = prefixes if not n else unknown[:1] + sample(unknown[1:], n) + sample(prefixes, n)
    different = [(f"after write {len(w)} of {len(writes)}", w, {}) for w in chosen] + others
    superblocks = list(halves(c.ops))
    for s in different + (superblocks[-1:] if n else superblocks):
        attempt(c.cut, *s)
    kills = len(writes) // 4 if not n else max(n // 4, c.name == "luks")
    for k in sample(range(1, len(writes) + 1), kills) if kills else []:
        attempt(c.kill, k)
    return len(writes), total["cuts"] - before["cuts"], total["kills"] - before["kills"]


def prepare(top):
    with open(f"{top}/guest", "w", encoding="utf-8") as f:
        with open(f"{HERE}/../lib/guest.sh", encoding="utf-8") as first:
            f.write(first.read() + GUEST)
    os.chmod(f"{top}/guest", 0o755)
    with open(f"{top}/key", "wb") as f:
        f.write(os.urandom(64))
    adds = [("guest", "guest"), ("key", "keys/main")]
    for name, disks in SCENES.items():
        with open(f"{top}/{name}.json", "w", encoding="utf-8") as f:
            json.dump({"rouse": 1, "disks": disks}, f)
        adds.append((f"{name}.json", f"doc/{name}.json"))
    run("images/kernel", "--dir", "build/kernel")
    with open("build/kernel/version", encoding="ascii") as f:
        modules = f"build/kernel/lib/modules/{f.read().strip()}"
    argv = ["images/initramfs", "--output", f"{top}/initramfs", "--agent", ROUSE, "--level", "1",
            "--kernel-modules", modules, "--with", "lvm", "--with", "raid", "--with", "luks",
            "--program", "e2fsck", "--program", "dmsetup", "--add", f"{shutil.which('busybox')}:/bin/busybox",
            "--add", f"{modules}/modules.dep:/modules.dep"]
    for source, target in adds:
        argv += ["--add", f"{top}/{source}:/{target}"]
    run(*argv)
    images = []
    for name in "ab":
        path = f"{top}/{name}.img"
        blank(path, 64 * MIB)
        gpt(path, "size=8M,name=keep")
        ext4(path, "keep", MIB, KEEP // 1024)
        with open(path, "r+b") as f:
            f.seek(MIB + KEEP - 65536)
            f.write(random.Random(name).randbytes(65536))
        images.append(content(path))
    return images


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cuts = os.environ.get("ROUSE_CUTS", "1")
    complete = cuts in ("all", "different")
    scenes = sys.argv[1:] or (list(SCENES) if complete else QUICK)
    if not all(map(shutil.which, ["lvm", "mdadm", "cryptsetup", "dmsetup", "sfdisk", "qemu-system-x86_64"])):
        print("1..0 # SKIP needs lvm, mdadm, cryptsetup and a virtual machine")
        return 0
    failures = 0
    with tempfile.TemporaryDirectory() as top:
        base = prepare(top)
        m = Machine(top, base, 600 if cuts == "1" else 8 * 3600)
        atexit.register(m.end)
        print(f"1..{len(scenes)}", flush=True)
        for n, name in enumerate(scenes, 1):
            failed = []
            try:
                figures = cut_everywhere(Cutter(m, name, base, cuts == "different"), 0 if complete else int(cuts), failed)
            except (AssertionError, OSError) as e:
                failed.append(str(e))
                print("".join(f"# {line}\n" for line in failed[-1].splitlines()), end="", flush=True)
                figures = 0, 0, 0
            print(f"{'not ' if failed else ''}ok {n} - %s: %d writes; cut in %d states, killed at %d writes"
                  % ((name,) + figures), flush=True)
            failures += bool(failed)
    print(f"# {total['writes']} writes and {total['flushes']} flushes; {total['cuts']} states of disks after a cut, "
          f"{total['alike']} of them like another one; and {total['kills']} after a kill")
    return bool(failures)


sys.exit(main())
