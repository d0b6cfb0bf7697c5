/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/text.h>

#include <ctype.h>
#include <string.h>

bool rouse_streq(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

const char *rouse_strip_prefix(const char *s, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

/* Reads leading digits; returns the rest, or NULL when there is none or the value exceeds max. */
static const char *parse_digits(const char *s, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;
	const char *p = s;

	for (; *p >= '0' && *p <= '9'; p++) {
		uint64_t digit = (uint64_t)(*p - '0');

		if (v > (max - digit) / 10 || digit > max)
			return NULL;
		v = v * 10 + digit;
	}
	if (p == s)
		return NULL;
	*ret = v;
	return p;
}

bool rouse_parse_u64(const char *s, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;
	const char *rest = parse_digits(s, max, &v);

	if (!rest || *rest)
		return false;
	*ret = v;
	return true;
}

bool rouse_parse_size(const char *s, uint64_t *ret_bytes)
{
	static const struct {
		const char *suffix;
		uint64_t factor;
	} units[] = {
		{ "B", 1 },
		{ "kB", UINT64_C(1000) },
		{ "KB", UINT64_C(1000) },
		{ "MB", UINT64_C(1000000) },
		{ "GB", UINT64_C(1000000000) },
		{ "TB", UINT64_C(1000000000000) },
		{ "PB", UINT64_C(1000000000000000) },
		{ "KiB", UINT64_C(1) << 10 },
		{ "MiB", UINT64_C(1) << 20 },
		{ "GiB", UINT64_C(1) << 30 },
		{ "TiB", UINT64_C(1) << 40 },
		{ "PiB", UINT64_C(1) << 50 },
		{ "K", UINT64_C(1) << 10 },
		{ "M", UINT64_C(1) << 20 },
		{ "G", UINT64_C(1) << 30 },
		{ "T", UINT64_C(1) << 40 },
		{ "P", UINT64_C(1) << 50 },
	};
	uint64_t v = 0;
	const char *rest = parse_digits(s, UINT64_MAX, &v);

	if (!rest)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(rest, units[i].suffix) != 0)
			continue;
		/* More than 2^63 - 1 bytes fits no off_t. */
		if (v > (uint64_t)INT64_MAX / units[i].factor)
			return false;
		*ret_bytes = v * units[i].factor;
		return true;
	}
	return false;
}

bool rouse_parse_percent(const char *s, unsigned *ret)
{
	uint64_t v = 0;
	const char *rest = parse_digits(s, 100, &v);

	if (!rest || strcmp(rest, "%") != 0 || v == 0)
		return false;
	*ret = (unsigned)v;
	return true;
}

bool rouse_parse_duration(const char *s, uint64_t *ret_ms)
{
	static const struct {
		const char *suffix;
		uint64_t factor;
	} units[] = { { "ms", 1 },      { "s", 1000 },    { "m", 60000 },
		      { "min", 60000 }, { "h", 3600000 }, { "d", 86400000 } };
	uint64_t v = 0;
	const char *rest = parse_digits(s, UINT32_MAX, &v);

	if (!rest)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (strcmp(rest, units[i].suffix) == 0) {
			*ret_ms = v * units[i].factor;
			return true;
		}
	return false;
}

bool rouse_parse_mode(const char *s, unsigned *ret)
{
	unsigned v = 0;
	size_t n = strlen(s);

	if (n < 3 || n > 5)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '7')
			return false;
		v = v * 8 + (unsigned)(s[i] - '0');
	}
	if (v > 07777)
		return false;
	*ret = v;
	return true;
}

const char *rouse_print_size(char buf[static 16], uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	size_t unit = 0;
	double v = (double)bytes;

	while (v >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
		v /= 1024;
		unit++;
	}
	if (unit == 0 || (v >= 100 && unit > 0))
		(void)snprintf(buf, 16, "%.0f %s", v, units[unit]);
	else
		(void)snprintf(buf, 16, "%.1f %s", v, units[unit]);
	return buf;
}

const char *rouse_print_duration(char buf[static 24], uint64_t ms)
{
	if (ms < 1000)
		(void)snprintf(buf, 24, "%u ms", (unsigned)ms);
	else if (ms < 100000)
		(void)snprintf(buf, 24, "%u.%u s", (unsigned)(ms / 1000),
			       (unsigned)(ms % 1000 / 100));
	else
		(void)snprintf(buf, 24, "%llu m %02u s", (unsigned long long)(ms / 60000),
			       (unsigned)(ms % 60000 / 1000));
	return buf;
}

