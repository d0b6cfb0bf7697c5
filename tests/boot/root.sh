#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A root filesystem with everything below it: a mirror of two partitions, encrypted with a key that the
# TPM keeps, in it a volume group, and in that a volume which is encrypted with a key that the initramfs
# holds. Made on blank disks, opened again, grown from the disks to the filesystem, and found without a
# document. In a virtual machine, because all of this takes a kernel.
# shellcheck disable=SC2034,SC2154,SC2317 # scene.sh sets and reads variables; functions are called through ok()
set -u
cd "$(dirname "$0")/../.." || exit 1
PATH=$PATH:/usr/sbin:/sbin
for program in lvm mdadm cryptsetup swtpm systemd-cryptenroll; do
	command -v $program > /dev/null || { echo "1..0 # SKIP needs $program"; exit 0; }
done

scene=$(mktemp -d)
# shellcheck source=tests/boot/scene.sh
. tests/boot/scene.sh
tpm=
finish()
{
	scene_close
	[ -z "$tpm" ] || kill "$tpm" 2> /dev/null
	rm -rf "$scene"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh
tap_begin "$scene/why"

verdict_is() # VERDICT
{
	[ "$verdict" = "$1" ] || { echo "got '$verdict':"; grep 'ROUSE-STATE\|rouse: ' "$scene/console"; return 1; }
}

# One boot, from here to the verdict: boot SECONDS
boot()
{
	echo '{}' > "$scene/report.json"
	swtpm socket --tpm2 --tpmstate "dir=$scene" --ctrl "type=unixio,path=$scene/tpm" --flags startup-clear \
		> "$scene/swtpm.log" 2>&1 9>&- &
	tpm=$!
	n=0
	until [ -S "$scene/tpm" ] || [ $n -gt 100 ]; do sleep 0.1; n=$((n + 1)); done
	scene_start --initrd "$scene_initrd" --disk "$scene/a.img,serial=a" --disk "$scene/b.img,serial=b" \
		--qemu -chardev --qemu "socket,id=tpm,path=$scene/tpm" --qemu -tpmdev \
		--qemu emulator,id=tpm0,chardev=tpm --qemu -device --qemu tpm-tis,tpmdev=tpm0 \
		--append "quiet loglevel=3" --timeout $(($1 + 30)) --imds "$port_imds" --forward "$port_ssh:22"
	scene_wait "$1" || { echo "# the console said:"; tail -n 20 "$scene/console" | sed 's/^/#   /'; }
}

halt()
{
	scene_halt
	[ -z "$tpm" ] || kill "$tpm" 2> /dev/null
	[ -z "$tpm" ] || wait "$tpm" 2> /dev/null
	tpm=''
	rm -f "$scene/tpm"
}

disks() # SIZE
{
	truncate -s "$1" "$scene/a.img" "$scene/b.img"
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
	head -c 64 /dev/urandom > "$scene/root.key" && scene_prepare && scene_open &&
		scene_initramfs "$scene/root.initramfs" --with lvm --with raid --with luks --with tpm2 \
			--add "$scene/root.key:/keys/root"
}

if ! prepare > "$scene/prepare.log" 2>&1; then
	sed 's/^/# /' "$scene/prepare.log"
	printf '1..1\nnot ok 1 - %s\n' "the scene cannot be set"
	exit 1
fi
scene_initrd=$scene/root.initramfs
scene_document "$scene/doc.json"
python3 - "$scene/doc.json" << 'END'
import json, sys
doc = json.load(open(sys.argv[1]))
boot = {"/boot": {"size": "200MB", "filesystem": "vfat"}}
doc["disks"] = {
    "a": {"device": {"serial": "a"}, "partitions": {**boot, "main-a": {"raid": "main"}}},
    "b": {"device": {"serial": "b"}, "partitions": {"main-b": {"raid": "main"}}},
    "main": {"raid": 1, "luks": {"name": "main", "tpm2": {}}, "lvm": {"group": "system", "volumes": {
        "/srv/data": {"size": "64MiB", "filesystem": "ext4"},
        "/": {"filesystem": "ext4", "luks": {"name": "root", "key": {"file": "/keys/root"}}}}}},
}
doc["health"]["checks"]["data"] = {"unit": "srv-data.mount"}
json.dump(doc, open(sys.argv[1], "w"))
END
scene_publish "$scene/doc.json"

disks 900M
boot 240
ok "blank disks: the machine is ready" verdict_is ready
ok "blank disks: the root is what was decrypted" equal "$(in_guest 'df / | tail -n 1 | cut -d " " -f 1')" /dev/mapper/root
ok "blank disks: systemd has a unit of what was mounted, and keeps it" in_guest \
	'grep -q x-rouse /run/systemd/system/srv-data.mount && grep -q "^/dev/[^ ]* /srv/data " /proc/mounts'
before=$(mib /)
halt

boot 200
ok "second boot: the machine is ready" verdict_is ready
ok "second boot: nothing was changed" equal "$(steps create change destroy)" ""
halt

# From here on without that check: a fallback mounts the root, and no volume beside it
python3 - "$scene/doc.json" << 'END'
import json, sys
doc = json.load(open(sys.argv[1]))
del doc["health"]["checks"]["data"]
json.dump(doc, open(sys.argv[1], "w"))
END
scene_publish "$scene/doc.json"
disks 1150M
boot 200
ok "larger disks: the machine is ready" verdict_is ready
ok "larger disks: partitions, array, encryption, group, volume, its encryption and filesystem grow" equal \
	"$(steps create change destroy | grep -c '^grow')" 8
ok "larger disks: the filesystem has what the disks got" [ "$(mib /)" -gt $((before + 200)) ]
steps create change destroy | sed 's/^/# /'
halt

# No document: what the disks have is found by what rouse left there
scene_publish "$scene/doc.json" "$(printf %064d 0)"
boot 200
ok "untrusted document: the machine falls back to its system" verdict_is degraded
ok "untrusted document: the root is what was decrypted" in_guest \
	'df / | tail -n 1 | grep -q "^/dev/mapper/fallback" && test -d /nix/store'
halt

tap_end
