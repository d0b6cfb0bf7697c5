/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Amazon S3, and what speaks like it: pure functions from an s3: URL to a request, and from an answer
 * to what to do. agent/bucket.c uses them for transfers.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/err.h>
#include <rouse/mem.h>

#define S3_REGION 33 /* [a-z0-9-]{1,32} */

/* s3://BUCKET/KEY?region=…&endpoint=…&scheme=…&versionId=…&addressing-style=path|virtual|auto
 * &dualstack=true&requestPayer=requester; strings in the arena, NULL: not given. */
struct s3_target {
	struct rouse_arena arena;
	const char *bucket, *key; /* the key is decoded; "" when the URL names a bucket only */
	const char *region, *version;
	const char *endpoint; /* host and port of a service that is not Amazon's */
	bool plain;           /* http; only with an endpoint */
	const char *style;    /* where the bucket stands; NULL: as fits */
	bool dualstack;       /* ask the names that also have addresses of IPv6 */
	bool payer;           /* whoever asks pays */
};
/* The error is the bare reason. */
must_check int s3_parse(struct s3_target *ret, const char *url, struct rouse_err *e);
void s3_target_done(struct s3_target *t);
static inline void s3_target_auto(struct s3_target *t)
{
	s3_target_done(t);
}

/* Where an object is: in Amazon's region, or at the endpoint. */
struct s3_place {
	char *host, *path, *query; /* as sent, and as signed; owned */
};
void s3_place_init(struct s3_place *p, const struct s3_target *t, const char *region,
		   bool dualstack);
void s3_place_done(struct s3_place *p);

/* Could it be the name of one? It goes into a host name. */
bool s3_is_region(const char *s);
/* Are these regions of one partition, so that credentials of one are good in the other? */
bool s3_same_partition(const char *a, const char *b);

/* An error's answer, as far as it matters. */
struct s3_answer {
	char code[64], message[256]; /* out of the body: one line each, "" when there is none */
	char region[S3_REGION];      /* where the bucket is said to be; "": not said */
	int64_t time;                /* what the server's clock says; 0: not said */
};
/* `bucket_region` is the header x-amz-bucket-region, `location` Location, `date` Date; "" when absent. */
void s3_answer_read(struct s3_answer *ret, const char *bucket, const char *body,
		    const char *bucket_region, const char *location, const char *date);

/* The text of the first <name>…</name>, one line; what does not fit is cut, "" when there is none. No more
 * of XML is needed. */
void s3_element(char *buf, size_t size, const char *body, const char *name);
/* "amazonaws.com", or what a region's partition has instead. */
const char *s3_suffix(const char *region);

enum s3_verdict {
	S3_FINAL,
	S3_AGAIN,       /* later, as it is */
	S3_MOVED,       /* signed for the region that the answer names */
	S3_CLOCK,       /* signed with the server's time */
	S3_CREDENTIALS, /* signed with fresh credentials */
};
/* What to do about an answer that is not 2xx. */
enum s3_verdict s3_judge(long status, const struct s3_answer *a);
