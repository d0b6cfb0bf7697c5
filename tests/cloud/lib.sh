# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2034 # the script that reads this file uses what is set here
# What the tests of this folder share: a network, a host name and mounts of their own, and TAP. To be read from
# the top of the source tree; `enter NAME SECONDS "$@"` comes first, and sets $work, a directory for the test.
# What a failure shows is in the files of $evidence, below $work.

ROUSE=${ROUSE:-build/rouse}
failed=0 count=0 status='' evidence='out'

enter() {
	[ "$(id -u)" = 0 ] || { echo '1..0 # SKIP needs root' && exit 0; }
	if [ "${3:-}" != inside ]; then
		work=$(mktemp -d "/tmp/rouse-$1-XXXXXX")
		trap 'rm -rf "$work"' EXIT
		timeout "$2" unshare --net --uts --mount --propagation private "$0" inside "$work"
		exit $?
	fi
	work=$4
}

ok() { # NAME CONDITION…
	name=$1
	shift
	count=$((count + 1))
	if "$@"; then
		echo "ok $count - $name"
		return
	fi
	failed=1
	echo "not ok $count - $name"
	echo "# exit status ${status:-unknown}"
	# shellcheck disable=SC2086 # several names
	(cd "$work" && sed 's/^/# /' $evidence 2>/dev/null)
}
