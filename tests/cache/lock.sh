#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `rouse lock` against a channel that publishes what real ones do, the jobs of its Hydra, lists that a CI
# wrote, and a cache of closures made by real Nix. No Nix is in its path.
# shellcheck source=tests/cache/world.sh
. "$(dirname "$0")/world.sh"
enter 900 "$0"
command -v brotli >/dev/null || { echo "1..0 # SKIP needs brotli"; exit 0; }

begin_world
for name in lib htop1 htop2 pg15 pg16a pg16b pgjit curlbin curl other unsigned system1 system2 db; do
	path=$(nix-store -Q -r "$(nix-instantiate -Q "$HERE/channel.nix" -A $name 2>/dev/null)" 2>/dev/null)
	[ -n "$path" ] || { printf '1..1\nnot ok 1 - %s\n' "Nix does not build '$name'"; exit 1; }
	declare "$name=$path"
done
# shellcheck disable=SC2154 # declared above
make_cache cache zstd "$htop1" "$htop2" "$pg15" "$pg16a" "$pg16b" "$pgjit" "$curlbin" "$curl" "$other" \
	"$system1" "$system2" "$db" || { printf '1..1\nnot ok 1 - %s\n' "no cache"; exit 1; }
nix copy --quiet --to "file://$W/cache?compression=zstd" "$unsigned" 2>/dev/null
sizes() { nix path-info -r -s "$1" | awk '{ n += $2 } END { print n }'; }
hash_of() { nix hash to-sri "$(nix-store -q --hash "$1")"; }

# --- the channel ---
A=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa B=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
# Where the channel leads to: release 1, or 2 once there is a file that says so.
# shellcheck disable=SC2016 # nginx's own variables
printf 'location ~ ^/channels/nixos-24.05/(.*)$ { if (-f %s/moved) { return 302 %s$1; } return 302 %s$1; }\n' "$W" \
	"https://\$http_host/releases/nixos-24.05.2.${B:0:12}/" "https://\$http_host/releases/nixos-24.05.1.${A:0:12}/" \
	>"$W/locations.conf"
serve
current() { # NUMBER
	rm -f "$W/moved"
	[ "$1" = 1 ] || touch "$W/moved"
}
# release NUMBER REVISION: its directory is R
release() {
	R=$W/releases/nixos-24.05.$1.${2:0:12}
	mkdir -p "$R" "$W/eval/$1/job"
	printf '%s' "$2" >"$R/git-revision"
	printf '%s' "$HTTPS/eval/$1" >"$R/src-url"
	printf '%s' "$HTTPS/cache" >"$R/binary-cache-url"
}
packages() { # JSON members: packages.json.br of release R
	printf '{"version":"2","packages":{%s}}' "$1" | brotli -c >"$R/packages.json.br"
}
paths() { # PATH…: store-paths.xz of release R
	printf '%s\n' "$@" | xz -c >"$R/store-paths.xz"
}
package() { # ATTRIBUTE PNAME VERSION [MORE]
	printf '"%s":{"name":"%s-%s","pname":"%s","version":"%s","system":"x86_64-linux","outputName":"out","outputs":["out"],"meta":{"available":true%s}}' \
		"$1" "$2" "$3" "$2" "$3" "${4:-}"
}
job() { # EVALUATION NAME PATH [OUTPUT [STATUS]]
	printf '{"id":7,"finished":1,"buildstatus":%s,"job":"%s","nixname":"x","drvpath":"/nix/store/x.drv","buildoutputs":{"%s":{"path":"%s"}}}' \
		"${5:-0}" "$2" "${4:-out}" "$3" >"$W/eval/$1/job/$2"
}
release 1 $A
packages "$(package htop htop 3.2.2),$(package postgresql postgresql 15.7),$(package postgresql_16 postgresql 16.3),$(package curl curl 8.7.1 | sed 's/"outputName":"out"/"outputName":"bin"/'),$(package vscode vscode 1.90 ',"unfree":true'),$(package php81Packages.htop htop 9),$(package unsigned unsigned 1)"
paths "$htop1" "$pg15" "$pg16a" "$curlbin" "$unsigned" "$system1"
job 1 nixpkgs.htop.x86_64-linux "$htop1"
job 1 nixpkgs.postgresql.x86_64-linux "$pg15"
job 1 nixpkgs.postgresql_16.x86_64-linux "$pg16a"
job 1 nixpkgs.curl.x86_64-linux "$curlbin" bin
job 1 nixpkgs.unsigned.x86_64-linux "$unsigned"
job 1 nixos.closures.web.x86_64-linux "$system1"
release 2 $B
packages "$(package htop htop 3.3.0),$(package postgresql postgresql 15.7),$(package postgresql_16 postgresql 16.10),$(package postgresql_16_jit postgresql 16.10),$(package curl curl 8.7.1)"
paths "$htop2" "$pg15" "$pg16b" "$system2" "$curl"
job 2 nixpkgs.htop.x86_64-linux "$htop2"
job 2 nixpkgs.postgresql_16.x86_64-linux "$pg16b"
job 2 nixos.closures.web.x86_64-linux "$system2"
job 2 nixpkgs.curl.x86_64-linux "$curl"
current 1

