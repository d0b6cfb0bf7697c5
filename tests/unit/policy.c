/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include "../lib/run.h"

#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/policy.h>

#define D1 "1111111111111111111111111111111111111111111111111111111111111111"
#define D2 "2222222222222222222222222222222222222222222222222222222222222222"

static enum rouse_action decide(const char *word, enum rouse_fault fault, unsigned failed,
				unsigned reboots, bool fallback)
{
	const struct rouse_policy p = { .on_failure = word };
	const struct rouse_attempts a = { .failed = failed, .reboots = reboots };

	return rouse_policy_decide(&p, fault, &a, fallback);
}

static void fallback_is_taken_where_there_is_one(struct t *t)
{
	T_CHECK(t, decide(NULL, ROUSE_FLEET, 1, 0, true) == ROUSE_ACT_FALLBACK);
	T_CHECK(t, decide("fallback", ROUSE_LOCAL, 1, 0, true) == ROUSE_ACT_FALLBACK);
	T_CHECK(t, decide("fallback", ROUSE_FLEET, 1, 0, false) == ROUSE_ACT_HOLD);
}

static void replacement_that_helps_is_asked_for_at_once(struct t *t)
{
	T_CHECK(t, decide(NULL, ROUSE_LOCAL, 1, 0, false) == ROUSE_ACT_ABANDON);
	T_CHECK(t, decide("hold", ROUSE_LOCAL, 1, 0, true) == ROUSE_ACT_ABANDON);
}

static void hold_and_abandon_take_no_fallback(struct t *t)
{
	T_CHECK(t, decide("hold", ROUSE_FLEET, 1, 0, true) == ROUSE_ACT_HOLD);
	T_CHECK(t, decide("abandon", ROUSE_FLEET, 1, 0, true) == ROUSE_ACT_ABANDON);
}

static void reboots_are_bounded_and_end_in_the_fallback(struct t *t)
{
	T_CHECK(t, decide("reboot", ROUSE_FLEET, 1, 0, true) == ROUSE_ACT_REBOOT);
	T_CHECK(t, decide("reboot", ROUSE_FLEET, ROUSE_MAX_TRIES, 1, true) == ROUSE_ACT_FALLBACK);
	T_CHECK(t,
		decide("reboot", ROUSE_FLEET, 3, ROUSE_MAX_REBOOTS - 1, false) == ROUSE_ACT_REBOOT);
	T_CHECK(t, decide("reboot", ROUSE_FLEET, 4, ROUSE_MAX_REBOOTS, false) == ROUSE_ACT_HOLD);
	T_CHECK(t, decide("reboot", ROUSE_LOCAL, 4, ROUSE_MAX_REBOOTS, false) == ROUSE_ACT_ABANDON);
}

static void attempts_survive_and_belong_to_one_document(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	struct rouse_attempts a, b;
	struct rouse_err e;

	T_CHECK(t, rouse_attempts_read(r.path, D1, &a, &e) == 0 && !a.failed && !a.open);
	rouse_attempts_hand_off(&a);
	T_CHECK(t, a.open);
	rouse_attempts_fail(&a, "check 'web' never passed");
	a.fall_back = true;
	T_CHECK(t, rouse_attempts_write(r.path, &a, &e) == 0);
	T_CHECK(t, rouse_attempts_read(r.path, D1, &b, &e) == 0);
	T_CHECK(t, b.failed == 1 && !b.open && b.fall_back && rouse_attempts_spent(&b));
	T_STR(t, b.reason, "check 'web' never passed");
	T_CHECK(t, rouse_attempts_read(r.path, D2, &b, &e) == 0 && !b.failed && !b.fall_back);
}

static void document_is_spent_after_two_failures(struct t *t)
{
	struct rouse_attempts a = { .document = D1 };

	rouse_attempts_fail(&a, "one");
	T_CHECK(t, !rouse_attempts_spent(&a));
	rouse_attempts_fail(&a, "two");
	T_CHECK(t, rouse_attempts_spent(&a));
	for (unsigned i = 0; i < 2 * ROUSE_MAX_FAILED; i++)
		rouse_attempts_fail(&a, "again");
	T_CHECK(t, a.failed == ROUSE_MAX_FAILED);
	rouse_attempts_ready(&a);
	T_CHECK(t, !rouse_attempts_spent(&a) && !a.failed);
	T_STR(t, a.good, D1);
}

