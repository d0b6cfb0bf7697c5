#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Documents in buckets of S3, as an instance of EC2 gets them: its role's credentials, signatures that
# the other side verifies, and every answer that S3 is known for.
# shellcheck disable=SC2317 # ok() calls the functions that look unreachable
set -u

# shellcheck source=tests/cloud/lib.sh
. tests/cloud/lib.sh
enter s3 900 "$@"
tap_begin "$work/why" "$work/out" "$work/requests" "$work/asked"
# shellcheck source=tests/cloud/s3-world.sh
. tests/cloud/s3-world.sh

DOCUMENT='{ "rouse": 1, "files": { "/etc/motd": { "contents": "from a bucket\n" } } }'
DIGEST=$(printf '%s' "$DOCUMENT" | sha256sum | cut -d' ' -f1)
QUOTED=$(printf '%s' "$DOCUMENT" | sed 's/\\/\\\\/g; s/"/\\"/g')
KEYS='"keys": {"ASIAGOOD": {"secret": "'$SECRET'", "token": "'$TOKEN'"},
	"ASIAOLD": {"secret": "'$SECRET'", "token": "'$TOKEN'", "expired": true}}'

# One bucket "acme" in eu-west-1, where the instance is, with the document as web.json.
bucket() { # [MORE-OF-THE-BUCKET [MORE-OF-THE-CONFIG]]
	s3 "{$KEYS, \"buckets\": {\"acme\": {\"region\": \"eu-west-1\",
		\"objects\": {\"web.json\": \"$QUOTED\"}${1:+, $1}}}${2:+, $2}}"
}

boot() { # URL [SETTINGS]: the status in $status, what was said in $work/out
	echo "$1#sha256=$DIGEST" >"$work/user-data"
	rm -rf "$work/root" "$work/run"
	mkdir -p "$work/root/etc" "$work/run"
	printf '%s' "${2:-{\}}" >"$work/agent.json"
	chmod 600 "$work/agent.json"
	: >"$work/requests"
	: >"$work/asked"
	timeout 100 "$ROUSE" boot --root "$work/root" --run "$work/run" --settings "$work/agent.json" >"$work/out" 2>&1
	status=$?
	! grep -q 'canary' "$work/out" "$work/run/report.json" "$work/run/status.json" || leaked=1
}

boots() { equal "$status" 0 && grep -q 'from a bucket' "$work/root/etc/motd"; }
says() { grep -q -- "$1" "$work/run/status.json"; }
fails() { # STATUS TEXT
	equal "$status" "$1" && says "$2"
}
is() { [ "$1" = "$2" ]; }

leaked=0
s3_world || { echo '1..0 # SKIP no mount'; exit 0; }

# --- the ordinary case ---
imds "$(has_role)"
bucket
boot s3://acme/web.json
ok s3_document_boots boots
ok s3_one_request_is_enough saw '"method"' 1
ok s3_asks_the_bucket_by_its_name saw '"host": "acme.s3.eu-west-1.amazonaws.com", "target": "/web.json"' 1
ok s3_bears_the_session_token saw '"signed": true, "token": true' 1
ok s3_asks_for_the_role_once asked security-credentials/web 1
ok s3_asks_for_the_region_once asked placement/region 1
boot 's3://acme/web.json?region=eu-west-1'
ok s3_with_a_region_boots boots
ok s3_with_a_region_does_not_ask_for_it asked placement/region 0

boot 's3://acme/web.json?dualstack=true'
ok s3_dual_stack_boots boots
ok s3_dual_stack_has_names_of_its_own saw '"host": "acme.s3.dualstack.eu-west-1.amazonaws.com"' 1
boot 's3://acme/web.json?addressing-style=path'
ok s3_path_style_boots boots
ok s3_path_style_has_the_bucket_in_the_path saw '"host": "s3.eu-west-1.amazonaws.com", "target": "/acme/web.json"' 1
bucket '"payer": true'
boot s3://acme/web.json
ok s3_who_does_not_pay_is_denied fails 78 'access denied'
boot 's3://acme/web.json?requestPayer=requester'
ok s3_who_pays_boots boots

# --- keys with odd characters; buckets that are no host names; versions ---
i=0
bucket '"objects": {'"$(for key in 'a b' 'a=b' 'a+b' 'é' '~' 'a//b' '/a' '(x)' "a'b" 'a&b' 'a:b@c,d;e!f*g$h' 'a/../b' './a' \
	'a%20b' 'a?b' 'a#b' '日本/ü'; do
	printf '%s"%s": "%s"' "$([ $i = 0 ] || echo ,)" "$key" "$QUOTED"
	i=1
