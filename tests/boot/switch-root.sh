#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The agent as process 1: what the next init finds, and what happens when there is none to start,
# or when the agent's own worker fails. Real kernel, real initramfs, in software.
set -u
cd "$(dirname "$0")/../.." || exit 1
ROUSE=${ROUSE:-build/rouse}
CC=${CC:-cc}

for tool in qemu-system-x86_64 mke2fs sfdisk depmod cpio zstd; do
	PATH=$PATH:/usr/sbin:/sbin command -v $tool > /dev/null || { echo "1..0 # SKIP needs $tool"; exit 0; }
done
PATH=$PATH:/usr/sbin:/sbin
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# shellcheck source=tests/lib/tap.sh
. tests/lib/tap.sh
tap_begin "$dir/why"

said() # PATTERN
{
	grep -q -e "$1" "$dir/console" || { tail -n 15 "$dir/console"; return 1; }
}

never_said() # PATTERN
{
	! grep -e "$1" "$dir/console"
}

store=/nix/store
good=$store/0c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6a-system-good
bad=$store/1c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6a-system-bad

# An ELF file that looks like a program until the kernel reads the size of its table (byte 54)
refused=$store/2c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6a-system-refused

# A disk as rouse left it earlier: generation $1 is current, $2 is missing, $3 is the kernel of the good system,
# $4 the attempts, $5 the system that was healthy; with $6 the activation of the bad one fails
make_disk()
{
	tree=$dir/tree
	profiles=$tree/nix/var/nix/profiles
	rm -rf "$tree" "$dir/disk.img"
	mkdir -p "$tree$good" "$tree$bad" "$tree$refused" "$profiles" "$tree/var/lib/rouse"
	echo '{ "rouse": 1, "health": { "checks": { "init": { "file": "/proc/1/exe" } } } }' \
		> "$tree/var/lib/rouse/document.json"
	# An absolute link, as NixOS has: from outside of the root it leads nowhere
	cp "$dir/init" "$tree$good/real-init"
	ln -s "$good/real-init" "$tree$good/init"
	# The 18th byte begins the machine: this one is for S/390
	cp "$dir/init" "$tree$bad/init"
	printf '\026\000' | dd of="$tree$bad/init" bs=1 seek=18 conv=notrunc 2> /dev/null
	cp "$dir/init" "$tree$refused/init"
	printf '\000\000' | dd of="$tree$refused/init" bs=1 seek=54 conv=notrunc 2> /dev/null
	[ -z "${6:-}" ] || cp "$dir/init" "$tree$bad/prepare-root"
	ln -s $good "$profiles/system-1-link"
	ln -s $refused "$profiles/system-3-link"
	ln -s $bad "$profiles/system-2-link"
	ln -s "system-$1-link" "$profiles/system"
	[ -z "${2:-}" ] || rm "$profiles/$2"
	if [ -n "${3:-}" ]; then
		# A system whose modules are those of another kernel, which it brings
		mkdir -p "$tree$good/kernel-modules/lib/modules/9.9.9"
		cp "$3" "$tree$good/kernel"
		cp "$dir/other.initrd" "$tree$good/initrd"
		printf 'console=ttyS0 panic=-1 loglevel=3\nwords-of-the-system' > "$tree$good/kernel-params"
	fi
	[ "$1" = 3 ] || rm "$profiles/system-3-link"
	[ -z "${4:-}" ] || echo "$4" > "$tree/var/lib/rouse/attempts.json"
	[ -z "${5:-}" ] || echo "{ \"healthy\": [ { \"path\": \"$5\" } ] }" > "$tree/var/lib/rouse/generations.json"
	truncate -s 64M "$dir/disk.img"
	echo 'label: gpt
start=2048, size=122880, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709' | sfdisk -q "$dir/disk.img" || return
	mke2fs -q -F -t ext4 -E offset=1048576 -d "$tree" "$dir/disk.img" 60M
}

