#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The sections "caches", "system" and "profiles" of a document, against a real cache.
# shellcheck source=tests/cache/world.sh
. "$(dirname "$0")/world.sh"
enter 900 "$0"

begin_world
make_closure || { printf '1..1\nnot ok 1 - %s\n' "Nix does not build the closure"; exit 1; }
make_cache first zstd "$(nix-store -q --references "$TOP" | head -n 1)"
make_cache second xz
serve
sri() {
	printf 'sha256-%s' "$(nix-hash --type sha256 --to-base16 "$(nix-store -q --hash "$1" | cut -d: -f2)" | xxd -r -p | base64)"
}
app=$(nix-store -qR "$TOP" | grep -- -app-2.1)

document() { # document FILE SYSTEM-HASH [KEY]
	cat >"$1" <<-END
		{
		  "rouse": 1,
		  "caches": {
		    "away": { "url": "http://127.0.0.1:9", "keys": "${3:-$KEY}" },
		    "first": { "url": "$HTTP/first/", "keys": ["${3:-$KEY}"] },
		    "second": { "url": "$HTTPS/second", "keys": ["${3:-$KEY}"] }
		  },
		  "system": { "path": "$TOP", "narHash": "$2" },
		  "profiles": { "deploy": { "app": { "path": "$app" } } }
		}
	END
}
run() { # run COMMAND ROOT DOCUMENT [OPTION…]
	local command=$1 root=$2 document=$3
	shift 3
	mkdir -p "$root"
	"$ROUSE" "$command" --root "$root" --only closure "$@" "$document" >"$W/out" 2>&1
}
says() {
	grep -qF -- "$1" "$W/out"
}

document "$W/good" "$(sri "$TOP")"
profiles=/nix/var/nix/profiles
r=$W/root
"$ROUSE" check "$W/good" >"$W/out"
ok "check_accepts" says "valid"
ok "plan_succeeds" run plan "$r" "$W/good"
ok "plan_says_what_is_pulled_and_from_where" says "pull $TOP from away, first, second"
ok "plan_says_the_generation" says "make it system generation 1"
ok "plan_writes_nothing" [ -z "$(ls "$r")" ]
ok "apply_succeeds" run apply "$r" "$W/good" --yes
ok "apply_makes_the_system_generation" [ "$(readlink "$r$profiles/system-1-link")" = "$TOP" ]
ok "apply_switches_the_system" [ "$(readlink "$r$profiles/system")" = system-1-link ]
ok "apply_makes_the_users_generation" [ "$(readlink "$r$(readlink "$r$profiles/per-user/deploy/profile-1-link")/bin")" = "$app/bin" ]
ok "apply_takes_the_whole_closure" [ "$(find "$r/nix/store" -mindepth 1 -maxdepth 1 ! -name '*-profile' | wc -l)" = "$(list_closure | wc -l)" ]
ok "apply_leaves_the_registration_for_nix" [ -s "$r/nix-path-registration" ]
ok "applied_plan_is_empty" run plan "$r" "$W/good"
ok "applied_plan_says_so" says "nothing to change"
before=$(find "$r" -printf '%p %i %T@ %C@\n' | sort | sha256sum)
: >"$W/access.log"
ok "second_apply_succeeds" run apply "$r" "$W/good" --yes
ok "second_apply_writes_nothing" [ "$(find "$r" -printf '%p %i %T@ %C@\n' | sort | sha256sum)" = "$before" ]
ok "second_apply_asks_nobody" [ ! -s "$W/access.log" ]

