#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A whole boot against an EC2 metadata service at its real address, 169.254.169.254, in a network and
# a mount namespace of our own: what the agent asks, what it makes of the answers, what it says.
# shellcheck disable=SC2317 # ok() calls the functions that look unreachable
set -u

# shellcheck source=tests/cloud/lib.sh
. tests/cloud/lib.sh
enter cloud 900 "$@"
tap_begin "$work/why" "$work/out" "$work/run/status.json"
server=

# The firmware of the machine, and the kernel command line.
machine() { # VENDOR ASSET CMDLINE
	mkdir -p "$work/sys/class/dmi/id" "$work/sys/class/block" "$work/sys/class/net"
	echo "$1" >"$work/sys/class/dmi/id/sys_vendor"
	echo "$2" >"$work/sys/class/dmi/id/board_asset_tag"
	echo "$3" >"$work/cmdline"
}

serve() { # SCENARIO
	stop
	: >"$work/requests"
	: >"$work/port"
	python3 tests/cloud/imds.py --detached --bind 169.254.169.254 --port 80 --user-data "$work/user-data" \
		--scenario "$1" --log "$work/requests" >"$work/port" &
	server=$!
	for _ in $(seq 600); do
		[ -s "$work/port" ] && return
		sleep 0.1
	done
}

stop() {
	[ -z "$server" ] || kill "$server" 2>/dev/null
	[ -z "$server" ] || wait "$server" 2>/dev/null
	server=
}

boot() { # [SETTINGS]: the status in $status, what was said in $work/out
	rm -rf "$work/root"
	again "$@"
}

again() { # [SETTINGS]: the same machine boots once more
	rm -rf "$work/run"
	mkdir -p "$work/root/etc" "$work/run"
	printf '%s' "${1:-{\}}" >"$work/agent.json"
	chmod 600 "$work/agent.json"
	timeout 100 "$ROUSE" boot --root "$work/root" --run "$work/run" --settings "$work/agent.json" >"$work/out" 2>&1
	status=$?
}

says() { grep -q -- "$1" "$work/run/status.json"; }
silent() { ! grep -q "$1" "$work/out" "$work/run/report.json" "$work/run/status.json"; }
asked() { [ "$(grep -c "$1" "$work/requests")" = "$2" ]; }
verdict() { grep -q "\"verdict\": *\"$1\"\|\"state\": *\"$1\"" "$work/run/status.json"; }

machine 'Amazon EC2' i-0abc123def4567890 'quiet'
mount --bind "$work/sys" /sys || { echo '1..0 # SKIP no mount'; exit 0; }
mount --bind "$work/cmdline" /proc/cmdline
ip link set lo up
ip address add 169.254.169.254/32 dev lo

printf '%s' '{ "rouse": 1, "files": { "/etc/motd": { "contents": "canary-4711\n" } } }' >"$work/user-data"

serve '{}'
boot
ok ec2_boots_from_its_user_data equal "$status" 0
ok ec2_applied_the_document grep -q canary-4711 "$work/root/etc/motd"
ok ec2_payload_is_in_no_log_and_no_report silent canary-4711
ok ec2_says_its_instance grep -q i-0abc123def4567890 "$work/run/report.json"
ok ec2_asks_for_one_token asked '"PUT"' 1
ok ec2_layers_are_kept_for_root_alone [ "$(stat -c %a "$work/run/layers.json" "$work/root/var/lib/rouse/layers.json" | uniq)" = 600 ]
mkdir -p "$work/root/etc/rouse/override.d"
echo '{ "hostname": "db-{instance.id}" }' >"$work/root/etc/rouse/override.d/10-db.json"
"$ROUSE" plan --root "$work/root" --only hostname >"$work/out" 2>&1
ok ec2_plan_without_a_document_knows_document_override_and_instance grep -q db-i-0abc123def4567890 "$work/out"

# The metadata service is away in the next boot of the same machine, which the firmware tells.
stop
again '{ "deadline": "1s" }'
ok ec2_that_is_away_is_unavailable equal "$status" 75
ok ec2_that_is_away_is_this_machines_fault grep -q '"fault": *"local"' "$work/run/report.json"
ok ec2_that_is_away_leaves_the_instance_its_id grep -q '"id": *"i-0abc123def4567890"' "$work/run/report.json"
ok ec2_that_is_away_leaves_the_instance_its_cloud grep -q '"cloud": *"ec2"' "$work/run/report.json"

