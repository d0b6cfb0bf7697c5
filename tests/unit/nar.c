/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include <rouse/mem.h>

#include "../../modules/closure/nar.h"

/* Archives are written as words: each becomes length, bytes and padding. */
static void add(struct rouse_buf *b, const char *s, size_t len)
{
	unsigned char head[8] = { 0 };
	static const char zero[8];

	for (unsigned i = 0; i < 8; i++)
		head[i] = (unsigned char)((uint64_t)len >> (8 * i));
	if (rouse_buf_add(b, head, 8, SIZE_MAX / 4) < 0 ||
	    rouse_buf_add(b, s, len, SIZE_MAX / 4) < 0 ||
	    rouse_buf_add(b, zero, (8 - len % 8) % 8, SIZE_MAX / 4) < 0)
		abort();
}

/* Words are separated by blanks; "_" is the empty word. */
static void words(struct rouse_buf *b, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, " ");

		add(b, text, n == 1 && *text == '_' ? 0 : n);
		text += n;
		text += *text == ' ';
	}
}

/* The events of an archive as text, to compare. */
static int on_directory(void *arg, const char *name, struct rouse_err *e unused_arg)
{
	rouse_buf_printf(arg, "%s{", name ? name : "-");
	return 0;
}

static int on_leave(void *arg, struct rouse_err *e unused_arg)
{
	rouse_buf_printf(arg, "}");
	return 0;
}

static int on_file(void *arg, const char *name, bool executable, uint64_t size,
		   struct rouse_err *e unused_arg)
{
	rouse_buf_printf(arg, "%s%s%u:", name ? name : "-", executable ? "*" : "=", (unsigned)size);
	return 0;
}

static int on_data(void *arg, const void *data, size_t n, struct rouse_err *e unused_arg)
{
	return rouse_buf_add(arg, data, n, SIZE_MAX / 4);
}

static int on_file_end(void *arg, struct rouse_err *e unused_arg)
{
	rouse_buf_printf(arg, ";");
	return 0;
}

static int on_symlink(void *arg, const char *name, const char *target,
		      struct rouse_err *e unused_arg)
{
	rouse_buf_printf(arg, "%s->%s;", name ? name : "-", target);
	return 0;
}

static const struct rouse_nar_ops ops = { on_directory, on_leave,    on_file,
					  on_data,      on_file_end, on_symlink };

static int parse(const struct rouse_buf *b, uint64_t size, size_t step, struct rouse_buf *out,
		 struct rouse_err *e)
{
	struct rouse_nar n;

	rouse_nar_begin(&n, size, &ops, out);
	for (size_t i = 0; i < b->len; i += step) {
		size_t k = b->len - i < step ? b->len - i : step;

		if (rouse_nar_feed(&n, b->data + i, k, e) < 0)
			return -1;
	}
	return rouse_nar_end(&n, e);
}

static int parse_words(const char *text, struct rouse_buf *out, struct rouse_err *e)
{
	auto_buf struct rouse_buf b = { 0 };

	words(&b, text);
	return parse(&b, b.len, 1 << 16, out, e);
}

#define BEGIN "nix-archive-1 ( type "
#define TREE                                                                                       \
	BEGIN "directory entry ( name a node ( type regular contents hello ) ) "                   \
	      "entry ( name b node ( type directory entry ( name x node ( type regular "           \
	      "executable _ "                                                                      \
	      "contents _ ) ) ) ) entry ( name c node ( type symlink target ../y ) ) )"
#define TREE_EVENTS "-{a=5:hello;b{x*0:;}c->../y;}"

static void nar_yields_the_tree(struct t *t)
{
	auto_buf struct rouse_buf out = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, parse_words(TREE, &out, &e) == 0);
	T_STR(t, out.data, TREE_EVENTS);
}

static void nar_does_not_care_how_bytes_arrive(struct t *t)
{
	auto_buf struct rouse_buf b = { 0 };
	struct rouse_err e = { 0 };

	words(&b, TREE);
	for (size_t step = 1; step < 70; step++) {
		auto_buf struct rouse_buf out = { 0 };

		T_CHECK(t, parse(&b, b.len, step, &out, &e) == 0);
		T_STR(t, out.data, TREE_EVENTS);
	}
}

