/* SPDX-License-Identifier: Apache-2.0 */
/* Old generations of all profiles but the system's: those of users, and everybody's. */
#pragma once

#include <rouse/fs.h>
#include <rouse/generations.h>

#include "table.h"

struct rouse_prune {
	struct rouse_paths links; /* to be removed, by their path */
};
void rouse_prune_done(struct rouse_prune *p);

/* By the same policy as the system's, profile by profile; never the current generation, and nothing
 * below a name that is no profile. */
must_check int rouse_prune_choose(struct rouse_prune *ret, const struct rouse_root *root,
				  const struct rouse_gc_policy *policy, struct rouse_err *e);
must_check int rouse_prune_apply(const struct rouse_prune *p, const struct rouse_root *root,
				 struct rouse_err *e);
