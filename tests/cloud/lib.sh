# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# What the tests of this folder share: a network, a host name and mounts of their own. To be read from the top of
# the source tree, for checks as well; `enter NAME SECONDS "$@"` comes first, and sets $work, a directory for the test.

ROUSE=${ROUSE:-build/rouse}
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh

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
