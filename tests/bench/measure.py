#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures one thing at a time into build/bench.json, and prints all of it beside the aims.

measure.py program FILE | check ROUSE | initramfs FILE | boots FRESH AGAIN | table
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


def initramfs(path):
    record("initramfs.size", "initramfs, with modules, libraries and mkfs", os.path.getsize(path), "bytes")


def boot(name, text, path):
    with open(path, encoding="utf-8") as f:
        report = json.load(f)
    if report["verdict"] != "ready":
        sys.exit(f"measure: {text} was {report['verdict']}, not ready: {report['reason']}")
    phases = report["phases"]
    # The kernel is at work while its drivers start, whoever has it load them
    own = [p for p in phases if p["name"] != "drivers"]
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


COMMANDS = {"program": program, "check": check, "initramfs": initramfs, "table": table,
            "boots": lambda fresh, again: (boot("fresh", "blank disk", fresh),
                                           boot("again", "second boot", again))}
if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
    sys.exit(__doc__)
COMMANDS[sys.argv[1]](*sys.argv[2:])
