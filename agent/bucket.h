/* SPDX-License-Identifier: Apache-2.0 */
/* Transfers from object stores: how a try is authorised, and what an answer means. Private to
 * agent/fetch.c and agent/transfer.c; each store is one file behind bucket_ops. */
#pragma once

#include <rouse/err.h>

#include "transfer.h"

/* Of one transfer; a store's own struct begins with this. */
struct bucket {
	const struct bucket_ops *ops;
};
struct bucket_ops {
	/* What to look at when no connection comes about at all; NULL: nothing in particular. */
	const char *no_route;
	/* Finds credentials, which may ask the metadata service, and makes the request for a try. */
	int (*prepare)(struct transfer *tr, struct rouse_err *e);
	const char *(*url)(const struct bucket *b);
	int (*add_headers)(struct transfer *tr, struct rouse_err *e);
	/* Judges a complete answer: as transfer_judge. */
	enum outcome (*judge)(struct transfer *tr, struct rouse_err *e);
	void (*release)(struct bucket *b);
};

bool bucket_is_url(const char *url); /* s3://, gs://, az:// */
must_check int bucket_open(struct bucket **ret, const struct rouse_fetch *t, struct rouse_err *e);
void bucket_free(struct bucket *b); /* accepts NULL */
/* The least time that is worth waiting for credentials: another cache may have what is asked for, and
 * then a metadata service that is away must not use up all of it. */
uint64_t bucket_patience(const struct rouse_fetch *t);

/* Of bucket_open; *ret is set also on failure. The error is the bare reason. */
must_check int bucket_open_s3(struct bucket **ret, const struct rouse_fetch *t,
			      struct rouse_err *e);
must_check int bucket_open_blob(struct bucket **ret, const struct rouse_fetch *t,
				struct rouse_err *e);