static void nar_root_may_be_file_or_symlink(struct t *t)
{
	auto_buf struct rouse_buf out = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, parse_words(BEGIN "regular contents 12345678 )", &out, &e) == 0);
	T_CHECK(t, parse_words(BEGIN "symlink target x )", &out, &e) == 0);
	T_CHECK(t, parse_words(BEGIN "directory )", &out, &e) == 0);
	T_STR(t, out.data, "-=8:12345678;-->x;-{}");
}

static void nar_refuses_every_truncation(struct t *t)
{
	auto_buf struct rouse_buf b = { 0 };

	words(&b, TREE);
	for (size_t len = 0; len < b.len; len++) {
		auto_buf struct rouse_buf out = { 0 };
		struct rouse_buf cut = { .data = b.data, .len = len };
		struct rouse_err e = { 0 };

		T_CHECK(t, parse(&cut, b.len, 16, &out, &e) < 0);
		T_CHECK(t, parse(&cut, len, 16, &out, &e) < 0);
		T_CHECK(t, e.kind == ROUSE_UNTRUSTED);
	}
}

static void nar_refuses_bytes_behind_its_end(struct t *t)
{
	auto_buf struct rouse_buf b = { 0 }, out = { 0 };
	struct rouse_err e = { 0 };
	size_t len;

	words(&b, TREE);
	len = b.len;
	words(&b, "x");
	T_CHECK(t, parse(&b, b.len, 4096, &out, &e) < 0);
	T_CHECK(t, parse(&b, len, 4096, &out, &e) < 0);
	b.len = len;
	T_CHECK(t, parse(&b, len + 8, 4096, &out, &e) < 0);
	T_HAS(t, e.text, "shorter");
}

static void nar_refuses_malformed(struct t *t)
{
	static const char *const bad[] = {
		"nix-archive-2 ( type directory )",
		"nix-archive-1 ( kind directory )",
		BEGIN "fifo )",
		BEGIN "regular )",                         /* no contents */
		BEGIN "regular contents a executable _ )", /* order */
		BEGIN "regular executable x contents a )",
		BEGIN "regular executable _ executable _ contents a )",
		BEGIN "symlink target _ )",
		BEGIN "symlink )",
		BEGIN "directory entry ( name a node ( type directory ) )",
		BEGIN "directory entry ( node ( type directory ) name a ) )",
		BEGIN "directory entry ( name . node ( type directory ) ) )",
		BEGIN "directory entry ( name .. node ( type directory ) ) )",
		BEGIN "directory entry ( name _ node ( type directory ) ) )",
		BEGIN "directory entry ( name a/b node ( type directory ) ) )",
		BEGIN "directory entry ( name / node ( type directory ) ) )",
		BEGIN "directory entry ( name a node ( type symlink target / ) ) "
		      "entry ( name a node ( type directory ) ) )", /* CVE-2024-45593 */
		BEGIN "directory entry ( name b node ( type directory ) ) "
		      "entry ( name a node ( type directory ) ) )",
		BEGIN "directory directory )",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		auto_buf struct rouse_buf out = { 0 };
		struct rouse_err e = { 0 };

		if (parse_words(bad[i], &out, &e) == 0)
			printf("# accepted: %s\n", bad[i]);
		T_CHECK(t, parse_words(bad[i], &out, &e) < 0);
		T_CHECK(t, e.kind == ROUSE_UNTRUSTED);
	}
}

/* A directory with one file of this name. */
static int parse_name(const char *name, size_t len)
{
	auto_buf struct rouse_buf b = { 0 }, out = { 0 };
	struct rouse_err e = { 0 };

	words(&b, BEGIN "directory entry ( name");
	add(&b, name, len);
	words(&b, "node ( type regular contents x ) ) )");
	return parse(&b, b.len, 4096, &out, &e);
}

