/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/trust.h>

#include <limits.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <rouse/limits.h>
#include <rouse/mem.h>
#include <rouse/text.h>

#define KEY_LEN 32       /* RFC 8032: a public key, and the seed of a private one */
#define SIGNATURE_LEN 64 /* RFC 8032 */
#define SECRET_LEN (2 * KEY_LEN)

AUTO_DEFINE(EVP_PKEY *, pkey, EVP_PKEY_free, NULL)
AUTO_DEFINE(EVP_MD_CTX *, md_ctx, EVP_MD_CTX_free, NULL)

struct rouse_sha256 {
	EVP_MD_CTX *ctx;
};

/*
 * A digest of bytes in memory fails only when libcrypto cannot allocate or has lost its provider.
 * No caller could go on without digests, so this ends the program like running out of memory.
 */
static void demand(int done)
{
	static const char line[] = "rouse: libcrypto cannot compute a digest\n";

	if (done == 1)
		return;
	if (write(STDERR_FILENO, line, sizeof(line) - 1) < 0)
		_exit(ROUSE_SYSTEM);
	_exit(ROUSE_SYSTEM);
}

struct rouse_sha256 *rouse_sha256_new(void)
{
	struct rouse_sha256 *h = rouse_calloc(1, sizeof(*h));

	h->ctx = EVP_MD_CTX_new();
	demand(h->ctx != NULL);
	demand(EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL));
	return h;
}

void rouse_sha256_reset(struct rouse_sha256 *h)
{
	demand(EVP_DigestInit_ex(h->ctx, NULL, NULL));
}

void rouse_sha256_update(struct rouse_sha256 *h, const void *data, size_t n)
{
	if (n)
		demand(EVP_DigestUpdate(h->ctx, data, n));
}

void rouse_sha256_final(struct rouse_sha256 *h, uint8_t ret[static ROUSE_SHA256_LEN])
{
	demand(EVP_DigestFinal_ex(h->ctx, ret, NULL));
}

void rouse_sha256_free(struct rouse_sha256 *h)
{
	if (h)
		EVP_MD_CTX_free(h->ctx);
	free(h);
}

void rouse_sha256_of(const void *data, size_t n, uint8_t ret[static ROUSE_SHA256_LEN])
{
	demand(EVP_Digest(n ? data : "", n, ret, NULL, EVP_sha256(), NULL));
}

void rouse_sha256_hex(const void *data, size_t n, char ret[static 65])
{
	uint8_t digest[ROUSE_SHA256_LEN];

	rouse_sha256_of(data, n, digest);
	rouse_hex(ret, digest, sizeof(digest));
}

void rouse_hmac_sha256(const void *key, size_t key_len, const void *data, size_t n,
		       uint8_t ret[static ROUSE_SHA256_LEN])
{
	unsigned len = 0;

	demand(key_len <= INT_MAX &&
	       HMAC(EVP_sha256(), key_len ? key : "", (int)key_len, n ? data : (const void *)"", n,
		    ret, &len) != NULL &&
	       len == ROUSE_SHA256_LEN);
}

void rouse_blake2b(const void *data, size_t n, uint8_t ret[static ROUSE_BLAKE2B_LEN])
{
	demand(EVP_Digest(n ? data : "", n, ret, NULL, EVP_blake2b512(), NULL));
}

/*
 * Splits "name:base64" and decodes exactly `want` bytes. The name must be printable, so that it
 * can stand in a message, and has no blank, as Nix separates signatures by blanks.
 */
static bool split_named(const char *text, char *name, size_t name_size, uint8_t *bytes, size_t want)
{
	const char *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;
	size_t encoded = (want + 2) / 3 * 4;

	if (!len || len >= name_size || strlen(colon + 1) != encoded)
		return false;
	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	if (rouse_unbase64(bytes, want, colon + 1, encoded) != (int64_t)want)
		return false;
	memcpy(name, text, len);
	name[len] = '\0';
	return true;
}

