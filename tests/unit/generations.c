/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/generations.h>

#include "../lib/tap.h"

#include "../lib/run.h"

#include <rouse/closure.h>

#include "../../modules/closure/roots.h"

#define STORE "/nix/store/"
#define NAME_A "0c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6a-system-a"
#define NAME_B "1c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6a-system-b"
#define NAME_C "2c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6a-system-c"
#define NAME_LIB "3c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6a-lib"
#define A STORE NAME_A
#define B STORE NAME_B
#define C STORE NAME_C
#define LIB STORE NAME_LIB
#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
#define SYSTEM(path) "{ \"rouse\": 1, \"system\": { \"path\": \"" path "\" } }"
#define PROFILE "/nix/var/nix/profiles/system"

/* Three systems that share a library, registered, with B as the current generation 2. */
static struct t_root machine(void)
{
	static const char *const names[] = { NAME_A, NAME_B, NAME_C, NAME_LIB };
	static const char *const order[] = { A, B };
	struct t_root r = t_root_new();
	struct rouse_err e = { 0 };
	uint64_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		auto_free char *path = rouse_asprintf(STORE "%s/file", names[i]);

		t_root_write(&r, path, "", 0644);
	}
	t_root_write(&r, "/nix/var/nix/rouse/registration",
		     LIB "\n" HASH "1000\n\n0\n" A "\n" HASH "10\n\n1\n" LIB "\n" B "\n" HASH
			 "20\n\n1\n" LIB "\n" C "\n" HASH "40\n\n1\n" LIB "\n",
		     0644);
	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		if (rouse_generation_make(r.path, PROFILE, order[i], &n, &e) < 0)
			abort();
	return r;
}

static uint64_t current(const struct t_root *r)
{
	struct rouse_generation g = { 0 };
	struct rouse_err e = { 0 };

	return rouse_generation_read(r->path, PROFILE, &g, &e) < 0 ? 0 : g.number;
}

static bool back(const struct t_root *r, size_t i)
{
	auto_systems struct rouse_systems s = { 0 };
	struct rouse_err e = { 0 };

	return rouse_systems_read(r->path, &s, &e) == 0 && i < s.n &&
	       rouse_rollback(r->path, &s, &s.items[i], &e) == 0;
}

static void generations_are_listed_with_their_closures(struct t *t)
{
	auto_t_root struct t_root r = machine();
	auto_systems struct rouse_systems s = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, rouse_system_mark_healthy(r.path, A, &e) == 0);
	T_CHECK(t, rouse_systems_read(r.path, &s, &e) == 0);
	T_CHECK(t, s.n == 2 && s.items[0].number == 1 && s.items[1].number == 2);
	T_STR(t, s.items[0].path, A);
	T_CHECK(t, s.items[0].bytes == 1010 && s.items[1].bytes == 1020);
	T_CHECK(t, !s.items[0].current && s.items[1].current);
	T_CHECK(t, s.items[0].healthy && !s.items[1].healthy);
	T_CHECK(t, s.items[0].there && s.items[1].there && s.items[0].time > 0);
}

static void no_generations_are_well(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	auto_systems struct rouse_systems s = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, rouse_systems_read(r.path, &s, &e) == 0);
	T_CHECK(t, s.n == 0 && !rouse_systems_before(&s) && !rouse_systems_healthy(&s, NULL));
}

static void damaged_memory_is_forgotten_and_made_whole(struct t *t)
{
	auto_t_root struct t_root r = machine();
	auto_systems struct rouse_systems s = { 0 };
	struct rouse_err e = { 0 };

	t_root_write(&r, ROUSE_GENERATIONS_FILE, "{ \"rollback\": ", 0644);
	T_CHECK(t, t_run_is_done(&r, "closure", SYSTEM(B)));
	T_CHECK(t, rouse_system_mark_healthy(r.path, A, &e) == 0);
	T_CHECK(t, rouse_systems_read(r.path, &s, &e) == 0 && s.items[0].healthy);
	t_root_write(&r, ROUSE_GENERATIONS_FILE, "[1]", 0644);
	T_CHECK(t, back(&r, 0) && current(&r) == 1);
}

static void last_mark_is_the_last_healthy(struct t *t)
{
	auto_t_root struct t_root r = machine();
	auto_systems struct rouse_systems s = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, rouse_system_mark_healthy(r.path, A, &e) == 0);
	T_CHECK(t, rouse_system_mark_healthy(r.path, B, &e) == 0);
	T_CHECK(t, rouse_system_mark_healthy(r.path, A, &e) == 0);
	T_CHECK(t, rouse_systems_read(r.path, &s, &e) == 0);
	T_STR(t, rouse_systems_healthy(&s, NULL)->path, A);
	T_STR(t, rouse_systems_healthy(&s, A)->path, B);
}