make_initramfs() # OUTPUT [ARG]...
{
	output=$1
	shift
	images/initramfs --agent "$ROUSE" --kernel-modules "$kernel/lib/modules/$(cat $kernel/version)" \
		--settings "$dir/agent.json" --level 1 --output "$output" "$@"
}

snapshot=1 # of the disk: nothing that a boot writes is kept
boot() # INITRAMFS APPEND SECONDS [ARG]...
{
	initramfs=$1 append=$2 seconds=$3
	shift 3
	images/vm --kernel $kernel/vmlinuz --initrd "$initramfs" --append "$append" --timeout "$seconds" \
		--disk "$dir/disk.img" ${snapshot:+--snapshot} "$@" 2> "$dir/qemu" | tr -d '\r' > "$dir/console"
}

# The same, until the console says something: a machine that is held does not end
boot_until() # PATTERN INITRAMFS APPEND SECONDS
{
	pattern=$1 end=$(($(date +%s) + $4))
	images/vm --kernel $kernel/vmlinuz --initrd "$2" --append "$3" --timeout "$4" --disk "$dir/disk.img" --snapshot \
		> "$dir/raw" 2> "$dir/qemu" &
	vm=$!
	until grep -q -e "$pattern" "$dir/raw" || [ "$(date +%s)" -ge $end ] || ! kill -0 $vm 2> /dev/null; do
		sleep 0.2
	done
	kill $vm 2> /dev/null
	wait $vm
	tr -d '\r' < "$dir/raw" > "$dir/console"
}

kernel=build/kernel
# Another version of it, for a system that brings its own
other=build/kernel.other
other_version()
{
	apt-cache pkgnames linux-image- | sed -n "s/^linux-image-\([0-9].*-cloud-$(dpkg --print-architecture)\)\$/\1/p" |
		grep -vxF "$(cat $kernel/version)" | sort -V | tail -n 1
}

# Nobody listens there: the boot finds no document and falls back to what the disk has
echo '{ "document": "http://169.0.2.2:9/web.json", "sha256": "'"$(printf %064d 0)"'", "deadline": "6s", "holdPoll": "1s" }' > "$dir/agent.json"
# Everything is at hand, and nothing to fall back to
echo '{ "document": "/etc/rouse/web.json", "onFailure": "hold", "holdPoll": "1s" }' > "$dir/phases.json"
echo '{ "rouse": 1, "disks": { "root": { "device": "root", "partitions": { "/": { "filesystem": "ext4" } } } } }' > "$dir/web.json"
if ! { images/kernel --dir $kernel && images/kernel --dir $other --version "$(other_version)" &&
	$CC -std=gnu17 -D_GNU_SOURCE -O1 -static -o "$dir/init" tests/boot/init/init.c &&
	$CC -std=gnu17 -D_GNU_SOURCE -O1 -shared -fPIC -o "$dir/fault.so" tests/boot/init/fault.c &&
	echo /fault.so > "$dir/ld.so.preload" &&
	sed 's/Debian/Nobody/' $kernel/vmlinuz > "$dir/tampered" &&
	make_initramfs "$dir/initramfs" &&
	make_initramfs "$dir/again" &&
	make_initramfs "$dir/initramfs.fault" --add "$dir/fault.so:/fault.so" \
		--add "$dir/ld.so.preload:/etc/ld.so.preload" &&
	make_initramfs "$dir/initramfs.phases" --add "$dir/fault.so:/fault.so" \
		--add "$dir/ld.so.preload:/etc/ld.so.preload" --add "$dir/web.json:/etc/rouse/web.json" \
		--settings "$dir/phases.json" &&
	make_initramfs "$dir/other.initrd" --add "$dir/web.json:/etc/rouse/web.json" --settings "$dir/phases.json" \
		--kernel-modules "$other/lib/modules/$(cat $other/version)"; } > "$dir/prepare" 2>&1; then
	sed 's/^/# /' "$dir/prepare"
	printf '1..1\nnot ok 1 - %s\n' "cannot prepare"
	exit 1
