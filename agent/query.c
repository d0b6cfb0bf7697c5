/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/query.h>

#include <string.h>
#include <time.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/limits.h>
#include <rouse/retry.h>
#include <rouse/sigv4.h>
#include <rouse/text.h>
#include <rouse/trust.h>

#include "aws.h"
#include "transfer.h"

#define FORM "application/x-www-form-urlencoded; charset=utf-8"

struct call {
	struct rouse_fetcher *f;
	struct rouse_query *q;
	char region[S3_REGION], role[65];
	unsigned generation; /* of the key that signed the last try */
	bool corrected, renewed;
	bool other; /* the service's second name is tried */
	unsigned tries;
};

void rouse_query_add(struct rouse_buf *body, const char *name, const char *value)
{
	auto_free char *encoded = rouse_sigv4_encode(value, strlen(value), "");

	rouse_buf_printf(body, "&%s=%s", name, encoded);
}

void rouse_query_element(char *buf, size_t size, const char *xml, const char *name)
{
	s3_element(buf, size, xml, name);
}

/* Services answer at SERVICE.REGION.amazonaws.com over IPv4, and at SERVICE.REGION.api.aws over both. */
static char *url_of(const struct call *c)
{
	bool china = rouse_strip_prefix(c->region, "cn-") != NULL;

	if (c->q->endpoint)
		return rouse_asprintf("%s/", c->q->endpoint);
	if (c->other)
		return rouse_asprintf("https://%s.%s.%s/", c->q->service, c->region,
				      china ? "api.amazonwebservices.com.cn" : "api.aws");
	return rouse_asprintf("https://%s.%s.%s/", c->q->service, c->region, s3_suffix(c->region));
}

/* The Host header that libcurl makes of the URL: no port that the scheme implies. */
static char *host_of(const char *url)
{
	const char *host = strstr(url, "://") + 3;
	const char *port = rouse_strip_prefix(url, "https:") ? ":443" : ":80";
	size_t n = strcspn(host, "/"), skip = strlen(port);

	if (n > skip && strncmp(host + n - skip, port, skip) == 0)
		n -= skip;
	return rouse_strndup(host, n);
}

static void wipe_headers(char *headers[static 4])
{
	for (size_t i = 0; i < 3; i++) {
		if (headers[i])
			explicit_bzero(headers[i], strlen(headers[i]));
		free(headers[i]);
	}
}

static int sign(struct call *c, const char *url, char *headers[static 4], struct rouse_err *e)
{
	char date[ROUSE_SIGV4_DATE], payload[65];
	auto_free char *host = host_of(url), *authorization = NULL;
	struct aws_signer who = { 0 };
	struct rouse_sigv4_header signed_[] = { { "content-type", FORM },
						{ "host", host },
						{ "x-amz-date", date },
						{ "x-amz-security-token", who.key.token } };
	const struct rouse_sigv4 s = { .key = &who.key,
				       .region = c->region,
				       .service = c->q->service,
				       .method = "POST",
				       .path = "/",
				       .query = "",
				       .headers = signed_,
				       .n_headers = ARRAY_SIZE(signed_),
				       .payload = payload };
	struct rouse_sigv4 timed = s;

	if (aws_sign(c->f->aws, c->tries > 0, c->q->deadline, &who, e) < 0)
		return -1;
	memcpy(c->role, who.role, sizeof(c->role));
	c->generation = who.generation;
	if (!who.role[0])
		return rouse_fail(e, ROUSE_DOCUMENT, EACCES, "cannot ask %s: %s", c->q->service,
				  who.instance ? "the instance has no role"
					       : "this is no instance with a role");
	timed.time = who.time;
	rouse_sigv4_date(date, who.time);
	rouse_sha256_hex(c->q->body, strlen(c->q->body), payload);
	authorization = rouse_sigv4_authorization(&timed);
	headers[0] = rouse_asprintf("Authorization: %s", authorization);
	headers[1] = rouse_asprintf("x-amz-date: %s", date);
	headers[2] = rouse_asprintf("x-amz-security-token: %s", who.key.token);
	rouse_aws_key_wipe(&who.key);
	return 0;
}

/* One try; 0 when there is an answer, whatever it says. */
static int post(struct call *c, struct rouse_fetch *t, struct rouse_err *e)
{
	auto_free char *url = url_of(c);
	char *own[4] = { 0 };
	const char *headers[6] = { "Content-Type: " FORM };
	struct rouse_query *q = c->q;
	int r;

	if (q->authorization)
		headers[1] = q->authorization;
	else if (sign(c, url, own, e) < 0)
		return -1;
	for (size_t i = 0; !q->authorization && i < 3; i++)
		headers[1 + i] = own[i];
	*t = (struct rouse_fetch){ .url = url,
				   .method = "POST",
				   .headers = headers,
				   .body = q->body,
				   .body_len = strlen(q->body),
				   .max_bytes = ROUSE_MAX_QUERY_ANSWER,
				   .deadline = q->deadline,
				   .max_tries = 1 };
	r = rouse_fetch(c->f, t, e);
	c->tries++;
	t->url = NULL;
	t->headers = NULL;
	wipe_headers(own);
	return t->status ? 0 : r;
}

