#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The section `mounts` on this machine, in a mount namespace of its own whose /etc is a copy: memory,
# a bind, an overlay, all through one another; a second plan is empty, and fstab says the same.
# shellcheck disable=SC2317 # functions are called through ok()
set -u
cd "$(dirname "$0")/../.." || exit 1
ROUSE=$(realpath "${ROUSE:-build/rouse}")
[ "$(id -u)" = 0 ] || { echo '1..0 # SKIP needs root'; exit 0; }
if [ "${1-}" != inside ]; then
	work=$(mktemp -d /tmp/rouse-mounts-XXXXXX)
	trap 'rm -rf "$work"' EXIT
	unshare --mount --propagation private "$0" inside "$work"
	exit
fi
work=$2
mount -t tmpfs none "$work" && mkdir -p "$work/etc" "$work/data" && cp -a /etc/. "$work/etc" &&
	mount --bind "$work/etc" /etc && echo 'LABEL=root / ext4 defaults 0 1' >/etc/fstab || exit 1
cd "$work" || exit 1

count=0 failures=0
ok() { # NAME COMMAND [ARG]...
	name=$1
	shift
	count=$((count + 1))
	if "$@" >why 2>&1; then
		echo "ok $count - $name"
		return
	fi
	echo "not ok $count - $name"
	sed 's/^/#   /' why
	failures=$((failures + 1))
}

cat >doc.json <<END
{
  "rouse": 1,
  "mounts": {
    "$work/seen":    { "bind": "$work/memory/www", "options": ["ro", "nosuid"] },
    "$work/memory":  { "type": "tmpfs", "options": ["size=8M", "mode=0750", "noexec"] },
    "$work/layered": { "overlay": { "lower": "$work/data", "upper": "$work/memory/up", "work": "$work/memory/work" } }
  }
}
END
echo below >data/file

said() { # COUNT STATUS COMMAND...
	want=$1 status=$2
	shift 2
	"$@" >out 2>&1
	got=$?
	cat out
	[ $got = "$status" ] && grep -q "$want" out
}
option() { # TARGET OPTION
	findmnt -no OPTIONS "$1" | tail -n 1 | tr , '\n' | grep -qx "$2"
}

ok 'the plan is one of mounts, and of lines to keep' said 'plan: 1 change' 0 "$ROUSE" plan --only mounts doc.json
ok 'it is applied' "$ROUSE" apply --yes --only mounts doc.json
ok 'memory has its options' option "$work/memory" size=8192k
ok '… and flags' option "$work/memory" noexec
ok 'what is bound is seen in a second place' sh -c "touch $work/memory/www/page && test -e $work/seen/page"
ok '… read-only' option "$work/seen" ro
ok 'what is below an overlay is seen, and stays as it is' sh -c \
	"grep -q below $work/layered/file && echo above >$work/layered/file && grep -q below $work/data/file"
ok 'an applied plan plans to nothing' said 'nothing to change' 0 "$ROUSE" plan --only mounts doc.json
ok 'fstab still says what it said' grep -q '^LABEL=root / ext4' /etc/fstab
umount "$work/seen" "$work/layered" "$work/memory"
ok 'mount(8) makes the same of fstab' sh -c \
	"mkdir -p $work/up && mount $work/memory && mkdir -p $work/memory/www $work/memory/up $work/memory/work && mount $work/seen && mount $work/layered"
ok '… which is all that was planned' said 'nothing to change' 0 "$ROUSE" plan --only mounts doc.json
umount "$work/seen" "$work/layered" "$work/memory"
mount -t ramfs none "$work/memory"
ok 'what is mounted there by somebody else is refused by name' \
	said "ramfs is mounted at '$work/memory' already" 78 "$ROUSE" apply --yes --only mounts doc.json
umount "$work/memory"
echo '{ "rouse": 1, "mounts": {} }' >none.json
ok 'what is no longer wanted is given up' "$ROUSE" apply --yes --only mounts none.json
ok '… in fstab' sh -c '! grep -q x-rouse /etc/fstab && grep -q "^LABEL=root" /etc/fstab'
echo "1..$count"
exit $((failures > 0))
