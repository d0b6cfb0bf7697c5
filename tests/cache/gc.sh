#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Generations of real closures that share paths: listed, rolled back, and collected, with Nix and without.
# shellcheck source=tests/cache/world.sh
. "$(dirname "$0")/world.sh"
# Of all processes these are all that hold on to paths of a store: those of other tests are out of sight.
enter 900 "$0" --pid --fork --kill-child --mount-proc

begin_world
profiles=/nix/var/nix/profiles
profile=$profiles/system
TOPS=()
for units in 3 4 5; do
	make_closure --arg units $units || { printf '1..1\nnot ok 1 - %s\n' "Nix does not build the closure"; exit 1; }
	make_cache cache none
	list_closure >"$W/names-$units"
	TOPS+=("$TOP")
done
first=${TOPS[0]} second=${TOPS[1]} third=${TOPS[2]}

says() {
	grep -qF -- "$1" "$W/out"
}
rouse() { # rouse ROOT COMMAND [OPTION…]
	local root=$1 command=$2
	shift 2
	"$ROUSE" "$command" --root "$root" "$@" >"$W/out" 2>&1
}
machine() { # machine DIR: the three systems are its generations
	for TOP in "${TOPS[@]}"; do
		pull "$1" "file://$W/cache" -- --profile $profile || cat "$W/out"
	done
}
store_is() { # store_is DIR NAMES…
	local dir=$1
	shift
	diff <(ls "$dir/nix/store") <(cat "$@" | sort -u) >"$W/out"
}
registered() { # what rouse says is valid: the paths, each followed by its hash
	grep -B1 -xE '[0-9a-f]{64}' "$1/nix/var/nix/rouse/registration" | grep ^/nix/store/ |
		sed 's|.*/||' | sort
}
registration_is() {
	local dir=$1
	shift
	diff <(registered "$dir") <(cat "$@" | sort -u) >"$W/out"
}
copy() { # copy FROM TO
	rm -rf "$2"
	cp -al "$1" "$2" # nothing writes into a file that is there
}
nix_verifies() { # real Nix, told by what rouse left for it, finds nothing wrong
	mount --bind "$1/nix" /nix
	nix-store --load-db <"$1/nix-path-registration" 2>"$W/out" &&
		nix-store --verify --check-contents >"$W/out" 2>&1 && ! grep -iE 'error|disappeared' "$W/out"
	local r=$?
	umount /nix
	rm -rf "$1/nix/var/nix/db"
	return $r
}

both() { # both FILE FILE
	[ -e "$1" ] && [ -e "$2" ]
}
quietly() {
	"$@" >"$W/out" 2>&1
}
untouched() {
	[ -L "$r$profile-1-link" ] && [ -d "$r$first" ]
}

