/* SPDX-License-Identifier: Apache-2.0 */
/* A collection, shared by its two parts: gc.c chooses, sweep.c deletes. */
#pragma once

#include <rouse/generations.h>
#include <rouse/json.h>

#include "prune.h"
#include "store.h"

struct rouse_gc {
	struct rouse_store store;
	int hold;
	bool nix;     /* has a database of this store */
	bool applied; /* the lists are of what was deleted */
	struct rouse_systems systems;
	bool *del;                        /* of systems.items */
	struct rouse_paths names;         /* in the store; ->valid: registered */
	struct rouse_paths roots;         /* hash parts */
	struct rouse_paths left;          /* of /nix-path-registration: more that is known */
	struct rouse_paths live;          /* ->valid: what it references is known */
	struct rouse_paths dead;          /* ->nar_size; ->valid: still there */
	struct rouse_prune prune;         /* links of other profiles */
	const struct rouse_paths *wanted; /* about to be rooted; may be NULL */
	uint64_t need;                    /* bytes to be freed; 0: not asked for */
	const char *opaque; /* a live path, of which it is not known what it references */
	json_t *notes;
};

/* What is known of a path: registered by rouse, or in what is left for Nix; else NULL. Borrowed. */
const struct rouse_path *rouse_gc_known(const struct rouse_gc *g, const char *name);