fi
# Another document, that of the image: the kernel unpacks one archive over the other
overlay() # OUTPUT < DOCUMENT
{
	mkdir -p "$dir/over/etc/rouse"
	cat > "$dir/over/etc/rouse/web.json"
	echo '{ "document": "/etc/rouse/web.json" }' > "$dir/over/etc/rouse/agent.json"
	chmod 644 "$dir/over/etc/rouse/"*
	cp "$dir/initramfs" "$1" && truncate -s %512 "$1" &&
		(cd "$dir/over" && find etc | cpio --quiet -o -H newc -R 0:0) >> "$1"
}

# One that no machine can follow
lost_system()
{
	cat << END
{ "rouse": 1, "caches": { "here": { "url": "file:///nowhere", "keys": ["acme-1:nJmSRrKkSaK3neLsRLEQXFtTM365FwldyzZpxG20GS8="] } },
  "disks": { "root": { "device": "root", "partitions": { "/": { "filesystem": "ext4" } } } },
  "system": { "path": "$store/3c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6a-system-lost", "narHash": "sha256-$(printf '%043d' 0)=" } }
END
}

ok "initramfs: the same inputs give the same bytes" cmp "$dir/initramfs" "$dir/again"

make_disk 1
boot "$dir/initramfs" "quiet word-for-init" 60
ok "switch: the next init has started" said "^NEXT-INIT $good/init$"
ok "switch: it has come to its end" said '^CHECK-END$'
sed -n 's/^CHECK \([A-Za-z]*\) \(.*\)$/\1 \2/p' "$dir/console" > "$dir/checks"
while read -r result rule; do
	ok "next init: $rule" [ "$result" = ok ]
done < "$dir/checks"

make_disk 2
boot "$dir/initramfs" "quiet word-for-init" 60
ok "init for another machine: the agent says so" said 'built for another machine'
ok "init for another machine: the previous generation starts" said "^NEXT-INIT $good/init$"

make_disk 3
boot "$dir/initramfs" "quiet word-for-init" 60
ok "init that the kernel refuses: the agent says so" said "cannot start '$refused/init'"
ok "init that the kernel refuses: the previous generation starts" said "^NEXT-INIT $good/init$"
sed -n 's/^CHECK FAILED \(.*\)$/\1/p' "$dir/console" > "$dir/checks"
ok "init that the kernel refuses: the previous one finds everything in order" [ ! -s "$dir/checks" ]

make_disk 3 system-1-link
boot "$dir/initramfs" "quiet rouse.onfailure=reboot" 60
ok "only inits that the kernel refuses: the verdict is failed" said "ROUSE-STATE .*state=failed.*$refused/init"
ok "only inits that the kernel refuses: the machine is held until it reboots as told" said 'rebooting in 10 s'
ok "only inits that the kernel refuses: the kernel does not panic" never_said 'Kernel panic'

make_disk 2 system-1-link '' '{ "document": "", "reboots": 3 }'
boot_until 'no reboot:.*\|rebooting in' "$dir/initramfs" "quiet rouse.onfailure=reboot" 60
ok "no init at all: the verdict is failed" said 'ROUSE-STATE .*state=failed'
ok "no init at all: after three reboots there is no fourth" said 'no reboot: this machine was rebooted 3 times'
ok "no init at all: the kernel does not panic" never_said 'Kernel panic'

make_disk 1
boot_until 'rouse=off on the kernel command line.*holding' "$dir/initramfs" "quiet rouse=off rouse.onfailure=reboot" 60
ok "rouse=off: the agent says that it has nothing else, and stays" said 'rouse=off on the kernel command line.*holding'

