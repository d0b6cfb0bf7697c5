/* SPDX-License-Identifier: Apache-2.0 */
#include "s3.h"

#include <string.h>
#include <strings.h>
#include <time.h>

#include <rouse/fetch.h>
#include <rouse/retry.h>
#include <rouse/sigv4.h>
#include <rouse/text.h>

#include "blob.h"

#define DIGITS "0123456789"
#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* --- URLs ------------------------------------------------------------------------------------- */

bool s3_is_region(const char *s)
{
	size_t n = strlen(s);

	return n && n < S3_REGION && strspn(s, LOWER DIGITS "-") == n;
}

/* Old buckets have upper case letters and underscores; nothing has what could end a host name. */
static bool is_bucket(const char *s)
{
	size_t n = strlen(s);

	return n && n <= 63 && strspn(s, LOWER UPPER DIGITS "._-") == n && *s != '.' &&
	       s[n - 1] != '.';
}

/* "host", "host:port", "[address]:port" */
static bool is_endpoint(const char *s)
{
	const char *end = *s == '[' ? strchr(s, ']') : NULL;
	uint64_t port;

	if (*s == '[' &&
	    (!end || strspn(s + 1, "0123456789abcdefABCDEF:.") != (size_t)(end - s) - 1))
		return false;
	end = end ? end + 1 : s + strspn(s, LOWER UPPER DIGITS ".-");
	if (end == s || end - s > 253)
		return false;
	return !*end || (*end == ':' && rouse_parse_u64(end + 1, 65535, &port) && port);
}

/* Ports that the scheme implies are not sent, so that they must not be signed. */
static const char *plain_endpoint(struct s3_target *t, const char *s)
{
	size_t n = strlen(s);
	const char *port = t->plain ? ":80" : ":443";
	size_t skip = strlen(port);
	char *ret;

	if (n > skip && strcmp(s + n - skip, port) == 0)
		n -= skip;
	ret = rouse_arena_strndup(&t->arena, s, n);
	for (char *p = ret; *p; p++)
		*p = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
	return ret;
}

static int take_endpoint(struct s3_target *t, const char *value, const char *scheme,
			 struct rouse_err *e)
{
	const char *rest = NULL, *own = NULL;
	size_t n;

	if ((rest = rouse_strip_prefix(value, "https://")))
		own = "https";
	else if ((rest = rouse_strip_prefix(value, "http://")))
		own = "http";
	else
		rest = value;
	if (scheme && own && !rouse_streq(scheme, own))
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "'scheme' and 'endpoint' name different schemes");
	t->plain = rouse_streq(own ? own : scheme, "http");
	n = strlen(rest);
	rest = rouse_arena_strndup(&t->arena, rest, n && rest[n - 1] == '/' ? n - 1 : n);
	if (!is_endpoint(rest))
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "'endpoint' must be a host, and maybe a port");
	t->endpoint = plain_endpoint(t, rest);
	return 0;
}

/* A decoded copy; NULL when it has a NUL inside. */
static const char *decode(struct s3_target *t, const char *text, size_t n)
{
	size_t len = 0;
	auto_free char *plain = rouse_sigv4_decode(text, n, &len);

	return memchr(plain, '\0', len) ? NULL : rouse_arena_strndup(&t->arena, plain, len);
}

/* What needs more than to be kept. */
struct given {
	const char *endpoint, *scheme, *dualstack, *payer;
};

static int take_parameter(struct s3_target *t, const char *text, size_t n, struct given *given,
			  struct rouse_err *e)
{
	const char *equals = memchr(text, '=', n);
	const char *name = decode(t, text, equals ? (size_t)(equals - text) : n), *value = NULL;
	const char **to = NULL;

