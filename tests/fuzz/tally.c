/* SPDX-License-Identifier: Apache-2.0 */
/* A bucket's listing: what is counted stands there, however it is written. */
#include "fuzz.h"

#include <rouse/mem.h>

#include "../../agent/tally.h"

FUZZ(tally)
{
	auto_free char *xml = rouse_strndup((const char *)data, size);
	struct tally t = { 0 }, none = { 0 };

	if (!tally_read(&t, xml, 1800000000, 3600))
		return 0;
	HOLDS(t.failed + t.ready <= size / strlen("<Contents></Contents>"));
	HOLDS(!tally_trips(&t, 1) || (!t.ready && !t.more && t.failed));
	HOLDS(tally_read(&none, xml, INT64_MAX, 0) && none.failed == 0 && none.ready == t.ready);
	return 0;
}