done)"'}'
for pair in 'a%20b' 'a=b' 'a+b' '%c3%a9' '~' '%7E' 'a//b' '/a' '(x)' "a'b" 'a&b' 'a:b@c,d;e!f*g$h' 'a/../b' './a' \
	'a%2520b' 'a%3Fb' 'a%23b' '%E6%97%A5%E6%9C%AC/%C3%BC'; do
	boot "s3://acme/$pair"
	ok "s3_key_$pair" boots
done
s3 "{$KEYS, \"buckets\": {\"acme.data\": {\"region\": \"eu-west-1\", \"objects\": {\"a/web.json\": \"$QUOTED\"}},
	\"Acme_Old\": {\"region\": \"eu-west-1\", \"objects\": {\"web.json\": \"$QUOTED\"},
		\"versions\": {\"web.json@3/L+4=k\": \"$QUOTED\"}}}}"
boot s3://acme.data/a/web.json
ok s3_bucket_with_a_dot_boots boots
ok s3_bucket_with_a_dot_is_in_the_path saw '"host": "s3.eu-west-1.amazonaws.com", "target": "/acme.data/a/web.json"' 1
boot s3://Acme_Old/web.json
ok s3_bucket_that_is_no_host_name_boots boots
boot 's3://Acme_Old/web.json?versionId=3/L%2B4=k'
ok s3_version_boots boots
ok s3_version_is_asked_for saw 'versionId=3%2FL%2B4%3Dk' 1

# --- an endpoint of one's own ---
bucket
boot 's3://acme/web.json?endpoint=http://minio.example:9000&region=eu-west-1'
ok s3_endpoint_boots boots
ok s3_endpoint_gets_the_bucket_in_the_path saw '"host": "minio.example:9000", "target": "/acme/web.json"' 1
boot 's3://acme/web.json?endpoint=minio.example:9000&scheme=http&region=us-east-1'
ok s3_endpoint_that_names_its_region_boots boots
ok s3_endpoint_that_names_its_region_is_asked_twice saw '"host": "minio.example:9000"' 2
boot 's3://acme/web.json?endpoint=http://169.254.169.254'
ok s3_endpoint_is_not_the_metadata_service fails 78 'metadata service'

# --- other regions ---
for how in 301 301-endpoint 307 400 400-header; do
	bucket "\"region\": \"eu-central-1\", \"how\": \"$how\""
	boot s3://acme/web.json
	ok "s3_elsewhere_${how}_boots" boots
	ok "s3_elsewhere_${how}_asks_twice" saw '"method"' 2
	ok "s3_elsewhere_${how}_signs_for_the_other_region" \
		saw '"host": "acme.s3.eu-central-1.amazonaws.com", "target": "/web.json", "status": 200' 1
done
elsewhere() { # HEADERS [STATUS]
	bucket '' "\"script\": {\"acme/web.json\": [{\"status\": ${2:-307}, \"headers\": {$1}}]}"
	boot s3://acme/web.json
}
# As a HEAD gets it: the header says all, there is no body.
bucket '"region": "eu-central-1"' '"script": {"acme/web.json": [{"status": 400, "headers": {"x-amz-bucket-region": "eu-central-1"}}]}'
boot s3://acme/web.json
ok s3_elsewhere_400_without_a_body_boots boots
ok s3_elsewhere_400_without_a_body_asks_twice saw '"method"' 2
bucket '' '"script": {"acme/web.json": [{"status": 301, "headers": {"x-amz-bucket-region": "eu-central-1"}},
	{"status": 301, "headers": {"x-amz-bucket-region": "eu-west-1"}}]}'
boot s3://acme/web.json
ok s3_second_move_is_refused fails 78 "refers to 'eu-west-1'"
ok s3_second_move_is_not_made saw '"method"' 2

# --- redirects to where no credentials may go ---
for to in https://evil.example/web.json http://evil.example:9000/web.json \
	http://acme.s3.eu-central-1.amazonaws.com:9000/web.json https://acme.s3.eu-central-1.amazonaws.com.evil.example/ \
	https://evil.example/acme.s3.eu-central-1.amazonaws.com/ https://acme.s3.eu-west-1.amazonaws.com/web.json \
	https://acme.s3.cn-north-1.amazonaws.com.cn/web.json; do
	elsewhere "\"Location\": \"$to\""
	ok "s3_redirect_to_${to}_is_refused" fails 78 'no request is signed for'
	ok "s3_redirect_to_${to}_is_not_followed" saw '"method"' 1
