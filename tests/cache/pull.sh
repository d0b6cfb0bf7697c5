#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Pulls a closure of real Nix from real caches, over every way there is, and compares.
# shellcheck source=tests/cache/world.sh
. "$(dirname "$0")/world.sh"
enter 900 "$0"

begin_world
make_closure || { printf '1..1\nnot ok 1 - %s\n' "Nix does not build the closure"; exit 1; }
list_closure >"$W/names"
describe /nix/store "$W/names" >"$W/original"
for c in zstd xz none gzip bzip2 br; do
	make_cache "$c" "$c" || { printf '1..1\nnot ok 1 - %s\n' "no cache '$c'"; exit 1; }
done
serve

same() { # same DIR
	describe "$1/nix/store" "$W/names" >"$W/pulled" && diff "$W/original" "$W/pulled" >"$W/out"
}
only_closure() { # nothing else is in the store
	(cd "$1/nix/store" && printf '%s\n' * .[!.]*) | grep -vx '\.\[!\.\]\*' | sort | diff - "$W/names" >"$W/out"
}
# What real Nix says of the store, and of its database, that rouse filled.
nix_verifies() {
	mount --bind "$1/nix" /nix
	nix-store --load-db <"$1/nix/var/nix/rouse/registration" 2>"$W/out" &&
		[ "$(nix-store -qR "$TOP" | wc -l)" = "$(wc -l <"$W/names")" ] &&
		nix-store --verify --check-contents >"$W/out" 2>&1 && ! grep -i error "$W/out"
	local r=$?
	umount /nix
	return $r
}
fetched() { # the counter of the last --json pull
	sed -n "s/.*\"closure.$1\": \([0-9]*\).*/\1/p" "$W/out"
}

for c in zstd xz none gzip bzip2 br; do
	ok "file_${c}_pulls" pull "$W/d-$c" "file://$W/$c" -- --json
	ok "file_${c}_fetches_every_path" [ "$(fetched fetched)" = "$(wc -l <"$W/names")" ]
	ok "file_${c}_is_the_same_to_the_bit" same "$W/d-$c"
	ok "file_${c}_leaves_nothing_else" only_closure "$W/d-$c"
done
ok "nix_finds_nothing_wrong" nix_verifies "$W/d-zstd"
for way in HTTP HTTPS; do
	for c in zstd xz none; do
		ok "${way}_${c}_pulls" pull "$W/$way-$c" "${!way}/$c"
		ok "${way}_${c}_is_the_same_to_the_bit" same "$W/$way-$c"
	done
done
ok "https_uses_http2" grep -q 'HTTP/2.0' "$W/access.log"

: >"$W/access.log"
ok "second_pull_succeeds" pull "$W/HTTP-zstd" "$HTTP/zstd" -- --json
ok "second_pull_asks_nobody" [ ! -s "$W/access.log" ]
ok "second_pull_fetches_nothing" [ "$(fetched fetched)" = 0 ]

# What would be done, and whether a cache has it all.
mkdir "$W/dry"
ok "dry_run_succeeds" pull "$W/dry" "$HTTP/zstd" -- --dry-run
ok "dry_run_says_the_sizes" grep -q "would pull $(wc -l <"$W/names") of .* MiB, .* to download" "$W/out"
ok "dry_run_writes_nothing" [ -z "$(ls -A "$W/dry")" ]
ok "root_that_is_not_there_is_made" "$ROUSE" pull --cache "$HTTP/zstd" --key "$KEY" --store "$W/made/" "$TOP"
ok "it_has_the_store" [ -d "$W/made/nix/store" ]
ok "json_lists_every_path" [ "$(pull "$W/json" "$HTTP/zstd" -- --json --jobs 1; grep -c '"milliseconds"' "$W/out")" = "$(wc -l <"$W/names")" ]
if command -v script >/dev/null; then
	clears() { # clears TEXT [OPTION…]: on a terminal, what is said takes the place of how far it was
		script -qec "$ROUSE pull --cache $HTTP/zstd --key $KEY --store $W/terminal $TOP ${*:2}" /dev/null >"$W/out" 2>&1
		grep -qF $'\r\033[K'"$1" "$W/out"
	}
	ok "dry_run_has_a_line_of_its_own" clears " " --dry-run
	ok "check_has_a_line_of_its_own" clears "whole" --check
