#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Files that somebody has named to be written: only a regular one is replaced, and nothing is written through a link.
set -u
cd "$(dirname "$0")/../.." || exit 1
ROUSE=$(realpath "${ROUSE:-build/rouse}")
# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh
W=$(mktemp -d) || exit 1
trap 'rm -rf "$W"' EXIT
tap_begin "$W/why" "$W/out"

# refuses STATUS TEXT ARG...
refuses()
{
	want=$1 text=$2
	shift 2
	timeout 30 "$ROUSE" "$@" >"$W/out" 2>&1 </dev/null
	equal $? "$want" && { grep -qF -- "$text" "$W/out" || { echo "not said: $text"; return 1; }; }
}

cd "$W" || exit 1
# Whoever may write beside a file must not choose what root overwrites.
echo '{ "rouse": 1, "verdict": "ready", "phases": [] }' >report.json
echo precious >precious
for option in svg prometheus; do
	ln -s precious out.prom.new
	ok "$option is written past a link of another" timeout 30 "$ROUSE" analyze --report report.json --$option out.prom
	ok "… and through none" equal "$(cat precious)" precious
	rm -f out.prom out.prom.new
	ln -s precious out.prom
	ok "$option replaces no link" refuses 64 "'out.prom': it is a link" analyze --report report.json --$option out.prom
	ok "… and nothing behind it" equal "$(readlink out.prom) $(cat precious)" "precious precious"
	rm out.prom
done
ok "a directory is no file" refuses 64 "it is a directory" analyze --report report.json --svg .
ok "a directory that is not there" refuses 71 "--svg: cannot write 'none/a.svg': No such file" analyze --report report.json --svg none/a.svg
tap_end
