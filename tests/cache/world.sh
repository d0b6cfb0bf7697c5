# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A real store made by a real Nix, put into real binary caches. Sourced by the tests of this suite.
#
# Runs in a mount namespace of its own, in which an empty directory of ours is /nix, so that the host's
# store, if it has one, is out of sight. Sets W (a temporary directory, removed at the end), KEY (the
# public key that signs), TOP (the root of the closure), and gives make_cache, serve and TAP helpers.

ROUSE=$(realpath "${ROUSE:-build/rouse}")
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

need() {
	if [ "$(id -u)" != 0 ]; then
		echo "1..0 # SKIP needs root"
		exit 0
	fi
	for program in nix nix-store openssl; do
		if ! command -v "$program" >/dev/null; then
			echo "1..0 # SKIP needs $program"
			exit 0
		fi
	done
}

# Once around: the same script again, in its own mounts and its own network, where nobody else takes a port, with
# a time limit; OPTION… are more for unshare(1).
enter() { # enter SECONDS SCRIPT [OPTION…]
	need
	[ -n "$ROUSE_IN_NAMESPACE" ] && return
	export ROUSE ROUSE_IN_NAMESPACE=1
	exec timeout -k 5 "$1" unshare --mount --net --propagation private "${@:3}" bash "$2"
}

W=
server=
leave() {
	[ -n "$server" ] && kill "$server" 2>/dev/null && wait "$server" 2>/dev/null
	if [ -n "$W" ]; then
		umount /nix 2>/dev/null
		rm -rf "$W"
	fi
	[ -n "$made_nix" ] && rmdir /nix 2>/dev/null
	:
}

begin_world() {
	ip link set lo up
	W=$(mktemp -d)
	trap leave EXIT
	mkdir -p "$W/nix" "$W/home" "$W/conf"
	if [ ! -d /nix ]; then
		made_nix=1
		mkdir /nix
	fi
	mount --bind "$W/nix" /nix
	printf 'build-users-group =\nsandbox = false\nsubstituters =\nexperimental-features = nix-command\n' \
		>"$W/conf/nix.conf"
	export NIX_CONF_DIR=$W/conf HOME=$W/home NIX_REMOTE=local
	unset NIX_PATH NIX_CONFIG
	# Nor is anything here behind the proxy through which this machine may reach the world.
	unset http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY
	nix-store --generate-binary-cache-key test-1 "$W/secret" "$W/public"
	KEY=$(cat "$W/public")
}

# Builds the closure of closure.nix; its root is TOP.
make_closure() {
	TOP=$(nix-store -Q -r "$(nix-instantiate -Q "$HERE/closure.nix" "$@" 2>/dev/null)" 2>/dev/null | tail -n 1)
	[ -n "$TOP" ]
}

# make_cache NAME COMPRESSION [PATH…]: a signed binary cache in $W/NAME
make_cache() {
	local name=$1 compression=$2
	shift 2
	nix copy --quiet --to "file://$W/$name?compression=$compression&secret-key=$W/secret" \
		"${@:-$TOP}" 2>/dev/null
}

# A certificate authority of our own and a certificate for localhost.
make_certificate() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=test ca' \
		-keyout "$W/ca.key" -out "$W/ca.pem" 2>/dev/null
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=localhost' \
		-keyout "$W/tls.key" -out "$W/tls.csr" 2>/dev/null
	printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' >"$W/tls.ext"
	openssl x509 -req -in "$W/tls.csr" -CA "$W/ca.pem" -CAkey "$W/ca.key" -CAcreateserial -days 2 \
		-extfile "$W/tls.ext" -out "$W/tls.pem" 2>/dev/null
	export SSL_CERT_FILE=$W/ca.pem
}

# nginx on two free ports over $W: $HTTP and $HTTPS are its addresses. $W/locations.conf adds to both.
serve() {
	local a b
	make_certificate
	read -r a b <<<"$(python3 -c '
import socket
s = [socket.socket() for _ in range(2)]
for x in s: x.bind(("127.0.0.1", 0))
print(*(x.getsockname()[1] for x in s))')"
	cat >"$W/nginx.conf" <<-END
		daemon off; worker_processes 1; pid $W/nginx.pid; error_log $W/nginx.err;
		user root;
		events { worker_connections 256; }
		http {
			log_format connection '\$connection \$request';
			access_log $W/access.log; root $W; default_type application/octet-stream;
			client_body_temp_path $W/t1; proxy_temp_path $W/t2; fastcgi_temp_path $W/t3;
			uwsgi_temp_path $W/t4; scgi_temp_path $W/t5;
			server { listen 127.0.0.1:$a; include $W/locations.conf; }
			server { listen 127.0.0.1:$b ssl http2; include $W/locations.conf; ssl_certificate $W/tls.pem; ssl_certificate_key $W/tls.key;
				location /private/token/ { if (\$http_authorization != "Bearer canary") { return 401; } alias $W/zstd/; }
				location /private/basic/ { auth_basic private; auth_basic_user_file $W/htpasswd; alias $W/zstd/; } }
		}
	END
	touch "$W/locations.conf"
	printf 'me:{PLAIN}canary\n' >"$W/htpasswd"
	chmod 755 "$W"
	nginx -c "$W/nginx.conf" -p "$W" 2>/dev/null &
	server=$!
	# shellcheck disable=SC2034 # for the tests
	HTTP=http://127.0.0.1:$a HTTPS=https://localhost:$b
	for _ in $(seq 600); do
		(: <"/dev/tcp/127.0.0.1/$b") 2>/dev/null && return
		sleep 0.05
	done
	printf '1..1\nnot ok 1 - %s\n' "nginx does not start"
	exit 1
}

# --- TAP ---
tests=0 failures=0
ok() { # ok NAME COMMAND…
	local name=$1
	shift
	tests=$((tests + 1))
	if "$@"; then
		echo "ok $tests - $name"
	else
		echo "not ok $tests - $name"
		echo "# failed: $*"
		[ -s "$W/out" ] && sed 's/^/# /' "$W/out" | head -n 20
		failures=$((failures + 1))
	fi
}
finish() {
	echo "1..$tests"
	[ "$failures" = 0 ]
}

# pull DIR CACHE… -- [OPTION…]: pulls $TOP; output in $W/out, status returned
pull() {
	local dir=$1 args=()
	shift
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		args+=(--cache "$1")
		shift
	done
	[ $# -gt 0 ] && shift
	mkdir -p "$dir"
	"$ROUSE" pull "${args[@]}" --key "$KEY" --store "$dir" "$@" "$TOP" >"$W/out" 2>&1
}

# Type, mode, owner, size, time, link target and content of all below the paths of a closure.
describe() { # describe STORE-DIR LIST-OF-NAMES
	(
		cd "$1" || exit 1
		mapfile -t names <"$2"
		find "${names[@]}" -printf '%y %m %U:%G %T@ %p %l\n' | sort
		find "${names[@]}" -type f -print0 | sort -z | xargs -0 sha256sum
		find "${names[@]}" -type f -printf '%s %n %p\n' | sort
	)
}

# The closure of $TOP, base names.
list_closure() {
	nix-store -qR "$TOP" | sed 's|^/nix/store/||' | sort
}

# Nothing of an unfinished pull is to be seen.
no_leftovers() { # no_leftovers DIR
	[ -z "$(find "$1/nix/store" -mindepth 1 -maxdepth 1 -name '.rouse-*' 2>/dev/null)" ]
}
