/* SPDX-License-Identifier: Apache-2.0 */
/* When a phase of the boot has failed: whose fault it is, the fallback, and what comes next. */
#include "phases.h"

#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/fallback.h>
#include <rouse/init.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/text.h>

/* --- what earlier boots have seen ------------------------------------------------------------- */

int boot_check_attempts(struct boot *b, struct rouse_err *e)
{
	struct rouse_attempts *a = &b->attempts;

	if (rouse_attempts_read(b->options->root, b->document.sha256, a, e) < 0)
		return -1;
	/* Where no verdict has ever come back, its absence says nothing. */
	if (a->open && a->good[0]) {
		rouse_attempts_fail(a, "the boot before this one ended without a verdict");
		if (rouse_attempts_write(b->options->root, a, e) < 0)
			return -1;
	}
	if (b->once_more || !b->options->initramfs || !rouse_attempts_spent(a))
		return 0;
	b->spent = true;
	(void)rouse_fail(e, ROUSE_DOCUMENT, 0, "this document has failed on this machine %s: %s",
			 a->failed == 1 ? "in the boot before this one" : "before", a->reason);
	return -1;
}

int boot_record_hand_off(struct boot *b, struct rouse_err *e)
{
	rouse_attempts_hand_off(&b->attempts);
	/* A machine that was never on trial needs no file to say so. */
	if (!b->attempts.open && !b->attempts.failed)
		return 0;
	return rouse_attempts_write(b->options->root, &b->attempts, e);
}

/* A document that cannot work here is not tried for ever; what may pass is not held against it. */
static void count_failure(struct boot *b, const struct rouse_err *cause)
{
	struct rouse_attempts *a = &b->attempts;
	struct rouse_err e = { 0 };

	if (b->spent) {
		/* This is the boot that the last failure asked for. */
		a->fall_back = false;
	} else if (cause->fault == ROUSE_FLEET && cause->kind != ROUSE_UNAVAILABLE &&
		   b->document.sha256[0]) {
		if (rouse_attempts_read(b->options->root, b->document.sha256, a, &e) == 0)
			rouse_attempts_fail(a, cause->text);
	} else {
		return;
	}
	if (rouse_attempts_write(b->options->root, a, &e) < 0)
		rouse_log(ROUSE_LOG_WARNING, "boot", "%s, ignoring", e.text);
}

/* --- the policy ------------------------------------------------------------------------------- */

bool boot_read_health(struct boot *b, struct rouse_arena *arena, struct rouse_health *ret)
{
	const json_t *section = json_object_get(b->document.merged, "health");
	struct rouse_problems problems = { 0 };
	bool known = section && b->document.sha256[0] &&
		     rouse_schema_read(&rouse_health_shape, section, &b->found.instance, ret, arena,
				       &problems) == 0;

	rouse_problems_done(&problems);
	return known;
}

void boot_add_signals(const struct boot *b, struct rouse_arena *arena, struct rouse_health *health)
{
	json_t *signals = json_object_get(b->settings.json, "signals");
	auto_json json_t *section = NULL;
	struct rouse_problems problems = { 0 };
	struct rouse_health image = { 0 };

	if (health->signals || !signals)
		return;
	section = json_object();
	rouse_json_set(section, "signals", json_incref(signals));
	if (rouse_schema_read(&rouse_health_shape, section, &b->found.instance, &image, arena,
			      &problems) == 0)
		health->signals = image.signals;
	else
		rouse_log(ROUSE_LOG_DEBUG, "boot", "signals of the image: %s",
			  problems.items[0].message);
	rouse_problems_done(&problems);
}

void boot_name_signals(const struct boot *b)
{
	auto_arena struct rouse_arena arena = { 0 };
	struct rouse_health health = { 0 };
	struct rouse_err e;

	if (b->held) /* a document of an earlier try may have said it better */
		return;
	boot_add_signals(b, &arena, &health);
	if (health.signals &&
	    rouse_health_save(b->options->run, ROUSE_SIGNALS_FILE, &health, &e) < 0)
		rouse_log(ROUSE_LOG_WARNING, "boot", "%s, ignoring", e.text);
}

/* The system that the document falls back to, when it names one. */
static const char *document_fallback(const struct boot *b)
{
	const json_t *system = json_object_get(b->document.merged, "system");
	const char *path = json_string_value(json_object_get(system, "fallback"));

	return b->document.sha256[0] && path && rouse_is_store_path(path) ? path : NULL;
}

