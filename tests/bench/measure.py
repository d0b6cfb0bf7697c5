#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures one thing at a time into build/bench.json, and prints all of it beside the aims.

measure.py program FILE | check ROUSE | disks ROUSE | volumes LOG | initramfs FILE | boots FRESH AGAIN |
counted FRESH AGAIN | table
"""
import json
import os
import subprocess
import sys
import tempfile
import time

RESULTS = "build/bench.json"
MIB = 1 << 20
# Aims: the largest figure that is right; None: nothing is promised, it is to be watched.
AIMS = {
    "program.size": MIB,
    "fresh.cpu": 3000,
    "fresh.memory": 32 * MIB,
    "again.cpu": 300,
    "again.memory": 32 * MIB,
    "counted.fresh.cpu": 3000,
    "counted.again.cpu": 300,
}


def load():
    if not os.path.exists(RESULTS):
        return []
    with open(RESULTS, encoding="utf-8") as f:
        return json.load(f)


def record(name, text, value, unit):
    results = load()
    results.append({"name": name, "text": text, "value": value, "unit": unit, "aim": AIMS.get(name)})
    with open(RESULTS, "w", encoding="utf-8") as f:
        json.dump(results, f, indent=2)


def program(path):
    with tempfile.TemporaryDirectory() as top:
        stripped = os.path.join(top, "rouse")
        subprocess.run(["strip", "--strip-unneeded", "-o", stripped, path], check=True)
        record("program.size", "program, stripped, without its libraries", os.path.getsize(stripped), "bytes")


def large_document():
    """A little under the largest document that is accepted, as a fleet with many files has it."""
    files = {f"/etc/app.d/{n:05}.conf": {"contents": "key = value\n" * 20, "mode": "0644"} for n in range(3100)}
    users = {f"user{n}": {"groups": ["wheel"]} for n in range(50)}
    return json.dumps({"rouse": 1, "hostname": "web-1", "users": users, "files": files}, indent=1)


def check(rouse):
    with tempfile.TemporaryDirectory() as top:
        path = os.path.join(top, "large.json")
        with open(path, "w", encoding="utf-8") as f:
            f.write(large_document())
        size = os.path.getsize(path)
        best = None
        for _ in range(5):
            begin = time.monotonic()
            pid = os.posix_spawn(rouse, [rouse, "check", path], os.environ,
                                 file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
            _, status, usage = os.wait4(pid, 0)
            took = time.monotonic() - begin
            if status != 0:
                sys.exit(f"measure: 'rouse check' refused the large document (status {status >> 8})")
            if best is None or took < best[0]:
                best = (took, usage.ru_maxrss)
    record("check.time", f"check of a document of {size // 1024} KiB (best of 5)", round(best[0] * 1000, 1), "ms")
    record("check.memory", "check of it: peak memory", best[1] * 1024, "bytes")


GIB = 1 << 30
TWO = {"/boot": {"size": "200MB", "filesystem": "vfat"}, "/": {"filesystem": "ext4"}}
REPART = {"10-boot.conf": "[Partition]\nType=esp\nFormat=vfat\nLabel=boot\nSizeMinBytes=191M\nSizeMaxBytes=191M\n",
          "20-root.conf": "[Partition]\nType=root\nFormat=ext4\nLabel=root\n"}
SCRIPT = """set -e
sgdisk -n 1:1MiB:+191MiB -t 1:ef00 -c 1:boot -n 2:192MiB:-1MiB -t 2:8304 -c 2:root root.img >/dev/null
mkfs.vfat -F 32 -n BOOT -S 512 --offset 2048 root.img 195584 >/dev/null
mkfs.ext4 -q -F -L root -E offset=$((192 << 20)) root.img 8191M
"""
SCRIPT_ALL = SCRIPT + "mkfs.xfs -q -L data data.img\nmkswap -q -L swap swap.img\n"


class Images:
    """Sparse images, a document over them, and how long something takes on fresh ones."""

    def __init__(self, rouse, top, disks):
        self.rouse, self.top = rouse, top
        self.sizes = {name: size for name, (size, _) in disks.items()}
        document = {"rouse": 1, "disks": {name: dict(disk, device=f"/dev/{name}") for name, (_, disk) in disks.items()}}
        with open(f"{top}/doc.json", "w", encoding="utf-8") as f:
            json.dump(document, f)

    def fresh(self):
        for name, size in self.sizes.items():
            path = f"{self.top}/{name}.img"
            if os.path.exists(path):
                os.unlink(path)
            with open(path, "wb") as f:
                f.truncate(size)

    def run(self, *argv):
        begin = time.monotonic()
        r = subprocess.run(argv, cwd=self.top, capture_output=True, check=False)
        took = time.monotonic() - begin
        if r.returncode != 0:
            sys.exit(f"measure: {' '.join(argv)[:200]}: {r.stdout.decode()}{r.stderr.decode()}")
        return took, r.stdout

    def agent(self, *words):
        disks = [word for name in self.sizes for word in ("--disk", f"{name}={name}.img")]
        return self.run(self.rouse, *words, *disks, "doc.json")

    def best(self, act, fresh=True, times=3):
        best = None
        for _ in range(times):
            if fresh:
                self.fresh()
            took, out = act()
            best = took if best is None or took < best else best
        return best * 1000, out


def scale(rouse, what, counts, make):
    """Apply to fresh images, and the plan that finds nothing to do, for more and more of something."""
    for n in counts:
        with tempfile.TemporaryDirectory() as top:
            images = Images(rouse, top, make(n))
            took, _ = images.best(lambda: images.agent("apply", "--yes"), times=2)
            record(f"disks.{what}.{n}.apply", f"{n} {what}: plan and apply", round(took, 1), "ms")
            took, out = images.best(lambda: images.agent("plan"), fresh=False, times=2)
            if b"nothing to change" not in out:
                sys.exit(f"measure: {n} {what} are not what was applied: {out.decode()}")
            record(f"disks.{what}.{n}.plan", f"{n} {what}: plan that finds nothing to do", round(took, 1), "ms")


def compare(rouse):
    """The disks of a web server, by us and by others, on the same sparse images; what takes a kernel (volumes,
    arrays) is left out of both."""
    root = {"root": (8 * GIB, {"partitions": TWO})}
    more = dict(root, data=(16 * GIB, {"filesystem": "xfs"}), swap=(GIB, {"filesystem": "swap"}))
    with tempfile.TemporaryDirectory() as top:
        images = Images(rouse, top, root)
        ours, _ = images.best(lambda: images.agent("apply", "--yes"), times=5)
        record("disks.root.apply", "boot and root on one image: plan and apply", round(ours, 1), "ms")
        theirs, _ = images.best(lambda: images.run("sh", "-c", SCRIPT), times=5)
        record("disks.root.script", "  sgdisk, mkfs.vfat, mkfs.ext4", round(theirs, 1), "ms")
        record("disks.root.script.ratio", "  they take, where rouse takes 1", round(theirs / ours, 2), "")
        os.mkdir(f"{top}/repart.d")
        for name, text in REPART.items():
            with open(f"{top}/repart.d/{name}", "w", encoding="utf-8") as f:
                f.write(text)
        argv = ["systemd-repart", "--definitions", f"{top}/repart.d", "--empty=require", "--dry-run=no", "--no-pager",
                "--seed=00000000-0000-4000-8000-000000000001", "root.img"]
        images.fresh()
        if subprocess.run(argv, cwd=top, capture_output=True, check=False).returncode == 0:
            theirs, _ = images.best(lambda: images.run(*argv), times=5)
            record("disks.root.repart", "  systemd-repart", round(theirs, 1), "ms")
            record("disks.root.repart.ratio", "  it takes, where rouse takes 1", round(theirs / ours, 2), "")
        else:
            record("disks.root.repart", "  systemd-repart", "no: it takes a loop device", "")
    with tempfile.TemporaryDirectory() as top:
        images = Images(rouse, top, more)
        ours, _ = images.best(lambda: images.agent("apply", "--yes"), times=5)
        record("disks.web.apply", "the same, xfs for data, swap: plan and apply", round(ours, 1), "ms")
        theirs, _ = images.best(lambda: images.run("sh", "-c", SCRIPT_ALL), times=5)
        record("disks.web.script", "  sgdisk, mkfs.vfat, mkfs.ext4, mkfs.xfs, mkswap", round(theirs, 1), "ms")
        record("disks.web.script.ratio", "  they take, where rouse takes 1", round(theirs / ours, 2), "")


# By whom, in which words; what cannot do it says why.
CONTENDERS = {
    "web": ("a machine's boot, root, xfs for data, swap: plan to mounted", {
        "script": ("sgdisk, mkfs, mkswap, mount", None),
        "cloud-init": ("cloud-init's disk_setup and mounts alone", None),
        "repart": ("systemd-repart for the root disk, mkfs, mkswap, mount", None)}),
    "all": ("the same, root on LVM, scratch on RAID 0: plan to mounted", {
        "script": ("the same script, with lvm and mdadm", None),
        "cloud-init": ("cloud-init", "no: volume groups, arrays"),
        "repart": ("systemd-repart", "no: volume groups, arrays")}),
}


def volumes(log):
    """What disks.sh timed in a virtual machine."""
    with open(log, encoding="utf-8") as f:
        took = {name: int(ms) for name, ms in (line.split() for line in f)}
    for what, (text, others) in CONTENDERS.items():
        ours = took.get(f"{what}.rouse")
        record(f"disks.{what}.machine", text, "failed" if ours is None else ours, "ms")
        for who, (name, why) in others.items():
            theirs = took.get(f"{what}.{who}")
            if theirs is None:
                record(f"disks.{what}.machine.{who}", f"  {name}", why or "failed", "")
                continue
            record(f"disks.{what}.machine.{who}", f"  {name}", theirs, "ms")
            if ours:
                record(f"disks.{what}.machine.{who}.ratio", "  it takes, where rouse takes 1", round(theirs / ours, 2), "")


def disks(rouse):
    rouse = os.path.abspath(rouse)
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    compare(rouse)
    scale(rouse, "disks", (1, 4, 16, 64), lambda n: {f"d{i}": (64 * MIB, {"filesystem": "ext4"}) for i in range(n)})
    scale(rouse, "partitions", (1, 10, 100), lambda n: {
        "d": (2 * GIB, {"partitions": {f"p{i}": {"size": "16MiB", "filesystem": "ext4"} for i in range(n)}})})


def initramfs(path):
    record("initramfs.size", "initramfs, with modules, libraries and mkfs", os.path.getsize(path), "bytes")


def ready(text, path):
    with open(path, encoding="utf-8") as f:
        report = json.load(f)
    if report["verdict"] != "ready":
        sys.exit(f"measure: {text} was {report['verdict']}, not ready: {report['reason']}")
    # The kernel is at work while its drivers start, whoever has it load them
    return report, [p for p in report["phases"] if p["name"] != "drivers"]


def counted(name, text, path):
    """A processor that does one instruction in a nanosecond. An emulator translates code that it meets for the first
    time, or at another address, and that takes it longer than to run it once: by the clock, that is most of a boot."""
    _, own = ready(text, path)
    record(f"counted.{name}.cpu", f"{text}, 1 ns for an instruction: the same CPU", sum(p["cpu"] for p in own), "ms")


def boot(name, text, path):
    report, own = ready(text, path)
    phases = report["phases"]
    record(f"{name}.cpu", f"{text}: CPU of the agent and its programs", sum(p["cpu"] for p in own), "ms")
    for phase in own:
        record(f"{name}.cpu.{phase['name']}", f"  {phase['name']}", phase["cpu"], "ms")
    record(f"{name}.drivers", f"{text}: CPU of the kernel while its drivers start",
           sum(p["cpu"] for p in phases if p["name"] == "drivers"), "ms")
    record(f"{name}.provision", f"{text}: from the agent's start to hand-off",
           max(p["end"] for p in phases if p["name"] != "health") - phases[0]["start"], "ms")
    record(f"{name}.ready", f"{text}: from power-on to ready", report["since"], "ms")
    record(f"{name}.memory", f"{text}: peak memory of the agent", report["peakRss"] * 1024, "bytes")


def show(value, unit):
    if isinstance(value, str):
        return value
    if not unit:
        return f"{value:.2f}"
    if unit == "bytes":
        return f"{value / MIB:.2f} MiB" if value >= MIB else f"{value / 1024:.0f} KiB"
    return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def table():
    missed = 0
    print(f"{'':58} {'measured':>11} {'aim':>13}")
    for r in load():
        aim = ""
        if r["aim"] is not None:
            aim = "< " + show(r["aim"], r["unit"])
            late = r["value"] >= r["aim"]
            missed += late
            aim = f"{aim:>13} {'MISSED' if late else 'ok'}"
        print(f"{r['text']:58} {show(r['value'], r['unit']):>11} {aim}".rstrip())
    busy, processors = os.getloadavg()[1], os.cpu_count()
    if busy > processors + 1:
        # An emulated machine takes the time in which it did not run for time in which it worked
        print(f"the host is busy (load {busy:.1f} on {processors} processors): times are too long")
    if missed:
        print(f"{missed} aim{'s' if missed > 1 else ''} missed")


COMMANDS = {"program": program, "check": check, "disks": disks, "volumes": volumes, "initramfs": initramfs,
            "table": table,
            "boots": lambda fresh, again: (boot("fresh", "blank disk", fresh),
                                           boot("again", "second boot", again)),
            "counted": lambda fresh, again: (counted("fresh", "blank disk", fresh),
                                             counted("again", "second boot", again))}
if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
    sys.exit(__doc__)
COMMANDS[sys.argv[1]](*sys.argv[2:])
