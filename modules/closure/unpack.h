/* SPDX-License-Identifier: Apache-2.0 */
/* Decompression of bytes as they come: zstd, xz, gzip and bzip2 (several frames, streams or members one
 * behind the other), brotli, none. Memory is capped; the output goes on in pieces through a buffer
 * that the caller lends. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/err.h>

#include "narinfo.h"

struct rouse_unpack; /* a running decoder */

/* Receives what came out. -1 with *e ends the decoding: the way to stop at a size. */
typedef int (*rouse_unpack_sink)(void *arg, const void *data, size_t n, struct rouse_err *e);

/* `buf` is borrowed by each call of feed and end, and may be shared by decoders of one thread.
 * `threads`: how many may decode this one (xz that was written in blocks); 1 is right for all but
 * large archives, as each takes a block of memory. */
must_check struct rouse_unpack *rouse_unpack_new(enum rouse_compression c, unsigned threads,
						 rouse_unpack_sink sink, void *arg,
						 struct rouse_err *e);
void rouse_unpack_free(struct rouse_unpack *u); /* accepts NULL */
AUTO_DEFINE(struct rouse_unpack *, unpack, rouse_unpack_free, NULL)

must_check int rouse_unpack_feed(struct rouse_unpack *u, const void *data, size_t n, void *buf,
				 size_t size, struct rouse_err *e);
/* Makes it ready for other data of the same compression, whatever became of the last, with another
 * argument for its sink. False: it cannot be used again. */
must_check bool rouse_unpack_reset(struct rouse_unpack *u, void *arg);
/* Bytes that it has allocated for its window and state; 0: not known. */
size_t rouse_unpack_memory(const struct rouse_unpack *u);
enum rouse_compression rouse_unpack_compression(const struct rouse_unpack *u);
/* Demands that the last frame or stream is complete. */
must_check int rouse_unpack_end(struct rouse_unpack *u, void *buf, size_t size,
				struct rouse_err *e);