fi
ok "check_of_a_whole_closure" pull "$W/dry" "$HTTP/xz" -- --check
ok "check_says_so" grep -q "whole: $(wc -l <"$W/names") paths" "$W/out"
ok "check_writes_nothing" [ -z "$(ls -A "$W/dry")" ]
cp -r "$W/zstd" "$W/holes"
lib=$(nix-store -qR "$TOP" | grep -- -lib-1.0)
rm "$W/holes/$(sed -n 's/^URL: //p' "$W/holes/${lib:11:32}.narinfo")"
app=$(nix-store -qR "$TOP" | grep -- -app-2.1)
echo garbage >"$W/holes/$(sed -n 's/^URL: //p' "$W/holes/${app:11:32}.narinfo")"
rm "$W/holes/$(nix-store -qR "$TOP" | sed -n 's|.*/\([a-z0-9]*\)-unit-7.service|\1|p').narinfo"
pull "$W/dry" "$HTTP/holes" -- --check
ok "check_of_holes_is_as_bad_as_the_worst" [ $? = 77 ]
ok "check_names_every_hole" [ "$(grep -cE -- "-lib-1.0|-app-2.1|-unit-7.service" "$W/out")" = 3 ]
ok "check_counts_them" grep -q "3 problems" "$W/out"
# … also behind a path that nobody vouches for.
sed -i 's/^Sig: test-1:..../Sig: test-1:AAAA/' "$W/holes/${app:11:32}.narinfo"
pull "$W/dry" "$HTTP/holes" -- --check
ok "check_looks_behind_a_wrong_signature" [ "$(grep -cE -- "-lib-1.0|-app-2.1.* signature|-unit-7.service" "$W/out")" = 3 ]
# What no signature covers, and a pull does without.
cp -r "$W/zstd" "$W/careless"
sed -i 's/^FileSize: .*/FileSize: 20000000/' "$W/careless/${lib:11:32}.narinfo"
other=$(sed -n 's/^FileHash: //p' "$W/careless/${lib:11:32}.narinfo")
sed -i "s/^FileHash: .*/FileHash: $other/" "$W/careless/${app:11:32}.narinfo"
pull "$W/dry" "$HTTP/careless" -- --check
ok "check_of_a_wrong_narinfo_says_what_to_correct" [ $? = 78 ]
ok "check_compares_the_size_of_the_file" grep -q -- "-lib-1.0' .*its FileSize is" "$W/out"
ok "check_compares_the_hash_of_the_file" grep -q -- "-app-2.1' .*its FileHash is '$other'" "$W/out"
ok "check_counts_both" grep -q "2 problems" "$W/out"
ok "a_pull_does_without" pull "$W/careless-store" "$HTTP/careless"

# Private caches.
printf 'machine localhost login me password canary\n' >"$W/netrc"
ok "private_cache_pulls_with_netrc" pull "$W/private" "$HTTPS/private/basic" -- --netrc "$W/netrc"
ok "private_cache_is_the_same" same "$W/private"
printf 'machine elsewhere login me password canary\n' >"$W/netrc"
mkdir "$W/denied"
pull "$W/denied" "$HTTPS/private/basic" -- --netrc "$W/netrc"
ok "private_cache_denies_others" [ $? = 78 ]
ok "private_cache_says_so" grep -q "access denied" "$W/out"

