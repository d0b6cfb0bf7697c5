# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2034,SC2154 # variables that this file and the script which reads it share
#
# The scene of a boot, for `make demo` and for the tests: a fleet's cache and bucket, a metadata
# service, and a machine with a blank disk. To be read by sh from the top of the source tree, with
# $scene as an empty directory for all that it writes.
#
#   scene_prepare            agent, kernel, initramfs, system closure: made once, kept in build/
#   scene_open               starts the servers, makes a key to log in with
#   scene_document FILE      writes a document for this scene
#   scene_publish FILE       puts a document into the bucket and points the user-data at it
#   scene_disk SIZE          a blank disk, $scene/disk.img
#   scene_boot [ARG]...      boots, with arguments for images/vm; sets $scene_vm
#   scene_start [ARG]...     the same without the initramfs and the disk
#   scene_wait SECONDS       until the machine told its verdict, in $verdict; the report is $scene/report.json
#                            (with $scene_told: until one more than so many)
#   scene_halt               shuts the machine down as a person at its keyboard would
#   scene_close              ends everything that was started here

: "${ROUSE:=build/rouse}"
PATH=$PATH:/usr/sbin:/sbin # not everybody's has them
scene_world=build/world
scene_kernel=build/kernel
scene_vm='' scene_nginx='' scene_imds='' verdict='' scene_told=0

scene_fail()
{
	echo "${0##*/}: $*" >&2
	return 71
}

scene_make()
{
	if [ "$ROUSE" = build/rouse ]; then
		make --no-print-directory -j"$(nproc)" build/rouse > "$scene/make.log" 2>&1 || {
			tail -n 20 "$scene/make.log" >&2
			scene_fail "cannot build the agent"
			return
		}
	fi
	images/kernel --dir $scene_kernel || return
	if [ ! -s "$scene_initrd" ] || [ -n "$(find "$ROUSE" images/initramfs $scene_kernel/version -newer "$scene_initrd")" ]; then
		scene_initramfs "$scene_initrd" || return
	fi
	tests/boot/world/build $scene_world
}

# One at a time: what is made here is shared
scene_prepare()
{
	scene_initrd=build/demo.initramfs
	[ "$ROUSE" = build/rouse ] || scene_initrd=$scene/initramfs
	mkdir -p build
	exec 5> build/scene.lock
	flock 5
	status=0
	scene_make 5>&- || status=$?
	exec 5>&-
	return $status
}

# An initramfs with the agent: scene_initramfs FILE [ARG]..., with arguments for images/initramfs
scene_initramfs()
{
	output=$1
	shift
	images/initramfs --agent "$ROUSE" --output "$output" --level 3 \
		--kernel-modules "$scene_kernel/lib/modules/$(cat $scene_kernel/version)" "$@"
}

# Two free ports of the loopback; the ones of an earlier run when they are still free, because a
# document that names its cache in the same way is the same document.
scene_ports()
{
	python3 - "$scene/ports" << 'END'
import os, socket, sys
want = []
if os.path.exists(sys.argv[1]):
    want = [int(p) for p in open(sys.argv[1]).read().split()]
held, ports = [], []
for i in range(3):
    s = socket.socket()
    try:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", want[i] if i < len(want) else 0))
    except OSError:
        s = socket.socket()
        s.bind(("127.0.0.1", 0))
    held.append(s)
    ports.append(s.getsockname()[1])
print(*ports, file=open(sys.argv[1], "w"))
END
	read -r port_web port_imds port_ssh < "$scene/ports"
	scene_url=http://169.0.2.2:$port_web
}

# A server is up when its port answers; a server that has ended will not. On a busy host it takes its time.
scene_await_port()
{
	end=$(($(date +%s) + 60))
	while kill -0 "$2" 2> /dev/null && [ "$(date +%s)" -lt "$end" ]; do
		! busybox nc -w 1 127.0.0.1 "$1" < /dev/null > /dev/null 2>&1 || return 0
		sleep 0.1
	done
	return 1
}

scene_open_web()
{
	web=$(cd "$scene" && pwd)/web
	mkdir -p "$web/tmp" "$web/fleet"
	: > "$web/requests"
	cat > "$web/nginx.conf" << END
$([ "$(id -u)" != 0 ] || echo 'user root;')
worker_processes 1;
daemon off;
pid $web/pid;
error_log $web/error;
events { worker_connections 256; }
http {
	log_format line '\$request_method \$uri \$status \$body_bytes_sent';
	access_log $web/requests line;
	client_body_temp_path $web/tmp;
	proxy_temp_path $web/tmp;
	fastcgi_temp_path $web/tmp;
	uwsgi_temp_path $web/tmp;
	scgi_temp_path $web/tmp;
	default_type application/octet-stream;
	sendfile on;
	server {
		listen 127.0.0.1:$port_web;
		location /cache/ {
			if (-f $web/away) { return 444; }
			alias $PWD/$scene_world/cache/;
		}
		location /fleet/ { alias $web/fleet/; }
		location /group/ { return 200; }
	}
}
END
	timeout 1800 nginx -p "$web" -e "$web/error" -c "$web/nginx.conf" > "$web/log" 2>&1 9>&- &
	scene_nginx=$!
	scene_await_port "$port_web" $scene_nginx ||
		scene_fail "nginx does not start: $(tail -n 1 "$web/error")"
}