# --- documents ---
CACHES='"caches": { "acme": { "url": "'$HTTPS/cache'", "keys": ["'$KEY'"] } }'
write() { # DOCUMENT: web.json, never locked
	rm -f "$W/web.lock.json"
	printf '%s' "$1" >"$W/web.json"
}
edit() { printf '%s' "$1" >"$W/web.json"; }
lock() {
	(cd "$W" && env -i SSL_CERT_FILE="$W/ca.pem" PATH=/nowhere "$ROUSE" lock --channels "$HTTPS/channels" web.json "$@") >"$W/out" 2>&1
	status=$?
	return $status
}
pin() { # KEY… : the value in the locked document
	python3 -c 'import functools, json, sys
v = functools.reduce(lambda v, k: v.get(k, {}), sys.argv[2:], json.load(open(sys.argv[1])))
print(v if isinstance(v, (str, int)) else json.dumps(v))' "$W/web.lock.json" "$@"
}
is() { [ "$1" = "$2" ] || { echo "# '$1' is not '$2'" && false; }; }
fails() { # NAME STATUS TEXT DOCUMENT: the document is not locked
	write "$4"
	lock
	ok "$1" test "$status" = "$2"
	ok "$1_says_so" grep -q -- "$3" "$W/out"
	ok "$1_writes_nothing" test ! -e "$W/web.lock.json"
}

HTOP='"htop": "*"' PG='"postgresql": "16.*"'
SYSTEM='"system": { "channel": "nixos-24.05", "attribute": "closures.web" }'
doc() { printf '{ "rouse": 1, %s, %s, "profiles": { "deploy": { %s } }, "hostname": "web" }' "$CACHES" "$SYSTEM" "$1"; }
write "$(doc "$HTOP, $PG")"
ok unlocked_is_refused_by_check sh -c "! '$ROUSE' check '$W/web.json' >'$W/out'"
ok unlocked_says_what_to_run grep -q 'system: is not locked to a store path: run `rouse lock`' "$W/out"
ok locks lock
ok locks_the_job_of_the_system is "$(pin system path)" "$system1"
ok locks_the_attribute_of_this_name is "$(pin profiles deploy htop path)" "$htop1"
ok locks_the_version_that_is_wanted is "$(pin profiles deploy postgresql path)" "$pg16a"
ok records_the_hash is "$(pin profiles deploy htop narHash)" "$(hash_of "$htop1")"
ok records_the_size_of_the_closure is "$(pin system closureSize)" "$(sizes "$system1")"
ok records_the_revision is "$(pin system lock revision)" $A
ok records_the_release is "$(pin system lock release)" "$HTTPS/releases/nixos-24.05.1.aaaaaaaaaaaa"
ok records_the_evaluation is "$(pin system lock evaluation)" "$HTTPS/eval/1"
ok records_the_attribute is "$(pin profiles deploy postgresql lock attribute)" postgresql_16
ok records_the_version is "$(pin profiles deploy postgresql lock version)" 16.3
ok records_what_was_wanted is "$(pin profiles deploy postgresql lock wanted version)" '16.*'
ok keeps_the_order is "$(grep -o '^  "[a-z]*"' "$W/web.lock.json" | tr -d '\n ')" '"rouse""caches""system""profiles""hostname"'
ok the_locked_document_is_valid "$ROUSE" check "$W/web.lock.json"
ok asks_for_each_index_once is "$(grep -c 'packages.json.br\|store-paths.xz' "$W/access.log")" 2
cp "$W/web.lock.json" "$W/first"