done
elsewhere '"x-amz-bucket-region": "cn-north-1"' 301
ok s3_other_partition_is_refused fails 78 "refers to 'cn-north-1'"
elsewhere '"x-amz-bucket-region": "eu.evil.example/x"' 301
ok s3_region_that_is_none_is_refused fails 78 'HTTP 301'
ok s3_region_that_is_none_is_not_asked saw '"method"' 1

# --- clocks ---
before=$(date +%s)
for skew in 3600 -3600 315360000 -315360000; do
	bucket '' "\"clock\": $skew"
	boot s3://acme/web.json
	ok "s3_clock_${skew}_boots" boots
	ok "s3_clock_${skew}_asks_twice" saw '"method"' 2
done
after=$(date +%s)
ok s3_leaves_the_clock_alone [ $((after - before)) -lt 300 ]
bucket '' '"script": {"acme/web.json": [
	{"status": 403, "body": "<Error><Code>RequestTimeTooSkewed</Code><ServerTime>2026-11-21T20:00:00Z</ServerTime></Error>"},
	{"status": 403, "body": "<Error><Code>RequestTimeTooSkewed</Code><ServerTime>2027-11-21T20:00:00Z</ServerTime></Error>"}]}'
boot s3://acme/web.json
ok s3_clock_that_jumps_is_refused fails 78 RequestTimeTooSkewed
ok s3_clock_that_jumps_is_followed_once saw '"method"' 2

# --- what is denied, and what is not there ---
bucket
boot s3://acme/other.json
ok s3_missing_key_fails fails 78 'it is not there (NoSuchKey: The specified key does not exist'
ok s3_missing_key_is_asked_for_once saw '"method"' 1
boot s3://other/web.json
ok s3_missing_bucket_fails fails 78 'NoSuchBucket'
bucket '"list": false'
boot s3://acme/other.json
ok s3_denied_key_fails fails 78 "access denied to the role 'web'.*(AccessDenied: Access Denied; HTTP 403)"
ok s3_denied_key_is_asked_for_once saw '"method"' 1
bucket '' '"script": {"acme/web.json": [{"status": 304}]}'
boot s3://acme/web.json
ok s3_not_modified_without_a_copy_fails fails 78 'HTTP 304'

# --- who answers is not S3, or not all of it comes: what arrives is measured, and not read ---
portal='{"headers": {"Content-Type": "text/html"}, "body": "<html>canary, please log in</html>"}'
bucket '' '"script": {"acme/web.json": ['"$portal"', '"$portal"']}'
boot s3://acme/web.json
ok s3_captive_portal_is_untrusted fails 77 'the SHA-256 is'
ok s3_captive_portal_is_asked_once saw '"method"' 1
bucket '' '"script": {"acme/web.json": [{"body": "{ \"rouse\": 1 }"}]}'
boot s3://acme/web.json
ok s3_part_of_a_document_is_untrusted fails 77 'the SHA-256 is'
bucket '' '"script": {"acme/web.json": [{"headers": {"Content-Encoding": "gzip"}, "body": "'"$QUOTED"'"}]}'
boot s3://acme/web.json
ok s3_encoding_that_nobody_asked_for_is_not_undone boots

# --- what passes ---
bucket '' '"script": {"acme/web.json": [{"status": 503, "body": "<Error><Code>SlowDown</Code></Error>"},
	{"status": 400, "body": "<Error><Code>RequestTimeout</Code></Error>"}]}'
boot s3://acme/web.json
ok s3_that_is_slow_is_asked_again boots
ok s3_that_is_slow_is_asked_three_times saw '"method"' 3
bucket '' '"script": {"acme/web.json": [{"status": 403, "body": "<Error><Code>A\u001b[31m&amp;B\nC</Code>"}]}'
boot s3://acme/web.json
ok s3_error_is_one_plain_line fails 78 '(A \[31m&B C; HTTP 403)'
boot 's3://acme/web.json?regoin=eu-west-1'
ok s3_parameter_that_is_none_fails equal "$status" 78
boot s3://acme
ok s3_without_a_key_fails fails 78 'no object'