static void marks_are_bounded(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	auto_free char *text = NULL;
	struct rouse_err e = { 0 };
	size_t n = 0;

	for (int i = 0; i < 100; i++) {
		auto_free char *path = rouse_asprintf(A "-%d", i);

		T_CHECK(t, rouse_system_mark_healthy(r.path, path, &e) == 0);
	}
	text = t_root_read(&r, ROUSE_GENERATIONS_FILE);
	for (const char *at = text; (at = strstr(at, "\"path\"")); at++)
		n++;
	T_CHECK(t, n == 64);
	T_HAS(t, text, "system-a-99");
}

static void rollback_goes_to_the_last_healthy(struct t *t)
{
	struct rouse_system items[] = {
		{ .number = 1, .path = A, .there = true },
		{ .number = 2, .path = B, .there = true, .healthy = 1 },
		{ .number = 3, .path = C, .there = true },
		{ .number = 4, .path = LIB, .there = true, .current = true, .healthy = 2 },
	};
	const struct rouse_systems s = { .items = items, .n = 4 };

	T_CHECK(t, rouse_systems_before(&s)->number == 2);
	items[1].healthy = 0;
	T_CHECK(t, rouse_systems_before(&s)->number == 3);
	items[2].there = false;
	T_CHECK(t, rouse_systems_before(&s)->number == 2);
	memcpy(items[1].path, LIB, sizeof(LIB)); /* the same system again is no way back */
	T_CHECK(t, rouse_systems_before(&s)->number == 1);
	items[0].there = false;
	T_CHECK(t, !rouse_systems_before(&s));
}

static void rollback_is_kept_while_the_document_is_the_same(struct t *t)
{
	auto_t_root struct t_root r = machine();
	auto_free char *plan = NULL;
	struct rouse_err e = { 0 };

	T_CHECK(t, t_run_is_done(&r, "closure", SYSTEM(B)));
	T_CHECK(t, back(&r, 0) && current(&r) == 1);
	T_CHECK(t, t_run_module(&r, "closure", SYSTEM(B), true, &plan, &e) == 0);
	T_HAS(t, plan, "keep system generation 1: it was rolled back to, from " B);
	T_HAS(t, plan, "plan: nothing to change");
	T_CHECK(t, current(&r) == 1);
}

static void rollback_is_kept_by_a_boot_that_could_not_see_it(struct t *t)
{
	auto_t_root struct t_root r = machine();
	struct rouse_err e = { 0 };

	T_CHECK(t, back(&r, 0));
	T_CHECK(t,
		t_run_blind(
			&r, "closure",
			"{ \"rouse\": 1, \"caches\": { \"x\": { \"url\": \"file:///x\", \"keys\": "
			"\"x-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\" } }, "
			"\"system\": { \"path\": \"" B "\" } }",
			&e) == 0);
	T_CHECK(t, current(&r) == 1);
}

static void rollback_ends_with_another_document(struct t *t)
{
	auto_t_root struct t_root r = machine();
	struct rouse_err e = { 0 };

	T_CHECK(t, back(&r, 0));
	T_CHECK(t, t_run_module(&r, "closure", SYSTEM(C), true, NULL, &e) == 0);
	T_CHECK(t, current(&r) == 3 && t_run_is_done(&r, "closure", SYSTEM(C)));
	/* … for good: the first document is taken at its word again. */
	T_CHECK(t, t_run_module(&r, "closure", SYSTEM(B), true, NULL, &e) == 0);
	T_CHECK(t, current(&r) == 4 && t_run_is_done(&r, "closure", SYSTEM(B)));
}

static void rollback_ends_when_the_document_follows(struct t *t)
{
	auto_t_root struct t_root r = machine();
	auto_free char *plan = NULL;
	struct rouse_err e = { 0 };

	T_CHECK(t, back(&r, 0));
	T_CHECK(t, t_run_module(&r, "closure", SYSTEM(A), true, &plan, &e) == 0);
	T_HAS(t, plan, "forget the rollback from " B);
	T_CHECK(t, t_run_is_done(&r, "closure", SYSTEM(A)));
	T_CHECK(t, t_run_module(&r, "closure", SYSTEM(B), true, NULL, &e) == 0);
	T_CHECK(t, current(&r) != 1);
}

static void rollback_forward_ends_it(struct t *t)
{
	auto_t_root struct t_root r = machine();
	char from[ROUSE_SYSTEM_PATH_SIZE];
	struct rouse_err e = { 0 };

	T_CHECK(t, back(&r, 0) && back(&r, 1) && current(&r) == 2);
	T_CHECK(t, rouse_rollback_read(r.path, from, &e) == 0);
	T_STR(t, from, "");
}