serve '{"GET /latest/user-data": [{"status": 404, "needs_token": true}]}'
boot
ok ec2_without_user_data_is_a_failed_boot equal "$status" 78
ok ec2_without_user_data_says_so says 'no user-data'
ok ec2_without_user_data_has_a_verdict verdict failed

serve '{"GET /latest/user-data": [{"status": 500}]}'
boot '{ "deadline": "8s" }'
ok ec2_with_broken_user_data_is_unavailable equal "$status" 75
ok ec2_with_broken_user_data_names_the_answer says 'HTTP 500'
ok ec2_with_broken_user_data_has_a_verdict verdict failed

serve '{"PUT /latest/api/token": [{"status": 403}]}'
boot
ok ec2_with_metadata_off_is_this_machines_fault equal "$status" 71
ok ec2_with_metadata_off_asks_once asked '"method"' 1

printf '%s' '{ "rouse": 1, "files": { "/etc/motd": { "contents": ""canary-4711" } } }' >"$work/user-data"
serve '{}'
boot
ok ec2_with_damaged_user_data_is_refused equal "$status" 78
ok ec2_with_damaged_user_data_says_where says 'user-data:1:[0-9]*: not JSON'
ok ec2_damaged_user_data_is_in_no_log_and_no_report silent canary-4711

echo '#cloud-config' >"$work/user-data"
boot
ok ec2_with_foreign_user_data_is_refused equal "$status" 78
ok ec2_with_foreign_user_data_names_its_kind says 'a cloud-config (cloud-init)'

echo '{ "rouse": 1 }' >"$work/document.json"
echo "file://$work/document.json#sha256=$(printf x | sha256sum | cut -d' ' -f1)" >"$work/user-data"
serve '{}'
boot
ok ec2_pointer_with_a_wrong_digest_is_untrusted equal "$status" 77
echo "file://$work/document.json#sha256=$(sha256sum <"$work/document.json" | cut -d' ' -f1)" >"$work/user-data"
boot
ok ec2_pointer_with_the_right_digest_boots equal "$status" 0
echo "http://127.0.0.1:1/document.json" >"$work/user-data"
boot
ok ec2_pointer_without_a_digest_is_untrusted equal "$status" 77

echo '{ "rouse": 1, "from": { "url": "http://169.254.169.254/latest/meta-data/iam", "sha256": "'"$(printf x | sha256sum | cut -d' ' -f1)"'" } }' >"$work/user-data"
serve '{}'
boot
ok ec2_document_may_not_point_into_the_metadata_service equal "$status" 78
ok ec2_metadata_service_did_not_see_that_request asked meta-data/iam 0

machine 'Amazon EC2' i-0ffffffffffffffff quiet
serve '{}'
boot
ok ec2_of_another_instance_than_the_firmware_says_is_untrusted equal "$status" 77
ok ec2_of_another_instance_is_this_machines_fault grep -q '"fault": *"local"' "$work/run/report.json"
ok ec2_of_another_instance_is_not_asked_for_its_user_data asked user-data 0
ok ec2_of_another_instance_is_reported_as_the_firmware_says grep -q '"id": *"i-0ffffffffffffffff"' "$work/run/report.json"

machine 'QEMU' '' quiet
serve '{}'
boot
ok nothing_local_means_no_request asked '"method"' 0
ok nothing_local_is_a_failed_boot equal "$status" 78

machine 'QEMU' '' "rouse.document=$work/document.json rouse.sha256=$(sha256sum <"$work/document.json" | cut -d' ' -f1)"
boot
ok command_line_boots_from_a_file equal "$status" 0
ok command_line_asks_no_metadata_service asked '"method"' 0

# A network where packets to the service vanish: neither refused nor answered.
stop
ip address del 169.254.169.254/32 dev lo
if ip tuntap add hole mode tun && ip address add 169.254.1.1/16 dev hole && ip link set hole up; then
	machine 'Amazon EC2' '' quiet
	boot '{ "deadline": "4s" }'
	ok ec2_that_swallows_packets_is_unavailable equal "$status" 75
	ok ec2_that_swallows_packets_names_the_hop_limit says 'hop limit'
fi

tap_end
