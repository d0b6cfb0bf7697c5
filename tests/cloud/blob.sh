#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Documents in buckets of Google and Azure, as their machines get them: tokens of the machine's own identity
# for the store and nobody else, and what their answers mean. Also: documents behind URLs that are secrets.
# shellcheck disable=SC2317 # ok() calls the functions that look unreachable
set -u

# shellcheck source=tests/cloud/lib.sh
. tests/cloud/lib.sh
enter blob 900 "$@"
tap_begin "$work/why" "$work/out" "$work/requests" "$work/run/status.json"
leaked=0
pid=

# --- the machine ---
mkdir -p "$work/sys/class/dmi/id" "$work/sys/class/block" "$work/sys/class/net"
: >"$work/cmdline"
mount --bind "$work/sys" /sys && mount --bind "$work/cmdline" /proc/cmdline || { echo '1..0 # SKIP no mount'; exit 0; }
ip link set lo up
ip address add 169.254.169.254/32 dev lo
echo '127.0.0.1 localhost storage.googleapis.com acme.blob.core.windows.net acme.blob.core.chinacloudapi.cn evil.example' >"$work/hosts"
mount --bind "$work/hosts" /etc/hosts
certificate() { # NAME: its key, and an authority of its own that says who it is
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" -addext \
		'subjectAltName=DNS:storage.googleapis.com,DNS:*.blob.core.windows.net,DNS:*.blob.core.chinacloudapi.cn,DNS:evil.example' \
		-keyout "$work/$1.key" -out "$work/$1.pem" 2>/dev/null
	cat "$work/$1.key" "$work/$1.pem" >"$work/$1.tls"
}
certificate store
certificate other
export SSL_CERT_FILE="$work/store.pem"
google() { rm -f "$work/sys/class/dmi/id/"*; echo 'Google Compute Engine' >"$work/sys/class/dmi/id/product_name"; }
azure() { rm -f "$work/sys/class/dmi/id/"*; echo '7783-7084-3265-9085-8269-3286-77' >"$work/sys/class/dmi/id/chassis_asset_tag"; }

DOCUMENT='{ "rouse": 1, "files": { "/etc/motd": { "contents": "from a bucket\n" } } }'
DIGEST=$(printf '%s' "$DOCUMENT" | sha256sum | cut -d' ' -f1)
QUOTED=$(printf '%s' "$DOCUMENT" | sed 's/\\/\\\\/g; s/"/\\"/g')
TOKENS='"tokens": {"gs": "canary-google", "az": "canary-azure"}'
GS=/storage/v1/b/acme/o/web.json
GS_TOKEN=/computeMetadata/v1/instance/service-accounts/default/token
AZ=/fleet/web.json
AZ_TOKEN=/metadata/identity/oauth2/token

end() { [ -z "$pid" ] || { kill "$pid" && wait "$pid"; } 2>/dev/null; }
store() { # [SCRIPT [MORE]]: with the document in each; a new one forgets what it was asked
	printf '{%s, "script": {%s}, "objects": {"gs/acme/web.json": "%s", "gs/acme/a b/é+": "%s", "gs/acme/web.json@7": "%s",
		"az/acme/fleet/web.json": "%s", "az/acme/fleet/a b/é": "%s", "az/acme/fleet/web.json@2026-01-01T00:00:00Z": "%s"}%s}' \
		"$TOKENS" "${1:-}" "$QUOTED" "$QUOTED" "$QUOTED" "$QUOTED" "$QUOTED" "$QUOTED" "${2:+, $2}" >"$work/config"
	serve
}
serve() { # what the configuration says
	end
	: >"$work/ready"
	: >"$work/requests"
	python3 tests/cloud/blob.py --config "$work/config" --log "$work/requests" --tls "$work/${TLS:-store}.tls" >"$work/ready" &
	pid=$!
	for _ in $(seq 600); do
		[ -s "$work/ready" ] && return
		sleep 0.1
	done
	echo '# the server does not start'
}
boot() { # URL [SETTINGS]
	echo "rouse.document=$1 rouse.sha256=$DIGEST" >"$work/cmdline"
	rm -rf "$work/root" "$work/run"
	mkdir -p "$work/root/etc" "$work/run"
	printf '%s' "${2:-{\}}" >"$work/agent.json"
	chmod 600 "$work/agent.json"
	: >"$work/requests"
	timeout 100 "$ROUSE" boot --root "$work/root" --run "$work/run" --settings "$work/agent.json" >"$work/out" 2>&1
	status=$?
	! grep -q canary "$work/out" "$work/run/report.json" "$work/run/status.json" || leaked=1
}
boots() { equal "$status" 0 && grep -q 'from a bucket' "$work/root/etc/motd"; }
fails() { # STATUS TEXT
	equal "$status" "$1" && grep -q -- "$2" "$work/run/status.json"
}
saw() { [ "$(grep -c -- "$1" "$work/requests")" = "$2" ]; }
is() { [ "$1" = "$2" ]; }

