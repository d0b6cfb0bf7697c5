#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# From blank disks to mounted filesystems, by rouse, by a script of the usual tools, by systemd-repart with
# those tools for what it does not do, and by the disk modules of cloud-init, each on disks of its own in one virtual machine: volumes and arrays take a
# kernel, and cloud-init partitions real disks alone. Prints lines "NAME MILLISECONDS".
# cloud-init is unpacked, not installed: it would take over this host at its next boot. Its time is that of
# its modules alone: its interpreter runs already, and has loaded them.
set -eu
cd "$(dirname "$0")/../.."
PATH=$PATH:/usr/sbin:/sbin
: "${ROUSE:=build/rouse}"
MACHINE_SECONDS=240

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# All of DESIGN.md's example that is about disks, and the part of it that cloud-init has words for
cat > "$tmp/web.json" << 'END'
{ "rouse": 1, "disks": {
  "root": { "device": { "serial": "web-rouse-root" }, "partitions": {
    "/mnt/boot": { "size": "200MB", "filesystem": "vfat", "type": "esp" }, "/mnt/root": { "filesystem": "ext4" } } },
  "data": { "device": { "serial": "web-rouse-data" }, "filesystem": "xfs", "mount": "/mnt/data" },
  "swap": { "device": { "serial": "web-rouse-swap" }, "filesystem": "swap" } } }
END
cat > "$tmp/all.json" << 'END'
{ "rouse": 1, "disks": {
  "root": { "device": { "serial": "all-rouse-root" }, "partitions": {
    "/mnt/boot": { "size": "200MB", "filesystem": "vfat", "type": "esp" },
    "/mnt/root": { "lvm": "system", "filesystem": "ext4" } } },
  "data": { "device": { "serial": "all-rouse-data" }, "filesystem": "xfs", "mount": "/mnt/data" },
  "a": { "device": { "serial": "all-rouse-a" }, "partitions": { "scratch-a": { "raid": "scratch" } } },
  "b": { "device": { "serial": "all-rouse-b" }, "partitions": { "scratch-b": { "raid": "scratch" } } },
  "scratch": { "raid": 0, "filesystem": "ext4", "mount": "/mnt/scratch" },
  "swap": { "device": { "serial": "all-rouse-swap" }, "filesystem": "swap" } } }
END
cat > "$tmp/cloud.py" << 'END'
import json, logging, sys, time
from cloudinit.config import cc_disk_setup, cc_mounts

logging.basicConfig(level=logging.WARNING, stream=sys.stdout)


class Cloud:
    class distro:
        uses_systemd = staticmethod(lambda: False)

    device_name_to_device = staticmethod(lambda name: None)


root, data, swap = (f"/dev/{name}" for name in sys.argv[1:])
# No label for vfat: cloud-init would give it to mkfs.vfat with an option which that has not
config = {
    "disk_setup": {root: {"table_type": "gpt", "layout": [[3, "ef00"], [97, "8300"]], "overwrite": False}},
    "fs_setup": [
        {"filesystem": "vfat", "device": root, "partition": 1},
        {"label": "root", "filesystem": "ext4", "device": root, "partition": 2},
        {"label": "data", "filesystem": "xfs", "device": data, "partition": "none"},
        {"label": "swap", "filesystem": "swap", "device": swap, "partition": "none"}],
    "mounts": [[root + "1", "/mnt/boot", "vfat", "iocharset=ascii"], [root + "2", "/mnt/root", "ext4", "defaults"],
               [data, "/mnt/data", "xfs", "defaults"], [swap, "none", "swap", "sw", "0", "0"]]}
