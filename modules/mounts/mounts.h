/* SPDX-License-Identifier: Apache-2.0 */
/* The module `mounts`, inside: mount points that no disk of the document has. */
#pragma once

#include <stdbool.h>

#include <rouse/module.h>
#include <rouse/mountunits.h>

struct mounts_overlay {
	struct rouse_list lower; /* const char *: the uppermost first */
	const char *upper, *work;
};

struct mounts_one {
	const char *target;
	const char *type, *source; /* "tmpfs"; "virtiofs" and "9p" have a source */
	const char *bind;
	const struct mounts_overlay *overlay;
	struct rouse_list options; /* const char * */
};

struct mounts_conf {
	struct rouse_list mounts; /* struct mounts_one */
};

/* What is at a mount point; one without an entry is none. */
struct mounts_found {
	const char *target, *type;
	bool same; /* it is what shall be bound there */
};

struct mounts_fstab {
	struct rouse_list own, others; /* const char * */
};

struct mounts_facts {
	struct rouse_list found;              /* struct mounts_found */
	const struct mounts_fstab *fstab;     /* NULL: not ours to keep */
	const struct rouse_units_fact *units; /* of a systemd without one; NULL: there is none */
};

enum { MOUNTS_OP_MOUNT, MOUNTS_OP_FSTAB, MOUNTS_OP_UNITS };

/* What a step carries. */
struct mounts_action {
	const struct mounts_one *m;
	const char *options;                  /* comma-separated, NULL: none */
	const char *lines;                    /* FSTAB */
	const struct rouse_units_fact *there; /* UNITS: what is there, and what shall be */
	struct rouse_list units;              /* struct rouse_pair */
};

int mounts_observe(const void *conf, const struct rouse_context *c, json_t *facts,
		   struct rouse_err *e);
int mounts_apply(const struct rouse_step *step, const struct rouse_context *c, void *state,
		 struct rouse_err *e);
