/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/json.h>

#include "../lib/tap.h"

static bool refuses(const char *text, const char *part, char *got, size_t size)
{
	struct rouse_err e = { 0 };
	auto_json json_t *j = rouse_json_parse("doc", text, strlen(text), &e);

	(void)snprintf(got, size, "%.200s", e.text);
	return !j && e.kind == ROUSE_DOCUMENT && strstr(e.text, part);
}

static void parser_says_where(struct t *t)
{
	char got[256];

	T_CHECK(t, refuses("{\"a\":1,\n\"a\":2}", "doc:2:", got, sizeof(got)));
	T_HAS(t, got, "duplicate");
	T_CHECK(t, refuses("{\"a\":", "doc:1:", got, sizeof(got)));
	T_CHECK(t, refuses("{} x", "doc:1:", got, sizeof(got)));
	T_CHECK(t, refuses("", "the text is empty", got, sizeof(got)));
	T_CHECK(t, refuses("{\"a\":\"\\u0000\"}", "doc:1:", got, sizeof(got)));
	T_CHECK(t, refuses("{\"a\":\"\xff\"}", "doc:1:", got, sizeof(got)));
}

static void parser_bounds_nesting(struct t *t)
{
	char text[200], got[256];
	struct rouse_err e = { 0 };

	memset(text, '[', 64);
	memset(text + 64, ']', 64);
	{
		auto_json json_t *j = rouse_json_parse("doc", text, 128, &e);

		T_CHECK(t, j);
	}
	memset(text, '[', 65);
	memset(text + 65, ']', 65);
	text[130] = '\0';
	T_CHECK(t, refuses(text, "nested more than 64 levels", got, sizeof(got)));
	/* brackets in strings are no nesting */
	memset(text, '[', 100);
	text[0] = text[99] = '"';
	text[100] = '\0';
	T_CHECK(t, !refuses(text, "nested", got, sizeof(got)));
}

static void locate_finds_values_and_keys(struct t *t)
{
	static const char text[] =
		"{\n  \"a\": { \"b\\u0063\": [ 1,\n    {\"d\" : true} ] },\n  \"e]\": \"}\"\n}\n";
	static const char *const path[] = { "a", "bc", "#1", "d" };
	static const char *const quoted[] = { "e]" };
	unsigned line = 0, column = 0;

	T_CHECK(t, rouse_json_locate(text, strlen(text), path, 4, false, &line, &column));
	T_CHECK(t, line == 3 && column == 12);
	T_CHECK(t, rouse_json_locate(text, strlen(text), path, 4, true, &line, &column));
	T_CHECK(t, line == 3 && column == 6);
	T_CHECK(t, rouse_json_locate(text, strlen(text), path, 3, false, &line, &column));
	T_CHECK(t, line == 3 && column == 5);
	T_CHECK(t, rouse_json_locate(text, strlen(text), quoted, 1, false, &line, &column));
	T_CHECK(t, line == 4 && column == 9);
	T_CHECK(t, rouse_json_locate(text, strlen(text), path, 0, false, &line, &column));
	T_CHECK(t, line == 1 && column == 1);
}

static void locate_knows_what_is_absent(struct t *t)
{
	static const char text[] = "{ \"a\": [1, 2] }";
	static const char *const missing[] = { "b" }, *const beyond[] = { "a", "#2" },
				 *const deeper[] = { "a", "x" };
	unsigned line = 0, column = 0;

	T_CHECK(t, !rouse_json_locate(text, strlen(text), missing, 1, false, &line, &column));
	T_CHECK(t, !rouse_json_locate(text, strlen(text), beyond, 2, false, &line, &column));
	T_CHECK(t, !rouse_json_locate(text, strlen(text), deeper, 2, false, &line, &column));
}

/* The examples of RFC 7396, appendix A. */
static void merge_patch_follows_the_rfc(struct t *t)
{
	static const char *const cases[][3] = {
		{ "{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
		{ "{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}" },
		{ "{\"a\":\"b\"}", "{\"a\":null}", "{}" },
		{ "{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}" },
		{ "{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
		{ "{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}" },
		{ "{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}",
		  "{\"a\":{\"b\":\"d\"}}" },
		{ "{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}" },
		{ "[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]" },
		{ "{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]" },
		{ "{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}" },
		{ "[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}" },
		{ "{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_json json_t *target = json_loads(cases[i][0], 0, NULL),
				 *patch = json_loads(cases[i][1], 0, NULL);
		auto_json json_t *want = json_loads(cases[i][2], 0, NULL);

		rouse_json_merge(&target, patch);
		T_CHECK(t, json_equal(target, want));
	}
}

T_MAIN(T(parser_says_where), T(parser_bounds_nesting), T(locate_finds_values_and_keys),
       T(locate_knows_what_is_absent), T(merge_patch_follows_the_rfc))
