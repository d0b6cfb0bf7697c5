/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects of Google Cloud Storage and Azure Blob Storage: from a URL to the request for it. Both take a
 * bearer token, which is good for whoever holds it: the hosts are those of the clouds and no others.
 * Pure; agent/blob_bucket.c uses it for transfers.
 */
#pragma once

#include <rouse/err.h>
#include <rouse/mem.h>

#include "tokens.h"

/* gs://BUCKET/OBJECT?generation=…&userProject=…
 * az://ACCOUNT/CONTAINER/BLOB?versionid=…&client_id=…&cloud=china|usgov
 * Without an object, "prefix" and "marker" ask for a page of a listing (agent/bucket_list.h). */
struct blob_target {
	struct rouse_arena arena;
	enum token_kind kind;
	const char *url;       /* the request's, of https */
	const char *put_url;   /* of the one that writes the object */
	const char *client_id; /* which of several identities asks, or NULL */
	bool is_object;        /* not only a bucket, or a container */
	bool is_listing;
};
/* The error is the bare reason. */
must_check int blob_parse(struct blob_target *ret, const char *url, struct rouse_err *e);
void blob_target_done(struct blob_target *t);
static inline void blob_target_auto(struct blob_target *t)
{
	blob_target_done(t);
}

bool blob_is_url(const char *url); /* of one of these schemes, right or wrong */
