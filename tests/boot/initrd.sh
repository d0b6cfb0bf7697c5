#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The agent in the initrds of others: one with systemd, built by dracut, one of initramfs-tools, and the
# two kinds of NixOS. The first two are built by the tools themselves out of what `make install` installs, the
# others as the NixOS module says (nixos-initrds.sh). All boot a root that the agent finds, grows and mounts;
# what starts there looks at what it was left.
set -u
cd "$(dirname "$0")/../.." || exit 1
PATH=$PATH:/usr/sbin:/sbin
CC=${CC:-cc}
[ "$(id -u)" = 0 ] || { echo '1..0 # SKIP needs root'; exit 0; }
for tool in qemu-system-x86_64 dracut mkinitramfs mke2fs sfdisk zstd nix-instantiate patchelf busybox; do
	command -v $tool > /dev/null || { echo "1..0 # SKIP needs $tool"; exit 0; }
done
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh
tap_begin "$dir/why"
# shellcheck source=tests/boot/nixos-initrds.sh
. tests/boot/nixos-initrds.sh

said() # PATTERN
{
	grep -q -e "$1" "$dir/console" || { tail -n 40 "$dir/console"; return 1; }
}

never_said() # PATTERN
{
	! grep -e "$1" "$dir/console"
}

kernel=build/kernel
good=/nix/store/0c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6a-system-good
other=/nix/store/1c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6a-system-other

make_disk()
{
	tree=$dir/tree
	mkdir -p "$tree$good" "$tree/nix/var/nix/profiles" "$tree/var/lib/rouse"
	echo '{ "rouse": 1 }' > "$tree/var/lib/rouse/document.json"
	cp "$dir/init" "$tree$good/real-init"
	ln -s $good/real-init "$tree$good/init"
	ln -s $good "$tree/nix/var/nix/profiles/system-1-link"
	ln -s system-1-link "$tree/nix/var/nix/profiles/system"
	truncate -s 64M "$dir/disk.img"
	echo 'label: gpt
start=2048, size=102400, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709' | sfdisk -q "$dir/disk.img" &&
		mke2fs -q -F -t ext4 -E offset=1048576 -d "$tree" "$dir/disk.img" 50M
}

# Runs a command where what `make install` made is installed, and the kernel's modules are, too.
installed() # COMMAND [ARG]...
{
	# shellcheck disable=SC2016 # expanded by the inner shell
	unshare --mount sh -euc '
		stage=$1 modules=$2
		shift 2
		over()
		{
			[ -d "$2" ] || mkdir -p "$2"
			mount -t overlay -o "ro,lowerdir=$1:$2" overlay "$2"
		}
		over "$stage/usr/sbin" /usr/sbin
		over "$stage/lib/systemd/system" /usr/lib/systemd/system
		over "$stage/usr/lib/dracut/modules.d" /usr/lib/dracut/modules.d
		over "$stage/usr/share/initramfs-tools" /usr/share/initramfs-tools
		over "$stage/etc" /etc
		over "$stage/boot" /boot
		over "$modules" /usr/lib/modules
		"$@"
	' installed "$dir/stage" "$PWD/$kernel/lib/modules" "$@"
}

prepare()
{
	images/kernel --dir $kernel || return
	version=$(cat $kernel/version)
	$CC -std=gnu17 -D_GNU_SOURCE -O1 -static -o "$dir/init" tests/boot/init/init.c &&
		$CC -std=gnu17 -D_GNU_SOURCE -O1 -shared -fPIC -o "$dir/fault.so" tests/boot/init/fault.c &&
		echo /fault.so > "$dir/ld.so.preload" &&
		make --no-print-directory install DESTDIR="$dir/stage" > /dev/null && make_disk || return
	cat > "$dir/stage/etc/rouse/web.json" << END
{ "rouse": 1, "disks": { "root": { "device": "root", "partitions": { "/": { "filesystem": "ext4" } } } } }
END
	echo '{ "document": "/etc/rouse/web.json" }' > "$dir/stage/etc/rouse/agent.json"
	: > "$dir/stage/etc/rouse/initramfs"
	# mkinitramfs looks there for what the kernel can unpack
	mkdir "$dir/stage/boot" && echo CONFIG_RD_ZSTD=y > "$dir/stage/boot/config-$version"
	mkdir -p "$dir/conf"
	cp -r /etc/initramfs-tools/. "$dir/conf" && sed -i 's/^MODULES=.*/MODULES=list/' "$dir/conf/initramfs.conf"
	mkdir -p "$dir/conf/hooks"
	cat > "$dir/conf/hooks/document" << 'END'
#!/bin/sh
[ "${1:-}" != prereqs ] || exit 0
. /usr/share/initramfs-tools/hook-functions
copy_file config /etc/rouse/web.json
END
	chmod +x "$dir/conf/hooks/document"
	installed dracut --force --no-hostonly --no-early-microcode --kver "$version" --compress 'zstd -3' --quiet \
		--modules 'base dracut-systemd fs-lib rouse systemd systemd-initrd udev-rules' \
		--install /etc/rouse/web.json --include "$dir/fault.so" /fault.so \
		--include "$dir/ld.so.preload" /etc/ld.so.preload "$dir/dracut.img" &&
		installed mkinitramfs -d "$dir/conf" -c zstd -o "$dir/initramfs-tools.img" "$version" &&
		nixos_systemd "$dir/dracut.img" "$dir/nixos-systemd.img" && nixos_scripted "$dir/nixos-scripted.img"
}

