/* SPDX-License-Identifier: Apache-2.0 */
#include "bucket_list.h"

#include <string.h>

#include <rouse/fetch.h>
#include <rouse/limits.h>
#include <rouse/sigv4.h>
#include <rouse/text.h>

#include "aws.h"
#include "s3.h"
#include "transfer.h"

struct listing {
	struct rouse_fetcher *f;
	struct s3_target target;
	char *prefix;     /* in the bucket */
	char token[1024]; /* of the next page, "" for the first */
	char region[S3_REGION];
	uint64_t deadline;
};

static void listing_done(struct listing *l)
{
	s3_target_done(&l->target);
	free(l->prefix);
}

static char *sign(const struct listing *l, const struct s3_place *place, const char *date,
		  const struct aws_signer *who)
{
	const struct rouse_sigv4_header headers[] = { { "host", place->host },
						      { "x-amz-content-sha256", ROUSE_SIGV4_EMPTY },
						      { "x-amz-date", date },
						      { "x-amz-security-token", who->key.token } };
	const struct rouse_sigv4 s = { .key = &who->key,
				       .region = l->region,
				       .service = "s3",
				       .time = who->time,
				       .method = "GET",
				       .path = place->path,
				       .query = place->query,
				       .headers = headers,
				       .n_headers = ARRAY_SIZE(headers),
				       .payload = ROUSE_SIGV4_EMPTY };

	return rouse_sigv4_authorization(&s);
}

/* One request for the region that is known; the transfer's outcome in *t. */
static int ask(struct listing *l, struct rouse_fetch *t, struct rouse_err *e)
{
	auto_free char *prefix = rouse_sigv4_encode(l->prefix, strlen(l->prefix), "");
	auto_free char *token = rouse_sigv4_encode(l->token, strlen(l->token), "");
	/* In the order in which they are signed. */
	auto_free char *query = rouse_asprintf("%s%s%slist-type=2&max-keys=1000&prefix=%s",
					       *token ? "continuation-token=" : "", token,
					       *token ? "&" : "", prefix);
	auto_free char *url = NULL, *authorization = NULL, *stamp = NULL, *session = NULL,
		       *signature = NULL;
	const char *headers[5] = { NULL };
	struct s3_place place = { 0 };
	struct aws_signer who = { 0 };
	char date[ROUSE_SIGV4_DATE];
	int r;

	if (aws_sign(l->f->aws, false, l->deadline, &who, e) < 0)
		return -1;
	s3_place_init(&place, &l->target, l->region, l->target.dualstack);
	free(place.query);
	place.query = rouse_strdup(query);
	url = rouse_asprintf("%s://%s%s?%s", l->target.plain ? "http" : "https", place.host,
			     place.path, query);
	if (who.role[0]) {
		rouse_sigv4_date(date, who.time);
		signature = sign(l, &place, date, &who);
		headers[0] = authorization = rouse_asprintf("Authorization: %s", signature);
		headers[1] = stamp = rouse_asprintf("x-amz-date: %s", date);
		headers[2] = session = rouse_asprintf("x-amz-security-token: %s", who.key.token);
		headers[3] = "x-amz-content-sha256: " ROUSE_SIGV4_EMPTY;
	}
	*t = (struct rouse_fetch){ .url = url,
				   .headers = headers,
				   .max_bytes = ROUSE_MAX_LISTING,
				   .deadline = l->deadline };
	r = rouse_fetch(l->f, t, e);
	t->url = NULL;
	t->headers = NULL;
	if (session)
		explicit_bzero(session, strlen(session));
	rouse_aws_key_wipe(&who.key);
	s3_place_done(&place);
	return r;
}

/* Where the bucket is said to be instead; false when that is no news. */
static bool moved(struct listing *l, const struct rouse_fetch *t)
{
	struct s3_answer a;

	s3_answer_read(&a, l->target.bucket, t->body_out.data ? t->body_out.data : "", "",
		       t->location, t->date);
	if (s3_judge(t->status, &a) != S3_MOVED || rouse_streq(a.region, l->region) ||
	    !(l->target.endpoint || s3_same_partition(a.region, l->region)))
		return false;
	aws_bucket_is_in(l->f->aws, &l->target, a.region);
	memcpy(l->region, a.region, sizeof(l->region));
	return true;
}

/* One page into *ret, from where the bucket is. */
static int ask_for_page(struct listing *l, struct rouse_fetch *ret, struct rouse_err *e)
{
	int r = ask(l, ret, e);

	if (r < 0 && ret->status && moved(l, ret)) {
		rouse_buf_done(&ret->body_out);
		r = ask(l, ret, e);
	}
	return r;
}

int s3_list(struct rouse_fetcher *f, const char *url, const char *prefix, uint64_t deadline,
	    bucket_page *page, void *arg, struct rouse_err *e)
{
	__attribute__((cleanup(listing_done))) struct listing l = { .f = f, .deadline = deadline };

	if (s3_parse(&l.target, url, e) < 0)
		return rouse_wrap(e, "cannot list");
	l.prefix = rouse_asprintf("%s%s%s", l.target.key, *l.target.key ? "/" : "", prefix);
	l.target.key = "";
	if (aws_region(f->aws, &l.target, deadline, l.region, e) < 0)
		return -1;
	for (unsigned n = 0; n < ROUSE_MAX_LISTING_PAGES; n++) {
		struct rouse_fetch t = { 0 };
		int r = ask_for_page(&l, &t, e);

		if (r < 0) {
			rouse_buf_done(&t.body_out);
			return -1;
		}
		if (!bucket_take_page(&t, "NextContinuationToken", l.token, sizeof(l.token), page,
				      arg))
			return 0;
	}
	return 0;
}