log = logging.getLogger()
begin = time.monotonic()
cc_disk_setup.handle("disk_setup", config, Cloud, log, [])
cc_mounts.handle("mounts", config, Cloud, log, [])
print(f"took: {(time.monotonic() - begin) * 1000:.0f}")
END
# The usual tools, as somebody would write it who knows the machine: each step only when the last one succeeded
cat > "$tmp/script" << 'END'
table() # DISK TYPE
{
	sgdisk -n 1:1MiB:+191MiB -t 1:ef00 -c 1:boot -n 2:192MiB:-1MiB -t "2:$2" -c 2:root "/dev/$1"
	until [ -b "/dev/${1}2" ]; do usleep 10000; done
}
rest() # DATA SWAP
{
	mkfs.xfs -q -L data "/dev/$1"
	mkswap -L swap "/dev/$2"
	mkdir -p /mnt/boot /mnt/root /mnt/data /mnt/scratch
	mount -t xfs "/dev/$1" /mnt/data
	swapon "/dev/$2"
}
web() # ROOT DATA SWAP
{
	table "$1" 8304
	mkfs.vfat -F 32 -n BOOT "/dev/${1}1"
	mkfs.ext4 -q -L root "/dev/${1}2"
	mount -t ext4 "/dev/${1}2" /mnt/root
	mount -t vfat -o iocharset=ascii "/dev/${1}1" /mnt/boot
	rest "$2" "$3"
}
repart() # ROOT DATA SWAP
{
	systemd-repart --definitions=/repart.d --empty=require --dry-run=no --no-pager "/dev/$1"
	until [ -b "/dev/${1}2" ]; do usleep 10000; done
	mount -t ext4 "/dev/${1}2" /mnt/root
	mount -t vfat -o iocharset=ascii "/dev/${1}1" /mnt/boot
	rest "$2" "$3"
}
all() # ROOT DATA SWAP A B
{
	table "$1" 8e00
	mkfs.vfat -F 32 -n BOOT "/dev/${1}1"
	lvm vgcreate script "/dev/${1}2"
	lvm lvcreate -n root -l 100%FREE script
	mkfs.ext4 -q -L root /dev/script/root
	for d in "$4" "$5"; do
		sgdisk -n 1:1MiB:-1MiB -t 1:fd00 "/dev/$d"
		until [ -b "/dev/${d}1" ]; do usleep 10000; done
	done
	mdadm --create /dev/md9 --run --level=0 --raid-devices=2 "/dev/${4}1" "/dev/${5}1"
	mkfs.ext4 -q -L scratch /dev/md9
	mount -t ext4 /dev/script/root /mnt/root
	mount -t ext4 /dev/md9 /mnt/scratch
	mount -t vfat -o iocharset=ascii "/dev/${1}1" /mnt/boot
	rest "$2" "$3"
}
mkdir -p /mnt/boot /mnt/root /mnt/data /mnt/scratch
"$@"
END
cat > "$tmp/boot.conf" << 'END'
[Partition]
Type=esp
Format=vfat
Label=boot
SizeMinBytes=191M
SizeMaxBytes=191M
END
printf '[Partition]\nType=root\nFormat=ext4\nLabel=root\n' > "$tmp/root.conf"
cat > "$tmp/guest" << 'END'
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /run/lock /tmp /py /mnt /etc /usr/lib/python3 /usr/lib/python3.11
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C DM_DISABLE_UDEV=1
for p in $(/bin/busybox --list); do command -v "/usr/bin/$p" "/usr/sbin/$p" "/bin/$p" > /dev/null || /bin/busybox ln -s /bin/busybox "/bin/$p"; done
cp /modules.dep "/lib/modules/$(uname -r)/"
for m in virtio_pci virtio_blk ext4 vfat nls_cp437 nls_ascii xfs dm-mod raid0 squashfs loop; do modprobe $m 2> /dev/null; done
i=0
while [ "$(ls /sys/block | grep -c '^vd')" -lt 23 ] && [ $i -lt 100 ]; do usleep 100000; i=$((i + 1)); done
# Each has a machine with its own disks alone
driver=/sys/bus/virtio/drivers/virtio_blk
for d in /sys/block/vd*; do echo "$(cat $d/serial) $(basename "$(readlink -f $d/device)")"; done > /devices
while read -r serial device; do echo $device > $driver/unbind; done < /devices
only() { while read -r serial device; do case $serial in $1*) echo $device > $driver/bind ;; esac; done < /devices; }
disk() { for d in /sys/block/vd*; do [ "$(cat $d/serial)" != "$1" ] || echo ${d##*/}; done; }
clear() { # PREFIX COMMAND...: leaves nothing of a contender
	swapoff -a 2> /dev/null
	for m in boot root data scratch; do umount /mnt/$m 2> /dev/null; done
	prefix=$1; shift
	"$@" > /dev/null 2>&1
	while read -r serial device; do case $serial in $prefix*) echo $device > $driver/unbind ;; esac; done < /devices
}
now() { read -r up idle < /proc/uptime; echo "${up%.*}${up#*.}0"; }
row() { # NAME MOUNTS COMMAND...
	name=$1 mounts=$2; shift 2
	begin=$(now)
	"$@" > /tmp/log 2>&1; status=$?
	end=$(now)
	for m in $mounts; do grep -q " /mnt/$m " /proc/mounts || { status=1; echo "/mnt/$m is not mounted" >> /tmp/log; }; done
	[ "$(wc -l < /proc/swaps)" = 2 ] || { status=1; echo "no swap" >> /tmp/log; }
	sed "s/^/said: /" /tmp/log
	[ $status = 0 ] || sed "s/^/log: $name: /" /tmp/log
	took=$(sed -n 's/^took: //p' /tmp/log)
	[ $status != 0 ] || echo "row: $name ${took:-$((end - begin))}"
}
# Who asks for random bytes first would wait for the kernel to have some
head -c 16 /dev/random > /dev/null
only web-script
row web.script 'boot root data' sh -e /script web $(disk web-script-root) $(disk web-script-data) $(disk web-script-swap)
clear web-script
only web-repart
row web.repart 'boot root data' sh -e /script repart $(disk web-repart-root) $(disk web-repart-data) $(disk web-repart-swap)
clear web-repart
only web-rouse
row web.rouse 'boot root data' rouse apply --yes /web.json
clear web-rouse
only all-script
row all.script 'boot root data scratch' sh -e /script all $(disk all-script-root) $(disk all-script-data) $(disk all-script-swap) $(disk all-script-a) $(disk all-script-b)
clear all-script eval 'lvm vgchange -an script; mdadm --stop --scan'
only all-rouse
row all.rouse 'boot root data scratch' rouse apply --yes /all.json
clear all-rouse eval 'lvm vgchange -an system; mdadm --stop --scan'
only python
mount -t squashfs /dev/$(disk python) /py && mount -o bind /py/python3.11 /usr/lib/python3.11 && mount -o bind /py/python3 /usr/lib/python3
only web-cloud
: > /etc/fstab
export PYTHONPATH=/py
row web.cloud-init 'boot root data' python3 -B /cloud.py $(disk web-cloud-root) $(disk web-cloud-data) $(disk web-cloud-swap)
poweroff -f
END
chmod 755 "$tmp/guest"

images/kernel --dir build/kernel > /dev/null
modules=build/kernel/lib/modules/$(cat build/kernel/version)
set -- --program python3 --program lvm --program mdadm
for program in systemd-repart mkfs.vfat mkfs.ext4 mkfs.xfs mkswap sgdisk lsblk blkid udevadm partprobe blockdev wipefs sfdisk mount umount swapon swapoff; do
	! command -v $program > /dev/null || set -- "$@" --program $program
done
images/initramfs --output "$tmp/initramfs" --agent "$ROUSE" --level 1 --kernel-modules "$modules" \
	--with lvm --with raid --with xfs --module squashfs --module loop "$@" --add "$(command -v busybox):/bin/busybox" \
	--add "$tmp/guest:/guest" --add "$tmp/script:/script" --add "$tmp/web.json:/web.json" --add "$tmp/all.json:/all.json" \
	--add "$tmp/boot.conf:/repart.d/10-boot.conf" --add "$tmp/root.conf:/repart.d/20-root.conf" \
	--add "$tmp/cloud.py:/cloud.py" --add "$modules/modules.dep:/modules.dep" > "$tmp/log" 2>&1 ||
	{ cat "$tmp/log" >&2; exit 71; }
# From an empty directory: apt does not list what it finds beside it
mkdir -p "$tmp/debs" "$tmp/cloud"
if (cd "$tmp/debs" && apt-get -q download cloud-init) > "$tmp/log" 2>&1; then
	dpkg -x "$tmp"/debs/cloud-init_*.deb "$tmp/cloud"
else
	sed 's/^E: /bench: no cloud-init: /' "$tmp/log" >&2
fi
mkdir -p "$tmp/cloud/usr/lib/python3/dist-packages/cloudinit"
mksquashfs /usr/lib/python3.11 /usr/lib/python3 "$tmp/cloud/usr/lib/python3/dist-packages/cloudinit" "$tmp/python.img" -quiet -no-progress -comp zstd -Xcompression-level 1 \
	-wildcards -e 'python3.11/test' 'python3.11/idlelib' '... *.a' > "$tmp/log" 2>&1 || { cat "$tmp/log" >&2; exit 71; }

set -- --disk "$tmp/python.img,serial=python"
disk() # NAME SIZE
{
	truncate -s "$2" "$tmp/$1.img"
	disks="$disks --disk $tmp/$1.img,serial=$1"
}
disks=
for who in web-rouse web-script web-repart web-cloud all-rouse all-script; do
	disk $who-root 8G && disk $who-data 16G && disk $who-swap 1G
done
for who in all-rouse all-script; do disk $who-a 8G && disk $who-b 8G; done
# shellcheck disable=SC2086 # words
images/vm --kernel build/kernel/vmlinuz --initrd "$tmp/initramfs" --no-network --timeout $MACHINE_SECONDS \
	--append "rdinit=/guest quiet loglevel=3" "$@" $disks > "$tmp/console" 2>&1 || :
tr -d '\r' < "$tmp/console" | sed -n 's/^row: //p'
tr -d '\r' < "$tmp/console" | sed -n 's/^log: /bench: /p' >&2
[ -z "${KEEP-}" ] || cp "$tmp/console" "$KEEP"