# --- both, in the same words ---
google
store
boot gs://acme/web.json
ok gs_boots boots
ok gs_asks_for_one_token saw '"metadata": true' 1
ok gs_asks_for_one_object saw '"host": "storage.googleapis.com", "target": "/storage/v1/b/acme/o/web.json?alt=media", "status": 200, "token": true' 1
boot 'gs://acme/a%20b/%c3%a9+'
ok gs_odd_name_boots boots
ok gs_odd_name_is_one_part_of_the_path saw '/o/a%20b%2F%C3%A9%2B?alt=media' 1
boot 'gs://acme/web.json?generation=7'
ok gs_version_boots boots
azure
boot az://acme/fleet/web.json
ok az_boots boots
ok az_asks_for_one_token saw '"metadata": true' 1
ok az_asks_for_one_object saw '"host": "acme.blob.core.windows.net", "target": "/fleet/web.json", "status": 200, "token": true' 1
boot 'az://acme/fleet/a%20b/%C3%A9'
ok az_odd_name_boots boots
boot 'az://acme/fleet/web.json?versionid=2026-01-01T00:00:00Z&client_id=0123abcd-0000'
ok az_version_boots boots
ok az_names_the_identity saw 'client_id=0123abcd-0000' 1
boot 'az://acme/fleet/web.json?cloud=china'
ok az_of_china_boots boots

for cloud in gs az; do
	if [ $cloud = gs ]; then
		google; url=gs://acme/web.json object=$GS token=$GS_TOKEN word='service account'
	else
		azure; url=az://acme/fleet/web.json object=$AZ token=$AZ_TOKEN word='managed identity'
	fi
	store "\"$object\": [{\"status\": 401}, \"ok\"]"
	boot $url
	ok ${cloud}_token_that_is_refused_is_renewed boots
	ok ${cloud}_token_that_is_refused_is_renewed_once saw '"metadata": true' 2
	store "\"$object\": [{\"status\": 401}]"
	boot $url
	ok ${cloud}_token_that_stays_refused_fails fails 78 "access denied to the machine's $word"
	ok ${cloud}_token_that_stays_refused_is_tried_twice saw '"metadata": false' 2
	store '' '"list": false'
	boot ${url%web.json}none
	ok ${cloud}_denied_fails fails 78 "access denied to the machine's $word, or it is not there (.*no access\|AuthorizationPermissionMismatch"
	ok ${cloud}_denied_is_asked_for_once saw '"metadata": false' 1
	store
	boot ${url%web.json}none
	ok ${cloud}_missing_fails fails 78 'it is not there (.*No such object'
	store "\"$object\": [{\"status\": 503}, {\"status\": 429, \"headers\": {\"Retry-After\": \"1\"}}, \"ok\"]"
	boot $url
	ok ${cloud}_that_is_slow_is_asked_again boots
	for to in https://evil.example/web.json http://evil.example/web.json "https://acme.blob.core.windows.net/fleet/other"; do
		store "\"$object\": [{\"status\": 302, \"headers\": {\"Location\": \"$to\"}}]"
		boot $url
		ok "${cloud}_redirect_to_${to}_is_refused" fails 78 'it is redirected, where no token may go'
		ok "${cloud}_redirect_to_${to}_is_not_followed" saw '"metadata": false' 1
	done
	store "\"$token\": [{\"body\": \"no JSON\"}]"
	boot $url
	ok ${cloud}_token_that_is_none_fails grep -q '"failed"' "$work/run/status.json"
	ok ${cloud}_token_that_is_none_asks_nothing_of_the_store saw '"metadata": false' 0
	store "\"$token\": [{\"body\": \"{\\\"access_token\\\": \\\"a\\\\r\\\\nX-Evil: 1\\\"}\"}]"
	boot $url
	ok ${cloud}_token_of_two_lines_fails fails 71 'has no token'
	store "\"$token\": [{\"body\": \"{\\\"access_token\\\": \\\"$(printf '%08193d' 0)\\\"}\"}]"
	boot $url
	ok ${cloud}_token_that_is_too_long_fails fails 71 'has no token'
	store "\"$token\": [{\"status\": 500}, {\"status\": 429}, \"ok\"]"
	boot $url
	ok ${cloud}_token_that_is_late_is_waited_for boots
	# Whoever answers there on another cloud's machine is not asked, and nobody is told a token.
	rm -f "$work/sys/class/dmi/id/"*
	store '' '"public": ["gs/acme", "az/acme/fleet"]'
	boot $url
	ok ${cloud}_public_boots_elsewhere boots
	ok ${cloud}_public_asks_no_metadata_service saw '"metadata": true' 0
