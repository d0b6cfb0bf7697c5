#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A store that came with the image, made by Nix and not by rouse: only the difference is fetched, and a
# Nix that comes later is told.
# shellcheck source=tests/cache/world.sh
. "$(dirname "$0")/world.sh"
enter 900 "$0"

begin_world
make_closure --arg units 3 || { printf '1..1\nnot ok 1 - %s\n' "Nix does not build the closure"; exit 1; }
old=$TOP
list_closure >"$W/old"
nix-store --dump-db >"$W/all" 2>/dev/null
make_closure --arg units 5
list_closure >"$W/new"
make_cache cache none "$old" "$TOP"
make_list() { # the registration of a closure, as closureInfo writes it
	nix-store --dump-db >"$W/db"
	awk -v top="$1" 'BEGIN { while ((getline line < top) > 0) keep["/nix/store/" line] = 1 }
		{ path = $0; text = $0 "\n"
		  for (i = 0; i < 4; i++) { getline; text = text $0 "\n" }
		  n = $0; for (i = 0; i < n; i++) { getline; text = text $0 "\n" }
		  if (path in keep) printf "%s", text }' "$W/db"
}
make_list "$W/old" >"$W/registration"
more=$(comm -13 "$W/old" "$W/new" | wc -l)
document() { # document PATH
	cat >"$W/document" <<-END
		{ "rouse": 1, "caches": { "cache": { "url": "file://$W/cache", "keys": "$KEY" } }, "system": { "path": "$1" } }
	END
}
run() { # run COMMAND ROOT [OPTION…]
	"$ROUSE" "$1" --root "$2" --only closure "${@:3}" "$W/document" >"$W/out" 2>&1
}
says() {
	grep -qF -- "$1" "$W/out"
}
fetched() { # how many paths the last pull fetched
	python3 -c 'import json, sys; text = open(sys.argv[1]).read(); print(json.loads(text[text.index("{"):])["closure.fetched"])' "$W/out"
}
whole() {
	nix-store --verify --check-contents >"$W/out" 2>&1 && ! grep -E 'error|disappeared' "$W/out" &&
		[ "$(nix-store -qR "$TOP" | wc -l)" = "$(wc -l <"$W/new")" ]
}

# An image with the list beside the store, and no Nix.
r=$W/list
mkdir -p "$r/nix/store"
while read -r name; do cp -a "/nix/store/$name" "$r/nix/store/"; done <"$W/old"
cp "$W/registration" "$r/nix-path-registration"
document "$old"
ok "what_came_with_the_image_plans" run plan "$r"
ok "what_came_with_the_image_is_not_pulled" [ "$(grep -c pull "$W/out")" = 0 ]
ok "what_came_with_the_image_is_a_generation" run apply "$r" --yes
document "$TOP"
ok "the_difference_is_pulled" pull "$r" "file://$W/cache" -- --json
ok "the_difference_is_all_that_is_pulled" [ "$(fetched)" = "$more" ]
ok "all_of_it_is_registered" [ "$(grep -c '^[0-9a-f]\{64\}$' "$r/nix/var/nix/rouse/registration")" = "$(sort -u "$W/old" "$W/new" | wc -l)" ]
# A damaged list is no list.
r=$W/damaged
mkdir -p "$r/nix/store"
while read -r name; do cp -a "/nix/store/$name" "$r/nix/store/"; done <"$W/old"
head -c 700 "$W/registration" >"$r/nix-path-registration"
ok "a_damaged_list_is_passed_over" pull "$r" "file://$W/cache" -- --json
ok "without_a_list_all_is_pulled" [ "$(fetched)" = "$(wc -l <"$W/new")" ]
ok "a_damaged_list_is_written_anew" grep -q "^$TOP$" "$r/nix-path-registration"

# An image with a Nix and its database.
r=$W/nixed
mkdir -p "$r"
nix copy --no-check-sigs --to "$r" "$old" 2>/dev/null
mount --bind "$r/nix" /nix
document "$old"
ok "what_nix_has_plans" run plan /
ok "what_nix_has_is_not_pulled" [ "$(grep -c pull "$W/out")" = 0 ]
pull_here() {
	"$ROUSE" pull --cache "file://$W/cache" --key "$KEY" --json --profile /nix/var/nix/profiles/system "$TOP" >"$W/out" 2>&1
}
ok "the_difference_to_nix_is_pulled" pull_here
ok "the_difference_to_nix_is_all" [ "$(fetched)" = "$more" ]
ok "nix_knows_the_whole" whole
ok "nothing_is_left_to_be_told" [ ! -e /nix-path-registration ]
umount /nix

# A Nix that comes later.
r=$W/later
pull "$r" "file://$W/cache" -- --profile /nix/var/nix/profiles/system
mount --bind "$r/nix" /nix
cp "$r/nix-path-registration" /nix-path-registration
document "$TOP"
ok "a_nix_that_came_later_plans" run plan /
ok "a_nix_that_came_later_is_to_be_told" says "tell Nix, which was not there before"
ok "a_nix_that_came_later_is_told" run apply / --yes
ok "a_nix_that_came_later_knows_the_whole" whole
ok "what_was_left_is_gone" [ ! -e /nix-path-registration ]
run plan /
ok "plan_after_telling_is_empty" says "nothing to change"
rm -f /nix-path-registration
umount /nix

finish
