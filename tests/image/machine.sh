#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What only a kernel of its own shows: a disk is provisioned and mounted, then it is larger at the
# next boot, and partition and ext4 grow while they are mounted.
top=$PWD
# shellcheck source=tests/image/lib.sh
. "${0%/*}/lib.sh"

command -v qemu-system-x86_64 >/dev/null || { echo '1..0 # SKIP needs qemu'; exit 0; }
(cd "$top" && images/kernel --dir build/kernel) >log 2>&1 || { cat log; exit 1; }

cat >doc.json <<'END'
{"rouse":1,"disks":{"data":{"device":{"serial":"grows"},"partitions":{
  "/data/boot":{"size":"40MB","filesystem":"vfat"},
  "spare":{"size":"100MiB","filesystem":"ext4"},
  "/data":{"filesystem":"ext4","mountOptions":["noatime"]}}}}}
END

cat >late.json <<'END'
{"rouse":1,"disks":{"late":{"device":{"serial":"late"},"wait":"90s","filesystem":"ext4"},
  "gone":{"device":{"serial":"gone"},"missing":"skip","filesystem":"ext4"},
  "scratch":{"device":{"kind":"instance-store","count":4},"wait":"90s","raid":0,"filesystem":"ext4"}}}
END
echo '{"document":"file:///late.json"}' >agent.json

