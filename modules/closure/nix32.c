/* SPDX-License-Identifier: Apache-2.0 */
#include "nix32.h"

#include <string.h>

#include <rouse/closure.h>
#include <rouse/text.h>

/* No e, o, t, u: so that no digest spells a word. */
static const char alphabet[] = "0123456789abcdfghijklmnpqrsvwxyz";

void rouse_nix32(char *ret, const uint8_t *data, size_t n)
{
	size_t len = ROUSE_NIX32_LEN(n);

	/* The last character holds the lowest five bits of the little-endian number. */
	for (size_t i = 0; i < len; i++) {
		size_t bit = (len - 1 - i) * 5, byte = bit / 8, shift = bit % 8;
		unsigned v = (unsigned)data[byte] >> shift;

		if (byte + 1 < n)
			v |= (unsigned)data[byte + 1] << (8 - shift);
		ret[i] = alphabet[v & 31];
	}
	ret[len] = '\0';
}

bool rouse_unnix32(uint8_t *ret, size_t n, const char *text, size_t len)
{
	if (len != ROUSE_NIX32_LEN(n))
		return false;
	memset(ret, 0, n);
	for (size_t i = 0; i < len; i++) {
		const char *p = text[i] ? strchr(alphabet, text[i]) : NULL;
		size_t bit = (len - 1 - i) * 5, byte = bit / 8, shift = bit % 8;
		unsigned digit, high;

		if (!p)
			return false;
		digit = (unsigned)(p - alphabet);
		ret[byte] = (uint8_t)(ret[byte] | digit << shift);
		high = digit >> (8 - shift);
		if (byte + 1 < n)
			ret[byte + 1] = (uint8_t)(ret[byte + 1] | high);
		else if (high)
			return false; /* two spellings of one digest */
	}
	return true;
}

static bool parse_base64(const char *text, uint8_t ret[static ROUSE_SHA256_LEN])
{
	return rouse_unbase64(ret, ROUSE_SHA256_LEN, text, strlen(text)) == ROUSE_SHA256_LEN;
}

bool rouse_nar_hash_parse(const char *text, uint8_t ret[static ROUSE_SHA256_LEN])
{
	uint8_t hash[ROUSE_SHA256_LEN] = { 0 };
	const char *p = rouse_strip_prefix(text, "sha256-");
	size_t len;
	bool ok;

	if (p) {
		ok = strlen(p) == 44 && parse_base64(p, hash);
	} else {
		p = rouse_strip_prefix(text, "sha256:");
		if (!p)
			return false;
		len = strlen(p);
		if (len == ROUSE_NIX32_LEN(ROUSE_SHA256_LEN))
			ok = rouse_unnix32(hash, sizeof(hash), p, len);
		else if (len == 64)
			ok = rouse_unhex(hash, sizeof(hash), p);
		else
			ok = len == 44 && parse_base64(p, hash);
	}
	if (ok)
		memcpy(ret, hash, sizeof(hash));
	return ok;
}

bool rouse_is_nar_hash(const char *text)
{
	uint8_t hash[ROUSE_SHA256_LEN];

	return rouse_nar_hash_parse(text, hash);
}

const char *rouse_nar_hash_print(char buf[static ROUSE_NAR_HASH_TEXT],
				 const uint8_t hash[static ROUSE_SHA256_LEN])
{
	memcpy(buf, "sha256:", 7);
	rouse_nix32(buf + 7, hash, ROUSE_SHA256_LEN);
	return buf;
}

char *rouse_nar_hash_sri(const uint8_t hash[static ROUSE_SHA256_LEN])
{
	auto_free char *text = rouse_base64(hash, ROUSE_SHA256_LEN);

	return rouse_asprintf("sha256-%s", text);
}