done
google
store "\"$GS_TOKEN\": [{\"status\": 404}]"
boot gs://acme/web.json
ok gs_without_a_service_account_is_denied fails 78 'the machine has no service account (Anonymous caller'
azure
store "\"$AZ_TOKEN\": [{\"status\": 404}, {\"status\": 410}, \"ok\"]"
boot az://acme/fleet/web.json
ok az_identity_that_is_not_ready_is_waited_for boots
store "\"$AZ_TOKEN\": [{\"status\": 400, \"body\": \"{}\"}]" '"public": ["az/acme/fleet"]'
boot az://acme/fleet/web.json
ok az_without_an_identity_reads_what_is_public boots
ok az_without_an_identity_sends_no_token saw '"token": true' 0

# --- what a fleet says of a document, beside it ---
objects() { # [KEY FILE]…: they are there, too, with what was put; pages of a listing have one object
	python3 -c 'import json, sys
config = json.load(open(sys.argv[1]))
config["page"] = 1
config["objects"].update((k, open(f).read()) for k, f in zip(sys.argv[2::2], sys.argv[3::2]))
json.dump(config, open(sys.argv[1], "w"))' "$work/config" "$@"
	serve
}
report() { python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); sys.exit(0 if eval(sys.argv[2]) else print(r) or 1)' "$work/run/report.json" "$1"; }
KEY=$("$ROUSE" keygen --output "$work/ops" ops | tail -n 1 | sed 's/.* //')
printf '{ "gen": 1, "mode": "hold" }' >"$work/CONTROL"
"$ROUSE" sign "$work/CONTROL" --key "$work/ops" >"$work/out"
echo 'failed: it was' >"$work/failed"
echo ready >"$work/ready-word"
# Nobody has the closure, wherever it is tried.
printf '%s' '{ "rouse": 1, "caches": { "acme": { "url": "file:///nowhere", "keys": ["acme-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] } },
	"profiles": { "root": { "web": { "path": "/nix/store/00000000000000000000000000000000-web-1",
	"narHash": "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" } } } }' >"$work/bad"
