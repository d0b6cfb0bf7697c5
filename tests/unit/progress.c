/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include <rouse/limits.h>

#include "../../agent/progress.h"

#define MB 1048576

static void short_work_is_not_told(struct t *t)
{
	struct progress p;

	progress_begin(&p, true, 1000);
	T_CHECK(t, !progress_due(&p, 0, 10 * MB, 1100) && !progress_due(&p, 9 * MB, 10 * MB, 2900));
}

static void terminal_is_told_once_a_second(struct t *t)
{
	struct progress p;
	unsigned told = 0;

	progress_begin(&p, true, 0);
	for (uint64_t now = 0; now < 12000; now += 100)
		told += progress_due(&p, now, 1000000, now);
	T_CHECK(t, told == 10); /* at 2, 3, … 11 */
}

static void serial_line_is_told_ever_more_seldom(struct t *t)
{
	struct progress p;
	unsigned told = 0;

	progress_begin(&p, false, 0);
	for (uint64_t now = 0; now <= 600000; now += 100)
		told += progress_due(&p, now, 1000000, now);
	T_CHECK(t, told >= 4 && told <= 24); /* at 2, 6, 14, 30, 60, 90… */
}

static void rate_and_time_left_are_told(struct t *t)
{
	struct progress p;
	char buf[256];

	progress_begin(&p, true, 0);
	T_CHECK(t, !progress_due(&p, 0, 100 * MB, 1000));
	T_CHECK(t, progress_due(&p, 20 * MB, 100 * MB, 5000));
	T_STR(t, progress_text(&p, buf, sizeof(buf), "pulling the closure", 5000),
	      "pulling the closure: 20.0 MiB of 100 MiB (20 %), 5.0 MiB/s, 16.0 s left");
}

static void unknown_total_has_no_time_left(struct t *t)
{
	struct progress p;
	char buf[256];

	progress_begin(&p, true, 0);
	T_CHECK(t, progress_due(&p, 8 * MB, 0, 2000));
	T_STR(t, progress_text(&p, buf, sizeof(buf), "x", 2000), "x: 8.0 MiB, 4.0 MiB/s");
}

static void words_alone_stay_as_they_are(struct t *t)
{
	struct progress p;
	char buf[256];

	progress_begin(&p, true, 0);
	T_CHECK(t, progress_due(&p, 0, 0, 2000));
	T_STR(t, progress_text(&p, buf, sizeof(buf), "12 of 80 paths", 2000), "12 of 80 paths");
}

static void other_work_has_its_own_rate(struct t *t)
{
	struct progress p;
	char buf[256];

	progress_begin(&p, true, 0);
	T_CHECK(t, progress_due(&p, 100 * MB, 100 * MB, 2000));
	T_CHECK(t, !progress_due(&p, 0, 10 * MB, 2500));
	T_CHECK(t, progress_due(&p, 1 * MB, 10 * MB, 3500));
	T_STR(t, progress_text(&p, buf, sizeof(buf), "y", 3500),
	      "y: 1.0 MiB of 10.0 MiB (10 %), 1.0 MiB/s, 9.0 s left");
}

static void numbers_at_their_end_are_survived(struct t *t)
{
	struct progress p;
	char buf[64];

	progress_begin(&p, true, 0);
	T_CHECK(t, progress_due(&p, UINT64_MAX / 200, UINT64_MAX, 2000));
	T_CHECK(t, strlen(progress_text(&p, buf, sizeof(buf), "z", 2000)) < sizeof(buf));
	T_CHECK(t, strlen(progress_text(&p, buf, 8, "long enough", 2000)) == 7);
}

T_MAIN(T(short_work_is_not_told), T(terminal_is_told_once_a_second),
       T(serial_line_is_told_ever_more_seldom), T(rate_and_time_left_are_told),
       T(unknown_total_has_no_time_left), T(words_alone_stay_as_they_are),
       T(other_work_has_its_own_rate), T(numbers_at_their_end_are_survived))
