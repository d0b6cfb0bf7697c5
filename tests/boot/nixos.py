# SPDX-License-Identifier: Apache-2.0
"""Lays out, below TREE, the units of a systemd initrd as NixOS does from boot.initrd.systemd of CONFIG (JSON),
over what NixOS itself has there: a closure that is found by init= alone, and that is activated before the root
is switched. A unit that systemd has, too, becomes a drop-in; one that is disabled is masked, and its links stay.
usage: nixos.py CONFIG TREE"""

import json
import os
import sys

UPSTREAM = ["initrd-switch-root.service"]
NIXOS = {
    "initrd-find-nixos-closure": {
        "unitConfig": {"DefaultDependencies": False},
        "before": ["initrd.target"],
        "requiredBy": ["initrd.target"],
        "serviceConfig": {"Type": "oneshot", "ExecStart": "/bin/sh -c 'echo No init= parameter; exit 1'"},
    },
    "initrd-nixos-activation": {
        "unitConfig": {"DefaultDependencies": False},
        "after": ["initrd-switch-root.target"],
        "before": ["initrd-switch-root.service"],
        "requiredBy": ["initrd-switch-root.service"],
        "serviceConfig": {"Type": "oneshot", "ExecStart": "/bin/sh -c 'readlink /nixos-closure'"},
    },
    "initrd-switch-root": {
        "serviceConfig": {
            "EnvironmentFile": "-/etc/switch-root.conf",
            # As systemd does itself since version 257
            "ExecStartPre": "-/bin/mv -T /run/systemd /run/systemd.pre-switch-root",
            "ExecStart": ["", 'systemctl --no-block switch-root /sysroot "${NEW_INIT}"'],
        },
    },
}
RUN = """[Unit]
DefaultDependencies=false
Before=initrd-fs.target
[Mount]
What=/run
Where=/sysroot/run
Options=bind
"""


def merge(a, b):
    both = dict(a)
    for key, value in b.items():
        both[key] = merge(a[key], value) if isinstance(value, dict) and isinstance(a.get(key), dict) else value
    return both


def section(name, values):
    text = [f"[{name}]"]
    for key, value in values.items():
        for one in value if isinstance(value, list) else [value]:
            text.append(f"{key}={str(one).lower() if isinstance(one, bool) else one}")
    return text


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def link(target, path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path):
        os.unlink(path)
    os.symlink(target, path)


def service(units, name, s):
    unit = f"{name}.service"
    if not s.get("enable", True):
        link("/dev/null", f"{units}/{unit}")
    else:
        orders = {key.capitalize(): " ".join(s[key]) for key in ("before", "after", "conflicts") if key in s}
        text = section("Unit", {"Description": s.get("description", name), **orders, **s.get("unitConfig", {})})
        text += section("Service", s["serviceConfig"])
        write(f"{units}/{unit}{'.d/overrides.conf' if unit in UPSTREAM else ''}", "\n".join(text) + "\n")
    for other in s.get("requiredBy", []):
        link(f"../{unit}", f"{units}/{other}.requires/{unit}")


def mount(units, name, text, target):
    write(f"{units}/{name}", text)
    link(f"../{name}", f"{units}/{target}.requires/{name}")


def main():
    config = json.load(open(sys.argv[1], encoding="ascii"))
    tree = sys.argv[2]
    units = f"{tree}/etc/systemd/system"
    systemd = config["boot"]["initrd"]["systemd"]
    for name, s in merge(NIXOS, systemd["services"]).items():
        service(units, name, s)
    mount(units, "sysroot-run.mount", RUN, "initrd-fs.target")
    root = config["fileSystems"]["/"]
    mount(units, "sysroot.mount", "[Unit]\nBefore=initrd-root-fs.target\n[Mount]\nWhere=/sysroot\n"
          f"What={root['device']}\nType={root['fsType']}\n", "initrd-root-fs.target")
    for path, value in systemd["contents"].items():
        link(value["source"], tree + path)
    for name, path in systemd["extraBin"].items():
        link(path, f"{tree}/usr/bin/{name}")


if __name__ == "__main__":
    main()
