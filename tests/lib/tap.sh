# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# TAP (testanything.org) for scripts of checks; to be read from the top of the source tree.
#
#   tap_begin FILE [FILE]...    the first gets what a check says, and is shown with the others when it fails
#   ok NAME COMMAND [ARG]...    a check; returns whether it is right
#   equal GOT WANTED            checks for ok
#   contains FILE PATTERN
#   tap_end                     the plan, at the end; returns whether all were right

tap_begin()
{
	count=0 failures=0 tap_why=$1 tap_evidence=$*
}

ok()
{
	name=$1
	shift
	count=$((count + 1))
	if "$@" > "$tap_why" 2>&1; then
		echo "ok $count - $name"
		return 0
	fi
	echo "not ok $count - $name"
	# shellcheck disable=SC2086 # several names
	sed 's/^/#   /' $tap_evidence 2> /dev/null
	failures=$((failures + 1))
	return 1
}

equal()
{
	[ "$1" = "$2" ] || { echo "got '$1', wanted '$2'"; return 1; }
}

contains()
{
	grep -q -e "$2" "$1" || { echo "nothing like '$2' in ${1##*/}:"; tail -n 15 "$1"; return 1; }
}

tap_end()
{
	echo "1..$count"
	[ $failures = 0 ]
}
