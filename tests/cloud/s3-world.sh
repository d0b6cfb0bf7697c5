# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# An EC2 instance with its metadata service, and S3 behind the names that Amazon's has, in network and
# mount namespaces of our own. Sourced by tests that have entered these; they set $work.

SECRET=canary-secret-4711/+abc
TOKEN=canary-token-0815/+abc==
imds_pid=
s3_pid=

# The firmware of the machine, its names and its certificates.
s3_world() {
	mkdir -p "$work/sys/class/dmi/id" "$work/sys/class/block" "$work/sys/class/net"
	echo 'Amazon EC2' >"$work/sys/class/dmi/id/sys_vendor"
	echo 'i-0abc123def4567890' >"$work/sys/class/dmi/id/board_asset_tag"
	echo quiet >"$work/cmdline"
	mount --bind "$work/sys" /sys && mount --bind "$work/cmdline" /proc/cmdline || return 1
	ip link set lo up
	ip address add 169.254.169.254/32 dev lo

	names=
	for region in eu-west-1 eu-central-1 us-east-1 cn-north-1; do
		suffix=amazonaws.com
		[ $region = cn-north-1 ] && suffix=amazonaws.com.cn
		names="$names,DNS:s3.$region.$suffix,DNS:*.s3.$region.$suffix,DNS:*.s3.dualstack.$region.$suffix"
		for bucket in acme other moved late cache; do
			echo "127.0.0.1 $bucket.s3.$region.$suffix $bucket.s3.dualstack.$region.$suffix"
		done
		echo "127.0.0.1 s3.$region.$suffix"
	done >"$work/hosts"
	echo "127.0.0.1 localhost evil.example minio.example" >>"$work/hosts"
	mount --bind "$work/hosts" /etc/hosts || return 1
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=test' \
		-addext "subjectAltName=DNS:evil.example${names}" -keyout "$work/tls.key" -out "$work/ca.pem" 2>/dev/null
	cat "$work/tls.key" "$work/ca.pem" >"$work/tls.pem"
	export SSL_CERT_FILE="$work/ca.pem"
}

wait_for() { # FILE
	for _ in $(seq 600); do
		[ -s "$1" ] && return
		sleep 0.1
	done
	echo "# $1 stays empty"
}

end() { # PID
	[ -z "$1" ] || { kill "$1" && wait "$1"; } 2>/dev/null
}

# shellcheck disable=SC2120 # other files pass them
role() { # [ID [SECRET]]: the credentials of role "web", as JSON inside a JSON string
	printf '{\\"Code\\":\\"Success\\",\\"LastUpdated\\":\\"2026-01-01T00:00:00Z\\",\\"Type\\":\\"AWS-HMAC\\",'
	printf '\\"AccessKeyId\\":\\"%s\\",\\"SecretAccessKey\\":\\"%s\\",\\"Token\\":\\"%s\\",' \
		"${1:-ASIAGOOD}" "${2:-$SECRET}" "$TOKEN"
	printf '\\"Expiration\\":\\"%s\\"}' "${3:-2099-01-01T00:00:00Z}"
}

ROLES='"GET /latest/meta-data/iam/security-credentials/"'
WEB='"GET /latest/meta-data/iam/security-credentials/web"'
has_role() { # [ANSWER…]: the role's rules of a scenario
	printf '%s: [{"body": "web", "needs_token": true}], %s: [' "$ROLES" "$WEB"
	[ $# -gt 0 ] || set -- "$(role)"
	comma=
	for body; do
		printf '%s{"body": "%s", "needs_token": true}' "$comma" "$body"
		comma=', '
	done
	printf ']'
}

imds() { # RULES
	end "$imds_pid"
	: >"$work/asked"
	: >"$work/port"
	python3 tests/cloud/imds.py --detached --bind "${imds_bind:-169.254.169.254}" --port 80 --user-data "$work/user-data" \
		--scenario "{$1}" --log "$work/asked" >"$work/port" &
	imds_pid=$!
	wait_for "$work/port"
}

s3() { # CONFIG
	end "$s3_pid"
	: >"$work/requests"
	: >"$work/ready"
	printf '%s' "$1" >"$work/s3.json"
	python3 tests/cloud/s3.py --bind "${s3_bind:-0.0.0.0}" --config "$work/s3.json" --log "$work/requests" --tls "$work/tls.pem" >"$work/ready" &
	s3_pid=$!
	wait_for "$work/ready"
}

# How often S3, or the metadata service, saw a request like this.
saw() { [ "$(grep -c -- "$1" "$work/requests")" = "$2" ]; }
asked() { [ "$(grep -c -- "$1" "$work/asked")" = "$2" ]; }
