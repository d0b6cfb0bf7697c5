#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the document does not account for is refused by name, and not one bit of it changes; what
# it consents to is replaced, once.
# shellcheck source=tests/image/lib.sh
. "${0%/*}/lib.sh"

two='"partitions":{"/boot":{"size":"64MiB","filesystem":"vfat"},"/":{"filesystem":"ext4"}}'

# A header that blkid takes for LUKS2, without cryptsetup
luks()
{
	python3 - <<'PY'
import struct, hashlib
h = bytearray(4096)
h[0:6] = b"LUKS\xba\xbe"
struct.pack_into(">HQQ", h, 6, 2, 16384, 1)
h[24:24+6] = b"secret"
h[72:78] = b"sha256"
h[168:168+36] = b"b4f3c1de-0000-4000-8000-000000000001"
struct.pack_into(">Q", h, 256, 0)
f = open("disk.img", "r+b")
f.write(h)
PY
}

# The boot sector and the volume label of an NTFS
ntfs() # LABEL OFFSET
{
	python3 - "$@" <<'PY'
import struct, sys
label, offset = sys.argv[1], int(sys.argv[2])
f = open("disk.img", "r+b")
b = bytearray(512)
b[0:3] = b"\xeb\x52\x90"
b[3:11] = b"NTFS    "
struct.pack_into("<HB", b, 11, 512, 8)
b[21] = 0xf8
struct.pack_into("<Q", b, 40, 100000)
struct.pack_into("<QQ", b, 48, 4, 8)
b[64] = 0xf6
b[68] = 0xf6
struct.pack_into("<Q", b, 72, 0x1234567890)
b[510:512] = b"\x55\xaa"
f.seek(offset); f.write(b)
# MFT record 3: $Volume with its name
def record():
    r = bytearray(1024)
    r[0:4] = b"FILE"
    struct.pack_into("<H", r, 20, 56)
    name = label.encode("utf-16-le")
    struct.pack_into("<IIBBHHHIHBB", r, 56, 0x60, 24 + len(name) + 8, 0, 0, 24, 0, 0, len(name), 24, 0, 0)
    r[56+24:56+24+len(name)] = name
    struct.pack_into("<I", r, 56 + 24 + len(name) + 8, 0xffffffff)
    struct.pack_into("<I", r, 24, 1024); struct.pack_into("<I", r, 28, 1024)
    return r
for i in range(4):
    f.seek(offset + 4 * 4096 + i * 1024); f.write(record())
PY
}

refused() # WORDS: with the consent that the image is about, "anything", too?
{
	document "$two"
	refuses "$1"
}

refused_even_with_anything()
{
	document "$two,\"replace\":\"anything\""
	refuses "$1"
}

replaced() # CONSENT
{
	document "$two,\"replace\":$1"
	apply && nothing_to_do && sgdisk -v disk.img | grep 'No problems found' || return
	part 2 && e2fsck -fn part.img || return
	# Spent: without the consent, it is ours now
	document "$two"
	nothing_to_do
}

still_there() # the file in the root filesystem that makes it ours
{
	part 2 && debugfs -R 'stat /precious' part.img 2>&1 | grep -q 'Type: regular'
}

put_precious()
{
	offset=$(sfdisk -J disk.img | python3 -c 'import json,sys; print(json.load(sys.stdin)["partitiontable"]["partitions"][1]["start"]*512)')
	echo data >precious
	debugfs -w -R 'write precious precious' "disk.img?offset=$offset"
}

spent()
{
	image 512M
	document "$two,\"replace\":\"anything\""
	mkfs.ext4 -q -F disk.img && apply && put_precious && nothing_to_do && apply && still_there
}

image 512M && mkfs.ext4 -q -F -L backup disk.img
check 'ext4 on the whole disk is refused by name' refused "holds ext4 'backup'"
check 'the refusal says which consent to write' refused '"replace": ["ext4:backup"]'
document "$two,\"replace\":[\"ext4:other\"]"
check 'consent to another label is none' refuses "holds ext4 'backup'"
document "$two,\"replace\":[\"xfs\", \"ntfs:backup\"]"
check 'consent to another type is none' refuses "holds ext4 'backup'"
check 'with consent, the whole disk is replaced' replaced '["ext4:backup"]'

