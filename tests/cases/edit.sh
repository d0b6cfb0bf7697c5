#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `rouse edit`, `rouse check --origin`, and plan and apply without a document: against a root of our own,
# with editors that are scripts.
# shellcheck disable=SC2317 # ok() calls the functions that look unreachable
set -u
cd "$(dirname "$0")/../.." || exit 1
ROUSE=${ROUSE:-build/rouse}
case $ROUSE in /*) ;; *) ROUSE=$PWD/$ROUSE ;; esac
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
unset VISUAL EDITOR
umask 022
mkdir tmp
export LC_ALL=C TMPDIR="$work/tmp" ROUSE
overrides=root/etc/rouse/override.d
count=0
failed=0

ok() { # NAME CONDITION…
	name=$1
	shift
	count=$((count + 1))
	if "$@"; then
		echo "ok $count - $name"
	else
		failed=1
		echo "not ok $count - $name"
		{ echo "exit $status"; cat out; ls -l "$overrides" tmp; } 2>&1 | sed 's/^/# /'
	fi
}

# A machine that was booted with a document.
machine() {
	rm -rf root tmp/*
	mkdir -p root/run/rouse root/etc
	cat >root/run/rouse/layers.json <<-'EOF'
		{ "initramfs": false, "instance": { "id": "i-7", "tags": { "role": "web" } }, "layers": [ { "name": "web.json",
		  "text": "{ \"rouse\": 1,\n  \"hostname\": \"web-{instance.id}\",\n  \"users\": { \"ops\": { \"groups\": [\"wheel\"] }, \"amy\": { \"home\": \"/amy\" } },\n  \"files\": { \"/etc/motd\": { \"contents\": \"canary-7\\n\", \"mode\": \"0644\" } } }\n" } ] }
	EOF
	chmod 0600 root/run/rouse/layers.json
}

rouse() {
	timeout 60 "$ROUSE" "$@" >out 2>&1 </dev/null
	status=$?
}

# An editor: the text becomes what is on standard input.
editor() {
	cat >text
	printf '#!/bin/sh\ncat "%s/text" >"$1"\n' "$work" >editor
	chmod +x editor
	EDITOR=$work/editor
	export EDITOR
}

edit() {
	rouse edit --root root "$@"
}

says() { # EXIT TEXT
	[ "$status" = "$1" ] && grep -qF -- "$2" out
}

holds() { # FILE TEXT
	[ "$(tr -d ' \n' <"$1" 2>/dev/null)" = "$2" ]
}

absent() {
	[ ! -e "$1" ] && [ -z "$(ls tmp)" ]
}

mode_is() {
	[ "$(stat -c %a "$1")" = "$2" ]
}

machine
EDITOR='sed -i s/web-/db-/' && export EDITOR
edit hostname
ok 'edit writes an override' holds "$overrides/50-hostname.json" '{"hostname":"db-{instance.id}"}'
ok 'it says where' says 0 "$overrides/50-hostname.json: written"
ok 'what holds no secrets may be read' mode_is "$overrides/50-hostname.json" 644
ok 'the text is removed' [ -z "$(ls tmp)" ]
said=$(sed -n 's/^    rouse \(plan\|apply\) /\1 /p' out | sed 1q)
# shellcheck disable=SC2086
rouse $said
ok 'the plan that it names has the override' says 0 "'db-i-7'"
rouse apply --only hostname --root root
ok 'apply without a document applies it' holds root/etc/hostname 'db-i-7'
rouse plan --only hostname --root root
ok 'and then plans nothing' says 0 'nothing to change'
EDITOR=true edit hostname
ok 'an unchanged text writes nothing' says 0 unchanged
edit hostname --revert
ok 'revert removes the override' absent "$overrides/50-hostname.json"
rouse plan --only hostname --root root
ok 'and the document counts again' says 0 "'web-i-7'"
edit hostname --revert
ok 'revert without an override is fine' says 0 'no override'

editor <<'EOF'
# mine
{ "users": { "amy": null,
// why
    "bob": { "groups": ["wheel"] } } }
EOF
edit users
ok 'comments are not stored' holds "$overrides/50-users.json" '{"users":{"amy":null,"bob":{"groups":["wheel"]}}}'
ok 'what may hold secrets is private' mode_is "$overrides/50-users.json" 600
editor <<'EOF'
// nothing is left
EOF
edit users
ok 'an empty text removes the override' absent "$overrides/50-users.json"
editor <<'EOF'
{ "users": {} }
EOF
edit users
ok 'a text that says nothing writes none' absent "$overrides/50-users.json"

EDITOR='sed -i s/"wheel"/"adm"/' edit users --full
ok '--full stores what differs' holds "$overrides/50-users.json" '{"users":{"ops":{"groups":["adm"]}}}'
EDITOR="cp -t $work" edit users --full
ok '--full offers what the override made' grep -q '^ *"adm"' users.json
ok 'below it stands the document' grep -q '^// *"wheel"' users.json
EDITOR='sed -i s/"adm"/"wheel"/' edit users --full
ok '--full without a difference removes the override' absent "$overrides/50-users.json"
EDITOR="sed -i s/:/:/" edit files --full
ok 'no payload is printed' sh -c '! grep -q canary-7 out'

editor <<'EOF'
{
  "users": {
    "amy": { "grups": ["a"] } }
}
EOF
edit users
ok 'an error names the line of the edited text' says 78 'users.json:3:14: users.amy.grups: unknown key'
kept=$(sed -n "s/.*your text is in '\(.*\)'/\1/p" out)
ok 'the text is kept' grep -q grups "$kept"
ok 'for nobody else' mode_is "$(dirname "$kept")" 700
ok 'and nothing was written' [ ! -e "$overrides/50-users.json" ]
rm -rf tmp/*
EDITOR='sed -i 0,/wheel/s/"wheel"/7/' edit users --full
ok '--full, too' says 78 'users.json:9:9: users.ops.groups[0]: expected'
rm -rf tmp/*
printf '{ "users": {\n' | editor
edit users
ok 'broken JSON is named' says 78 'users.json:2:1: not JSON'
rm -rf tmp/*
echo '{ "users": {}, "files": { } }' | editor
edit users
ok 'other sections are refused' says 78 'files: this is the override of "users"'
rm -rf tmp/*
EDITOR='sh -c exit${IFS}3' edit users
ok 'a failing editor changes nothing' [ ! -e "$overrides/50-users.json" ]
rm -rf tmp/*
EDITOR=/nowhere/vi edit users
ok 'a missing editor is named' says 71 "/nowhere/vi"
rm -rf tmp/*
(unset EDITOR; edit users; echo "$status" >st)
status=$(cat st)
ok 'without a terminal an editor must be chosen' says 64 'neither VISUAL nor EDITOR'
edit usrs
ok 'an unknown section is refused' says 64 "did you mean 'users'"
edit from
ok 'the pointer to the base is no section' says 64 "no section is named 'from'"

editor <<'EOF'
{ "hostname": "mine" }
EOF
printf '#!/bin/sh\n%s edit --root root users >inner 2>&1\necho $? >>inner\n' "$ROUSE" >editor
edit hostname
ok 'a second edit at the same time is refused' grep -q 'another `rouse edit`' inner
ok 'with a status that says: try again' [ "$(tail -n 1 inner)" = 75 ]
mkdir -p "$overrides"
printf '#!/bin/sh\necho "{}" >%s/50-hostname.json\nsed -i s/web-/db-/ "$1"\n' "$overrides" >editor
edit hostname
ok 'what somebody else wrote meanwhile stays' says 71 'changed by somebody else'
rm -rf tmp/* "$overrides"

mkdir -p "$overrides"
echo '{ "hostname": "late" }' >"$overrides/90-site.json"
EDITOR='sed -i s/web-/db-/' edit hostname
ok 'a later override is named' says 0 "90-site.json' comes later"
rm "$overrides"/*
echo '{ "hostname": ' >"$overrides/50-hostname.json"
echo '{ "hostname": "whole" }' | editor
edit hostname
ok 'a broken override can be edited' holds "$overrides/50-hostname.json" '{"hostname":"whole"}'
chmod g+w "$overrides/50-hostname.json"
edit hostname
ok 'an override that others may write is refused' says 77 'may be written by others'
rouse plan --only hostname --root root
ok 'by plan, too' says 77 'may be written by others'
edit hostname --revert
ok 'but can be reverted' absent "$overrides/50-hostname.json"
ln -s ../../../run/rouse/layers.json "$overrides/50-hostname.json"
edit hostname
ok 'a link is refused' says 77 'symbolic link'
rm "$overrides/50-hostname.json"
mkdir -p root/etc/rouse
cat >root/etc/rouse/agent.json <<'EOF'
{ "caches": { "a": { "url": "https://a.example", "keys": ["a:nJmSRrKkSaK3neLsRLEQXFtTM365FwldyzZpxG20GS8="] } } }
EOF
cat <<'EOF' | editor
{ "caches": { "b": { "url": "https://b.example", "keys": ["b:nJmSRrKkSaK3neLsRLEQXFtTM365FwldyzZpxG20GS8="] } } }
EOF
edit caches
ok 'what the image forbids is refused when it is written' says 77 "cache 'b'"

machine
rm root/run/rouse/layers.json
edit hostname
ok 'a machine that rouse did not provision is refused' says 71 'has not provisioned this machine'
mkdir -p root/var/lib/rouse
echo '{ "rouse": 1, "hostname": "last" }' >root/var/lib/rouse/document.json
EDITOR='sed -i s/last/next/' edit hostname
ok 'the last document will do' holds "$overrides/50-hostname.json" '{"hostname":"next"}'
rouse plan --only hostname --root root
ok 'and is planned with its override' says 0 "'next'"
rouse plan ''
ok 'an empty name is no document' says 64 'name of the document is empty'

# An editor that is wrong first, and right when it is asked again.
machine
mkdir -p "$overrides"
printf '#!/bin/sh\n[ -e again ] && v=good || v=-bad\ntouch again\necho "{ \\"hostname\\": \\"$v\\" }" >"$1"\n' >editor
chmod +x editor
if command -v script >/dev/null; then
	echo y | EDITOR=$work/editor timeout 20 script -qec "$ROUSE edit --root root hostname" /dev/null >out 2>&1
	status=$?
	ok 'a terminal is asked' grep -q 'edit again?' out
	ok 'and the second text counts' holds "$overrides/50-hostname.json" '{"hostname":"good"}'
fi

cat >web.json <<'EOF'
{ "rouse": 1, "hostname": "web",
  "users": { "amy": {}, "bob": { "passwordHash": "$6$canary7$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" } },
  "files": { "/a": { "contents": "canary-7" } } }
EOF
mkdir ov
printf '{\n  "hostname": "over",\n  "users": { "amy": null }\n}\n' >ov/10-site.json
rouse check --origin --override ov web.json
ok 'origin names the layer of each value' says 0 'ov/10-site.json:2:15: hostname = "over"'
ok 'and the document' says 0 'web.json:1:12: rouse = 1'
ok 'what a layer took away is not there' sh -c '! grep -q amy out'
ok 'secrets are not printed' sh -c 'grep -q "contents = (secret)" out && ! grep -q canary out'
rouse check --origin --json --override ov web.json
ok 'origin prints JSON' python3 -c 'import json; o = {v["path"]: v for v in json.load(open("out"))}
assert (o["hostname"]["layer"], o["hostname"]["line"], o["hostname"]["value"]) == ("ov/10-site.json", 2, "over")
assert o["users.bob.passwordHash"]["secret"] and "value" not in o["users.bob.passwordHash"]'
echo '{ "hostnam": "x" }' >ov/20-wrong.json
rouse check --override ov web.json
ok 'overrides are checked with their document' says 78 'ov/20-wrong.json:1:3: hostnam: unknown key'

echo "1..$count"
exit "$failed"