ok locks_again lock
ok locks_again_changes_nothing cmp "$W/first" "$W/web.lock.json"
ok locks_again_says_so grep -q 'nothing to change in web.lock.json' "$W/out"
mkdir "$W/target"
ok what_is_locked_can_be_pulled "$ROUSE" pull --cache "$HTTPS/cache" --key "$KEY" --store "$W/target" \
	"$(pin system path)#$(pin system narHash)"

mkdir "$W/manifests"
ok manifests_are_written lock --manifests "$W/manifests" --manifests-url "$HTTPS/manifests"
url=$(pin system manifest url)
ok manifests_are_pinned is "$(pin system manifest sha256)" "$(sha256sum "$W/manifests/$(basename "$url")" | cut -d' ' -f1)"
ok manifests_are_where_machines_find_them is "${url%/*}" "$HTTPS/manifests"
ok manifests_list_every_path is "$(pin system manifest paths)" "$(nix-store -qR "$system1" | wc -l)"
ok manifests_are_of_each_closure is "$(find "$W/manifests" -type f | wc -l)" 3
ok manifests_leave_a_valid_document "$ROUSE" check "$W/web.lock.json"
cp "$W/web.lock.json" "$W/pinned"
ok manifests_stay lock
ok manifests_stay_to_the_bit cmp "$W/pinned" "$W/web.lock.json"
lock --manifests "$W/manifests"
ok manifests_need_a_url test $status = 64
cp "$W/first" "$W/web.lock.json"

# --- moving on ---
current 2
ok stays_where_it_was_locked lock
ok stays_to_the_bit cmp "$W/first" "$W/web.lock.json"
ok update_of_one_moves lock --update htop
ok update_of_one_moves_it is "$(pin profiles deploy htop path)" "$htop2"
ok update_of_one_leaves_the_system is "$(pin system path)" "$system1"
ok update_of_one_leaves_the_other is "$(pin profiles deploy postgresql lock revision)" $A
ok update_of_one_says_so grep -q '^moved  deploy/htop: htop-3.2.2 -> htop-3.3.0' "$W/out"
ok update_of_one_changes_only_its_lines is \
	"$(diff "$W/first" "$W/web.lock.json" | grep -c '^>')" 6
