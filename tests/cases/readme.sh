#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the README shows as a document is one, and what it shows of the picture is what is drawn.
set -u
cd "$(dirname "$0")/../.." || exit 1
ROUSE=${ROUSE:-build/rouse}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
echo 1..2

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