cat "$top/tests/lib/guest.sh" - >guest <<'END'
for m in virtio_pci virtio_blk virtio_scsi sd_mod crc32c_generic ext4 vfat nls_cp437 nls_ascii nls_iso8859-1 loop raid0; do modprobe $m 2>/dev/null; done
say() { echo "guest: $*"; }
for i in 1 2 3 4 5 6 7 8 9 10; do [ -e /sys/block/vda ] || sleep 1; done
[ -e /sys/block/vda ] || { say "no disk"; lsmod; modprobe virtio_blk; find /lib/modules | head; poweroff -f; }
if [ ! -e /sys/block/vda/vda1 ]; then
	rouse apply --yes /doc.json && say "first apply"
	mount | grep -q '/dev/vda3 on /data type ext4 (rw,noatime' && mount | grep -q '/dev/vda1 on /data/boot type vfat' && say "mounted in order"
	echo precious >/data/file
	# A boot begins, and the disk that it wants is attached only then
	late=$(readlink -f "$(dirname "$(grep -l late /sys/block/vd*/serial)")/device")
	echo "${late##*/}" >/sys/bus/virtio/drivers/virtio_blk/unbind
	for d in /sys/bus/scsi/devices/*:0:2:0; do echo 1 >$d/delete; done
	rouse boot --settings /agent.json >/boot.log 2>&1 &
	boot=$!
	for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
		grep -q '"phase": *"facts"' /run/rouse/status.json 2>/dev/null && break
		sleep 1
	done
	sleep 2
	kill -0 $boot && say "the boot waits"
	echo "${late##*/}" >/sys/bus/virtio/drivers/virtio_blk/bind
	sleep 2
	kill -0 $boot && [ "$(ls /sys/bus/scsi/devices | grep -c ':0:[0-9]:0$')" = 3 ] && say "the boot waits for the third of four"
	for h in /sys/class/scsi_host/*; do echo '- - -' >$h/scan; done
	wait $boot
	cat /boot.log
	rouse plan /late.json >/plan.txt 2>&1
	cat /plan.txt
	grep -q 'do without gone' /plan.txt && grep -q 'nothing to change' /plan.txt && say "the late disk was made"
	grep -q 'raid0.*\[3\]' /proc/mdstat && say "four disks are an array"
else
	mkdir -p /data
	mount -t ext4 /dev/vda3 /data
	before=$(df -k /data | awk 'END{print $2}')
	# What is in use is somebody's, whatever it holds and whatever is agreed to
	refused() { # SERIAL WORDS
		echo "{\"rouse\":1,\"disks\":{\"x\":{\"device\":{\"serial\":\"$1\"},\"filesystem\":\"ext4\",\"label\":\"new\",\"replace\":[\"anything\"]}}}" >/busy.json
		rouse plan /busy.json >/busy.txt 2>&1
		[ $? = 78 ] && grep -q "$2" /busy.txt && say "refused: $2"
		cat /busy.txt
	}
	late=/dev/$(basename "$(dirname "$(grep -l late /sys/block/vd*/serial)")")
	mkswap "$late" >/dev/null && swapon "$late"
	refused late "used as swap"
	swapoff "$late"
	refused grows "mounted at"
	loop=$(losetup -f)
	losetup "$loop" "$late"
	refused late "loop[0-9]*' stands on it"
	losetup -d "$loop"
	sed '/"late"/d; /"gone"/d; s/"scratch"/{"rouse":1,"disks":{"scratch"/' /late.json >/scratch.json
	rouse apply --yes /scratch.json >/scratch.txt 2>&1; grep -q assemble /scratch.txt && say "four disks are an array again"
	refused i0 "md[0-9]*' stands on it"
	# What is mounted read-only is left as it is, and grows when somebody may write to it
	echo '{"rouse":1,"disks":{"x":{"device":{"serial":"plain"},"filesystem":"ext4","mount":"/plain"}}}' >/one.json
	mkdir -p /plain && mount -t ext4 -o ro "/dev/$(basename "$(dirname "$(grep -l plain /sys/block/vd*/serial)")")" /plain
	rouse apply --yes /one.json >/one.txt 2>&1
	say "read-only: status $?, $(cat /plain/file), $(df -m | awk '$6 == "/plain" { print $2 }') MiB"
	umount /plain
	# Filesystems of somebody else on disks that have grown
	for d in plain fixed broken; do
		echo "{\"rouse\":1,\"disks\":{\"x\":{\"device\":{\"serial\":\"$d\"},\"filesystem\":\"ext4\",\"mount\":\"/$d\"}}}" >/one.json
		rouse apply --yes /one.json >/one.txt 2>&1
		status=$?
		cat /one.txt
		say "$d: status $status, $(cat /$d/file), $(df -m | awk -v at=/$d '$6 == at { print $2 }') MiB"
		umount /$d
	done
	rouse plan /doc.json
	rouse apply --yes /doc.json && say "second apply"
	after=$(df -k /data | awk 'END{print $2}')
	[ "$after" -gt $((before * 2)) ] && say "ext4 grew while mounted"
	[ "$(cat /data/file)" = precious ] && say "the file is there"
	umount /data/boot
	umount /data
	rouse apply --yes --only disks /doc.json >/dev/null && mount | grep -q ' /data/boot ' && say "mounted again"
	# What nobody has mounted grows on a mount of its own
	truncate -s 256M /tmp/i && echo '{"rouse":1,"disks":{"i":{"device":"root","partitions":{"a":{"filesystem":"ext4"}}}}}' >/tmp/i.json
	rouse apply --yes --disk i=/tmp/i /tmp/i.json >/dev/null && truncate -s 512M /tmp/i && rouse apply --yes --disk i=/tmp/i /tmp/i.json && rouse plan --disk i=/tmp/i /tmp/i.json | grep -q 'nothing to change' && say "an image grew"
fi
rouse plan /doc.json | grep -q 'nothing to change' && say "nothing left"
umount /data/boot
umount /data
sync
poweroff -f
END
chmod 755 guest

# Four disks whose model is that of an instance store
stores='--qemu -device --qemu virtio-scsi-pci'
for i in 0 1 2 3; do
	truncate -s 32M "store$i.img"
	stores="$stores --qemu -drive --qemu if=none,id=i$i,format=raw,cache=unsafe,file=$tmp/store$i.img"
	stores="$stores --qemu -device --qemu scsi-hd,drive=i$i,scsi-id=$i,product=nvme_card,serial=i$i"
done