cp "$W/first" "$W/web.lock.json"
edit "$(doc "$HTOP, $PG, \"curl\": \"*\"")"
ok a_new_package_is_locked lock
ok a_new_package_is_of_the_locked_release is "$(pin profiles deploy curl path)" "$curlbin"
ok a_new_package_moves_nothing_else is "$(diff "$W/first" "$W/web.lock.json" | grep -c '^<')" 0
cp "$W/first" "$W/web.lock.json"
edit "$(doc "$HTOP, $PG" | sed 's/"hostname"/"environment": { "curl": "*" }, "hostname"/')"
ok programs_for_all_are_locked lock
ok programs_for_all_are_of_the_locked_release is "$(pin environment curl path)" "$curlbin"
edit "$(doc '"htop": "3.3.*"')"
lock
ok a_new_pattern_is_looked_up_there test $status = 78
ok a_new_pattern_says_how_to_look_elsewhere grep -q "no version of 'htop'.*there is: 3.2.2.*--update looks in the newest" "$W/out"
cp "$W/first" "$W/web.lock.json"
edit "$(doc "$HTOP, $PG")"
ok update_of_the_system_moves lock --update=system
ok update_of_the_system_moves_it is "$(pin system lock revision)" $B
ok update_of_the_system_leaves_packages is "$(pin profiles deploy htop path)" "$htop1"
ok update_of_everything_moves lock --update
ok update_of_everything_moves_the_package is "$(pin profiles deploy postgresql path)" "$pg16b"
lock --update vim
ok update_of_what_is_not_there_is_a_mistake test $status = 64
lock htop
ok a_name_without_update_is_a_mistake test $status = 64
lock --output web.json
ok the_document_itself_is_not_written test $status = 64
write "$(doc "$HTOP, $PG")"
ok prints_to_standard_output lock --output - --json
ok prints_the_document grep -q "$htop2" "$W/out"

# --- what the channel cannot tell ---
fails missing_package 78 "there is no package 'vim'" "$(doc '"vim": "*"')"
fails missing_version 78 "no version of 'postgresql' is '17.\*'; there is: 15.7, 16.10, 16.10" "$(doc '"postgresql": "17.*"')"
fails missing_channel 78 'there is no channel at' "{ \"rouse\": 1, $CACHES, \"channel\": \"nixos-99.99\", \"profiles\": { \"a\": { $HTOP } } }"
fails missing_where 78 'nothing says where to look' "{ \"rouse\": 1, $CACHES, \"profiles\": { \"a\": { $HTOP } } }"
fails missing_caches 78 "the channel names '$HTTPS/cache'" "{ \"rouse\": 1, \"channel\": \"nixos-24.05\", \"profiles\": { \"a\": { $HTOP } } }"
fails system_without_a_job 78 'many systems: say which' "{ \"rouse\": 1, $CACHES, \"system\": { \"channel\": \"nixos-24.05\" } }"
fails missing_job 78 "postgresql.* is not built for x86_64-linux: no job" "$(doc '"postgresql": "15.*"')"
fails other_platform 78 'not built for riscv64-linux' "{ \"rouse\": 1, $CACHES, \"channel\": \"nixos-24.05\", \"platform\": \"riscv64-linux\", \"profiles\": { \"a\": { $HTOP } } }"
fails broken_document 78 'web.json:1:.*hostnam' "{ \"rouse\": 1, \"hostnam\": \"x\", \"profiles\": { \"a\": { $HTOP } } }"
fails plain_http 78 'expected a channel' "{ \"rouse\": 1, $CACHES, \"channel\": \"$HTTP/channels/nixos-24.05\", \"profiles\": { \"a\": { $HTOP } } }"
current 1
fails unfree_package 78 'vscode.* it is unfree' "$(doc '"vscode": "*"')"
fails unsigned_path 77 'not signed' "$(doc '"unsigned": "*"')"
mv "$W/eval/1/job/nixpkgs.htop.x86_64-linux" "$W/htop-job"
job 1 nixpkgs.htop.x86_64-linux "$htop1" out 1
fails failed_build 78 'a build that failed' "$(doc "$HTOP")"
job 1 nixpkgs.htop.x86_64-linux "$other"
fails job_of_another_build 78 'do not list' "$(doc "$HTOP")"
fails job_of_another_version 78 "is version '3.3.0', and '3.2.\*'" "$(doc '"htop": { "job": "nixpkgs.htop.x86_64-linux", "version": "3.2.*" }')"
fails job_of_another_evaluation 78 'do not list' "$(doc '"htop": { "job": "nixpkgs.htop.x86_64-linux" }')"
R=$W/releases/nixos-24.05.1.${A:0:12}
job 1 nixpkgs.htop.x86_64-linux /nix/store/00000000000000000000000000000000-htop-3.2.2
paths "$htop1" "$system1" /nix/store/00000000000000000000000000000000-htop-3.2.2
fails path_that_no_cache_has 78 'is in none of the caches' "$(doc "$HTOP")"
mv "$W/htop-job" "$W/eval/1/job/nixpkgs.htop.x86_64-linux"
head -c 100 "$R/packages.json.br" >"$W/cut"
cp "$W/cut" "$R/packages.json.br"
fails cut_index 78 'brotli data is cut off' "$(doc "$HTOP")"
rm "$R/packages.json.br"
write "$(doc "$HTOP")"
ok without_packages_the_job_of_this_name_is_asked lock
ok without_packages_it_is_found is "$(pin profiles deploy htop path)" "$htop1"

