/* SPDX-License-Identifier: Apache-2.0 */
#include "bucket_list.h"

#include <string.h>
#include <time.h>

#include <rouse/fetch.h>
#include <rouse/limits.h>
#include <rouse/retry.h>
#include <rouse/sigv4.h>
#include <rouse/text.h>

#include "blob.h"
#include "s3.h"

/* gs://BUCKET/FOLDER?MORE, az://ACCOUNT/CONTAINER/FOLDER?MORE, and what is below the folder: the URL of a listing,
 * but for the marker. */
static char *listing_url(const char *url, const char *below)
{
	const char *google = rouse_strip_prefix(url, "gs://"), *query = strchr(url, '?'),
		   *folder = google ? google : url + strlen("az://");
	size_t end = query ? (size_t)(query - url) : strlen(url), n;
	auto_free char *plain = NULL, *prefix = NULL, *encoded = NULL;

	for (int names = google ? 1 : 2; names > 0 && folder < url + end; names--)
		folder += strcspn(folder, "/?") + (folder + strcspn(folder, "/?") < url + end);
	plain = rouse_sigv4_decode(folder, (size_t)(url + end - folder), &n);
	prefix = rouse_asprintf("%s%s%s", plain, *plain ? "/" : "", below);
	encoded = rouse_sigv4_encode(prefix, strlen(prefix), "");
	return rouse_asprintf("%.*s?prefix=%s%s%s", (int)(folder - url), url, encoded,
			      query ? "&" : "", query ? query + 1 : "");
}

bool bucket_take_page(struct rouse_fetch *t, const char *next, char *marker, size_t size,
		      bucket_page *page, void *arg)
{
	auto_buf struct rouse_buf body = t->body_out;
	const char *xml = body.data ? body.data : "";
	int64_t now;

	t->body_out = (struct rouse_buf){ 0 };
	if (!rouse_http_date(t->date, &now))
		now = time(NULL);
	s3_element(marker, size, xml, next);
	return page(arg, xml, now) && *marker;
}

int bucket_list(struct rouse_fetcher *f, const char *url, const char *prefix, uint64_t deadline,
		bucket_page *page, void *arg, struct rouse_err *e)
{
	auto_free char *first = NULL;
	const char *next = rouse_strip_prefix(url, "gs://") ? "NextContinuationToken"
							    : "NextMarker";
	char marker[1024] = "";
	bool more = true;

	if (!blob_is_url(url))
		return s3_list(f, url, prefix, deadline, page, arg, e);
	first = listing_url(url, prefix);
	for (unsigned n = 0; more && n < ROUSE_MAX_LISTING_PAGES; n++) {
		auto_free char *encoded = rouse_sigv4_encode(marker, strlen(marker), "");
		auto_free char *one = rouse_asprintf("%s%s%s", first, *marker ? "&marker=" : "",
						     encoded);
		struct rouse_fetch t = { .url = one,
					 .max_bytes = ROUSE_MAX_LISTING,
					 .deadline = deadline };

		if (rouse_fetch(f, &t, e) < 0) {
			rouse_buf_done(&t.body_out);
			return -1;
		}
		more = bucket_take_page(&t, next, marker, sizeof(marker), page, arg);
	}
	return 0;
}
