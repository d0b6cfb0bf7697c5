#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The other filesystems, and swap, as their own tools see them.
. "${0%/*}/lib.sh"

for tool in mkfs.xfs xfs_repair mkfs.btrfs btrfs; do
	command -v $tool >/dev/null || { echo "1..0 # SKIP needs $tool"; exit 0; }
done

is() # TYPE LABEL
{
	[ "$(blkid -p -s TYPE -o value part.img)" = "$1" ] && [ "$(blkid -p -s LABEL -o value part.img)" = "$2" ]
}

same_uuids()
{
	image 3G
	apply >/dev/null || return
	for i in 1 2 3; do
		part $i && grep -qx "$(blkid -p -s UUID -o value part.img)" uuids || return
	done
}

whole() # TYPE
{
	image 500M
	document "\"filesystem\":\"$1\",\"label\":\"whole\""
	apply && nothing_to_do && [ "$(blkid -p -s TYPE -o value disk.img)" = "$1" ]
}

tuned()
{
	image 500M
	document '"filesystem":"ext4","mkfs":{"uuid":"aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee","reserved":0,"inodeRatio":"64KiB"}'
	apply && nothing_to_do && e2fsck -fn disk.img && tune2fs -l disk.img >super || return
	grep -q 'UUID: *aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee' super && grep -q 'Reserved block count: *0$' super &&
		[ "$(sed -n 's/^Inode count: *//p' super)" -lt 9000 ]
}

in_f2fs()
{
	image 500M
	document '"filesystem":"f2fs","label":"flash"'
	apply && nothing_to_do && [ "$(blkid -p -s LABEL -o value disk.img)" = flash ] && fsck.f2fs disk.img
}

# What a run left that was killed in mkfs: the mark alone
pending()
{
	image 500M
	document '"filesystem":"xfs"'
	apply >/dev/null && ref=$(blkid -p -s UUID -o value disk.img) || return
	ref=${ref%?}$(printf %x $((0x${ref#"${ref%?}"} ^ 1))) # the mark differs in one bit
	image 500M
	mke2fs -q -F -b 1024 -L rouse-undone -U "$ref" disk.img 1M && apply && nothing_to_do &&
		[ "$(blkid -p -s TYPE -o value disk.img)" = xfs ]
}

foreign()
{
	image 500M
	mkswap -q -L theirs disk.img
	document '"filesystem":"xfs"'
	refuses 'swap:theirs' || return
	document '"filesystem":"xfs","replace":["swap:theirs"]'
	apply && nothing_to_do && [ "$(blkid -p -s TYPE -o value disk.img)" = xfs ]
}

# By the ioctl of the mounted filesystem, where this kernel mounts what is in an image
grows() # TYPE
{
	whole "$1" && truncate -s 900M disk.img && apply >out.txt || return
	cat out.txt
	grep -q "grow $1 on" out.txt && nothing_to_do
}

# A device, for which mkfs runs on its node
on_device() # TYPE
{
	image 500M
	document "\"filesystem\":\"$1\""
	loop=$(losetup -f --show disk.img) || return
	timeout 120 "$ROUSE" apply --yes --disk root="$loop" doc.json
	status=$?
	losetup -d "$loop"
	[ $status = 0 ] && nothing_to_do
}

image 3G
document '"partitions":{"/x":{"size":"400MiB","filesystem":"xfs","label":"ex"},
	"/b":{"size":"300MiB","filesystem":"btrfs"},"swap":{"size":"100MiB","filesystem":"swap"}}'
check 'a blank image is provisioned' apply
check 'the applied plan plans to nothing' nothing_to_do
for i in 1 2 3; do
	part $i
	blkid -p -s UUID -o value part.img >>uuids
done
part 1
check 'the xfs has its label' is xfs ex
check 'xfs_repair finds no problem' xfs_repair -n -f part.img
part 2
check 'the btrfs has the label of its mount point' is btrfs b
check 'btrfs check finds no problem' btrfs check part.img
part 3
check 'the swap has its label' is swap swap
check 'the swap is what mkswap would write but for names' sh -c 'truncate -s 100M ref.img && mkswap -q ref.img &&
	cmp -n 1036 part.img ref.img && cmp -i 1068 part.img ref.img'
check 'the same document gives the same identities' same_uuids
check 'a whole disk becomes xfs' whole xfs
check 'an ext4 has the UUID, the reserve and the inodes that the document says' tuned
if command -v mkfs.f2fs >/dev/null && command -v fsck.f2fs >/dev/null; then
	check 'an image gets an f2fs, and fsck.f2fs finds no problem' in_f2fs
else
	skip 'an image gets an f2fs, and fsck.f2fs finds no problem' 'needs f2fs-tools'
fi
check 'a whole disk becomes btrfs' whole btrfs
check 'a whole disk becomes swap' whole swap
check 'unfinished xfs is made again without consent' pending
check 'a swap of somebody else is refused without consent' foreign
for type in xfs btrfs; do
	if [ "$(id -u)" != 0 ] || ! losetup -f >/dev/null 2>&1; then
		skip "$type is made on a device" 'needs a loop device'
	else
		check "$type is made on a device" on_device $type
	fi
	if ! "$ROUSE" facts --json 2>/dev/null | grep -q '"canMount": *true' || ! grep -qw $type /proc/filesystems; then
		skip "$type grows with its image" 'needs a kernel that mounts it'
	else
		check "$type grows with its image" grows $type
	fi
done
finish
