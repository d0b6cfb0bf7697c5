/* SPDX-License-Identifier: Apache-2.0 */
/* A unit file of the machine: what its [Install] says stays within bounds, and names no directory. */
#include "fuzz.h"

#include <rouse/limits.h>

#include "../../modules/units/install.h"

static void check(const struct rouse_list *list, struct rouse_arena *arena)
{
	HOLDS(list->n <= ROUSE_MAX_INSTALL);
	for (size_t i = 0; i < list->n; i++) {
		const char *name = ((const char *const *)list->items)[i];
		const char *expanded = unit_expand(name, "a-b@c.service", arena);

		HOLDS(*name && !strchr(name, '/') && (!expanded || !strchr(expanded, '/')));
	}
}

FUZZ(install)
{
	auto_arena struct rouse_arena arena = { 0 };
	struct unit_install i = { 0 };
	const char *why = NULL;
	unsigned line = 0;

	if (!unit_parse((const char *)data, size, &i, &arena, &line, &why)) {
		HOLDS(why && line >= 1 && fuzz_is_one_line(why));
		return 0;
	}
	check(&i.wanted_by, &arena);
	check(&i.required_by, &arena);
	check(&i.upheld_by, &arena);
	check(&i.alias, &arena);
	check(&i.also, &arena);
	HOLDS(!i.default_instance || !strchr(i.default_instance, '/'));
	return 0;
}
