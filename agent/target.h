/* SPDX-License-Identifier: Apache-2.0 */
/* What `plan`, `apply` and `facts` have in common: their options, and a run made of them. */
#pragma once

#include <stdbool.h>

#include <rouse/document.h>
#include <rouse/err.h>
#include <rouse/run.h>

#include "layers.h"

struct rouse_target {
	const char *root, *facts_file, *only;
	const char *plan; /* the id of the plan that was agreed to; NULL: none */
	bool json, yes, draw;
	struct rouse_pair disks[ROUSE_MAX_DISKS]; /* --disk NAME=FILE */
	size_t n_disks;
	struct rouse_arena arena;
	struct rouse_fetcher *fetcher;
	struct rouse_instance instance; /* from the recorded facts */
	struct rouse_running running;   /* … or from the boot of this machine */
	json_t *counters;
};
void rouse_target_done(struct rouse_target *t);
static inline void target_auto(struct rouse_target *t)
{
	rouse_target_done(t);
}
#define auto_target __attribute__((cleanup(target_auto)))

/* Options a command allows, as a set of these letters: r root, d disk, f facts, o only, j json, y yes,
 * p draw (a picture), i the id of a plan. */
must_check int rouse_target_parse(struct rouse_target *t, int argc, char **argv,
				  const char *allowed, struct rouse_err *e);
/* The argument of a command, or ROUSE_RUNNING when there is none; the name in *ret is for rouse_target_open. */
#define ROUSE_RUNNING ""
must_check int rouse_target_document(int argc, char **argv, const char **ret, struct rouse_err *e);
/* Loads the document at `path` (NULL: an empty one; ROUSE_RUNNING: that of the machine, with its
 * overrides as they are now) with its bases, finishes it, and fills run->document, ->context and, from --facts or by observing, ->facts. */
must_check int rouse_target_open(struct rouse_target *t, const char *path, struct rouse_document *d,
				 struct rouse_run *run, struct rouse_err *e);
