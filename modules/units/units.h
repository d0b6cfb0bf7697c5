/* SPDX-License-Identifier: Apache-2.0 */
/* The section "units" decoded, what is known of the machine, and what has to stand where. */
#pragma once

#include <rouse/module.h>

#include "install.h"

#define UNITS_SECTION "units" /* of the record of what was made */

struct unit {
	const char *name, *contents;
	struct rouse_list drop_ins; /* struct rouse_pair: file name, contents */
	enum rouse_choice enable;
	bool mask;
};

struct units_conf {
	struct rouse_list units; /* struct unit */
};

/* A unit that is to be enabled or disabled, or that "Also=" of one names. */
struct unit_known {
	const char *name;
	const char *fragment; /* its file, NULL: none, and the document has none */
	struct unit_install install;
	struct rouse_list links; /* const char *: what enables it now */
};

struct unit_former {
	const char *path;
	struct rouse_list is;
	const char *was, *now;
};

struct units_facts {
	bool unseen;              /* the root filesystem is not mounted yet */
	bool running;             /* systemd of this root is process 1 */
	const char *dir;          /* where units are written */
	const char *why;          /* … or why nowhere */
	struct rouse_list known;  /* struct unit_known */
	struct rouse_list now;    /* struct rouse_pair: path, state (rouse/made.h) */
	struct rouse_list former; /* struct unit_former: recorded, and not wanted */
};

/* Something that has to stand somewhere. */
struct unit_item {
	const char *unit, *path;
	const char *state;         /* as rouse/made.h says it; any other link will do for a link */
	const char *data, *target; /* of a file; of a link; both NULL: nothing may be there */
	const char *what;          /* "write", "enable"… for people */
	bool any_link;
};

/* Everything that the document wants, from what is known; ROUSE_DOCUMENT when it cannot be. */
must_check int units_list(const struct units_conf *conf, const struct units_facts *facts,
			  struct rouse_arena *arena, struct unit_item **ret, size_t *ret_n,
			  struct rouse_err *e);
bool units_is_right(const struct unit_item *item, const char *state);
/* The state of a path in the facts, "absent" when it is not there. */
const char *units_state(const struct units_facts *facts, const char *path);

/* The root below which dir is: the target, or this system when it is in /run. */
const char *units_root(const struct rouse_context *c, const char *dir);
/* Looks at the machine. Everything is in `arena`. */
must_check int units_look(const struct units_conf *conf, const struct rouse_context *c,
			  struct rouse_arena *arena, struct units_facts *ret, struct rouse_err *e);
/* Makes it so, as far as it is not; what is there is looked at anew. */
must_check int units_apply(const struct units_conf *conf, const struct rouse_context *c,
			   struct rouse_err *e);
