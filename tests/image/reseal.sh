#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The power goes while the kernel writes the superblock of ext4: half of it is new, half of it is old, and the
# checksum is wrong. Ours is made whole again, with the journal that waits in it; nobody else's is written.
# shellcheck source=tests/image/lib.sh
. "${0%/*}/lib.sh"

command -v debugfs >/dev/null || { echo '1..0 # SKIP needs debugfs'; exit 0; }

fs="disk.img?offset=1048576"

# One partition: of one group, which has no backup, or of three. It holds a file, and has been mounted once.
make()
{
	image "$1"
	document '"partitions":{"/":{"filesystem":"ext4"}}'
	apply || return
	head -c 300000 /dev/urandom >file
	debugfs -w -R 'write file file' "$fs"
}

# tear EXPRESSION: of s, the superblock, f, the image, and backup(), which seeks the one of a group
tear()
{
	python3 - "$1" <<-'END'
	import struct, sys
	def put(s, at, form, value):
	    struct.pack_into("<" + form, s, at, value)
	def get(s, at, form):
	    return struct.unpack_from("<" + form, s, at)[0]
	with open("disk.img", "r+b") as f:
	    def backup(group):
	        f.seek((1 << 20) + group * 32768 * 4096)
	    f.seek((1 << 20) + 1024)
	    s = bytearray(f.read(1024))
	    exec(sys.argv[1])
	    f.seek((1 << 20) + 1024)
	    f.write(s)
	END
}

# What a mount changes: when, how often, and that the journal counts
MOUNTED='put(s, 44, "I", 1800000000); put(s, 52, "H", get(s, 52, "H") + 1); put(s, 96, "I", get(s, 96, "I") | 4)'
OTHER='s[1020] ^= 255'

holds_all()
{
	part 1 && e2fsck -fp part.img # replays the journal
	[ $? -le 1 ] && e2fsck -fn part.img && debugfs -R 'dump file found' part.img && cmp file found
}

needs_recovery() { dumpe2fs -h "$fs" 2>/dev/null | grep -q needs_recovery; }

restored()
{
	plan >plan.txt 2>&1
	grep -q '~ disks .*restore the superblock of ext4' plan.txt || { cat plan.txt; return 1; }
	! grep -q 'make ext4' plan.txt && apply && nothing_to_do && holds_all
}

# Nothing is written, and it is said what to do.
left_alone() # WORDS
{
	before=$(cksum <disk.img)
	apply >out.txt 2>&1
	status=$?
	cat out.txt
	[ $status -eq 71 ] && [ "$(cksum <disk.img)" = "$before" ] && grep -qF -- "$1" out.txt
}

first_half() { tear "$MOUNTED" && restored && needs_recovery; }
second_half() { tear "$OTHER" && restored; }
both_halves() { tear "$MOUNTED; $OTHER" && restored; }
# A filesystem that was in use is never one that is yet to be made
lost_half()
{
	tear "$MOUNTED; s[512:] = bytes(512)" && restored && tear "$MOUNTED; s[512:] = b'?' * 512" && restored
}

twice() { first_half && first_half; }

# The journal has a block, and the half that would say so is the older one
journal()
{
	tr '\0' J </dev/zero | head -c 4096 >block
	block=$(debugfs -R 'bmap file 0' "$fs" 2>/dev/null)
	printf 'jo\njw -b %s block\njc\n' "$block" >script
	debugfs -w -f script "$fs" && needs_recovery || return
	tail -c +4097 file >rest
	cat block rest >file
	tear 'put(s, 96, "I", get(s, 96, "I") & ~4)' && restored && needs_recovery
}

geometry() { tear 'put(s, 40, "I", get(s, 40, "I") * 2)' && left_alone "run '$1"; }
features() { tear 'put(s, 92, "I", get(s, 92, "I") ^ 32)' && left_alone "run '$1"; }
# Larger than the device, with as many inodes as it would have
size()
{
	tear 'n = get(s, 4, "I") * 2; put(s, 4, "I", n); put(s, 0, "I", -(-n // 32768) * get(s, 40, "I"))' &&
		left_alone "run '$1"
}

BACKUP='backup(1); b = bytearray(f.read(1024)); b[41] = 238; backup(1); f.write(b)'
next_backup() { tear "$MOUNTED; $BACKUP" && restored; }
no_backup() { tear "$MOUNTED; $BACKUP; backup(3); f.write(b)" && left_alone "run 'e2fsck -f'"; }

# As the kernel does it: the primary first
grown()
{
	truncate -s 800M disk.img
	apply || return
	cp disk.img old.img
	part 1 && resize2fs part.img && dd if=part.img of=disk.img bs=1M seek=1 conv=notrunc status=none || return
	tear "$MOUNTED"'
old = open("old.img", "rb")
for group in 1, 3:
    backup(group)
    old.seek(f.tell())
    f.write(old.read(1024))' && restored || return
	[ "$(dumpe2fs -h "$fs" 2>/dev/null | sed -n 's/^Block count: *//p')" -gt 150000 ]
}

# It is kept and mounted, as the document says, but is not ours to write
stranger()
{
	tune2fs -U 11111111-2222-3333-4444-555555555555 "$fs" && tear "$MOUNTED" || return
	before=$(cksum <disk.img)
	apply && [ "$(cksum <disk.img)" = "$before" ] && nothing_to_do
}

# Consent to destroy is not consent to destroy what cannot be told
consent() # FILESYSTEM
{
	document "\"replace\":[\"ext4\",\"btrfs\"],\"partitions\":{\"/\":{\"filesystem\":\"$1\"}}"
	refuses 'wrong checksum'
}

btrfs()
{
	image 200M
	document '"partitions":{"/":{"filesystem":"btrfs"}}'
	apply || return
	python3 -c '
with open("disk.img", "r+b") as f:
    f.seek((1 << 20) + 65536 + 72) # generation
    f.write(b"\x09")'
	consent vfat
}

for size in 26M 520M; do
	what="of one group" tool='debugfs -wn'
	[ $size = 26M ] || what="of several groups" tool='e2fsck -f'
	check "a filesystem $what is made" make $size
	check "… and its first half is new" first_half
	check "… or its second half" second_half
	check "… or each of another write" both_halves
	check "… or its second half is lost" lost_half
	check "… again and again" twice
	check "… and its journal is not empty" journal
	check "… but another geometry is left alone" geometry "$tool"
	make $size >make.log 2>&1
	check "… and other features" features "$tool"
	make $size >make.log 2>&1
	check "… and another size" size "$tool"
done
make 520M >make.log 2>&1
check 'the next backup confirms it' next_backup
check '… and without one, nothing is written' no_backup
make 520M >make.log 2>&1
check 'it may have grown since its backup' grown
make 26M >make.log 2>&1
check 'one of somebody else is not written' stranger
check '… nor replaced' consent vfat
if command -v mkfs.btrfs >/dev/null; then
	check 'a btrfs with a wrong checksum is not replaced either' btrfs
else
	skip 'a btrfs with a wrong checksum is not replaced either' 'needs mkfs.btrfs'
fi
finish
