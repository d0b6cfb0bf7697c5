#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Files of equal content in a store, as hard links to one: "copy" in the closure has what a text has.
# shellcheck source=tests/cache/world.sh
. "$(dirname "$0")/world.sh"
enter 900 "$0"

begin_world
make_closure --arg units 5 || { printf '1..1\nnot ok 1 - %s\n' "Nix does not build the closure"; exit 1; }
make_cache cache zstd
list_closure >"$W/names"

quietly() {
	"$@" >"$W/out" 2>&1
}
content() { # content DIR: of all below its store, but how many names a file has
	(
		cd "$1/nix/store" || exit
		find . -path ./.links -prune -o -mindepth 1 -printf '%y %m %s %T@ %p %l\n' | sort
		find . -path ./.links -prune -o -type f -print0 | sort -z | xargs -0 sha256sum
	) >"$2"
}
one=$W/one two=$W/two
ok "files_of_equal_content_are_shared" pull "$one" "file://$W/cache" -- --deduplicate --json
ok "they_are_counted" [ "$(sed -n 's/.*"closure.sharedFiles": \([0-9]*\).*/\1/p' "$W/out")" -ge 1 ]
pull "$two" "file://$W/cache"
content "$one" "$W/c.one"
content "$two" "$W/c.two"
ok "shared_files_are_as_nix_made_them" cmp "$W/c.one" "$W/c.two"
ok "one_inode_has_both" [ "$(stat -c %i "$one"/nix/store/*-nixos-system-test-24.05/etc/copy)" = "$(stat -c %i "$one"/nix/store/*-text)" ]
ok "nothing_spare_is_left" [ -z "$(find "$one/nix/store" -name .link -o -name '.rouse-*')" ]
quietly nix-store --store "$one" --load-db <"$one/nix-path-registration"
ok "nix_finds_the_links_right" quietly nix-store --store "$one" --verify --check-contents
ok "nix_has_nothing_to_say_of_them" bash -c "! grep -E 'error|corrupt|hash of link' '$W/out'"
ok "nix_has_nothing_more_to_share" quietly nix-store --store "$one" --optimise
ok "nix_shares_no_file_more" grep -qF "0.00 MiB freed by hard-linking 0 files" "$W/out"
# One that a power cut left without its bytes, and what nothing needs any more.
rm -rf "$one/nix/var" "$one/nix-path-registration"
links=$one/nix/store/.links
shared=$(find "$links" -inum "$(stat -c %i "$one"/nix/store/*-text)")
rm -rf "${one:?}"/nix/store/[0-9a-z]*
: >"$shared.new" && mv "$shared.new" "$shared"
ok "a_link_that_lost_its_content_is_replaced" pull "$one" "file://$W/cache" -- --deduplicate
content "$one" "$W/c.one"
ok "then_all_is_right_again" cmp "$W/c.one" "$W/c.two"
ok "the_link_has_its_content_again" [ -s "$shared" ]
before=$(find "$links" -mindepth 1 | wc -l)
ok "until_then_there_are_links" [ "$before" -gt 10 ]
ok "collecting_removes_what_nothing_needs" quietly "$ROUSE" gc --root "$one" --keep 1
ok "its_links_go_too" [ "$before-$(find "$links" -mindepth 1 | wc -l)" = "$before-0" ]
finish
