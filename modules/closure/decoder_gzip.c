/* SPDX-License-Identifier: Apache-2.0 */
#include "decoder.h"

#include <limits.h>
#include <zlib.h>

#include <rouse/mem.h>

#define GZIP_ONLY (16 + MAX_WBITS) /* zlib.h, inflateInit2: neither zlib's nor a raw stream */

struct state {
	z_stream z;
	bool open; /* bytes of a member are missing; true before the first */
};

static void release(void *state)
{
	struct state *s = state;

	(void)inflateEnd(&s->z);
	free(s);
}

static void *begin(unsigned threads unused_arg)
{
	struct state *s = rouse_calloc(1, sizeof(*s));

	s->open = true;
	if (inflateInit2(&s->z, GZIP_ONLY) == Z_OK)
		return s;
	free(s);
	return NULL;
}

static int feed(void *state, const void *data, size_t n, const struct decoder_out *out,
		struct rouse_err *e)
{
	struct state *s = state;
	bool full = false;

	s->z.next_in = (unsigned char *)data; /* zlib does not write there */
	s->z.avail_in = (unsigned)n;          /* a piece of a download: far below 4 GiB */
	while (s->z.avail_in || full) {
		size_t got;
		int r;

		if (!s->open && inflateReset(&s->z) != Z_OK) /* another member follows */
			return decoder_damaged(e, "gzip", NULL);
		s->open = true;
		s->z.next_out = out->buf;
		s->z.avail_out = (unsigned)out->size;
		r = inflate(&s->z, Z_NO_FLUSH);
		if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR)
			return r == Z_MEM_ERROR ? rouse_fail(e, ROUSE_SYSTEM, ENOMEM,
							     "cannot decompress gzip")
						: decoder_damaged(e, "gzip", s->z.msg);
		got = out->size - s->z.avail_out;
		s->open = r != Z_STREAM_END;
		full = s->open && !s->z.avail_out;
		if (got && out->sink(out->arg, out->buf, got, e) < 0)
			return -1;
		if (r == Z_BUF_ERROR)
			break;
	}
	return 0;
}

static int end(void *state, const struct decoder_out *out unused_arg, struct rouse_err *e)
{
	struct state *s = state;

	return s->open ? decoder_cut_off(e, "gzip") : 0;
}

const struct decoder decoder_gzip = { begin, feed, end, NULL, NULL, release };
