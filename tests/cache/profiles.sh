#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Profiles of users and of everybody, made without Nix, and judged by the real one.
# shellcheck source=tests/cache/world.sh
. "$(dirname "$0")/world.sh"
enter 900 "$0"

begin_world
package() { # package NAME FILE…: a store path with these files, each "PATH=TEXT" or "PATH->TARGET"
	local dir=$W/make/$1 file
	shift
	mkdir -p "$dir"
	for file; do
		case $file in
		*'->'*)
			mkdir -p "$(dirname "$dir/${file%%->*}")"
			ln -s "${file#*->}" "$dir/${file%%->*}"
			;;
		*)
			mkdir -p "$(dirname "$dir/${file%%=*}")"
			printf '%s\n' "${file#*=}" >"$dir/${file%%=*}"
			;;
		esac
	done
	nix-store --add "$dir"
}
one=$(package one bin/one=1 share/man/man1/one.1=1 share/doc/one/README=1 .hidden=1)
two=$(package two bin/two=2 share/man/man1/two.1=2 'bin/gone->/nowhere' nix-support/x=2 share/log=2)
two2=$(package two-2 bin/two=22 share/man/man1/two.1=22)
# A directory that is a link into another package, propagation, and names that Nix leaves out.
inner=$(package inner share/doc/inner/README=3 lib/perllocal.pod=3 share/info/dir=3 share/info/inner.info=3)
three=$(package source bin/three=3 "share->$inner/share" "nix-support/propagated-user-env-packages=$inner $one")
three=$(nix-store -Q -r "$(nix-instantiate -Q -E "derivation { name = \"three\"; system = builtins.currentSystem;
	builder = \"/bin/sh\"; args = [ \"-c\" \"/bin/cp -r $three \$out\" ];
	inputs = map builtins.storePath [ $inner $one $three ]; }" 2>/dev/null)" 2>/dev/null)
clash=$(package clash bin/one=other)
flat=$(package flat bin=file)
file=$(nix-store --add "$HERE/world.sh")
TOP="$one $two $two2 $inner $three $clash $flat $file"
# shellcheck disable=SC2086 # a list
make_cache cache none $TOP
nix_profile() { # nix_profile PATH…: what real Nix makes of these, one by one
	rm -rf "$W/judge"
	mkdir "$W/judge"
	local path
	for path; do
		nix profile install --profile "$W/judge/profile" "$path" >/dev/null 2>&1 || return
	done
	readlink -f "$W/judge/profile"
}
judged=$(nix_profile "$one" "$two" "$three") || { printf '1..1\nnot ok 1 - %s\n' "Nix makes no profile"; exit 1; }
describe "/nix/store" <(echo "${judged#/nix/store/}") >"$W/judged"

program() { # program NAME PATH [MORE]
	printf '"%s": { "path": "%s"%s }' "$1" "$2" "${3:+, $3}"
}
document() { # document PROGRAMS [ENVIRONMENT]
	local environment=
	[ -n "${2-}" ] && environment=", \"environment\": { $2 }"
	cat >"$W/document" <<-END
		{ "rouse": 1,
		  "caches": { "cache": { "url": "file://$W/cache", "keys": "$KEY" } },
		  "profiles": { "deploy": { $1 } }$environment }
	END
}
run() { # run COMMAND [OPTION…]
	mkdir -p "$r"
	"$ROUSE" "$1" --root "$r" --only closure "${@:2}" "$W/document" >"$W/out" 2>&1
}
apply() {
	run apply --yes
}
says() {
	grep -qF -- "$1" "$W/out"
}
deploy=/nix/var/nix/profiles/per-user/deploy
tree() { # where the profile of deploy leads
	readlink "$r$deploy/$(readlink "$r$deploy/profile")"
}
holds() { # holds TEXT FILE: the file of the profile has this text
	[ "$(chroot_cat "$deploy/profile/$2")" = "$1" ]
}
chroot_cat() { # links of a profile are absolute
	(mount --bind "$r/nix" /nix && cat "$1"; umount /nix) 2>/dev/null
}
quietly() {
	"$@" >"$W/out" 2>&1
}
in_store() { # in_store COMMAND…: with the store of $r at /nix, and what rouse left for it loaded
	mount --bind "$r/nix" /nix
	nix-store --load-db <"$r/nix-path-registration" 2>"$W/out" && "$@"
	local s=$?
	umount /nix
	return $s
}