# --- credentials ---
imds "$(has_role "$(role ASIAGOOD wrong-canary)")"
bucket
boot s3://acme/web.json
ok s3_wrong_secret_is_denied fails 78 'access denied.*SignatureDoesNotMatch'
ok s3_wrong_secret_is_tried_once saw '"method"' 1
imds "$(has_role "$(role ASIAOLD)" "$(role)")"
boot s3://acme/web.json
ok s3_expired_token_is_renewed boots
ok s3_expired_token_is_renewed_once asked security-credentials/web 2
imds "$(has_role "$(role ASIANONE)" "$(role)")"
boot s3://acme/web.json
ok s3_unknown_key_is_renewed boots
imds "$(has_role "$(role ASIAOLD)")"
boot s3://acme/web.json
ok s3_token_that_stays_expired_fails fails 78 'ExpiredToken: The provided token has expired'
ok s3_token_that_stays_expired_is_tried_twice saw '"method"' 2
imds "$(has_role "$(role ASIAGOOD "$SECRET" 2001-01-01T00:00:00Z)")"
boot s3://acme/web.json
ok s3_credentials_that_look_expired_are_used boots
ok s3_credentials_that_look_expired_are_asked_for_once asked security-credentials/web 1
imds "$ROLES: [{\"status\": 404}, {\"status\": 404}, {\"status\": 404}, {\"body\": \"web\"}], $WEB: [{\"body\": \"$(role)\"}]"
boot s3://acme/web.json
ok s3_role_that_is_late_is_waited_for boots
ok s3_role_that_is_late_is_asked_for_again asked 'security-credentials/"' 4
imds "$(has_role 'not JSON' '{' "$(role)")"
boot s3://acme/web.json
ok s3_credentials_that_are_no_json_are_asked_for_again boots
imds "$(has_role '{\"Code\": \"AssumeRoleUnauthorizedAccess\", \"Message\": \"no\"}')"
boot s3://acme/web.json
ok s3_role_that_cannot_be_assumed_is_this_machines_fault fails 71 "role 'web' (code 'AssumeRoleUnauthorizedAccess')"
ok s3_role_that_cannot_be_assumed_asks_nothing_of_s3 saw '"method"' 0
imds "$(has_role '{\"Code\": \"Success\", \"AccessKeyId\": \"ASIAGOOD\"}')"
boot s3://acme/web.json
ok s3_credentials_without_a_secret_are_this_machines_fault fails 71 incomplete
imds "$ROLES: [{\"status\": 503}]"
boot s3://acme/web.json '{ "deadline": "8s" }'
ok s3_without_an_answer_about_the_role_is_unavailable fails 75 'HTTP 503'

# --- nobody ---
imds "$ROLES: [{\"status\": 404}]"
bucket '"public": true'
boot s3://acme/web.json
ok s3_public_bucket_needs_no_role boots
ok s3_public_bucket_sees_no_signature saw '"signed": false, "token": false' 1
bucket
boot s3://acme/web.json '{ "deadline": "8s" }'
ok s3_private_bucket_without_a_role_is_denied fails 78 'the instance has no role (AccessDenied'

# --- what others on the machine see meanwhile; and that a server's wish is heard ---
watch() { # what the agent's processes show of themselves, while there is no file "enough"
	while [ ! -e "$work/enough" ]; do
		for p in /proc/[0-9]*; do
			read -r comm <"$p/comm" && [ "$comm" = rouse ] && tr '\0' '\n' <"$p/cmdline" && tr '\0' '\n' <"$p/environ"
		done
		sleep 0.1
	done >"$work/seen" 2>/dev/null
}
apart() { # the time between two requests for the document, in ms
	# shellcheck disable=SC2046 # one number a line
	set -- $(sed -n 's/.*"ms": \([0-9]*\)}/\1/p' "$work/requests")
	echo $(($2 - $1))
}
imds "$(has_role)"
bucket '' '"script": {"acme/web.json": [{"status": 503, "headers": {"Retry-After": "2"}, "body": "<Error><Code>SlowDown</Code></Error>"}]}'
watch &
boot s3://acme/web.json
: >"$work/enough"
wait $!
ok s3_retry_after_boots boots
ok s3_retry_after_is_heard [ "$(apart)" -ge 1990 ]
ok s3_agent_was_seen grep -q -- --settings "$work/seen"
ok s3_credentials_are_in_no_command_line_and_no_environment [ -z "$(grep canary "$work/seen")" ]