all=$W/all
machine "$all"
ok "generations_are_listed" rouse "$all" generations
ok "generations_has_the_first" says "$first"
ok "generations_marks_the_current" grep -q "$third  current$" "$W/out"
ok "generations_knows_json" rouse "$all" generations --json
ok "generations_json_is_complete" [ "$(python3 -c 'import json, sys
g = json.load(open(sys.argv[1]))["generations"]
print([x["number"] for x in g], all(x["complete"] and x["bytes"] > 0 for x in g))' "$W/out")" = "[1, 2, 3] True" ]

# Nothing beyond what is kept.
before=$(find "$all" -printf '%p %i %T@\n' | sort | sha256sum)
ok "gc_keeps_three_generations" rouse "$all" gc --dry-run
ok "gc_of_three_finds_nothing" says "nothing to delete"
ok "gc_dry_run_says_what_goes" rouse "$all" gc --keep 1 --dry-run
ok "gc_dry_run_names_the_generation" says "delete system generation 1, $first"
ok "gc_dry_run_names_the_path" says "delete $first ("
grep -v '^gc:' "$W/out" | sort >"$W/said"
ok "gc_dry_run_writes_nothing" [ "$(find "$all" -printf '%p %i %T@\n' | sort | sha256sum)" = "$before" ]

r=$W/keep1
copy "$all" "$r"
ok "gc_deletes" rouse "$r" gc --keep 1
ok "gc_says_the_same_words" diff "$W/said" <(grep -v '^gc:' "$W/out" | sort)
ok "gc_says_what_it_freed" says "gc: freed"
ok "gc_keeps_exactly_the_closure" store_is "$r" "$W/names-5"
ok "gc_registration_agrees" registration_is "$r" "$W/names-5"
ok "gc_deletes_the_links" [ "$(ls "$r$profiles" | tr '\n' ' ')" = "system system-3-link " ]
ok "gc_leaves_what_nix_verifies" nix_verifies "$r"
ok "gc_again_finds_nothing" rouse "$r" gc --keep 1
ok "gc_again_says_so" says "nothing to delete"
TOP=$first
ok "a_deleted_system_is_pulled_again" pull "$r" "file://$W/cache" -- --profile $profile
ok "a_deleted_system_is_whole_again" store_is "$r" "$W/names-3" "$W/names-5"

# Policies.
r=$W/policy
copy "$all" "$r"
ok "gc_keeps_two" rouse "$r" gc --keep 2
ok "gc_of_two_keeps_both_closures" store_is "$r" "$W/names-4" "$W/names-5"
copy "$all" "$r"
ok "gc_keeps_the_young" rouse "$r" gc --keep 1 --older-than 1d
ok "gc_of_the_young_deletes_nothing" says "nothing to delete"
ln -sfn "$first" "$r$profile-1-link"
touch -h -d '3 days ago' "$r$profile-1-link"
ok "gc_deletes_the_old" rouse "$r" gc --keep 1 --older-than 1d
ok "gc_of_the_old_keeps_the_young" store_is "$r" "$W/names-4" "$W/names-5"
copy "$all" "$r"
ok "gc_makes_room" rouse "$r" gc --max-size 1kB --json
ok "gc_for_room_keeps_the_current" store_is "$r" "$W/names-5"
copy "$all" "$r"
mkdir -p "$r/var/lib/rouse"
echo "{ \"healthy\": [ { \"path\": \"$first\" } ] }" >"$r/var/lib/rouse/generations.json"
ok "gc_with_a_healthy_one_runs" rouse "$r" gc --keep 1
ok "gc_keeps_the_last_healthy" store_is "$r" "$W/names-3" "$W/names-5"

# Rolling back.
ok "rollback_goes_back" rouse "$r" rollback
ok "rollback_says_where" says "system generation 1 is current: $first"
ok "rollback_says_until_when" says "until the document names another system than $third"
ok "rollback_switches" [ "$(readlink "$r$profile")" = system-1-link ]
ok "gc_after_rollback_runs" rouse "$r" gc --keep 1
ok "gc_after_rollback_keeps_both" store_is "$r" "$W/names-3" "$W/names-5"
ok "rollback_by_number" rouse "$r" rollback 3
ok "rollback_by_number_switches" [ "$(readlink "$r$profile")" = system-3-link ]
rouse "$r" rollback 7
ok "rollback_to_no_generation_is_usage" [ $? = 64 ]
rm -rf "${r:?}$first"
rouse "$r" rollback 1
ok "rollback_to_an_incomplete_one_is_refused" [ $? = 71 ]
ok "rollback_to_an_incomplete_one_changes_nothing" [ "$(readlink "$r$profile")" = system-3-link ]

# Roots of every kind keep the first system; without them, it goes.
rooted() { # rooted NAME: the machine in $r has one more root
	ok "$1_gc_runs" rouse "$r" gc --keep 1
	ok "$1_keeps_the_path" store_is "$r" "$W/names-3" "$W/names-5"
}
fresh() {
	r=$W/rooted
	copy "$all" "$r"
	mkdir -p "$r/nix/var/nix/gcroots/auto" "$r/home/u" "$r/run" "$r$profiles/per-user/u"
}
fresh; ln -s "$first" "$r/nix/var/nix/gcroots/x"; rooted gcroot
fresh; ln -s "$first/init" "$r/nix/var/nix/gcroots/x"; rooted gcroot_into_a_path
fresh; ln -s "$first" "$r/home/u/result"; ln -s /home/u/result "$r/nix/var/nix/gcroots/auto/x"; rooted indirect_gcroot
fresh; ln -s "$first" "$r/home/u/a"; ln -s a "$r/home/u/b"; ln -s u "$r/home/v"
ln -s ../../../../../home/v/b "$r/nix/var/nix/gcroots/auto/x"; rooted chain_of_gcroots
fresh; mkdir -p "$r/nix/var/nix/gcroots/a/b"; : >"$r/nix/var/nix/gcroots/a/b/${first#/nix/store/}"; rooted gcroot_by_its_name
fresh; ln -s "$first" "$r$profiles/per-user/u/app-1-link"; rooted users_profile
fresh; ln -s "$first" "$r/run/current-system"; rooted running_system
fresh; mkdir -p "$r/nix/var/nix/temproots"; printf '%s\0' "$first" >"$r/nix/var/nix/temproots/1"; rooted temporary_root
fresh; TOP=$first
ok "profile_elsewhere_is_made" pull "$r" "file://$W/cache" -- --profile /home/u/profile
ok "profile_elsewhere_is_linked_as_by_nix" [ "$(readlink "$r"/nix/var/nix/gcroots/auto/*)" = /home/u/profile-1-link ]
rooted profile_elsewhere
fresh; mkdir -p "$r/var/lib/rouse"; echo "{ \"system\": { \"path\": \"$first\" } }" >"$r/var/lib/rouse/document.json"; rooted document
fresh; (exec 8<"$r$first/etc/copy" && exec sleep 300) & p=$!
until [ -e /proc/$p/fd/8 ]; do sleep 0.05; done
rooted open_file; kill $p; wait $p 2>/dev/null
fresh; (cd "$r$first/etc" && exec sleep 300) & p=$!
until [ "$(readlink /proc/$p/cwd)" = "$r$first/etc" ]; do sleep 0.05; done
rooted working_directory; kill $p; wait $p 2>/dev/null
fresh; APP=$first/bin/x sleep 300 & p=$!
until tr '\0' '\n' </proc/$p/environ | grep -q ^APP=; do sleep 0.05; done
rooted environment; kill $p; wait $p 2>/dev/null
fresh; python3 -c 'import ctypes, os, sys, time
fd, libc = os.open(sys.argv[1], os.O_RDONLY), ctypes.CDLL(None)
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mmap(None, 4096, 1, 2, fd, 0)
os.close(fd)
open(sys.argv[2], "w")
time.sleep(300)' "$r$first/etc/copy" "$W/mapped" & p=$!
until [ -e "$W/mapped" ]; do sleep 0.05; done
rooted mapping; kill $p; wait $p 2>/dev/null
fresh
ln -s /nix/store/00000000000000000000000000000000-gone "$r/nix/var/nix/gcroots/a"
ln -s nowhere "$r/nix/var/nix/gcroots/b"
ln -s loop "$r/nix/var/nix/gcroots/loop"
ln -s /home/u/result "$r/nix/var/nix/gcroots/auto/c"
ok "dangling_roots_gc_runs" rouse "$r" gc --keep 1
ok "dangling_roots_keep_nothing" store_is "$r" "$W/names-5"
fresh
ln -s ../../../../../../../../../../"$W/outside" "$r/nix/var/nix/gcroots/a"
ln -s "$first" "$W/outside"
ok "root_that_leads_out_gc_runs" rouse "$r" gc --keep 1
ok "root_that_leads_out_is_not_followed" store_is "$r" "$W/names-5"

# What is no store path is not ours.
fresh
mkdir -p "$r/nix/store/lost+found/x" "$r/nix/store/.links"
echo x >"$r/nix/store/not a path"
echo x >"$r/nix/store/0c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6a-litter"
ok "garbage_gc_runs" rouse "$r" gc --keep 1
ok "garbage_is_noted" says "note: '/nix/store/not a path' is no store path: left alone"
ok "garbage_is_left_alone" both "$r/nix/store/not a path" "$r/nix/store/lost+found/x"
ok "litter_with_a_path_name_goes" [ ! -e "$r/nix/store/0c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6a-litter" ]
# … and what something in use needs is not guessed.
fresh
echo x >"$r/nix/store/0c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6a-baked"
ln -s /nix/store/0c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6a-baked "$r/nix/var/nix/gcroots/x"
ok "unknown_in_use_gc_runs" rouse "$r" gc --keep 1
ok "unknown_in_use_is_noted" says "what it needs is not known: no path is deleted"
ok "unknown_in_use_keeps_all" both "$r$first" "$r/nix/store/0c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6a-baked"

# Killed at any moment: nothing registered is incomplete, and the next run ends what was begun.
whole() { # every registered path is there, and as it was
	registered "$1" >"$W/list"
	describe "$1/nix/store" "$W/list" >"$W/is" && describe "$all/nix/store" "$W/list" >"$W/was" &&
		diff "$W/was" "$W/is" >"$W/out"
}
r=$W/killed killed=0 broken=0
for at in unlinkat:1 unlinkat:2 unlinkat:5 unlinkat:13 unlinkat:34 renameat:1 renameat:2 renameat2:1 renameat2:3 \
	fsync:1 fsync:2 fsync:3; do
	copy "$all" "$r"
	{ strace -f -o /dev/null -e trace=${at%:*} -e inject=${at%:*}:signal=KILL:when=${at#*:} \
		"$ROUSE" gc --root "$r" --keep 1 >"$W/out" 2>&1; } 2>/dev/null || killed=$((killed + 1))
	whole "$r" || { broken=$((broken + 1)); echo "# $at"; sed 's/^/# /' "$W/out"; }
	rouse "$r" gc --keep 1 && store_is "$r" "$W/names-5" && registration_is "$r" "$W/names-5" &&
		no_leftovers "$r" || { broken=$((broken + 1)); echo "# $at, again"; sed 's/^/# /' "$W/out"; }
done
echo "# killed $killed times"
ok "kill_happened" [ "$killed" -gt 5 ]
ok "kill_leaves_nothing_half_and_the_next_run_ends_it" [ "$broken" = 0 ]

# Never beside a pull.
copy "$all" "$r"
exec 9<"$r/nix/var/nix/rouse"
flock -s 9
rouse "$r" gc --keep 1
ok "gc_beside_a_pull_is_unavailable" [ $? = 75 ]
ok "gc_beside_a_pull_deletes_nothing" untouched
exec 9<&-
exec 9<>"$r/nix/var/nix/rouse/lock"
flock 9
rouse "$r" gc --keep 1
ok "gc_beside_a_writer_is_unavailable" [ $? = 75 ]
ok "gc_beside_a_writer_deletes_nothing" untouched
exec 9<&-
exec 9<"$r/nix/var/nix/rouse"
flock 9
TOP=$first
pull "$r" "file://$W/cache" -- --timeout 300ms
ok "pull_waits_for_gc_until_its_deadline" [ $? = 75 ]
exec 9<&-
ok "pull_after_gc_succeeds" pull "$r" "file://$W/cache"

# Beside a real Nix, whose database this is: its collector deletes.
r=$W/nixed
copy "$all" "$r"
mount --bind "$r/nix" /nix
nix-store --load-db <"$r/nix-path-registration"
other=$(nix-store --add "$HERE/world.sh")
ln -s "$other" "$r/nix/var/nix/gcroots/other"
litter=$(nix-store --add "$HERE/gc.sh")
TOP=$second
ok "beside_nix_a_profile_elsewhere_is_made" pull / "file://$W/cache" -- --profile "$W/elsewhere"
ok "beside_nix_gc_runs" rouse / gc --keep 1
ok "beside_nix_the_profile_elsewhere_stays" [ -e "$W/elsewhere/init" ]
rm "$W"/elsewhere*
ok "beside_nix_gc_runs_again" rouse / gc --keep 1
ok "beside_nix_the_old_are_gone" [ "$(ls -d "$first" "$second" 2>/dev/null)" = "" ]
ok "beside_nix_its_own_litter_is_gone" [ ! -e "$litter" ]
ok "beside_nix_its_own_roots_stay" [ -e "$other" ]
ok "beside_nix_the_database_is_right" quietly nix-store --verify --check-contents
ok "beside_nix_the_current_is_valid" [ "$(nix-store -qR "$third" | wc -l)" = "$(wc -l <"$W/names-5")" ]
ok "beside_nix_the_registration_agrees" registration_is "" "$W/names-5"
umount /nix
# A database that nobody can change: not touched.
copy "$all" "$r"
mkdir -p "$r/nix/var/nix/db"
: >"$r/nix/var/nix/db/db.sqlite"
rouse "$r" gc --keep 1
ok "database_without_nix_is_refused" [ $? = 71 ]
ok "database_without_nix_says_why" says "Nix has a database"
ok "database_without_nix_changes_nothing" untouched

# A pull that does not fit makes room: what is oldest goes, and no more than must.
blobs=()
for i in 1 2 3 4; do
	mkdir -p "$W/blob"
	head -c 8M /dev/urandom >"$W/blob/data"
	echo "$i" >"$W/blob/number"
	blobs+=("$(nix-store --add "$W/blob")")
done
make_cache blobs none "${blobs[@]}"
r=$W/small
mkdir "$r"
mount -t tmpfs -o size=22M tmpfs "$r"
fill() { # fill PATH: it is the next generation of the small machine
	TOP=$1
	pull "$r" "file://$W/blobs" -- --profile $profile
}
links() {
	(cd "$r$profiles" && echo system-*)
}
ok "first_fits" fill "${blobs[0]}"
ok "second_fits" fill "${blobs[1]}"
ok "third_makes_room" fill "${blobs[2]}"
ok "the_oldest_has_made_room" [ "$(links)" = "system-2-link system-3-link" ]
ok "what_made_room_is_gone" [ ! -e "$r${blobs[0]}" ]
ok "what_need_not_go_stays" [ -e "$r${blobs[1]}" ]
mkdir -p "$r/var/lib/rouse"
echo "{ \"healthy\": [ { \"path\": \"${blobs[1]}\" } ] }" >"$r/var/lib/rouse/generations.json"
fill "${blobs[3]}"
ok "the_healthy_and_the_current_make_no_room" [ $? = 71 ]
ok "no_room_is_said" says "needs"
ok "no_room_deletes_nothing" [ "$(links)" = "system-2-link system-3-link" ]
rm "$r/var/lib/rouse/generations.json"
# The document's way, and what it still needs of the old stays.
cat >"$W/document" <<-END
	{ "rouse": 1, "caches": { "blobs": { "url": "file://$W/blobs", "keys": "$KEY" } },
	  "system": { "path": "${blobs[3]}" }, "environment": { "x": { "path": "${blobs[2]}" } } }
END
ok "a_document_makes_room" quietly "$ROUSE" apply --root "$r" --only closure --yes "$W/document"
ok "a_document_keeps_what_it_needs" both "$r${blobs[2]}" "$r${blobs[3]}"
ok "a_document_made_room_of_the_oldest" [ ! -e "$r${blobs[1]}" ]
umount "$r"
# Beside a real Nix it is Nix that makes the room: what is oldest goes, and its own litter with it. (8 MB of
# the disk are what it reserves for its collector.)
r=$W/small-nixed
mkdir "$r"
mount -t tmpfs -o size=32M tmpfs "$r"
mkdir "$r/nix"
mount --bind "$r/nix" /nix
fill_beside_nix() { # fill_beside_nix PATH
	"$ROUSE" pull --cache "file://$W/blobs" --key "$KEY" --profile $profile "$1" >"$W/out" 2>&1
}
r=
ok "beside_nix_the_first_fits" fill_beside_nix "${blobs[0]}"
ok "beside_nix_the_second_fits" fill_beside_nix "${blobs[1]}"
other=$(nix-store --add "$HERE/world.sh")
ln -s "$other" /nix/var/nix/gcroots/other
litter=$(nix-store --add "$HERE/gc.sh")
ok "beside_nix_the_third_makes_room" fill_beside_nix "${blobs[2]}"
ok "beside_nix_it_is_said" says "to make room"
ok "beside_nix_the_oldest_has_made_room" [ "$(links)" = "system-2-link system-3-link" ]
ok "beside_nix_what_made_room_is_gone" [ "$(ls -d "${blobs[0]}" "$litter" 2>/dev/null)" = "" ]
ok "beside_nix_what_need_not_go_stays" both "${blobs[1]}" "$other"
ok "beside_nix_it_knows_what_has_come" quietly nix-store -q --references "${blobs[2]}"
ok "beside_nix_it_finds_nothing_wrong" quietly nix-store --verify --check-contents
ok "beside_nix_no_root_is_left_over" [ "$(cd /nix/var/nix/gcroots && echo rouse*)" = "rouse*" ]
fill_beside_nix "${blobs[0]}"
ok "beside_nix_once_more_makes_room" [ "$(links)" = "system-3-link system-4-link" ]
ok "beside_nix_nothing_is_left_to_be_told" [ ! -e /nix-path-registration ]
umount /nix
umount "$W/small-nixed"
# The document says how many stay.
r=$W/keeps
copy "$all" "$r"
keeps() { # keeps N UNITS: the system with so many units, and N generations
	cat >"$W/document" <<-END
		{ "rouse": 1, "generations": { "keep": $1 }, "system": { "path": "${TOPS[$(($2 - 3))]}" } }
	END
}
document() {
	"$ROUSE" "$1" --root "$r" --only closure "${@:2}" "$W/document" >"$W/out" 2>&1
}
keeps 1 4
ok "keep_plans" document plan
ok "keep_says_what_goes" says "delete system generation 1, 2, 3, and what nothing needs without it"
ok "keep_applies" document apply --yes
ok "keep_leaves_the_new_one" [ "$(cd "$r$profiles" && echo system-*)" = system-4-link ]
ok "keep_leaves_what_it_needs" store_is "$r" "$W/names-4"
document plan
ok "keep_plans_nothing_more" says "nothing to change"
copy "$all" "$r"
keeps 2 5
document plan
ok "keep_of_two_says_what_goes" says "delete system generation 1, and what nothing needs without it"
ok "keep_of_two_applies" document apply --yes
ok "keep_of_two_keeps_both" store_is "$r" "$W/names-4" "$W/names-5"
copy "$all" "$r"
mkdir -p "$r/etc/rouse" "$r/var/lib/rouse"
echo '{ "generations": { "keep": 1 } }' >"$r/etc/rouse/agent.json"
ok "gc_knows_the_images_policy" rouse "$r" gc --dry-run
ok "gc_follows_the_images_policy" says "delete system generation 2"
echo '{ "generations": { "keep": 2 } }' >"$r/var/lib/rouse/document.json"
ok "gc_knows_the_documents_policy" rouse "$r" gc
ok "gc_follows_the_document_first" store_is "$r" "$W/names-4" "$W/names-5"

# Old generations of users' profiles.
fresh
mkdir -p "$r$profiles/per-user/u" "$r$profiles/per-user/v"
for i in 1 2 3 4; do ln -s "$first" "$r$profiles/per-user/u/profile-$i-link"; done
ln -s profile-3-link "$r$profiles/per-user/u/profile"
ln -s "$second" "$r$profiles/per-user/v/app-1-link"
ln -s "$third" "$r$profiles/default-1-link"
ln -s "$third" "$r$profiles/default-2-link"
ln -s default-2-link "$r$profiles/default"
ok "profiles_gc_runs" rouse "$r" gc --keep 1
ok "profiles_gc_says_what_goes" says "delete $profiles/per-user/u/profile-1-link"
ok "profiles_keep_the_newest_and_the_current" [ "$(ls "$r$profiles/per-user/u" | tr '\n' ' ')" = "profile profile-3-link profile-4-link " ]
ok "what_is_no_profile_is_left_alone" [ -L "$r$profiles/per-user/v/app-1-link" ]
ok "everybodys_profile_is_pruned" [ "$(cd "$r$profiles" && echo default*)" = "default default-2-link" ]
ok "users_generations_are_roots" store_is "$r" "$W/names-3" "$W/names-4" "$W/names-5"
rm "$r$profiles/per-user/u/profile"* "$r$profiles/per-user/v/app-1-link"
ln -s "$first" "$r$profiles/per-user/u/profile-1-link"
ln -s "$third" "$r$profiles/per-user/u/profile-2-link"
ln -s profile-2-link "$r$profiles/per-user/u/profile"
ok "profiles_gc_runs_again" rouse "$r" gc --keep 1
ok "what_only_an_old_generation_of_a_user_had_goes" store_is "$r" "$W/names-5"

# Going back, also of the running system: the system's own program is told which.
mkdir -p "$W/switched/nix"
mount -t tmpfs tmpfs /var/lib # of this namespace: what is remembered is not the host's
mount --bind "$W/switched/nix" /nix
for i in 1 2; do
	mkdir -p "$W/system-$i/bin"
	printf '#!/bin/sh\necho "%s $1" >%s\nexit $(cat %s)\n' "$i" "$W/told" "$W/status" >"$W/system-$i/bin/switch-to-configuration"
	chmod +x "$W/system-$i/bin/switch-to-configuration"
	mkdir -p $profiles
	ln -s "$(nix-store --add "$W/system-$i")" $profile-$i-link
done
ln -s system-2-link $profile
back() { # back WANTED [OPTION…]: from the second; what was told
	ln -sfn system-2-link $profile
	rm -f "$W/told"
	"$ROUSE" rollback "${@:2}" >"$W/out" 2>&1
	[ "$(cat "$W/told")" = "$1" ]
}
echo 0 >"$W/status"
ok "rollback_tells_the_boot_loader" back "1 boot"
ok "rollback_says_reboot" says "Reboot to start it"
ok "rollback_switches_the_running_system" back "1 switch" --switch
ok "rollback_says_it_has_switched" says "The running system has become it"
echo 1 >"$W/status"
ok "rollback_that_fails_to_switch_tells" back "1 switch" --switch
ok "rollback_that_fails_to_switch_says_so" says "the running system did not become it"
umount /nix
umount /var/lib
rouse "$W/empty" rollback --switch
ok "switch_of_another_root_is_usage" [ $? = 64 ]

# Nothing there at all.
mkdir "$W/empty"
ok "empty_root_gc" rouse "$W/empty" gc
ok "empty_root_stays_empty" [ -z "$(ls "$W/empty")" ]
ok "empty_root_generations" rouse "$W/empty" generations
rouse "$W/empty" rollback
ok "empty_root_rollback_is_refused" [ $? = 71 ]
rouse "$W/empty" gc --keep 0
ok "keep_none_is_usage" [ $? = 64 ]

finish
