/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <string.h>

#include <rouse/clock.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/picture.h>
#include <rouse/text.h>

#include "progress.h"
#include "target.h"

static bool is_agreed(void)
{
	char answer[8] = "";

	(void)fputs("apply this plan? [y/N] ", stdout);
	(void)fflush(stdout);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static void print_plan(const struct rouse_run *run)
{
	auto_buf struct rouse_buf out = { 0 };

	rouse_pictures_print(run->plan.pictures, &out, rouse_columns(), rouse_use_colour());
	rouse_plan_print(&run->plan, &out, rouse_use_colour());
	(void)fputs(out.data, stdout);
	(void)fflush(stdout);
}

/* Disks are looked at once more under their locks: what is applied is what the id was made of. */
static int check_id(const struct rouse_run *run, const struct rouse_target *t, struct rouse_err *e)
{
	if (!t->plan || rouse_streq(t->plan, run->plan.id))
		return 0;
	return rouse_fail(e, ROUSE_SYSTEM, 0,
			  "the plan is not '%s' any more, but '%s': the document or the machine "
			  "has changed; nothing was changed, look at 'rouse plan' again",
			  t->plan, run->plan.id);
}

static int agree(const struct rouse_run *run, const struct rouse_target *t, struct rouse_err *e)
{
	if (!t->json)
		print_plan(run);
	if (check_id(run, t, e) < 0)
		return -1;
	if (!t->yes && !t->plan && rouse_plan_changes(&run->plan) && isatty(STDIN_FILENO) &&
	    !is_agreed())
		return rouse_fail(e, ROUSE_USAGE, 0, "not applied: nothing was changed");
	return 0;
}

static bool opens_something(const struct rouse_plan *p)
{
	for (size_t i = 0; i < p->n_steps; i++)
		if (p->steps[i].opens)
			return true;
	return false;
}

/* What is opened shows what it holds, and a new plan shows what becomes of that. */
static int enter(struct rouse_run *run, struct rouse_report *report, const struct rouse_target *t,
		 struct rouse_err *e)
{
	int r;

	if (!opens_something(&run->plan))
		return 0;
	run->report = report;
	run->context.deadline = rouse_clock_ms() + ROUSE_DEADLINE_PREPARE;
	rouse_report_phase(report, "open");
	r = rouse_run_enter(run, e);
	rouse_report_phase_end(report, r < 0 ? e : NULL);
	if (r < 0)
		return -1;
	/* The id was of the plan that opens things: what follows is another one, to be agreed to. */
	return rouse_plan_changes(&run->plan) ? agree(run, t, e) : 0;
}

static int run_phases(struct rouse_run *run, struct rouse_report *report, struct rouse_err *e)
{
	int r;

	run->report = report;
	run->context.deadline = rouse_clock_ms() + ROUSE_DEADLINE_PREPARE;
	rouse_report_phase(report, "prepare");
	r = rouse_run_prepare(run, e);
	rouse_report_phase_end(report, r < 0 ? e : NULL);
	if (r < 0)
		return -1;
	run->context.deadline = rouse_clock_ms() + ROUSE_DEADLINE_APPLY;
	rouse_report_phase(report, "apply");
	r = rouse_run_apply(run, e);
	rouse_report_phase_end(report, r < 0 ? e : NULL);
	return r;
}

static int apply(struct rouse_run *run, struct rouse_report *report, struct rouse_err *e)
{
	struct progress progress;
	bool shows = isatty(STDERR_FILENO);
	int r;

	progress_begin(&progress, true, rouse_clock_ms());
	run->context.progress = shows ? progress_show : NULL;
	run->context.progress_arg = &progress;
	r = run_phases(run, report, e);
	run->context.progress = NULL; /* it borrows from here */
	if (shows)
		progress_clear();
	return r;
}

static void print_report(struct rouse_report *report, struct rouse_target *t,
			 const struct rouse_err *e)
{
	auto_free char *text = NULL;

	rouse_report_set(report, "counters", json_incref(t->counters));
	rouse_report_verdict(report, e ? ROUSE_FAILED : ROUSE_READY, e ? e->kind : ROUSE_OK,
			     e ? e->text : NULL);
	text = rouse_json_print(report->json);
	(void)fputs(text, stdout);
}

int rouse_cmd_apply(int argc, char **argv, struct rouse_err *e)
{
	auto_target struct rouse_target t = { 0 };
	auto_document struct rouse_document d = { 0 };
	auto_run struct rouse_run run = { 0 };
	struct rouse_report report = { 0 };
	const char *path = NULL;
	int r;

	if (rouse_target_parse(&t, argc, argv, "rdojypi", e) < 0 ||
	    rouse_target_document(argc, argv, &path, e) < 0 ||
	    rouse_target_open(&t, path, &d, &run, e) < 0 || rouse_run_plan(&run, e) < 0)
		return -1;
	if (agree(&run, &t, e) < 0 || rouse_report_begin(&report, NULL, e) < 0)
		return -1;
	r = enter(&run, &report, &t, e);
	if (r == 0)
		r = apply(&run, &report, e);
	if (t.json)
		print_report(&report, &t, r < 0 ? e : NULL);
	rouse_report_done(&report);
	return r;
}