bool rouse_is_key(const char *text)
{
	struct rouse_key key;

	return split_named(text, key.name, sizeof(key.name), key.bytes, sizeof(key.bytes));
}

int rouse_key_parse(struct rouse_key *ret, const char *text, struct rouse_err *e)
{
	struct rouse_key key = { 0 };
	const char *colon = strchr(text, ':');
	char ignored[sizeof(key.name)];
	uint8_t secret[SECRET_LEN];
	bool is_secret = split_named(text, ignored, sizeof(ignored), secret, sizeof(secret));

	explicit_bzero(secret, sizeof(secret));
	/* The commonest mistake must not print what it is about. */
	if (is_secret)
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "'%s' is a secret key; the public key belongs here", ignored);
	if (!split_named(text, key.name, sizeof(key.name), key.bytes, sizeof(key.bytes)))
		return rouse_fail(
			e, ROUSE_DOCUMENT, 0,
			"'%.*s' is not a public key: expected \"name:\" and the base64 of 32 bytes",
			colon ? (int)(colon - text < 64 ? colon - text : 64) : 16, text);
	*ret = key;
	return 0;
}

bool rouse_ed25519_verify(const uint8_t key[static 32], const uint8_t signature[static 64],
			  const void *data, size_t n)
{
	EVP_PKEY *pkey auto_of(pkey) = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key,
								   KEY_LEN);
	EVP_MD_CTX *ctx auto_of(md_ctx) = EVP_MD_CTX_new();
	bool good = pkey && ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
		    EVP_DigestVerify(ctx, signature, SIGNATURE_LEN, n ? data : (const void *)"",
				     n) == 1;

	/* Whatever refused it is not of interest, and must not surface in a later TLS error. */
	if (!good)
		ERR_clear_error();
	return good;
}

static const struct rouse_key *find_key(const struct rouse_key *keys, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (rouse_streq(keys[i].name, name))
			return &keys[i];
	return NULL;
}

int rouse_signature_check(const char *const *signatures, size_t n_signatures,
			  const struct rouse_key *keys, size_t n_keys, const void *data, size_t n,
			  const char **ret_name, struct rouse_err *e)
{
	char name[128] = "", unknown[128] = "", wrong[128] = "";
	uint8_t bytes[SIGNATURE_LEN];
	unsigned tried = 0;

	for (size_t i = 0; i < n_signatures && tried < ROUSE_MAX_SIGNATURES; i++) {
		const struct rouse_key *key;

		if (!split_named(signatures[i], name, sizeof(name), bytes, sizeof(bytes)))
			continue;
		key = find_key(keys, n_keys, name);
		if (!key) {
			memcpy(unknown, name, sizeof(unknown));
			continue;
		}
		tried++;
		if (rouse_ed25519_verify(key->bytes, bytes, data, n)) {
			if (ret_name)
				*ret_name = key->name;
			return 0;
		}
		memcpy(wrong, name, sizeof(wrong));
	}
	if (*wrong)
		return rouse_fail(e, ROUSE_UNTRUSTED, 0, "the signature by '%s' is wrong", wrong);
	if (*unknown)
		return rouse_fail(e, ROUSE_UNTRUSTED, 0,
				  "signed by '%s', which is not a trusted key%s%s%s", unknown,
				  n_keys ? " (trusted: '" : "", n_keys ? keys[0].name : "",
				  n_keys ? (n_keys > 1 ? "', …)" : "')") : "");
	return rouse_fail(e, ROUSE_UNTRUSTED, 0,
			  n_signatures ? "no signature is readable: expected "
					 "\"name:\" and the base64 of 64 bytes"
				       : "it is not signed");
}

static char *join_named(const char *name, const uint8_t *bytes, size_t n)
{
	char *text = rouse_base64(bytes, n), *ret = rouse_asprintf("%s:%s", name, text);

	explicit_bzero(text, strlen(text));
	free(text);
	return ret;
}

