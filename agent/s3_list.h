/* SPDX-License-Identifier: Apache-2.0 */
/* Listing a bucket: one signed request, its first page. */
#pragma once

#include <stdint.h>

#include <rouse/err.h>
#include <rouse/mem.h>

struct rouse_fetcher;

/* What is below `prefix` in the bucket of `url` (s3://BUCKET/…?…): the answer's XML, at most 1000 objects, and
 * the server's time, seconds since 1970. */
must_check int s3_list(struct rouse_fetcher *f, const char *url, const char *prefix,
		       uint64_t deadline, struct rouse_buf *ret, int64_t *ret_time,
		       struct rouse_err *e);
