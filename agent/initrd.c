/* SPDX-License-Identifier: Apache-2.0 */
/* The agent as a unit of a systemd initrd, or called by the script of another one. */
#include <rouse/init.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rouse/boot.h>
#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/proc.h>
#include <rouse/text.h>

#include "supervise.h"

/* Behind the drop-ins of others, whatever their directory: that of a NixOS, which sets ExecStart=, too, is
 * "overrides.conf". */
#define DROP_IN "/run/systemd/system/initrd-switch-root.service.d/zz-rouse.conf"

#define STATE_UNIT "/run/systemd/system/run-systemd.mount"

/* systemd only switches to a root that says which OS it is, and takes its init from the kernel's
 * command line, which knows nothing of closures. */
static int tell_systemd(const struct rouse_handoff *h, struct rouse_err *e)
{
	auto_root struct rouse_root here = ROUSE_ROOT_INIT;
	auto_free char *text = rouse_asprintf(
		"[Service]\nExecStart=\nExecStart=systemctl --no-block switch-root %s %s\n",
		h->root, h->init);
	const char *const argv[] = { "systemctl", "daemon-reload", NULL };
	static const char state[] = "/run/systemd";
	static const char unit[] = "[Unit]\nDefaultDependencies=no\n"
				   "[Mount]\nWhat=/run/systemd\nWhere=/run/systemd\n";
	const struct rouse_proc reload = { .argv = argv,
					   .deadline = rouse_clock_ms() + ROUSE_DEADLINE_HANDOFF };

	if (rouse_root_open(&here, "/", e) < 0 || rouse_fs_mkdirs(&here, DROP_IN, false, e) < 0 ||
	    rouse_fs_replace(&here, DROP_IN, text, strlen(text), 0644, (uid_t)-1, (gid_t)-1, e) < 0)
		return -1;
	/* Since version 257 it renames that directory before it starts an init by name, and with it go the
	 * units that were left there. A mount cannot be renamed; and the one that starts then need not try
	 * to unmount it when the machine goes down. */
	if (rouse_fs_replace(&here, STATE_UNIT, unit, strlen(unit), 0644, (uid_t)-1, (gid_t)-1, e) <
	    0)
		return -1;
	if (mount(state, state, NULL, MS_BIND | MS_REC, NULL) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot mount '%s'", state);
	return rouse_proc_check(&reload, e);
}

/* The directories that an initrd moves its mounts to, and what makes a tree an OS; a root that was
 * made just now has nothing but its store. */
static int furnish(const struct rouse_handoff *h, struct rouse_err *e)
{
	static const char *const mounts[] = { "/dev/.", "/proc/.", "/sys/.", "/run/." };
	static const char text[] = "ID=linux\nNAME=Linux\n";
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_fd int etc = -1, usr = -1;

	if (rouse_root_open(&root, h->root, e) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++)
		if (rouse_fs_mkdirs(&root, mounts[i], false, e) < 0)
			return -1;
	etc = rouse_fs_open(&root, "/etc/os-release", O_PATH, 0);
	usr = rouse_fs_open(&root, "/usr/lib/os-release", O_PATH, 0);
	if (etc >= 0 || usr >= 0)
		return 0;
	if (rouse_fs_mkdirs(&root, "/etc/os-release", false, e) < 0)
		return -1;
	return rouse_fs_replace(&root, "/etc/os-release", text, strlen(text), 0644, (uid_t)-1,
				(gid_t)-1, e);
}

static int hand_off(struct rouse_err *e)
{
	struct rouse_handoff h = { 0 };
	char name[32] = "";

	if (rouse_handoff_read(&h, e) < 0 || furnish(&h, e) < 0)
		return -1;
	if (h.kexec)
		return rouse_handoff_kexec(h.root, e);
	/* Its directories in /run say nothing: the health unit is there already. */
	if (!rouse_read_line("/proc/1/comm", name, sizeof(name)) || !rouse_streq(name, "systemd"))
		return 0;
	return tell_systemd(&h, e);
}

static void load_drivers(void)
{
	struct rouse_err e;

	(void)rouse_kmod_coldplug(); /* udev may have done it, or may not run here */
	if (rouse_kmod_load("af_packet", &e) < 0)
		rouse_log(ROUSE_LOG_DEBUG, "initrd", "%s, ignoring", e.text);
}

struct pause {
	const struct rouse_boot_options *options;
	uint64_t until;
};

static void wait_for_next(void *arg, unused_arg void *ret)
{
	const struct pause *p = arg;

	rouse_boot_wait(p->options, p->until);
}

/* In a child: what may break there is no reason not to try again. */
static void hold(const struct rouse_boot_options *o, uint64_t until)
{
	struct pause p = { .options = o, .until = until };
	char ignored[SUPERVISE_REASON], nothing = 0;
	bool late;

	(void)supervise(wait_for_next, &p, &nothing, sizeof(nothing),
			(uint64_t)rouse_clock_left(until) + ROUSE_SIGNAL_TIMEOUT, &late, ignored);
	rouse_clock_sleep_until(until);
}

int rouse_initrd_run(const struct rouse_boot_options *asked, struct rouse_err *e)
{
	struct rouse_boot_options o = *asked;
	struct rouse_boot_result result = { 0 };
	uint64_t begin = rouse_clock_ms();

	o.initramfs = true;
	if (rouse_streq(o.root, "/"))
		o.root = "/sysroot";
	/* systemd makes it when it mounts something there itself */
	if (mkdir(o.root, 0755) < 0 && errno != EEXIST)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make '%s'", o.root);
	(void)unlink(ROUSE_HANDOFF_FILE); /* of a try before this one, if any */
	load_drivers();
	while (rouse_boot_supervised(&o, hand_off, &result) != 0) {
		uint64_t next = rouse_clock_ms() + result.pause;

		if (result.action != ROUSE_ACT_HOLD || next >= begin + result.hold_max) {
			if (result.action == ROUSE_ACT_HOLD)
				rouse_boot_abandoned(&o);
			return rouse_fail(e, (enum rouse_kind)result.status, 0,
					  "the boot has failed: see '%s/report.json'", o.run);
		}
		rouse_log(ROUSE_LOG_ERROR, "initrd", "holding: see %s/report.json", o.run);
		hold(&o, next);
		(void)umount2(o.root, MNT_DETACH); /* a half-made root; EINVAL when there is none */
		o.again = true;
		o.resume = false;
	}
	return 0;
}
