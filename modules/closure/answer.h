/* SPDX-License-Identifier: Apache-2.0 */
/* What a cache answers, judged: a narinfo against signatures, pins and what is known already, and
 * nix-cache-info. */
#pragma once

#include <rouse/mem.h>

#include "graph.h"

/* Takes what the narinfo `text` from `url` (in the cache p->cache) says of the path. When the path is
 * known, it must be the same archive. On failure, what was known stays. */
must_check int rouse_answer_take(struct rouse_closure *c, struct rouse_path *p, const char *url,
				 const struct rouse_buf *text, struct rouse_err *e);
/* ROUSE_DOCUMENT for a cache that was made for another store. */
must_check int rouse_answer_info(const struct rouse_cache *cache, const struct rouse_buf *text,
				 struct rouse_err *e);
/* Is this what the document pins for the root of that name, if it pins it? */
bool rouse_answer_is_pinned(const struct rouse_closure *c, const char *name,
			    const uint8_t hash[static ROUSE_SHA256_LEN]);