# --- signatures beside, bases beneath ---
imds "$(has_role)"
key=$("$ROUSE" keygen --output "$work/secret" acme-1)
printf '%s' "$DOCUMENT" >"$work/web.json"
"$ROUSE" sign --key "$work/secret" "$work/web.json" >/dev/null
bucket "\"dir\": \"$work\", \"versions\": {\"web.json@1\": \"$QUOTED\"}"
boot 's3://acme/web.json?region=eu-west-1&versionId=1' '{ "requireSignature": true, "keys": ["'"$key"'"] }'
ok s3_signature_is_beside_the_document boots
ok s3_signature_is_asked_for_without_the_version saw '"target": "/web.json.sig"' 1
rm "$work/web.json.sig"
boot s3://acme/web.json '{ "requireSignature": true, "keys": ["'"$key"'"] }'
ok s3_signature_that_is_missing_is_untrusted fails 77 'no signature'
BASE=$DIGEST
DOCUMENT='{ "rouse": 1, "from": { "url": "s3://acme/web.json", "sha256": "'$BASE'" }, "files": { "/etc/issue": { "contents": "top" } } }'
DIGEST=$(printf '%s' "$DOCUMENT" | sha256sum | cut -d' ' -f1)
printf '%s' "$DOCUMENT" >"$work/top.json"
boot s3://acme/top.json
ok s3_base_is_in_a_bucket_too boots
ok s3_base_needs_no_other_credentials asked security-credentials/web 1

# --- what the machine has is not fetched again ---
again() { # SETTINGS: the same machine boots once more
	printf '%s' "$1" >"$work/agent.json"
	rm -rf "$work/run" && mkdir "$work/run"
	: >"$work/requests"
	timeout 100 "$ROUSE" boot --root "$work/root" --run "$work/run" --settings "$work/agent.json" >"$work/out" 2>&1
	status=$?
	! grep -q 'canary' "$work/out" "$work/run/report.json" "$work/run/status.json" || leaked=1
}
DOCUMENT='{ "rouse": 1, "files": { "/etc/motd": { "contents": "from a bucket\n" } } }'
printf '%s' "$DOCUMENT" >"$work/web.json"
"$ROUSE" sign --key "$work/secret" "$work/web.json" >/dev/null
SIGNED='{ "document": "s3://acme/web.json", "requireSignature": true, "keys": ["'"$key"'"] }'
bucket "\"dir\": \"$work\", \"objects\": {}"
: >"$work/user-data"
rm -rf "$work/root" && mkdir -p "$work/root/etc"
again "$SIGNED"
ok s3_signed_document_boots boots
again "$SIGNED"
ok s3_known_document_boots boots
ok s3_known_document_is_asked_for_with_its_tag saw '"target": "/web.json", "status": 304.*"condition": true' 1
ok s3_known_document_is_verified_anew saw '"target": "/web.json.sig", "status": 200' 1
printf ' ' >>"$work/web.json"
again "$SIGNED"
ok s3_changed_document_is_fetched saw '"target": "/web.json", "status": 200' 1
ok s3_changed_document_needs_its_signature fails 77 'the signature by'
DIGEST=$(sha256sum "$work/web.json" | cut -d' ' -f1)
echo "s3://acme/web.json#sha256=$DIGEST" >"$work/user-data"
again '{}'
ok s3_pinned_document_boots boots
again '{}'
ok s3_pinned_document_boots_again boots
ok s3_pinned_document_is_not_asked_for_again saw '"method"' 0

# --- the key of an encrypted disk, kept in a bucket ---
keeps() { # [REFUSAL]: makes a key, and keeps it there
	: >"$work/requests"
	ROUSE_ESCROW=s3://acme/keys/main ROUSE_ESCROW_REFUSED=${1-} "${ROUSE%/*}/unit/disks_keys" >"$work/out" 2>&1
}
bucket
ok s3_key_is_kept keeps
ok s3_key_is_put_once saw '"method": "PUT".*"target": "/keys/main", "status": 200.*"signed": true' 1
bucket '"write": false'
ok s3_key_that_may_not_be_kept_is_none keeps 'cannot keep the key in escrow'
bucket '"keep": false'
ok s3_key_that_was_not_kept_is_none keeps 'cannot keep the key in escrow'
bucket '"list": false'
ok s3_key_that_may_be_there_is_not_made_again keeps 'cannot read the key'
ok s3_key_that_may_be_there_is_not_overwritten saw '"method": "PUT"' 0

ok s3_payload_and_credentials_are_in_no_log_and_no_report is "$leaked" 0

end "$imds_pid"
end "$s3_pid"
tap_end