static bool is_one_of(const char *s, const char *const *list)
{
	for (; *list; list++)
		if (rouse_streq(s, *list))
			return true;
	return false;
}

/* What signatures by a wrong clock are answered with. */
static bool blames_clock(const struct rouse_query *q)
{
	static const char *const codes[] = { "RequestExpired", "RequestTimeTooSkewed", NULL };
	static const char *const vague[] = { "InvalidSignatureException", "SignatureDoesNotMatch",
					     NULL };

	return is_one_of(q->code, codes) ||
	       (is_one_of(q->code, vague) &&
		(strstr(q->message, "Signature expired") || strstr(q->message, "not yet current")));
}

/* Can the same call end otherwise at once? */
static bool amend(struct call *c, const struct rouse_fetch *t)
{
	static const char *const old[] = { "ExpiredToken", "ExpiredTokenException",
					   "InvalidClientTokenId", "UnrecognizedClientException",
					   NULL };
	int64_t now;

	if (c->q->authorization)
		return false;
	if (!c->corrected && blames_clock(c->q) && rouse_http_date(t->date, &now)) {
		aws_set_time(c->f->aws, now);
		return c->corrected = true;
	}
	if (!c->renewed && is_one_of(c->q->code, old)) {
		aws_refused(c->f->aws, c->generation);
		return c->renewed = true;
	}
	return false;
}

static bool is_busy(const struct rouse_query *q)
{
	static const char *const busy[] = { "Throttling",
					    "ThrottlingException",
					    "RequestLimitExceeded",
					    "ServiceUnavailable",
					    "InternalFailure",
					    "ResourceContention",
					    NULL };

	return rouse_retry_status(q->status) || is_one_of(q->code, busy);
}

/* Waits for the next try; false when the deadline is nearer. */
static bool wait(const struct call *c, const struct rouse_fetch *t)
{
	uint64_t asked = 0, when;

	if (!rouse_retry_after(t->retry_after, time(NULL), &asked))
		asked = 0;
	when = rouse_clock_ms() + rouse_retry_delay(c->tries, asked, rouse_jitter(UINT64_MAX));
	if (when >= c->q->deadline)
		return false;
	rouse_clock_sleep_until(when);
	return true;
}

static int refuse(const struct call *c, struct rouse_err *e)
{
	const struct rouse_query *q = c->q;
	bool denied = q->status == 401 || q->status == 403;

	(void)rouse_fail(e, is_busy(q) ? ROUSE_UNAVAILABLE : ROUSE_DOCUMENT, 0,
			 "%s refused the call%s%s%s (%s%s%s%sHTTP %ld), tried %u time%s",
			 q->service, denied && c->role[0] ? " of role '" : "",
			 denied ? c->role : "", denied && c->role[0] ? "'" : "", q->code,
			 q->message[0] ? ": " : "", q->message,
			 q->code[0] || q->message[0] ? "; " : "", q->status, c->tries,
			 c->tries == 1 ? "" : "s");
	e->sys = denied ? EACCES : 0;
	return -1;
}

static void take_answer(struct rouse_query *q, struct rouse_fetch *t)
{
	rouse_buf_done(&q->answer);
	q->answer = t->body_out;
	q->status = t->status;
	rouse_query_element(q->code, sizeof(q->code), q->answer.data ? q->answer.data : "", "Code");
	rouse_query_element(q->message, sizeof(q->message), q->answer.data ? q->answer.data : "",
			    "Message");
}

int rouse_query(struct rouse_fetcher *f, struct rouse_query *q, struct rouse_err *e)
{
	const struct s3_target nowhere = { .bucket = "", .region = q->region };
	struct call c = { .f = f, .q = q };

	if (aws_region(f->aws, &nowhere, q->deadline, c.region, e) < 0)
		return -1;
	for (;;) {
		struct rouse_fetch t = { 0 };

		if (post(&c, &t, e) < 0) {
			rouse_buf_done(&t.body_out);
			if (e->kind != ROUSE_UNAVAILABLE || !wait(&c, &t))
				return -1;
			c.other = !c.other && !q->endpoint;
			continue;
		}
		take_answer(q, &t);
		if (q->status == 200)
			return 0;
		if (amend(&c, &t))
			continue;
		if (!is_busy(q) || !wait(&c, &t))
			return refuse(&c, e);
	}
}
