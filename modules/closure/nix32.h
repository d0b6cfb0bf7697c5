/* SPDX-License-Identifier: Apache-2.0 */
/* The spellings of digests that Nix uses. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/auto.h>
#include <rouse/trust.h>

/* Characters of n bytes in nix32: 20 -> 32, 32 -> 52. */
#define ROUSE_NIX32_LEN(n) (((n)*8 + 4) / 5)

/* Writes ROUSE_NIX32_LEN(n) characters and a NUL. */
void rouse_nix32(char *ret, const uint8_t *data, size_t n);
/* Exactly `len` characters for n bytes: lower case, spare bits zero; false otherwise. */
must_check bool rouse_unnix32(uint8_t *ret, size_t n, const char *text, size_t len);

/* A SHA-256 as "sha256:" and nix32, hex or base64, or as SRI "sha256-…=". */
must_check bool rouse_nar_hash_parse(const char *text, uint8_t ret[static ROUSE_SHA256_LEN]);

/* "sha256:" and nix32, as narinfo and fingerprints have it. */
#define ROUSE_NAR_HASH_TEXT 60
const char *rouse_nar_hash_print(char buf[static ROUSE_NAR_HASH_TEXT],
				 const uint8_t hash[static ROUSE_SHA256_LEN]);

/* The same as SRI, "sha256-" and base64, as documents have it. Caller frees. */
char *rouse_nar_hash_sri(const uint8_t hash[static ROUSE_SHA256_LEN]);
