/* SPDX-License-Identifier: Apache-2.0 */
/* What a cache answers, judged: a narinfo against signatures, pins and what is known already, and
 * nix-cache-info. */
#pragma once

#include <rouse/mem.h>

#include "graph.h"
#include "narinfo.h"

/* A narinfo that came, and what became of it. */
struct rouse_answer {
	const struct rouse_closure_spec *spec;
	const char *url;  /* where it came from */
	const char *name; /* the path that was asked for */
	unsigned cache;   /* of spec */
	struct rouse_buf text;
	struct rouse_answer *next; /* of a checker's list */

	/* filled by rouse_answer_check */
	enum { ROUSE_ANSWER_WRONG, ROUSE_ANSWER_UNSIGNED, ROUSE_ANSWER_GOOD } result;
	struct rouse_err why; /* … it is not good */
	struct rouse_arena arena;
	struct rouse_narinfo info; /* unless it is wrong; strings in the arena */
};

/* Parses it and looks at its signature, which is nearly all of the work, and may be done in any thread:
 * nothing but the answer is changed. */
void rouse_answer_check(struct rouse_answer *a);
/* Takes what a checked one says of the path. When the path is known, it must be the same archive, or another one
 * that is signed, too, and has the same references. On failure, what was known stays. */
must_check int rouse_answer_take(struct rouse_closure *c, struct rouse_path *p,
				 const struct rouse_answer *a, struct rouse_err *e);
void rouse_answer_done(struct rouse_answer *a); /* frees the text and what was made of it */
/* ROUSE_DOCUMENT for a cache that was made for another store. */
must_check int rouse_answer_info(const struct rouse_cache *cache, const struct rouse_buf *text,
				 struct rouse_err *e);
/* Is this what the document pins for the root of that name, if it pins it? */
bool rouse_answer_is_pinned(const struct rouse_closure *c, const char *name,
			    const uint8_t hash[static ROUSE_SHA256_LEN]);