	if (equals)
		value = decode(t, equals + 1, n - (size_t)(equals - text) - 1);
	if (rouse_streq(name, "region"))
		to = &t->region;
	else if (rouse_streq(name, "versionId"))
		to = &t->version;
	else if (rouse_streq(name, "endpoint"))
		to = &given->endpoint;
	else if (rouse_streq(name, "scheme"))
		to = &given->scheme;
	else if (rouse_streq(name, "addressing-style"))
		to = &t->style;
	else if (rouse_streq(name, "dualstack"))
		to = &given->dualstack;
	else if (rouse_streq(name, "requestPayer"))
		to = &given->payer;
	if (!to)
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "'%.32s' is none of region, endpoint, scheme, versionId, "
				  "addressing-style, dualstack and requestPayer",
				  name ? name : "");
	if (*to || !value || !*value)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "'%s' must be given once, with a value",
				  name);
	*to = value;
	return 0;
}

static int take_word(const char *name, const char *value, const char *word, bool *ret,
		     struct rouse_err *e)
{
	*ret = value != NULL;
	return !value || rouse_streq(value, word)
		       ? 0
		       : rouse_fail(e, ROUSE_DOCUMENT, 0, "'%s' may be '%s' only", name, word);
}

static int take_query(struct s3_target *t, const char *query, struct rouse_err *e)
{
	struct given given = { 0 };

	for (const char *p = query; *p;) {
		size_t n = strcspn(p, "&");

		if (n && take_parameter(t, p, n, &given, e) < 0)
			return -1;
		p += n + (p[n] == '&');
	}
	if (take_word("dualstack", given.dualstack, "true", &t->dualstack, e) < 0 ||
	    take_word("requestPayer", given.payer, "requester", &t->payer, e) < 0)
		return -1;
	if (t->style && !rouse_streq(t->style, "path") && !rouse_streq(t->style, "virtual") &&
	    !rouse_streq(t->style, "auto"))
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "'addressing-style' must be path, virtual or auto");
	if (t->region && !s3_is_region(t->region))
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "'region' is not the name of a region");
	if (given.scheme && !rouse_streq(given.scheme, "https") &&
	    !rouse_streq(given.scheme, "http"))
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "'scheme' must be https or http");
	if (given.endpoint)
		return take_endpoint(t, given.endpoint, given.scheme, e);
	if (rouse_streq(given.scheme, "http"))
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "'scheme' may be http for an endpoint of your own only");
	return 0;
}

static int take_url(struct s3_target *t, const char *url, struct rouse_err *e)
{
	const char *bucket = rouse_strip_prefix(url, "s3://"), *key, *query;

	if (!bucket || strchr(url, '#'))
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "it is not an s3 URL");
	key = bucket + strcspn(bucket, "/?");
	query = key + strcspn(key, "?");
	t->bucket = rouse_arena_strndup(&t->arena, bucket, (size_t)(key - bucket));
	if (!is_bucket(t->bucket))
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "it does not begin with the name of a bucket");
	if (*key == '/')
		key++;
	t->key = decode(t, key, (size_t)(query - key));
	if (!t->key)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "a key of S3 has no NUL byte");
	return take_query(t, *query ? query + 1 : "", e);
}

int s3_parse(struct s3_target *ret, const char *url, struct rouse_err *e)
{
	struct s3_target t = { 0 };

	if (take_url(&t, url, e) < 0) {
		s3_target_done(&t);
		return -1;
	}
	*ret = t;
	return 0;
}

void s3_target_done(struct s3_target *t)
{
	rouse_arena_done(&t->arena);
	*t = (struct s3_target){ 0 };
}

static bool is_version(const char *parameter)
{
	return rouse_strip_prefix(parameter, "versionId=") ||
	       rouse_strip_prefix(parameter, "versionid=") ||
	       rouse_strip_prefix(parameter, "generation=");
}

/* A version is one object's; what is beside it has others. */
static void add_query(struct rouse_buf *b, const char *query, bool store)
{
	char mark = '?';

	if (!store) {
		rouse_buf_printf(b, "?%s", query);
		return;
	}
	for (const char *p = query; *p;) {
		size_t n = strcspn(p, "&");

		if (n && !is_version(p)) {
			rouse_buf_printf(b, "%c%.*s", mark, (int)n, p);
			mark = '&';
		}
		p += n + (p[n] == '&');
	}
}

