/* SPDX-License-Identifier: Apache-2.0 */
#include "decoder.h"

#include <bzlib.h>

#include <rouse/mem.h>

struct state {
	bz_stream z;
	bool ready; /* z is open */
	bool open;  /* bytes of a stream are missing; true before the first */
};

static void release(void *state)
{
	struct state *s = state;

	if (s->ready)
		(void)BZ2_bzDecompressEnd(&s->z);
	free(s);
}

static void *begin(unsigned threads unused_arg)
{
	struct state *s = rouse_calloc(1, sizeof(*s));

	s->open = true;
	s->ready = BZ2_bzDecompressInit(&s->z, 0, 0) == BZ_OK;
	if (s->ready)
		return s;
	free(s);
	return NULL;
}

/* Another stream follows; the library has no way to begin anew. */
static int begin_next(struct state *s, struct rouse_err *e)
{
	bz_stream next = { .next_in = s->z.next_in, .avail_in = s->z.avail_in };

	(void)BZ2_bzDecompressEnd(&s->z);
	s->z = next;
	s->ready = BZ2_bzDecompressInit(&s->z, 0, 0) == BZ_OK;
	s->open = true;
	return s->ready ? 0 : rouse_fail(e, ROUSE_SYSTEM, ENOMEM, "cannot decompress bzip2");
}

static int feed(void *state, const void *data, size_t n, const struct decoder_out *out,
		struct rouse_err *e)
{
	struct state *s = state;
	bool full = false;

	s->z.next_in = (char *)data; /* bzip2 does not write there */
	s->z.avail_in = (unsigned)n; /* a piece of a download: far below 4 GiB */
	while (s->z.avail_in || full) {
		size_t got;
		int r;

		if (!s->open && begin_next(s, e) < 0)
			return -1;
		s->z.next_out = out->buf;
		s->z.avail_out = (unsigned)out->size;
		r = BZ2_bzDecompress(&s->z);
		if (r == BZ_MEM_ERROR)
			return rouse_fail(e, ROUSE_SYSTEM, ENOMEM, "cannot decompress bzip2");
		if (r != BZ_OK && r != BZ_STREAM_END)
			return decoder_damaged(e, "bzip2", NULL);
		got = out->size - s->z.avail_out;
		s->open = r != BZ_STREAM_END;
		full = s->open && !s->z.avail_out;
		if (got && out->sink(out->arg, out->buf, got, e) < 0)
			return -1;
	}
	return 0;
}

static int end(void *state, const struct decoder_out *out unused_arg, struct rouse_err *e)
{
	struct state *s = state;

	return s->open ? decoder_cut_off(e, "bzip2") : 0;
}

const struct decoder decoder_bzip2 = { begin, feed, end, NULL, NULL, release };
