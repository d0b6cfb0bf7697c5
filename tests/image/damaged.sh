#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Superblocks with wrong checksums, and the kernel that has to mount them: ours is made whole, and its journal
# replayed; of others it is said what to run. On loop devices, in a mount namespace with a copy of /etc.
# shellcheck disable=SC2317 # functions are called through check()
if [ "${1-}" != inside ]; then
	if [ "$(id -u)" != 0 ] || ! losetup -f >/dev/null 2>&1; then
		echo '1..0 # SKIP needs root, and loop devices'
		exit 0
	fi
	exec unshare --mount --propagation private "$0" inside
fi
# shellcheck source=tests/image/lib.sh
. "${0%/*}/lib.sh"

loop=
# attach IMAGE; and the document that mounts it
attach() # IMAGE FILESYSTEM
{
	loop=$(losetup -f --show "$1") && mkdir -p m || return
	printf '{"rouse":1,"disks":{"data":{"device":"%s","filesystem":"%s","mount":"%s/m"}}}\n' \
		"$loop" "$2" "$tmp" >doc.json
}

detach()
{
	! mountpoint -q m || umount m
	[ -z "$loop" ] || losetup -d "$loop"
	loop=
}

on_loop()
{
	timeout 120 "$ROUSE" apply --yes --only disks doc.json
}

# change IMAGE BYTE [BITS]: another one there
change()
{
	python3 -c '
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2]))
    b = f.read(1)
    f.seek(-1, 1)
    f.write(bytes([b[0] ^ int(sys.argv[3])]))' "$1" "$2" "${3-85}"
}

# What a crash leaves, while files are written: a copy of the image under a mount
crash()
{
	image "$1"
	attach disk.img ext4 && on_loop || return
	for i in 1 2 3 4 5 6 7 8; do
		head -c 50000 /dev/urandom >"m/$i" || return
	done
	# Not all of the filesystem: what the journal has would be written to its place
	sync m/? && cp disk.img crashed.img && mkdir -p want && cp m/? want || return
	detach
	dumpe2fs -h crashed.img 2>/dev/null | grep -q needs_recovery
}

replayed() # BYTE BITS
{
	change crashed.img "$@"
	attach crashed.img ext4 && on_loop >out.txt 2>&1
	status=$?
	cat out.txt
	[ "$status" -eq 0 ] && grep -q 'restore the superblock' out.txt && diff -r -x lost+found want m &&
		detach && e2fsck -fn crashed.img
}

told() # WORDS: and not a byte is written
{
	before=$(cksum <disk.img)
	on_loop >out.txt 2>&1
	status=$?
	cat out.txt
	[ "$status" -eq 71 ] && grep -qF "it is damaged, run '$1' on it" out.txt && [ "$(cksum <disk.img)" = "$before" ]
}

foreign() # FILESYSTEM BYTE WORDS MKFS…
{
	image 400M
	kind=$1 byte=$2 words=$3
	shift 3
	command -v "$1" >/dev/null || return 0
	"$@" disk.img && change disk.img "$byte" && attach disk.img "$kind" && told "$words"
}

trap 'detach; umount /etc; rm -rf "$tmp"' EXIT
cp -a /etc etc && mount --bind etc /etc || exit 1
for size in 24M 400M; do
	check "a machine crashes with an ext4 of $size" crash $size
	detach
	cp crashed.img again.img
	check '… whose superblock was cut in two: the journal is replayed' replayed $((1024 + 52)) 1 # s_mnt_count
	detach
	mv again.img crashed.img
	check '… and had lost that there is one' replayed $((1024 + 96)) 4 # needs_recovery
	detach
done
check 'an ext4 of somebody else is damaged' foreign ext4 $((1024 + 52)) 'e2fsck -f' mke2fs -q -t ext4 -F
detach
check 'an xfs' foreign xfs 60 xfs_repair mkfs.xfs -q
detach
check 'a btrfs' foreign btrfs $((65536 + 72)) 'btrfs rescue super-recover' mkfs.btrfs -q
detach
finish
