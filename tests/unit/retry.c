/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/retry.h>

#include <rouse/limits.h>

#include "../lib/tap.h"

#define NOW INT64_C(784111777) /* Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110 */

static void only_transient_statuses_are_tried_again(struct t *t)
{
	static const long again[] = { 408, 429, 500, 502, 503, 504, 599 };
	static const long final[] = {
		0, 200, 204, 301, 304, 400, 401, 403, 404, 410, 501, 505, 600
	};

	for (size_t i = 0; i < ARRAY_SIZE(again); i++)
		T_CHECK(t, rouse_retry_status(again[i]));
	for (size_t i = 0; i < ARRAY_SIZE(final); i++)
		T_CHECK(t, !rouse_retry_status(final[i]));
}

static void the_three_http_dates_name_the_same_second(struct t *t)
{
	int64_t when = 0;

	T_CHECK(t, rouse_http_date("Sun, 06 Nov 1994 08:49:37 GMT", &when) && when == NOW);
	when = 0;
	T_CHECK(t, rouse_http_date("Sunday, 06-Nov-94 08:49:37 GMT", &when) && when == NOW);
	when = 0;
	T_CHECK(t, rouse_http_date("Sun Nov  6 08:49:37 1994", &when) && when == NOW);
}

static void retry_after_takes_seconds(struct t *t)
{
	uint64_t ms = 1;

	T_CHECK(t, rouse_retry_after("7", NOW, &ms) && ms == 7000);
	T_CHECK(t, rouse_retry_after("0", NOW, &ms) && ms == 0);
}

static void retry_after_takes_a_date_and_a_past_one_is_now(struct t *t)
{
	uint64_t ms = 1;

	T_CHECK(t, rouse_retry_after("Sun, 06 Nov 1994 08:49:47 GMT", NOW, &ms) && ms == 10000);
	T_CHECK(t, rouse_retry_after("Sun, 06 Nov 1994 08:49:27 GMT", NOW, &ms) && ms == 0);
}

static void retry_after_is_bounded(struct t *t)
{
	uint64_t ms = 1;

	T_CHECK(t, rouse_retry_after("120", NOW, &ms) && ms == ROUSE_MAX_RETRY_AFTER);
	T_CHECK(t, rouse_retry_after("121", NOW, &ms) && ms == ROUSE_MAX_RETRY_AFTER);
	T_CHECK(t, rouse_retry_after("86400", NOW, &ms) && ms == ROUSE_MAX_RETRY_AFTER);
	T_CHECK(t, rouse_retry_after("99999999999999999999999", NOW, &ms) &&
			   ms == ROUSE_MAX_RETRY_AFTER);
	T_CHECK(t, rouse_retry_after("Fri, 06 Nov 2294 08:49:37 GMT", NOW, &ms) &&
			   ms == ROUSE_MAX_RETRY_AFTER);
}

static void garbage_in_retry_after_is_ignored(struct t *t)
{
	static const char *const garbage[] = { "",
					       "abc",
					       "-1",
					       "+7",
					       "7s",
					       "7.5",
					       " 7",
					       "0x10",
					       "Sun, 06 Nov 1994 08:49:37 CET",
					       "Sun, 06 Nov 1994",
					       "Sun, 06 Nov 1994 08:49:37 GMT, 7" };
	uint64_t ms = 42;

	for (size_t i = 0; i < ARRAY_SIZE(garbage); i++)
		T_CHECK(t, !rouse_retry_after(garbage[i], NOW, &ms) && ms == 42);
}

static void back_off_doubles_up_to_its_cap(struct t *t)
{
	uint64_t bound = ROUSE_BACKOFF_BASE;

	for (unsigned tries = 1; tries < 200; tries++) {
		T_CHECK(t, rouse_retry_delay(tries, 0, bound) == bound);
		T_CHECK(t, rouse_retry_delay(tries, 0, bound + 1) == 0);
		bound = bound * 2 < ROUSE_BACKOFF_CAP ? bound * 2 : ROUSE_BACKOFF_CAP;
	}
}

static void what_the_server_asked_for_is_a_minimum(struct t *t)
{
	T_CHECK(t, rouse_retry_delay(1, 7000, 0) == 7000);
	T_CHECK(t, rouse_retry_delay(1, 7000, ROUSE_BACKOFF_BASE) == 7000 + ROUSE_BACKOFF_BASE);
}

T_MAIN(T(only_transient_statuses_are_tried_again), T(the_three_http_dates_name_the_same_second),
       T(retry_after_takes_seconds), T(retry_after_takes_a_date_and_a_past_one_is_now),
       T(retry_after_is_bounded), T(garbage_in_retry_after_is_ignored),
       T(back_off_doubles_up_to_its_cap), T(what_the_server_asked_for_is_a_minimum))
