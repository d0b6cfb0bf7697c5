#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What people mistype: the message says what is wrong and what may be meant, and nothing is lost.
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

path=rm3nwk47a3ndgdwxiwv79qakfp4zfr52-web-24.05
ok "a name is no store path" refuses 64 "'htop' is not a store path, \"/nix/store/HASH-NAME\"; \`rouse lock\`" pull htop "--cache=file://$W"
ok "a path without its store" refuses 64 "did you mean '/nix/store/$path'?" pull "$path" "--cache=file://$W"
ok "a path within a path" refuses 64 "did you mean '/nix/store/$path'?" pull "/nix/store/$path/bin/sh" "--cache=file://$W"
ok "a directory is no cache" refuses 64 "did you mean 'file:///srv/cache'?" pull "/nix/store/$path" --cache /srv/cache
ok "a host is no cache" refuses 64 "did you mean 'https://cache.example'?" pull "/nix/store/$path" --cache cache.example
ok "a password is not repeated" refuses 64 "'https://cache.example/' is not" pull "/nix/store/$path" --cache 'https://me:secret@cache.example/?token=secret'
ok "… nowhere" sh -c "! grep -q secret '$W/out'"
ok "a cache that is not there" refuses 78 "'file://$W/none' (no such directory)" pull "/nix/store/$path" --cache "file://$W/none" --store "$W/root"
ok "a cache without the path" refuses 78 "'file://$W' (not there)" pull "/nix/store/$path" --cache "file://$W" --store "$W/root"
for command in gc generations rollback; do
	ok "$command of no root" refuses 71 "cannot open the root directory '$W/none'" "$command" --root "$W/none"
done
ok "no report" refuses 71 "'$W/none'" analyze --report "$W/none"

cd "$W" || exit 1
"$ROUSE" keygen mine >public
cp mine.secret before
ok "a key that is there" refuses 71 "'mine.secret' is there already, and no key is ever overwritten" keygen mine
ok "… stays" cmp before mine.secret

echo '{"requireSignatur": true, "deadline": 5}' >agent.json
ok "settings with two slips" refuses 78 'agent.json:1:2: requireSignatur: unknown key, did you mean "requireSignature"?' check --settings agent.json
ok "… both are said" contains out '^agent.json:1:39: deadline: expected a duration'
echo '{"requireSignature": true}' >agent.json
ok "settings that demand what cannot be" refuses 78 'agent.json:1:22: requireSignature: no signature can be right without' check --settings agent.json
ok "settings that are not there" refuses 71 "rouse: check: cannot open 'none.json'" check --settings none.json
tap_end
