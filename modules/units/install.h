/* SPDX-License-Identifier: Apache-2.0 */
/* Unit files: their syntax (systemd.syntax(7)), and the section that says what enabling means. */
#pragma once

#include <rouse/mem.h>
#include <rouse/schema.h>

/* [Install] of systemd.unit(5). Lists of const char *. */
struct unit_install {
	struct rouse_list wanted_by, required_by, upheld_by, alias, also;
	const char *default_instance;
};

/* Reads a unit file, or a drop-in, and adds what its [Install] says to *ret; an empty value empties a
 * list, as for systemd. Strings and lists are in `arena`. False with the line (from 1) and the reason
 * (static) when it is none. */
bool unit_parse(const char *text, size_t len, struct unit_install *ret, struct rouse_arena *arena,
		unsigned *ret_line, const char **ret_why);

/* "web.service", "getty@tty1.service": systemd.unit(5), at most 255 bytes. */
bool unit_is_name(const char *s);
bool unit_is_drop_in(const char *s);  /* "10-limits.conf" */
bool unit_is_template(const char *s); /* "getty@.service" */
/* "getty@.service" of "getty@tty1.service"; NULL when it is no instance. From `arena`. */
const char *unit_template_of(const char *name, struct rouse_arena *arena);
/* Replaces %n %N %p %i %j %% in a name of [Install]; NULL for other specifiers. From `arena`. */
const char *unit_expand(const char *text, const char *unit, struct rouse_arena *arena);