image 512M && printf 'label: gpt\nsize=100M,name=one\nsize=100M,name=two\n' | sfdisk -q disk.img && mkfs.ext4 -q -F -E offset=1048576 disk.img 50M
check "somebody else's GPT is refused" refused 'a GPT with 2 partitions (ext4)'
document "$two,\"replace\":[\"xfs\"]"
check 'consent to half of it is none' refuses 'a GPT with 2 partitions'
check 'with consent, a GPT is replaced' replaced '["ext4", "gpt"]'

image 512M && printf 'label: gpt\nsize=100M\n' | sfdisk -q disk.img && dd if=/dev/zero of=disk.img bs=512 count=1 conv=notrunc status=none
check 'a GPT with zeroed protective MBR is refused' refused 'protective MBR is missing'
check '… even with consent to anything' refused_even_with_anything 'protective MBR is missing'

image 512M && printf 'label: gpt\nsize=100M\n' | sfdisk -q disk.img && dd if=/dev/zero of=disk.img bs=512 seek=1 count=33 conv=notrunc status=none && truncate -s 1G disk.img
check 'a lost primary GPT on a grown disk is refused' refused 'what is left of a GPT'
check '… even with consent to anything' refused_even_with_anything 'what is left of a GPT'

image 512M && printf 'label: gpt\nsize=100M\n' | sfdisk -q disk.img && truncate -s 256M disk.img
check 'a disk that shrank below its table is refused' refused 'smaller than its table says'

image 512M && luks
check 'a LUKS header is refused by name' refused 'crypto_LUKS'
image 512M && head -c 4M /dev/urandom | dd of=disk.img conv=notrunc status=none
check 'data without a signature is refused' refused 'data without a signature'
check '… even with consent to anything' refused_even_with_anything 'data without a signature'
image 512M && printf '\125\252' | dd of=disk.img bs=1 seek=510 conv=notrunc status=none
check 'a bare boot signature is refused' refused 'a partition table'
image 512M && dd if=/dev/urandom of=disk.img bs=1M seek=511 count=1 conv=notrunc status=none
check 'data at the very end is refused' refused 'data without a signature'
image 512M && mkfs.ext4 -q -F -E offset=1048576 disk.img 100M
check 'ext4 where our first partition would be is refused' refused 'the free space for it holds ext4'
image 512M && mkfs.ext4 -q -F -L here disk.img && printf SWAPSPACE2 | dd of=disk.img bs=1 seek=4086 conv=notrunc status=none && python3 -c '
import struct
f = open("disk.img", "r+b"); f.seek(1024); f.write(struct.pack("<II", 1, 100)); f.seek(1024 + 56); f.write(b"\x53\xef")'
check 'contradicting signatures are refused' refused "disk.img' holds"
check '… even with consent to anything' refused_even_with_anything "disk.img' holds"

image 512M && printf 'label: dos\nstart=2048,type=7\n' | sfdisk -q disk.img && ntfs 'Temporary Storage' 1048576
check "Azure's temporary disk is refused without consent" refused 'ntfs'
document "$two,\"replace\":[\"ntfs:Data\"]"
check 'an NTFS with another label is not what the consent names' refuses "ntfs"
check 'with consent, the temporary disk is replaced' replaced '["ntfs:Temporary Storage"]'

check 'consent is spent once: data written since is kept' spent

mkdir -p etc && echo root:x:0:0::/root:/bin/sh >etc/passwd
image 64M && mkfs.ext4 -q -F disk.img
document '"filesystem":"vfat","replace":["ext4"]'
sed -i 's|}}}$|}},"files":{"/x":{"contents":"y","user":"nobody-knows"}}}|' doc.json
refused_for_a_file()
{
	before=$(cksum <disk.img)
	timeout 60 "$ROUSE" apply --yes --root "$tmp" --disk root=disk.img doc.json
	[ $? -eq 78 ] && [ "$before" = "$(cksum <disk.img)" ]
}
check 'a document with a file for a user that is not there changes no disk' refused_for_a_file

printf '{"rouse":1,"disks":{"root":{"device":"root","filesystem":"ext4"}}}' >doc.json
image 512M && head -c 2048 /dev/zero | tr '\0' x | dd of=disk.img bs=1024 seek=100 conv=notrunc status=none
check 'a whole disk with unknown data is refused as well' refuses 'data without a signature'
finish
