#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A cache that is 40 ms away: archives are asked for before there is memory to unpack them, and wait.
# shellcheck source=tests/cache/world.sh
. "$(dirname "$0")/world.sh"
enter 900 "$0"

begin_world
make_closure --arg units 30 --arg parts 6 || { printf '1..1\nnot ok 1 - %s\n' "Nix does not build the closure"; exit 1; }
list_closure >"$W/names"
describe /nix/store "$W/names" >"$W/original"
make_cache zstd zstd || { printf '1..1\nnot ok 1 - %s\n' "no cache"; exit 1; }
echo "access_log $W/connections connection;" >"$W/locations.conf"
serve

# The line: every byte goes on 20 ms later, each way.
exec 3< <("$(dirname "$ROUSE")/bench/delay" "${HTTP##*:}" 20)
line=$!
trap 'kill $line 2>/dev/null; leave' EXIT
read -r port <&3
FAR=http://127.0.0.1:$port

same() { # same DIR
	describe "$1/nix/store" "$W/names" >"$W/pulled" && diff "$W/original" "$W/pulled" >"$W/out"
}
archive() { # archive NAME: the file of the path -NAME in $W/zstd
	local path
	path=$(nix-store -qR "$TOP" | grep -- "-$1\$")
	sed -n 's/^URL: //p' "$W/zstd/${path:11:32}.narinfo"
}

ok "pulls" pull "$W/all" "$FAR/zstd" -- --json
ok "every_path_is_fetched" [ "$(sed -n 's/.*"closure.fetched": \([0-9]*\).*/\1/p' "$W/out")" = "$(wc -l <"$W/names")" ]
ok "the_same_to_the_bit" same "$W/all"
ok "nothing_is_left_over" no_leftovers "$W/all"
# More at once than a worker may unpack at once.
: >"$W/connections"
ok "one_worker_pulls" pull "$W/one" "$FAR/zstd" -- --jobs 1
ok "it_asks_for_many_ahead" [ "$(grep ' /zstd/nar/' "$W/connections" | cut -d ' ' -f 1 | sort -u | wc -l)" -gt 24 ]

# A server of HTTP/2 would send them all over one connection, where each waits for all others.
exec 4< <("$(dirname "$ROUSE")/bench/delay" "${HTTPS##*:}" 20)
tls_line=$!
trap 'kill $line $tls_line 2>/dev/null; leave' EXIT
read -r port <&4
: >"$W/connections"
ok "pulls_over_tls" pull "$W/tls" "https://localhost:$port/zstd" -- --jobs 1
ok "over_tls_it_is_the_same" same "$W/tls"
ok "narinfos_share_a_connection" [ "$(grep 'narinfo HTTP/2' "$W/connections" | cut -d ' ' -f 1 | sort -u | wc -l)" = 1 ]
ok "archives_have_their_own" [ "$(grep '/nar/.* HTTP/1.1' "$W/connections" | cut -d ' ' -f 1 | sort -u | wc -l)" -gt 24 ]

# What waits is checked like everything else.
cp -r "$W/zstd" "$W/bad"
printf damaged | dd of="$W/bad/$(archive part-4)" bs=1 seek=500000 conv=notrunc status=none
pull "$W/untrusted" "$FAR/bad"
ok "damage_is_untrusted" [ $? = 77 ]
ok "damage_is_named" grep -q -- '-part-4.* hashes to ' "$W/out"
ok "the_damaged_path_is_not_there" [ -z "$(find "$W/untrusted/nix/store" -maxdepth 1 -name '*-part-4')" ]
ok "another_cache_has_it" pull "$W/untrusted" "$FAR/bad" "$HTTP/zstd"
ok "then_it_is_the_same" same "$W/untrusted"

# A pull that is killed while archives wait, and the next one.
"$ROUSE" pull --cache "$FAR/zstd" --key "$KEY" --store "$W/killed" "$TOP" >"$W/out" 2>&1 &
sleep 0.6
{ kill -9 $!; wait $!; } 2>/dev/null
ok "a_killed_pull_goes_on" pull "$W/killed" "$FAR/zstd"
ok "to_the_same_end" same "$W/killed"
ok "without_leftovers" no_leftovers "$W/killed"

finish
