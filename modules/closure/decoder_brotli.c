/* SPDX-License-Identifier: Apache-2.0 */
#include "decoder.h"

#include <brotli/decode.h>

/* Without BROTLI_DECODER_PARAM_LARGE_WINDOW a window has 16 MiB at most (RFC 7932). */
static void *begin(unsigned threads unused_arg)
{
	return BrotliDecoderCreateInstance(NULL, NULL, NULL);
}

static void release(void *state)
{
	BrotliDecoderDestroyInstance(state);
}

static int feed(void *state, const void *data, size_t n, const struct decoder_out *out,
		struct rouse_err *e)
{
	const uint8_t *in = data;
	BrotliDecoderResult r = BROTLI_DECODER_RESULT_SUCCESS;

	do {
		uint8_t *to = out->buf;
		size_t room = out->size;

		if (BrotliDecoderIsFinished(state)) /* with nothing behind it */
			return decoder_damaged(e, "brotli", "bytes behind its end");
		r = BrotliDecoderDecompressStream(state, &n, &in, &room, &to, NULL);
		if (r == BROTLI_DECODER_RESULT_ERROR)
			return decoder_damaged(
				e, "brotli",
				BrotliDecoderErrorString(BrotliDecoderGetErrorCode(state)));
		if (room < out->size && out->sink(out->arg, out->buf, out->size - room, e) < 0)
			return -1;
	} while (n || r == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT);
	return 0;
}

static int end(void *state, const struct decoder_out *out unused_arg, struct rouse_err *e)
{
	return BrotliDecoderIsFinished(state) ? 0 : decoder_cut_off(e, "brotli");
}

const struct decoder decoder_brotli = { begin, feed, end, NULL, NULL, release };
