/* SPDX-License-Identifier: Apache-2.0 */
/* When to try again: pure arithmetic, no clock and no network. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rouse/auto.h>

/* Is this HTTP status worth another try? 408, 429 and 5xx, but not 501 and 505. */
bool rouse_retry_status(long status);

/*
 * Retry-After (RFC 9110 section 10.2.3): seconds, or one of the three HTTP dates. `now` is the time
 * that the same server believes in (its Date header), as the clock of a machine that boots may be
 * years off. A past date is 0; what is too long is cut to ROUSE_MAX_RETRY_AFTER; false for garbage.
 */
must_check bool rouse_retry_after(const char *value, int64_t now, uint64_t *ret_ms);
/* An HTTP date as seconds since 1970; false for anything else. */
must_check bool rouse_http_date(const char *text, int64_t *ret);

/*
 * Milliseconds to wait after `tries` tries (1, 2, …). Full jitter: `random` (any 64 bits) is brought
 * into [0, min(ROUSE_BACKOFF_CAP, ROUSE_BACKOFF_BASE << (tries - 1))]. What the server asked for
 * (0: nothing) is a minimum to which the jitter is added, so that a fleet does not come back at once.
 */
uint64_t rouse_retry_delay(unsigned tries, uint64_t asked, uint64_t random);
