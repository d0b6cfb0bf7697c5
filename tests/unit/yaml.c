/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/yaml.h>

#include <rouse/json.h>
#include <rouse/limits.h>

#include "../lib/tap.h"

/* The text as compact JSON, or the error; the caller frees. */
static char *parse(const char *text)
{
	struct rouse_err e = { 0 };
	auto_json json_t *j = rouse_yaml_parse("t", text, strlen(text), &e);

	return j ? json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY) : rouse_strdup(e.text);
}

static void what_people_write_is_read(struct t *t)
{
	static const struct {
		const char *yaml, *json;
	} cases[] = {
		{ "", "null" },
		{ "# nothing\n\n", "null" },
		{ "a: 1", "{\"a\":\"1\"}" },
		{ "---\na: 1\nb:\n  c: d e\n  f:\n",
		  "{\"a\":\"1\",\"b\":{\"c\":\"d e\",\"f\":null}}" },
		{ "- a\n- - b\n  - c\n-\n  d: e\n", "[\"a\",[\"b\",\"c\"],{\"d\":\"e\"}]" },
		{ "a:\n- b: 1\n  c: 2\n- b: 3\n",
		  "{\"a\":[{\"b\":\"1\",\"c\":\"2\"},{\"b\":\"3\"}]}" },
		{ "a: [1, \"x, y\", {b: c, \"d\": []}]\r\n",
		  "{\"a\":[\"1\",\"x, y\",{\"b\":\"c\",\"d\":[]}]}" },
		{ "mac: 52:54:00:12:34:56 # card\n", "{\"mac\":\"52:54:00:12:34:56\"}" },
		{ "a: 'it''s' \nb: \"q\\\"\\\\\"\n", "{\"a\":\"it's\",\"b\":\"q\\\"\\\\\"}" },
		{ "\"k: x\": 2001:db8::1/64\n", "{\"k: x\":\"2001:db8::1/64\"}" },
		{ "{\"a\": \"b\", \"c\": [\"d\"]}", "{\"a\":\"b\",\"c\":[\"d\"]}" },
		{ "a: a#b\nc: \"#\" # d\n", "{\"a\":\"a#b\",\"c\":\"#\"}" },
		{ "a: ~\nb: null\n", "{\"a\":null,\"b\":null}" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *got = parse(cases[i].yaml);

		T_STR(t, got, cases[i].json);
	}
}

static void what_could_mean_something_else_is_refused(struct t *t)
{
	static const struct {
		const char *yaml, *why;
	} cases[] = {
		{ "a: 1\na: 2\n", "t:2: a key that is not text, or stands there twice" },
		{ "a:\n\tb: 1\n", "t:2: a tab" },
		{ "a: &x 1\n", "t:1: anchors" },
		{ "a: *x\n", "t:1: anchors" },
		{ "a: !!int 1\n", "t:1: anchors" },
		{ "a: |\n  hunter2\n", "t:1: anchors" },
		{ "a: [1, 2\n", "t:1: a bracket" },
		{ "a: [1\n  2]\n", "t:1: a bracket" },
		{ "a: {b}\n", "t:1: no \":\"" },
		{ "a: \"hunter2\n", "t:1: a quoted value does not end" },
		{ "a: \"\\u0041\"\n", "t:1: an escape" },
		{ "a: \"b\" c\n", "t:1: something behind" },
		{ "a: 1\n  b: 2\n", "t:2: this line is indented" },
		{ "a:\n    b: 1\n  c: 2\n", "t:3: this line is indented" },
		{ "a\n", "t:1: neither" },
		{ "- a\nb: c\n", "t:2: this line" },
		{ "a: \xff\n", "t:1: not UTF-8" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *got = parse(cases[i].yaml);

		T_HAS(t, got, cases[i].why);
		T_CHECK(t, !strstr(got, "hunter2"));
	}
}

static void lines_and_depth_have_limits(struct t *t)
{
	for (unsigned n = ROUSE_MAX_YAML_LINES; n <= ROUSE_MAX_YAML_LINES + 1; n++) {
		auto_buf struct rouse_buf text = { 0 };
		auto_free char *got = NULL;

		for (unsigned i = 0; i < n; i++)
			rouse_buf_printf(&text, "- a\n");
		got = parse(text.data);
		T_CHECK(t, (strstr(got, "too many lines") != NULL) == (n > ROUSE_MAX_YAML_LINES));
	}
	for (unsigned n = ROUSE_MAX_YAML_DEPTH; n <= ROUSE_MAX_YAML_DEPTH + 1; n++) {
		auto_buf struct rouse_buf flow = { 0 }, block = { 0 };
		auto_free char *a = NULL, *b = NULL;

		for (unsigned i = 0; i < n; i++) {
			rouse_buf_printf(&flow, "[");
			rouse_buf_printf(&block, "%*s-\n", (int)i, "");
		}
		for (unsigned i = 0; i < n; i++)
			rouse_buf_printf(&flow, "]");
		a = parse(flow.data);
		b = parse(block.data);
		T_CHECK(t, (strstr(a, "too deep") != NULL) == (n > ROUSE_MAX_YAML_DEPTH));
		T_CHECK(t, (strstr(b, "too deep") != NULL) == (n > ROUSE_MAX_YAML_DEPTH));
	}
}

T_MAIN(T(what_people_write_is_read), T(what_could_mean_something_else_is_refused),
       T(lines_and_depth_have_limits))
