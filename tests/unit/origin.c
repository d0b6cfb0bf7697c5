/* SPDX-License-Identifier: Apache-2.0 */
#include "../../agent/origin.h"

#include <rouse/json.h>

#include "../lib/tap.h"

struct lines {
	struct rouse_buf buf;
};

static void collect(void *arg, const struct rouse_origin *o)
{
	struct lines *l = arg;
	auto_free char *text = json_dumps(o->value, JSON_ENCODE_ANY | JSON_COMPACT);

	rouse_buf_printf(&l->buf, "%s:%u:%u %s=%s\n", o->layer ? o->layer : "?", o->line, o->column,
			 o->path, o->secret ? "secret" : text);
}

/* What is said of up to three layers. */
static bool origins(const char *base, const char *doc, const char *over, struct rouse_buf *ret)
{
	const char *const names[] = { "base", "doc", "over" }, *const texts[] = { base, doc, over };
	auto_document struct rouse_document d = { 0 };
	struct rouse_err e = { 0 };
	struct lines l = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (texts[i] &&
		    rouse_document_add(&d, names[i], texts[i], strlen(texts[i]), false, &e) < 0)
			return false;
	if (rouse_document_finish(&d, NULL, &e) < 0) {
		printf("# %s\n", e.text);
		return false;
	}
	rouse_document_origins(&d, collect, &l);
	*ret = l.buf;
	return true;
}

static void value_comes_from_the_highest_layer_that_has_it(struct t *t)
{
	auto_buf struct rouse_buf out = { 0 };

	T_CHECK(t, origins("{\"rouse\":1,\n \"hostname\":\"a\"}",
			   "{\"rouse\":1,\"users\":{\"amy\":{\"uid\":2000}}}",
			   "{\n\n  \"hostname\" :\t\"b\" }", &out));
	T_STR(t, out.data,
	      "doc:1:10 rouse=1\nover:3:16 hostname=\"b\"\ndoc:1:34 users.amy.uid=2000\n");
}

static void null_takes_all_of_a_value(struct t *t)
{
	auto_buf struct rouse_buf out = { 0 };

	T_CHECK(t,
		origins("{\"rouse\":1,\"users\":{\"amy\":{\"uid\":2000},\"bob\":{\"uid\":2001}}}",
			"{\"users\":{\"amy\":null}}", "{\"users\":{\"amy\":{\"home\":\"/a\"}}}",
			&out));
	T_STR(t, out.data,
	      "base:1:10 rouse=1\nbase:1:53 users.bob.uid=2001\nover:1:25 users.amy.home=\"/a\"\n");
}

static void list_is_replaced_whole(struct t *t)
{
	auto_buf struct rouse_buf out = { 0 };

	T_CHECK(t, origins("{\"rouse\":1,\"users\":{\"amy\":{\"groups\":[\"a\",\"b\",\"c\"]}}}",
			   NULL, "{\"users\":{\"amy\":{\"groups\":[\n\"d\"]}}}", &out));
	T_STR(t, out.data, "base:1:10 rouse=1\nover:2:1 users.amy.groups[0]=\"d\"\n");
}

static void escapes_do_not_move_places(struct t *t)
{
	auto_buf struct rouse_buf out = { 0 };

	T_CHECK(t, origins("{\"\\u0072ouse\":1,\"hostname\":\"\\u0061\", \"files\":{\"/a\\\"]}\":"
			   "{\"contents\":\"],}\\\\\",\"mode\":\"0600\"}}}",
			   NULL, NULL, &out));
	T_HAS(t, out.data, "base:1:15 rouse=1\nbase:1:28 hostname=\"a\"\n");
	T_HAS(t, out.data, "base:1:68 files[\"/a\"]}\"].contents=secret\n");
	T_HAS(t, out.data, "base:1:83 files[\"/a\"]}\"].mode=\"0600\"\n");
}

static void empty_objects_have_a_place(struct t *t)
{
	auto_buf struct rouse_buf out = { 0 };

	T_CHECK(t, origins("{\"rouse\":1,\"users\":{\"amy\":{}}}", "{\"users\":{\"amy\":{}}}", NULL,
			   &out));
	T_HAS(t, out.data, "doc:1:17 users.amy={}\n");
}

T_MAIN(T(value_comes_from_the_highest_layer_that_has_it), T(null_takes_all_of_a_value),
       T(list_is_replaced_whole), T(escapes_do_not_move_places), T(empty_objects_have_a_place))
