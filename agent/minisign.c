/* SPDX-License-Identifier: Apache-2.0 */
#include "minisign.h"

#include <stdio.h>
#include <string.h>

#include <rouse/limits.h>
#include <rouse/mem.h>
#include <rouse/text.h>

#define ID_LEN 8
#define KEY_LEN 32
#define SIGNATURE_LEN 64
#define NAME "minisign "
#define COMMENT "untrusted comment:"
#define TRUSTED "trusted comment: "

/* Least significant byte first in the files, last for people. */
static void print_id(char *ret, size_t size, const uint8_t id[static ID_LEN])
{
	(void)snprintf(ret, size, NAME "%02X%02X%02X%02X%02X%02X%02X%02X", id[7], id[6], id[5],
		       id[4], id[3], id[2], id[1], id[0]);
}

bool rouse_minisign_key(struct rouse_key *ret, const char *text)
{
	uint8_t bytes[2 + ID_LEN + KEY_LEN];
	struct rouse_key key = { 0 };

	if (rouse_unbase64(bytes, sizeof(bytes), text, strlen(text)) != sizeof(bytes) ||
	    memcmp(bytes, "Ed", 2) != 0)
		return false;
	print_id(key.name, sizeof(key.name), bytes + 2);
	memcpy(key.bytes, bytes + 2 + ID_LEN, KEY_LEN);
	*ret = key;
	return true;
}

bool rouse_is_document_key(const char *text)
{
	struct rouse_key key;

	return rouse_is_key(text) || rouse_minisign_key(&key, text);
}

int rouse_document_key_parse(struct rouse_key *ret, const char *text, struct rouse_err *e)
{
	return rouse_minisign_key(ret, text) ? 0 : rouse_key_parse(ret, text, e);
}

bool rouse_is_minisign_key(const struct rouse_key *key)
{
	return rouse_strip_prefix(key->name, NAME) != NULL;
}

bool rouse_is_minisign(const char *text)
{
	return rouse_strip_prefix(text, COMMENT) != NULL;
}

/* --- a signature ------------------------------------------------------------------------------ */

struct minisign {
	bool hashed;
	uint8_t id[ID_LEN], signature[SIGNATURE_LEN], global[SIGNATURE_LEN];
	const char *comment; /* without its label */
};

/* Cuts the next line off; NULL when there is none. */
static char *next_line(char **p)
{
	char *line = *p;
	size_t n;

	if (!line)
		return NULL;
	n = strcspn(line, "\n");
	*p = line[n] ? line + n + 1 : NULL;
	line[n] = '\0';
	if (n && line[n - 1] == '\r')
		line[n - 1] = '\0';
	return line;
}

static bool parse(struct minisign *ret, char *text)
{
	uint8_t bytes[2 + ID_LEN + SIGNATURE_LEN];
	char *p = text, *untrusted = next_line(&p), *first = next_line(&p);
	char *comment = next_line(&p), *second = next_line(&p);

	if (!untrusted || !first || !comment || !second || !rouse_is_minisign(untrusted))
		return false;
	ret->comment = rouse_strip_prefix(comment, TRUSTED);
	if (!ret->comment ||
	    rouse_unbase64(bytes, sizeof(bytes), first, strlen(first)) != sizeof(bytes) ||
	    rouse_unbase64(ret->global, SIGNATURE_LEN, second, strlen(second)) != SIGNATURE_LEN)
		return false;
	ret->hashed = memcmp(bytes, "ED", 2) == 0;
	memcpy(ret->id, bytes + 2, ID_LEN);
	memcpy(ret->signature, bytes + 2 + ID_LEN, SIGNATURE_LEN);
	return ret->hashed || memcmp(bytes, "Ed", 2) == 0;
}

static bool verify(const struct minisign *m, const struct rouse_key *key, const void *data,
		   size_t n)
{
	auto_buf struct rouse_buf both = { 0 };
	uint8_t digest[ROUSE_BLAKE2B_LEN];
	bool good;

	if (m->hashed) {
		rouse_blake2b(data, n, digest);
		good = rouse_ed25519_verify(key->bytes, m->signature, digest, sizeof(digest));
	} else {
		good = rouse_ed25519_verify(key->bytes, m->signature, data, n);
	}
	if (!good || rouse_buf_add(&both, m->signature, SIGNATURE_LEN, SIZE_MAX) < 0 ||
	    rouse_buf_add(&both, m->comment, strlen(m->comment), SIZE_MAX) < 0)
		return false;
	return rouse_ed25519_verify(key->bytes, m->global, both.data, both.len);
}

int rouse_minisign_check(char *text, const struct rouse_key *keys, size_t n_keys, const void *data,
			 size_t n, const char **ret_name, struct rouse_err *e)
{
	struct minisign m;
	char name[128];

	if (!parse(&m, text))
		return rouse_fail(e, ROUSE_UNTRUSTED, 0,
				  "the signature is not readable: expected the four lines that "
				  "minisign writes");
	print_id(name, sizeof(name), m.id);
	for (size_t i = 0; i < n_keys; i++) {
		if (!rouse_streq(keys[i].name, name))
			continue;
		if (!verify(&m, &keys[i], data, n))
			return rouse_fail(e, ROUSE_UNTRUSTED, 0, "the signature by '%s' is wrong",
					  name);
		if (ret_name)
			*ret_name = keys[i].name;
		return 0;
	}
	return rouse_fail(e, ROUSE_UNTRUSTED, 0, "signed by '%s', which is not a trusted key%s%s%s",
			  name, n_keys ? " (trusted: '" : "", n_keys ? keys[0].name : "",
			  n_keys ? (n_keys > 1 ? "', …)" : "')") : "");
}