make_disk 1 '' '' '' $good
lost_system | overlay "$dir/initramfs.refused"
snapshot=
for try in first second; do
	boot "$dir/initramfs.refused" "quiet word-for-init" 60
	ok "$try boot with a document that cannot work: it is tried" said "boot: closure: .*-system-lost' is in none of the caches.*trying the generation"
	ok "$try boot with a document that cannot work: the last system starts" said "^NEXT-INIT $good/init$"
done
boot "$dir/initramfs.refused" "quiet word-for-init" 60
ok "third boot with a document that cannot work: it is not tried before the fallback" \
	said "this document has failed on this machine before: .*system-lost' is in none of the caches.*trying the generation"
ok "third boot with a document that cannot work: the last system starts" said "^NEXT-INIT $good/init$"

make_disk 2 '' '' "{ \"document\": \"\", \"good\": \"$(printf %064d 0)\" }" $good fails
overlay "$dir/initramfs.activated" < "$dir/web.json"
for try in first second; do
	boot "$dir/initramfs.activated" "quiet word-for-init" 60
	ok "$try boot of a system whose activation fails: it is tried, and init ends" said 'Kernel panic .*exitcode=0x00000100'
done
boot "$dir/initramfs.activated" "quiet word-for-init" 60
snapshot=1
ok "third boot of a system whose activation fails: the agent says why it is not tried" \
	said 'the boot before this one ended without a verdict.*trying the generation'
ok "third boot of a system whose activation fails: the healthy one starts" said "^NEXT-INIT $good/init$"
make_disk 1

# One machine: each try comes one phase further, and the last one through
boot "$dir/initramfs.phases" "quiet word-for-init fault=crash" 120
for phase in source document facts plan prepare apply; do
	ok "crash in phase '$phase': the verdict says so" said "ROUSE-STATE .*state=failed.*signal 11.*'$phase'"
done
ok "crash in every phase: the machine heals where it stands" said "^NEXT-INIT $good/init$"
sed -n 's/^CHECK FAILED \(.*\)$/\1/p' "$dir/console" | grep -v 'network\|address\|route\|lease' > "$dir/checks"
ok "crash in every phase: the next init finds everything in order" [ ! -s "$dir/checks" ]

make_disk 1 '' $other/vmlinuz
boot "$dir/initramfs.phases" "quiet" 120
ok "system with another kernel: it runs, with the system's parameters" \
	said "^NEXT-KERNEL $(cat $other/version) console=ttyS0 panic=-1 loglevel=3 words-of-the-system init=$good/init$"
ok "system with another kernel: its initrd does not start it once more" [ "$(grep -c "starting the kernel of" "$dir/console")" = 1 ]
for rule in 'the agent has traveled and starts' 'its unit is wanted' 'the report has traveled'; do
	ok "system with another kernel: $rule" said "^CHECK ok $rule"
done

make_disk 1 '' "$dir/tampered"
boot "$dir/initramfs.phases" "quiet word-for-init lockdown=integrity" 90
ok "kernel that may not be started: the agent says why" said 'does not load that of.*switching root instead'
ok "kernel that may not be started: the root is switched" said "^NEXT-INIT $good/init$"
make_disk 1

boot "$dir/initramfs.fault" "quiet word-for-init fault=crash" 90
ok "crash, and another one in the fallback: the verdict names the signal" said 'ROUSE-STATE .*state=failed.*signal 11'
ok "crash, and another one in the fallback: the next try falls back" said "^NEXT-INIT $good/init$"

boot "$dir/initramfs.fault" "quiet word-for-init fault=memory" 90 --memory 256
ok "worker takes all memory: the fallback says so" said 'boot: the agent ran out of memory.*trying the generation'
ok "worker takes all memory: the generation of the disk starts" said "^NEXT-INIT $good/init$"

boot "$dir/initramfs.fault" "quiet word-for-init fault=hang" 150
ok "worker hangs: it is ended behind the deadline" said 'boot: the boot was not over at its deadline.*trying the generation'
ok "worker hangs: the generation of the disk starts" said "^NEXT-INIT $good/init$"

tap_end
