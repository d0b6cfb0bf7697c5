/* SPDX-License-Identifier: Apache-2.0 */
#include "path.h"

#include <string.h>

#include <rouse/closure.h>
#include <rouse/mem.h>
#include <rouse/text.h>

#include "nix32.h"

static bool name_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c && strchr("+._?=-", c));
}

bool rouse_is_store_name(const char *s, size_t len)
{
	uint8_t hash[20];
	const char *name = s + ROUSE_HASH_PART + 1;
	size_t n;

	if (len < ROUSE_HASH_PART + 2 || len > ROUSE_HASH_PART + 1 + ROUSE_MAX_STORE_NAME ||
	    s[ROUSE_HASH_PART] != '-' || !rouse_unnix32(hash, sizeof(hash), s, ROUSE_HASH_PART))
		return false;
	n = len - ROUSE_HASH_PART - 1;
	for (size_t i = 0; i < n; i++)
		if (!name_char(name[i]))
			return false;
	if (name[0] != '.')
		return true;
	/* ".", "..", ".-…" and "..-…" have a meaning elsewhere; other leading dots are names. */
	if (n == 1 || name[1] == '-')
		return false;
	return !(name[1] == '.' && (n == 2 || name[2] == '-'));
}

const char *rouse_store_name(const char *path)
{
	const char *name = rouse_strip_prefix(path, ROUSE_STORE_PREFIX);

	return name && rouse_is_store_name(name, strlen(name)) ? name : NULL;
}

const char *rouse_store_path_label(const char *path)
{
	const char *name = rouse_store_name(path);

	return name ? name + ROUSE_HASH_PART + 1 : NULL;
}

void rouse_store_name_of(char ret[static ROUSE_STORE_NAME_SIZE], const char *type,
			 const uint8_t hash[static ROUSE_SHA256_LEN], const char *name)
{
	uint8_t digest[ROUSE_SHA256_LEN], folded[20] = { 0 };
	char hex[2 * ROUSE_SHA256_LEN + 1];
	auto_free char *text = NULL;
	size_t n;

	rouse_hex(hex, hash, ROUSE_SHA256_LEN);
	text = rouse_asprintf("%s:sha256:%s:" ROUSE_STORE_DIR ":%s", type, hex, name);
	rouse_sha256_of(text, strlen(text), digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		folded[i % sizeof(folded)] ^= digest[i];
	rouse_nix32(ret, folded, sizeof(folded));
	ret[ROUSE_HASH_PART] = '-';
	n = strnlen(name, ROUSE_MAX_STORE_NAME);
	memcpy(ret + ROUSE_HASH_PART + 1, name, n);
	ret[ROUSE_HASH_PART + 1 + n] = '\0';
}