static void document_that_was_well_is_not_on_trial(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	struct rouse_attempts a = { .document = D1 };
	struct stat before, after;
	struct rouse_err e;

	rouse_attempts_ready(&a);
	T_CHECK(t, rouse_attempts_write(r.path, &a, &e) == 0);
	before = t_root_stat(&r, ROUSE_ATTEMPTS_FILE);
	T_CHECK(t, rouse_attempts_read(r.path, D1, &a, &e) == 0);
	rouse_attempts_hand_off(&a);
	T_CHECK(t, !a.open && rouse_attempts_write(r.path, &a, &e) == 0);
	after = t_root_stat(&r, ROUSE_ATTEMPTS_FILE);
	T_CHECK(t, before.st_ino == after.st_ino); /* nothing was written */
	T_CHECK(t, (after.st_mode & 0777) == 0600);
}

static void broken_file_is_no_attempt(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	struct rouse_attempts a;
	struct rouse_err e;

	t_root_write(&r, ROUSE_ATTEMPTS_FILE, "{\"failed\":", 0600);
	T_CHECK(t, rouse_attempts_read(r.path, D1, &a, &e) == 0 && !a.failed && !a.good[0]);
	t_root_write(&r, ROUSE_ATTEMPTS_FILE,
		     "{\"document\":\"" D1 "\",\"failed\":-3,\"good\":\"x\"}", 0600);
	T_CHECK(t, rouse_attempts_read(r.path, D1, &a, &e) == 0 && !a.failed && !a.good[0]);
}

static void policy_travels(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	const struct rouse_policy image = { .on_failure = "hold", .hold_max = 7000 };
	struct rouse_policy p = { .hold_poll = 3000, .baked = "/nix/store/x" }, q;
	auto_json json_t *json = NULL, *none = NULL;
	struct rouse_err e;

	T_CHECK(t, rouse_policy_load(r.path, &q, &none, &e) == 0 && !q.on_failure && !q.hold_max);
	rouse_policy_merge(&p, &image);
	T_CHECK(t, rouse_policy_save(r.path, &p, &e) == 0);
	T_CHECK(t, rouse_policy_load(r.path, &q, &json, &e) == 0);
	T_STR(t, q.on_failure, "hold");
	T_STR(t, q.baked, "/nix/store/x");
	T_CHECK(t, rouse_policy_hold_max(&q) == 7000 && q.hold_poll == 3000);
}

static void pauses_spread_around_the_interval(struct t *t)
{
	const struct rouse_policy p = { .hold_poll = 3000 };

	T_CHECK(t, rouse_policy_pause(&p, 0) == 1000);
	T_CHECK(t, rouse_policy_pause(&p, 4000) == 5000);
	T_CHECK(t, rouse_policy_pause(&p, 4001) == 1000);
}

static void errors_say_whose_fault_they_are(struct t *t)
{
	struct rouse_err e;

	(void)rouse_fail(&e, ROUSE_DOCUMENT, 0, "x");
	T_CHECK(t, e.fault == ROUSE_FLEET);
	(void)rouse_fail(&e, ROUSE_SYSTEM, 0, "x");
	(void)rouse_wrap(&e, "y");
	T_CHECK(t, e.fault == ROUSE_LOCAL);
	(void)rouse_fail(&e, ROUSE_UNAVAILABLE, 0, "x");
	T_STR(t, rouse_fault_word(e.fault), "transient");
	T_CHECK(t, rouse_blame(&e, ROUSE_LOCAL) == -1 && e.fault == ROUSE_LOCAL);
}

T_MAIN(T(fallback_is_taken_where_there_is_one), T(replacement_that_helps_is_asked_for_at_once),
       T(hold_and_abandon_take_no_fallback), T(reboots_are_bounded_and_end_in_the_fallback),
       T(attempts_survive_and_belong_to_one_document), T(document_is_spent_after_two_failures),
       T(document_that_was_well_is_not_on_trial), T(broken_file_is_no_attempt), T(policy_travels),
       T(pauses_spread_around_the_interval), T(errors_say_whose_fault_they_are))
