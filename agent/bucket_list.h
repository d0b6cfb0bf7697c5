/* SPDX-License-Identifier: Apache-2.0 */
/* Listing a bucket, page by page, with the credentials of the instance. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rouse/err.h>
#include <rouse/mem.h>

struct rouse_fetch;
struct rouse_fetcher;

/* One page of what is below `prefix`: the answer's XML, at most 1000 objects, and the server's time, seconds since
 * 1970. Returns whether to go on with the next one. */
typedef bool bucket_page(void *arg, const char *xml, int64_t now);
/* Calls `page` for each in their order, until it returns false; for at most ROUSE_MAX_LISTING_PAGES. `url` is that
 * of a bucket or of a folder in it (s3://, gs://, az://), and `prefix`, in plain text, is below it. */
must_check int bucket_list(struct rouse_fetcher *f, const char *url, const char *prefix,
			   uint64_t deadline, bucket_page *page, void *arg, struct rouse_err *e);
/* Takes the body of the answer `t` has: hands it to `page`, and brings what stands in its element `next` into
 * `marker`. Returns whether there is a next page, and it is wanted. */
must_check bool bucket_take_page(struct rouse_fetch *t, const char *next, char *marker, size_t size,
				 bucket_page *page, void *arg);
/* The same as bucket_list() for s3:// alone. */
must_check int s3_list(struct rouse_fetcher *f, const char *url, const char *prefix,
		       uint64_t deadline, bucket_page *page, void *arg, struct rouse_err *e);
