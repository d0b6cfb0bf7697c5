/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/retry.h>

#include <string.h>
#include <time.h>

#include <rouse/limits.h>
#include <rouse/text.h>

bool rouse_retry_status(long status)
{
	if (status == 501 || status == 505)
		return false;
	return status == 408 || status == 429 || (status >= 500 && status <= 599);
}

bool rouse_http_date(const char *text, int64_t *ret)
{
	/* RFC 9110 section 5.6.7: IMF-fixdate, and the two old forms that must still be understood. */
	static const char *const forms[] = { "%a, %d %b %Y %H:%M:%S GMT",
					     "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y" };

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		struct tm tm = { 0 };
		const char *end = strptime(text, forms[i], &tm);

		if (end && !*end) {
			*ret = timegm(&tm);
			return true;
		}
	}
	return false;
}

bool rouse_retry_after(const char *value, int64_t now, uint64_t *ret_ms)
{
	const uint64_t most = ROUSE_MAX_RETRY_AFTER / 1000;
	uint64_t seconds;
	int64_t when;

	if (*value && strspn(value, "0123456789") == strlen(value)) {
		/* More digits than the parser holds is only a very long time. */
		if (!rouse_parse_u64(value, UINT64_MAX, &seconds))
			seconds = most;
	} else if (rouse_http_date(value, &when)) {
		seconds = when > now ? (uint64_t)(when - now) : 0;
	} else {
		return false;
	}
	*ret_ms = (seconds < most ? seconds : most) * 1000;
	return true;
}

uint64_t rouse_retry_delay(unsigned tries, uint64_t asked, uint64_t random)
{
	uint64_t bound = ROUSE_BACKOFF_CAP;
	unsigned shift = tries ? tries - 1 : 0;

	/* 2^16 times the base is far above the cap; a wider shift would overflow. */
	if (shift < 16 && (uint64_t)ROUSE_BACKOFF_BASE << shift < bound)
		bound = (uint64_t)ROUSE_BACKOFF_BASE << shift;
	return asked + random % (bound + 1);
}