# --- lists that a CI wrote ---
printf '%s\n' "$system1" "$system2" "$htop1" "$htop2" "$pg15" "$pg16a" "$pg16b" "$curl" "$curlbin" >"$W/paths"
xz -k "$W/paths"
listed() { printf '{ "rouse": 1, %s, "storePaths": "%s", "system": {}, "profiles": { "a": { %s } } }' "$CACHES" "$1" "$2"; }
write "$(listed "$HTTPS/paths" "$HTOP, $PG, \"curl\": { \"output\": \"bin\" }")"
ok list_locks lock
ok list_has_the_newest_system is "$(pin system path)" "$system2"
ok list_has_the_newest_package is "$(pin profiles a htop path)" "$htop2"
ok list_orders_versions_by_number is "$(pin profiles a postgresql path)" "$pg16b"
ok list_knows_outputs is "$(pin profiles a curl path)" "$curlbin"
write "$(listed "$HTTPS/paths.xz" '"htop": "3.2.*"')"
ok list_may_be_compressed lock
ok list_takes_patterns is "$(pin profiles a htop path)" "$htop1"
write "$(listed "file://$W/paths" '"curl": "*"')"
ok list_may_be_a_file lock
ok list_leaves_other_outputs_out is "$(pin profiles a curl path)" "$curl"
fails list_without_it 78 "lists no 'vim'" "$(listed "$HTTPS/paths" '"vim": "*"')"
fails list_without_the_version 78 "no 'htop' with a version '4.\*'; there is: 3.[23].[20], 3.[23].[20]" "$(listed "$HTTPS/paths" '"htop": "4.*"')"
fails list_that_is_missing 78 'there is no list at' "$(listed "$HTTPS/none" "$HTOP")"
echo "$other" >>"$W/paths"
fails list_that_is_ambiguous 78 'a list cannot tell which' "$(listed "$HTTPS/paths" "$HTOP")"
echo "$db" >>"$W/paths"
fails list_of_two_systems 78 'several systems.*nixos-system-' "$(listed "$HTTPS/paths" '"curl": "*"')"
echo '<html>' >>"$W/paths"
fails list_that_is_none 78 'line 12 is not a store path' "$(listed "$HTTPS/paths" '"curl": "*"')"

# --- layers ---
printf '{ "rouse": 1, %s, "channel": "nixos-24.05" }' "$CACHES" >"$W/base.json"
write "{ \"rouse\": 1, \"from\": { \"url\": \"file://$W/base.json\", \"sha256\": \"$(sha256sum "$W/base.json" | cut -d' ' -f1)\" }, \"profiles\": { \"a\": { $HTOP } } }"
ok base_says_where_to_look lock
ok base_is_left_alone is "$(pin caches)" '{}'
ok base_stays_pinned is "$(pin from url)" "file://$W/base.json"
write "{ \"rouse\": 1, $CACHES, \"system\": { \"path\": \"$db\" } }"
ok a_given_path_is_checked lock
ok a_given_path_stays_as_written is "$(pin system)" "{\"path\": \"$db\"}"
finish
