/* SPDX-License-Identifier: Apache-2.0 */
/* What a resolved closure has below one of its roots. */
#include "graph.h"

#include <stdio.h>

#include <rouse/text.h>

#include "path.h"

struct subset {
	const struct rouse_closure *c;
	bool *seen;
	size_t *waiting; /* their numbers in c->paths */
	size_t n_waiting;
	struct rouse_closure_root root;
};

static void visit(struct subset *s, const char *name)
{
	const struct rouse_path *p;
	size_t i;

	if (!rouse_paths_index(&s->c->paths, name, &i) || s->seen[i])
		return;
	p = s->c->paths.items[i];
	s->seen[i] = true;
	s->waiting[s->n_waiting++] = i;
	s->root.paths++;
	s->root.nar_bytes += p->nar_size;
	s->root.download_bytes += p->file_size;
}

bool rouse_closure_root(const struct rouse_closure *c, const char *path,
			struct rouse_closure_root *ret)
{
	const char *name = rouse_store_name(path);
	const struct rouse_path *root = name ? rouse_paths_find(&c->paths, name) : NULL;
	struct subset s = { .c = c };
	auto_free char *hash = NULL;

	if (!root || !root->known)
		return false;
	s.seen = rouse_calloc(c->paths.n, sizeof(*s.seen));
	s.waiting = rouse_calloc(c->paths.n, sizeof(*s.waiting));
	hash = rouse_base64(root->nar_hash, sizeof(root->nar_hash));
	(void)snprintf(s.root.nar_hash, sizeof(s.root.nar_hash), "sha256-%s", hash);
	visit(&s, name);
	while (s.n_waiting) {
		const struct rouse_path *p = c->paths.items[s.waiting[--s.n_waiting]];

		for (size_t i = 0; i < p->n_references; i++)
			visit(&s, p->references[i]);
	}
	free(s.seen);
	free(s.waiting);
	*ret = s.root;
	return true;
}
