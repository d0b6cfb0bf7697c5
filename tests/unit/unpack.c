/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include <lzma.h>
#include <zstd.h>

#include <rouse/limits.h>
#include <rouse/mem.h>
#include <rouse/trust.h>

#include "../../modules/closure/unpack.h"

#define SIZE (5 << 20)

struct out {
	struct rouse_sha256 *hash;
	size_t n;
};

static int sink(void *arg, const void *data, size_t n, struct rouse_err *e)
{
	struct out *o = arg;

	rouse_sha256_update(o->hash, data, n);
	o->n += n;
	return o->n > SIZE ? rouse_fail(e, ROUSE_UNTRUSTED, 0, "too much") : 0;
}

/* Something that is neither random nor trivial. */
static unsigned char *make_plain(void)
{
	unsigned char *plain = rouse_calloc(1, SIZE);
	uint32_t x = 1;

	for (size_t i = 0; i < SIZE; i++) {
		x = x * 1664525 + 1013904223;
		plain[i] = (unsigned char)(i % 64 < 16 ? x >> 24 : i / 64);
	}
	return plain;
}

/* As `xz -T` writes it: many blocks, whose sizes are in their headers. */
static unsigned char *pack_in_blocks(const unsigned char *plain, size_t *ret_n)
{
	const lzma_mt mt = { .threads = 2, .block_size = 256 << 10, .preset = 0 };
	lzma_stream xz = LZMA_STREAM_INIT;
	unsigned char *packed = rouse_calloc(1, 2 * SIZE);
	lzma_ret r = lzma_stream_encoder_mt(&xz, &mt);

	xz.next_in = plain;
	xz.avail_in = SIZE;
	xz.next_out = packed;
	xz.avail_out = 2 * SIZE;
	while (r == LZMA_OK)
		r = lzma_code(&xz, LZMA_FINISH);
	*ret_n = r == LZMA_STREAM_END ? (size_t)xz.total_out : 0;
	lzma_end(&xz);
	return packed;
}

static int unpack(const unsigned char *data, size_t n, unsigned threads, uint8_t *ret,
		  struct rouse_err *e)
{
	struct out o = { .hash = rouse_sha256_new() };
	struct rouse_unpack *u auto_of(unpack) = rouse_unpack_new(ROUSE_COMPRESSION_XZ, threads,
								  sink, &o, e);
	auto_free char *buf = rouse_calloc(1, ROUSE_UNPACK_BUFFER);
	int r = u ? 0 : -1;

	for (size_t at = 0; r == 0 && at < n; at += 10000)
		r = rouse_unpack_feed(u, data + at, n - at < 10000 ? n - at : 10000, buf,
				      ROUSE_UNPACK_BUFFER, e);
	if (r == 0)
		r = rouse_unpack_end(u, buf, ROUSE_UNPACK_BUFFER, e);
	rouse_sha256_final(o.hash, ret);
	rouse_sha256_free(o.hash);
	return r == 0 && o.n != SIZE ? rouse_fail(e, ROUSE_BUG, 0, "%zu bytes", o.n) : r;
}

static void xz_blocks_are_unpacked_by_several_threads(struct t *t)
{
	auto_free unsigned char *plain = make_plain();
	uint8_t want[ROUSE_SHA256_LEN], got[ROUSE_SHA256_LEN];
	struct rouse_err e = { 0 };
	size_t n;
	auto_free unsigned char *packed = pack_in_blocks(plain, &n);

	rouse_sha256_of(plain, SIZE, want);
	T_CHECK(t, n);
	for (unsigned threads = 1; threads <= 4; threads++) {
		T_CHECK(t, unpack(packed, n, threads, got, &e) == 0);
		T_CHECK(t, memcmp(got, want, sizeof(want)) == 0);
	}
}