static void nar_names_are_any_bytes_up_to_255(struct t *t)
{
	char name[256];

	memset(name, 'n', sizeof(name));
	T_CHECK(t, parse_name(name, 255) == 0);
	T_CHECK(t, parse_name(name, 256) < 0);
	T_CHECK(t, parse_name("a\nb", 3) == 0);
	T_CHECK(t, parse_name("\xff\xfe", 2) == 0);
	T_CHECK(t, parse_name("...", 3) == 0);
	T_CHECK(t, parse_name(" ", 1) == 0);
	T_CHECK(t, parse_name("a\0b", 3) < 0);
	T_CHECK(t, parse_name("..\0", 3) < 0);
}

static void nar_orders_names_as_unsigned_bytes(struct t *t)
{
	auto_buf struct rouse_buf out = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, parse_words(BEGIN "directory entry ( name z node ( type directory ) ) "
				     "entry ( name \xc3\xa4 node ( type directory ) ) )",
			       &out, &e) == 0);
	T_CHECK(t, parse_words(BEGIN "directory entry ( name a node ( type directory ) ) "
				     "entry ( name ab node ( type directory ) ) )",
			       &out, &e) == 0);
}

static void nar_targets_end_at_4095(struct t *t)
{
	static char target[4097];

	memset(target, 't', sizeof(target));
	for (size_t len = 4095; len <= 4096; len++) {
		auto_buf struct rouse_buf b = { 0 }, out = { 0 };
		struct rouse_err e = { 0 };

		words(&b, BEGIN "symlink target");
		add(&b, target, len);
		words(&b, ")");
		T_CHECK(t, (parse(&b, b.len, 100, &out, &e) == 0) == (len == 4095));
	}
}

static void nar_nests_64_nodes_and_no_more(struct t *t)
{
	for (unsigned nodes = 63; nodes <= 65; nodes++) {
		auto_buf struct rouse_buf b = { 0 }, out = { 0 };
		struct rouse_err e = { 0 };

		words(&b, BEGIN "directory");
		for (unsigned i = 1; i < nodes; i++)
			words(&b, "entry ( name d node ( type directory");
		for (unsigned i = 1; i < nodes; i++)
			words(&b, ") )");
		words(&b, ")");
		T_CHECK(t, (parse(&b, b.len, 1000, &out, &e) == 0) == (nodes <= 64));
	}
}

static void nar_refuses_padding_that_is_not_zero(struct t *t)
{
	auto_buf struct rouse_buf b = { 0 }, out = { 0 };
	struct rouse_err e = { 0 };
	char *p;

	words(&b, BEGIN "regular contents hello )");
	p = memmem(b.data, b.len, "hello", 5);
	p[7] = 1;
	T_CHECK(t, parse(&b, b.len, 4096, &out, &e) < 0);
	T_HAS(t, e.text, "padding");
}

static void nar_refuses_huge_lengths(struct t *t)
{
	static const char *const places[] = { BEGIN "regular contents", BEGIN "symlink target",
					      BEGIN "directory entry ( name", BEGIN, "" };

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		auto_buf struct rouse_buf b = { 0 }, out = { 0 };
		struct rouse_err e = { 0 };
		const unsigned char huge[8] = { 0xf8, 255, 255, 255, 255, 255, 255, 255 };

		words(&b, places[i]);
		T_CHECK(t, rouse_buf_add(&b, huge, 8, SIZE_MAX / 4) == 0);
		T_CHECK(t, parse(&b, b.len + 4096, 4096, &out, &e) < 0);
		T_CHECK(t, e.kind == ROUSE_UNTRUSTED);
	}
}

T_MAIN(T(nar_yields_the_tree), T(nar_does_not_care_how_bytes_arrive),
       T(nar_root_may_be_file_or_symlink), T(nar_refuses_every_truncation),
       T(nar_refuses_bytes_behind_its_end), T(nar_refuses_malformed),
       T(nar_names_are_any_bytes_up_to_255), T(nar_orders_names_as_unsigned_bytes),
       T(nar_targets_end_at_4095), T(nar_nests_64_nodes_and_no_more),
       T(nar_refuses_padding_that_is_not_zero), T(nar_refuses_huge_lengths))
