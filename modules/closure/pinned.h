/* SPDX-License-Identifier: Apache-2.0 */
/* Closure manifests, as they are read (rouse/manifest.h has the format). */
#pragma once

#include <rouse/closure.h>
#include <rouse/module.h>

#include "graph.h"

bool rouse_has_manifests(const struct rouse_closure_spec *spec);
/* Fetches the manifests of all roots into c->pinned. A text that is not what is pinned is
 * ROUSE_UNTRUSTED; one that does not hold the whole closure of its root, or whose sizes are beyond
 * the bounds, is ROUSE_DOCUMENT. */
must_check int rouse_pinned_load(struct rouse_closure *c, const struct rouse_context *ctx,
				 struct rouse_err *e);
/* Reads the text of one into `paths`. `where` is for messages. path->cache is what the text says:
 * *ret_caches (its "caches", `n` of them, strings from `arena`) tells what that means. */
must_check int rouse_pinned_parse(struct rouse_paths *paths, const char *where, const char *text,
				  size_t len, struct rouse_arena *arena,
				  const char *const **ret_caches, size_t *ret_n,
				  struct rouse_err *e);