static void xz_blocks_that_are_damaged_are_refused(struct t *t)
{
	auto_free unsigned char *plain = make_plain();
	uint8_t got[ROUSE_SHA256_LEN];
	size_t n;
	auto_free unsigned char *packed = pack_in_blocks(plain, &n);

	for (unsigned threads = 1; threads <= 2; threads++) {
		struct rouse_err e = { 0 };

		T_CHECK(t, unpack(packed, n / 2, threads, got, &e) < 0);
		T_CHECK(t, e.kind == ROUSE_UNTRUSTED);
		packed[n / 3] ^= 0x40;
		T_CHECK(t, unpack(packed, n, threads, got, &e) < 0);
		T_CHECK(t, e.kind == ROUSE_UNTRUSTED);
		packed[n / 3] ^= 0x40;
	}
}

static int unpack_with(struct rouse_unpack *u, struct out *o, const unsigned char *data, size_t n,
		       uint8_t *ret, struct rouse_err *e)
{
	auto_free char *buf = rouse_calloc(1, ROUSE_UNPACK_BUFFER);
	int r = 0;

	rouse_sha256_reset(o->hash);
	o->n = 0;
	for (size_t at = 0; r == 0 && at < n; at += 70000)
		r = rouse_unpack_feed(u, data + at, n - at < 70000 ? n - at : 70000, buf,
				      ROUSE_UNPACK_BUFFER, e);
	if (r == 0)
		r = rouse_unpack_end(u, buf, ROUSE_UNPACK_BUFFER, e);
	rouse_sha256_final(o->hash, ret);
	return r;
}

/* Whole, cut off, damaged: the one that comes next knows nothing of it. */
static void a_zstd_decoder_is_used_again_whatever_came_before(struct t *t)
{
	auto_free unsigned char *plain = make_plain();
	size_t size = ZSTD_compressBound(SIZE), n;
	auto_free unsigned char *packed = rouse_calloc(1, size);
	uint8_t want[ROUSE_SHA256_LEN], got[ROUSE_SHA256_LEN];
	struct rouse_sha256 *h auto_of(sha256) = rouse_sha256_new();
	struct out o = { .hash = h };
	struct rouse_err e = { 0 };
	struct rouse_unpack *u auto_of(unpack) = rouse_unpack_new(ROUSE_COMPRESSION_ZSTD, 1, sink,
								  &o, &e);

	T_CHECK(t, u && rouse_unpack_compression(u) == ROUSE_COMPRESSION_ZSTD);
	n = ZSTD_compress(packed, size, plain, SIZE, 3);
	T_CHECK(t, !ZSTD_isError(n));
	rouse_sha256_of(plain, SIZE, want);
	for (int i = 0; i < 3; i++) {
		T_CHECK(t, unpack_with(u, &o, packed, n, got, &e) == 0);
		T_CHECK(t, o.n == SIZE && memcmp(got, want, sizeof(want)) == 0);
		T_CHECK(t, rouse_unpack_memory(u) > MIB && rouse_unpack_memory(u) < 4 * MIB);
		T_CHECK(t, rouse_unpack_reset(u, &o));
		T_CHECK(t, unpack_with(u, &o, packed, i == 1 ? 0 : n / 2, got, &e) < 0);
		T_CHECK(t, e.kind == ROUSE_UNTRUSTED && strstr(e.text, "cut off"));
		T_CHECK(t, rouse_unpack_reset(u, &o));
		T_CHECK(t, unpack_with(u, &o, packed + 1, n - 1, got, &e) < 0);
		T_CHECK(t, e.kind == ROUSE_UNTRUSTED);
		T_CHECK(t, rouse_unpack_reset(u, &o));
	}
}

static void an_xz_decoder_is_used_once(struct t *t)
{
	struct out o = { 0 };
	struct rouse_err e = { 0 };
	struct rouse_unpack *u auto_of(unpack) = rouse_unpack_new(ROUSE_COMPRESSION_XZ, 1, sink, &o,
								  &e);

	T_CHECK(t, u && !rouse_unpack_memory(u) && !rouse_unpack_reset(u, &o));
}

T_MAIN(T(a_zstd_decoder_is_used_again_whatever_came_before), T(an_xz_decoder_is_used_once),
       T(xz_blocks_are_unpacked_by_several_threads), T(xz_blocks_that_are_damaged_are_refused))