r=$W/root
mkdir -p "$r/etc" "$r/home/deploy"
printf 'root:x:0:0::/root:/bin/sh\ndeploy:x:1234:1234::/home/deploy:/bin/sh\n' >"$r/etc/passwd"
chown 1234:1234 "$r/home/deploy"
document "$(program one "$one"), $(program two "$two"), $(program three "$three")"
ok "plan_succeeds" run plan
ok "plan_adds_each_program" says "+ profiles  add two to the profile of deploy: $two"
ok "plan_says_the_generation" says "make generation 1 of the profile of deploy"
ok "plan_links_the_home" says "link the home of deploy"
ok "plan_writes_nothing" [ ! -e "$r/nix" ]
ok "apply_succeeds" apply
ok "profile_has_the_path_that_nix_gives_it" [ "$(tree)" = "$judged" ]
ok "profile_is_what_nix_makes" diff "$W/judged" <(describe "$r/nix/store" <(echo "${judged#/nix/store/}"))
ok "profile_belongs_to_its_user" [ "$(stat -c %u "$r$deploy")" = 1234 ]
ok "home_is_linked" [ "$(readlink "$r/home/deploy/.nix-profile")" = $deploy/profile ]
ok "the_link_is_the_users" [ "$(stat -c %u "$r/home/deploy/.nix-profile")" = 1234 ]
ok "login_shells_are_told" grep -q per-user "$r/etc/profile.d/rouse.sh"
# shellcheck disable=SC2016 # the inner shell's
login_path() { # the PATH of a login shell of deploy
	(mount --bind "$r/nix" /nix && cd "$r" && env -i PATH=/bin USER=deploy HOME="$W" /bin/sh -euc '. etc/profile.d/rouse.sh; . etc/profile.d/rouse.sh; echo $PATH'; umount /nix)
}
ok "login_shells_find_the_programs_once" [ "$(login_path)" = "$deploy/profile/bin:/bin" ]
run plan
ok "applied_plan_is_empty" says "nothing to change"
before=$(find "$r" -printf '%p %i %T@ %C@\n' | sort | sha256sum)
ok "second_apply_succeeds" apply
ok "second_apply_writes_nothing" [ "$(find "$r" -printf '%p %i %T@ %C@\n' | sort | sha256sum)" = "$before" ]

# Real Nix agrees.
judge() {
	nix profile list --profile $deploy/profile >"$W/out" &&
		[ "$(awk '{ print $4 }' "$W/out" | tr '\n' ' ')" = "$one $two $three " ] &&
		nix-store --verify --check-contents >"$W/out" 2>&1 && ! grep -E 'error|disappeared' "$W/out" &&
		diff <(nix-store -q --references $deploy/profile-1-link | sort) <(printf '%s\n' "$one" "$two" "$three" | sort) >"$W/out" &&
		nix path-info -r "$judged" | grep -qx "$inner" &&
		nix-collect-garbage >"$W/out" 2>&1 && [ -e "$inner" ] && [ ! -e "$clash" ]
}
ok "nix_agrees" in_store judge

# One program changes; the others stay as they are.
document "$(program one "$one"), $(program two "$two2"), $(program three "$three")"
run plan
ok "update_plans_one_program" [ "$(grep -c 'the profile of deploy: ' "$W/out")" = 1 ]
ok "update_says_what" says "~ profiles  update two in the profile of deploy: $two2"
ok "update_applies" apply
ok "update_is_what_nix_makes" [ "$(tree)" = "$(nix_profile "$one" "$two2" "$three")" ]
ok "update_is_the_new_one" holds 22 bin/two
ok "update_keeps_the_generation_before" [ "$(readlink "$r$deploy/profile-1-link")" = "$judged" ]
document "$(program one "$one"), $(program two "$two2")"
run plan
ok "removal_plans_one_program" [ "$(grep -c 'the profile of deploy: ' "$W/out")" = 1 ]
ok "removal_says_what" says "~ profiles  remove three from the profile of deploy: $three"
ok "removal_applies" apply
ok "removal_is_what_nix_makes" [ "$(tree)" = "$(nix_profile "$one" "$two2")" ]
run plan
ok "plan_after_removal_is_empty" says "nothing to change"

