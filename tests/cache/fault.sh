#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What goes wrong on the machine itself: power cuts, full disks, two agents at once.
# shellcheck source=tests/cache/world.sh
. "$(dirname "$0")/world.sh"
enter 900 "$0"

begin_world
make_closure || { printf '1..1\nnot ok 1 - %s\n' "Nix does not build the closure"; exit 1; }
list_closure >"$W/names"
describe /nix/store "$W/names" >"$W/original"
make_cache zstd zstd
echo "location /slow/ { limit_rate 4k; alias $W/zstd/; }" >"$W/locations.conf"
serve

same() { # same DIR
	describe "$1/nix/store" "$W/names" >"$W/pulled" && diff "$W/original" "$W/pulled" >"$W/out"
}
# Every path that rouse calls valid is so to the bit, whatever has happened.
registered_is_true() { # registered_is_true DIR
	local list=$1/nix/var/nix/rouse/registration
	[ -e "$list" ] || return 0
	while read -r path; do
		read -r hash && read -r size && read -r _ && read -r n || return 1
		for _ in $(seq "$n"); do read -r _; done
		[ "$(nix-store --dump "$1$path" | sha256sum | cut -d' ' -f1)" = "$hash" ] || return 1
		[ "$(nix-store --dump "$1$path" | wc -c)" = "$size" ] || return 1
	done <"$list"
}
# Kills a process of a pull (it has two) that makes its Nth of some system call: a point in its work, not in
# time. With the parent its child ends; without its child the parent registers what is complete.
kill_at() { # kill_at DIR SYSCALL N
	mkdir -p "$1"
	strace -f -qq -o /dev/null -e trace="$2" -e inject="$2":signal=KILL:when="$3" \
		"$ROUSE" pull --cache "$HTTP/zstd" --key "$KEY" --store "$1" "$TOP" >"$W/out" 2>&1 &
	wait $! 2>/dev/null
}

if command -v strace >/dev/null; then
	for point in mkdirat:1 mkdirat:4 openat:20 write:10 write:60 renameat2:1 renameat2:9 renameat2:40 \
		futimens:1 utimensat:30 syncfs:1 rename:1 renameat:1; do
		d=$W/kill-$point
		kill_at "$d" "${point%:*}" "${point#*:}"
		[ $? = 0 ] && continue # there was no such call
		ok "killed_at_${point}_claims_nothing_false" registered_is_true "$d"
		ok "killed_at_${point}_then_converges" pull "$d" "$HTTP/zstd"
		ok "killed_at_${point}_ends_the_same" same "$d"
		ok "killed_at_${point}_leaves_nothing" no_leftovers "$d"
		rm -rf "$d"
	done
fi

# Bytes from the network are unpacked in a child that can do nothing else; either may be killed.
begin_slow() { # begin_slow DIR: p is the pull, child what it has unpack for it
	mkdir -p "$1"
	"$ROUSE" pull --cache "$HTTP/slow" --key "$KEY" --store "$1" "$TOP" >"$W/out" 2>&1 &
	p=$!
	for _ in $(seq 1200); do
		child=$(pgrep -P $p) && grep -q '^Seccomp:.2' "/proc/$child/status" && return
		sleep 0.05
	done 2>/dev/null
	return 1
}
is_gone() { # is_gone PID
	for _ in $(seq 1200); do
		[ -e "/proc/$1" ] || return 0
		sleep 0.05
	done
	return 1
}
ok "unpacking_is_limited_to_some_calls" begin_slow "$W/slow"
status=$(cat "/proc/$child/status")
ok "unpacking_has_no_capabilities" [ "$(grep -c '^Cap[A-Z][a-z]*:.0000000000000000$' <<<"$status")" = 5 ]
ok "unpacking_gains_no_privileges" grep -q '^NoNewPrivs:.1' <<<"$status"
ok "unpacking_has_the_staging_directory_and_the_lock_only" [ -z "$(find "/proc/$child/fd" -printf '%l\n' |
	grep -vE "^$|^/dev/null$|^(socket|pipe|anon_inode):|^$W/(out$|slow/nix/store/\.rouse-staging-|slow/nix/var/nix/rouse/lock$)|/ca\.pem$")" ]
kill -9 "$child"
wait $p
ok "unpacking_that_is_killed_is_a_system_error" [ $? = 71 ]
ok "unpacking_that_is_killed_is_told" grep -q "the process that unpacks archives was ended by signal 9" "$W/out"
ok "unpacking_that_is_killed_claims_nothing_false" registered_is_true "$W/slow"
begin_slow "$W/slow"
kill -9 $p
wait $p 2>/dev/null
ok "unpacking_ends_with_its_parent" is_gone "$child"
ok "unpacking_that_was_killed_then_converges" pull "$W/slow" "$HTTP/zstd"
ok "unpacking_that_was_killed_ends_the_same" same "$W/slow"
ok "unpacking_that_was_killed_leaves_nothing" no_leftovers "$W/slow"
rm -rf "$W/slow"

