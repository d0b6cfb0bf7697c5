/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One public key as in OpenSSH's .pub files. Options before the type, other lines and truncated
 * blobs are refused: sshd would skip such a line in silence, and nobody could log in.
 */
#include <rouse/sshkey.h>

#include <ctype.h>
#include <string.h>

#include <rouse/mem.h>
#include <rouse/text.h>
#include <rouse/trust.h>

/* A key in an authorized_keys line: sshd reads lines of at most 8 KiB (rsa 16384: 2 KiB blob). */
#define MAX_KEY_LINE 8192

static const struct type {
	const char *type;
	unsigned strings;   /* length-prefixed strings behind the type's name in the blob */
	uint32_t first_len; /* length of the first of them, 0: any */
	const char *name;   /* of ssh-keygen */
	unsigned bits;      /* 0: those of the last string */
} types[] = {
	{ "ssh-ed25519", 1, 32, "ED25519", 256 },
	{ "ssh-rsa", 2, 0, "RSA", 0 },
	{ "ecdsa-sha2-nistp256", 2, 8, "ECDSA", 256 },
	{ "ecdsa-sha2-nistp384", 2, 8, "ECDSA", 384 },
	{ "ecdsa-sha2-nistp521", 2, 8, "ECDSA", 521 },
	{ "sk-ssh-ed25519@openssh.com", 2, 32, "ED25519-SK", 256 },
	{ "sk-ecdsa-sha2-nistp256@openssh.com", 3, 8, "ECDSA-SK", 256 },
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

/* Of a number (RFC 4251, "mpint"). */
static unsigned bits_of(const uint8_t *p, uint32_t len)
{
	unsigned bits;

	for (; len && !*p; len--)
		p++;
	bits = len * 8;
	for (unsigned top = len ? *p : 0x80; !(top & 0x80); top <<= 1)
		bits--;
	return bits;
}

static bool read_blob(const struct type *type, const uint8_t *p, size_t left, unsigned *ret_bits)
{
	const uint8_t *s = NULL;
	uint32_t len = 0;

	if (!take_string(&p, &left, &s, &len) || len != strlen(type->type) ||
	    memcmp(s, type->type, len) != 0)
		return false;
	for (unsigned i = 0; i < type->strings; i++) {
		if (!take_string(&p, &left, &s, &len) ||
		    (i == 0 && type->first_len && len != type->first_len))
			return false;
	}
	*ret_bits = type->bits ? type->bits : bits_of(s, len);
	return left == 0;
}

static const struct type *type_of(const char *line, size_t n)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strlen(types[i].type) == n && memcmp(types[i].type, line, n) == 0)
			return &types[i];
	return NULL;
}

/* The blob, which the caller frees, or NULL. */
static uint8_t *read_line(const char *line, const struct type **ret_type, size_t *ret_len,
			  unsigned *ret_bits)
{
	size_t n = strcspn(line, " "), blob_len;
	auto_free uint8_t *bytes = NULL;
	const char *blob = line + n + 1;
	int64_t len;

	if (strlen(line) > MAX_KEY_LINE)
		return NULL;
	for (const char *p = line; *p; p++)
		if (iscntrl((unsigned char)*p))
			return NULL;
	*ret_type = type_of(line, n);
	if (!*ret_type || !line[n])
		return NULL;
	blob_len = strcspn(blob, " ");
	bytes = rouse_calloc(blob_len / 4 + 1, 3);
	len = rouse_unbase64(bytes, blob_len / 4 * 3, blob, blob_len);
	if (len <= 0 || !read_blob(*ret_type, bytes, (size_t)len, ret_bits))
		return NULL;
	*ret_len = (size_t)len;
	return take(bytes, NULL);
}

bool rouse_is_ssh_key(const char *line)
{
	const struct type *type;
	unsigned bits;
	size_t len;
	auto_free uint8_t *blob = read_line(line, &type, &len, &bits);

	return blob;
}

char *rouse_ssh_fingerprint(const char *line)
{
	const struct type *type;
	unsigned bits = 0;
	size_t len = 0;
	auto_free uint8_t *blob = read_line(line, &type, &len, &bits);
	auto_free char *print = NULL;
	uint8_t digest[ROUSE_SHA256_LEN];
	const char *comment;

	if (!blob)
		return NULL;
	rouse_sha256_of(blob, len, digest);
	print = rouse_base64(digest, sizeof(digest));
	print[strcspn(print, "=")] = '\0';
	comment = strchr(strchr(line, ' ') + 1, ' ');
	return rouse_asprintf("%u SHA256:%s %s (%s)", bits, print,
			      comment && comment[1] ? comment + 1 : "no comment", type->name);
}
