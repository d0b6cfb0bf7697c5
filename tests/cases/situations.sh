#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# For each situation in the file of that name: the tests that show it are there.
set -u
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
tap_begin "$tmp/why"

shown() # TEST;…
{
	echo "$1" | sed 's/; */\n/g' > "$tmp/tests"
	[ -s "$tmp/tests" ] || return
	while read -r t; do
		case $t in
		*': '*) grep -qF -- "${t#*: }" "${t%%: *}" || { echo "no '${t#*: }' in ${t%%: *}"; return 1; } ;;
		*) [ -s "tests/cases/$t/expect" ] || { echo "no case '$t'"; return 1; } ;;
		esac
	done < "$tmp/tests"
}

grep -v '^#' tests/cases/situations > "$tmp/situations"
while IFS='|' read -r situation tests; do
	ok "${situation% }" shown "${tests# }"
done < "$tmp/situations"
tap_end