# A full disk, of bytes and of inodes; both are foreseen, and when they come nevertheless they are told.
small() { # small DIR OPTIONS
	mkdir -p "$1"
	mount -t tmpfs -o "$2" none "$1"
}
small "$W/small" size=16m
pull "$W/small" "$HTTP/zstd"
ok "too_small_is_refused" [ $? = 71 ]
ok "too_small_says_so" grep -q "closure needs .* has .* free" "$W/out"
ok "too_small_is_refused_before_anything_is_written" [ -z "$(ls "$W/small")" ]
umount "$W/small"
small "$W/small" size=100m,nr_inodes=60
pull "$W/small" "$HTTP/zstd"
ok "too_few_inodes_is_refused" [ $? = 71 ]
ok "too_few_inodes_says_so" grep -q "more files" "$W/out"
umount "$W/small"
mkdir -p "$W/big"
mount -t tmpfs -o size=100m none "$W/big"
if command -v strace >/dev/null; then
	strace -f -qq -o /dev/null -e trace=write -e inject=write:error=ENOSPC:when=400+ \
		"$ROUSE" pull --cache "$HTTP/zstd" --key "$KEY" --store "$W/big" "$TOP" >"$W/out" 2>&1
	ok "no_space_in_the_middle_is_a_system_error" [ $? = 71 ]
	ok "no_space_in_the_middle_says_so" grep -q "No space left on device" "$W/out"
	ok "no_space_in_the_middle_leaves_nothing" no_leftovers "$W/big"
	ok "no_space_in_the_middle_claims_nothing_false" registered_is_true "$W/big"
fi
umount "$W/big"
mkdir -p "$W/ro/nix/store"
mount --bind "$W/ro" "$W/ro"
mount -o remount,bind,ro "$W/ro"
pull "$W/ro" "$HTTP/zstd"
ok "read_only_store_is_a_system_error" [ $? = 71 ]
ok "read_only_store_says_so" grep -q "Read-only file system" "$W/out"
umount "$W/ro"

# A store behind a read-only mount, as NixOS has it, is written behind it, and the mount stays.
mkdir -p "$W/nixos/nix/store"
mount --bind "$W/nixos/nix/store" "$W/nixos/nix/store"
mount -o remount,bind,ro "$W/nixos/nix/store"
ok "read_only_mount_of_the_store_pulls" pull "$W/nixos" "$HTTP/zstd"
ok "read_only_mount_of_the_store_stays" [ "$(findmnt -no OPTIONS "$W/nixos/nix/store" | grep -c '^ro')" = 1 ]
ok "read_only_mount_of_the_store_is_the_same" same "$W/nixos"
umount "$W/nixos/nix/store"

# Two at once: one waits for the other, and finds everything there.
mkdir -p "$W/two"
for i in 1 2; do
	"$ROUSE" pull --json --cache "$HTTP/zstd" --key "$KEY" --store "$W/two" "$TOP" >"$W/two.$i" 2>&1 &
	pids[i]=$!
done
wait "${pids[1]}"
first=$?
wait "${pids[2]}"
ok "two_at_once_both_succeed" [ $first$? = 00 ]
ok "two_at_once_end_the_same" same "$W/two"
both=$(sed -n "s/.*closure.fetched\": \([0-9]*\).*/\1/p" "$W"/two.[12] | paste -sd+)
ok "two_at_once_fetch_once" [ "$((both))" = "$(wc -l <"$W/names")" ]
exec 9>"$W/two/nix/var/nix/rouse/lock"
flock 9
rm -rf "$W/two/nix/store/${TOP#/nix/store/}"
pull "$W/two" "$HTTP/zstd" -- --timeout 3s
ok "a_lock_that_stays_is_unavailable" [ $? = 75 ]
ok "a_lock_that_stays_says_so" grep -q "locked by another rouse" "$W/out"
exec 9>&-

# A damaged list of ours is said to be damaged, not believed.
echo "/nix/store/nonsense" >"$W/two/nix/var/nix/rouse/registration"
pull "$W/two" "$HTTP/zstd"
ok "damaged_registration_is_a_system_error" [ $? = 71 ]
ok "damaged_registration_is_named" grep -q "'/nix/var/nix/rouse/registration' is damaged; remove it" "$W/out"
rm "$W/two/nix/var/nix/rouse/registration"
ok "without_it_a_pull_makes_it_again" pull "$W/two" "$HTTP/zstd"
ok "the_closure_is_in_it" grep -qx "$TOP" "$W/two/nix/var/nix/rouse/registration"

# The running system: Nix is there, and knows everything at the end.
umount /nix
mkdir -p "$W/live"
mount --bind "$W/live" /nix
pull / "$HTTP/zstd"
ok "live_pull" [ $? = 0 ]
ok "live_nix_knows_the_closure" [ "$(nix-store -qR "$TOP" 2>"$W/out" | wc -l)" = "$(wc -l <"$W/names")" ]
ok "live_nix_verifies" nix-store --verify --check-contents
ok "live_root_is_clean" [ ! -e /nix-path-registration ]
umount /nix
mount --bind "$W/nix" /nix

# A root that has a Nix and nothing else: no /proc, no /dev, not even /etc/passwd, as in an initramfs.
bare=$W/bare
mkdir -p "$bare/usr/bin" "$bare/usr/lib"
ln -s usr/lib "$bare/lib"
ln -s usr/lib "$bare/lib64"
cp -L "$(command -v nix-store)" "$bare/usr/bin/nix-store"
ldd "$(command -v nix-store)" | grep -o '/[^ ]*' | while read -r library; do
	mkdir -p "$bare$(dirname "$library")"
	cp -L "$library" "$bare$library"
done
ok "bare_root_pull" pull "$bare" "$HTTP/zstd"
ok "bare_root_nix_knows_the_closure" [ "$(USER=root chroot "$bare" /usr/bin/nix-store -qR "$TOP" 2>"$W/out" | wc -l)" = "$(wc -l <"$W/names")" ]
ok "bare_root_leaves_nothing_to_load" [ ! -e "$bare/nix-path-registration" ]

finish
