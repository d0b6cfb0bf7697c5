/* SPDX-License-Identifier: Apache-2.0 */
/* A NAR: what comes out is a tree, and cutting the bytes differently changes nothing. */
#include "fuzz.h"

#include <rouse/mem.h>

#include "../../modules/closure/nar.h"

struct tree {
	unsigned depth;
	bool in_file;
	uint64_t left; /* of the open file */
	struct rouse_buf log;
};

static void check_name(const struct tree *t, const char *name)
{
	HOLDS(!t->in_file && !name == !t->depth);
	if (name)
		HOLDS(*name && strlen(name) <= ROUSE_NAR_NAME && !strchr(name, '/') &&
		      strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
}

static int on_directory(void *arg, const char *name, struct rouse_err *e unused_arg)
{
	struct tree *t = arg;

	check_name(t, name);
	HOLDS(++t->depth <= ROUSE_MAX_NAR_DEPTH);
	rouse_buf_printf(&t->log, "d%s\n", name ? name : "");
	return 0;
}

static int on_leave(void *arg, struct rouse_err *e unused_arg)
{
	struct tree *t = arg;

	HOLDS(!t->in_file && t->depth);
	t->depth--;
	rouse_buf_printf(&t->log, "u\n");
	return 0;
}

static int on_file(void *arg, const char *name, bool executable, uint64_t size,
		   struct rouse_err *e unused_arg)
{
	struct tree *t = arg;

	check_name(t, name);
	t->in_file = true;
	t->left = size;
	rouse_buf_printf(&t->log, "f%s %d %llu\n", name ? name : "", executable,
			 (unsigned long long)size);
	return 0;
}

static int on_data(void *arg, const void *data, size_t n, struct rouse_err *e unused_arg)
{
	struct tree *t = arg;

	HOLDS(t->in_file && n <= t->left);
	t->left -= n;
	return rouse_buf_add(&t->log, data, n, SIZE_MAX / 4);
}

static int on_file_end(void *arg, struct rouse_err *e unused_arg)
{
	struct tree *t = arg;

	HOLDS(t->in_file && t->left == 0);
	t->in_file = false;
	return 0;
}

static int on_symlink(void *arg, const char *name, const char *target,
		      struct rouse_err *e unused_arg)
{
	struct tree *t = arg;

	check_name(t, name);
	HOLDS(*target && strlen(target) <= ROUSE_NAR_TARGET);
	rouse_buf_printf(&t->log, "l%s %s\n", name ? name : "", target);
	return 0;
}

static const struct rouse_nar_ops ops = { on_directory, on_leave,    on_file,
					  on_data,      on_file_end, on_symlink };

static int parse(struct tree *t, const uint8_t *data, size_t size, size_t step)
{
	auto_free struct rouse_nar *n = rouse_calloc(1, sizeof(*n));
	struct rouse_err e = { 0 };

	rouse_nar_begin(n, size, &ops, t);
	for (size_t at = 0; at < size; at += step)
		if (rouse_nar_feed(n, data + at, size - at < step ? size - at : step, &e) < 0)
			return -1;
	if (rouse_nar_end(n, &e) < 0)
		return -1;
	HOLDS(!t->depth && !t->in_file);
	return 0;
}

FUZZ(nar)
{
	struct tree whole = { 0 }, cut = { 0 };
	int a = parse(&whole, data, size, size ? size : 1);
	int b = parse(&cut, data, size, 1 + (size ? data[size - 1] % 13 : 0));

	HOLDS(a == b);
	HOLDS(whole.log.len == cut.log.len);
	HOLDS(!whole.log.len || memcmp(whole.log.data, cut.log.data, whole.log.len) == 0);
	rouse_buf_done(&whole.log);
	rouse_buf_done(&cut.log);
	return 0;
}
