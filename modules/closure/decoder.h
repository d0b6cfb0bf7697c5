/* SPDX-License-Identifier: Apache-2.0 */
/* One format behind rouse/unpack.h; each foreign library is included by one file. */
#pragma once

#include <stddef.h>

#include "unpack.h"

/* Where the output goes, for one call. */
struct decoder_out {
	void *buf;
	size_t size;
	rouse_unpack_sink sink;
	void *arg;
};

struct decoder {
	/* NULL: no memory. */
	void *(*begin)(unsigned threads);
	int (*feed)(void *state, const void *data, size_t n, const struct decoder_out *out,
		    struct rouse_err *e);
	/* No more bytes come. NULL where feed() has always given all that it could. */
	int (*end)(void *state, const struct decoder_out *out, struct rouse_err *e);
	/* Ready for other data, with the memory that it has. NULL: it cannot be used again. */
	bool (*reset)(void *state);
	/* Bytes that it has allocated. NULL: not known. */
	size_t (*memory)(const void *state);
	void (*free)(void *state);
};

extern const struct decoder decoder_zstd, decoder_xz, decoder_gzip, decoder_bzip2, decoder_brotli;

/* The two ways in which bytes are wrong. */
int decoder_damaged(struct rouse_err *e, const char *format, const char *why);
int decoder_cut_off(struct rouse_err *e, const char *format);
