#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A whole boot on every cloud of clouds.json, against its metadata service at its real address, in a
# network and a mount namespace of our own; then what happens when the service is ill or away.
# shellcheck disable=SC2317 # ok() calls the functions that look unreachable
set -u

# shellcheck source=tests/cloud/lib.sh
. tests/cloud/lib.sh
enter clouds 900 "$@"
tap_begin "$work/why" "$work/out" "$work/run/status.json"
server=

field() { # CLOUD MEMBER: a value of clouds.json
	python3 -c 'import json, sys
value = json.load(open("tests/cloud/clouds.json"))[sys.argv[1]]
for name in sys.argv[2].split("."):
    value = value[name]
print("\n".join(value) if isinstance(value, list) else value)' "$1" "$2"
}

# The firmware of a machine of this cloud.
machine() { # CLOUD
	rm -f "$work"/sys/class/dmi/id/*
	python3 -c 'import json, sys
for name, value in json.load(open("tests/cloud/clouds.json"))[sys.argv[1]]["dmi"].items():
    print(value, file=open(sys.argv[2] + "/" + name, "w"))' "$1" "$work/sys/class/dmi/id"
	echo 11111111-2222-3333-4444-555555555555 >"$work/sys/class/dmi/id/product_uuid"
}

serve() { # SCENARIO [ADDRESS]
	stop
	: >"$work/requests"
	: >"$work/port"
	printf '%s' "$1" >"$work/scenario"
	python3 tests/cloud/imds.py --detached --bind "${2:-0.0.0.0}" --port 80 --scenario "$work/scenario" \
		--log "$work/requests" >"$work/port" &
	server=$!
	for _ in $(seq 1200); do
		[ -s "$work/port" ] && return
		sleep 0.05
	done
}

stop() {
	[ -z "$server" ] || kill "$server" 2>/dev/null
	[ -z "$server" ] || wait "$server" 2>/dev/null
	server=
}

# Looks at all command lines, again and again, until it is told to stop.
watch() {
	while [ -e "$work/watching" ]; do
		cat /proc/[0-9]*/cmdline 2>/dev/null | grep -qaf "$work/canary" && : >"$work/seen"
		sleep 0.02
	done
}

boot() { # [SETTINGS]: the status in $status, what was said in $work/out
	rm -rf "$work/root" "$work/run"
	mkdir -p "$work/root/etc" "$work/run"
	printf '%s' "${1:-{\}}" >"$work/agent.json"
	chmod 600 "$work/agent.json"
	timeout 100 "$ROUSE" boot --root "$work/root" --run "$work/run" --settings "$work/agent.json" >"$work/out" 2>&1
	status=$?
}

says() { grep -q -- "$1" "$work/run/status.json"; }
silent() { ! grep -q -f "$work/canary" "$work/out" "$work/run/report.json" "$work/run/status.json"; }
asked() { [ "$(grep -c "$1" "$work/requests")" = "$2" ]; }
reports() { grep -q "\"$1\": *\"$2\"" "$work/run/report.json"; }

mkdir -p "$work/sys/class/dmi/id" "$work/sys/class/block" "$work/sys/class/net" "$work/dev/lxd"
echo quiet >"$work/cmdline"
echo canary-4711 >"$work/canary"
: >"$work/watching"
for node in null zero urandom random tty; do
	: >"$work/dev/$node"
	mount --bind "/dev/$node" "$work/dev/$node" 2>/dev/null
done
mount --bind "$work/sys" /sys && mount --bind "$work/cmdline" /proc/cmdline && mount -t tmpfs run /run &&
	mount --rbind "$work/dev" /dev || { echo '1..0 # SKIP no mount'; exit 0; }
ip link set lo up
for address in 169.254.169.254 169.254.42.42 100.100.100.200 10.1.1.1; do
	ip address add $address/32 dev lo
done
mkdir -p /run/systemd/netif/leases
echo 'SERVER_ADDRESS=10.1.1.1' >/run/systemd/netif/leases/2
watch &

