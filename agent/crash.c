/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs of the agent that end in the midst of a boot. The first crash is tried again as if nothing had been, for
 * re-running is the recovery. After the second only what needs nothing of the boot is left, a fallback or the
 * verdict; after another one, the verdict. They are counted in the report, so that it is all the same whether
 * the parent has seen the crash or ended with it, and the unit was started anew. As process 1 the agent has its
 * own way (init.c).
 */
#include "phases.h"

#include <string.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/health.h>
#include <rouse/init.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/text.h>

#include "supervise.h"

/* --- seen by the next run --------------------------------------------------------------------- */

void boot_note_crash(struct boot *b)
{
	const struct rouse_boot_options *o = b->options;
	struct rouse_report old = { 0 };
	struct rouse_err ignored;
	const char *phase;
	auto_free char *mark = rouse_asprintf("%s/" ROUSE_SOFT_REBOOT_NAME, o->run);
	bool started_anew = unlink(mark) == 0;

	/* Who interrupts a boot at a terminal has crashed nothing. */
	if (started_anew || !o->resume || o->crashed ||
	    rouse_report_resume(&old, o->run, &ignored) < 0)
		return;
	phase = json_string_value(json_object_get(old.phase, "name"));
	if (phase && !rouse_streq(phase, "health")) {
		b->crashes = (unsigned)json_integer_value(json_object_get(old.json, "crashes")) + 1;
		rouse_log(ROUSE_LOG_ERROR, "boot", "%s, in phase '%s'",
			  o->crash ? o->crash : "the agent has crashed", phase);
	}
	if (b->crashes >= ROUSE_MAX_CRASHES)
		b->crashed = rouse_asprintf("the agent has crashed %u times", b->crashes);
	rouse_report_done(&old);
}

/* --- the verdict of who can give none --------------------------------------------------------- */

/* Loads the report of this boot, or begins one that can say no more than the reason. */
static bool find_report(const struct rouse_boot_options *o, const char *reason,
			struct rouse_report *ret)
{
	struct rouse_err e = { 0 };

	if (rouse_report_load(ret, o->run, &e) == 0 || rouse_report_begin(ret, o->run, &e) == 0)
		return true;
	rouse_log(ROUSE_LOG_ERROR, "boot", "%s; %s", reason, e.text);
	return false;
}

static void announce(struct rouse_report *report)
{
	rouse_report_write(report);
	(void)rouse_health_console(report);
	rouse_health_signal(report, NULL);
	rouse_report_write(report);
}

void rouse_boot_aborted(const struct rouse_boot_options *o, const char *reason)
{
	struct rouse_report report = { 0 };

	if (!find_report(o, reason, &report))
		return;
	rouse_report_verdict(&report, ROUSE_FAILED, ROUSE_SYSTEM, reason);
	rouse_report_set(&report, "fault", json_string(rouse_fault_word(ROUSE_FLEET)));
	announce(&report);
	rouse_report_done(&report);
}

void rouse_boot_wait(const struct rouse_boot_options *o, uint64_t until)
{
	struct rouse_report report = { 0 };
	struct rouse_err e;

	if (rouse_report_load(&report, o->run, &e) == 0)
		rouse_health_wait(&report, until);
	rouse_report_done(&report);
	rouse_clock_sleep_until(until);
}

void rouse_boot_abandoned(const struct rouse_boot_options *o)
{
	struct rouse_report report = { 0 };

	if (!find_report(o, "held for too long", &report))
		return;
	rouse_report_set(&report, "action", json_string(rouse_action_word(ROUSE_ACT_ABANDON)));
	announce(&report);
	rouse_report_done(&report);
}

/* --- seen by the parent ----------------------------------------------------------------------- */

struct run {
	const struct rouse_boot_options *options;
	int (*then)(struct rouse_err *e);
	const char *reason; /* of a boot that is given up */
};

static void work(void *arg, void *ret)
{
	const struct run *run = arg;
	struct rouse_boot_result *result = ret;
	struct rouse_err e;

	if (rouse_boot_run(run->options, result) != 0 || !run->then || run->then(&e) == 0)
		return;
	rouse_boot_aborted(run->options, e.text);
	result->status = (int)e.kind;
	result->action = ROUSE_ACT_HOLD;
}

static void give_up(void *arg, unused_arg void *ret)
{
	const struct run *run = arg;

	rouse_boot_aborted(run->options, run->reason);
}

uint64_t boot_most_time(const char *settings)
{
	struct rouse_settings s = { 0 };
	struct rouse_err ignored; /* a run says what is wrong with them */
	uint64_t most = ROUSE_DEADLINE_BOOT;

	if (rouse_settings_load(&s, settings, &ignored) == 0 && s.deadline &&
	    s.deadline < most - ROUSE_DEADLINE_HANDOFF)
		most = s.deadline + ROUSE_DEADLINE_HANDOFF;
	rouse_settings_done(&s);
	return most;
}

int rouse_boot_supervised(const struct rouse_boot_options *asked, int (*then)(struct rouse_err *e),
			  struct rouse_boot_result *ret)
{
	struct rouse_boot_options o = *asked;
	struct run run = { .options = &o, .then = then };
	struct rouse_boot_result result = { .status = ROUSE_SYSTEM,
					    .action = ROUSE_ACT_HOLD,
					    .hold_max = ROUSE_HOLD_MAX,
					    .pause = ROUSE_HOLD_POLL };
	uint64_t end = rouse_clock_ms() + boot_most_time(o.settings);
	char reason[SUPERVISE_REASON] = "", ignored[SUPERVISE_REASON];
	bool late = false, done = false;

	for (unsigned i = 0; !done && i <= ROUSE_MAX_CRASHES; i++) {
		uint64_t limit = (uint64_t)rouse_clock_left(end);

		/* What was too slow once has no time for another try: there is the fallback, or the verdict. */
		if (late)
			o.crashed = reason;
		if (late || (i > 0 && limit < ROUSE_DEADLINE_GIVE_UP))
			limit = ROUSE_DEADLINE_GIVE_UP;
		done = supervise(work, &run, &result, sizeof(result), limit, &late, reason);
		o.resume = true;
		o.crash = reason;
	}
	run.reason = reason;
	if (!done && !supervise(give_up, &run, &result, sizeof(result), ROUSE_DEADLINE_GIVE_UP,
				&late, ignored))
		rouse_log(ROUSE_LOG_ERROR, "boot", "%s; and then %s", reason, ignored);
	*ret = result;
	return result.status;
}
