#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Pulls a closure of real Nix from caches in buckets: many requests from several threads, one question
# for credentials, keys beneath a prefix, and what a bucket's policy makes of missing paths.
# shellcheck source=tests/cache/world.sh
. "$(dirname "$0")/world.sh"
need
if [ -z "${ROUSE_IN_NAMESPACE:-}" ]; then
	export ROUSE ROUSE_IN_NAMESPACE=1
	exec timeout -k 5 600 unshare --net --uts --mount --propagation private bash "$0"
fi

begin_world
# shellcheck disable=SC2034 # the sourced file works there
work=$W
# shellcheck source=tests/cloud/s3-world.sh
. tests/cloud/s3-world.sh
leave_world=$(declare -f leave)
eval "${leave_world/leave/leave_nix}"
leave() {
	end "$imds_pid"
	end "$s3_pid"
	umount /sys /proc/cmdline /etc/hosts 2>/dev/null
	leave_nix
}

make_closure || { printf '1..1\nnot ok 1 - %s\n' "Nix does not build the closure"; exit 1; }
list_closure >"$W/names"
describe /nix/store "$W/names" >"$W/original"
make_cache bucket/deep/zstd zstd || { printf '1..1\nnot ok 1 - %s\n' "no cache"; exit 1; }
mkdir "$W/empty"
s3_world || { echo "1..0 # SKIP no mount"; exit 0; }
touch "$W/user-data"

same() { # same DIR
	describe "$1/nix/store" "$W/names" >"$W/pulled" && diff "$W/original" "$W/pulled" >"$W/out"
}
KEYS='"keys": {"ASIAGOOD": {"secret": "'$SECRET'", "token": "'$TOKEN'"},
	"ASIAOLD": {"secret": "'$SECRET'", "token": "'$TOKEN'", "expired": true}}'
buckets() { # REGION [MORE]: "cache" with the closure, "other" without
	s3 "{$KEYS, \"buckets\": {\"cache\": {\"region\": \"$1\", \"dir\": \"$W/bucket\"${2:+, $2}},
		\"other\": {\"region\": \"eu-west-1\", \"list\": false, \"dir\": \"$W/empty\"}}}"
}

imds "$(has_role)"
buckets eu-west-1
ok s3_cache_pulls pull "$W/a" 's3://cache/deep/zstd?region=eu-west-1'
ok s3_cache_is_the_same_to_the_bit same "$W/a"
ok s3_cache_asks_for_credentials_once asked security-credentials/web 1
ok s3_cache_signs_every_request saw '"signed": false' 0
ok s3_cache_is_asked_once_for_each [ "$(grep -c nar.zst "$W/requests")" = "$(wc -l <"$W/names")" ]
ok s3_cache_with_a_slash_at_the_end_pulls pull "$W/b" 's3://cache/deep/zstd/?region=eu-west-1'
ok s3_cache_with_a_slash_at_the_end_is_the_same same "$W/b"
: >"$W/requests"
ok s3_cache_at_an_endpoint_pulls pull "$W/c" 's3://cache/deep/zstd?endpoint=http://minio.example:9000&region=eu-west-1'
ok s3_cache_at_an_endpoint_is_all_there saw 's3.*amazonaws' 0

# A cache that may not be listed says 403 for what it does not have: the next one is asked.
ok s3_cache_without_the_paths_gives_way pull "$W/d" 's3://other' 's3://cache/deep/zstd'
ok s3_cache_without_the_paths_leaves_nothing_out same "$W/d"
pull "$W/e" s3://other
ok s3_cache_without_the_paths_alone_fails [ $? = 78 ]
ok s3_cache_without_the_paths_alone_says_so grep -q 'in none of the caches.*access denied' "$W/out"

# Moved, expired and late: each is met by two dozen requests at once.
buckets eu-central-1
ok s3_cache_elsewhere_pulls pull "$W/f" s3://cache/deep/zstd
ok s3_cache_elsewhere_is_learned_once [ "$(grep -c PermanentRedirect "$W/requests")" -le 24 ]
imds "$(has_role "$(role ASIAOLD)" "$(role)")"
buckets eu-west-1
ok s3_cache_with_an_expired_token_pulls pull "$W/g" s3://cache/deep/zstd
ok s3_cache_with_an_expired_token_renews_once asked security-credentials/web 2
imds "$ROLES: [{\"status\": 404}]"
buckets eu-west-1 '"public": true'
ok s3_public_cache_pulls pull "$W/h" s3://cache/deep/zstd
ok s3_public_cache_asks_for_a_role_once asked 'security-credentials/"' 1
ok s3_public_cache_is_the_same same "$W/h"

# Another cloud's machine, or nobody's: whoever answers there is not asked.
echo QEMU >"$W/sys/class/dmi/id/sys_vendor"
imds "$(has_role)"
ok s3_elsewhere_than_on_ec2_pulls_what_is_public pull "$W/i" 's3://cache/deep/zstd?region=eu-west-1'
ok s3_elsewhere_than_on_ec2_asks_no_metadata_service asked '"method"' 0

ok s3_credentials_are_in_no_output [ -z "$(grep -l canary "$W/out")" ]
finish
