/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/sigv4.h>

#include <assert.h>
#include <string.h>
#include <time.h>

#include <rouse/mem.h>
#include <rouse/text.h>
#include <rouse/trust.h>

#define MAX_HEADERS 16

void rouse_aws_key_wipe(struct rouse_aws_key *k)
{
	explicit_bzero(k, sizeof(*k));
}

/* --- spelling --------------------------------------------------------------------------------- */

static bool is_unreserved(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c && strchr("-._~", c));
}

char *rouse_sigv4_encode(const char *bytes, size_t n, const char *also)
{
	static const char digits[] = "0123456789ABCDEF";
	char *ret = rouse_calloc(3 * n + 1, 1), *p = ret;

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if (is_unreserved(c) || (c && strchr(also, c))) {
			*p++ = (char)c;
			continue;
		}
		*p++ = '%';
		*p++ = digits[c >> 4];
		*p++ = digits[c & 15];
	}
	return ret;
}

char *rouse_sigv4_decode(const char *text, size_t n, size_t *ret_len)
{
	char *ret = rouse_calloc(n + 1, 1);
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		char two[3] = "";
		uint8_t byte;

		if (text[i] == '%' && n - i > 2) {
			memcpy(two, text + i + 1, 2);
			if (rouse_unhex(&byte, 1, two)) {
				ret[len++] = (char)byte;
				i += 2;
				continue;
			}
		}
		ret[len++] = text[i];
	}
	*ret_len = len;
	return ret;
}

/* --- signing ---------------------------------------------------------------------------------- */

void rouse_sigv4_date(char ret[static ROUSE_SIGV4_DATE], int64_t time)
{
	time_t t = (time_t)time;
	struct tm tm = { 0 };

	/* A clock that is beyond the year 9999 signs nothing that anybody accepts; it must only fit. */
	if (!gmtime_r(&t, &tm) || strftime(ret, ROUSE_SIGV4_DATE, "%Y%m%dT%H%M%SZ", &tm) == 0)
		(void)snprintf(ret, ROUSE_SIGV4_DATE, "19700101T000000Z");
}

/* Blanks at the ends go, blanks inside become one. */
static void add_value(struct rouse_buf *b, const char *value)
{
	bool gap = false;

	value += strspn(value, " \t");
	for (; *value; value++) {
		if (*value == ' ' || *value == '\t') {
			gap = true;
			continue;
		}
		rouse_buf_printf(b, gap ? " %c" : "%c", *value);
		gap = false;
	}
}

/* The headers in order of their names, the given order kept among equal ones. */
static void sort_headers(const struct rouse_sigv4 *s,
			 const struct rouse_sigv4_header *ret[MAX_HEADERS])
{
	assert(s->n_headers && s->n_headers <= MAX_HEADERS);
	for (size_t i = 0; i < s->n_headers; i++) {
		size_t k = i;

		for (; k && strcmp(ret[k - 1]->name, s->headers[i].name) > 0; k--)
			ret[k] = ret[k - 1];
		ret[k] = &s->headers[i];
	}
}

static void add_headers(const struct rouse_sigv4 *s, struct rouse_buf *lines,
			struct rouse_buf *names)
{
	const struct rouse_sigv4_header *sorted[MAX_HEADERS];

	sort_headers(s, sorted);
	for (size_t i = 0; i < s->n_headers; i++) {
		bool same = i && rouse_streq(sorted[i]->name, sorted[i - 1]->name);

		if (same) {
			rouse_buf_printf(lines, ",");
		} else {
			rouse_buf_printf(lines, "%s%s:", i ? "\n" : "", sorted[i]->name);
			rouse_buf_printf(names, "%s%s", i ? ";" : "", sorted[i]->name);
		}
		add_value(lines, sorted[i]->value);
	}
	rouse_buf_printf(lines, "\n");
}

static void wipe_buf(struct rouse_buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->len);
	rouse_buf_done(b);
}

static void sign(const struct rouse_sigv4 *s, const char *day, const char *text,
		 char ret[static 2 * ROUSE_SHA256_LEN + 1])
{
	const char *const parts[] = { day, s->region, s->service, "aws4_request", text };
	char first[4 + sizeof(s->key->secret)];
	uint8_t keys[2][ROUSE_SHA256_LEN];
	size_t n = ARRAY_SIZE(parts);

	(void)snprintf(first, sizeof(first), "AWS4%s", s->key->secret);
	rouse_hmac_sha256(first, strlen(first), parts[0], strlen(parts[0]), keys[0]);
	for (size_t i = 1; i < n; i++)
		rouse_hmac_sha256(keys[(i - 1) % 2], ROUSE_SHA256_LEN, parts[i], strlen(parts[i]),
				  keys[i % 2]);
	rouse_hex(ret, keys[(n - 1) % 2], ROUSE_SHA256_LEN);
	explicit_bzero(first, sizeof(first));
	explicit_bzero(keys, sizeof(keys));
}

char *rouse_sigv4_authorization(const struct rouse_sigv4 *s)
{
	struct rouse_buf request = { 0 }, lines = { 0 };
	auto_buf struct rouse_buf names = { 0 };
	auto_free char *scope = NULL, *text = NULL;
	char date[ROUSE_SIGV4_DATE], day[9] = "", digest[65], signature[65];

	rouse_sigv4_date(date, s->time);
	memcpy(day, date, sizeof(day) - 1);
	add_headers(s, &lines, &names);
	rouse_buf_printf(&request, "%s\n%s\n%s\n%s\n%s\n%s", s->method, s->path, s->query,
			 lines.data, names.data, s->payload);
	rouse_sha256_hex(request.data, request.len, digest);
	wipe_buf(&request); /* the session token is in these */
	wipe_buf(&lines);

	scope = rouse_asprintf("%s/%s/%s/aws4_request", day, s->region, s->service);
	text = rouse_asprintf("AWS4-HMAC-SHA256\n%s\n%s\n%s", date, scope, digest);
	sign(s, day, text, signature);
	return rouse_asprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
			      s->key->id, scope, names.data, signature);
}
