/* SPDX-License-Identifier: Apache-2.0 */
/* Formats of strings that several sections of the document share; see rouse/schema.h. */
#include <rouse/schema.h>

#include <ctype.h>
#include <string.h>

#include <rouse/text.h>

#include "blob.h"
#include "s3.h"

bool rouse_is_absolute_path(const char *s)
{
	size_t n = strlen(s);

	if (s[0] != '/' || n >= 4096)
		return false;
	if (n == 1)
		return true;
	for (const char *p = s; *p;) {
		size_t len = strcspn(p + 1, "/");

		if (len == 0 || len > 255 || (len == 1 && p[1] == '.') ||
		    (len == 2 && p[1] == '.' && p[2] == '.'))
			return false;
		p += 1 + len;
	}
	for (const char *p = s; *p; p++)
		if (iscntrl((unsigned char)*p))
			return false;
	return true;
}

bool rouse_is_hostname(const char *s)
{
	size_t n = strlen(s), label = 0;

	if (n == 0 || n > 64)
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = s[i];

		if (c == '.') {
			if (label == 0 || s[i - 1] == '-')
				return false;
			label = 0;
			continue;
		}
		if (!(isascii(c) && isalnum((unsigned char)c)) && (c != '-' || label == 0))
			return false;
		if (++label > 63)
			return false;
	}
	return label > 0 && s[n - 1] != '-';
}

bool rouse_is_sha256_hex(const char *s)
{
	return strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

bool rouse_is_url(const char *s)
{
	static const char *const schemes[] = { "https://", "http://", "file:///",
					       "s3://",    "gs://",   "az://" };
	const char *rest = NULL;
	size_t host;

	if (strlen(s) >= 4096)
		return false;
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f ||
		    strchr("\"<>\\^`{|}", *p))
			return false;
	for (size_t i = 0; i < ARRAY_SIZE(schemes) && !rest; i++)
		rest = rouse_strip_prefix(s, schemes[i]);
	if (!rest)
		return false;
	if (blob_is_url(s)) {
		struct blob_target t __attribute__((cleanup(blob_target_auto))) = { 0 };
		struct rouse_err e = { 0 };

		return blob_parse(&t, s, &e) == 0;
	}
	if (s[0] == 's') {
		struct s3_target t __attribute__((cleanup(s3_target_auto))) = { 0 };
		struct rouse_err e = { 0 };

		return s3_parse(&t, s, &e) == 0;
	}
	if (s[0] == 'f')
		return *rest != '\0';
	host = strcspn(rest, "/?#");
	return host > 0 && !memchr(rest, '@', host);
}

bool rouse_is_cache_url(const char *s)
{
	if (!rouse_is_url(s) || strchr(s, '#'))
		return false;
	/* A version is one object's. */
	if (blob_is_url(s))
		return !strstr(s, "versionid=") && !strstr(s, "generation=");
	return rouse_strip_prefix(s, "s3://") ? !strstr(s, "versionId=") : !strchr(s, '?');
}

bool rouse_is_store_path(const char *s)
{
	static const char nix32[] = "0123456789abcdfghijklmnpqrsvwxyz";
	const char *base = rouse_strip_prefix(s, "/nix/store/"), *name;

	if (!base || strspn(base, nix32) < 32 || base[32] != '-')
		return false;
	name = base + 33;
	if (!*name || strlen(name) > 211 || *name == '.')
		return false;
	for (const char *p = name; *p; p++)
		if (!(isascii(*p) && isalnum((unsigned char)*p)) && !strchr("+._?=-", *p))
			return false;
	return true;
}

bool rouse_is_label(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n > 63 || !isascii(*s) || !isalnum((unsigned char)*s))
		return false;
	for (; *s; s++)
		if (!(isascii(*s) && isalnum((unsigned char)*s)) && !strchr("._-", *s))
			return false;
	return true;
}
