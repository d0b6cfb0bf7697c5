/* SPDX-License-Identifier: Apache-2.0 */
/* Listing a bucket, page by page: signed requests. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rouse/err.h>
#include <rouse/mem.h>

struct rouse_fetcher;

/* One page of what is below `prefix` in the bucket of `url` (s3://BUCKET/…?…): the answer's XML, at most 1000
 * objects, and the server's time, seconds since 1970. Returns whether to go on with the next one. */
typedef bool s3_list_page(void *arg, const char *xml, int64_t now);
/* Calls `page` for each in their order, until it returns false; for at most ROUSE_MAX_LISTING_PAGES. */
must_check int s3_list(struct rouse_fetcher *f, const char *url, const char *prefix,
		       uint64_t deadline, s3_list_page *page, void *arg, struct rouse_err *e);