# A private cache; its token is nowhere to be seen.
sed "s|\"url\": \"$HTTPS/second\",|\"url\": \"$HTTPS/private/token\", \"token\": \"canary\",|; s|.*\"away\".*||; s|.*\"first\".*||" "$W/good" >"$W/private.json"
make_cache zstd zstd
mkdir -p "$W/private.root"
ok "private_cache_applies" run apply "$W/private.root" "$W/private.json" --yes
ok "private_cache_tells_nobody" [ "$(grep -c canary "$W/out")" = 0 ]
"$ROUSE" lock "$W/private.json" --output "$W/private.lock" >"$W/out" 2>&1
ok "private_cache_is_locked" says "all signed"
ok "private_cache_lock_tells_nobody" [ "$(grep -c canary "$W/out")" = 0 ]
sed "s|/private/token|/private/basic|; s|\"token\": \"canary\"|\"netrc\": \"$W/netrc\"|" "$W/private.json" >"$W/basic.json"
"$ROUSE" lock "$W/basic.json" --output "$W/basic.lock" >"$W/out" 2>&1
ok "private_cache_is_not_locked_without_a_password" [ $? = 78 ]
printf 'machine localhost login me password canary\n' >"$W/netrc.here"
"$ROUSE" lock "$W/basic.json" --output "$W/basic.lock" --netrc "$W/netrc.here" >"$W/out" 2>&1
ok "private_cache_is_locked_with_a_netrc" says "all signed"
mv "$W/netrc.here" "$W/netrc"
"$ROUSE" lock "$W/basic.json" --output "$W/basic.lock" >"$W/out" 2>&1
ok "private_cache_is_locked_with_the_netrc_of_the_document" says "all signed"
sed -i 's|canary|wrong|' "$W/private.json"
mkdir -p "$W/private.none"
run apply "$W/private.none" "$W/private.json" --yes
ok "private_cache_refuses_another_token" [ $? = 78 ]
sed -i 's|https://localhost|http://localhost|' "$W/private.json"
"$ROUSE" check "$W/private.json" >"$W/out" 2>&1
ok "private_cache_needs_https" grep -q "can be told a secret" "$W/out"

# An update.
old=$TOP
make_closure --arg units 61
make_cache second xz
document "$W/next" "$(sri "$TOP")"
ok "update_plans" run plan "$r" "$W/next"
ok "update_is_generation_2" says "make it system generation 2"
ok "update_leaves_the_profile_alone" [ "$(grep -c generation "$W/out")" = 1 ]
ok "update_applies" run apply "$r" "$W/next" --yes
ok "update_switches" [ "$(readlink "$r$profiles/system-2-link")" = "$TOP" ]
ok "going_back_needs_no_cache" run apply "$r" "$W/good" --yes
ok "going_back_is_generation_3" [ "$(readlink "$r$profiles/system-3-link")" = "$old" ]
TOP=$old

# Documents that are refused change nothing.
refused() { # refused NAME STATUS WORD DOCUMENT
	rm -rf "$W/refused"
	run apply "$W/refused" "$4" --yes
	ok "$1_is_refused_with_$2" [ $? = "$2" ]
	ok "$1_says_why" says "$3"
	ok "$1_writes_nothing" [ -z "$(ls "$W/refused")" ]
}
document "$W/bad" "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
refused wrong_pin 77 "is pinned" "$W/bad"
nix-store --generate-binary-cache-key other-1 "$W/other.secret" "$W/other"
document "$W/bad" "$(sri "$TOP")" "$(cat "$W/other")"
refused wrong_key 77 "not a trusted key" "$W/bad"
sed "s|$TOP|/nix/store/0123456789abcdfghijklmnpqrsvwxyz-missing|; s|.*\"away\".*||" "$W/good" >"$W/bad"
refused missing_path 78 "0123456789abcdfghijklmnpqrsvwxyz-missing" "$W/bad"
sed '/"caches"/,/^  },/d' "$W/good" >"$W/bad"
refused no_caches 78 '"caches" names none' "$W/bad"
sed 's|"keys": "[^"]*"|"keys": []|' "$W/good" >"$W/bad"
refused cache_without_keys 78 '"keys" is empty' "$W/bad"
sed 's|http://127.0.0.1:9|ftp://bucket|' "$W/good" >"$W/bad"
refused cache_with_other_scheme 78 "caches.away.url" "$W/bad"
sed "s|$app|/nix/store/../../etc|" "$W/good" >"$W/bad"
refused path_out_of_the_store 78 "a store path" "$W/bad"

finish
