/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is complete: moved into the store, made durable, registered, in that order, and each path only
 * with all it references. Until then it waits in the staging directory, and a journal beside it tells
 * a later run, so that an interrupted pull costs only what was on its way.
 */
#include "pull.h"

#include <string.h>

#include "dedup.h"
#include "path.h"

int finish_begin(struct pull *p, struct rouse_err *e)
{
	return rouse_store_journal(p->store, &p->journal, e);
}

bool finish_has(struct pull *p, struct rouse_path *path)
{
	const struct rouse_path *kept = rouse_paths_find(&p->store->kept, path->name);

	if (!kept || !kept->known || kept->nar_size != path->nar_size ||
	    memcmp(kept->nar_hash, path->nar_hash, sizeof(kept->nar_hash)) != 0)
		return false;
	p->finished[p->n_finished++] = path; /* the journal has it already */
	p->n_kept++;
	return true;
}

int finish_note(struct pull *p, struct rouse_path *path, struct rouse_err *e)
{
	path->complete = true;
	p->finished[p->n_finished++] = path;
	return p->store ? rouse_store_journal_add(p->journal, path, e) : 0;
}

static bool is_there(const struct pull *p, const char *name)
{
	const struct rouse_path *path = rouse_paths_find(&p->c->paths, name);

	return path && (path->valid || path->published);
}

/* Is all that it references in the store, or about to be (path->closed)? */
static bool has_references(const struct pull *p, const struct rouse_path *path, bool or_closed)
{
	for (size_t i = 0; i < path->n_references; i++) {
		const struct rouse_path *r = rouse_paths_find(&p->c->paths, path->references[i]);

		if (r != path && !is_there(p, path->references[i]) &&
		    !(or_closed && r && r->closed))
			return false;
	}
	return true;
}

/* Of the paths list[0…n-1], those whose closures are complete, are brought to the front. Returns how
 * many. Whatever lacks something is taken out until nothing does, so that circles stay. */
static size_t find_closed(const struct pull *p, struct rouse_path **list, size_t n)
{
	size_t kept;
	bool changed = true;

	for (size_t i = 0; i < n; i++)
		list[i]->closed = true;
	while (changed) {
		changed = false;
		for (size_t i = 0; i < n; i++)
			if (list[i]->closed && !has_references(p, list[i], true))
				list[i]->closed = !(changed = true);
	}
	kept = 0;
	for (size_t i = 0; i < n; i++)
		if (list[i]->closed) {
			struct rouse_path *path = list[i];

			list[i] = list[kept];
			list[kept++] = path;
		}
	return kept;
}

/* Moves them into the store, what is referenced before what references it. */
static int publish(struct pull *p, struct rouse_path **list, size_t n, struct rouse_err *e)
{
	for (size_t done = 0, before = n + 1; done < n;) {
		bool circle = done == before; /* nothing came of the last round */

		before = done;
		for (size_t i = done; i < n; i++) {
			struct rouse_path *path = list[i];

			if (!circle && !has_references(p, path, false))
				continue;
			if (p->c->spec->deduplicate &&
			    rouse_dedup_path(&p->c->dedup, p->store, path->name, e) < 0)
				return -1;
			if (rouse_store_publish(p->store, path->name, e) < 0)
				return -1;
			path->published = true;
			list[i] = list[done];
			list[done++] = path;
		}
	}
	return 0;
}

int finish_register(struct pull *p, struct rouse_err *e)
{
	struct rouse_path **list;
	size_t n, closed;

	/* What is behind n_registered is looked at; workers add behind n meanwhile. */
	(void)pthread_mutex_lock(&p->mutex);
	n = p->n_finished - p->n_registered;
	(void)pthread_mutex_unlock(&p->mutex);
	list = p->finished + p->n_registered;
	closed = find_closed(p, list, n);
	if (publish(p, list, closed, e) < 0)
		return -1;
	if (!n)
		return 0;
	if (rouse_store_register(p->store, list, closed, e) < 0 ||
	    (closed < n && rouse_store_journal_sync(p->journal, e) < 0))
		return -1;
	p->n_registered += closed;
	return 0;
}

void finish_end(struct pull *p, bool again)
{
	if (p->journal >= 0)
		(void)close(p->journal);
	p->journal = -1;
	p->store->keep = again && p->n_registered < p->n_finished;
}
