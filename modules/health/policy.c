/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to a machine that is not healthy: the failure policy behind the hand-off. */
#include <rouse/health.h>

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/generations.h>
#include <rouse/init.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/mem.h>
#include <rouse/proc.h>
#include <rouse/text.h>

#include "tools.h"

static const char *string_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static const char *digest_of(const struct rouse_report *r)
{
	const char *digest = string_at(json_object_get(r->json, "document"), "sha256");

	return digest ? digest : "";
}

static bool is_fallback(const struct rouse_report *r)
{
	return json_is_object(json_object_get(r->json, "fallback"));
}

/* An initramfs of ours picks the system at each boot; elsewhere a boot loader does. */
static bool comes_from_initramfs(void)
{
	struct rouse_handoff h;
	struct rouse_err e;

	return rouse_handoff_read(&h, &e) == 0;
}

/* Is there a system that was healthy, or came with the image, besides the one that is not? Its
 * generation in *ret_number, 0 when it is none. */
static bool find_fallback(const struct rouse_policy *p, uint64_t *ret_number)
{
	auto_systems struct rouse_systems s = { 0 };
	char booted[ROUSE_SYSTEM_PATH_SIZE];
	const struct rouse_system *healthy;
	struct rouse_err e = { 0 };

	*ret_number = 0;
	if (!rouse_booted_system(booted) || rouse_systems_read("/", &s, &e) < 0)
		return false;
	healthy = rouse_systems_healthy(&s, booted);
	if (healthy)
		*ret_number = healthy->number;
	return healthy || (comes_from_initramfs() && p->baked && !rouse_streq(p->baked, booted) &&
			   access(p->baked, F_OK) == 0);
}

/* Counts on the disk, before anything is done: what could be lost would not end a loop. */
static int count(struct rouse_attempts *a, enum rouse_action action, const char *reason,
		 struct rouse_err *e)
{
	rouse_attempts_fail(a, reason ? reason : "not healthy");
	a->fall_back = action == ROUSE_ACT_FALLBACK;
	if (action == ROUSE_ACT_REBOOT)
		a->reboots++;
	return rouse_attempts_write("/", a, e);
}

static json_t *hold_json(const struct rouse_policy *p, const char *reason)
{
	uint64_t now = rouse_clock_ms();
	json_t *j = json_object();

	rouse_json_set_int(j, "since", now);
	rouse_json_set_int(j, "until", now + rouse_policy_hold_max(p));
	rouse_json_set_int(j, "tries", 1);
	rouse_json_set_string(j, "reason", reason);
	return j;
}

static void decide_failed(struct rouse_report *r, const struct rouse_policy *p)
{
	const char *reason = string_at(r->json, "reason");
	struct rouse_attempts a = { 0 };
	struct rouse_err e = { 0 };
	uint64_t generation = 0;
	/* A machine that was well with this very document has a trouble of its own. */
	bool known = rouse_attempts_read("/", digest_of(r), &a, &e) == 0;
	bool was_good = a.good[0] && rouse_streq(a.good, a.document);
	bool fallback = !is_fallback(r) && !was_good && find_fallback(p, &generation);
	enum rouse_fault fault = was_good ? ROUSE_LOCAL : ROUSE_FLEET;
	enum rouse_action action;

	a.failed += a.failed < ROUSE_MAX_FAILED; /* this one */
	action = rouse_policy_decide(p, fault, &a, fallback);
	a.failed -= a.failed > 0;
	if (!known || (!is_fallback(r) && count(&a, action, reason, &e) < 0)) {
		rouse_log(ROUSE_LOG_WARNING, "health", "%s", e.text);
		if (action == ROUSE_ACT_REBOOT || action == ROUSE_ACT_FALLBACK)
			action = ROUSE_ACT_HOLD;
	}
	rouse_report_set(r, "fault", json_string(rouse_fault_word(fault)));
	rouse_report_set(r, "action", json_string(rouse_action_word(action)));
	if (action == ROUSE_ACT_FALLBACK && generation && !comes_from_initramfs())
		rouse_report_set(r, "rollback", json_integer((json_int_t)generation));
	if (action == ROUSE_ACT_HOLD)
		rouse_report_set(r, "hold", hold_json(p, reason));
}

/* What a later boot falls back to: the document that this one was well with. */
static int keep_good(const char *run, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_free char *path = rouse_asprintf("%s/document.json", run);
	auto_buf struct rouse_buf now = { 0 }, old = { 0 };
	struct rouse_err ignored = { 0 };

	if (rouse_read_file(path, ROUSE_MAX_FACTS, &now, e) < 0)
		return e->sys == ENOENT ? 0 : -1;
	if (rouse_root_open(&root, "/", e) < 0 ||
	    rouse_fs_mkdirs(&root, ROUSE_GOOD_DOCUMENT, false, e) < 0)
		return -1;
	if (rouse_fs_read(&root, ROUSE_GOOD_DOCUMENT, ROUSE_MAX_FACTS, &old, &ignored) == 0 &&
	    old.len == now.len && memcmp(old.data, now.data, now.len) == 0)
		return 0;
	return rouse_fs_replace(&root, ROUSE_GOOD_DOCUMENT, now.data, now.len, 0600, (uid_t)-1,
				(gid_t)-1, e);
}

