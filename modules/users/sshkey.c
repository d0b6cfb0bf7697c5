/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One public key as in OpenSSH's .pub files. Options before the type, other lines and truncated
 * blobs are refused: sshd would skip such a line in silence, and nobody could log in.
 */
#include "users.h"

#include <ctype.h>
#include <string.h>

#include <rouse/text.h>

/* A key in an authorized_keys line: sshd reads lines of at most 8 KiB (rsa 16384: 2 KiB blob). */
#define MAX_KEY_LINE 8192

static const struct {
	const char *type;
	unsigned strings;   /* length-prefixed strings behind the type's name in the blob */
	uint32_t first_len; /* length of the first of them, 0: any */
} types[] = {
	{ "ssh-ed25519", 1, 32 },
	{ "ssh-rsa", 2, 0 },
	{ "ecdsa-sha2-nistp256", 2, 8 },
	{ "ecdsa-sha2-nistp384", 2, 8 },
	{ "ecdsa-sha2-nistp521", 2, 8 },
	{ "sk-ssh-ed25519@openssh.com", 2, 32 },
	{ "sk-ecdsa-sha2-nistp256@openssh.com", 3, 8 },
};

/* Takes one length-prefixed string (RFC 4251) off the blob. */
static bool take_string(const uint8_t **p, size_t *left, const uint8_t **ret, uint32_t *ret_len)
{
	uint32_t len;

	if (*left < 4)
		return false;
	len = (uint32_t)(*p)[0] << 24 | (uint32_t)(*p)[1] << 16 | (uint32_t)(*p)[2] << 8 | (*p)[3];
	if (len > *left - 4)
		return false;
	*ret = *p + 4;
	*ret_len = len;
	*p += 4 + (size_t)len;
	*left -= 4 + (size_t)len;
	return true;
}

static bool blob_valid(size_t type, const uint8_t *p, size_t left)
{
	const uint8_t *s = NULL;
	uint32_t len = 0;

	if (!take_string(&p, &left, &s, &len) || len != strlen(types[type].type) ||
	    memcmp(s, types[type].type, len) != 0)
		return false;
	for (unsigned i = 0; i < types[type].strings; i++) {
		if (!take_string(&p, &left, &s, &len) ||
		    (i == 0 && types[type].first_len && len != types[type].first_len))
			return false;
	}
	return left == 0;
}

bool users_is_ssh_key(const char *s)
{
	size_t n = strcspn(s, " "), blob_len, type = 0;
	auto_free uint8_t *bytes = NULL;
	const char *blob = s + n + 1;
	int64_t len;

	if (strlen(s) > MAX_KEY_LINE)
		return false;
	for (const char *p = s; *p; p++)
		if (iscntrl((unsigned char)*p))
			return false;
	while (type < ARRAY_SIZE(types) &&
	       (strlen(types[type].type) != n || memcmp(types[type].type, s, n) != 0))
		type++;
	if (type == ARRAY_SIZE(types) || !s[n])
		return false;
	blob_len = strcspn(blob, " ");
	bytes = rouse_calloc(blob_len / 4 + 1, 3);
	len = rouse_unbase64(bytes, blob_len / 4 * 3, blob, blob_len);
	return len > 0 && blob_valid(type, bytes, (size_t)len);
}
