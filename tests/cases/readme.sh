#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the README shows as a document is one, what it shows of the picture is what is drawn, and what it and
# the manual call exists.
set -u
cd "$(dirname "$0")/../.." || exit 1
ROUSE=${ROUSE:-build/rouse}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
echo 1..5

awk '/^```json$/ { on = !done; next } /^```$/ { done += on; on = 0 } on' README.md >"$tmp/document.json"
if "$ROUSE" check "$tmp/document.json" >"$tmp/out" 2>&1; then
	echo 'ok 1 - the first document is valid'
else
	echo 'not ok 1 - the first document is valid'
	sed 's/^/# /' "$tmp/out"
fi
awk '/^\/dev\/.*\(.*\)$/ { on = 1 } on && /^```$/ { exit } on' README.md | sed '/^$/d' >"$tmp/shown"
sed -n '/^\/dev\//,/^$/p' tests/cases/example-grow-root/expect | sed '/^$/d' >"$tmp/drawn"
if [ -s "$tmp/shown" ] && diff "$tmp/shown" "$tmp/drawn" >"$tmp/out"; then
	echo 'ok 2 - the picture is as it is drawn'
else
	echo 'not ok 2 - the picture is as it is drawn'
	sed 's/^/# /' "$tmp/out"
fi

# Each `rouse COMMAND --option` of both texts, against what the command says of itself
{ sed 's/#.*//' README.md; sed 's/\\-/-/g; s/^\.B[IR]* //; s/[".]//g' packaging/man/rouse.8.in; } |
	grep -o 'rouse [a-z][a-z]* [^`(]*--[a-z][a-z-]*' | grep -v '^rouse cloud-' >"$tmp/calls"
failed=
while read -r _ command rest; do
	help=$("$ROUSE" "$command" --help 2>/dev/null) || failed="$failed $command"
	for word in $rest; do
		case $word in
		--*) printf '%s\n' "$help" | grep -q -- "^  ${word%%=*}[][ =]" || failed="$failed $command:$word" ;;
		esac
	done
done <"$tmp/calls"
if [ "$(wc -l <"$tmp/calls")" -gt 10 ] && [ -z "$failed" ]; then
	echo 'ok 3 - the options that are shown exist'
else
	echo "not ok 3 - the options that are shown exist"
	echo "# $(wc -l <"$tmp/calls") calls, unknown:$failed"
fi
if "$ROUSE" help check | grep -q '^usage: rouse check ' && [ "$("$ROUSE" check --version)" = "$("$ROUSE" --version)" ] &&
	! "$ROUSE" help nothing >/dev/null 2>&1; then
	echo 'ok 4 - help and version are where people look for them'
else
	echo 'not ok 4 - help and version are where people look for them'
fi

# The commands that make images of that document
grep -o '^    \(truncate\|rouse plan\) [^#]*' README.md | sed "s,rouse,'$(realpath "$ROUSE")'," >"$tmp/commands"
mv "$tmp/document.json" "$tmp/web.json"
if ! command -v mkfs.xfs >/dev/null; then
	echo 'ok 5 - the images are planned as it is shown # SKIP needs mkfs.xfs'
elif [ "$(wc -l <"$tmp/commands")" = 2 ] && (cd "$tmp" && sh -e commands) >"$tmp/out" 2>&1 &&
	grep -q '^plan: [1-9]' "$tmp/out"; then
	echo 'ok 5 - the images are planned as it is shown'
else
	echo 'not ok 5 - the images are planned as it is shown'
	sed 's/^/# /' "$tmp/out"
fi
