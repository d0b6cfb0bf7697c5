#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Pulls a closure of real Nix from caches in Google Cloud Storage and in Azure Blob Storage: one token for all
# requests, keys beneath a prefix, and what is missing, forbidden or refused in the middle.
# shellcheck source=tests/cache/world.sh
. "$(dirname "$0")/world.sh"
need
if [ -z "${ROUSE_IN_NAMESPACE:-}" ]; then
	export ROUSE ROUSE_IN_NAMESPACE=1
	exec timeout -k 5 600 unshare --net --uts --mount --propagation private bash "$0"
fi

begin_world
leave_world=$(declare -f leave)
eval "${leave_world/leave/leave_nix}"
store=
end_store() {
	# shellcheck disable=SC2015 # either may fail
	[ -z "$store" ] || { kill "$store" && wait "$store"; } 2>/dev/null
}
leave() {
	end_store
	umount /sys /proc/cmdline /etc/hosts 2>/dev/null
	leave_nix
}

make_closure --arg units 8 || { printf '1..1\nnot ok 1 - %s\n' "Nix does not build the closure"; exit 1; }
list_closure >"$W/names"
describe /nix/store "$W/names" >"$W/original"
make_cache bucket/deep/zstd zstd || { printf '1..1\nnot ok 1 - %s\n' "no cache"; exit 1; }
# Another bucket has all narinfos, and not the archive of one path.
cp -a "$W/bucket" "$W/torn"
torn=$(sed -n 's/^URL: //p' "$W/torn/deep/zstd/$(grep -- '-app-2.1$' "$W/names" | cut -c 1-32).narinfo")
rm "$W/torn/deep/zstd/$torn"
mkdir "$W/empty"

mkdir -p "$W/sys/class/dmi/id" "$W/sys/class/block" "$W/sys/class/net"
echo quiet >"$W/cmdline"
echo '127.0.0.1 localhost storage.googleapis.com acme.blob.core.windows.net' >"$W/hosts"
if ! mount --bind "$W/sys" /sys || ! mount --bind "$W/cmdline" /proc/cmdline || ! mount --bind "$W/hosts" /etc/hosts; then
	echo "1..0 # SKIP no mount"
	exit 0
fi
ip link set lo up
ip address add 169.254.169.254/32 dev lo
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=store" -addext \
	'subjectAltName=DNS:storage.googleapis.com,DNS:*.blob.core.windows.net' \
	-keyout "$W/store.key" -out "$W/store.pem" 2>/dev/null
cat "$W/store.key" "$W/store.pem" >"$W/store.tls"
export SSL_CERT_FILE=$W/store.pem

stores() { # [MORE]: three buckets in each cloud: with the closure, torn, and with nothing
	end_store
	: >"$W/requests"
	: >"$W/ready"
	cat >"$W/blob.json" <<-END
		{ "tokens": { "gs": "canary-google", "az": "canary-azure" }, "objects": {},
		  "dirs": { "gs/cache": "$W/bucket", "gs/torn": "$W/torn", "gs/other": "$W/empty",
			"az/acme/cache": "$W/bucket", "az/acme/torn": "$W/torn", "az/acme/other": "$W/empty" }${1:+, $1} }
	END
	python3 tests/cloud/blob.py --config "$W/blob.json" --log "$W/requests" --tls "$W/store.tls" >"$W/ready" &
	store=$!
	for _ in $(seq 1200); do
		[ -s "$W/ready" ] && return
		sleep 0.05
	done
}
machine() { # gs|az|none
	rm -f "$W/sys/class/dmi/id/"*
	case $1 in
	gs) echo 'Google Compute Engine' >"$W/sys/class/dmi/id/product_name" ;;
	az) echo '7783-7084-3265-9085-8269-3286-77' >"$W/sys/class/dmi/id/chassis_asset_tag" ;;
	none) echo QEMU >"$W/sys/class/dmi/id/sys_vendor" ;;
	esac
}
same() { # same DIR
	describe "$1/nix/store" "$W/names" >"$W/pulled" && diff "$W/original" "$W/pulled" >"$W/out"
}
saw() { [ "$(grep -c -- "$1" "$W/requests")" = "$2" ]; }
paths=$(wc -l <"$W/names")

