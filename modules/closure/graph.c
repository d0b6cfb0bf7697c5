/* SPDX-License-Identifier: Apache-2.0 */
#include "graph.h"

#include <malloc.h>

#include <rouse/limits.h>

#include "path.h"
#include "store.h"

struct rouse_closure *rouse_closure_new(const struct rouse_closure_spec *spec)
{
	struct rouse_closure *c = rouse_calloc(1, sizeof(*c));

	c->spec = spec;
	c->caches = rouse_calloc(spec->n_caches, sizeof(*c->caches));
	return c;
}

void rouse_closure_free(struct rouse_closure *c)
{
	if (!c)
		return;
	rouse_paths_done(&c->paths);
	rouse_paths_done(&c->pinned);
	free(c->problems);
	free(c->caches);
	free(c);
}

static void count(const struct rouse_closure *c, const struct rouse_context *ctx)
{
	struct rouse_closure_size s = rouse_closure_measure(c);

	if (!ctx->counters)
		return;
	json_object_set_new(ctx->counters, "closure.paths", json_integer((json_int_t)s.paths));
	json_object_set_new(ctx->counters, "closure.narBytes",
			    json_integer((json_int_t)s.nar_bytes));
	json_object_set_new(ctx->counters, "closure.requests",
			    json_integer((json_int_t)c->requests));
}

/* The size of a path that certifies itself is the word of one cache. When such sizes add up, the other
 * caches are heard, too: else one that lies could make a closure that fits look too large. */
static void doubt_claims(struct rouse_closure *c, const struct rouse_context *ctx)
{
	uint64_t claimed = 0;

	for (size_t i = 0; i < c->paths.n; i++)
		if (c->paths.items[i]->claimed)
			claimed += c->paths.items[i]->nar_size;
	for (size_t i = 0; i < c->paths.n && claimed > ROUSE_CLOSURE_CLAIMS; i++) {
		struct rouse_path *p = c->paths.items[i];
		struct rouse_path least = *p;
		struct rouse_err e = { 0 }; /* another cache that cannot say is no loss */

		if (!p->claimed || p->valid || p->nar_size < MIB)
			continue;
		while (rouse_closure_has_more(c, p)) {
			if (rouse_closure_next_source(c, p, ctx, &e) == 0 &&
			    p->nar_size < least.nar_size)
				least = *p;
		}
		*p = least;
	}
}

int rouse_closure_resolve(struct rouse_closure *c, const struct rouse_context *ctx,
			  struct rouse_err *e)
{
	auto_store struct rouse_store store = ROUSE_STORE_INIT;

	/* Answers that a hostile cache has padded leave holes in a heap; on their own pages they leave
	 * nothing. */
	(void)mallopt(M_MMAP_THRESHOLD, 128 * 1024);
	if (!c->spec->elsewhere && rouse_store_look(&store, ctx->root, e) < 0)
		return -1;
	rouse_store_adopt(&store, ctx->deadline);
	for (size_t i = 0; i < c->spec->n_roots; i++)
		if (!rouse_store_name(c->spec->roots[i].path))
			return rouse_fail(e, ROUSE_DOCUMENT, 0, "'%s' is not a store path",
					  c->spec->roots[i].path);
	if (rouse_closure_walk(c, ctx, &store.registered, e) < 0)
		return -1;
	rouse_paths_done(&c->pinned);
	if (c->spec->n_caches > 1)
		doubt_claims(c, ctx);
	count(c, ctx);
	return 0;
}

struct rouse_closure_size rouse_closure_measure(const struct rouse_closure *c)
{
	struct rouse_closure_size s = { .paths = c->paths.n };

	for (size_t i = 0; i < c->paths.n; i++) {
		const struct rouse_path *p = c->paths.items[i];

		s.nar_bytes += p->nar_size;
		if (p->valid)
			continue;
		s.missing++;
		s.missing_bytes += p->nar_size;
		if (s.download_bytes < UINT64_MAX - p->file_size) /* nobody has that much */
			s.download_bytes += p->file_size;
	}
	/* Blocks that are not full, directories, the registration: a tenth, and two blocks a path. A
	 * measured closure has one inode per 36 kB. */
	s.need_bytes = s.missing_bytes + s.missing_bytes / 10 + s.missing * 8 * KIB;
	s.need_inodes = 2 * s.missing + s.missing_bytes / (32 * KIB);
	return s;
}
