/* SPDX-License-Identifier: Apache-2.0 */
/* A closure manifest: what is accepted is closed, in order, and within its bounds. */
#include "fuzz.h"

#include <rouse/limits.h>

#include "../../modules/closure/path.h"
#include "../../modules/closure/pinned.h"

FUZZ(manifest)
{
	auto_arena struct rouse_arena arena = { 0 };
	auto_paths struct rouse_paths paths = { 0 };
	const char *const *caches = NULL;
	struct rouse_err e = { 0 };
	size_t n = 0;

	if (rouse_pinned_parse(&paths, "x.json", (const char *)data, size, &arena, &caches, &n,
			       &e) < 0) {
		HOLDS(e.kind == ROUSE_DOCUMENT && fuzz_is_one_line(e.text));
		return 0;
	}
	HOLDS(paths.n <= ROUSE_MAX_CLOSURE_PATHS && caches);
	for (size_t i = 0; i < paths.n; i++) {
		const struct rouse_path *p = paths.items[i];

		HOLDS(p->known && rouse_is_store_name(p->name, strlen(p->name)));
		HOLDS(!i || strcmp(paths.items[i - 1]->name, p->name) < 0);
		HOLDS(p->nar_size && p->nar_size <= ROUSE_MAX_NAR_SIZE && rouse_is_nar_url(p->url));
		HOLDS((unsigned)p->compression < ROUSE_COMPRESSIONS_ && (!n || p->cache < n));
		for (size_t k = 0; k < p->n_references; k++)
			HOLDS(rouse_paths_find(&paths, p->references[k]));
	}
	return 0;
}
