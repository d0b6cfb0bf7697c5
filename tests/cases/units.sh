#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What "units" makes of a root, beside what systemctl makes of the same; judged by systemd-analyze.
cd "$(dirname "$0")/../.." || exit 1
ROUSE=$(realpath "${ROUSE:-build/rouse}")
for program in systemctl systemd-analyze; do
	command -v $program >/dev/null || { echo "1..0 # SKIP needs $program"; exit 0; }
done
W=$(mktemp -d) || exit 1
trap 'rm -rf "$W"' EXIT
n=0 failed=0
ok() { # ok NAME COMMAND…
	local name=$1
	shift
	n=$((n + 1))
	if "$@"; then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		sed 's/^/# /' "$W/out" | head -n 20
		failed=1
	fi
}
says() {
	grep -qF -- "$1" "$W/out"
}
r=$W/root j=$W/judge
etc=/etc/systemd/system lib=/usr/lib/systemd/system
unit() { # unit NAME INSTALL-LINE…: a unit that a package brings
	local name=$1 root
	shift
	for root in "$r" "$j"; do
		mkdir -p "$root$lib" "$root$etc"
		printf '[Unit]\nDescription=%s\n[Service]\nExecStart=/bin/true\n[Install]\n' "$name" >"$root$lib/$name"
		printf '%s\n' "$@" >>"$root$lib/$name"
	done
}
unit web.service WantedBy=multi-user.target Alias=www.service Also=helper.service
unit helper.service 'RequiredBy=a.target b.target'
unit many.service WantedBy=a.target WantedBy= 'WantedBy=b.target \' '# a comment' '  c.target'
unit get@.service 'WantedBy=get-%i.target %p.target' DefaultInstance=one
unit bare@.service WantedBy=multi-user.target
unit static.service
unit on.service WantedBy=multi-user.target
for root in "$r" "$j"; do
	systemctl --root "$root" enable -q on.service 2>/dev/null
done
document() { # document UNITS
	printf '{ "rouse": 1, "units": { %s } }\n' "$1" >"$W/document"
}
run() {
	"$ROUSE" "$1" --root "$r" --only units "${@:2}" "$W/document" >"$W/out" 2>&1
}
same() { # the same links, wherever in the root they lead
	diff <(cd "$r$etc" && find . -type l -printf '%p %f\n' | sort) <(cd "$j$etc" && find . -type l -printf '%p %f\n' | sort) >"$W/out"
}

for name in web.service many.service get@.service get@two.service bare@x.service; do
	document "\"$name\": { \"enable\": true }"
	ok "enables_${name}" run apply --yes
	systemctl --root "$j" enable -q "$name" 2>/dev/null
	ok "enables_${name}_as_systemctl_does" same
	run plan
	ok "plan_of_enabled_${name}_is_empty" says "nothing to change"
	ok "systemctl_says_${name}_is_enabled" [ "$(systemctl --root "$r" is-enabled "${name/get@./get@one.}")" = enabled ]
	document ''
	ok "without_a_document_${name}" run apply --yes
	systemctl --root "$j" disable -q "$name" "${name/get@./get@one.}" helper.service 2>/dev/null
	ok "without_a_document_${name}_is_as_it_was" same
done
document '"on.service": { "enable": false }'
ok "disables" run apply --yes
ok "disables_says_so" says "disable on.service: remove $etc/multi-user.target.wants/on.service"
systemctl --root "$j" disable -q on.service 2>/dev/null
ok "disables_as_systemctl_does" same
run plan
ok "plan_of_disabled_is_empty" says "nothing to change"
document ''
ok "without_a_document_it_is_enabled_again" run apply --yes
systemctl --root "$j" enable -q on.service 2>/dev/null
ok "enabled_again_as_before" same
document '"on.service": { "mask": true }'
ok "masks" run apply --yes
ok "systemctl_says_it_is_masked" [ "$(systemctl --root "$r" is-enabled on.service)" = masked ]
run plan
ok "plan_of_masked_is_empty" says "nothing to change"
document '"on.service": {}'
run apply --yes
ok "without_mask_it_is_not" [ "$(systemctl --root "$r" is-enabled on.service)" = enabled ]

# Whole units and drop-ins.
document '"app.service": { "enable": true, "contents": "[Unit]\nDescription=The app\n\n[Service]\nExecStart=/bin/true\n\n[Install]\nWantedBy=multi-user.target\n",
	"dropIns": { "10-limits.conf": "[Service]\nLimitNOFILE=65536\n" } },
	"on.service": { "dropIns": { "a.conf": "[Service]\nNice=5\n" } }'
ok "writes_units" run apply --yes
ok "a_unit_is_what_the_document_says" [ "$(head -n 2 "$r$etc/app.service" | tail -n 1)" = "Description=The app" ]
ok "a_unit_is_enabled" [ "$(readlink "$r$etc/multi-user.target.wants/app.service")" = $etc/app.service ]
ok "a_drop_in_is_written" grep -q Nice=5 "$r$etc/on.service.d/a.conf"
mkdir -p "$r/bin" && : >"$r/bin/true" && chmod +x "$r/bin/true"
for target in sysinit basic shutdown multi-user; do
	printf '[Unit]\nDescription=x\n' >"$r$lib/$target.target"
done
verify() {
	systemd-analyze --root "$r" --man=no verify app.service on.service >"$W/out" 2>&1 && [ ! -s "$W/out" ]
}
ok "systemd_analyze_finds_nothing_wrong" verify
run plan
ok "plan_of_written_is_empty" says "nothing to change"
before=$(find "$r" -printf '%p %i %T@ %C@\n' | sort | sha256sum)
ok "second_apply" run apply --yes
ok "second_apply_writes_nothing" [ "$(find "$r" -printf '%p %i %T@ %C@\n' | sort | sha256sum)" = "$before" ]
document '"on.service": { "dropIns": { "a.conf": "[Service]\nNice=6\n" } }'
ok "a_document_without_it" run apply --yes
ok "a_unit_goes_with_its_document" [ ! -e "$r$etc/app.service" ]
ok "its_link_goes_too" [ ! -L "$r$etc/multi-user.target.wants/app.service" ]
ok "a_drop_in_changes" grep -q Nice=6 "$r$etc/on.service.d/a.conf"

# What cannot be.
refused() { # refused NAME WORD UNITS
	document "$3"
	run apply --yes
	ok "$1_is_refused" [ $? = 78 ]
	ok "$1_says_why" says "$2"
}
refused unknown_unit "this machine has no such unit" '"nowhere.service": { "enable": true }'
refused template_without_instance "is a template without a DefaultInstance" '"bare@.service": { "enable": true }'
refused static_unit "names nothing that would start it" '"static.service": { "enable": true }'
mkdir -p "$r/etc" && : >"$r/etc/NIXOS"
refused closure_in_an_image "are its own" '"on.service": { "mask": true }'

echo "1..$n"
exit $failed
