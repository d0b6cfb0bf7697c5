#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A disk that became larger, and tables that were there before rouse: growing, adding, repairing.
# shellcheck source=tests/image/lib.sh
. "${0%/*}/lib.sh"

two='"partitions":{"/boot":{"size":"64MiB","filesystem":"vfat"},"/":{"filesystem":"ext4"}}'

# What an ordinary cloud image has: p1 root, p14 and p15 before it
debian()
{
	image 1G
	printf '%s\n' 'label: gpt' \
		'1: start=262144, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, attrs="GUID:59"' \
		'14: start=2048, size=6144, type=21686148-6449-6E6F-744E-656564454649' \
		'15: start=8192, size=253952, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B' |
		sfdisk -q disk.img
	mkfs.ext4 -q -F -E offset=134217728 disk.img 800M
	truncate -s 3G disk.img
}

entry() # NUMBER: its line
{
	sfdisk -d disk.img | grep "^disk.img$1 "
}

plan_says()
{
	plan >plan.txt 2>&1
	cat plan.txt
	grep -qF -- "$1" plan.txt
}

grows_debian()
{
	entry 14 >before14 && entry 15 >before15
	head -c 440 disk.img >boot.before
	apply || return
	entry 14 | cmp - before14 && entry 15 | cmp - before15 && head -c 440 disk.img | cmp - boot.before || return
	entry 1 | grep -q 'GUID:59' || return
	entry 1 | grep -q "size= *$((3 * 1024 * 2048 - 262144 - 2048))," || { entry 1; return 1; }
	sgdisk -v disk.img | grep -q 'No problems found'
}

# In an image the kernel is asked, which takes more privilege than a container may have.
ext4_grew()
{
	part "$1" && e2fsck -fn part.img && dumpe2fs -h part.img >super.txt 2>/dev/null || return
	blocks=$(sed -n 's/^Block count: *//p' super.txt)
	[ "$blocks" -ge $(($2 * 256)) ]
}

can_grow()
{
	[ -w /dev/loop-control ] && [ "$(($(printf '%d' "0x$(sed -n 's/CapEff:[[:space:]]*//p' /proc/self/status)") >> 24 & 1))" = 1 ]
}

adds()
{
	image 1G
	document '"partitions":{"/boot":{"size":"64MiB","filesystem":"vfat"},"/":{"size":"256MiB","filesystem":"ext4"}}'
	apply && part 2 && cp part.img root.img || return
	document '"partitions":{"/boot":{"size":"64MiB","filesystem":"vfat"},"/":{"size":"256MiB","filesystem":"ext4"},"/srv":{"size":"128MiB","filesystem":"ext4"},"/home":{"filesystem":"ext4"}}'
	plan_says 'add partition 3 (128 MiB)' && apply && nothing_to_do || return
	part 2 && cmp part.img root.img || return
	part 3 && e2fsck -fn part.img && part 4 && e2fsck -fn part.img
}

grow_blocked()
{
	image 1G
	document '"partitions":{"a":{"size":"100MiB","filesystem":"ext4"},"b":{"filesystem":"ext4"}}'
	apply || return
	document '"partitions":{"a":{"size":"200MiB","filesystem":"ext4"},"b":{"filesystem":"ext4"}}'
	refuses 'cannot grow to 200 MiB'
}

shrink()
{
	document '"partitions":{"a":{"size":"50MiB","filesystem":"ext4"},"b":{"filesystem":"ext4"}}'
	refuses 'does not shrink'
}

# A header's first sectors, gone; the other one tells
damage() # SEEK COUNT
{
	dd if=/dev/zero of=disk.img bs=512 seek="$1" count="$2" conv=notrunc status=none
}

repairs()
{
	image 512M
	document "$two"
	apply || return
	sfdisk -d disk.img >before
	damage "$1" "$2"
	plan_says 'repair the GPT' && apply && nothing_to_do && sfdisk -d disk.img | cmp - before &&
		sgdisk -v disk.img | grep -q 'No problems found'
}

repairs_foreign()
{
	image 512M
	printf 'label: gpt\nname=there,size=100M,attrs="GUID:59"\n' | sfdisk -q disk.img
	mkfs.ext4 -q -F -E offset=1048576 disk.img 100M
	sfdisk -d disk.img >before
	damage 1 1
	document '"partitions":{"/":{"label":"there","size":"100MiB"}}'
	plan_says 'its primary header is lost' && apply && nothing_to_do && sfdisk -d disk.img | cmp - before
}

both_headers()
{
	image 512M
	document "$two"
	apply || return
	damage 1 1
	damage $((512 * 2048 - 1)) 1
	refuses 'a protective MBR without a GPT'
}

same_label_twice()
{
	image 512M
	printf 'label: gpt\nname=data,size=100M\nname=data,size=100M\n' | sfdisk -q disk.img
	document '"partitions":{"/":{"label":"data","filesystem":"ext4"}}'
	refuses 'partitions 1 and 2'
}

by_label()
{
	image 512M
	printf 'label: gpt\nname=one,size=100M\nname=data,size=100M\n' | sfdisk -q disk.img
	document '"partitions":{"/":{"label":"data","filesystem":"ext4"}}'
	apply && nothing_to_do && part 2 && e2fsck -fn part.img && [ "$(stat -c %s part.img)" -gt 400000000 ]
}

debian
document '"partitions":{"/":{}}'
check 'a grown cloud image plans to grow its root partition' plan_says 'grow partition 1 of disk.img from 895 MiB to 2.9 GiB'
check 'it grows, and boot code, other partitions and attributes stay' grows_debian
if can_grow; then
	check 'its ext4 grew along' ext4_grew 1 2800
else
	skip 'its ext4 grew along' 'growing ext4 takes CAP_SYS_RESOURCE and a loop device'
fi
check 'the grown image plans to nothing' nothing_to_do
check 'partitions that a document adds go into free space' adds
check 'growth that another partition blocks is refused' grow_blocked
check 'shrinking is refused' shrink
check 'a lost primary header is repaired' repairs 1 1
check 'a lost primary table is repaired' repairs 2 32
check 'a lost backup is repaired' repairs $((512 * 2048 - 33)) 33
check 'a lost protective MBR of ours is repaired' repairs 0 1
check "a lost header of somebody else's table is repaired from the other one" repairs_foreign
check 'two lost headers are refused' both_headers
check 'a label that two partitions have is refused' same_label_twice
check 'a partition is found by its label' by_label
finish
