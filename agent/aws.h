/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fetchers of one process know together about AWS: the credentials of the instance's role,
 * its region, the clock that signatures go by, and in which region buckets are. Safe to share among
 * threads: whoever needs credentials first asks, the others wait for the answer.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rouse/err.h>
#include <rouse/sigv4.h>

#include "s3.h"

struct aws;

/* `imds` is the address of a metadata service for tests; NULL: the real one, if the firmware says that
 * this is an EC2 instance. Holds one reference. */
struct aws *aws_new(const char *imds);
struct aws *aws_ref(struct aws *a);
void aws_unref(struct aws *a); /* accepts NULL */
/* In a child that was forked: the parent's connections are not used. */
void aws_forget(struct aws *a);

/* Who signs a request, and when. */
struct aws_signer {
	struct rouse_aws_key key;
	char role[65];       /* "": nobody; the request is anonymous */
	bool instance;       /* this is an instance of EC2, which could have a role */
	unsigned generation; /* of the key */
	int64_t time;        /* seconds since 1970, as the server sees it */
};
/* Asks the metadata service where needed, until the deadline. A role that was not there is asked for
 * again only with `again`: it can come seconds after the instance. The caller wipes ret->key. */
must_check int aws_sign(struct aws *a, bool again, uint64_t deadline, struct aws_signer *ret,
			struct rouse_err *e);
/* The service refused this generation of the key: the next aws_sign gets another. */
void aws_refused(struct aws *a, unsigned generation);
/* May a role still come? */
bool aws_may_come(struct aws *a);
/* The server's time; ours stays as it is. */
void aws_set_time(struct aws *a, int64_t time);

/* The region to sign for: where the bucket is known to be, else `named`, else the instance's. */
must_check int aws_region(struct aws *a, const struct s3_target *t, uint64_t deadline,
			  char ret[static S3_REGION], struct rouse_err *e);
void aws_bucket_is_in(struct aws *a, const struct s3_target *t, const char *region);
/* It was read by nobody in particular; what it denies now, a role would not change. */
void aws_bucket_is_public(struct aws *a, const struct s3_target *t);
bool aws_is_public(struct aws *a, const struct s3_target *t);
