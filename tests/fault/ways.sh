#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The ways of a running system into another userspace and another kernel, as far as they go without a machine to
# restart: what systemd is asked, when, and how often. In a copy of this machine's root, with a systemctl that notes.
set -u
cd "$(dirname "$0")/../.." || exit 1
ROUSE=$(realpath "${ROUSE:-build/rouse}")
[ "$(id -u)" = 0 ] || { echo '1..0 # SKIP needs root'; exit 0; }
if [ "${1:-}" != inside ]; then
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	unshare --mount --propagation private "$0" inside "$work"
	exit $?
fi
work=$2 root=$2/tmp/root system=/nix/store/0c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6a-system-next

# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh
tap_begin "$work/why" "$work/out" "$root/asked"

# shellcheck disable=SC2016 # the stand-in expands these
prepare()
{
	mkdir "$work/tmp" && mount -t tmpfs none "$work/tmp" && mkdir "$work/tmp/upper" "$work/tmp/work" "$root" &&
		mount -t overlay -o "lowerdir=/,upperdir=$work/tmp/upper,workdir=$work/tmp/work" overlay "$root" &&
		mount --rbind /proc "$root/proc" && mount --rbind /dev "$root/dev" && mount -t tmpfs none "$root/run" &&
		mkdir -p "$root/run/systemd/system" "$root$system" "$root/nix/var/nix/profiles" &&
		ln -s $system "$root/nix/var/nix/profiles/system" && cp "$ROUSE" "$root/rouse" &&
		printf '#!/bin/sh\necho activate >> /asked\n' > "$root$system/activate" &&
		echo kernel > "$root$system/kernel" && echo initrd > "$root$system/initrd" &&
		printf '#!/bin/sh\necho "$*" >> /asked\n[ "$1" != --version ] || cat /version\n' > "$root/usr/bin/systemctl" &&
		chmod 755 "$root$system/activate" "$root/usr/bin/systemctl" &&
		echo '{ "document": "/web.json" }' > "$root/agent.json" && chmod 600 "$root/agent.json"
}

boot() # MODE VERSION: what systemd was asked, in $asked
{
	echo "{ \"rouse\": 1, \"handoff\": { \"mode\": \"$1\" } }" > "$root/web.json"
	echo "systemd $2 ($2.1)" > "$root/version"
	: > "$root/asked"
	# A kernel that forbids kexec says so as one does to who may not ask for it
	chroot "$root" setpriv --bounding-set -sys_boot /rouse boot --settings /agent.json > "$work/out" 2>&1
	status=$?
	asked=$(grep -v version "$root/asked" | tr '\n' '|')
}

if ! prepare > "$work/prepare" 2>&1; then
	sed 's/^/# /' "$work/prepare"
	printf '1..1\nnot ok 1 - %s\n' 'cannot make a root'
	exit 1
fi

boot soft-reboot 252
ok "soft-reboot without a systemd that has it: the document is refused" equal "$status $asked" '78 '
ok "soft-reboot without a systemd that has it: the agent says so" contains "$work/out" 'needs systemd 254, and this machine has 252'
boot soft-reboot 257
ok "soft-reboot: the system is activated, and then userspace starts anew" equal "$status $asked" \
	'0 activate|--no-block soft-reboot|'
ok "soft-reboot: the next run knows why this one ended" equal "$(cat "$root/run/rouse/soft-reboot")" $system
boot soft-reboot 257
ok "soft-reboot that has led to nothing: it is not done for ever" equal "$status $asked" '0 '
ok "soft-reboot that has led to nothing: the agent says so" contains "$work/out" 'was started, and is not what runs'
rm "$root/run/rouse/started"
ln -s $system "$root/run/current-system"
boot soft-reboot 257
ok "soft-reboot into what runs already: nothing is to be done" equal "$status $asked" '0 '
rm "$root/run/current-system"
boot kexec 252
ok "kexec that the kernel forbids: the boot goes on" equal "$status $asked" '0 '
ok "kexec that the kernel forbids: the agent says why" contains "$work/out" "does not load that of '$system' .*the boot goes on with this kernel"
tap_end
