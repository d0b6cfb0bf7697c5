/* SPDX-License-Identifier: Apache-2.0 */
#include "unpack.h"

#include <rouse/mem.h>

#include "decoder.h"

static const struct decoder *const decoders[] = {
	[ROUSE_COMPRESSION_NONE] = NULL,
	[ROUSE_COMPRESSION_ZSTD] = &decoder_zstd,
	[ROUSE_COMPRESSION_XZ] = &decoder_xz,
	[ROUSE_COMPRESSION_GZIP] = &decoder_gzip,
	[ROUSE_COMPRESSION_BZIP2] = &decoder_bzip2,
	[ROUSE_COMPRESSION_BROTLI] = &decoder_brotli,
};
_Static_assert(ARRAY_SIZE(decoders) == ROUSE_COMPRESSIONS_, "a decoder for each compression");

struct rouse_unpack {
	enum rouse_compression compression;
	const struct decoder *decoder; /* NULL: bytes pass as they are */
	void *state;
	rouse_unpack_sink sink;
	void *arg;
};

int decoder_damaged(struct rouse_err *e, const char *format, const char *why)
{
	return rouse_fail(e, ROUSE_UNTRUSTED, 0, "damaged %s data%s%s", format, why ? ": " : "",
			  why ? why : "");
}

int decoder_cut_off(struct rouse_err *e, const char *format)
{
	return rouse_fail(e, ROUSE_UNTRUSTED, 0, "%s data is cut off", format);
}

struct rouse_unpack *rouse_unpack_new(enum rouse_compression c, unsigned threads,
				      rouse_unpack_sink sink, void *arg, struct rouse_err *e)
{
	auto_of(unpack) struct rouse_unpack *u = rouse_calloc(1, sizeof(*u));

	u->compression = c;
	u->decoder = decoders[c];
	u->sink = sink;
	u->arg = arg;
	if (u->decoder && !(u->state = u->decoder->begin(threads))) {
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
	if (u->state)
		u->decoder->free(u->state);
	free(u);
}

bool rouse_unpack_reset(struct rouse_unpack *u, void *arg)
{
	u->arg = arg;
	return !u->decoder || (u->decoder->reset && u->decoder->reset(u->state));
}

size_t rouse_unpack_memory(const struct rouse_unpack *u)
{
	return u->decoder && u->decoder->memory ? u->decoder->memory(u->state) : 0;
}

enum rouse_compression rouse_unpack_compression(const struct rouse_unpack *u)
{
	return u->compression;
}

int rouse_unpack_feed(struct rouse_unpack *u, const void *data, size_t n, void *buf, size_t size,
		      struct rouse_err *e)
{
	const struct decoder_out out = { buf, size, u->sink, u->arg };

	if (!n)
		return 0;
	return u->decoder ? u->decoder->feed(u->state, data, n, &out, e)
			  : u->sink(u->arg, data, n, e);
}

int rouse_unpack_end(struct rouse_unpack *u, void *buf, size_t size, struct rouse_err *e)
{
	const struct decoder_out out = { buf, size, u->sink, u->arg };

	return u->decoder ? u->decoder->end(u->state, &out, e) : 0;
}