char *rouse_fetch_url(const char *base, const char *more)
{
	bool store = rouse_strip_prefix(base, "s3://") || blob_is_url(base);
	size_t n = strcspn(base, "?#");
	struct rouse_buf b = { 0 };

	/* One slash between them; those of "://" stay. */
	while (*more == '/' && n > 3 && base[n - 1] == '/' && strncmp(base + n - 3, "://", 3) != 0)
		n--;
	rouse_buf_printf(&b, "%.*s", (int)n, base);
	for (const char *p = more; *p; p++)
		rouse_buf_printf(&b, store && (*p == '?' || *p == '#') ? "%%%02X" : "%c",
				 (unsigned char)*p);
	if (base[n + strspn(base + n, "/")] == '?')
		add_query(&b, strchr(base, '?') + 1, store);
	return b.data;
}

/* --- requests --------------------------------------------------------------------------------- */

const char *s3_suffix(const char *region)
{
	if (rouse_strip_prefix(region, "cn-"))
		return "amazonaws.com.cn";
	return rouse_strip_prefix(region, "eusc-") ? "amazonaws.eu" : "amazonaws.com";
}

bool s3_same_partition(const char *a, const char *b)
{
	/* The government's regions have their own credentials behind the common suffix. */
	return rouse_streq(s3_suffix(a), s3_suffix(b)) &&
	       !rouse_strip_prefix(a, "us-gov-") == !rouse_strip_prefix(b, "us-gov-");
}

/* Amazon's certificates match one label before "s3". */
static bool fits_host(const char *bucket)
{
	size_t n = strlen(bucket);

	return n >= 3 && strspn(bucket, LOWER DIGITS "-") == n && *bucket != '-' &&
	       bucket[n - 1] != '-';
}

static bool is_virtual(const struct s3_target *t)
{
	if (rouse_streq(t->style, "path") || rouse_streq(t->style, "virtual"))
		return rouse_streq(t->style, "virtual");
	return !t->endpoint && fits_host(t->bucket);
}

void s3_place_init(struct s3_place *p, const struct s3_target *t, const char *region,
		   bool dualstack)
{
	auto_free char *key = rouse_sigv4_encode(t->key, strlen(t->key), "/");
	bool virtual_host = is_virtual(t);
	const char *bucket = virtual_host ? t->bucket : "", *dot = virtual_host ? "." : "";

	if (t->endpoint)
		p->host = rouse_asprintf("%s%s%s", bucket, dot, t->endpoint);
	else
		p->host = rouse_asprintf("%s%ss3.%s%s.%s", bucket, dot,
					 dualstack ? "dualstack." : "", region, s3_suffix(region));
	p->path = rouse_asprintf("/%s%s%s", virtual_host ? "" : t->bucket, virtual_host ? "" : "/",
				 key);
	if (t->version) {
		auto_free char *version = rouse_sigv4_encode(t->version, strlen(t->version), "");

		p->query = rouse_asprintf("versionId=%s", version);
	} else {
		p->query = rouse_strdup("");
	}
}

void s3_place_done(struct s3_place *p)
{
	free(p->host);
	free(p->path);
	free(p->query);
	*p = (struct s3_place){ 0 };
}

/* --- answers ---------------------------------------------------------------------------------- */

static void undo_entities(char *s)
{
	static const char *const entities[][2] = { { "&lt;", "<" },    { "&gt;", ">" },
						   { "&quot;", "\"" }, { "&apos;", "'" },
						   { "&#39;", "'" },   { "&amp;", "&" } };
	char *out = s;

	while (*s) {
		size_t skip = 1;
		char c = *s;

		for (size_t i = 0; *s == '&' && i < ARRAY_SIZE(entities); i++)
			if (rouse_strip_prefix(s, entities[i][0])) {
				c = entities[i][1][0];
				skip = strlen(entities[i][0]);
				break;
			}
		*out++ = c;
		s += skip;
	}
	*out = '\0';
}

