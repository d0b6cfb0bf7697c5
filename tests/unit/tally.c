/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include <rouse/mem.h>

#include "../../agent/tally.h"

#define NOW 1800000000 /* 2027-01-15T08:00:00Z */
#define HOUR 3600
#define LIST(entries) "<ListBucketResult xmlns=\"x\"><Name>b</Name>" entries "</ListBucketResult>"
#define ENTRY(size, time)                                                                          \
	"<Contents><Key>fleet/x/i-1</Key><LastModified>" time                                      \
	"</LastModified><ETag>e</ETag><Size>" size "</Size></Contents>"
#define FAILED ENTRY("40", "2027-01-15T07:50:00.000Z")
#define READY ENTRY("6", "2020-01-01T00:00:00Z")

static void words_are_told_apart_by_their_size(struct t *t)
{
	struct tally n = { 0 };

	T_CHECK(t, tally_read(&n, LIST(FAILED READY FAILED), NOW, HOUR));
	T_CHECK(t, n.failed == 2 && n.ready == 1 && !n.more);
}

#define BLOB(size, time)                                                                           \
	"<Blob><Name>boot/x/i-1</Name><Properties><Last-Modified>" time                            \
	"</Last-Modified><Content-Length>" size "</Content-Length></Properties></Blob>"

static void azures_words_are_understood(struct t *t)
{
	static const char page[] =
		"\xef\xbb\xbf<?xml version=\"1.0\"?><EnumerationResults "
		"ContainerName=\"c\"><Blobs>" BLOB("40", "Fri, 15 Jan 2027 07:50:00 GMT")
			BLOB("40", "Fri, 15 Jan 2027 06:50:00 GMT")
				BLOB("6", "Wed, 01 Jan 2020 00:00:00 GMT") "</Blobs><NextMarker>";
	struct tally n = { 0 };
	char text[sizeof(page) + 64];

	(void)snprintf(text, sizeof(text), "%s2!92!x</NextMarker></EnumerationResults>", page);
	T_CHECK(t, tally_read(&n, text, NOW, HOUR));
	T_CHECK(t, n.failed == 1 && n.ready == 1 && n.more);
	(void)snprintf(text, sizeof(text), "%s</NextMarker></EnumerationResults>", page);
	T_CHECK(t, tally_read(&n, text, NOW, HOUR) && n.failed == 2 && n.ready == 2 && !n.more);
}

static void failures_grow_old_and_successes_do_not(struct t *t)
{
	struct tally n = { 0 };

	T_CHECK(t, tally_read(&n,
			      LIST(ENTRY("40", "2027-01-15T07:00:00Z")
					   ENTRY("40", "2027-01-15T07:00:01Z") READY),
			      NOW, HOUR));
	T_CHECK(t, n.failed == 1 && n.ready == 1);
}

static void what_is_no_listing_is_no_tally(struct t *t)
{
	static const char *const bad[] = { "", "{}", "<Error><Code>AccessDenied</Code></Error>",
					   FAILED };
	struct tally n = { .failed = 7 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		T_CHECK(t, !tally_read(&n, bad[i], NOW, HOUR) && n.failed == 7);
}

static void entries_without_size_or_time_do_not_count(struct t *t)
{
	struct tally n = { 0 };

	T_CHECK(t,
		tally_read(&n,
			   LIST(ENTRY("", "2027-01-15T07:50:00Z") ENTRY("x", "2027-01-15T07:50:00Z")
					ENTRY("0", "2027-01-15T07:50:00Z") ENTRY("40", "yesterday")
						ENTRY("-1", "2027-01-15T07:50:00Z")),
			   NOW, HOUR));
	T_CHECK(t, n.failed == 0 && n.ready == 0);
	T_CHECK(t,
		tally_read(&n, "<ListBucketResult><Contents><Size>40", NOW, HOUR) && n.failed == 0);
}

static void pages_add_up_and_the_last_one_ends(struct t *t)
{
	struct tally n = { 0 };

	T_CHECK(t,
		tally_read(&n, LIST("<IsTruncated>true</IsTruncated>" FAILED FAILED), NOW, HOUR));
	T_CHECK(t, n.more && n.failed == 2 && !tally_trips(&n, 1));
	T_CHECK(t, tally_read(&n, LIST("<IsTruncated>false</IsTruncated>" FAILED), NOW, HOUR));
	T_CHECK(t, !n.more && n.failed == 3 && tally_trips(&n, 3));
	T_CHECK(t, tally_read(&n, LIST(READY), NOW, HOUR) && n.failed == 3 && n.ready == 1);
}

static void breaker_opens_at_its_limit_and_not_before(struct t *t)
{
	struct tally n = { .failed = 2 };

	T_CHECK(t, !tally_trips(&n, 3));
	n.failed = 3;
	T_CHECK(t, tally_trips(&n, 3));
	n.ready = 1;
	T_CHECK(t, !tally_trips(&n, 3));
}

T_MAIN(T(words_are_told_apart_by_their_size), T(azures_words_are_understood),
       T(failures_grow_old_and_successes_do_not), T(what_is_no_listing_is_no_tally),
       T(entries_without_size_or_time_do_not_count), T(pages_add_up_and_the_last_one_ends),
       T(breaker_opens_at_its_limit_and_not_before))
