/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which time a certificate must be valid at. The clock of a machine that boots may be years behind;
 * the agent was built later than that, and the metadata service, which is believed in all else too,
 * says what time it is. The latest of the three counts; the system's clock is left alone.
 */
#pragma once

#include <stdint.h>

#include <curl/curl.h>

struct tls_clock {
	int64_t heard; /* seconds since 1970; 0: nothing was heard */
	uint64_t at;   /* … at this time of rouse_clock_ms() */
};

/* Notes the Date of an answer of the metadata service; garbage is passed over. */
void tls_clock_hear(struct tls_clock *c, const char *date);
/* It cannot be earlier than this: seconds since 1970. */
int64_t tls_clock_floor(const struct tls_clock *c);
/* Has `easy` check certificates at the latest time that is known. */
void tls_clock_use(struct tls_clock *c, CURL *easy);
