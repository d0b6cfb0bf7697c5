/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/json.h>

#include "../lib/tap.h"

/* A generator of our own: the same trees on every machine. */
static unsigned next(unsigned *seed, unsigned bound)
{
	*seed = *seed * 1103515245u + 12345u;
	return (*seed >> 16) % bound;
}

static json_t *any(unsigned *seed, int depth, bool in_list)
{
	static const char *const keys[] = { "a", "b", "c", "/", "" };
	unsigned kind = next(seed, depth ? 7 : 4), n = next(seed, 5);
	json_t *j;

	switch (kind) {
	case 0:
		return json_integer(next(seed, 3));
	case 1:
		return json_string(keys[next(seed, 5)]);
	case 2:
		return json_boolean(next(seed, 2));
	case 3:
		return in_list ? json_null() : json_real(0.5);
	case 4:
		j = json_array();
		while (n--)
			rouse_json_append(j, any(seed, depth - 1, true));
		return j;
	default:
		j = json_object();
		while (n--)
			rouse_json_set(j, keys[next(seed, 5)], any(seed, depth - 1, in_list));
		return j;
	}
}

static bool holds(const json_t *a, const json_t *b)
{
	auto_json json_t *patch = rouse_json_diff(a, b), *merged = json_deep_copy(a);
	auto_free char *from = json_dumps(a, JSON_ENCODE_ANY), *to = json_dumps(b, JSON_ENCODE_ANY);

	rouse_json_merge(&merged, patch);
	if (json_equal(merged, b))
		return true;
	printf("# %s to %s\n", from, to);
	return false;
}

static void merging_a_diff_gives_the_other(struct t *t)
{
	unsigned seed = 1;

	for (int i = 0; i < 20000; i++) {
		auto_json json_t *a = any(&seed, 4, false), *b = any(&seed, 4, false);

		T_CHECK(t, holds(a, b) && holds(b, a) && holds(a, a));
	}
}

static bool diff_is(const char *a, const char *b, const char *want)
{
	auto_json json_t *from = json_loads(a, JSON_DECODE_ANY, NULL),
			 *to = json_loads(b, JSON_DECODE_ANY, NULL),
			 *patch = rouse_json_diff(from, to);
	auto_free char *got = json_dumps(patch, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);

	if (strcmp(got, want) == 0)
		return true;
	printf("# %s to %s is %s\n", a, b, got);
	return false;
}

static void diff_says_no_more_than_needed(struct t *t)
{
	T_CHECK(t, diff_is("{\"a\":1,\"b\":{\"c\":[1],\"d\":2}}",
			   "{\"a\":1,\"b\":{\"c\":[1,2],\"d\":2}}", "{\"b\":{\"c\":[1,2]}}"));
	T_CHECK(t, diff_is("{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}", "{}"));
	T_CHECK(t, diff_is("{\"a\":{\"b\":1}}", "{\"a\":{}}", "{\"a\":{\"b\":null}}"));
	T_CHECK(t, diff_is("{\"a\":1}", "{}", "{\"a\":null}"));
	T_CHECK(t, diff_is("{}", "{\"a\":{}}", "{\"a\":{}}"));
	T_CHECK(t, diff_is("{\"a\":[1]}", "{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}"));
	T_CHECK(t, diff_is("{\"a\":[null]}", "{\"a\":[{\"b\":null}]}", "{\"a\":[{\"b\":null}]}"));
}

static void nothing_becomes_all_of_it(struct t *t)
{
	auto_json json_t *b = json_pack("{s{si}}", "a", "b", 1), *patch = rouse_json_diff(NULL, b);

	T_CHECK(t, json_equal(patch, b));
}

T_MAIN(T(merging_a_diff_gives_the_other), T(diff_says_no_more_than_needed),
       T(nothing_becomes_all_of_it))
