/* SPDX-License-Identifier: Apache-2.0 */
#include "decoder.h"

#include <lzma.h>

#include <rouse/limits.h>
#include <rouse/mem.h>

/* Blocks whose sizes are in their headers (xz -T, Nix with parallel-compression) are decoded side by
 * side, as far as memory allows; all else by one thread, in the same way. */
static lzma_ret open_decoder(lzma_stream *xz, unsigned threads)
{
#if LZMA_VERSION >= 50040002 /* 5.4.0 */
	const lzma_mt mt = {
		.flags = LZMA_CONCATENATED,
		.threads = threads,
		.memlimit_threading = ROUSE_PULL_XZ_BLOCKS,
		.memlimit_stop = ROUSE_MAX_XZ_MEMORY,
	};

	if (threads > 1)
		return lzma_stream_decoder_mt(xz, &mt);
#else
	(void)threads;
#endif
	return lzma_stream_decoder(xz, ROUSE_MAX_XZ_MEMORY, LZMA_CONCATENATED);
}

static void release(void *state)
{
	lzma_end(state);
	free(state);
}

static void *begin(unsigned threads)
{
	lzma_stream *xz = rouse_calloc(1, sizeof(*xz));

	*xz = (lzma_stream)LZMA_STREAM_INIT;
	if (open_decoder(xz, threads) == LZMA_OK)
		return xz;
	release(xz);
	return NULL;
}

static int run(lzma_stream *xz, lzma_action action, const struct decoder_out *out,
	       struct rouse_err *e)
{
	lzma_ret r = LZMA_OK;

	do {
		size_t n;

		xz->next_out = out->buf;
		xz->avail_out = out->size;
		r = lzma_code(xz, action);
		n = out->size - xz->avail_out;
		if (n && out->sink(out->arg, out->buf, n, e) < 0)
			return -1;
	} while (r == LZMA_OK && (xz->avail_in || !xz->avail_out || action == LZMA_FINISH));
	if (r == LZMA_OK || r == LZMA_STREAM_END || (r == LZMA_BUF_ERROR && action == LZMA_RUN))
		return 0;
	if (r == LZMA_MEMLIMIT_ERROR)
		return rouse_fail(e, ROUSE_UNTRUSTED, 0,
				  "xz data that needs more than %llu MiB to unpack",
				  (unsigned long long)(ROUSE_MAX_XZ_MEMORY / MIB));
	if (r == LZMA_MEM_ERROR)
		return rouse_fail(e, ROUSE_SYSTEM, ENOMEM, "cannot decompress xz");
	return r == LZMA_BUF_ERROR ? decoder_cut_off(e, "xz") : decoder_damaged(e, "xz", NULL);
}

static int feed(void *state, const void *data, size_t n, const struct decoder_out *out,
		struct rouse_err *e)
{
	lzma_stream *xz = state;

	xz->next_in = data;
	xz->avail_in = n;
	return run(xz, LZMA_RUN, out, e);
}

static int end(void *state, const struct decoder_out *out, struct rouse_err *e)
{
	lzma_stream *xz = state;

	xz->next_in = NULL;
	xz->avail_in = 0;
	return run(xz, LZMA_FINISH, out, e);
}

const struct decoder decoder_xz = { begin, feed, end, NULL, NULL, release };
