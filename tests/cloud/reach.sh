#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# How S3 is reached, or is not: names that resolve late, names of one address family or of two, packets
# that vanish, a machine that has no IPv4 at all.
# shellcheck disable=SC2317 # ok() calls the functions that look unreachable
set -u

# shellcheck source=tests/cloud/lib.sh
. tests/cloud/lib.sh
enter reach 900 "$@"
tap_begin "$work/why" "$work/out" "$work/requests" "$work/asked" "$work/queries"
dns_pid=
# shellcheck source=tests/cloud/s3-world.sh
. tests/cloud/s3-world.sh

dns() { # ADDRESS [OPTION…]
	end "$dns_pid"
	: >"$work/queries"
	: >"$work/listens"
	at=$1
	shift
	python3 tests/cloud/dns.py --bind "$at" --log "$work/queries" "$@" >"$work/listens" &
	dns_pid=$!
	wait_for "$work/listens"
}
resolver() { # ADDRESS: the file stays the same one, for it is a mount
	echo "nameserver $1" >"$work/resolv.conf"
}

boot() { # [SETTINGS]: the status in $status, what was said in $work/out
	rm -rf "$work/root" "$work/run"
	mkdir -p "$work/root/etc" "$work/run"
	printf '%s' "${1:-{\}}" >"$work/agent.json"
	chmod 600 "$work/agent.json"
	: >"$work/requests"
	: >"$work/asked"
	: >"$work/queries"
	timeout 100 "$ROUSE" boot --root "$work/root" --run "$work/run" --settings "$work/agent.json" >"$work/out" 2>&1
	status=$?
}
boots() { equal "$status" 0 && grep -q 'from a bucket' "$work/root/etc/motd"; }
fails() { # STATUS TEXT
	equal "$status" "$1" && grep -q -- "$2" "$work/run/status.json"
}
queried() { [ "$(grep -c -- "$1" "$work/queries")" -ge "$2" ]; }

s3_world || { echo '1..0 # SKIP no mount'; exit 0; }
umount /etc/hosts
echo '127.0.0.1 localhost' >"$work/hosts"
echo 'hosts: files dns' >"$work/nsswitch.conf"
: >"$work/resolv.conf"
for file in hosts nsswitch.conf resolv.conf; do
	mount --bind "$work/$file" "$(realpath "/etc/$file")" || { echo '1..0 # SKIP no mount'; exit 0; }
done
DOCUMENT='{ "rouse": 1, "files": { "/etc/motd": { "contents": "from a bucket\n" } } }'
QUOTED=$(printf '%s' "$DOCUMENT" | sed 's/\\/\\\\/g; s/"/\\"/g')
printf 's3://acme/web.json#sha256=%s' "$(printf '%s' "$DOCUMENT" | sha256sum | cut -d' ' -f1)" >"$work/user-data"
imds "$(has_role)"
serve() { # ADDRESS
	s3_bind=$1 s3 '{"keys": {"ASIAGOOD": {"secret": "'$SECRET'", "token": "'$TOKEN'"}},
		"buckets": {"acme": {"region": "eu-west-1", "objects": {"web.json": "'"$QUOTED"'"}}}}'
}
serve ::

# --- name servers that are not ready ---
resolver 127.0.0.1
dns 127.0.0.1 --fail 6 --answer '.*=127.0.0.1'
boot
ok dns_that_fails_first_is_asked_again boots
ok dns_that_fails_first_has_failed queried ' 2$' 6

# Without a name server in the file the resolver asks this machine, where one says that it knows nothing.
: >"$work/resolv.conf"
dns 127.0.0.1 --fail 100000
own=$dns_pid
dns_pid=
ip address add 10.9.9.9/32 dev lo
python3 tests/cloud/dns.py --bind 10.9.9.9 --log "$work/late" --answer '.*=127.0.0.1' >"$work/listens2" &
dns_pid=$!
wait_for "$work/listens2"
(wait_for "$work/queries" && resolver 10.9.9.9) &
boot
wait $!
ok resolv_conf_that_is_late_is_read boots
ok resolv_conf_that_is_late_was_missed_first queried ' 2$' 1
ok resolv_conf_that_is_late_names_who_is_asked [ -s "$work/late" ]
end "$own"

# --- one family, two families ---
resolver 127.0.0.1
dns 127.0.0.1 --answer '.*=::1'
boot
ok name_with_ipv6_alone_boots boots
tunnel=
if ip tuntap add hole mode tun && ip address add 10.8.0.1/24 dev hole && ip link set hole up &&
	ip -6 address add 2001:db8:7::1/64 dev hole nodad; then
	tunnel=y
	dns 127.0.0.1 --answer '.*=2001:db8:7::2' --answer '.*=127.0.0.1'
	# A connection to the dead address alone is given up after 10 s; a machine that is busy has three tries.
	for _ in 1 2 3; do
		before=$(date +%s)
		boot
		after=$(date +%s)
		[ $((after - before)) -ge 9 ] || break
	done
	ok name_with_dead_ipv6_boots_by_ipv4 boots
	ok name_with_dead_ipv6_has_both queried ' AAAA 0$' 1
	ok name_with_dead_ipv6_is_left_early [ $((after - before)) -lt 9 ]
	ok name_with_dead_ipv6_needs_one_request saw '"method"' 1

	# --- a network without a way out ---
	dns 127.0.0.1 --answer '.*=10.8.0.2'
	boot '{ "deadline": "8s" }'
	ok s3_without_a_route_is_unavailable fails 75 "cannot fetch 's3://acme/web.json': no route to S3"
	ok s3_without_a_route_says_what_may_be_missing fails 75 'NAT gateway'
fi
dns 127.0.0.1 --answer '.*=127.0.0.2'
serve ::1
boot '{ "deadline": "6s" }'
ok s3_that_refuses_connections_is_unavailable fails 75 'no route to S3'

# --- no IPv4 ---
[ -z "$tunnel" ] || ip link del hole
ip -4 address flush dev lo
imds_bind=:: imds "$(has_role)"
dns ::1 --answer '.*\.s3\.dualstack\..*=::1' --answer '.*=127.0.0.1'
resolver ::1
# The kernel looks for a second or two whether anybody else has the address; it is of no use meanwhile.
if ip link add near type veth peer name far && ip link set far up && ip link set near up; then
	echo 2 >/proc/sys/net/ipv6/conf/near/dad_transmits
	ip address add fd00:ec2::254/128 dev near
	ok address_of_ipv6_is_tentative_at_first [ -n "$(ip -6 address show dev near tentative to fd00:ec2::254)" ]
else
	ip address add fd00:ec2::254/128 dev lo
fi
boot
ok machine_without_ipv4_boots boots
ok machine_without_ipv4_asks_the_name_that_has_ipv6 saw '"host": "acme.s3.dualstack.eu-west-1.amazonaws.com"' 1
ok machine_without_ipv4_asks_once saw '"method"' 1
ok machine_without_ipv4_gets_its_role asked security-credentials/web 1

end "$imds_pid"
end "$s3_pid"
end "$dns_pid"
tap_end
