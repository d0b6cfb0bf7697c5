/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent as pid 1 of an initramfs. Two processes: the parent reaps, keeps the deadline and
 * owns the hand-off; the work (rouse_boot_run) runs in a child. A crash, exhausted memory or a
 * hang of the child is a verdict with a reason, never a kernel panic.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/err.h>

struct rouse_root;

/* Never returns: ends in the closure's init, or holds the machine with a verdict. */
int rouse_init_main(int argc, char **argv);

struct rouse_boot_options;
/* The boot in somebody else's initrd: the root is made and mounted at o->root ("/sysroot" when it is
 * "/"), and that initrd's init, which may be systemd, is told what to start there. A machine that is
 * held stays in here. */
must_check int rouse_initrd_run(const struct rouse_boot_options *o, struct rouse_err *e);

#define ROUSE_NETWORK_FILE "/run/rouse/network.json" /* what the lease said */
/* Brings one network interface up: modules are there; waits for a link, asks DHCPv4 (RFC 2131),
 * sets addresses, routes, MTU and /etc/resolv.conf. Every interface is tried at once; the
 * first lease wins. Idempotent: returns at once when a default route exists. `deadline` as of
 * rouse_clock_ms(). */
must_check int rouse_net_up(uint64_t deadline, struct rouse_err *e);
/* Gives back what rouse_net_up() took in an image, whose own network comes next. */
void rouse_net_down(void);

/* Loads a kernel module and what it needs; built in or loaded already is success. ENOENT in
 * e->sys when this kernel has no such module. Does nothing in a running system whose modprobe
 * works on demand (it then calls the kernel the same way). */
must_check int rouse_kmod_load(const char *name, struct rouse_err *e);
/* The same for a list that ends with NULL. What this kernel has no module of is passed over (it may be
 * built in under another name), and a driver for what this machine has not: another one does its work. */
must_check int rouse_kmod_load_all(const char *const *names, struct rouse_err *e);
/* Loads what the hardware that is there asks for (the modalias of every device). Devices of which
 * this kernel has no module are not an error. Returns the count of modules that were loaded. */
size_t rouse_kmod_coldplug(void);

/* Has an init started this process, or the one that only waits for it: is this a unit of a boot, and not somebody's
 * command? */
bool rouse_started_by_init(void);

/* In an image udev loads modules, by rules that may forbid some, and names what they bring. Is
 * this process started by an init, and does udev run? */
bool rouse_udev_runs(void);
/* … and is it busy with devices that it has heard of? */
bool rouse_udev_busy(void);
/* Does udev's record of a network interface (/run/udev/data/nINDEX; udev's own format, one
 * "E:NAME=VALUE" a line for each property) say that the interface has the name that it will keep?
 * The record is written once before the interface is renamed, with ID_RENAMING or, since systemd
 * 254, ID_PROCESSING in it, and again without them behind the rename. */
bool rouse_udev_named(const char *record);
/* Waits until every device that the kernel has announced so far is there. */
void rouse_udev_settle(uint64_t deadline);

/* What the worker tells the parent (and, in an image, itself): where to go. */
struct rouse_handoff {
	char root[256]; /* "/sysroot" */
	char init[512]; /* path inside the root: "/nix/store/…-system/init" */
	bool kexec;     /* a kernel is loaded that will start it */
};
#define ROUSE_HANDOFF_FILE "/run/rouse/handoff.json"
/* In the root of an initramfs: what outlives it, seen through a mount in /run. */
#define ROUSE_KEPT_DIR "rouse-agent"
/* Finds what starts a system closure (a store path) inside the root: "prepare-root" where the
 * closure has it, else "init", both proved. ENOENT in e->sys when it has neither, ENOTSUP when it would start
 * without being activated: only its own initrd does that. */
must_check int rouse_handoff_init(const struct rouse_root *r, const char *system, char *buf,
				  size_t size, struct rouse_err *e);
/* What a failed boot goes on with, of the systems below the root: one that a person went back to, the
 * one that was healthy last, the one that came with the image (`baked`, may be NULL) and, unless
 * `proven_only`, the current one and those before it. Not `avoid` (may be NULL), and only what can be
 * started. */
must_check int rouse_handoff_fallback(const struct rouse_root *r, const char *avoid,
				      const char *baked, bool proven_only, char *buf, size_t size,
				      struct rouse_err *e);
/* The init of the newest generation in the root's system profile that is not `system` and can be
 * started; false when there is none. */
bool rouse_handoff_previous(const struct rouse_root *r, const char *system, char *buf, size_t size);
/* Proves, before anything is given up, that the kernel can start `init` inside the root: symlinks
 * are resolved there, it is a regular executable file for this machine, and its interpreter
 * exists. Allocates nothing. */
must_check int rouse_handoff_prove(const struct rouse_root *r, const char *init,
				   struct rouse_err *e);
/* In the run directory of an image, from when the switch to a system is asked for until it begins: that
 * system's path. */
#define ROUSE_ACTIVATION_NAME "activation"
/* In the agent's directory in /run: userspace is about to start anew, which ends the agent, and is no crash of it. */
#define ROUSE_SOFT_REBOOT_NAME "soft-reboot"
/* Behind the boot of an image: switches this NixOS to its current generation. */
must_check int rouse_handoff_activate(bool *ret_units_failed, struct rouse_err *e);
/* Gives the machine to the kernel that was loaded, with the filesystems below `root` written out.
 * Returns only when that failed; everything is where it was then. */
must_check int rouse_handoff_kexec(const char *root, struct rouse_err *e);
must_check int rouse_handoff_write(const struct rouse_handoff *h, struct rouse_err *e);
must_check int rouse_handoff_read(struct rouse_handoff *ret, struct rouse_err *e);