# What users install themselves stays, whatever the document does.
install() {
	chown -R 0 "$r$deploy" # this Nix has one user
	nix profile install --profile $deploy/profile "$three" >"$W/out" 2>&1
}
pull_three() {
	TOP=$three pull "$r" "file://$W/cache"
}
ok "a_user_pulls" pull_three
ok "a_user_installs" in_store install
chown -R 1234 "$r$deploy"
run plan
ok "plan_leaves_a_users_own_alone" says "nothing to change"
document "$(program one "$one"), $(program two "$two"), $(program again "$three")"
ok "update_beside_a_users_own" apply
ok "a_users_own_stays" holds 3 bin/three
ok "ours_is_updated_beside_it" holds 2 bin/two
run plan
ok "plan_beside_a_users_own_is_empty" says "nothing to change"
document "$(program one "$one")"
ok "removal_beside_a_users_own" apply
ok "a_users_own_stays_after_removal" holds 3 bin/three
ok "ours_is_gone" [ ! -e "$r$(tree)/bin/two" ]
echo '{ "rouse": 1 }' >"$W/document"
run plan
ok "a_document_without_profiles_removes_ours" says "remove one from the profile of deploy"
ok "a_document_without_profiles_applies" apply
ok "a_users_own_stays_to_the_end" holds 3 bin/three
ok "login_shells_are_told_no_more" [ ! -e "$r/etc/profile.d/rouse.sh" ]
run plan
ok "plan_without_profiles_is_empty" says "nothing to change"

# What nix-env, or a later Nix, made.
legacy() { # legacy NAME MANIFEST: the profile is a tree with this file
	local tree
	r=$W/$1
	mkdir -p "$r/nix/store" "$r$deploy"
	TOP=$two2 pull "$r" "file://$W/cache"
	tree=$r/nix/store/0123456789abcdfghijklmnpqrsvwxyz-user-environment
	mkdir -p "$tree/bin"
	ln -s "$two2/bin/two" "$tree/bin/two"
	printf '%s' "$3" >"$tree/$2"
	ln -s "${tree#"$r"}" "$r$deploy/profile-4-link"
	ln -s profile-4-link "$r$deploy/profile"
	document "$(program one "$one")"
}
legacy nix-env manifest.nix '[ ]'
ok "a_tree_of_nix_env_is_kept" apply
ok "a_tree_of_nix_env_is_generation_5" [ "$(readlink "$r$deploy/profile")" = profile-5-link ]
ok "programs_of_nix_env_stay" holds 22 bin/two
ok "ours_come_to_them" holds 1 bin/one
run plan
ok "plan_beside_nix_env_is_empty" says "nothing to change"
legacy version-9 manifest.json '{"version":9,"elements":{}}'
ok "a_manifest_of_the_future_is_kept" apply
ok "programs_of_the_future_stay" holds 22 bin/two
legacy version-3 manifest.json '{"version":3,"elements":{"one":{"active":true,"attrPath":"x.two","originalUrl":"flake:nixpkgs","outputs":null,"priority":5,"storePaths":["'"$two2"'"],"url":"github:x"}}}'
ok "a_manifest_of_version_3_is_read" apply
ok "a_manifest_of_version_3_stays_so" [ "$(cat "$r$(tree)/manifest.json")" = \
	'{"elements":{"one":{"active":true,"attrPath":"x.two","originalUrl":"flake:nixpkgs","outputs":null,"priority":5,"storePaths":["'"$two2"'"],"url":"github:x"},"one-1":{"active":true,"storePaths":["'"$one"'"]}},"version":3}' ]
ok "programs_of_version_3_stay" holds 22 bin/two