id=$(cat /proc/sys/kernel/random/boot_id)
bad=$(sha256sum "$work/bad" | cut -d' ' -f1)
of_document=$DIGEST
for cloud in gs az; do
	if [ $cloud = gs ]; then
		google; place=gs/acme api=/acme list='/acme?list-type=2&max-keys=1000'
	else
		azure; place=az/acme/fleet api=/fleet list='/fleet?restype=container&comp=list&maxresults=500'
	fi
	url="$cloud://${place#*/}"
	fleet="\"onFailure\": \"hold\", \"fleet\": { \"url\": \"$url/boot%20of/a\", \"failures\": 2 }"
	DIGEST=$bad
	store
	objects "$place/bad.json" "$work/bad"
	boot "$url/bad.json" "{ $fleet }"
	digest=$(sed -n 's/.*"digest": "\([0-9a-f]*\)".*/\1/p' "$work/run/report.json")
	tally="$place/boot of/a/$digest"
	ok ${cloud}_tally_is_read saw "\"target\": \"$list&prefix=boot%20of%2Fa%2F$digest%2F\", \"status\": 200, \"token\": true" 1
	ok ${cloud}_failure_is_put saw "\"target\": \"$api/boot%20of/a/$digest/$id\", \"status\": 20[01], \"token\": true, \"put\": \"failed: .*closure" 1
	boot "$url/bad.json" "{ $fleet }"
	ok ${cloud}_one_failure_stops_nobody report 'r["fleet"]["failed"] == 1 and "tripped" not in r["fleet"]'
	objects "$tally/i-1" "$work/failed" "$tally/i-2" "$work/failed"
	boot "$url/bad.json" "{ $fleet }"
	ok ${cloud}_breaker_opens report 'r["fleet"]["tripped"] and r["fleet"]["failed"] == 2 and r["action"] == "hold"'
	ok ${cloud}_listing_goes_on_page_by_page saw "\"target\": \"$list&prefix=" 2
	ok ${cloud}_who_did_not_try_says_nothing saw '"put"' 0
	objects "$tally/i-3" "$work/ready-word"
	boot "$url/bad.json" "{ $fleet }"
	ok ${cloud}_one_success_outweighs_them report 'r["fleet"]["ready"] == 1 and "tripped" not in r["fleet"]'
	printf '{ "rouse": 1, "files": { "/etc/motd": { "contents": "from a bucket\\n" } },
		"health": { "signals": { "object": { "url": "%s" } } } }' "$url/status.json" >"$work/good"
	objects "$place/boot of/a/CONTROL" "$work/CONTROL" "$place/boot of/a/CONTROL.sig" "$work/CONTROL.sig" "$place/good.json" "$work/good"
	boot "$url/bad.json" "{ $fleet, \"keys\": [\"$KEY\"] }"
	ok ${cloud}_control_object_counts report 'r["fleet"]["tripped"] and "control object" in r["reason"]'
	DIGEST=$(sha256sum "$work/good" | cut -d' ' -f1)
	boot "$url/good.json" "{ $fleet }"
	ok ${cloud}_good_document_is_ready boots
	timeout 60 "$ROUSE" health --run "$work/run" >"$work/out" 2>&1
	ok ${cloud}_success_is_put saw "/$id\", \"status\": 20[01], \"token\": true, \"put\": \"ready..\"" 1
	ok ${cloud}_status_is_put saw "\"target\": \"$api/status.json\", \"status\": 20[01], \"token\": true, \"put\": .*verdict.*ready" 1
done
DIGEST=$of_document

# --- URLs that are secrets: presigned ones, Swift's ---
store '"/v1/AUTH_acme/fleet/web.json": [{"body": "'"$QUOTED"'"}], "/gone": [{"status": 401, "body": "401 Unauthorized: Temp URL invalid"}],
	"/moved": [{"status": 307, "headers": {"Location": "https://storage.googleapis.com/v1/AUTH_acme/fleet/web.json?sig=canary"}}],
	"/down": [{"status": 307, "headers": {"Location": "http://evil.example/v1/AUTH_acme/fleet/web.json?sig=canary"}}]'
boot 'https://evil.example/v1/AUTH_acme/fleet/web.json?temp_url_sig=canary&temp_url_expires=1'
ok temporary_url_boots boots
boot 'https://evil.example/gone?temp_url_sig=canary'
ok temporary_url_that_is_over_fails fails 78 "cannot fetch 'https://evil.example/gone': access denied (HTTP 401)"
ok temporary_url_that_is_over_is_asked_once saw '"target"' 1
boot 'https://evil.example/moved?X-Amz-Signature=canary'
ok redirect_to_https_is_followed boots
boot 'https://evil.example/down?X-Amz-Signature=canary'
ok redirect_to_http_is_refused fails 78 'a redirect may lead to https'

# --- authorities ---
boot https://evil.example/v1/AUTH_acme/fleet/web.json "{ \"ca\": \"$work/store.pem\" }"
ok pinned_authority_boots boots
cat "$work/other.pem" "$work/store.pem" >"$work/both.pem"
boot https://evil.example/v1/AUTH_acme/fleet/web.json "{ \"ca\": \"$work/both.pem\" }"
ok pinned_authority_may_be_one_of_two boots
boot https://evil.example/v1/AUTH_acme/fleet/web.json "{ \"ca\": \"$work/other.pem\" }"
ok another_authority_is_untrusted fails 77 'certificate'
ok another_authority_gets_no_request saw '"target"' 0
boot https://evil.example/v1/AUTH_acme/fleet/web.json "{ \"ca\": \"$work/none.pem\" }"
ok missing_authority_is_a_mistake fails 71 'none.pem'
ok credentials_are_in_no_log_and_no_report is "$leaked" 0

end
umount /sys /proc/cmdline /etc/hosts
tap_end
