#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Partitions that are written from an image: checked before they are published, and never written over.
# shellcheck source=tests/image/lib.sh
. "${0%/*}/lib.sh"

command -v mksquashfs >/dev/null || { echo '1..0 # SKIP needs mksquashfs'; exit 0; }
mkdir tree && echo hello >tree/file && head -c 300000 /dev/urandom >tree/big
mksquashfs tree root.sqfs -quiet -no-progress >/dev/null || exit 1
sha=$(sha256sum <root.sqfs | cut -d ' ' -f 1)

from() # SHA256
{
	document "\"partitions\":{\"/usr\":{\"size\":\"8MiB\",\"image\":{\"url\":\"file://$PWD/root.sqfs\",\"sha256\":\"$1\",\"type\":\"squashfs\"}},\"/\":{\"filesystem\":\"ext4\"}}"
}

holds()
{
	part 1 && cmp -n "$(stat -c %s root.sqfs)" part.img root.sqfs &&
		[ "$(blkid -p -s TYPE -o value part.img)" = squashfs ]
}

# Nothing of the table that would publish it is there
wrong_digest()
{
	image 200M
	from "$(printf %064d 0)"
	apply >out.txt 2>&1
	status=$?
	cat out.txt
	[ $status -eq 77 ] && grep -q 'the document says' out.txt && ! sfdisk -J disk.img | grep -q '"node"' || return
	from "$sha"
	apply && nothing_to_do && holds
}

# The mark is where the image's first blocks belong: the table was written, and nothing after it
cut_off()
{
	uuid=$(python3 -c 'import hmac, hashlib, uuid
m = bytearray(hmac.new(b"rouse", b"root//usr/filesystem", hashlib.sha256).digest()[:16])
m[6] = m[6] & 0x0f | 0x40; m[8] = m[8] & 0x3f | 0x80; m[15] ^= 1
print(uuid.UUID(bytes=bytes(m)))')
	part 1
	dd if=/dev/zero of=part.img bs=64k count=1 conv=notrunc status=none
	truncate -s 1M mark.img && mke2fs -q -F -b 1024 -L rouse-undone -U "$uuid" mark.img || return
	dd if=mark.img of=part.img bs=1024 skip=1 seek=1 count=1 conv=notrunc status=none
	dd if=part.img of=disk.img bs=1M seek=1 conv=notrunc status=none
	plan | grep -q 'write the image' && apply && nothing_to_do && holds
}

other_image()
{
	from "$(printf %064d 1)"
	refuses 'is not of the image that is wanted'
}

too_large()
{
	image 200M
	document "\"partitions\":{\"/usr\":{\"size\":\"1MiB\",\"image\":{\"url\":\"file://$PWD/large\",\"sha256\":\"$sha\",\"type\":\"squashfs\"}}}"
	truncate -s 2M large
	! apply && ! sfdisk -J disk.img | grep -q '"node"'
}

image 200M
from "$sha"
check 'a partition is written from an image' apply
check 'the applied plan plans to nothing' nothing_to_do
check 'the partition holds the image, byte by byte' holds
check 'what was cut off before the first blocks is written again' cut_off
check 'another image is refused, and the partition stays' other_image
check 'an image with another digest is not published, and the right one is then' wrong_digest
check 'an image that is larger than its partition is not published' too_large
finish
