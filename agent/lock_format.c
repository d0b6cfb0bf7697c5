/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/lock.h>

#include <string.h>

#include <rouse/text.h>

#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

/* Whoever answers there says which build is meant, and only TLS says who answers. */
bool rouse_is_channel(const char *s)
{
	if (!strstr(s, "://"))
		return rouse_is_label(s);
	return rouse_is_url(s) && !strpbrk(s, "?#") &&
	       (rouse_strip_prefix(s, "https://") || rouse_strip_prefix(s, "file://"));
}

bool rouse_is_index_url(const char *s)
{
	return rouse_is_url(s) && !strchr(s, '#') && !rouse_strip_prefix(s, "http://");
}

bool rouse_is_attribute(const char *s)
{
	size_t n = strlen(s);

	return n && n <= 128 && strspn(s, ALNUM "._+-") == n && !strchr(".-", *s);
}

bool rouse_is_platform(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_");

	return n && n <= 32 && s[n] == '-' && s[n + 1] && strlen(s + n + 1) <= 32 &&
	       strspn(s + n + 1, "abcdefghijklmnopqrstuvwxyz0123456789") == strlen(s + n + 1);
}
