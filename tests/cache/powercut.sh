#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The power goes at any moment of a pull onto an ext4 filesystem: its block device is recorded, write by
# write and flush by flush, by qemu-storage-daemon beneath a loop device; powercut.py makes the disks that a
# cut may leave, mounts each of them and pulls again.
#   POWERCUT_SECONDS=25   how long it tries such disks      POWERCUT_SEED   of an earlier run
# shellcheck source=tests/cache/world.sh
. "$(dirname "$0")/world.sh"
export POWERCUT_SECONDS=${POWERCUT_SECONDS:-25}
enter $((POWERCUT_SECONDS + 600)) "$0"
for program in qemu-storage-daemon fusermount3 losetup mkfs.ext4; do
	command -v "$program" >/dev/null || { echo "1..0 # SKIP needs $program"; exit 0; }
done
if [ ! -e /dev/fuse ] || ! losetup -f >/dev/null 2>&1; then
	echo "1..0 # SKIP needs FUSE and a loop device"
	exit 0
fi

leave_world=$(declare -f leave)
eval "${leave_world/leave/leave_nix}"
loop='' recorder=''
detach() {
	umount "$W/disk" 2>/dev/null
	[ -z "$loop" ] || losetup -d "$loop"
	loop=''
	# shellcheck disable=SC2015 # either may fail
	[ -z "$recorder" ] || { kill "$recorder" && wait "$recorder"; } 2>/dev/null
	recorder=''
}
leave() {
	detach
	[ -z "$W" ] || umount "$W/ram" 2>/dev/null
	leave_nix
}

begin_world
make_closure --arg units 20 || { printf '1..1\nnot ok 1 - %s\n' "Nix does not build the closure"; exit 1; }
make_cache cache zstd
new=$TOP
old=$(nix-store -qR "$new" | grep -- '-app-2.1$')
mkdir "$W/ram" "$W/disk"
mount -t tmpfs tmpfs "$W/ram" # disks that may be slow are of no use here

# record IMAGE LOG: the device $loop, whose writes go to IMAGE and into LOG
record() {
	: >"$W/ram/device"
	: >"$2"
	qemu-storage-daemon --pidfile "$W/recorder" \
		--blockdev "driver=file,node-name=image,filename=$1" \
		--blockdev "driver=file,node-name=log,filename=$2" \
		--blockdev driver=blklogwrites,node-name=both,file=image,log=log,log-sector-size=512 \
		--export "type=fuse,id=export,node-name=both,mountpoint=$W/ram/device,writable=on" >"$W/out" 2>&1 &
	recorder=$!
	for _ in $(seq 100); do
		[ -s "$W/recorder" ] && [ -s "$W/ram/device" ] && break
		sleep 0.05
	done
	loop=$(losetup -f --show "$W/ram/device")
}
# A boot is known by its number: after a cut it is another one.
boot() {
	printf '%08x-0000-4000-8000-000000000000\n' "$1" >"$W/boot-id"
}
mark() { # how many writes and flushes are in the log
	sync -f "$W/ram/log" && python3 -c 'import struct, sys
print(struct.unpack_from("=QQQ", open(sys.argv[1], "rb").read(24))[2])' "$W/ram/log"
}
pull_to_disk() {
	TOP=$1
	pull "$W/disk" "file://$W/cache" -- --profile /nix/var/nix/profiles/system
}
# A pull writes when the kernel likes, and at its end; here the kernel likes it all the time.
busy_pull() {
	while sleep 0.01; do sync -f "$W/disk"; done &
	local writer=$!
	pull_to_disk "$new"
	local r=$?
	kill $writer
	wait $writer 2>/dev/null
	return $r
}

boot 1
mount --bind "$W/boot-id" /proc/sys/kernel/random/boot_id || { echo "1..0 # SKIP no mount"; exit 0; }
truncate -s 160M "$W/ram/base"
mkfs.ext4 -q -F -m 0 -E nodiscard "$W/ram/base"
mount -o loop "$W/ram/base" "$W/disk"
ok old_generation pull_to_disk "$old"
umount "$W/disk"

cut() { # cut NAME COMMAND…: that pulls
	cp --sparse=always "$W/ram/base" "$W/ram/image"
	record "$W/ram/image" "$W/ram/log"
	ok "$1_can_be_recorded" mount "$loop" "$W/disk"
	ok "$1" "${@:2}"
	pulled=$(mark)
	detach
	python3 "$HERE/powercut.py" "$W" "$ROUSE" "$KEY" "$old" "$new" "$pulled" >"$W/log" 2>&1
	local r=$?
	grep '^#' "$W/log"
	cp "$W/log" "$W/out"
	ok "$1_cut_anywhere_leaves_what_is_whole" [ $r = 0 ]
}
cut pull pull_to_disk "$new"
cut pull_with_a_busy_disk busy_pull
umount /proc/sys/kernel/random/boot_id
finish
