#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A disk in use: one of its partitions is mounted while another one is grown, and others are added. And
# kill -9 at each flush and each word to the kernel: the next run comes to the same end, and nothing of what
# is mounted is lost, or goes away. (powercut.py has what a disk may hold when it ends there.)
# shellcheck source=tests/image/lib.sh
. "${0%/*}/lib.sh"

loop=
mkdir mnt
close()
{
	! mountpoint -q mnt || umount mnt
	[ -z "$loop" ] || losetup -d "$loop"
	loop=
}
trap 'close; rm -rf "$tmp"' EXIT

image 16M
if ! loop=$(losetup -f --show -P disk.img 2>/dev/null) || ! mkfs.ext4 -q "$loop" ||
	! mount "$loop" mnt 2>/dev/null; then
	echo '1..0 # SKIP needs a loop device, and to mount it'
	exit 0
fi
close

document '"partitions":{"a":{"label":"keep","size":"32MiB"},"b":{"label":"grows"},"/srv":{"size":"320MiB","filesystem":"xfs"},"/boot":{"size":"4MiB","filesystem":"vfat"}}'

# Partition 1 is mounted and holds a file; partition 2 is last and grows
begin()
{
	close
	image 256M
	printf 'label: gpt\nsize=32M,name=keep\nsize=64M,name=grows\n' | sfdisk -q disk.img
	truncate -s 640M disk.img
	loop=$(losetup -f --show -P disk.img) || return
	[ -e "${loop}p1" ] || partx -a "$loop" || return # a kernel that does not know GPT
	mkfs.ext4 -q -L keep "${loop}p1" && mkfs.ext4 -q -L grows "${loop}p2" && mount "${loop}p1" mnt &&
		echo precious >mnt/file && sync -f mnt/file
}

on_device() # COMMAND
{
	timeout 120 "$ROUSE" "$@" --disk root="$loop" doc.json
}

# What the kernel has is what the table says, and the mounted file can be read
agrees()
{
	[ "$(cat mnt/file)" = precious ] || return
	sfdisk -J "$loop" >table.json && python3 - "${loop#/dev/}" <<'PY'
import json, os, sys
table = json.load(open("table.json"))["partitiontable"]["partitions"]
top = "/sys/block/" + sys.argv[1]
kernel = {d: (int(open(f"{top}/{d}/start").read()), int(open(f"{top}/{d}/size").read()))
          for d in os.listdir(top) if d.startswith(sys.argv[1])}
assert kernel == {os.path.basename(p["node"]): (p["start"], p["size"]) for p in table}, (kernel, table)
PY
}

done_()
{
	on_device plan >plan.txt 2>&1
	grep -q '^plan: nothing to change' plan.txt || { cat plan.txt; return 1; }
	agrees && [ "$(blkid -p -s TYPE -o value "${loop}p3")" = xfs ] && [ "$(blkid -p -s TYPE -o value "${loop}p4")" = vfat ] &&
		[ "$(cat "/sys/block/${loop#/dev/}/${loop#/dev/}p2/size")" -gt 500000 ]
}

whole()
{
	begin && on_device apply --yes && done_ || return
	umount mnt && e2fsck -fn "${loop}p1" && xfs_repair -n "${loop}p3" && mount "${loop}p1" mnt
}

# As nobody may write to it, but perhaps look: ext4 itself writes now and then to what is mounted otherwise.
mounted_is_refused()
{
	mount -o remount,ro mnt && sync || return
	document '"filesystem":"ext4","replace":"anything"'
	before=$(sha256sum <disk.img)
	on_device apply --yes >out.txt 2>&1
	status=$?
	cat out.txt
	[ $status = 78 ] && grep -q "it is mounted at" out.txt && [ "$before" = "$(sha256sum <disk.img)" ]
}

used_as_swap()
{
	close
	image 64M
	loop=$(losetup -f --show -P disk.img) || return
	mkswap -q "$loop" && swapon "$loop" || return
	on_device apply --yes >out.txt 2>&1
	status=$?
	cat out.txt
	swapoff "$loop"
	[ $status = 78 ] && grep -q 'it is used as swap' out.txt
}

# killed SYSCALL N: the N-th one of the agent itself ends it
killed()
{
	timeout 120 strace -qq -o trace.txt -e trace="$1" -e inject="$1:signal=KILL:when=$2" \
		"$ROUSE" apply --yes --disk root="$loop" doc.json >/dev/null 2>&1
	grep -q 'killed by SIGKILL' trace.txt
}

# at SYSCALL LEAST STEP: kills the run at the first, the next… until it comes through alive
at()
{
	n_kill=1
	while begin && killed "$1" $n_kill; do
		agrees_after_kill || { echo "after kill $n_kill"; return 1; }
		on_device apply --yes >again.txt 2>&1 || { echo "after kill $n_kill:"; cat again.txt; return 1; }
		done_ || { echo "after kill $n_kill"; return 1; }
		n_kill=$((n_kill + $3))
	done
	echo "$n_kill" && [ $n_kill -gt "$2" ]
}

agrees_after_kill()
{
	[ "$(cat mnt/file)" = precious ] && mountpoint -q mnt
}

check 'a partition grows and others are added while one is mounted' whole
if strace -qq -e trace=none true 2>/dev/null; then
	check 'kill -9 at each flush' at fsync 10 1
	check 'kill -9 at each third word to the kernel about the disk' at ioctl 10 3
else
	skip 'kill -9 at each flush' 'needs strace that may trace'
	skip 'kill -9 at each third word to the kernel about the disk' 'needs strace that may trace'
fi
check 'what is mounted is refused, whatever the consent' mounted_is_refused
document '"filesystem":"ext4","replace":"anything"'
if grep -q . /proc/swaps 2>/dev/null && [ "$(id -u)" = 0 ]; then
	check 'what is used as swap is refused, whatever the consent' used_as_swap
fi
finish