void boot_settle_policy(struct boot *b)
{
	struct rouse_health health = { 0 };

	b->policy = (struct rouse_policy){ 0 };
	if (boot_read_health(b, &b->found.arena, &health))
		b->policy = (struct rouse_policy){ .on_failure = health.on_failure,
						   .hold_max = health.hold_max,
						   .hold_poll = health.hold_poll };
	b->policy.baked = document_fallback(b);
	rouse_policy_merge(&b->policy, &b->settings.policy);
	if (b->fleet_policy) /* a replacement would only find out the same */
		b->policy.on_failure = b->fleet_policy;
}

/* --- the fallback ----------------------------------------------------------------------------- */

/* The system that the document wants, when it is known not to work here; else NULL. */
static const char *failed_system(const struct boot *b)
{
	const json_t *system = json_object_get(b->document.merged, "system");

	return b->spent || b->attempts.failed ? json_string_value(json_object_get(system, "path"))
					      : NULL;
}

static int read_last(const struct rouse_root *root, struct rouse_buf *ret, const char **ret_name,
		     struct rouse_err *e)
{
	*ret_name = ROUSE_GOOD_DOCUMENT;
	if (rouse_fs_read(root, *ret_name, ROUSE_MAX_FACTS, ret, e) == 0)
		return 0;
	*ret_name = LAST_DOCUMENT;
	return rouse_fs_read(root, *ret_name, ROUSE_MAX_FACTS, ret, e);
}

/* The metadata service may be away: the firmware tells that this is still the same machine. */
static void recall_instance(struct boot *b, const struct rouse_root *root)
{
	if (b->last.json || !rouse_layers_recall(root, &b->found.instance, &b->last))
		return;
	b->found.instance = b->last.instance;
	boot_record_instance(b);
}

static int apply_last(struct boot *b, struct rouse_document *d, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_buf struct rouse_buf text = { 0 };
	const char *name;

	if (rouse_root_open(&root, b->options->root, e) < 0)
		return -1;
	recall_instance(b, &root);
	if (read_last(&root, &text, &name, e) < 0 ||
	    rouse_document_add(d, name, text.data, text.len, false, e) < 0 ||
	    rouse_document_finish(d, &b->found.instance, e) < 0 ||
	    rouse_run_observe(&b->run, e) < 0 || rouse_run_plan(&b->run, e) < 0)
		return -1;
	return rouse_run_apply(&b->run, e);
}

/* Boots what the machine was healthy with: its hand-off and its health checks, nothing else. */
static int run_last(struct boot *b, const char *only, struct rouse_err *e)
{
	auto_document struct rouse_document d = { 0 };
	int r;

	rouse_run_done(&b->run);
	boot_prepare_run(b);
	b->run.document = &d;
	b->run.only = only;
	b->run.context.fallback = true;
	b->run.context.proven_only = b->spent;
	b->run.context.avoid = failed_system(b);
	b->run.context.baked = b->policy.baked;
	b->run.context.deadline = rouse_clock_ms() + ROUSE_DEADLINE_HANDOFF;
	r = apply_last(b, &d, e);
	rouse_run_done(&b->run); /* before the document, which it borrows from */
	return r;
}

static void record_fallback(struct boot *b, const struct rouse_err *cause)
{
	json_t *j = json_object();

	rouse_json_set_string(j, "word", rouse_kind_word(cause->kind));
	rouse_json_set_string(j, "fault", rouse_fault_word(cause->fault));
	rouse_json_set_string(j, "reason", cause->text);
	rouse_report_set(&b->report, "fallback", j);
	rouse_report_set(&b->report, "action", json_string(rouse_action_word(ROUSE_ACT_FALLBACK)));
}