# Conflicts.
r=$W/conflict
document "$(program one "$one"), $(program clash "$clash")"
apply
ok "a_conflict_is_refused" [ $? = 78 ]
ok "a_conflict_names_the_files" says "'$clash/bin/one' and '$one/bin/one' have the same priority, 5"
ok "a_conflict_changes_nothing" [ ! -e "$r$deploy/profile" ]
document "$(program one "$one"), $(program clash "$clash" '"priority": 4')"
ok "a_priority_decides" apply
ok "the_lower_number_wins" holds other bin/one
document "$(program one "$one"), $(program clash "$clash" '"priority": 6')"
ok "a_priority_can_change" apply
ok "the_other_wins_then" holds 1 bin/one
document "$(program one "$one"), $(program flat "$flat")"
apply
ok "a_file_in_the_place_of_a_directory_is_refused" [ $? = 78 ]
document "$(program one "$one"), $(program file "$file")"
apply
ok "a_package_that_is_a_file_is_refused" [ $? = 78 ]
document "$(program one "$one"), $(program same "$one")"
run plan
ok "the_same_path_twice_is_refused" [ $? = 78 ]

# Everybody's.
r=$W/all
document "$(program one "$one")" "$(program two "$two"), $(program flat "$inner")"
ok "environment_applies" apply
ok "environment_is_the_default_profile" [ "$(readlink "$r/nix/var/nix/profiles/$(readlink "$r/nix/var/nix/profiles/default")")" = "$(nix_profile "$two" "$inner")" ]
ok "a_user_that_is_missing_has_a_profile" holds 1 bin/one
run plan
ok "a_user_that_is_missing_is_noted" says "is no user with a home yet"
ok "environment_plan_is_empty" says "nothing to change"
# … who has a home by and by: then the profile that waited is the user's.
mkdir -p "$r/etc" "$r/home/deploy"
printf 'deploy:x:1234:1234::/home/deploy:/bin/sh\n' >"$r/etc/passwd"
chown 1234:1234 "$r/home/deploy"
ok "a_user_who_comes_later_is_applied" apply
ok "a_user_who_comes_later_is_linked" [ "$(readlink "$r/home/deploy/.nix-profile")" = $deploy/profile ]
ok "a_user_who_comes_later_has_the_profile" [ "$(stat -c %u "$r$deploy")" = 1234 ]

# A user who points elsewhere.
r=$W/evil
mkdir -p "$r/etc" "$r/home/deploy" "$r/nix/var/nix/profiles/per-user" "$W/outside"
printf 'deploy:x:1234:1234::/home/deploy:/bin/sh\n' >"$r/etc/passwd"
chmod 1777 "$r/nix/var/nix/profiles/per-user"
ln -s "../../../../../../outside" "$r$deploy"
chown -h 1234 "$r$deploy" "$r/home/deploy"
ln -s /etc "$r/home/deploy/.nix-profile"
document "$(program one "$one")"
apply
ok "a_directory_that_a_user_linked_is_refused" [ $? = 71 ]
ok "a_directory_that_a_user_linked_is_not_followed" [ -z "$(ls "$W/outside")" ]
rm "$r$deploy"
ok "without_it_the_profile_is_made" apply
ok "a_users_own_link_stays" [ "$(readlink "$r/home/deploy/.nix-profile")" = /etc ]
run plan
ok "a_users_own_link_is_noted" says "keep the .nix-profile of deploy"
ok "a_users_own_link_is_no_change" says "nothing to change"

# Killed at any moment, the next run ends what was begun; ours stays ours.
killed=0 broken=0
for at in renameat:1 renameat:2 renameat:4 renameat:6 renameat:7 renameat:8 renameat:9 renameat:10 renameat2:1 renameat2:2 syncfs:1 syncfs:2 \
	symlinkat:1 symlinkat:4 symlinkat:8; do
	r=$W/killed
	rm -rf "$r"
	document "$(program one "$one"), $(program two "$two")"
	apply || broken=$((broken + 1))
	document "$(program one "$one"), $(program two "$two2")"
	{ strace -f -o /dev/null -e trace=${at%:*} -e inject=${at%:*}:signal=KILL:when=${at#*:} \
		"$ROUSE" apply --root "$r" --only closure --yes "$W/document" >"$W/out" 2>&1; } 2>/dev/null || killed=$((killed + 1))
	document "$(program two "$two2")"
	apply && [ "$(tree)" = "$(nix_profile "$two2")" ] && run plan && says "nothing to change" && no_leftovers "$r" ||
		{ broken=$((broken + 1)); echo "# $at"; sed 's/^/# /' "$W/out"; }
done
echo "# killed $killed times"
ok "kill_happened" [ "$killed" -gt 5 ]
ok "kill_leaves_nothing_behind_that_is_not_undone" [ "$broken" = 0 ]

finish
