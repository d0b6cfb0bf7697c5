/* SPDX-License-Identifier: Apache-2.0 */
#include "decoder.h"

#include <zstd.h>

#include <rouse/limits.h>
#include <rouse/mem.h>

struct state {
	ZSTD_DCtx *zstd;
	bool open; /* bytes of a frame are missing; true before the first */
};

static void release(void *state)
{
	struct state *s = state;

	(void)ZSTD_freeDCtx(s->zstd); /* accepts NULL */
	free(s);
}

static void *begin(unsigned threads unused_arg)
{
	struct state *s = rouse_calloc(1, sizeof(*s));

	s->open = true;
	s->zstd = ZSTD_createDCtx();
	if (s->zstd && !ZSTD_isError(ZSTD_DCtx_setParameter(s->zstd, ZSTD_d_windowLogMax,
							    ROUSE_MAX_ZSTD_WINDOW_LOG)))
		return s;
	release(s);
	return NULL;
}

static int feed(void *state, const void *data, size_t n, const struct decoder_out *to,
		struct rouse_err *e)
{
	struct state *s = state;
	ZSTD_inBuffer in = { .src = data, .size = n };
	bool full = false;

	/* A full output buffer may hide more output behind input that is used up. */
	while (in.pos < in.size || full) {
		ZSTD_outBuffer out = { .dst = to->buf, .size = to->size };
		size_t r = ZSTD_decompressStream(s->zstd, &out, &in);

		if (ZSTD_isError(r))
			return decoder_damaged(e, "zstd", ZSTD_getErrorName(r));
		s->open = r != 0;
		full = out.pos == out.size && r != 0;
		if (out.pos && to->sink(to->arg, to->buf, out.pos, e) < 0)
			return -1;
	}
	return 0;
}

static int end(void *state, const struct decoder_out *out unused_arg, struct rouse_err *e)
{
	struct state *s = state;

	return s->open ? decoder_cut_off(e, "zstd") : 0;
}

static bool reset(void *state)
{
	struct state *s = state;

	s->open = true;
	return !ZSTD_isError(ZSTD_DCtx_reset(s->zstd, ZSTD_reset_session_only));
}

static size_t memory(const void *state)
{
	const struct state *s = state;

	return ZSTD_sizeof_DCtx(s->zstd);
}

const struct decoder decoder_zstd = { begin, feed, end, reset, memory, release };