void s3_element(char *buf, size_t size, const char *body, const char *name)
{
	auto_free char *open = rouse_asprintf("<%s>", name);
	const char *text = strstr(body, open);
	size_t n = text ? strcspn(text += strlen(open), "<") : 0;

	if (n >= size)
		n = size - 1;
	if (text)
		memcpy(buf, text, n);
	while (n && (unsigned char)buf[n - 1] >= 0x80 && !rouse_utf8_valid(buf, n))
		n--; /* a character that was cut */
	buf[n] = '\0';
	if (!rouse_utf8_valid(buf, n))
		buf[0] = '\0';
	undo_entities(buf);
	rouse_one_line(buf);
}

/* The region in "[BUCKET.]s3.[dualstack.]REGION.amazonaws.com" (or "s3-REGION"), which may be a URL's
 * host. */
static void region_of_host(char ret[static S3_REGION], const char *text, const char *bucket)
{
	const char *host = rouse_strip_prefix(text, "https://"), *rest;
	size_t n;

	if (!host && strstr(text, "://"))
		return;
	host = host ? host : text;
	rest = rouse_strip_prefix(host, bucket);
	if (rest && *rest == '.')
		host = rest + 1;
	if (!rouse_strip_prefix(host, "s3.") && !rouse_strip_prefix(host, "s3-"))
		return;
	host += 3;
	rest = rouse_strip_prefix(host, "dualstack.");
	host = rest ? rest : host;
	n = strspn(host, LOWER DIGITS "-");
	if (n >= S3_REGION || host[n] != '.')
		return;
	memcpy(ret, host, n);
	ret[n] = '\0';
	rest = rouse_strip_prefix(host + n + 1, s3_suffix(ret));
	if (!n || !rest || !strchr("/?", *rest)) /* also the end of the text */
		ret[0] = '\0';
}

static int64_t time_of(const char *body, const char *date)
{
	char text[32];
	struct tm tm = { 0 };
	const char *end;
	int64_t ret;

	s3_element(text, sizeof(text), body, "ServerTime");
	end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (end && (*end == 'Z' || *end == '.'))
		return timegm(&tm);
	return rouse_http_date(date, &ret) ? ret : 0;
}

void s3_answer_read(struct s3_answer *ret, const char *bucket, const char *body,
		    const char *bucket_region, const char *location, const char *date)
{
	char endpoint[256], region[S3_REGION];

	*ret = (struct s3_answer){ 0 };
	s3_element(ret->code, sizeof(ret->code), body, "Code");
	s3_element(ret->message, sizeof(ret->message), body, "Message");
	s3_element(region, sizeof(region), body, "Region");
	s3_element(endpoint, sizeof(endpoint), body, "Endpoint");
	ret->time = time_of(body, date);

	if (s3_is_region(bucket_region))
		memcpy(ret->region, bucket_region, strlen(bucket_region) + 1);
	else if (s3_is_region(region))
		memcpy(ret->region, region, sizeof(region));
	if (!ret->region[0])
		region_of_host(ret->region, location, bucket);
	if (!ret->region[0])
		region_of_host(ret->region, endpoint, bucket);
}

static bool is_one_of(const char *s, const char *const *list)
{
	for (; *list; list++)
		if (rouse_streq(s, *list))
			return true;
	return false;
}

enum s3_verdict s3_judge(long status, const struct s3_answer *a)
{
	static const char *const expired[] = { "ExpiredToken",         "ExpiredTokenException",
					       "InvalidAccessKeyId",   "InvalidToken",
					       "TokenRefreshRequired", NULL };
	/* Some come with a status that says otherwise. */
	static const char *const later[] = { "IncompleteBody",
					     "InternalError",
					     "InternalFailure",
					     "RequestThrottled",
					     "RequestTimeout",
					     "ServiceUnavailable",
					     "SlowDown",
					     "Throttling",
					     "ThrottledException",
					     "ThrottlingException",
					     NULL };

	if (is_one_of(a->code, expired))
		return S3_CREDENTIALS;
	if (rouse_streq(a->code, "RequestTimeTooSkewed"))
		return a->time ? S3_CLOCK : S3_FINAL;
	if (rouse_retry_status(status) || is_one_of(a->code, later))
		return S3_AGAIN;
	if ((status == 301 || status == 302 || status == 307 || status == 308 || status == 400) &&
	    a->region[0])
		return S3_MOVED;
	return S3_FINAL;
}
