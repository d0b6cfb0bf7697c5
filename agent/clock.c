/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/clock.h>

#include <limits.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>

uint64_t rouse_clock_ms(void)
{
	struct timespec t = { 0 };

	(void)clock_gettime(CLOCK_BOOTTIME, &t); /* cannot fail with a valid clock and pointer */
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t usage_ms(int who)
{
	struct rusage u = { 0 };

	(void)getrusage(who, &u);
	return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000;
}

uint64_t rouse_clock_cpu_ms(void)
{
	return usage_ms(RUSAGE_SELF) + usage_ms(RUSAGE_CHILDREN);
}

int rouse_clock_left(uint64_t deadline)
{
	uint64_t now = rouse_clock_ms();

	if (deadline <= now)
		return 0;
	return deadline - now > INT_MAX ? INT_MAX : (int)(deadline - now);
}

void rouse_clock_sleep_until(uint64_t when)
{
	struct timespec t = { .tv_sec = (time_t)(when / 1000),
			      .tv_nsec = (long)(when % 1000) * 1000000 };

	while (clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

uint64_t rouse_jitter(uint64_t bound)
{
	uint64_t r = 0;

	/* Early in a boot the pool may not be ready; the clock then spreads well enough. */
	if (getrandom(&r, sizeof(r), GRND_NONBLOCK) != sizeof(r)) {
		struct timespec t = { 0 };

		(void)clock_gettime(CLOCK_MONOTONIC, &t);
		r = (uint64_t)t.tv_nsec * UINT64_C(0x9e3779b97f4a7c15);
	}
	return bound == UINT64_MAX ? r : r % (bound + 1);
}
