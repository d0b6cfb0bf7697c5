#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The NixOS module evaluates with Nix itself, and says what the units of packaging/systemd say.
# shellcheck disable=SC2317 # ok() calls the functions that look unreachable
set -u
cd "$(dirname "$0")/../.." || exit 1
command -v nix-instantiate > /dev/null || { echo '1..0 # SKIP needs nix-instantiate'; exit 0; }
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
export NIX_STORE_DIR="$dir/store" NIX_STATE_DIR="$dir/state" NIX_LOG_DIR="$dir/log" HOME="$dir"
export NIX_REMOTE='' NIX_CONF_DIR="$dir" NIX_PATH=''

count=0 failures=0
ok() # NAME COMMAND [ARG]...
{
	name=$1
	shift
	count=$((count + 1))
	if "$@" > "$dir/why" 2>&1; then
		echo "ok $count - $name"
	else
		echo "not ok $count - $name"
		sed 's/^/#   /' "$dir/why"
		failures=$((failures + 1))
	fi
}

# Is this (Python) true of the configuration `c`?
true_of() # FILE EXPRESSION
{
	python3 -c 'import json, sys; c = json.load(open(sys.argv[1])); sys.exit(0 if eval(sys.argv[2]) else print(c) or 1)' \
		"$1" "$2"
}

holds() # ENABLE INITRD[-scripted] EXPRESSION
{
	config=$dir/config.$1.$2
	systemd=true
	[ "$2" = "${2%-scripted}" ] || systemd=false
	[ -s "$config" ] || nix-instantiate --eval --strict --json --read-write-mode --arg enable "$1" --arg initrd "${2%-scripted}" \
		--arg systemd $systemd tests/lib/nixos.nix > "$config" || return
	true_of "$config" "$3"
}

# The same of an initrd with these programs, for this kind of processor
says() # X86 PROGRAMS EXPRESSION
{
	nix-instantiate --eval --strict --json --read-write-mode --arg initrd true --arg x86 "$1" --arg programs "$2" \
		tests/lib/nixos.nix > "$dir/config" && true_of "$dir/config" "$3"
}

# A value of a unit file of ours
value() # FILE KEY
{
	sed -n "s/^$2=//p" "packaging/systemd/$1"
}

ok "disabled, it says nothing" holds false false 'list(c) == ["options"]'
ok "its settings are a file of its own" holds true false \
	'json.load(open(c["environment"]["etc"]["rouse/agent.json"]["source"])) == {"document": "/etc/web.json"}'
ok "in an image, the boot is before sysinit.target" holds true false \
	'c["systemd"]["services"]["rouse"]["wantedBy"] == ["sysinit.target"] and "boot" not in c'
for unit in rouse rouse-health rouse-activate; do
	ok "$unit runs what its unit file runs" holds true false \
		"c['systemd']['services']['$unit']['serviceConfig']['ExecStart'] == '$(value "$unit.service" ExecStart | sed 's,/usr/sbin/,/rouse/bin/,')'"
	ok "$unit has the time that its unit file has" holds true false \
		"c['systemd']['services']['$unit']['serviceConfig']['TimeoutStartSec'] == '$(value "$unit.service" TimeoutStartSec)'"
	ok "$unit loses a worker, and is told of by it, as its unit file says" holds true false \
		"[c['systemd']['services']['$unit']['serviceConfig'].get(k, '') for k in ('OOMPolicy', 'NotifyAccess')] == [
			'$(value "$unit.service" OOMPolicy)', '$(value "$unit.service" NotifyAccess)']"
done
ok "in an initrd, the agent makes the root" holds false true \
	'c["boot"]["initrd"]["systemd"]["services"]["rouse-initrd"]["requiredBy"] == ["initrd-root-fs.target"]'
ok "in an initrd, a unit of which all was killed is started again" holds false true \
	"[c['boot']['initrd']['systemd']['services']['rouse-initrd']['serviceConfig'][k] for k in ('OOMPolicy', 'Restart')] == [
		'$(value rouse-initrd.service OOMPolicy)', '$(value rouse-initrd.service Restart)']"
ok "in an initrd, the system is that of init= only where the agent is off" holds false true \
	'all(c["boot"]["initrd"]["systemd"]["services"][s] == {"unitConfig": {"ConditionKernelCommandLine": "rouse=off"}}
		for s in ("initrd-find-nixos-closure", "initrd-nixos-activation"))'
ok "a filesystem of firmware has the kernel's code pages" holds false true \
	'{"vfat", "nls_cp437", "nls_iso8859-1"} <= set(c["boot"]["initrd"]["availableKernelModules"])'
ok "no module is asked for that only another processor's kernel has" says false '{ }' \
	'"vmw_pvscsi" not in c["boot"]["initrd"]["availableKernelModules"]'
ok "a program brings the kernel's modules for what it makes" says true '{ mdadm = "/m/bin/mdadm"; lvm = "/l/bin/lvm"; }' \
	'{"vmw_pvscsi", "raid1", "dm-thin-pool", "dm_crypt"} - set(c["boot"]["initrd"]["availableKernelModules"]) == {"dm_crypt"}'
ok "in a scripted initrd, no unit of one with systemd is said" holds false true-scripted \
	'"systemd" not in c["boot"]["initrd"] and "copy_bin_and_libs /rouse/bin/rouse" in c["boot"]["initrd"]["extraUtilsCommands"]'
ok "in an initrd, health is checked, and nothing is made twice" holds false true \
	'list(c["systemd"]["services"]) == ["rouse-health"]'
echo "1..$count"
exit $((failures > 0))
