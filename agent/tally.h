/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a fleet says of one document, in objects of a bucket: each instance puts one, PREFIX/INSTANCE, with
 * "ready\n", or with the reason why not. A listing tells them apart by their size, and how old they are.
 * Pure; agent/fleet.c asks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The whole object of an instance that became ready; every reason is longer. */
#define TALLY_READY "ready\n"

struct tally {
	size_t failed; /* within the window */
	size_t ready;  /* ever */
	bool more;     /* there are others, which were not counted */
};

/* Adds what one page of a listing (ListObjectsV2 of S3 and Google, List Blobs of Azure) says; false, and nothing changes, when it is none.
 * `now` is the server's time, seconds since 1970; failures older than `window` seconds are forgotten, so that a
 * document is tried again some day. */
bool tally_read(struct tally *ret, const char *xml, int64_t now, uint64_t window);
/* Has the document failed so often, and never been well, that one more machine need not find out? While there
 * are more who were not heard, nobody knows. */
bool tally_trips(const struct tally *t, uint64_t failures);
