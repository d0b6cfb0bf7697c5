#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A plan has an id, and apply takes it as what somebody agreed to: another plan is not applied.
# shellcheck source=tests/image/lib.sh
# shellcheck disable=SC2317 # functions are called through check
. "${0%/*}/lib.sh"

two='"partitions":{"/boot":{"size":"64MiB","filesystem":"vfat"},"/":{"filesystem":"ext4"}}'

id()
{
	plan | sed -n 's/^plan id: \([0-9a-f]\{32\}\)$/\1/p'
}

apply_plan() # ID: status in $status, and is the disk as it was?
{
	before=$(cksum <disk.img)
	timeout 60 "$ROUSE" apply --disk root=disk.img --plan "$1" doc.json >apply.txt 2>&1
	status=$?
	cat apply.txt
	[ "$before" = "$(cksum <disk.img)" ]
}

refused() # ID
{
	apply_plan "$1" && [ $status = 71 ] && grep -q "the plan is not '$1' any more" apply.txt
}

is_the_same()
{
	one=$(id)
	[ ${#one} = 32 ] && [ "$one" = "$(id)" ] &&
		timeout 60 "$ROUSE" plan --disk root=disk.img --json doc.json | grep -q "\"id\": *\"$one\""
}

# What a plan says may be the same on a disk that holds something else
other_content()
{
	image 1G
	mkfs.ext4 -q -F -L old -U 11111111-2222-4333-8444-555555555555 disk.img
	document "\"replace\":[\"ext4:old\"],$two"
	one=$(id)
	mkfs.ext4 -q -F -L old -U 11111111-2222-4333-8444-666666666666 disk.img
	[ -n "$one" ] && [ "$(id)" != "$one" ] && refused "$one"
}

other_document()
{
	image 1G
	document "$two"
	one=$(id)
	document "\"missing\":\"fail\",$two"
	[ -n "$one" ] && refused "$one"
}

# What is not there, or not named, is said; nobody is told to blank it
slips()
{
	document "$two"
	timeout 60 "$ROUSE" plan --disk root=none.img doc.json >slip.txt 2>&1
	[ $? = 71 ] && grep -q "'none.img' is not there; \`truncate -s 20G none.img\` makes" slip.txt || return
	: >empty.img
	timeout 60 "$ROUSE" plan --disk root=empty.img doc.json >slip.txt 2>&1
	[ $? = 71 ] && grep -q "'empty.img' is empty; \`truncate -s 20G empty.img\` makes" slip.txt || return
	ln -f disk.img same.img
	timeout 60 "$ROUSE" plan --disk root=disk.img --disk other=same.img doc.json >slip.txt 2>&1
	[ $? = 64 ] && grep -q "'root' and 'other' are both 'same.img'" slip.txt || return
	timeout 60 "$ROUSE" plan --disk root=disk.img --disk root=none.img doc.json >slip.txt 2>&1
	[ $? = 64 ] && grep -q "'root' is given twice" slip.txt || return
	timeout 60 "$ROUSE" plan --facts doc.json doc.json >slip.txt 2>&1
	[ $? = 64 ] && grep -q "'doc.json' is a document; facts are" slip.txt || return
	timeout 60 "$ROUSE" plan --disk rot=disk.img doc.json >slip.txt 2>&1
	[ $? = 64 ] && grep -q "the document has no disk 'rot', did you mean 'root'?" slip.txt || return
	timeout 60 "$ROUSE" plan --only disk doc.json >slip.txt 2>&1
	[ $? = 64 ] && grep -q "no section is named 'disk', did you mean 'disks'?" slip.txt || return
	timeout 60 "$ROUSE" boot --root . --run run --settings /dev/null >slip.txt 2>&1
	[ $? = 64 ] && grep -q "'run' is not an absolute path" slip.txt
}

# The same name, size and content, and yet another disk
swapped_disk()
{
	image 64M
	truncate -s 64M twin.img
	document '"filesystem":"ext4"'
	node=$(losetup -f --show disk.img) || return
	one=$(timeout 60 "$ROUSE" plan --disk "root=$node" doc.json | sed -n 's/^plan id: //p')
	losetup -d "$node" && losetup "$node" twin.img || return
	timeout 60 "$ROUSE" apply --disk "root=$node" --plan "$one" doc.json >apply.txt 2>&1
	status=$?
	losetup -d "$node"
	cat apply.txt
	[ ${#one} = 32 ] && [ $status = 71 ] && grep -q "the plan is not '$one' any more" apply.txt && [ "$(stat -c %b twin.img)" = 0 ]
}

is_applied_once()
{
	image 1G
	document "$two"
	one=$(id)
	! apply_plan "$one" && [ $status = 0 ] && [ -z "$(id)" ] && refused "$one"
}

# Somebody holds the lock, and writes before giving it away
changed_under_lock()
{
	image 1G
	document "$two"
	one=$(id)
	rm -f apply.txt
	flock disk.img sh -c '
		i=0
		until grep -qs "^plan:" apply.txt || [ $i -gt 1000 ]; do sleep 0.05; i=$((i + 1)); done
		printf x | dd of=disk.img bs=1 seek=4096 conv=notrunc status=none
		cksum <disk.img >sum' &
	until ! flock -n disk.img true; do sleep 0.02; done
	timeout 60 "$ROUSE" apply --disk root=disk.img --plan "$one" doc.json >apply.txt 2>&1
	status=$?
	wait
	cat apply.txt
	[ $status = 71 ] && grep -q 'has changed since the plan was made' apply.txt && cksum <disk.img | cmp - sum
}

# What is destroyed has a colour of its own, what is made another one
coloured()
{
	image 512M
	mkfs.ext4 -q -F -L old disk.img
	document "\"replace\":[\"ext4:old\"],$two"
	for no in '' 1; do
		NO_COLOR=$no TERM=xterm timeout 60 python3 -c 'import pty, sys; sys.exit(pty.spawn(sys.argv[1:]))' \
			"$ROUSE" plan --disk root=disk.img doc.json | tr -d '\r' | tr '\033' @ >"colour$no"
	done
	cat colour
	grep -q '^  before \[@\[1;31m!*@\[0m\]$' colour && grep -q '^  after  \[@\[32m[12+]*@\[0m\]$' colour &&
		grep -q "^  @\[1;31m! all .*ext4 'old'  destroyed@\[0m" colour && grep -q '^  @\[1;31m!@\[0m disks *destroy ext4' colour &&
		grep -q '^  @\[32m+ .*ext4@\[0m' colour && grep -q '^  @\[32m+@\[0m disks *make ext4' colour &&
		! grep @ colour1 && sed 's/@\[[0-9;]*m//g' colour | cmp - colour1
}

image 1G
document "$two"
check 'a plan has an id, the same one every time, also as JSON' is_the_same
check 'another id is refused, and nothing is written' refused 00000000000000000000000000000000
check 'an id is not cut off' refused "$(id | cut -c 1-31)"
check 'an id is of what is on the disk, too' other_content
check 'an id is of the whole document' other_document
if [ -w /dev/loop-control ] && losetup -f >loop.txt 2>&1; then
	check 'an id is of one disk, not of what has its name' swapped_disk
else
	skip 'an id is of one disk, not of what has its name' 'needs a loop device'
fi
check 'a disk that changes before its lock is had is not written' changed_under_lock
check 'the plan with the id is applied, once' is_applied_once
check 'on a terminal, what is destroyed and what is made have colours, unless NO_COLOR asks for none' coloured
check 'slips of the command line are named' slips
finish