# umask must not show.
(umask 077; pull "$W/umask" "file://$W/zstd")
ok "umask_077_does_not_show" same "$W/umask"
# Nor must a list of access that the store hands down.
mkdir -p "$W/acl/nix/store"
python3 -c 'import os, struct, sys
os.setxattr(sys.argv[1], "system.posix_acl_default", struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, 7 if tag == 1 else 0, 0xffffffff) for tag in (1, 4, 32)))' "$W/acl/nix/store"
ok "pulls_where_a_store_hands_an_acl_down" pull "$W/acl" "file://$W/zstd"
ok "the_acl_does_not_show" same "$W/acl"

# Profiles.
profile=/nix/var/nix/profiles/system
pull "$W/d-zstd" "file://$W/zstd" -- --profile /nix/store/profile
ok "profile_in_the_store_is_usage" [ $? = 64 ]
pull "$W/d-zstd" "file://$W/zstd" -- --profile ../profile
ok "profile_that_is_relative_is_usage" [ $? = 64 ]
ok "profile_becomes_generation_1" pull "$W/d-zstd" "file://$W/zstd" -- --profile $profile
ok "profile_points_to_the_path" [ "$(readlink "$W/d-zstd$profile-1-link")" = "$TOP" ]
ok "profile_is_a_relative_link" [ "$(readlink "$W/d-zstd$profile")" = system-1-link ]
ok "profile_stays_when_nothing_changes" pull "$W/d-zstd" "file://$W/zstd" -- --profile $profile
ok "profile_has_one_generation" [ ! -e "$W/d-zstd$profile-2-link" ]

# A second system that shares most of its paths.
old=$TOP
make_closure --arg units 61
make_cache zstd zstd
ok "update_pulls" pull "$W/d-zstd" "file://$W/zstd" -- --json --profile $profile
ok "update_fetches_only_what_is_new" [ "$(fetched fetched)" = 2 ]
ok "update_is_generation_2" [ "$(readlink "$W/d-zstd$profile")" = system-2-link ]
TOP=$old
ok "going_back_makes_another_generation" pull "$W/d-zstd" "file://$W/zstd" -- --profile $profile
ok "going_back_is_generation_3" [ "$(readlink "$W/d-zstd$profile-3-link")" = "$TOP" ]

# What lies in the store without being registered is not believed.
name=${TOP#/nix/store/}
mkdir -p "$W/litter/nix/store/$name/sub" "$W/litter/nix/store/.rouse-staging-00000000/x"
echo wrong >"$W/litter/nix/store/$name/sub/file"
chmod 555 "$W/litter/nix/store/$name/sub"
ok "litter_gives_way" pull "$W/litter" "file://$W/zstd"
ok "litter_is_replaced_by_the_path" same "$W/litter"
ok "litter_of_interrupted_runs_is_removed" only_closure "$W/litter"
mkdir -p "$W/planted/nix/store" "$W/outside"
ln -s "$W/outside" "$W/planted/nix/store/$name"
ok "planted_link_gives_way" pull "$W/planted" "file://$W/zstd"
ok "planted_link_is_not_followed" [ -z "$(ls "$W/outside")" ]
ok "planted_link_is_replaced" same "$W/planted"

# A registered path that someone removed is pulled again.
rm -rf "$W/HTTP-xz/nix/store/$name"
ok "removed_path_is_pulled_again" pull "$W/HTTP-xz" "$HTTP/xz" -- --json
ok "removed_path_is_the_only_one" [ "$(fetched fetched)" = 1 ]

# Pins.
hash=$(nix-store -q --hash "$TOP")
saved=$TOP
TOP="$saved#$hash"
ok "pin_in_nix32_matches" pull "$W/pin1" "file://$W/none"
TOP="$saved#sha256:$(nix-hash --type sha256 --to-base16 "${hash#sha256:}")"
ok "pin_in_hex_matches" pull "$W/pin2" "file://$W/none"
TOP="$saved#sha256-$(printf '%064d' 0 | xxd -r -p | base64)"
pull "$W/pin3" "file://$W/none"
ok "pin_that_differs_is_untrusted" [ $? = 77 ]
ok "pin_that_differs_leaves_nothing" [ ! -e "$W/pin3/nix/store" ]
TOP=$saved

finish
