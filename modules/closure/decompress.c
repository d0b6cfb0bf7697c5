/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/decompress.h>

#include <string.h>

#include <rouse/limits.h>
#include <rouse/text.h>

#include "unpack.h"

struct whole {
	const char *name;
	struct rouse_buf *out;
	size_t max;
};

static int add(void *arg, const void *data, size_t n, struct rouse_err *e)
{
	struct whole *w = arg;

	if (rouse_buf_add(w->out, data, n, w->max) == 0)
		return 0;
	(void)rouse_fail(e, ROUSE_DOCUMENT, 0, "'%s' unpacks to more than the %zu bytes allowed",
			 w->name, w->max);
	e->sys = EFBIG;
	return -1;
}

static int unpack(struct whole *w, enum rouse_compression c, const void *data, size_t n,
		  struct rouse_err *e)
{
	auto_free char *buf = rouse_calloc(ROUSE_UNPACK_BUFFER, 1);
	struct rouse_unpack *u auto_of(unpack) = rouse_unpack_new(c, 1, add, w, e);

	if (!u)
		return -1;
	if (rouse_unpack_feed(u, data, n, buf, ROUSE_UNPACK_BUFFER, e) == 0 &&
	    rouse_unpack_end(u, buf, ROUSE_UNPACK_BUFFER, e) == 0)
		return 0;
	if (e->sys == EFBIG || e->kind == ROUSE_SYSTEM)
		return -1;
	e->kind = ROUSE_DOCUMENT; /* a wrong index, no attack on something signed */
	return rouse_wrap(e, "'%s'", w->name);
}

static bool ends_in(const char *name, const char *suffix)
{
	size_t n = strcspn(name, "?#"), len = strlen(suffix);

	return n > len && strncmp(name + n - len, suffix, len) == 0;
}

int rouse_decompress(const char *name, const void *data, size_t n, size_t max,
		     struct rouse_buf *ret, struct rouse_err *e)
{
	struct whole w = { .name = name, .out = ret, .max = max };

	if (ends_in(name, ".br"))
		return unpack(&w, ROUSE_COMPRESSION_BROTLI, data, n, e);
	if (ends_in(name, ".xz"))
		return unpack(&w, ROUSE_COMPRESSION_XZ, data, n, e);
	return unpack(&w, ends_in(name, ".zst") ? ROUSE_COMPRESSION_ZSTD : ROUSE_COMPRESSION_NONE,
		      data, n, e);
}
