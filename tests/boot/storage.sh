#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Arrays, encryption, volumes and filesystems above each other: made on blank disks, found again by a
# second boot that changes nothing, grown from the disk to the filesystem by a third one with larger
# disks, and what a mirror lost made good by a fourth. In a virtual machine, because all of this takes
# a kernel; the agent runs in its initramfs, as in a running system.
# shellcheck disable=SC2317 # functions are called through ok() and trap
set -u
cd "$(dirname "$0")/../.." || exit 1
PATH=$PATH:/usr/sbin:/sbin
: "${ROUSE:=build/rouse}"
for program in lvm mdadm cryptsetup swtpm systemd-cryptenroll mkfs.xfs mkfs.btrfs thin_check \
	veritysetup mksquashfs; do
	command -v $program > /dev/null || { echo "1..0 # SKIP needs $program"; exit 0; }
done

tmp=$(mktemp -d)
tpm=
finish()
{
	[ -z "$tpm" ] || kill "$tpm" 2> /dev/null
	rm -rf "$tmp"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cat > "$tmp/doc.json" << 'END'
{
  "rouse": 1,
  "disks": {
    "a": { "device": { "serial": "a" }, "partitions": {
      "boot-a": { "size": "40MiB", "raid": "boot", "type": "esp" }, "main-a": { "raid": "main" } } },
    "b": { "device": { "serial": "b" }, "partitions": {
      "boot-b": { "size": "40MiB", "raid": "boot", "type": "esp" }, "main-b": { "raid": "main" } } },
    "boot": { "raid": 1, "filesystem": "vfat", "mount": "/mnt/boot", "mountOptions": "iocharset=iso8859-1" },
    "main": { "raid": 1, "luks": { "name": "main", "key": { "file": "/keys/main" }, "tpm2": {} },
      "lvm": { "group": "sys", "volumes": {
        "/mnt/secret": { "size": "48MiB", "filesystem": "ext4", "luks": { "escrow": { "file": "/escrow/secret" } } },
        "/mnt/sys": { "filesystem": "ext4" } } } },
    "tpm": { "device": { "serial": "c" }, "luks": { "tpm2": {} }, "filesystem": "ext4", "mount": "/mnt/tpm" },
    "d": { "device": { "serial": "d" }, "lvm": { "group": "g", "volumes": {
      "/mnt/stripe": { "raid": 0, "size": "64MiB", "filesystem": "ext4" },
      "pool": { "pool": true, "size": "20%" },
      "/mnt/thin": { "thin": "pool", "size": "100%", "filesystem": "ext4" },
      "/mnt/mirror": { "raid": 1, "filesystem": "ext4" } } } },
    "e": { "device": { "serial": "e" }, "lvm": "g" },
    "f": { "device": { "serial": "f" }, "partitions": {
      "x": { "size": "40MiB", "raid": "five" }, "y": { "size": "40MiB", "raid": "five" },
      "z": { "size": "40MiB", "raid": "five" },
      "/mnt/usr": { "size": "4MiB", "image": { "url": "file:///usr.img", "sha256": "@IMAGE@", "type": "squashfs" },
        "verity": { "hash": "usr-hash", "rootHash": "@ROOT@" } },
      "usr-hash": { "size": "4MiB", "image": { "url": "file:///usr.hash", "sha256": "@HASH@" } },
      "/mnt/btrfs": { "filesystem": "btrfs", "mkfs": { "subvolumes": { "/mnt/sub": "deep/sub", "deep": "deep" } } } } },
    "five": { "raid": { "level": 5, "chunk": "64KiB" }, "filesystem": "ext4", "mount": "/mnt/five" },
    "xfs": { "device": { "ebs": "vol-0123456789abcdef0" }, "filesystem": "xfs", "mount": "/mnt/xfs" }
  }
}
END
head -c 64 /dev/urandom > "$tmp/main.key"
mkdir "$tmp/tree"
echo 'precious usr' > "$tmp/tree/file"
head -c 300000 /dev/urandom > "$tmp/tree/more"
{ mksquashfs "$tmp/tree" "$tmp/usr.img" -quiet -no-progress && veritysetup format "$tmp/usr.img" "$tmp/usr.hash"; } \
	> "$tmp/verity.log" 2>&1 || { sed 's/^/# /' "$tmp/verity.log"; printf '1..1\nnot ok 1 - %s\n' "no image"; exit 1; }
sed -i "s/@ROOT@/$(sed -n 's/^Root hash:[[:space:]]*//p' "$tmp/verity.log")/
	s/@IMAGE@/$(sha256sum < "$tmp/usr.img" | cut -d ' ' -f 1)/
	s/@HASH@/$(sha256sum < "$tmp/usr.hash" | cut -d ' ' -f 1)/" "$tmp/doc.json"

cat tests/lib/guest.sh - > "$tmp/guest" << 'END'
mkdir /escrow
for m in virtio_pci virtio_blk nvme overlay loop ext4 vfat nls_cp437 nls_ascii xfs btrfs dm-mod dm-crypt \
	dm-raid dm-mirror dm-thin-pool dm-verity squashfs raid1 raid456 ecb xts; do
	modprobe $m 2> /dev/null
done
say() { echo "guest: $*"; }
last() { ls /sys/block | grep -cE '^(vd|nvme)'; }
i=0
while [ "$(last)" -lt 8 ] && [ $i -lt 100 ]; do usleep 100000; i=$((i + 1)); done
for d in /sys/block/vd*; do [ "$(cat $d/serial)" = escrow ] && mount -t ext4 /dev/${d##*/} /escrow; done
stage=$(sed 's/.*stage=\([a-z]*\).*/\1/' /proc/cmdline)
[ $stage != mend ] || sed -i '/"tpm": {/d' /doc.json # what only the TPM opened that is no more
rouse apply --yes /doc.json > /tmp/log 2>&1
say "$stage: status $?"
sed "s/^/log: /" /tmp/log
rouse plan /doc.json > /tmp/plan 2>&1
sed "s/^/plan: /" /tmp/plan
grep -q 'nothing to change' /tmp/plan && say "$stage: nothing left"
for m in boot secret sys tpm stripe thin mirror five btrfs sub usr xfs; do
	mount | grep -q " /mnt/$m " || { say "$stage: $m is not mounted"; continue; }
	[ "$stage" != make ] || [ $m = usr ] || echo "precious $m" > /mnt/$m/file
	[ "$(cat /mnt/$m/file)" = "precious $m" ] && say "$stage: $m holds its file"
	say "$stage: size $m $(df -m /mnt/$m | awk 'END { print $(NF - 4) }')"
done
# Where a system would say that its root is, if that were its root
root_of() # MOUNT
{
	for d in bin lib lib64 usr dev proc sys; do mkdir -p $1/$d && mount --bind /$d $1/$d; done
	echo '{"rouse":1,"disks":{"x":{"device":"root","filesystem":"swap"}}}' > $1/root.json
	say "$stage: root at $1: $(chroot $1 rouse plan root.json 2>&1)"
	for d in bin lib lib64 usr dev proc sys; do umount $1/$d; done
}
if [ $stage = again ]; then
	mkdir /layers && mount -t tmpfs layers /layers && mkdir /layers/low /layers/upper /layers/work /layers/root
	cp /usr.img /mnt/stripe/ && mount -t squashfs -o loop,ro /mnt/stripe/usr.img /layers/low
	mount -t overlay -o lowerdir=/layers/low,upperdir=/layers/upper,workdir=/layers/work overlay /layers/root
	for m in /layers/low /mnt/stripe; do mkdir -p /layers/root$m && mount --bind $m /layers/root$m; done
	root_of /mnt/sys
	root_of /mnt/sub
	root_of /layers/root
	for m in root/mnt/stripe root/layers/low root low; do umount /layers/$m; done
	echo '{"rouse":1,"disks":{"x":{"device":{"serial":"e"},"filesystem":"ext4","replace":["anything"]}}}' > /busy.json
	say "$stage: in a group: $(rouse plan /busy.json 2>&1)"
fi
stat -c '%a %s' /escrow/secret | sed "s/^/guest: $stage: escrow /"
for m in boot secret sys tpm stripe thin mirror five btrfs sub usr xfs; do umount /mnt/$m; done
umount /escrow
sync
poweroff -f
END
chmod 755 "$tmp/guest"

prepare()
{
	images/kernel --dir build/kernel || return
	version=$(cat build/kernel/version)
	modules=build/kernel/lib/modules/$version
	images/initramfs --output "$tmp/initramfs" --agent "$ROUSE" --level 1 --kernel-modules "$modules" \
		--with lvm --with thin --with raid --with luks --with tpm2 --with xfs --with btrfs --with verity --module overlay --module loop \
		--add "$(command -v busybox):/bin/busybox" --add "$tmp/guest:/guest" --add "$tmp/doc.json:/doc.json" \
		--add "$tmp/usr.img:/usr.img" \
		--add "$tmp/usr.hash:/usr.hash" --add "$tmp/main.key:/keys/main" --add "$modules/modules.dep:/modules.dep" || return
	truncate -s 16M "$tmp/escrow.img" && mkfs.ext4 -q "$tmp/escrow.img"
}

# Sizes of the disks a to g, in MiB
disks()
{
	for disk in a b c d e f g; do
		truncate -s "$1M" "$tmp/$disk.img"
		shift
	done
}

boot() # STAGE
{
	set -- "$1"
	for disk in a b; do # with sectors of 4 KiB
		set -- "$@" --qemu -drive --qemu "if=none,id=$disk,format=raw,cache=unsafe,file=$tmp/$disk.img" --qemu -device \
			--qemu "virtio-blk-pci,drive=$disk,serial=$disk,logical_block_size=4096,physical_block_size=4096"
	done
	for disk in c d e f escrow; do
		set -- "$@" --disk "$tmp/$disk.img,serial=$disk"
	done
	set -- "$@" --nvme "$tmp/g.img,serial=vol0123456789abcdef0"
	stage=$1
	shift
	swtpm socket --tpm2 --tpmstate "dir=$tmp" --ctrl "type=unixio,path=$tmp/tpm" --flags startup-clear \
		> "$tmp/swtpm.log" 2>&1 &
	tpm=$!
	n=0
	until [ -S "$tmp/tpm" ] || [ $n -gt 100 ]; do sleep 0.1; n=$((n + 1)); done
	images/vm --kernel build/kernel/vmlinuz --initrd "$tmp/initramfs" --no-network --timeout 900 \
		--append "rdinit=/guest quiet loglevel=3 stage=$stage" "$@" \
		--qemu -chardev --qemu "socket,id=tpm,path=$tmp/tpm" --qemu -tpmdev \
		--qemu emulator,id=tpm0,chardev=tpm --qemu -device --qemu tpm-tis,tpmdev=tpm0 \
		> "$tmp/$stage.log" 2>&1
	kill "$tpm" 2> /dev/null
	wait "$tpm" 2> /dev/null
	tpm=
	rm -f "$tmp/tpm"
}

count=0 failures=0
ok() # NAME STAGE COMMAND [ARG]...: on a failure, what that boot said
{
	name=$1 log=$tmp/$2.log
	shift 2
	count=$((count + 1))
	if "$@" > "$tmp/why" 2>&1; then
		echo "ok $count - $name"
		return
	fi
	echo "not ok $count - $name"
	{ cat "$tmp/why"; tr -d '\r' < "$log" | tail -n 150; } | sed 's/^/#   /'
	failures=$((failures + 1))
}

says() # STAGE TEXT...: all of them
{
	log=$tmp/$1.log
	shift
	for text; do
		tr -d '\r' < "$log" | grep -qF -- "$text" || { echo "nothing like '$text'"; return 1; }
	done
}

lacks() # STAGE PATTERN
{
	! grep "$2" "$tmp/$1.log"
}

files() # STAGE: each filesystem but the TPM's holds what was written there
{
	for m in boot secret sys stripe thin mirror five btrfs sub usr xfs; do
		says "$1" "guest: $1: $m holds its file" || return
	done
}

size() # STAGE NAME
{
	tr -d '\r' < "$tmp/$1.log" | sed -n "s/^guest: $1: size $2 //p"
}

grew() # NAME MIB: by that much at least
{
	[ "$(size grow "$1")" -ge $(($(size make "$1") + $2)) ] ||
		{ echo "$1 has $(size grow "$1") MiB, and had $(size make "$1")"; return 1; }
}

if ! prepare > "$tmp/prepare.log" 2>&1; then
	sed 's/^/# /' "$tmp/prepare.log"
	printf '1..1\nnot ok 1 - %s\n' "no initramfs"
	exit 1
fi

disks 400 400 96 200 200 300 320
boot make
ok 'everything is made on blank disks' make says make 'guest: make: status 0'
ok 'an applied plan plans to nothing' make says make 'guest: make: nothing left'
ok 'every filesystem is mounted' make files make
ok '… that which only the TPM opens, too' make says make 'guest: make: tpm holds its file'
ok 'the new key is in escrow, for nobody else to read' make says make 'guest: make: escrow 600 88'
boot again
ok 'a second boot opens and mounts it' again says again 'guest: again: status 0' 'guest: again: nothing left'
ok 'a second boot changes nothing' again lacks again 'log:   [+~!] '
ok 'a second boot finds every file' again files again
ok '… that which only the TPM opens, too' again says again 'guest: again: tpm holds its file'
ok 'a root in a volume, in a group, in LUKS, in an array, is on two disks' again says again \
	"root at /mnt/sys: rouse: plan: disks: disks.x: which one is the root disk? candidates: '/dev/vda' (400 MiB, serial a), '/dev/vdb'"
ok 'a root in a subvolume of btrfs is on the disk of its partition' again says again "root at /mnt/sub: rouse: plan: disks: disks.x: '/dev/vdf1'"
ok 'a root in an overlay over a file in a striped volume is on both disks of that' again says again \
	"root at /layers/root: rouse: plan: disks: disks.x: which one is the root disk? candidates: '/dev/vdd' (200 MiB, serial d), '/dev/vde'"
ok 'a disk in a group that is active is refused, whatever the consent' again says again \
	"in a group: rouse: plan: disks: disks.x: '/dev/vde' would have to be overwritten, but 'dm-"
disks 500 500 192 280 280 400 420
boot grow
ok 'larger disks: all is grown in one run' grow says grow 'guest: grow: status 0' 'guest: grow: nothing left'
ok 'larger disks: every file is there' grow files grow
ok 'disk, partition, array, encryption, group, volume and ext4 grow' grow grew sys 80
ok 'disk, encryption in the TPM and ext4 grow' grow grew tpm 70
ok 'disks, group, mirrored volume and ext4 grow' grow grew mirror 40
ok 'disk, partition and btrfs grow' grow grew btrfs 80
ok 'disk and xfs grow' grow grew xfs 80
ok 'disks, group, pool, thin volume and ext4 grow' grow grew thin 25
rm -f "$tmp/b.img" "$tmp"/tpm2-*.permall
truncate -s 500M "$tmp/b.img"
boot mend
ok 'a blank disk takes the place of a lost one' mend says mend "assemble array 'main', degraded: 1 of 2 devices" \
	"to array 'main', which lacks a device" "to array 'boot', which lacks a device" 'guest: mend: status 0'
ok 'a lost disk: every file is there' mend files mend
ok 'another TPM: the key opens what it does not' mend says mend 'using the key'

echo "1..$count"
exit $((failures > 0))