for cloud in gs az; do
	case $cloud in
	gs) at=gs:/ none=404 script=/storage/v1/b/cache/o/deep%2Fzstd%2F token=/computeMetadata/v1/instance/service-accounts/default/token ;;
	az) at=az://acme none=400 script=/cache/deep/zstd/ token=/metadata/identity/oauth2/token ;;
	esac
	d=$W/$cloud
	mkdir "$d"
	machine $cloud
	stores
	ok ${cloud}_cache_pulls pull "$d/a" "$at"/cache/deep/zstd
	ok ${cloud}_cache_is_the_same_to_the_bit same "$d/a"
	ok ${cloud}_cache_asks_for_one_token saw '"metadata": true' 1
	ok ${cloud}_cache_tells_the_token_in_every_request saw '"metadata": false.*"token": false' 0
	ok ${cloud}_cache_is_asked_once_for_each_archive saw 'nar.zst' "$paths"

	# What is not there is a 404, or a 403 for who may not list: the next cache is asked either way.
	ok ${cloud}_cache_without_the_paths_gives_way pull "$d/b" "$at"/other "$at"/cache/deep/zstd
	ok ${cloud}_cache_without_the_paths_leaves_nothing_out same "$d/b"
	stores '"list": false'
	ok ${cloud}_cache_that_may_not_be_listed_gives_way pull "$d/c" "$at"/other "$at"/cache/deep/zstd
	ok ${cloud}_cache_that_may_not_be_listed_leaves_nothing_out same "$d/c"
	pull "$d/d" "$at"/other
	ok ${cloud}_cache_without_the_paths_alone_fails [ $? = 78 ]
	ok ${cloud}_cache_without_the_paths_alone_says_so grep -q 'in none of the caches.*access denied' "$W/out"
	ok ${cloud}_cache_without_the_paths_alone_writes_nothing [ ! -e "$d/d/nix/store" ]
	# … and so for one path of which there is a narinfo only.
	stores
	ok ${cloud}_torn_cache_gives_way pull "$d/e" "$at"/torn/deep/zstd "$at"/cache/deep/zstd
	ok ${cloud}_torn_cache_leaves_nothing_out same "$d/e"
	ok ${cloud}_torn_cache_is_left_for_one_path saw '/cache/.*nar.zst' 1
	pull "$d/f" "$at"/torn/deep/zstd
	ok ${cloud}_torn_cache_alone_fails [ $? = 78 ]

	# Two dozen requests learn at once that their token is over: it is renewed, and none of them lost.
	top=${TOP#/nix/store/}
	stores "\"script\": { \"${script}${top:0:32}.narinfo\": [{\"status\": 401}, \"ok\"] }"
	ok ${cloud}_token_that_is_over_pulls pull "$d/g" "$at"/cache/deep/zstd
	ok ${cloud}_token_that_is_over_is_renewed_once saw '"metadata": true' 2
	stores "\"script\": { \"$token\": [{\"status\": $none}] }, \"public\": [\"gs/cache\", \"az/acme/cache\"]"
	ok ${cloud}_public_cache_pulls pull "$d/h" "$at"/cache/deep/zstd
	ok ${cloud}_public_cache_is_told_no_token saw '"token": true' 0
	machine none
	stores '"public": ["gs/cache", "az/acme/cache"]'
	ok ${cloud}_elsewhere_pulls_what_is_public pull "$d/i" "$at"/cache/deep/zstd
	ok ${cloud}_elsewhere_asks_no_metadata_service saw '"metadata": true' 0
	ok ${cloud}_tokens_are_in_no_output [ -z "$(grep -l canary "$W/out")" ]
done
finish
