/* SPDX-License-Identifier: Apache-2.0 */
#include "bucket.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <rouse/clock.h>
#include <rouse/limits.h>
#include <rouse/sigv4.h>
#include <rouse/text.h>
#include <rouse/trust.h>

#include "aws.h"

struct s3_bucket {
	struct bucket base;
	struct s3_target target;
	/* Each of these is done once: what comes back the same is an error. */
	bool moved, corrected, renewed;
	bool denied;      /* while anonymous: look for a role again */
	char payload[65]; /* SHA-256 of what is sent */

	/* of the running try */
	char *url;
	char *headers[5]; /* NULL-ended; they hold the session token */
	char region[S3_REGION], role[65];
	bool instance;
	unsigned generation;
};

static const struct bucket_ops s3_ops;

static struct s3_bucket *s3_of(struct bucket *base)
{
	return (struct s3_bucket *)(void *)base; /* its first member */
}

int bucket_open_s3(struct bucket **ret, const struct rouse_fetch *t, struct rouse_err *e)
{
	struct s3_bucket *b = rouse_calloc(1, sizeof(*b));

	b->base.ops = &s3_ops;
	*ret = &b->base;
	if (s3_parse(&b->target, t->url, e) < 0)
		return -1;
	rouse_sha256_hex(t->body ? t->body : "", t->body_len, b->payload);
	return b->target.key[0]
		       ? 0
		       : rouse_fail(e, ROUSE_DOCUMENT, 0, "it names a bucket, and no object in it");
}

static void wipe(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

/* Forgets the request of the last try. */
static void reset(struct s3_bucket *b)
{
	for (size_t i = 0; i < ARRAY_SIZE(b->headers); i++)
		wipe(take(b->headers[i], NULL));
	free(b->url);
	b->url = NULL;
}

static void s3_free(struct bucket *base)
{
	struct s3_bucket *b = s3_of(base);

	reset(b);
	s3_target_done(&b->target);
	free(b);
}

static const char *s3_url(const struct bucket *base)
{
	return ((const struct s3_bucket *)base)->url;
}

/* --- a try ------------------------------------------------------------------------------------ */

static void sign(struct s3_bucket *b, const struct rouse_fetch *t, const struct s3_place *place,
		 const struct aws_signer *who)
{
	char date[ROUSE_SIGV4_DATE];
	const struct rouse_sigv4_header headers[] = { { "host", place->host },
						      { "x-amz-content-sha256", b->payload },
						      { "x-amz-date", date },
						      { "x-amz-security-token", who->key.token },
						      { "x-amz-request-payer", "requester" } };
	const struct rouse_sigv4 s = { .key = &who->key,
				       .region = b->region,
				       .service = "s3",
				       .time = who->time,
				       .method = t->method ? t->method : "GET",
				       .path = place->path,
				       .query = place->query,
				       .headers = headers,
				       .n_headers = ARRAY_SIZE(headers) - !b->target.payer,
				       .payload = b->payload };
	auto_free char *authorization = NULL;

	rouse_sigv4_date(date, who->time);
	authorization = rouse_sigv4_authorization(&s);
	b->headers[0] = rouse_asprintf("Authorization: %s", authorization);
	b->headers[1] = rouse_asprintf("x-amz-content-sha256: %s", b->payload);
	b->headers[2] = rouse_asprintf("x-amz-date: %s", date);
	b->headers[3] = rouse_asprintf("x-amz-security-token: %s", who->key.token);
	if (b->target.payer)
		b->headers[4] = rouse_strdup("x-amz-request-payer: requester");
}

/* The ordinary names have addresses of IPv4 only. A machine that has none itself, yet, is asked again
 * with every try. */
static bool has_ipv4(void)
{
	struct ifaddrs *all = NULL;
	bool ret = false;

	if (getifaddrs(&all) < 0)
		return true; /* nobody knows: as ever */
	for (const struct ifaddrs *i = all; i && !ret; i = i->ifa_next) {
		const struct sockaddr_in *a = (const void *)i->ifa_addr;

		ret = a && a->sin_family == AF_INET && ntohl(a->sin_addr.s_addr) >> 24 != 127;
	}
	freeifaddrs(all);
	return ret;
}

static int s3_prepare(struct transfer *tr, struct rouse_err *e)
{
	struct s3_bucket *b = s3_of(tr->bucket);
	struct s3_place place = { 0 };
	struct aws_signer who = { 0 };
	char url[512];

	reset(b);
	if (aws_region(tr->f->aws, &b->target, bucket_patience(tr->t), b->region, e) < 0 ||
	    aws_sign(tr->f->aws, b->denied, bucket_patience(tr->t), &who, e) < 0)
		return rouse_wrap(e, "cannot fetch '%s'",
				  rouse_print_url(url, sizeof(url), tr->url));
	s3_place_init(&place, &b->target, b->region, b->target.dualstack || !has_ipv4());
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

static int s3_add_headers(struct transfer *tr, struct rouse_err *e)
{
	struct s3_bucket *b = s3_of(tr->bucket);

	for (size_t i = 0; i < ARRAY_SIZE(b->headers) && b->headers[i]; i++)
		if (transfer_add_header(tr, b->headers[i], e) < 0)
			return -1;
	return 0;
}

/* --- an answer -------------------------------------------------------------------------------- */

/* Changes what the next try is signed with; false when that was done already, or is of no use. */
static bool amend(struct transfer *tr, enum s3_verdict verdict, const struct s3_answer *a)
{
	struct s3_bucket *b = s3_of(tr->bucket);

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
static void denial(char *buf, size_t size, const struct s3_bucket *b, const struct s3_answer *a)
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
		denial(why, sizeof(why), s3_of(tr->bucket), a);
		sys = EACCES;
	} else if (tr->t->location[0]) {
		(void)snprintf(why, sizeof(why),
			       "it is redirected to '%s', where no request is signed for",
			       rouse_print_url(to, sizeof(to), tr->t->location));
	} else if (verdict == S3_MOVED && !rouse_streq(a->region, s3_of(tr->bucket)->region)) {
		(void)snprintf(why, sizeof(why), "asked in '%s', the server refers to '%s'",
			       s3_of(tr->bucket)->region, a->region);
	}
	(void)rouse_fail(e, later ? ROUSE_UNAVAILABLE : ROUSE_DOCUMENT, 0,
			 "cannot fetch '%s': %s (%s%s%s%sHTTP %ld)",
			 rouse_print_url(url, sizeof(url), tr->url), why, a->code,
			 a->message[0] ? ": " : "", a->message,
			 a->code[0] || a->message[0] ? "; " : "", status);
	e->sys = sys;
}

static enum outcome s3_judge_answer(struct transfer *tr, struct rouse_err *e)
{
	struct s3_bucket *b = s3_of(tr->bucket);
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

static const struct bucket_ops s3_ops = {
	.no_route = "no route to S3: a subnet without an internet or NAT gateway needs an "
		    "endpoint for S3",
	.prepare = s3_prepare,
	.url = s3_url,
	.add_headers = s3_add_headers,
	.judge = s3_judge_answer,
	.release = s3_free,
};
