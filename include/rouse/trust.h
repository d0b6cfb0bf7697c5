/* SPDX-License-Identifier: Apache-2.0 */
/* Digests, keys and signatures (OpenSSL; agent/trust.c is its only user besides libcurl). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/err.h>

#define ROUSE_SHA256_LEN 32

struct rouse_sha256; /* a running SHA-256 (FIPS 180-4) */

/* Of digests, none fails: a libcrypto that has none ends the program. */
struct rouse_sha256 *rouse_sha256_new(void);
void rouse_sha256_reset(struct rouse_sha256 *h); /* to its beginning; cheaper than a new one */
void rouse_sha256_update(struct rouse_sha256 *h, const void *data, size_t n);
void rouse_sha256_final(struct rouse_sha256 *h, uint8_t ret[static ROUSE_SHA256_LEN]);
void rouse_sha256_free(struct rouse_sha256 *h); /* accepts NULL */
AUTO_DEFINE(struct rouse_sha256 *, sha256, rouse_sha256_free, NULL)

void rouse_sha256_of(const void *data, size_t n, uint8_t ret[static ROUSE_SHA256_LEN]);
void rouse_sha256_hex(const void *data, size_t n, char ret[static 65]);
void rouse_hmac_sha256(const void *key, size_t key_len, const void *data, size_t n,
		       uint8_t ret[static ROUSE_SHA256_LEN]); /* RFC 2104 */

#define ROUSE_BLAKE2B_LEN 64
void rouse_blake2b(const void *data, size_t n,
		   uint8_t ret[static ROUSE_BLAKE2B_LEN]); /* RFC 7693 */

/* A public key as Nix and rouse write it: "name:base64(32 bytes)". */
struct rouse_key {
	char name[128];
	uint8_t bytes[32];
};
/* "name:base64", as Nix prints it. ROUSE_DOCUMENT otherwise, and without a word of what may be a secret key. */
must_check int rouse_key_parse(struct rouse_key *ret, const char *text, struct rouse_err *e);
bool rouse_is_key(const char *text); /* for schema tables */

/* Ed25519 (RFC 8032) of exactly these bytes. */
bool rouse_ed25519_verify(const uint8_t key[static 32], const uint8_t signature[static 64],
			  const void *data, size_t n);

/* Text signatures, "name:base64(64 bytes)", one per line. ROUSE_UNTRUSTED unless one signature
 * by one of the keys verifies; the first key of a name counts, unknown names are ignored.
 * *ret_name (may be NULL) is the key's name. */
must_check int rouse_signature_check(const char *const *signatures, size_t n_signatures,
				     const struct rouse_key *keys, size_t n_keys, const void *data,
				     size_t n, const char **ret_name, struct rouse_err *e);

/* Makes a key pair: "name:base64(32)" and the secret "name:base64(seed || public)", as nix-store
 * --generate-binary-cache-key does. Caller frees both (the secret after explicit_bzero). */
must_check int rouse_key_generate(const char *name, char **ret_public, char **ret_secret,
				  struct rouse_err *e);
/* Signs; *ret is "name:base64(64)"; caller frees. */
must_check int rouse_sign(const char *secret, const void *data, size_t n, char **ret,
			  struct rouse_err *e);
