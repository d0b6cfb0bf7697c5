#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# kill -9 before any write: the next run comes to the same end, and what others wrote is never lost.
# shellcheck source=tests/image/lib.sh
. "${0%/*}/lib.sh"

if ! strace -qq -e trace=none true 2>/dev/null; then
	echo '1..0 # SKIP needs strace that may trace'
	exit 0
fi

# Every write of the agent itself to the image, in whichever call: the N-th one kills it.
killed() # N
{
	timeout 60 strace -qq -o trace.txt -P disk.img -e trace=pwrite64,write \
		-e inject=pwrite64,write:signal=KILL:when="$1" \
		"$ROUSE" apply --yes --disk root=disk.img doc.json >/dev/null 2>&1
	[ $? -eq 137 ] || grep -q 'killed by SIGKILL' trace.txt
}

# What must be equal in the end: the table, and each filesystem's content as its own tools see it
end_state()
{
	sfdisk -d disk.img
	for p in $(sfdisk -d disk.img | sed -n 's/^disk.img\([0-9]*\) .*/\1/p'); do
		part "$p" || return
		blkid -p -s TYPE -s UUID -s LABEL -o export part.img
		case $(blkid -p -s TYPE -o value part.img) in
		ext4) e2fsck -fn part.img || return ;;
		vfat) fsck.vfat -n part.img || return ;;
		esac
	done
}

# loop PREPARE CHECK LEAST: kills the run at the first, second… write until it is through alive
loop()
{
	$1 || return
	cp --sparse=always disk.img base.img
	apply >/dev/null || return
	end_state >want.txt 2>&1 || { cat want.txt; return 1; }
	write=0
	while :; do
		write=$((write + 1))
		cp --sparse=always base.img disk.img
		killed $write || break
		apply >again.txt 2>&1 || { echo "after write $write:"; cat again.txt; return 1; }
		end_state >got.txt 2>&1
		cmp -s got.txt want.txt || { echo "after write $write:"; diff want.txt got.txt; return 1; }
		nothing_to_do || { echo "after write $write"; return 1; }
		${2:-true} || { echo "after write $write"; return 1; }
	done
	echo "$((write - 1)) writes" | tee -a writes.txt
	[ $write -gt "${3:-5}" ]
}

fresh()
{
	image 64M
	document '"partitions":{"/boot":{"size":"4MiB","filesystem":"vfat"},"/":{"filesystem":"ext4"}}'
}

whole()
{
	image 24M
	document '"filesystem":"ext4"'
}

replace_whole()
{
	image 64M
	mkfs.ext4 -q -F -L old disk.img
	document '"partitions":{"/boot":{"size":"4MiB","filesystem":"vfat"},"/":{"filesystem":"ext4"}},"replace":["ext4:old"]'
}

replace_gpt()
{
	image 64M
	printf 'label: gpt\nsize=16M\nsize=16M\n' | sfdisk -q disk.img
	mkfs.ext4 -q -F -L old -E offset=1048576 disk.img 16M
	document '"partitions":{"/boot":{"size":"4MiB","filesystem":"vfat"},"/":{"filesystem":"ext4"}},"replace":["ext4:old","gpt"]'
}

# One partition is kept, one replaced, two are added
mixed()
{
	image 96M
	printf 'label: gpt\nsize=16M,name=keep\nsize=24M,name=data\n' | sfdisk -q disk.img
	mkfs.ext4 -q -F -L keep -E offset=1048576 disk.img 16M
	mkfs.vfat --offset 34816 -n OLD disk.img 24576 >/dev/null
	document '"partitions":{"a":{"label":"keep","size":"16MiB"},"/":{"label":"data","size":"24MiB","filesystem":"ext4"},"/boot":{"size":"4MiB","filesystem":"vfat"},"/srv":{"filesystem":"ext4"}},"replace":["vfat:OLD"]'
	part 1 && mv part.img keep.img
}

kept_first()
{
	part 1 && cmp part.img keep.img
}

grow()
{
	image 32M
	printf 'label: gpt\nsize=16M,name=keep\n' | sfdisk -q disk.img
	mkfs.ext4 -q -F -L keep -E offset=1048576 disk.img 16M
	document '"partitions":{"/":{"label":"keep"}}'
	part 1 && mv part.img keep.img
	truncate -s 64M disk.img
}

grown_first()
{
	part 1 && cmp -n 16777216 part.img keep.img
}

check 'a fresh disk converges after a kill at any write' loop fresh true 10
check 'a whole-disk filesystem converges after a kill at any write' loop whole
check 'a replaced filesystem converges after a kill at any write' loop replace_whole true 10
check 'a replaced table converges after a kill at any write' loop replace_gpt true 10
check 'replaced and added partitions converge, and what is kept stays' loop mixed kept_first
check 'a grown partition converges, and its content stays' loop grow grown_first 3
finish