void rouse_hex(char *ret, const uint8_t *data, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		ret[2 * i] = digits[data[i] >> 4];
		ret[2 * i + 1] = digits[data[i] & 15];
	}
	ret[2 * n] = '\0';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool rouse_unhex(uint8_t *ret, size_t n, const char *hex)
{
	if (strlen(hex) != 2 * n)
		return false;
	for (size_t i = 0; i < n; i++) {
		int hi = hex_digit(hex[2 * i]), lo = hex_digit(hex[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		ret[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *rouse_base64(const uint8_t *data, size_t n)
{
	char *ret = rouse_calloc((n + 2) / 3 * 4 + 1, 1), *p = ret;

	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)data[i] << 16;

		if (i + 1 < n)
			v |= (uint32_t)data[i + 1] << 8;
		if (i + 2 < n)
			v |= data[i + 2];
		*p++ = base64_digits[v >> 18];
		*p++ = base64_digits[v >> 12 & 63];
		*p++ = i + 1 < n ? base64_digits[v >> 6 & 63] : '=';
		*p++ = i + 2 < n ? base64_digits[v & 63] : '=';
	}
	return ret;
}

static int base64_digit(char c)
{
	const char *p = c ? strchr(base64_digits, c) : NULL;

	return p ? (int)(p - base64_digits) : -1;
}

int64_t rouse_unbase64(uint8_t *ret, size_t max, const char *text, size_t len)
{
	size_t out = 0, pad = 0;

	if (len % 4)
		return -1;
	if (len && text[len - 1] == '=')
		pad = text[len - 2] == '=' ? 2 : 1;
	for (size_t i = 0; i < len; i += 4) {
		size_t n = i + 4 == len ? 3 - pad : 3;
		uint32_t v = 0;

		for (size_t j = 0; j < 4; j++) {
			int d = j <= n ? base64_digit(text[i + j]) : 0;

			if (d < 0)
				return -1;
			v = v << 6 | (uint32_t)d;
		}
		/* Bits that no byte takes must be zero: one value has one spelling. */
		if ((n == 1 && v & 0xffff) || (n == 2 && v & 0xff) || out + n > max)
			return -1;
		for (size_t j = 0; j < n; j++)
			ret[out++] = (uint8_t)(v >> (16 - 8 * j));
	}
	return (int64_t)out;
}

/* The bytes of the character at `p`; 0 when it is none, or cut off by `end`. */
static size_t utf8_length(const unsigned char *p, const unsigned char *end)
{
	uint32_t v = *p, min = 1;
	size_t n = 1;

	if (v >= 0xc2 && v <= 0xdf)
		n = 2, min = 0x80, v &= 0x1f;
	else if (v >= 0xe0 && v <= 0xef)
		n = 3, min = 0x800, v &= 0x0f;
	else if (v >= 0xf0 && v <= 0xf4)
		n = 4, min = 0x10000, v &= 0x07;
	else if (v >= 0x80)
		return 0;
	if ((size_t)(end - p) < n)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (p[i] & 0x3f);
	}
	return v < min || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff) ? 0 : n;
}

bool rouse_utf8_valid(const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s, *end = p + len;

	while (p < end) {
		size_t n = utf8_length(p, end);

		if (!n)
			return false;
		p += n;
	}
	return true;
}

/* Optimal string alignment distance (a swap of neighbours is one edit), for words < 64 bytes. */
static size_t edit_distance(const char *a, const char *b)
{
	enum { MAX = 64 };
	size_t row[3][MAX + 1], la = strlen(a), lb = strlen(b);

	if (la >= MAX || lb >= MAX)
		return MAX;
	for (size_t j = 0; j <= lb; j++)
		row[0][j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t *now = row[i % 3], *last = row[(i - 1) % 3], *before = row[(i + 1) % 3];

		now[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			bool same = tolower((unsigned char)a[i - 1]) ==
				    tolower((unsigned char)b[j - 1]);
			size_t best = last[j - 1] + (same ? 0 : 1);

			if (last[j] + 1 < best)
				best = last[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			now[j] = best;
		}
	}
	return row[la % 3][lb];
}

const char *rouse_nearest(const char *s, size_t n, const char *(*word)(const void *ctx, size_t i),
			  const void *ctx)
{
	const char *best = NULL;
	size_t best_distance = strlen(s) < 6 ? 2 : 3; /* must be below */

	for (size_t i = 0; i < n; i++) {
		const char *w = word(ctx, i);
		size_t d = edit_distance(s, w);

		if (d < best_distance && d < strlen(w)) {
			best = w;
			best_distance = d;
		}
	}
	for (size_t i = 0; i < n && !best; i++) { /* "mountpoint" for "mount", and the reverse */
		const char *w = word(ctx, i);
		size_t shorter = strlen(s) < strlen(w) ? strlen(s) : strlen(w);

		if (shorter >= 4 && strncasecmp(s, w, shorter) == 0)
			best = w;
	}
	return best;
}

void rouse_one_line(char *s)
{
	unsigned char *p = (unsigned char *)s, *end = p + strlen(s);

	while (p < end) {
		size_t n = utf8_length(p, end);

		if (!n)
			*p = '?';
		else if (*p < 0x20 || *p == 0x7f)
			*p = ' ';
		else if (n == 2 && *p == 0xc2 &&
			 p[1] < 0xa0) /* a C1 control: CSI in one character */
			p[0] = p[1] = ' ';
		p += n ? n : 1;
	}
}

bool rouse_is_like_url(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");

	return n && strncmp(s + n, "://", 3) == 0 && !strpbrk(s, " \t\r\n");
}

const char *rouse_print_url(char *buf, size_t size, const char *url)
{
	const char *rest = strstr(url, "://"), *host = rest ? rest + 3 : url, *end, *at = NULL;
	size_t scheme = (size_t)(host - url);

	end = host + strcspn(host, "/?#");
	for (const char *p = host; p < end; p++)
		if (*p == '@')
			at = p;
	if (at)
		host = at + 1;
	(void)snprintf(buf, size, "%.*s%.*s", (int)scheme, url, (int)strcspn(host, "?#"), host);
	for (char *p = buf; *p; p++)
		if ((unsigned char)*p < 0x21 || *p == 0x7f)
			*p = '?';
	return buf;
}
