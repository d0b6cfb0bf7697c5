#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The root filesystem on LVM: made on a blank disk, found again, and grown with its disk, partition,
# physical volume and volume. In a virtual machine, because device-mapper takes a kernel.
# shellcheck disable=SC2034,SC2154,SC2317 # scene.sh sets and reads variables; functions are called through ok()
set -u
cd "$(dirname "$0")/../.." || exit 1
PATH=$PATH:/usr/sbin:/sbin
command -v lvm > /dev/null || { echo "1..0 # SKIP needs lvm"; exit 0; }

scene=$(mktemp -d)
# shellcheck source=tests/boot/scene.sh
. tests/boot/scene.sh
trap 'scene_close; rm -rf "$scene"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

count=0 failures=0
ok() # NAME COMMAND [ARG]...
{
	name=$1
	shift
	count=$((count + 1))
	if "$@" > "$scene/why" 2>&1; then
		echo "ok $count - $name"
		return 0
	fi
	echo "not ok $count - $name"
	sed 's/^/#   /' "$scene/why"
	failures=$((failures + 1))
	return 1
}

equal() # GOT WANTED
{
	[ "$1" = "$2" ] || { echo "got '$1', wanted '$2'"; return 1; }
}

ready()
{
	[ "$verdict" = ready ] || { echo "got '$verdict':"; grep 'ROUSE-STATE\|rouse: ' "$scene/console"; return 1; }
}

# One boot, from here to the verdict: boot SECONDS
boot()
{
	echo '{}' > "$scene/report.json"
	scene_boot --append "quiet loglevel=3" --timeout $(($1 + 30)) --imds "$port_imds" --forward "$port_ssh:22"
	scene_wait "$1" || { echo "# the console said:"; tail -n 20 "$scene/console" | sed 's/^/#   /'; }
}

in_guest() # COMMAND
{
	ssh -q -i "$scene/key" -p "$port_ssh" -o BatchMode=yes -o ConnectTimeout=20 -o StrictHostKeyChecking=no \
		-o UserKnownHostsFile=/dev/null ops@127.0.0.1 "$1" < /dev/null
}

# Steps on disks that were applied, over all phases: steps EFFECT...
steps()
{
	python3 - "$scene/report.json" "$@" << 'END'
import json, sys
report = json.load(open(sys.argv[1]))
for phase in report.get("phases", []):
    for step in phase.get("steps", []):
        if step.get("effect") in sys.argv[2:]:
            print(step.get("what"))
END
}

mib() # of a mount point in the guest
{
	in_guest "df -m $1" | awk 'NR == 2 { print $2 }'
}

prepare()
{
	scene_prepare && scene_open && scene_initramfs "$scene/lvm.initramfs" --with lvm
}

if ! prepare > "$scene/prepare.log" 2>&1; then
	sed 's/^/# /' "$scene/prepare.log"
	printf '1..1\nnot ok 1 - %s\n' "the scene cannot be set"
	exit 1
fi
scene_initrd=$scene/lvm.initramfs
scene_document "$scene/doc.json"
sed -i 's|"/":     { "filesystem": "ext4" }|"/":     { "lvm": "system", "filesystem": "ext4" }|' "$scene/doc.json"
grep -q '"lvm"' "$scene/doc.json" || { printf '1..1\nnot ok 1 - %s\n' "the scene's document has changed"; exit 1; }
scene_publish "$scene/doc.json"

scene_disk 3G
boot 150
ok "blank disk: the machine is ready" ready
ok "blank disk: the root is on the volume" equal "$(in_guest 'df / | tail -n 1 | cut -d " " -f 1')" /dev/system/root
before=$(mib /)
scene_halt

boot 120
ok "second boot: the machine is ready" ready
ok "second boot: nothing was changed" equal "$(steps create change destroy)" ""
scene_halt

truncate -s 4G "$scene/disk.img"
boot 120
ok "larger disk: the machine is ready" ready
ok "larger disk: partition, physical volume, volume and filesystem grow" equal \
	"$(steps create change destroy | grep -c '^grow')" 4
ok "larger disk: the filesystem has what the disk got" [ "$(mib /)" -gt $((before + 900)) ]
steps create change destroy | sed 's/^/# /'
scene_halt

# No document: what the disk has is found by what rouse left there, volumes included
scene_publish "$scene/doc.json" "$(printf %064d 0)"
boot 120
ok "untrusted document: the machine falls back to its system" equal "$verdict" degraded
ok "untrusted document: the root is on the volume" equal "$(in_guest 'df / | tail -n 1 | cut -d " " -f 1')" /dev/system/root
scene_halt

echo "1..$count"
exit $((failures > 0))
