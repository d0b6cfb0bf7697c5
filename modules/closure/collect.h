/* SPDX-License-Identifier: Apache-2.0 */
/* The collector, for a closure that is about to be pulled. */
#pragma once

#include <rouse/generations.h>

#include "table.h"

/* As rouse_gc_plan, and nothing that `wanted` (may be NULL) names is deleted; with `need`, older
 * generations go, one by one, until so many bytes would be freed. */
must_check int rouse_gc_plan_for(const char *root, const struct rouse_gc_policy *p,
				 const struct rouse_paths *wanted, uint64_t need, bool lock,
				 struct rouse_gc **ret, struct rouse_err *e);
/* What it would free, unpacked, as far as that is known. */
uint64_t rouse_gc_bytes(const struct rouse_gc *g);