static void second_rollback_is_from_the_document(struct t *t)
{
	auto_t_root struct t_root r = machine();
	char from[ROUSE_SYSTEM_PATH_SIZE];
	struct rouse_err e = { 0 };
	uint64_t n = 0;

	T_CHECK(t, rouse_generation_make(r.path, PROFILE, C, &n, &e) == 0 && n == 3);
	T_CHECK(t, back(&r, 1) && back(&r, 0) && current(&r) == 1);
	T_CHECK(t, rouse_rollback_read(r.path, from, &e) == 0);
	T_STR(t, from, C);
}

static void policy_keeps_what_may_be_needed(struct t *t)
{
	struct rouse_system items[] = {
		{ .number = 1, .path = A, .there = true, .time = 10, .healthy = 5 },
		{ .number = 2, .path = B, .there = true, .time = 20, .booted = true },
		{ .number = 3, .path = C, .there = true, .time = 30, .healthy = 1 },
		{ .number = 4, .path = B, .there = true, .time = 40, .current = true },
		{ .number = 5, .path = C, .there = true, .time = 50 },
		{ .number = 6, .path = LIB, .there = true, .time = 60 },
	};
	const struct rouse_systems s = { .items = items, .n = 6 };
	struct rouse_gc_policy p = { .keep = 1, .younger = INT64_MAX };
	bool del[6] = { 0 };

	rouse_gc_choose(&s, &p, del);
	T_CHECK(t, !del[0] && !del[1] && del[2] && !del[3] && del[4] && !del[5]);
	T_CHECK(t, rouse_gc_next(&s, &p, del) == 5);
	p.younger = 45; /* the fifth and the sixth are younger */
	rouse_gc_choose(&s, &p, del);
	T_CHECK(t, del[2] && !del[4] && !del[5]);
	T_CHECK(t, rouse_gc_next(&s, &p, del) == -1);
	p = (struct rouse_gc_policy){ .keep = 100, .younger = INT64_MAX };
	rouse_gc_choose(&s, &p, del);
	for (size_t i = 0; i < 6; i++)
		T_CHECK(t, !del[i]);
	T_CHECK(t, rouse_gc_next(&s, &p, del) == 2);
}

static void roots_are_found_in_any_text(struct t *t)
{
	static const char text[] = "PATH=" A "/bin:/mnt" B "\0x=" STORE "not-a-path" STORE
				   "\0/nix/store/2c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6";
	auto_paths struct rouse_paths roots = { 0 };

	rouse_roots_scan(&roots, text, sizeof(text) - 1);
	T_CHECK(t, roots.n == 2);
	T_CHECK(t, rouse_paths_find(&roots, "0c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6a"));
	T_CHECK(t, rouse_paths_find(&roots, "1c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6a"));
}

static void collector_waits_for_nobody_and_is_waited_for(struct t *t)
{
	const struct rouse_gc_policy p = { .keep = 1, .younger = INT64_MAX };
	auto_t_root struct t_root r = machine();
	struct rouse_err e = { 0 };
	auto_fd int hold = -1, second = -1;
	auto_gc struct rouse_gc *g = NULL;

	T_CHECK(t, rouse_store_hold(r.path, false, 0, &hold, &e) == 0 && hold >= 0);
	T_CHECK(t, rouse_gc_plan(r.path, &p, true, &g, &e) < 0 && e.kind == ROUSE_UNAVAILABLE);
	(void)close(take(hold, -1));
	T_CHECK(t, rouse_gc_plan(r.path, &p, true, &g, &e) == 0);
	T_CHECK(t,
		rouse_store_hold(r.path, false, 0, &second, &e) < 0 && e.kind == ROUSE_UNAVAILABLE);
}

T_MAIN(T(generations_are_listed_with_their_closures), T(no_generations_are_well),
       T(damaged_memory_is_forgotten_and_made_whole), T(last_mark_is_the_last_healthy),
       T(marks_are_bounded), T(rollback_goes_to_the_last_healthy),
       T(rollback_is_kept_while_the_document_is_the_same),
       T(rollback_is_kept_by_a_boot_that_could_not_see_it), T(rollback_ends_with_another_document),
       T(rollback_ends_when_the_document_follows), T(rollback_forward_ends_it),
       T(second_rollback_is_from_the_document), T(policy_keeps_what_may_be_needed),
       T(roots_are_found_in_any_text), T(collector_waits_for_nobody_and_is_waited_for))
