# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# What the tests on disk images share. Read (".") by each of them, from the top of the tree.
# Images are sparse files: no root, no loop device, no kernel.
# They are compared by CRC, which finds a change as well as SHA-256 does, in a twentieth of the time.
set -u
ROUSE=${ROUSE:-build/rouse}
case $ROUSE in /*) ;; *) ROUSE=$PWD/$ROUSE ;; esac
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL=C
unset NO_COLOR
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
cd "$tmp" || exit 1
n=0 failed=0

# check NAME COMMAND…: one test, of the command's exit status
check()
{
	name=$1 n=$((n + 1))
	shift
	if "$@" >"$tmp/log" 2>&1; then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		sed 's/^/# /' "$tmp/log" | head -n 40
		failed=1
	fi
}

skip()
{
	n=$((n + 1))
	echo "ok $n - $1 # SKIP $2"
}

finish()
{
	echo "1..$n"
	exit $failed
}

# image SIZE: a blank disk.img
image()
{
	rm -f disk.img
	truncate -s "$1" disk.img
}

# document JSON: the value of disks.root without its device, in doc.json
document()
{
	printf '{"rouse":1,"disks":{"root":{"device":"root",%s}}}\n' "$1" >doc.json
}

plan()
{
	timeout 60 "$ROUSE" plan --disk root=disk.img doc.json
}

apply()
{
	timeout 120 "$ROUSE" apply --yes --disk root=disk.img doc.json
}

nothing_to_do()
{
	plan >plan.txt 2>&1 && grep -q '^plan: nothing to change' plan.txt && return
	cat plan.txt
	return 1
}

# part N: partition N as a file of its own, part.img (the table by sfdisk, another pair of eyes)
part()
{
	sfdisk -J disk.img >table.json || return
	# shellcheck disable=SC2046 # two numbers
	set -- "$1" $(python3 -c 'import json,sys
p=[p for p in json.load(open("table.json"))["partitiontable"]["partitions"] if p["node"]=="disk.img"+sys.argv[1]][0]
s=json.load(open("table.json"))["partitiontable"].get("sectorsize",512)
print(p["start"]*s//4096, p["size"]*s//4096)' "$1")
	rm -f part.img
	dd if=disk.img of=part.img bs=4096 skip="$2" count="$3" conv=sparse status=none &&
		truncate -s $(($3 * 4096)) part.img
}

# The image stays as it is, and the answer is "fix the document" with these words in it.
refuses() # WORDS
{
	before=$(cksum <disk.img)
	apply >out.txt 2>&1
	status=$?
	cat out.txt
	[ $status -eq 78 ] || return
	[ "$(cksum <disk.img)" = "$before" ] || { echo "the image has changed"; return 1; }
	grep -qF -- "$1" out.txt
}
