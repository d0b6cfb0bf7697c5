/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed bytes (the first byte says how): a bomb ends at the size that the caller allows. */
#include "fuzz.h"

#include "../../modules/closure/unpack.h"

#define MOST 65536

static int sink(void *arg, const void *data, size_t n, struct rouse_err *e)
{
	size_t *got = arg;

	HOLDS(data && n && *got <= MOST);
	*got += n;
	return *got > MOST ? rouse_fail(e, ROUSE_UNTRUSTED, EFBIG, "too large") : 0;
}

static int unpack(enum rouse_compression c, const uint8_t *data, size_t size, size_t step,
		  size_t *got)
{
	struct rouse_err e = { 0 };
	struct rouse_unpack *u auto_of(unpack) = rouse_unpack_new(c, 1, sink, got, &e);
	char buf[4096];

	HOLDS(u);
	for (size_t at = 0; at < size; at += step)
		if (rouse_unpack_feed(u, data + at, size - at < step ? size - at : step, buf,
				      sizeof(buf), &e) < 0)
			return -1;
	return rouse_unpack_end(u, buf, sizeof(buf), &e);
}

FUZZ(unpack)
{
	size_t whole = 0, cut = 0;
	enum rouse_compression c;
	int a, b;

	if (!size)
		return 0;
	c = (enum rouse_compression)(data[0] % ROUSE_COMPRESSIONS_);
	a = unpack(c, data + 1, size - 1, size, &whole);
	b = unpack(c, data + 1, size - 1, 1 + data[size - 1] % 7, &cut);
	HOLDS(a == b);
	HOLDS(a < 0 || whole == cut);
	return 0;
}
