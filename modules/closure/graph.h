/* SPDX-License-Identifier: Apache-2.0 */
/* The closure as it is being resolved: every path, what the caches say of it, and who said so. */
#pragma once

#include <rouse/closure.h>
#include <rouse/module.h>

#include "dedup.h"
#include "table.h"

struct rouse_cache_state {
	bool down;            /* was not reachable: not asked again while others may answer */
	bool wanted, greeted; /* its nix-cache-info is looked at when it is asked for something */
	unsigned failures;    /* in a row */
};

struct rouse_closure {
	const struct rouse_closure_spec *spec;
	struct rouse_paths paths;
	struct rouse_paths pinned;        /* what manifests say; empty once resolved */
	struct rouse_cache_state *caches; /* as in spec */
	uint64_t bytes;                   /* sum of what is known of paths so far, unpacked */
	uint64_t requests;
	uint64_t
		distance; /* how long the quickest answer of a cache took, in ms; 0: none came yet */
	uint64_t fetched, fetched_bytes; /* by pulling */
	size_t copied;                   /* paths, from another store of this machine */
	uint64_t copied_bytes;           /* unpacked */
	struct rouse_dedup dedup;
	const char **problems; /* when all are wanted; strings in paths.arena */
	size_t n_problems;
	struct rouse_err worst; /* of them */
};

/* Notes what is wrong, where all that is wrong is wanted (see rouse_closure_check). */
void rouse_closure_problem(struct rouse_closure *c, const struct rouse_err *e);
/* Finds every path of the closure, from its roots on; `registered` is what the store has. */
must_check int rouse_closure_walk(struct rouse_closure *c, const struct rouse_context *ctx,
				  const struct rouse_paths *registered, struct rouse_err *e);
/* How many threads it may use: what its caller said, or as many as may run. */
unsigned rouse_closure_processors(const struct rouse_closure *c);
/* When one small answer is overdue: a pull may take long, but must move. */
uint64_t rouse_closure_soon(const struct rouse_context *ctx);
/* May another cache have the archive of a path that path->cache could not deliver? */
bool rouse_closure_has_more(const struct rouse_closure *c, const struct rouse_path *path);
/* Asks the caches behind path->cache for the same archive (same hash, size and references), after
 * one of them could not deliver it. -1 when there is none. */
must_check int rouse_closure_next_source(struct rouse_closure *c, struct rouse_path *path,
					 const struct rouse_context *ctx, struct rouse_err *e);
