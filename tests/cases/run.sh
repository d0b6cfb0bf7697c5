#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Documents (and recorded facts) against what rouse says about them. A case is a directory named by
# its rule:
#   document.json   the document, possibly broken
#   facts.json      facts of a machine, when a plan is wanted
#   options         of that plan: "--draw"
#   expect          what `rouse check document.json`, and with facts `rouse plan --facts`, print
#                   (stdout and stderr), each below a line "$ COMMAND: exit STATUS"
#
#   tests/cases/run.sh [--update] [CASE…]     --update writes expect: read the difference!
set -u
cd "$(dirname "$0")/../.." || exit 1
ROUSE=${ROUSE:-build/rouse}
case $ROUSE in /*) ;; *) ROUSE=$PWD/$ROUSE ;; esac
cd tests/cases || exit 1
update=
[ "${1-}" = --update ] && { update=1; shift; }
[ $# -gt 0 ] || set -- */
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
unset NO_COLOR
export LC_ALL=C

answer() { # DIR
	cd "$1" || exit 1
	text=$(timeout 60 "$ROUSE" check document.json 2>&1)
	printf '$ check: exit %s\n%s\n' $? "$text"
	if [ -e facts.json ]; then
		options=$(cat options 2>/dev/null)
		# shellcheck disable=SC2086 # words
		text=$(timeout 60 "$ROUSE" plan --facts facts.json $options document.json 2>&1)
		printf '$ plan: exit %s\n%s\n' $? "$text"
	fi
	cd ..
}

echo "1..$#"
n=0 failed=0
for dir; do
	dir=${dir%/} n=$((n + 1))
	answer "$dir" >"$tmp/actual"
	[ -n "$update" ] && cp "$tmp/actual" "$dir/expect"
	if cmp -s "$tmp/actual" "$dir/expect"; then
		echo "ok $n - $dir"
	else
		echo "not ok $n - $dir"
		diff -u "$dir/expect" "$tmp/actual" | sed 's/^/# /'
		failed=1
	fi
done
exit $failed
