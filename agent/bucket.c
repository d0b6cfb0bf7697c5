/* SPDX-License-Identifier: Apache-2.0 */
#include "bucket.h"

#include <string.h>
#include <time.h>

#include <rouse/clock.h>
#include <rouse/limits.h>
#include <rouse/sigv4.h>
#include <rouse/text.h>
#include <rouse/trust.h>

#include "aws.h"

struct bucket {
	struct s3_target target;
	/* Each of these is done once: what comes back the same is an error. */
	bool moved, corrected, renewed;
	bool denied;      /* while anonymous: look for a role again */
	char payload[65]; /* SHA-256 of what is sent */

	/* of the running try */
	char *url;
	char *headers[4]; /* NULL-ended; they hold the session token */
	char region[S3_REGION], role[65];
	bool instance;
	unsigned generation;
};

int bucket_open(struct bucket **ret, const struct rouse_fetch *t, struct rouse_err *e)
{
	struct bucket *b = rouse_calloc(1, sizeof(*b));
	char url[512];

	(void)rouse_print_url(url, sizeof(url), t->url);
	if (s3_parse(&b->target, t->url, e) < 0) {
		bucket_free(b);
		return rouse_wrap(e, "cannot fetch '%s'", url);
	}
	*ret = b;
	if (!b->target.key[0])
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "cannot fetch '%s': it names a bucket, and no object in it", url);
	if (t->method && !rouse_streq(t->method, "GET") && !rouse_streq(t->method, "HEAD") &&
	    !rouse_streq(t->method, "PUT"))
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "cannot send to '%s': an object is read or put as a whole", url);
	rouse_sha256_hex(t->body ? t->body : "", t->body_len, b->payload);
	return 0;
}

