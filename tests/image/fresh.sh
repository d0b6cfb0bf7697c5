#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A blank image becomes what the document says, as other tools see it.
# shellcheck source=tests/image/lib.sh
. "${0%/*}/lib.sh"

two='"partitions":{"/boot":{"size":"200MB","filesystem":"vfat"},"/":{"filesystem":"ext4"}}'

table()
{
	sfdisk -J disk.img >table.json || return
	python3 - <<'PY'
import json
t = json.load(open("table.json"))["partitiontable"]
p = t["partitions"]
assert t["label"] == "gpt" and len(p) == 2, t
assert [x["name"] for x in p] == ["boot", "root"], p
assert p[0]["type"] == "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", p[0]
assert p[0]["start"] == 2048 and p[0]["size"] == 191 * 2048, p[0]
assert p[1]["start"] == 192 * 2048, p[1]
assert (p[1]["start"] + p[1]["size"]) % 2048 == 0, p[1]
assert p[1]["start"] + p[1]["size"] == 2047 * 2048, p[1]
assert t["id"][14] == "4" and p[0]["uuid"][14] == "4", "version 4 UUIDs"
PY
}

whole_ext4()
{
	image 300M
	document '"filesystem":"ext4","mount":"/","label":"whole"'
	apply && nothing_to_do && e2fsck -fn disk.img && [ "$(blkid -p -s LABEL -o value disk.img)" = whole ]
}

percent()
{
	image 4G
	document '"partitions":{"a":{"size":"25%","filesystem":"ext4"},"b":{"size":"50%"},"c":{"size":"25%"}}'
	apply && nothing_to_do && sgdisk -v disk.img | grep -q 'No problems found' || return
	part 1 && e2fsck -fn part.img && [ "$(stat -c %s part.img)" = $((1023 * 1024 * 1024)) ]
}

deterministic()
{
	image 2G
	document "$two"
	apply >/dev/null || return
	mv disk.img first.img
	image 2G
	apply >/dev/null || return
	[ "$(sfdisk -d first.img | tail -n +5 | sed s/first.img/disk.img/)" = "$(sfdisk -d disk.img | tail -n +5)" ] &&
		part 2 && first=$(blkid -p -s UUID -o value part.img) && [ -n "$first" ]
}

seed_changes_identity()
{
	image 2G
	printf '{"rouse":1,"seed":"other","disks":{"root":{"device":"root",%s}}}\n' "$two" >doc.json
	apply || return
	[ "$(sfdisk -J disk.img | grep '"id"')" != "$(sfdisk -J first.img | grep '"id"')" ]
}

odd_size()
{
	image 2147483136 # one sector less than 2 GiB
	document "$two"
	apply && nothing_to_do && sgdisk -v disk.img | grep -q 'No problems found'
}

too_small()
{
	image 100M
	document "$two"
	refuses 'no room'
}

unprivileged()
{
	image 2G
	document "$two"
	chmod 777 "$tmp"
	chmod 666 disk.img
	chmod 644 doc.json
	rm -f plan.txt
	cp "$ROUSE" rouse
	setpriv --reuid 65534 --regid 65534 --clear-groups ./rouse apply --yes --disk root=disk.img doc.json || return
	nothing_to_do
}

image 2G
document "$two"
only_disks() {
	sed '1s/{/{ "hostname": "elsewhere", "users": { "nobody-here": {} }, "files": { "\/etc\/x": { "contents": "" } },/' \
		doc.json > more.json
	$ROUSE check more.json && $ROUSE plan --disk root=disk.img more.json > more.plan &&
		! grep -vE '^  . disks |^plan( id)?:' more.plan
	status=$?
	! $ROUSE apply --yes --disk root=disk.img --only users more.json 2> more.err &&
		grep -- '--root' more.err && return $status
}

check 'a plan changes nothing' sh -c "$(printf '%s plan --disk root=disk.img doc.json && cmp -n 2147483648 disk.img /dev/zero' "$ROUSE")"
check 'an image is not this machine: only its disks are planned' only_disks
check 'a blank image is provisioned' apply
check 'sgdisk finds no problem' sh -c "sgdisk -v disk.img | grep 'No problems found'"
check 'sfdisk reads the partitions that the document says' table
check 'the applied plan plans to nothing' nothing_to_do
part 1
check 'fsck.vfat finds no problem' fsck.vfat -n part.img
check 'the vfat is a FAT32 named BOOT' sh -c 'blkid -p part.img | grep "LABEL=\"BOOT\".*FAT32"'
part 2
check 'e2fsck finds no problem' e2fsck -fn part.img
check 'the ext4 is named root' sh -c 'blkid -p part.img | grep "LABEL=\"root\".*TYPE=\"ext4\""'
check 'the ext4 has no feature that old boot loaders do not read' sh -c '! dumpe2fs -h part.img 2>&1 | grep -E "metadata_csum_seed|orphan_file"'
check 'a whole disk becomes one filesystem' whole_ext4
check 'percentages share the disk' percent
check 'the same document gives the same identities' deterministic
check 'another seed gives other identities' seed_changes_identity
check 'a disk of an odd number of sectors works' odd_size
check 'a disk that is too small is refused, unchanged' too_small
if [ "$(id -u)" = 0 ]; then
	check 'no privilege is needed for an image' unprivileged
else
	skip 'no privilege is needed for an image' 'needs root to give up'
fi
finish
