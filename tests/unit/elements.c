/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include <rouse/json.h>
#include <rouse/limits.h>

#include "../../modules/closure/conf.h"
#include "../../modules/closure/elements.h"

#define STORE "/nix/store/0c0k5l2vd9ixgzs4n1fy7yjv8gkq3h6a-"
#define V2(elements) "{\"elements\":[" elements "],\"version\":2}"
#define EL(name) "{\"active\":true,\"storePaths\":[\"" STORE name "\"]}"

static struct rouse_pair made_a[] = { { STORE "a", "a" } };
static const struct rouse_list none, a_is_made = { 1, made_a };

struct fixture {
	struct rouse_arena arena;
	json_t *json;
	struct rouse_elements is, next;
	struct rouse_element_step *steps;
	size_t n;
	char *text;
	struct rouse_err e;
};

static void fixture_done(struct fixture *f)
{
	free(f->text);
	json_decref(f->json);
	rouse_arena_done(&f->arena);
}
#define auto_fixture __attribute__((cleanup(fixture_done)))

static bool parse(struct fixture *f, const char *text)
{
	return rouse_elements_parse(&f->is, "manifest.json", text, strlen(text), &f->arena,
				    &f->json, &f->e) == 0;
}

static void merge(struct fixture *f, const struct rouse_list *made, struct closure_pin *wanted,
		  size_t n)
{
	struct rouse_list list = { n, wanted };

	f->next = rouse_elements_merge(&f->is, made, &list, &f->arena, &f->steps, &f->n);
	f->text = rouse_elements_print(&f->next);
}

static void elements_of_every_version_are_read(struct t *t)
{
	auto_fixture struct fixture f = { 0 }, g = { 0 }, h = { 0 };

	T_CHECK(t, parse(&f, "{\"version\":1,\"elements\":[" EL("a") "]}") && f.is.n == 1);
	T_CHECK(t, parse(&g, V2(EL("a") "," EL("b"))) && g.is.n == 2);
	T_CHECK(t, parse(&h, "{\"version\":3,\"elements\":{\"x\":" EL("a") "}}") && h.is.n == 1);
	T_STR(t, h.is.items[0].name, "x");
}

static void elements_refuse_what_is_none(struct t *t)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		"{\"version\":0,\"elements\":[]}",
		"{\"version\":4,\"elements\":{}}",
		"{\"version\":2,\"elements\":{}}",
		"{\"version\":3,\"elements\":[]}",
		V2("1"),
		V2("{}"),
		V2("{\"storePaths\":[1]}"),
		V2("{\"storePaths\":[\"/etc/shadow\"]}"),
		V2("{\"storePaths\":[\"" STORE "a/../b\"]}"),
		V2("{\"storePaths\":[],\"priority\":\"5\"}"),
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		auto_fixture struct fixture f = { 0 };

		T_CHECK(t, !parse(&f, bad[i]));
		T_CHECK(t, f.e.kind == ROUSE_SYSTEM && !f.json);
	}
}

static void elements_have_a_limit(struct t *t)
{
	for (size_t more = 0; more < 2; more++) {
		auto_fixture struct fixture f = { 0 };
		auto_buf struct rouse_buf text = { 0 };

		rouse_buf_printf(&text, "{\"version\":2,\"elements\":[");
		for (size_t i = 0; i < ROUSE_MAX_ELEMENTS + more; i++)
			rouse_buf_printf(&text, "%s%s", i ? "," : "", EL("a"));
		rouse_buf_printf(&text, "]}");
		T_CHECK(t, parse(&f, text.data) == !more);
	}
}

static void merge_of_nothing_is_version_2(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	struct closure_pin want[] = { { .key = "a", .path = STORE "a" } };

	merge(&f, &none, want, 1);
	T_STR(t, f.text, V2(EL("a")));
	T_CHECK(t, f.n == 1 && f.steps[0].change == ROUSE_ELEMENT_ADD);
}

static void merge_leaves_what_is_right(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	struct closure_pin want[] = { { .key = "a", .path = STORE "a", .priority = 5 } };

	T_CHECK(t, parse(&f, V2(EL("own") "," EL("a"))));
	merge(&f, &a_is_made, want, 1);
	T_CHECK(t, f.n == 0);
	T_STR(t, f.text, V2(EL("own") "," EL("a")));
}

static void merge_updates_in_place(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	struct closure_pin want[] = { { .key = "a", .path = STORE "a-2", .priority = 3 } };

	T_CHECK(t, parse(&f, V2(EL("a") "," EL("own"))));
	merge(&f, &a_is_made, want, 1);
	T_CHECK(t, f.n == 1 && f.steps[0].change == ROUSE_ELEMENT_UPDATE);
	T_STR(t, f.text,
	      V2("{\"active\":true,\"priority\":3,\"storePaths\":[\"" STORE "a-2\"]}," EL("own")));
}

static void merge_removes_only_what_is_ours(struct t *t)
{
	auto_fixture struct fixture f = { 0 };

	T_CHECK(t, parse(&f, V2(EL("a") "," EL("own"))));
	merge(&f, &a_is_made, NULL, 0);
	T_CHECK(t, f.n == 1 && f.steps[0].change == ROUSE_ELEMENT_REMOVE);
	T_STR(t, f.text, V2(EL("own")));
}

static void merge_needs_no_second_of_a_users_own(struct t *t)
{
	auto_fixture struct fixture f = { 0 }, g = { 0 };
	struct closure_pin want[] = { { .key = "a", .path = STORE "own" } };

	T_CHECK(t, parse(&f, V2(EL("own"))));
	merge(&f, &none, want, 1);
	T_CHECK(t, f.n == 0);
	/* Neither when ours would become the same. */
	T_CHECK(t, parse(&g, V2(EL("a") "," EL("own"))));
	merge(&g, &a_is_made, want, 1);
	T_CHECK(t, g.n == 1 && g.steps[0].change == ROUSE_ELEMENT_REMOVE);
	T_STR(t, g.text, V2(EL("own")));
}

static void merge_keeps_what_it_does_not_know(struct t *t)
{
	static const char text[] =
		"{\"elements\":{\"a\":{\"active\":true,\"new\":{\"x\":1},\"storePaths\":[\"" STORE
		"own\"]}},\"version\":3}";
	auto_fixture struct fixture f = { 0 };
	struct closure_pin want[] = { { .key = "a", .path = STORE "a" } };

	T_CHECK(t, parse(&f, text));
	merge(&f, &none, want, 1);
	T_HAS(t, f.text, "\"a\":{\"active\":true,\"new\":{\"x\":1}");
	T_HAS(t, f.text, "\"a-1\":" EL("a"));
}

T_MAIN(T(elements_of_every_version_are_read), T(elements_refuse_what_is_none),
       T(elements_have_a_limit), T(merge_of_nothing_is_version_2), T(merge_leaves_what_is_right),
       T(merge_updates_in_place), T(merge_removes_only_what_is_ours),
       T(merge_needs_no_second_of_a_users_own), T(merge_keeps_what_it_does_not_know))