/* A pair from a seed (RFC 8032 section 5.1.5). `secret` gets seed and public key. */
static int expand(const uint8_t seed[static KEY_LEN], uint8_t secret[static SECRET_LEN],
		  EVP_PKEY **ret, struct rouse_err *e)
{
	EVP_PKEY *pkey auto_of(pkey) = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed,
								    KEY_LEN);
	size_t len = KEY_LEN;

	if (!pkey || EVP_PKEY_get_raw_public_key(pkey, secret + KEY_LEN, &len) != 1 ||
	    len != KEY_LEN)
		return rouse_fail(e, ROUSE_SYSTEM, 0, "libcrypto cannot make an ed25519 key");
	memmove(secret, seed, KEY_LEN);
	*ret = take(pkey, NULL);
	return 0;
}

static bool is_key_name(const char *name)
{
	size_t n = strlen(name);

	if (!n || n >= sizeof(((struct rouse_key *)NULL)->name))
		return false;
	for (; *name; name++)
		if (*name <= ' ' || *name > '~' || *name == ':')
			return false;
	return true;
}

int rouse_key_generate(const char *name, char **ret_public, char **ret_secret, struct rouse_err *e)
{
	EVP_PKEY *pkey auto_of(pkey) = NULL,
		       *made auto_of(pkey) = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	uint8_t seed[KEY_LEN], secret[SECRET_LEN];
	size_t len = sizeof(seed);
	int r;

	if (!is_key_name(name))
		return rouse_fail(
			e, ROUSE_USAGE, 0,
			"'%s' cannot name a key: 1 to 127 printable characters, no blank, no colon",
			name);
	if (!made || EVP_PKEY_get_raw_private_key(made, seed, &len) != 1 || len != sizeof(seed))
		return rouse_fail(e, ROUSE_SYSTEM, 0, "libcrypto cannot make an ed25519 key");
	r = expand(seed, secret, &pkey, e);
	if (r == 0) {
		*ret_public = join_named(name, secret + KEY_LEN, KEY_LEN);
		*ret_secret = join_named(name, secret, SECRET_LEN);
	}
	explicit_bzero(seed, sizeof(seed));
	explicit_bzero(secret, sizeof(secret));
	return r;
}

static int sign_with(const uint8_t given[static SECRET_LEN], const void *data, size_t n,
		     uint8_t signature[static SIGNATURE_LEN], struct rouse_err *e)
{
	EVP_PKEY *pkey auto_of(pkey) = NULL;
	EVP_MD_CTX *ctx auto_of(md_ctx) = EVP_MD_CTX_new();
	uint8_t secret[SECRET_LEN];
	size_t len = SIGNATURE_LEN;
	bool same;

	if (expand(given, secret, &pkey, e) < 0)
		return -1;
	same = memcmp(secret, given, SECRET_LEN) == 0;
	explicit_bzero(secret, sizeof(secret));
	if (!same)
		return rouse_fail(e, ROUSE_USAGE, 0,
				  "the secret key is damaged: its halves do not belong together");
	if (!ctx || EVP_DigestSignInit(ctx, NULL, NULL, NULL, pkey) != 1 ||
	    EVP_DigestSign(ctx, signature, &len, n ? data : (const void *)"", n) != 1 ||
	    len != SIGNATURE_LEN)
		return rouse_fail(e, ROUSE_SYSTEM, 0, "libcrypto cannot sign");
	return 0;
}

int rouse_sign(const char *secret, const void *data, size_t n, char **ret, struct rouse_err *e)
{
	char name[128];
	uint8_t bytes[SECRET_LEN], signature[SIGNATURE_LEN];
	int r;

	if (!split_named(secret, name, sizeof(name), bytes, sizeof(bytes)))
		return rouse_fail(
			e, ROUSE_USAGE, 0,
			"not a secret key: expected \"name:\" and the base64 of 64 bytes");
	r = sign_with(bytes, data, n, signature, e);
	explicit_bzero(bytes, sizeof(bytes));
	if (r == 0)
		*ret = join_named(name, signature, sizeof(signature));
	return r;
}
