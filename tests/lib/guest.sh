#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=dash
# How the /init of a test begins, in an initramfs with busybox and the text index of its kernel's modules:
# to be put before what it does.
/bin/busybox mkdir -p /proc /sys /dev /bin /run /tmp
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin:/sbin:/usr/sbin
cp /modules.dep "/lib/modules/$(uname -r)/"
