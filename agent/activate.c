/* SPDX-License-Identifier: Apache-2.0 */
/* The switch of a running system to the configuration that its boot has made current. */
#include <rouse/boot.h>

#include <string.h>

#include <rouse/init.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/report.h>

#include "supervise.h"

struct activation {
	int r;
	struct rouse_err e; /* where r is -1 */
};

static void note_units(struct rouse_report *report)
{
	json_t *note;

	if (json_object_get(report->json, "fallback"))
		return;
	note = json_object();
	rouse_json_set_string(note, "word", rouse_kind_word(ROUSE_DEGRADED));
	rouse_json_set_string(note, "reason",
			      "the system is active, but not all of its units run: "
			      "'systemctl --failed' lists them");
	rouse_report_set(report, "fallback", note);
}

static void activate(void *arg, void *ret)
{
	const struct rouse_boot_options *o = arg;
	struct activation *a = ret;
	struct rouse_report report = { 0 };
	bool units_failed = false;

	a->r = rouse_report_load(&report, o->run, &a->e);
	if (a->r < 0)
		return;
	rouse_report_phase(&report, "activate");
	rouse_report_write(&report);
	a->r = rouse_handoff_activate(&units_failed, &a->e);
	rouse_report_phase_end(&report, a->r < 0 ? &a->e : NULL);
	if (a->r < 0)
		rouse_report_verdict(&report, ROUSE_FAILED, a->e.kind, a->e.text);
	else if (units_failed)
		note_units(&report);
	rouse_report_write(&report);
	rouse_report_done(&report);
}

/* Who was to say how it went, cannot: this process says it. */
static int give_up(const struct rouse_boot_options *o, bool late, const char *reason,
		   struct rouse_err *e)
{
	struct rouse_report report = { 0 };
	struct rouse_err why;

	if (rouse_report_load(&report, o->run, e) < 0)
		return -1;
	if (late)
		(void)rouse_fail(&why, ROUSE_SYSTEM, 0, "the switch to the system: %s", reason);
	else
		(void)rouse_fail(&why, ROUSE_SYSTEM, 0,
				 "the agent has crashed %d times, in phase 'activate': %s",
				 ROUSE_MAX_CRASHES, reason);
	rouse_report_verdict(&report, ROUSE_FAILED, why.kind, why.text);
	rouse_report_write(&report);
	rouse_report_done(&report);
	*e = why;
	return -1;
}

int rouse_boot_activate(const struct rouse_boot_options *asked, struct rouse_err *e)
{
	struct rouse_boot_options o = *asked;
	struct activation a = { 0 };
	char reason[SUPERVISE_REASON] = "";
	bool late = false;

	for (unsigned i = 0; !late && i < ROUSE_MAX_CRASHES; i++) {
		if (supervise(activate, &o, &a, sizeof(a),
			      ROUSE_DEADLINE_SWITCH + ROUSE_SIGNAL_TIMEOUT, &late, reason)) {
			if (a.r < 0)
				*e = a.e;
			return a.r;
		}
		rouse_log(ROUSE_LOG_ERROR, "activate", "%s", reason);
	}
	return give_up(&o, late, reason, e);
}