int boot_fall_back(struct boot *b, const struct rouse_err *cause, struct rouse_err *e)
{
	struct rouse_err health = { 0 };
	const char *word = b->policy.on_failure;

	if (!b->options->initramfs)
		return rouse_fail(e, ROUSE_SYSTEM, 0, "the running system goes on as it is");
	if (rouse_streq(word, "hold") || rouse_streq(word, "abandon"))
		return rouse_fail(e, ROUSE_SYSTEM, 0, "onFailure is \"%s\"", word);
	if (b->crashes > ROUSE_MAX_CRASHES)
		return rouse_fail(e, ROUSE_SYSTEM, 0, "it has crashed, too");
	rouse_log(ROUSE_LOG_ERROR, "boot", "%s; trying the generation that this machine has",
		  cause->text);
	boot_begin_phase(b, "fallback");
	/* A boot that has crashed may not have come to its disks yet. */
	if (rouse_fallback_mount(b->options->root, b->policy.baked,
				 b->crashed ? rouse_clock_ms() + ROUSE_DEVICES_NODE : 0, e) < 0)
		return -1;
	count_failure(b, cause);
	if (run_last(b, "handoff", e) < 0)
		return -1;
	if (run_last(b, "health", &health) < 0)
		rouse_log(ROUSE_LOG_WARNING, "boot", "the fallback boots without health checks: %s",
			  health.text);
	record_fallback(b, cause);
	return 0;
}

/* --- the verdict ------------------------------------------------------------------------------ */

/* "hold": since when, until when, and how often it was tried; ms on CLOCK_BOOTTIME. */
static json_t *hold_json(const struct boot *b, const char *reason)
{
	uint64_t since = b->held ? b->held_since : rouse_clock_ms();
	json_t *j = json_object();

	rouse_json_set_int(j, "since", since);
	rouse_json_set_int(j, "until", since + rouse_policy_hold_max(&b->policy));
	rouse_json_set_int(j, "tries", b->held_tries + 1);
	rouse_json_set_string(j, "reason", reason);
	return j;
}

void boot_fail(struct boot *b, const struct rouse_err *cause, struct rouse_boot_result *ret)
{
	auto_arena struct rouse_arena arena = { 0 };
	struct rouse_health health = { 0 };
	bool known = boot_read_health(b, &arena, &health);
	enum rouse_action action;

	action = rouse_policy_decide(&b->policy, cause->fault, &b->attempts, false);
	/* A boot that has not come to its hand-off is tried again where it stands. */
	if (action == ROUSE_ACT_REBOOT)
		action = cause->fault == ROUSE_LOCAL ? ROUSE_ACT_ABANDON : ROUSE_ACT_HOLD;
	/* Where there is no journal, which gets it with the verdict. */
	if (!b->options->initramfs && !rouse_log_has_journal())
		rouse_log(ROUSE_LOG_ERROR, "boot", "%s", cause->text);
	rouse_report_set(&b->report, "fault", json_string(rouse_fault_word(cause->fault)));
	rouse_report_set(&b->report, "action", json_string(rouse_action_word(action)));
	if (action == ROUSE_ACT_HOLD)
		rouse_report_set(&b->report, "hold", hold_json(b, cause->text));
	rouse_report_verdict(&b->report, ROUSE_FAILED, cause->kind, cause->text);
	rouse_report_write(&b->report);
	/* Who was told once need not hear it again at each try. */
	if (!b->held || !rouse_streq(b->held_reason, cause->text)) {
		(void)rouse_health_console(&b->report);
		rouse_health_signal(&b->report, known ? &health : NULL);
		rouse_report_write(&b->report);
	}
	if (ret)
		*ret = (struct rouse_boot_result){ .status = (int)cause->kind,
						   .action = action,
						   .hold_max = rouse_policy_hold_max(&b->policy),
						   .pause = rouse_policy_pause(
							   &b->policy, rouse_jitter(UINT64_MAX)) };
}

bool rouse_boot_count_reboot(const struct rouse_boot_options *o)
{
	struct rouse_report report = { 0 };
	struct rouse_attempts a = { 0 };
	struct rouse_err e = { 0 };
	const char *digest = NULL;
	bool may;

	if (rouse_report_load(&report, o->run, &e) == 0)
		digest = json_string_value(
			json_object_get(json_object_get(report.json, "document"), "sha256"));
	may = (rouse_streq(o->root, "/") || rouse_fallback_mount(o->root, NULL, 0, &e) == 0) &&
	      rouse_attempts_read(o->root, digest ? digest : "", &a, &e) == 0;
	rouse_report_done(&report);
	if (may && a.reboots >= ROUSE_MAX_REBOOTS) {
		(void)rouse_fail(&e, ROUSE_SYSTEM, 0, "this machine was rebooted %u times for it",
				 a.reboots);
		may = false;
	}
	a.reboots++;
	if (may && rouse_attempts_write(o->root, &a, &e) == 0)
		return true;
	rouse_log(ROUSE_LOG_ERROR, "init", "no reboot: %s", e.text);
	return false;
}
