/* SPDX-License-Identifier: Apache-2.0 */
/*
 * systemd's notification protocol (sd_notify(3)): lines "KEY=value" in one message, to the service
 * manager at $NOTIFY_SOCKET, and to the host of a virtual machine at the address in the credential
 * "vmm.notify_socket" (systemd 253 and later use the same). Never blocks for longer than a second or two.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <rouse/err.h>

/* To the service manager; does nothing when nobody asked for it. */
void rouse_notify(const char *fmt, ...) like_printf(1, 2);

/* Reads the credential NAME of this machine: from the service manager's directories, from the firmware
 * (SMBIOS type 11) or from QEMU's fw_cfg, below `sysroot` ("" on a real machine). False when it has none. */
bool rouse_credential(const char *sysroot, const char *name, char *buf, size_t size);

/* Sends one message to "/path", "@abstract" or "vsock[-stream|-dgram|-seqpacket]:CID:PORT": one connection a
 * message, from a privileged port where that is ours, and it is over when the other end has closed it. */
must_check int rouse_notify_send(const char *address, const char *message, struct rouse_err *e);