for cloud in ec2 ec2-compatible gce azure aliyun oracle digitalocean hetzner vultr scaleway akamai exoscale \
	upcloud openstack cloudstack; do
	machine $cloud
	serve "{\"cloud\": \"$cloud\"}"
	boot
	ok "${cloud}_boots_from_its_user_data" equal "$status" 0
	ok "${cloud}_applied_the_document" grep -qf "$work/canary" "$work/root/etc/motd"
	ok "${cloud}_says_its_instance" reports id "$(field $cloud expect.id)"
	ok "${cloud}_is_asked_for_no_more_than_it_takes" asked '"method"' "$(field $cloud requests)"
	ok "${cloud}_payload_is_in_no_log_and_no_report" silent
done

rm -f "$work"/sys/class/dmi/id/*
serve '{"cloud": "lxd"}' /dev/lxd/sock
boot
ok lxd_boots_from_its_user_data equal "$status" 0
ok lxd_says_its_instance reports id "$(field lxd expect.id)"
ok lxd_payload_is_in_no_log_and_no_report silent
stop
rm -f /dev/lxd/sock

mkdir -p /run/credentials/@system
printf '%s' '{ "rouse": 1, "files": { "/etc/motd": { "contents": "canary-4711\n" } } }' | base64 \
	>/run/credentials/@system/rouse.document
boot
ok credential_of_systemd_boots equal "$status" 0
ok credential_is_applied grep -qf "$work/canary" "$work/root/etc/motd"
ok credential_is_in_no_log_and_no_report silent
rm -r /run/credentials

# --- ill ---------------------------------------------------------------------------------------------
machine hetzner
serve '{"cloud": "hetzner", "GET /hetzner/v1/userdata": [{"status": 204}]}'
boot
ok hetzner_without_user_data_is_a_failed_boot equal "$status" 78
ok hetzner_without_user_data_says_so says 'no user-data'

serve '{"cloud": "hetzner", "GET /hetzner/v1/userdata": [{"status": 503, "headers": {"Retry-After": "1"}}]}'
boot '{ "deadline": "8s" }'
ok hetzner_that_is_busy_is_unavailable equal "$status" 75
gaps() { # the requests are as far apart as the service asked
	python3 -c 'import json, sys
ms = [r["ms"] for r in map(json.loads, open(sys.argv[1])) if "userdata" in r["path"]]
sys.exit(not 2 <= len(ms) <= 9 or any(b - a < 990 for a, b in zip(ms, ms[1:])))' "$work/requests"
}
ok hetzner_that_is_busy_is_left_alone_as_long_as_it_asks gaps

echo 1 >"$work/sys/class/dmi/id/product_serial"
serve '{"cloud": "hetzner"}'
boot
ok hetzner_of_another_server_than_the_firmware_says_is_untrusted equal "$status" 77
ok hetzner_of_another_server_is_not_asked_for_user_data asked userdata 0

machine gce
serve '{"cloud": "gce", "GET /computeMetadata/v1/instance/attributes/user-data":
	[{"body": "#!/bin/sh\necho canary-4711\n"}]}'
boot
ok gce_with_a_script_is_refused equal "$status" 78
ok gce_with_a_script_names_its_kind says 'user-data is a script'
ok gce_with_a_script_prints_nothing_of_it silent

serve '{"cloud": "gce", "GET /computeMetadata/v1/instance/attributes/user-data":
	[{"status": 302, "headers": {"Location": "http://10.1.1.1/evil?canary-4711"}}]}'
boot
ok gce_that_redirects_is_this_machines_fault equal "$status" 71
ok gce_redirect_is_not_followed asked evil 0
ok gce_redirect_is_not_printed_whole silent

"$ROUSE" facts >"$work/facts" 2>&1
ok facts_name_the_source grep -q '"name": "gce"' "$work/facts"
ok facts_say_why grep -q "the firmware's product name is 'Google Compute Engine'" "$work/facts"

machine azure
serve '{"cloud": "azure", "*": [{"status": 404}], "GET /metadata/instance?api-version=2021-08-01&extended=true":
	[{"status": 410}]}'
boot '{ "deadline": "2s" }'
ok azure_that_is_not_ready_is_unavailable equal "$status" 75

rm -f "$work"/sys/class/dmi/id/*
serve '{"cloud": "gce"}'
boot
ok nothing_local_means_no_request asked '"method"' 0
echo 'quiet rouse.source=openstack' >"$work/cmdline"
serve '{"cloud": "openstack"}'
boot
ok a_source_that_a_person_names_is_asked equal "$status" 0

rm -f "$work/watching"
ok the_payload_was_in_no_process_list [ ! -e "$work/seen" ]
stop
tap_end
