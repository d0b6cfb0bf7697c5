/* SPDX-License-Identifier: Apache-2.0 */
/* The table of the kinds of checks, and one try of any. */
#include <rouse/health.h>

#include <rouse/clock.h>
#include <rouse/limits.h>
#include <rouse/mem.h>

#include "tools.h"

static const struct health_kind *const kinds[] = {
	&health_kind_http, &health_kind_tcp,  &health_kind_unit,    &health_kind_system,
	&health_kind_exec, &health_kind_file, &health_kind_planned,
};

const struct health_kind *health_kind_of(const struct rouse_health_check *c,
					 const struct health_kind *after)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (after == kinds[i])
			after = NULL;
		else if (!after && kinds[i]->is(c))
			return kinds[i];
	}
	return NULL;
}

char *rouse_health_describe(const struct rouse_health_check *c)
{
	const struct health_kind *kind = health_kind_of(c, NULL);

	return kind ? kind->describe(c) : rouse_strdup("nothing");
}

int rouse_health_try(const struct rouse_health_check *c, uint64_t deadline, char **ret_note,
		     struct rouse_err *e)
{
	const struct health_kind *kind = health_kind_of(c, NULL);
	uint64_t end;

	if (!kind)
		return rouse_fail(e, ROUSE_BUG, 0, "a check of nothing");
	end = rouse_clock_ms() + (c->timeout ? c->timeout : kind->timeout);
	return kind->try(c, end < deadline ? end : deadline, ret_note, e);
}