static void wipe(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

/* Forgets the request of the last try. */
static void reset(struct bucket *b)
{
	for (size_t i = 0; i < ARRAY_SIZE(b->headers); i++)
		wipe(take(b->headers[i], NULL));
	free(b->url);
	b->url = NULL;
}

void bucket_free(struct bucket *b)
{
	if (!b)
		return;
	reset(b);
	s3_target_done(&b->target);
	free(b);
}

const char *bucket_url(const struct bucket *b)
{
	return b->url;
}

/* --- a try ------------------------------------------------------------------------------------ */

static void sign(struct bucket *b, const struct rouse_fetch *t, const struct s3_place *place,
		 const struct aws_signer *who)
{
	char date[ROUSE_SIGV4_DATE];
	const struct rouse_sigv4_header headers[] = { { "host", place->host },
						      { "x-amz-content-sha256", b->payload },
						      { "x-amz-date", date },
						      { "x-amz-security-token", who->key.token } };
	const struct rouse_sigv4 s = { .key = &who->key,
				       .region = b->region,
				       .service = "s3",
				       .time = who->time,
				       .method = t->method ? t->method : "GET",
				       .path = place->path,
				       .query = place->query,
				       .headers = headers,
				       .n_headers = ARRAY_SIZE(headers),
				       .payload = b->payload };
	auto_free char *authorization = NULL;

	rouse_sigv4_date(date, who->time);
	authorization = rouse_sigv4_authorization(&s);
	b->headers[0] = rouse_asprintf("Authorization: %s", authorization);
	b->headers[1] = rouse_asprintf("x-amz-content-sha256: %s", b->payload);
	b->headers[2] = rouse_asprintf("x-amz-date: %s", date);
	b->headers[3] = rouse_asprintf("x-amz-security-token: %s", who->key.token);
}

/* Another cache may have it: then a metadata service that is away does not use up the time. */
static uint64_t patience(const struct rouse_fetch *t)
{
	uint64_t soon = rouse_clock_ms() + ROUSE_ROLE_WAIT;

	return t->max_tries && soon < t->deadline ? soon : t->deadline;
}

int bucket_prepare(struct transfer *tr, struct rouse_err *e)
{
	struct bucket *b = tr->bucket;
	struct s3_place place = { 0 };
	struct aws_signer who = { 0 };
	char url[512];

	reset(b);
	if (aws_region(tr->f->aws, &b->target, patience(tr->t), b->region, e) < 0 ||
	    aws_sign(tr->f->aws, b->denied, patience(tr->t), &who, e) < 0)
		return rouse_wrap(e, "cannot fetch '%s'",
				  rouse_print_url(url, sizeof(url), tr->url));
	s3_place_init(&place, &b->target, b->region);
	b->url = rouse_asprintf("%s://%s%s%s%s", b->target.plain ? "http" : "https", place.host,
				place.path, place.query[0] ? "?" : "", place.query);
	memcpy(b->role, who.role, sizeof(b->role));
	b->instance = who.instance;
	b->generation = who.generation;
	if (b->role[0])
		sign(b, tr->t, &place, &who);
	s3_place_done(&place);
	rouse_aws_key_wipe(&who.key);
	return 0;
}

int bucket_add_headers(struct transfer *tr, struct rouse_err *e)
{
	struct bucket *b = tr->bucket;

	for (size_t i = 0; i < ARRAY_SIZE(b->headers) && b->headers[i]; i++)
		if (transfer_add_header(tr, b->headers[i], e) < 0)
			return -1;
	return 0;
}

/* --- an answer -------------------------------------------------------------------------------- */

/* Changes what the next try is signed with; false when that was done already, or is of no use. */
static bool amend(struct transfer *tr, enum s3_verdict verdict, const struct s3_answer *a)
{
	struct bucket *b = tr->bucket;

	if (verdict == S3_MOVED && !b->moved && !rouse_streq(a->region, b->region) &&
	    (b->target.endpoint || s3_same_partition(a->region, b->region))) {
		aws_bucket_is_in(tr->f->aws, &b->target, a->region);
		return b->moved = true;
	}
	if (verdict == S3_CLOCK && !b->corrected) {
		aws_set_time(tr->f->aws, a->time);
		return b->corrected = true;
	}
	if (verdict == S3_CREDENTIALS && !b->renewed && b->role[0]) {
		aws_refused(tr->f->aws, b->generation);
		return b->renewed = true;
	}
	return false;
}

/* Who was denied it. A key that is missing is denied to those who may not list the bucket. */
static void denial(char *buf, size_t size, const struct bucket *b, const struct s3_answer *a)
{
	const char *missing = !a->code[0] || rouse_streq(a->code, "AccessDenied")
				      ? ", or it is not there"
				      : "";

	if (b->role[0])
		(void)snprintf(buf, size, "access denied to the role '%s'%s", b->role, missing);
	else
		(void)snprintf(buf, size, "access denied%s; %s", missing,
			       b->instance ? "the instance has no role"
					   : "this is no instance with a role");
}

static void explain(struct transfer *tr, const struct s3_answer *a, enum s3_verdict verdict,
		    struct rouse_err *e)
{
	bool later = verdict == S3_AGAIN || tr->t->status >= 500;
	long status = tr->t->status;
	char url[512], to[256], why[512] = "the server answered";
	int sys = 0;

	if (status == 404 || status == 410) {
		(void)snprintf(why, sizeof(why), "it is not there");
		sys = ENOENT;
	} else if (status == 401 || status == 403) {
		denial(why, sizeof(why), tr->bucket, a);
		sys = EACCES;
	} else if (tr->t->location[0]) {
		(void)snprintf(why, sizeof(why),
			       "it is redirected to '%s', where no request is signed for",
			       rouse_print_url(to, sizeof(to), tr->t->location));
	} else if (verdict == S3_MOVED && !rouse_streq(a->region, tr->bucket->region)) {
		(void)snprintf(why, sizeof(why), "asked in '%s', the server refers to '%s'",
			       tr->bucket->region, a->region);
	}
	(void)rouse_fail(e, later ? ROUSE_UNAVAILABLE : ROUSE_DOCUMENT, 0,
			 "cannot fetch '%s': %s (%s%s%s%sHTTP %ld)",
			 rouse_print_url(url, sizeof(url), tr->url), why, a->code,
			 a->message[0] ? ": " : "", a->message,
			 a->code[0] || a->message[0] ? "; " : "", status);
	e->sys = sys;
}

enum outcome bucket_judge(struct transfer *tr, struct rouse_err *e)
{
	struct bucket *b = tr->bucket;
	const struct rouse_fetch *t = tr->t;
	struct s3_answer a;
	enum s3_verdict verdict;

	if (t->status >= 200 && t->status <= 299) {
		if (!b->role[0])
			aws_bucket_is_public(tr->f->aws, &b->target);
		return TRANSFER_DONE;
	}
	s3_answer_read(&a, b->target.bucket, t->body_out.data ? t->body_out.data : "",
		       tr->bucket_region, t->location, tr->date);
	verdict = s3_judge(t->status, &a);
	if (amend(tr, verdict, &a))
		return TRANSFER_MOVED;
	/* The role of a fresh instance may be seconds late. */
	b->denied = !b->role[0] && t->status == 403 && !aws_is_public(tr->f->aws, &b->target) &&
		    aws_may_come(tr->f->aws);
	tr->patient = b->denied;
	explain(tr, &a, verdict, e);
	return verdict == S3_AGAIN || b->denied ? TRANSFER_AGAIN : TRANSFER_FAILED;
}
