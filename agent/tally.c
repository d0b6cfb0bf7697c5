/* SPDX-License-Identifier: Apache-2.0 */
#include "tally.h"

#include <string.h>
#include <time.h>

#include <rouse/mem.h>
#include <rouse/retry.h>
#include <rouse/text.h>

#include "s3.h"

/* "2026-11-21T19:52:21.000Z"; false for anything else. */
static bool read_time(const char *text, int64_t *ret)
{
	struct tm tm = { 0 };
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	if (!end || (*end != 'Z' && *end != '.'))
		return false;
	*ret = timegm(&tm);
	return true;
}

/* What S3 and Google say, and what Azure does. */
static const struct dialect {
	const char *list, *open, *close, *size, *modified;
} dialects[] = {
	{ "<ListBucketResult", "<Contents>", "</Contents>", "Size", "LastModified" },
	{ "<EnumerationResults", "<Blob>", "</Blob>", "Content-Length", "Last-Modified" },
};

static void count(struct tally *t, const struct dialect *d, const char *entry, int64_t now,
		  uint64_t window)
{
	char size[24], modified[40];
	uint64_t bytes;
	int64_t at;

	s3_element(size, sizeof(size), entry, d->size);
	s3_element(modified, sizeof(modified), entry, d->modified);
	if (!rouse_parse_u64(size, UINT64_MAX, &bytes) || bytes == 0)
		return; /* what makes a folder of a prefix is nobody's word */
	if (bytes == sizeof(TALLY_READY) - 1)
		t->ready++;
	else if ((read_time(modified, &at) || rouse_http_date(modified, &at)) &&
		 at > now - (int64_t)window)
		t->failed++;
}

bool tally_read(struct tally *ret, const char *xml, int64_t now, uint64_t window)
{
	const struct dialect *d = dialects;
	struct tally t = *ret;
	char truncated[8], marker[2];

	while (!strstr(xml, d->list))
		if (++d == dialects + ARRAY_SIZE(dialects))
			return false;
	s3_element(truncated, sizeof(truncated), xml, "IsTruncated");
	s3_element(marker, sizeof(marker), xml, "NextMarker");
	t.more = rouse_streq(truncated, "true") || *marker;
	for (const char *p = strstr(xml, d->open); p; p = strstr(p, d->open)) {
		const char *end = strstr(p, d->close);
		auto_free char *entry = NULL;

		if (!end)
			break;
		entry = rouse_strndup(p, (size_t)(end - p));
		count(&t, d, entry, now, window);
		p = end;
	}
	*ret = t;
	return true;
}

bool tally_trips(const struct tally *t, uint64_t failures)
{
	return !t->ready && !t->more && t->failed >= failures;
}
