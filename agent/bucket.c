/* SPDX-License-Identifier: Apache-2.0 */
#include "bucket.h"

#include <rouse/clock.h>
#include <rouse/limits.h>
#include <rouse/text.h>

#include "blob.h"

bool bucket_is_url(const char *url)
{
	return rouse_strip_prefix(url, "s3://") || blob_is_url(url);
}

int bucket_open(struct bucket **ret, const struct rouse_fetch *t, struct rouse_err *e)
{
	char url[512];
	int r = rouse_strip_prefix(t->url, "s3://") ? bucket_open_s3(ret, t, e)
						    : bucket_open_blob(ret, t, e);

	(void)rouse_print_url(url, sizeof(url), t->url);
	if (r < 0)
		return rouse_wrap(e, "cannot fetch '%s'", url);
	if (!t->method || rouse_streq(t->method, "GET") || rouse_streq(t->method, "HEAD") ||
	    rouse_streq(t->method, "PUT"))
		return 0;
	return rouse_fail(e, ROUSE_DOCUMENT, 0,
			  "cannot send to '%s': an object is read or put as a whole", url);
}

void bucket_free(struct bucket *b)
{
	if (b)
		b->ops->release(b);
}

uint64_t bucket_patience(const struct rouse_fetch *t)
{
	uint64_t soon = rouse_clock_ms() + ROUSE_ROLE_WAIT;

	return t->max_tries && soon < t->deadline ? soon : t->deadline;
}
