/* SPDX-License-Identifier: Apache-2.0 */
#include "channel.h"

#include <stdlib.h>
#include <string.h>

#include <rouse/schema.h>
#include <rouse/text.h>

static int compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add(struct rouse_store_list *l, size_t *size, const char *path)
{
	if (l->n == *size) {
		*size = *size ? 2 * *size : 1024;
		l->paths = rouse_realloc(l->paths, *size, sizeof(*l->paths));
	}
	l->paths[l->n++] = path;
}

int rouse_store_list_parse(struct rouse_store_list *ret, const char *where, char *text,
			   struct rouse_err *e)
{
	struct rouse_store_list l = { .text = text };
	size_t size = 0, line = 0;

	for (char *p = text, *next; p && *p; p = next) {
		size_t n = strcspn(p, "\n");

		next = p[n] ? p + n + 1 : NULL;
		p[n] = '\0';
		line++;
		while (n && strchr(" \t\r", p[n - 1]))
			p[--n] = '\0';
		if (!n)
			continue;
		if (!rouse_is_store_path(p)) {
			rouse_store_list_done(&l);
			return rouse_fail(e, ROUSE_DOCUMENT, 0,
					  "'%s': line %zu is not a store path, \"/nix/store/…\"",
					  where, line);
		}
		add(&l, &size, p);
	}
	if (l.n)
		qsort(l.paths, l.n, sizeof(*l.paths), compare);
	*ret = l;
	return 0;
}

void rouse_store_list_done(struct rouse_store_list *l)
{
	free(l->paths);
	free(l->text);
	*l = (struct rouse_store_list){ 0 };
}

bool rouse_store_list_has(const struct rouse_store_list *l, const char *path)
{
	return l->n && bsearch(&path, l->paths, l->n, sizeof(*l->paths), compare);
}
