#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154 # dracut sets $moddir, $systemdsystemunitdir, $initdir
# dracut module: the agent provisions the machine in the initrd. Enabled where the configuration names
# it (add_dracutmodules+=" rouse "), because it decides what the machine boots.

check() {
	require_binaries rouse || return 1
	return 255
}

depends() {
	echo systemd systemd-initrd
}

installkernel() {
	hostonly='' instmods virtio_pci virtio_blk virtio_scsi virtio_net virtio_console virtio-rng nvme ena gve \
		hv_netvsc hv_storvsc xen-blkfront xen-netfront vmxnet3 vmw_pvscsi e1000 e1000e ahci sd_mod sr_mod \
		af_packet ext4 vfat xfs btrfs isofs dm-mod crc32c_generic nls_cp437 nls_iso8859-1 nls_ascii nls_utf8 \
		qemu_fw_cfg vsock efivarfs
}

install() {
	inst_multiple rouse systemctl
	inst_multiple -o mkfs.fat mkfs.xfs mkfs.btrfs lvm mdadm cryptsetup
	inst_multiple -o /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/nsswitch.conf
	# glibc loads these by name
	inst_libdir_file 'libgcc_s.so.1' 'libnss_dns.so.2' 'libnss_files.so.2'
	for file in /etc/rouse/agent.json /etc/rouse/override.d/*.json; do
		[ ! -e "$file" ] || inst_simple "$file"
	done
	inst_simple "$systemdsystemunitdir/rouse-initrd.service"
	systemctl -q --root "$initdir" add-requires initrd-root-fs.target rouse-initrd.service
	# dracut wants to know of a root; the agent makes it
	inst_hook cmdline 20 "$moddir/root.sh"
}