scene_open_imds()
{
	# It ends when nobody holds the other end of its input any more, however this shell ended
	rm -f "$scene/imds.hold"
	mkfifo "$scene/imds.hold"
	python3 tests/cloud/imds.py --port "$port_imds" --user-data "$scene/user-data" --log "$scene/imds.log" \
		< "$scene/imds.hold" > /dev/null 2>&1 &
	scene_imds=$!
	exec 9> "$scene/imds.hold"
	scene_await_port "$port_imds" $scene_imds ||
		scene_fail "the metadata service does not start: $(tail -n 1 "$scene/imds.log")"
}

scene_open()
{
	scene_ports || return
	[ -s "$scene/key" ] || ssh-keygen -q -t ed25519 -N '' -C demo -f "$scene/key" || return
	: > "$scene/user-data"
	scene_open_web && scene_open_imds
}

scene_document()
{
	cat > "$1" << END
{
  "rouse": 1,

  "hostname": "web-{instance.id}",

  "disks": {
    "root": {
      "device": "root",
      "partitions": {
        "/boot": { "size": "200MB", "filesystem": "vfat" },
        "/":     { "filesystem": "ext4" }
      }
    }
  },

  "caches": {
    "demo": { "url": "$scene_url/cache", "keys": ["$(cat $scene_world/key)"] }
  },
  "system": {
    "path": "$(cat $scene_world/system)",
    "narHash": "$(cat $scene_world/narhash)"
  },

  "users": { "ops": { "groups": ["wheel"], "sshKeys": ["$(cat "$scene/key.pub")"] } },
  "files": { "/srv/www/index.html": { "contents": "Hello from a disk that was blank.\n", "mode": "0644" } },

  "health": {
    "deadline": "90s",
    "checks": {
      "web":   { "http": "http://127.0.0.1/healthz" },
      "nginx": { "unit": "nginx.service" },
      "ssh":   { "tcp": 22 }
    },
    "signals": { "ci": { "virtio": "org.rouse.status" } }
  }
}
END
}

scene_publish()
{
	cp "$1" "$scene/web/fleet/web.json"
	printf '{ "rouse": 1, "from": { "url": "%s", "sha256": "%s" } }\n' "$scene_url/fleet/web.json" \
		"${2:-$(sha256sum < "$1" | cut -d ' ' -f 1)}" > "$scene/user-data"
}

scene_disk()
{
	rm -f "$scene/disk.img"
	truncate -s "$1" "$scene/disk.img"
}

scene_boot()
{
	scene_start --initrd "$scene_initrd" --disk "$scene/disk.img" "$@"
}

scene_start()
{
	verdict='' scene_told=0
	rm -f "$scene/monitor.in" "$scene/monitor.out"
	mkfifo "$scene/monitor.in" "$scene/monitor.out"
	: > "$scene/status"
	: > "$scene/console"
	# Both ends stay open here, so that neither QEMU nor this shell waits for the other
	exec 7<> "$scene/monitor.in" 8<> "$scene/monitor.out"
	images/vm --kernel $scene_kernel/vmlinuz --status "$scene/status" \
		--qemu -chardev --qemu "pipe,id=monitor,path=$scene/monitor" \
		--qemu -mon --qemu chardev=monitor "$@" > "$scene/console" 2> "$scene/qemu.log" 9>&- &
	scene_vm=$!
}

scene_running()
{
	[ -n "$scene_vm" ] && kill -0 "$scene_vm" 2> /dev/null
}

scene_wait()
{
	end=$(($(date +%s) + $1))
	until [ "$(grep -c '"event": *"report".*}$' "$scene/status")" -gt "$scene_told" ]; do
		if ! scene_running; then
			scene_fail "the machine ended before it told its verdict: $(tail -n 1 "$scene/qemu.log")"
			return
		elif [ "$(date +%s)" -ge "$end" ]; then
			scene_fail "the machine told no verdict within $1 s"
			return
		fi
		sleep 0.2
	done
	python3 - "$scene/status" "$scene/report.json" << 'END'
import json, sys
events = [json.loads(line) for line in open(sys.argv[1]) if line.endswith("}\n")]
report = [e["report"] for e in events if e.get("event") == "report"][-1]
json.dump(report, open(sys.argv[2], "w"), indent=2)
END
	verdict=$(scene_report verdict)
}

# A member of the report: scene_report phases.0.name
scene_report()
{
	python3 - "$scene/report.json" "$1" << 'END'
import json, sys
value = json.load(open(sys.argv[1]))
for key in sys.argv[2].split("."):
    value = value[int(key)] if isinstance(value, list) else (value or {}).get(key)
print("" if value is None else value)
END
}

scene_halt()
{
	if scene_running; then
		echo 'sendkey ctrl-alt-delete' >&7
		for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
			scene_running || break
			sleep 0.5
		done
	fi
	scene_kill
}

# The power fails
scene_kill()
{
	[ -z "$scene_vm" ] || kill "$scene_vm" 2> /dev/null || true
	[ -z "$scene_vm" ] || wait "$scene_vm" 2> /dev/null || true
	scene_vm=
}

scene_close()
{
	scene_kill
	for pid in $scene_nginx $scene_imds; do
		kill "$pid" 2> /dev/null || true
		wait "$pid" 2> /dev/null || true
	done
	scene_nginx='' scene_imds=''
}
