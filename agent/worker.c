/* SPDX-License-Identifier: Apache-2.0 */
#include "init.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/settings.h>

_Static_assert(sizeof(struct init_message) <= PIPE_BUF, "one write(2) must be whole");

/* Before all else: with the first JSON object comes the first random number, and without a driver for
 * its source the kernel makes one up, for a second of CPU. */
static void load_drivers(struct rouse_boot_options *o)
{
	uint64_t cpu = rouse_clock_cpu_ms();
	struct rouse_err e;
	size_t n;

	o->drivers.start = rouse_clock_ms();
	n = rouse_kmod_coldplug();
	/* No device asks for this one, but every lease needs it. Filesystems are loaded by who mounts
	 * them. */
	if (rouse_kmod_load("af_packet", &e) < 0)
		rouse_log(ROUSE_LOG_DEBUG, "init", "%s, ignoring", e.text);
	o->drivers.end = rouse_clock_ms();
	o->drivers.cpu = rouse_clock_cpu_ms() - cpu;
	rouse_log(ROUSE_LOG_DEBUG, "init", "loaded %zu modules in %llu ms", n,
		  (unsigned long long)(o->drivers.end - o->drivers.start));
}

static void tell(int pipe, const struct init_message *m)
{
	if (rouse_write_all(pipe, m, sizeof(*m)) < 0)
		rouse_log(ROUSE_LOG_ERROR, "init", "cannot reach the parent: %s", strerror(errno));
}

static void tell_settings(const struct rouse_boot_options *o, int pipe)
{
	struct init_message m = { .type = INIT_SETTINGS };
	struct rouse_settings s = { 0 };
	struct rouse_err e;

	/* A refused file is the boot's own first error, with a report; here it only means no news. */
	if (rouse_settings_load(&s, o->settings, &e) < 0)
		return;
	m.number = s.deadline;
	m.result.hold_max = rouse_policy_hold_max(&s.policy);
	m.result.pause = rouse_policy_pause(&s.policy, rouse_jitter(UINT64_MAX));
	rouse_settings_done(&s);
	tell(pipe, &m);
}

/* "/nix/store/x-system" of "/nix/store/x-system/init". */
static void system_of(const char *init, char buf[static 512])
{
	(void)snprintf(buf, 512, "%s", init);
	if (strrchr(buf, '/'))
		*strrchr(buf, '/') = '\0';
}

/* Proves the target once more, now that everything is written, and knows a way out. */
static int find_target(struct init_message *m, struct rouse_err *e)
{
	auto_root struct rouse_root r = ROUSE_ROOT_INIT;
	char system[512];

	if (rouse_handoff_read(&m->handoff, e) < 0 || rouse_root_open(&r, m->handoff.root, e) < 0)
		return -1;
	system_of(m->handoff.init, system);
	if (!rouse_handoff_previous(&r, system, m->previous, sizeof(m->previous)))
		m->previous[0] = '\0';
	if (rouse_handoff_prove(&r, m->handoff.init, e) == 0)
		return 0;
	if (!m->previous[0])
		return -1;
	rouse_log(ROUSE_LOG_ERROR, "init", "%s; starting the previous generation", e->text);
	(void)snprintf(m->handoff.init, sizeof(m->handoff.init), "%s", m->previous);
	m->previous[0] = '\0';
	return 0;
}

void init_work(const struct rouse_boot_options *parents, int pipe)
{
	struct rouse_boot_options o = *parents;
	struct init_message target = { .type = INIT_TARGET }, done = { .type = INIT_DONE };
	struct rouse_err e;

	(void)unlink(ROUSE_HANDOFF_FILE); /* of a try before this one, if any */
	tell_settings(&o, pipe);
	load_drivers(&o);
	if (rouse_boot_run(&o, &done.result) == 0) {
		if (find_target(&target, &e) == 0) {
			tell(pipe, &target);
		} else {
			rouse_boot_aborted(&o, e.text);
			done.result.status = (int)e.kind;
			done.result.action = ROUSE_ACT_HOLD;
		}
	}
	tell(pipe, &done);
	_exit(done.result.status);
}
