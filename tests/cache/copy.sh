#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Another store of the same machine: what it has is copied and not fetched, when its hash is right; on a
# filesystem that can, the copy shares the blocks.
# shellcheck source=tests/cache/world.sh
. "$(dirname "$0")/world.sh"
enter 900 "$0"

begin_world
make_closure --arg units 5 || { printf '1..1\nnot ok 1 - %s\n' "Nix does not build the closure"; exit 1; }
make_cache cache zstd
list_closure >"$W/names"
describe /nix/store "$W/names" >"$W/original"
all=$(wc -l <"$W/names")
mkdir "$W/narinfos"
cp "$W"/cache/*.narinfo "$W/cache/nix-cache-info" "$W/narinfos/"

count() { # count COUNTER: of the last pull
	sed -n "s/.*\"closure.$1\": \([0-9]*\).*/\1/p" "$W/out"
}
same() { # same DIR: is the closure there, and as Nix made it?
	describe "$1/nix/store" "$W/names" | cmp -s - "$W/original"
}
quietly() {
	"$@" >"$W/out" 2>&1
}
refuses() { # refuses STATUS TEXT COMMAND…
	local want=$1 text=$2 status
	shift 2
	"$@"
	status=$?
	[ "$status" = "$want" ] && grep -qF -- "$text" "$W/out"
}

# A cache that has lost its archives.
r=$W/a
ok "without_the_other_store_it_cannot_be_had" refuses 78 "cannot open" pull "$r" "file://$W/narinfos"
ok "all_is_copied" pull "$r" "file://$W/narinfos" -- --from / --json
ok "all_copies_are_counted" [ "$(count copied) $(count fetched)" = "$all 0" ]
ok "the_json_says_which" [ "$(grep -c '"copied": true' "$W/out")" = "$all" ]
ok "copies_are_as_nix_made_them" same "$r"
ok "copies_are_registered" [ "$(grep -c '^[0-9a-f]\{64\}$' "$r/nix/var/nix/rouse/registration")" = "$all" ]
ok "nothing_unfinished_is_left" no_leftovers "$r"
ok "a_copy_is_whole_for_nix" quietly nix-store --store "$r" --load-db <"$r/nix-path-registration"
ok "a_copy_passes_the_check_of_nix" quietly nix-store --store "$r" --verify --check-contents
ok "they_are_there_for_the_next_pull" pull "$r" "file://$W/narinfos"
ok "people_are_told" pull "$W/told" "file://$W/narinfos" -- --from /
ok "people_are_told_how_many" grep -qF "$all copied from /" "$W/out"

# One defect in each of these; the others are right. An archive does not hold times and owners.
o=$W/damaged/nix/store
mkdir -p "$o"
cp -a --reflink=never /nix/store/. "$o/"
name_of() { grep -e "-$1\$" "$W/names"; }
chmod -R u+w "$o"
echo y >>"$o/$(name_of unit-0.service)"
: >"$o/$(name_of app-2.1)/bin/more"
chmod +x "$o/$(name_of unit-1.service)"
rm "$o/$(name_of unit-2.service)" && mkfifo "$o/$(name_of unit-2.service)"
ln -sfn /elsewhere "$o/$(name_of link)"
rm "$o/$(name_of odd-names)/..."
rm "$o/$(name_of unit-3.service)" && ln -s /etc/passwd "$o/$(name_of unit-3.service)"
truncate -s 50G "$o/$(name_of unit-4.service)"
touch "$o/$(name_of lib-1.0)/lib/zero"
ok "what_is_damaged_is_fetched" pull "$W/b" "file://$W/cache" -- --from "$W/damaged" --json
ok "what_is_right_is_copied" [ "$(count copied) $(count fetched)" = "$((all - 8)) 8" ]
ok "together_they_are_as_nix_made_them" same "$W/b"
ok "no_damaged_copy_is_left" no_leftovers "$W/b"

# No store, and the same one.
ok "a_root_without_a_store_has_nothing" pull "$W/c" "file://$W/cache" -- --from "$W/home" --json
ok "without_another_store_all_is_fetched" [ "$(count copied) $(count fetched)" = "0 $all" ]
ok "a_root_that_is_not_there_is_said" refuses 71 "--from: cannot open the root directory '$W/nothing'" \
	pull "$W/d" "file://$W/cache" -- --from "$W/nothing"
rm "$W/c/nix/var/nix/rouse/registration" "$W/c/nix-path-registration"
ok "the_store_itself_is_no_other" pull "$W/c" "file://$W/cache" -- --from "$W/c" --json
ok "the_store_itself_is_made_anew" [ "$(count copied) $(count fetched)" = "0 $all" ]

# Two stores on one filesystem.
for type in btrfs xfs; do
	truncate -s 400M "$W/$type.image"
	"mkfs.$type" -q "$W/$type.image" >/dev/null 2>&1
	mkdir "$W/$type"
	mount -o loop "$W/$type.image" "$W/$type"
	mkdir "$W/$type/one"
	cp -a "$W/a/nix" "$W/$type/one/"
	ok "on_${type}_it_is_copied" pull "$W/$type/two" "file://$W/narinfos" -- --from "$W/$type/one" --json
	sync -f "$W/$type"
	ok "on_${type}_it_is_as_nix_made_it" same "$W/$type/two"
	random=$W/$type/two/nix/store/$(name_of lib-1.0)/lib/random
	ok "on_${type}_blocks_are_shared" bash -c "filefrag -v '$random' | grep -q shared"
	umount "$W/$type"
done

# An image with a store of its own, over which a volume is mounted.
i=$W/image
mkdir -p "$i/nix" "$i/volume" "$i/srv" "$i/tmp"
mount --bind "$i" "$i"
for d in bin lib lib64 usr etc dev proc; do
	[ -d "/$d" ] && mkdir "$i/$d" && mount --rbind "/$d" "$i/$d"
done
cp -a /nix/store "$i/nix/"
cp -a "$W/narinfos" "$i/srv/"
cp "$ROUSE" "$i/srv/rouse"
mount --bind "$i/volume" "$i/nix"
cat >"$i/srv/document" <<-END
	{ "rouse": 1, "caches": { "cache": { "url": "file:///srv/narinfos", "keys": "$KEY" } }, "system": { "path": "$TOP" } }
END
in_image() {
	chroot "$i" /srv/rouse apply --only closure --yes /srv/document >"$W/out" 2>&1
}
ok "what_a_mount_hides_is_copied" in_image
ok "what_a_mount_hides_is_told_of" grep -qF "$all paths" "$W/out"
mkdir "$W/volume" && mount --bind "$i/volume" "$W/volume"
ok "what_a_mount_hides_is_copied_into_the_volume" [ -e "$W/volume/store/$(basename "$TOP")/init" ] || [ -L "$W/volume/store/$(basename "$TOP")/init" ]
umount "$W/volume"
umount -R "$i"
finish