# shellcheck disable=SC2086 # $stores are words
boot()
{
	(cd "$top" && timeout 310 images/vm --kernel build/kernel/vmlinuz --initrd "$tmp/initrd" --append rdinit=/guest \
		--no-network --memory 1024 --timeout 300 --disk "$tmp/disk.img,serial=grows" \
		--disk "$tmp/late.img,serial=late" --disk "$tmp/plain.img,serial=plain" \
		--disk "$tmp/fixed.img,serial=fixed" --disk "$tmp/broken.img,serial=broken" $stores) >"$1" 2>&1 </dev/null
}

says() # FILE WORDS
{
	grep -qF "guest: $2" "$1" || { tail -n 30 "$1"; return 1; }
}

initrd()
{
	busybox=$(command -v busybox) || return
	modules=$(cd "$top" && echo build/kernel/lib/modules/*) # whose text index busybox reads
	(cd "$top" && images/initramfs --agent "$ROUSE" --kernel-modules "$modules" --level 1 \
		--add "$modules/modules.dep:/modules.dep" --with raid --module loop \
		--add "$busybox:/bin/busybox" --add "$tmp/guest:/guest" --add "$tmp/doc.json:/doc.json" \
		--add "$tmp/late.json:/late.json" --add "$tmp/agent.json:/agent.json" --output "$tmp/initrd")
}


# ext4 NAME MKFS-OPTION...: with a file, on a disk that has doubled since
ext4()
{
	truncate -s 64M "$1.img"
	echo kept >file
	name=$1
	shift
	mkfs.ext4 -q -F "$@" "$name.img" && debugfs -w -R 'write file file' "$name.img" >/dev/null 2>&1 && truncate -s 128M "$name.img"
}

ext4 plain -O ^resize_inode
ext4 fixed -O sparse_super2
ext4 broken && debugfs -w -R 'ssv state 2' broken.img 2>/dev/null
image 512M
truncate -s 64M late.img
check 'an initramfs for this test' initrd
boot first.txt
grep -q 'guest: no disk' first.txt && { tail -n 30 first.txt >&2; exit 1; }
check 'a blank disk is provisioned by a real kernel' says first.txt 'first apply'
check 'its filesystems are mounted, outer ones first' says first.txt 'mounted in order'
check 'nothing is left to do' says first.txt 'nothing left'
check 'a boot waits for a disk that is not there yet' says first.txt 'the boot waits'
check 'it waits for the third of four instance stores' says first.txt 'the boot waits for the third of four'
check '… and makes an array of all four' says first.txt 'four disks are an array'
check 'it takes the disk when it comes, and does without one that may be missing' says first.txt 'the late disk was made'
truncate -s 1536M disk.img
boot second.txt
check 'swap in use is refused, even with consent to anything' says second.txt 'refused: used as swap'
check 'so is a disk of which a partition is mounted' says second.txt 'refused: mounted at'
check 'so is one that a loop device shows' says second.txt "refused: loop[0-9]*' stands on it"
check '… and a member of an array' says second.txt "refused: md[0-9]*' stands on it"
check 'what is mounted read-only does not grow' says second.txt 'read-only: status 0, kept, 5'
check 'ext4 without room for more descriptors grows' says second.txt 'plain: status 0, kept, 1'
check 'ext4 that this kernel cannot grow is a refusal of the machine, and stays as it is' says second.txt 'fixed: status 71, kept, 5'
check '… which says so' grep -q "cannot grow.*/fixed\|/fixed.*cannot grow" second.txt
check 'ext4 with errors is not grown, and its errors are named' grep -q 'broken.*without errors' second.txt
check 'at the next boot the array is assembled' says second.txt 'four disks are an array again'
check 'at the next boot the larger disk is taken' says second.txt 'second apply'
check 'ext4 grew while it was mounted' says second.txt 'ext4 grew while mounted'
check 'its content is there' says second.txt 'the file is there'
check 'unmounted, it is mounted again' says second.txt 'mounted again'
check 'an image grew as well' says second.txt 'an image grew'
check 'then nothing is left to do' says second.txt 'nothing left'
part 3
check 'e2fsck finds no problem' e2fsck -fn part.img
check 'sgdisk finds no problem' sh -c "sgdisk -v disk.img | grep 'No problems found'"
finish