boot() # INITRD APPEND [ARG]...
{
	initrd=$1 append=$2
	shift 2
	images/vm --kernel $kernel/vmlinuz --initrd "$initrd" --append "$append" --timeout 240 --disk "$dir/disk.img" \
		--snapshot "$@" 2> "$dir/qemu" | tr -d '\r' > "$dir/console"
}

# A machine whose user-data has a typo until its group has heard of it, and then no more
boot_held()
{
	root='"disks": { "root": { "device": "root", "partitions": { "/": { "filesystem": "ext4" } } } }'
	echo "{ \"rouse\": 1, $root, \"hostnme\": \"web\" }" > "$dir/user-data"
	mkfifo "$dir/imds.hold" "$dir/imds.port"
	python3 tests/cloud/imds.py --user-data "$dir/user-data" --log "$dir/imds.log" \
		--scenario '{ "POST /group/": [{}] }' < "$dir/imds.hold" > "$dir/imds.port" &
	exec 9> "$dir/imds.hold"
	read -r _ port < "$dir/imds.port"
	mkdir -p "$dir/held/etc/rouse"
	cat > "$dir/held/etc/rouse/agent.json" << END
{
  "onFailure": "hold", "holdPoll": "2s",
  "signals": { "asg": { "group": "web", "hook": "launch", "endpoint": "http://169.0.2.2:$port/group" } }
}
END
	# The kernel unpacks one archive behind the other, where it begins at a multiple of four
	cp "$dir/dracut.img" "$dir/held.img"
	truncate -s %4 "$dir/held.img"
	(cd "$dir/held" && find . | cpio --quiet -o -H newc) >> "$dir/held.img"
	(
		end=$(($(date +%s) + 200))
		until [ "$(grep -c '"POST", "path": "/group/"' "$dir/imds.log")" -ge 1 ] || [ "$(date +%s)" -ge $end ]; do
			sleep 0.2
		done
		echo "{ \"rouse\": 1, $root, \"hostname\": \"web\" }" > "$dir/corrected"
		mv "$dir/corrected" "$dir/user-data"
	) 9>&- &
	boot "$dir/held.img" 'quiet systemd.show_status=no' --imds "$port" 9>&-
	exec 9>&-
	wait
}

if ! prepare > "$dir/prepare" 2>&1; then
	tail -n 30 "$dir/prepare" | sed 's/^/# /'
	printf '1..1\nnot ok 1 - %s\n' "cannot build the initrds"
	exit 1
fi

# With a dot, it is not for the environment of init
boot "$dir/dracut.img" "quiet systemd.show_status=no init=$other/init word-for-init test.fault=crash-facts"
ok "dracut: a crash of the agent is said, with its phase" said "the agent was killed by signal 11 .*in phase 'facts'"
ok "dracut: it is tried again, and nobody falls back" never_said 'trying the generation'
ok "dracut: the agent finds the root and grows it" said 'disks: grow partition 1'
ok "dracut: systemd starts the system's init, whatever init= says, in a root without os-release" \
	said "^NEXT-INIT $good/init"
ok "dracut: it has come to its end" said '^CHECK-END'
ok "dracut: the agent has traveled and starts" said '^CHECK ok the agent has traveled and starts'
ok "dracut: its unit is wanted" said '^CHECK ok its unit is wanted'
ok "dracut: the report has traveled" said '^CHECK ok the report has traveled'
ok "dracut: no process, descriptor or signal of the initrd is left" [ "$(grep -c \
	'^CHECK ok \(three descriptors\|no signal is\|no process is left\|the environment is\|nothing is left of\)' "$dir/console")" = 8 ]
ok "dracut: the root is the disk's" said "^CHECK ok the root is the disk's"

boot_held
ok "dracut, held: the console says why, with the key" said 'hostnme'
ok "dracut, held: its group is kept waiting" contains "$dir/imds.log" '"POST", "path": "/group/"'
ok "dracut, held: the document put right, it goes on" said "^NEXT-INIT $good/init"
ok "dracut, held: nobody fell back meanwhile" never_said 'trying the generation'
ok "dracut, held: no process of the initrd is left" said '^CHECK ok no process is left'

boot "$dir/initramfs-tools.img" 'boot=rouse quiet word-for-init'
ok "initramfs-tools: the agent finds the root and grows it" said 'disks: grow partition 1'
ok "initramfs-tools: the system's init starts" said "^NEXT-INIT $good/init"
ok "initramfs-tools: it has come to its end" said '^CHECK-END'
ok "initramfs-tools: the agent has traveled and starts" said '^CHECK ok the agent has traveled and starts'
ok "initramfs-tools: the report has traveled" said '^CHECK ok the report has traveled'
ok "initramfs-tools: the root is the disk's" said "^CHECK ok the root is the disk's"

for kind in systemd scripted; do
	boot "$dir/nixos-$kind.img" 'quiet systemd.show_status=no word-for-init'
	ok "NixOS, $kind: the agent finds the root and grows it" said 'disks: grow partition 1'
	ok "NixOS, $kind: the document's system starts, with no init=" said "^NEXT-INIT $good/init"
	ok "NixOS, $kind: the agent has traveled and starts" said '^CHECK ok the agent has traveled and starts'
	ok "NixOS, $kind: its unit is wanted" said '^CHECK ok its unit is wanted'
	ok "NixOS, $kind: the report has traveled" said '^CHECK ok the report has traveled'
	ok "NixOS, $kind: no process of the initrd is left" said '^CHECK ok no process is left'
	ok "NixOS, $kind: the root is the disk's" said "^CHECK ok the root is the disk's"
done
tap_end