static int record_ready(const struct rouse_report *r, const char *run, struct rouse_err *e)
{
	struct rouse_attempts a = { 0 };

	if (keep_good(run, e) < 0 || rouse_attempts_read("/", digest_of(r), &a, e) < 0)
		return -1;
	rouse_attempts_ready(&a);
	return rouse_attempts_write("/", &a, e);
}

void rouse_health_decide(struct rouse_report *r, const struct rouse_policy *p, const char *run)
{
	const char *verdict = string_at(r->json, "verdict");
	struct rouse_err e = { 0 };

	if (rouse_streq(verdict, rouse_verdict_word(ROUSE_READY))) {
		if (record_ready(r, run, &e) < 0)
			rouse_log(ROUSE_LOG_WARNING, "health", "%s, ignoring", e.text);
		rouse_report_set(r, "action", json_string(rouse_action_word(ROUSE_ACT_NONE)));
		return;
	}
	/* A boot that failed has decided already. */
	if (rouse_streq(verdict, rouse_verdict_word(ROUSE_FAILED)) && !string_at(r->json, "fault"))
		decide_failed(r, p);
}

enum rouse_action rouse_health_action(const struct rouse_report *r)
{
	const char *word = string_at(r->json, "action");

	for (enum rouse_action a = ROUSE_ACT_NONE; a < ROUSE_ACTIONS_; a++)
		if (rouse_streq(word, rouse_action_word(a)))
			return a;
	return ROUSE_ACT_NONE;
}

/* --- acting ----------------------------------------------------------------------------------- */

int rouse_health_reboot(struct rouse_err *e)
{
	char systemctl[256];
	const char *const argv[] = { systemctl, "--no-block", "reboot", NULL };
	const struct rouse_proc p = { .argv = argv,
				      .deadline = rouse_clock_ms() + ROUSE_SIGNAL_TIMEOUT };

	if (health_find_systemctl(systemctl, sizeof(systemctl)))
		return rouse_proc_check(&p, e);
	/* What Ctrl-Alt-Del sends; every init reboots in order for it. */
	if (kill(1, SIGINT) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot ask init for a reboot");
	return 0;
}

/* Where a boot loader decides, it has to be told; `rouse rollback` does. */
static int roll_back(json_int_t generation, struct rouse_err *e)
{
	auto_free char *number = rouse_asprintf("%lld", (long long)generation);
	const char *const argv[] = { ROUSE_PROC_SELF, "rollback", number, NULL };
	const struct rouse_proc p = { .argv = argv,
				      .deadline = rouse_clock_ms() + ROUSE_DEADLINE_SWITCH };

	return rouse_proc_check(&p, e);
}

/* Where a boot loader counts its tries of an entry (systemd-boot), it need not find out by itself that this one
 * is bad. It marks the entry good when a later boot of it, or this one, comes to boot-complete.target. */
static void blame_boot(void)
{
	static const char *const places[] = {
		"/usr/lib/systemd/systemd-bless-boot",
		"/lib/systemd/systemd-bless-boot",
		"/run/current-system/systemd/lib/systemd/systemd-bless-boot",
	};
	char program[256];
	const char *const argv[] = { program, "bad", NULL };
	const struct rouse_proc p = { .argv = argv,
				      .deadline = rouse_clock_ms() + ROUSE_SIGNAL_TIMEOUT };
	struct rouse_err e;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		if (!rouse_proc_find(places[i], NULL, program, sizeof(program)))
			continue;
		/* Most boot loaders count nothing, and it says so. */
		if (rouse_proc_check(&p, &e) < 0)
			rouse_log(ROUSE_LOG_DEBUG, "health", "%s, ignoring", e.text);
		return;
	}
}

int rouse_health_react(const struct rouse_report *r, struct rouse_err *e)
{
	json_int_t generation = json_integer_value(json_object_get(r->json, "rollback"));

	/* Not before a reboot for another try of the same entry. */
	if (rouse_streq(string_at(r->json, "verdict"), rouse_verdict_word(ROUSE_FAILED)) &&
	    rouse_health_action(r) != ROUSE_ACT_REBOOT)
		blame_boot();
	switch (rouse_health_action(r)) {
	case ROUSE_ACT_FALLBACK:
		if (is_fallback(r)) /* it runs, and is well */
			return 0;
		if (generation && roll_back(generation, e) < 0)
			return -1;
		rouse_log(ROUSE_LOG_WARNING, "health",
			  "rebooting into the last system that was healthy");
		return rouse_health_reboot(e);
	case ROUSE_ACT_REBOOT:
		rouse_log(ROUSE_LOG_WARNING, "health", "rebooting for another try");
		return rouse_health_reboot(e);
	case ROUSE_ACT_HOLD:
	case ROUSE_ACT_ABANDON:
		rouse_log(ROUSE_LOG_WARNING, "health", "holding: see /run/rouse/report.json");
		return 0;
	case ROUSE_ACT_NONE:
	case ROUSE_ACTIONS_:
		break;
	}
	return 0;
}
