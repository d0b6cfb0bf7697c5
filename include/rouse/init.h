/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent as pid 1 of an initramfs. Two processes: the parent reaps, keeps the deadline and
 * owns the hand-off; the work (rouse_boot_run) runs in a child. A crash, exhausted memory or a
 * hang of the child is a verdict with a reason, never a kernel panic.
 */
#pragma once

#include <stdint.h>

#include <rouse/err.h>

/* Never returns: ends in the closure's init, or holds the machine with a verdict. */
int rouse_init_main(int argc, char **argv);

/* Brings one network interface up: modules are there; waits for a link, asks DHCPv4 (RFC 2131),
 * sets addresses, routes, MTU and <root>/etc/resolv.conf. Every interface is tried at once; the
 * first lease wins. Idempotent: returns at once when a default route exists. */
must_check int rouse_net_up(uint64_t deadline, struct rouse_err *e);

/* Loads a kernel module and what it needs; built in or loaded already is success. ENOENT in
 * e->sys when this kernel has no such module. Does nothing in a running system whose modprobe
 * works on demand (it then calls the kernel the same way). */
must_check int rouse_kmod_load(const char *name, struct rouse_err *e);

/* What the worker tells the parent (and, in an image, itself): where to go. */
struct rouse_handoff {
	char root[256];  /* "/sysroot" */
	char init[512];  /* path inside the root: "/nix/store/…-system/init" */
};
#define ROUSE_HANDOFF_FILE "/run/rouse/handoff.json"
must_check int rouse_handoff_write(const struct rouse_handoff *h, struct rouse_err *e);
must_check int rouse_handoff_read(struct rouse_handoff *ret, struct rouse_err *e);
