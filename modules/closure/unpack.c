/* SPDX-License-Identifier: Apache-2.0 */
#include "unpack.h"

#include <lzma.h>
#include <zstd.h>

#include <rouse/limits.h>
#include <rouse/mem.h>

struct rouse_unpack {
	enum rouse_compression compression;
	rouse_unpack_sink sink;
	void *arg;
	ZSTD_DCtx *zstd;
	lzma_stream xz;
	bool frame_open; /* zstd: bytes of a frame are missing; true before the first */
};

struct rouse_unpack *rouse_unpack_new(enum rouse_compression c, rouse_unpack_sink sink, void *arg,
				      struct rouse_err *e)
{
	auto_of(unpack) struct rouse_unpack *u = rouse_calloc(1, sizeof(*u));
	bool ok = true;

	u->compression = c;
	u->sink = sink;
	u->arg = arg;
	u->frame_open = true;
	u->xz = (lzma_stream)LZMA_STREAM_INIT;
	if (c == ROUSE_COMPRESSION_ZSTD) {
		u->zstd = ZSTD_createDCtx();
		ok = u->zstd && !ZSTD_isError(ZSTD_DCtx_setParameter(u->zstd, ZSTD_d_windowLogMax,
								     ROUSE_MAX_ZSTD_WINDOW_LOG));
	} else if (c == ROUSE_COMPRESSION_XZ) {
		ok = lzma_stream_decoder(&u->xz, ROUSE_MAX_XZ_MEMORY, LZMA_CONCATENATED) == LZMA_OK;
	}
	if (!ok) {
		(void)rouse_fail(e, ROUSE_SYSTEM, ENOMEM, "cannot begin to decompress %s",
				 rouse_compression_word(c));
		return NULL;
	}
	return take(u, NULL);
}

void rouse_unpack_free(struct rouse_unpack *u)
{
	if (!u)
		return;
	(void)ZSTD_freeDCtx(u->zstd); /* accepts NULL */
	lzma_end(&u->xz);
	free(u);
}

static int feed_zstd(struct rouse_unpack *u, const void *data, size_t n, void *buf, size_t size,
		     struct rouse_err *e)
{
	ZSTD_inBuffer in = { .src = data, .size = n };
	bool full = false;

	/* A full output buffer may hide more output behind input that is used up. */
	while (in.pos < in.size || full) {
		ZSTD_outBuffer out = { .dst = buf, .size = size };
		size_t r = ZSTD_decompressStream(u->zstd, &out, &in);

		if (ZSTD_isError(r))
			return rouse_fail(e, ROUSE_UNTRUSTED, 0, "damaged zstd data: %s",
					  ZSTD_getErrorName(r));
		u->frame_open = r != 0;
		full = out.pos == out.size && r != 0;
		if (out.pos && u->sink(u->arg, buf, out.pos, e) < 0)
			return -1;
	}
	return 0;
}

static int run_xz(struct rouse_unpack *u, lzma_action action, void *buf, size_t size,
		  struct rouse_err *e)
{
	lzma_ret r = LZMA_OK;

	do {
		size_t n;

		u->xz.next_out = buf;
		u->xz.avail_out = size;
		r = lzma_code(&u->xz, action);
		n = size - u->xz.avail_out;
		if (n && u->sink(u->arg, buf, n, e) < 0)
			return -1;
	} while (r == LZMA_OK && (u->xz.avail_in || !u->xz.avail_out || action == LZMA_FINISH));
	if (r == LZMA_OK || r == LZMA_STREAM_END || (r == LZMA_BUF_ERROR && action == LZMA_RUN))
		return 0;
	if (r == LZMA_MEMLIMIT_ERROR)
		return rouse_fail(e, ROUSE_UNTRUSTED, 0,
				  "xz data that needs more than %llu MiB to unpack",
				  (unsigned long long)(ROUSE_MAX_XZ_MEMORY / MIB));
	if (r == LZMA_MEM_ERROR)
		return rouse_fail(e, ROUSE_SYSTEM, ENOMEM, "cannot decompress xz");
	return rouse_fail(e, ROUSE_UNTRUSTED, 0,
			  r == LZMA_BUF_ERROR ? "xz data is cut off" : "damaged xz data");
}

int rouse_unpack_feed(struct rouse_unpack *u, const void *data, size_t n, void *buf, size_t size,
		      struct rouse_err *e)
{
	switch (u->compression) {
	case ROUSE_COMPRESSION_ZSTD:
		return feed_zstd(u, data, n, buf, size, e);
	case ROUSE_COMPRESSION_XZ:
		u->xz.next_in = data;
		u->xz.avail_in = n;
		return run_xz(u, LZMA_RUN, buf, size, e);
	case ROUSE_COMPRESSION_NONE:
	case ROUSE_COMPRESSIONS_:
		break;
	}
	return u->sink(u->arg, data, n, e);
}

int rouse_unpack_end(struct rouse_unpack *u, void *buf, size_t size, struct rouse_err *e)
{
	if (u->compression == ROUSE_COMPRESSION_ZSTD && u->frame_open)
		return rouse_fail(e, ROUSE_UNTRUSTED, 0, "zstd data is cut off");
	if (u->compression == ROUSE_COMPRESSION_XZ) {
		u->xz.next_in = NULL;
		u->xz.avail_in = 0;
		return run_xz(u, LZMA_FINISH, buf, size, e);
	}
	return 0;
}
