/* SPDX-License-Identifier: Apache-2.0 */
#include "lock.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rouse/closure.h>
#include <rouse/limits.h>
#include <rouse/module.h>
#include <rouse/netrc.h>
#include <rouse/text.h>

/* The closures of a document in its caches. */
struct lock_walk {
	struct rouse_closure_spec spec;
	struct rouse_cache *caches;
	struct rouse_key *keys;
	struct rouse_pin *pins;
	char *headers[ROUSE_MAX_CACHES][2]; /* of the caches: at most one line each; secret */
};

static void lock_walk_done(struct lock_walk *w)
{
	for (size_t i = 0; i < ARRAY_SIZE(w->headers); i++)
		rouse_secret_free(w->headers[i][0]);
}

/* A list, or one string in its place. */
static size_t count_keys(const json_t *keys)
{
	return json_is_string(keys) ? 1 : json_array_size(keys);
}

static const char *key_at(const json_t *keys, size_t i)
{
	return json_string_value(json_is_string(keys) ? keys : json_array_get(keys, i));
}

/* Tells a private cache who asks, as a machine will. What its netrc is called there need not be here. */
static int introduce(const struct rouse_lock *l, struct lock_walk *w, size_t i, const json_t *cache,
		     struct rouse_err *e)
{
	const char *token = json_string_value(json_object_get(cache, "token")),
		   *netrc = json_string_value(json_object_get(cache, "netrc"));
	char **header = w->headers[i];
	int r = 0;

	if (l->netrc || (netrc && access(netrc, R_OK) < 0))
		netrc = l->netrc;
	if (token)
		r = rouse_bearer_header(header, token, e);
	else if (netrc)
		r = rouse_netrc_read(header, netrc, w->caches[i].url, e);
	w->caches[i].headers = *header ? (const char *const *)header : NULL;
	return r < 0 ? rouse_wrap(e, "cache '%s'", w->caches[i].name) : 0;
}

static int list_caches(struct rouse_lock *l, struct lock_walk *w, const json_t *caches,
		       struct rouse_err *e)
{
	const char *name;
	json_t *cache;
	size_t n = 0;

	json_object_foreach ((json_t *)caches, name, cache)
		n += count_keys(json_object_get(cache, "keys"));
	w->caches = rouse_arena_alloc(&l->arena,
				      (json_object_size(caches) + 1) * sizeof(*w->caches));
	w->keys = rouse_arena_alloc(&l->arena, (n + 1) * sizeof(*w->keys));
	json_object_foreach ((json_t *)caches, name, cache) {
		const char *url = json_string_value(json_object_get(cache, "url"));
		const json_t *keys = json_object_get(cache, "keys");
		size_t len = strlen(url);

		while (len && url[len - 1] == '/')
			len--;
		w->caches[w->spec.n_caches++] = (struct rouse_cache){
			.name = name,
			.url = rouse_arena_strndup(&l->arena, url, len),
		};
		if (introduce(l, w, w->spec.n_caches - 1, cache, e) < 0)
			return -1;
		for (size_t i = 0; i < count_keys(keys); i++)
			if (rouse_key_parse(&w->keys[w->spec.n_keys++], key_at(keys, i), e) < 0)
				return -1;
	}
	return 0;
}

static int no_caches(const struct rouse_lock *l, struct rouse_err *e)
{
	const char *cache = NULL;

	for (size_t i = 0; i < l->n_entries; i++)
		if (l->entries[i].found.binary_cache)
			cache = l->entries[i].found.binary_cache;
	return rouse_fail(e, ROUSE_DOCUMENT, 0,
			  "the document has no \"caches\" that its closures could come from%s%s%s",
			  cache ? ": the channel names '" : "", cache ? cache : "",
			  cache ? "', whose keys you must know from elsewhere" : "");
}

static void list_pins(struct rouse_lock *l, struct lock_walk *w)
{
	w->pins = rouse_arena_alloc(&l->arena, (l->n_entries + 1) * sizeof(*w->pins));
	for (size_t i = 0; i < l->n_entries; i++)
		w->pins[i] = (struct rouse_pin){ .path = l->entries[i].path,
						 .nar_hash = l->entries[i].nar_hash };
	w->spec.caches = w->caches;
	w->spec.keys = w->keys;
	w->spec.roots = w->pins;
	w->spec.n_roots = l->n_entries;
}

static void measure(struct rouse_lock *l, const struct rouse_closure *c)
{
	struct rouse_closure_size all = rouse_closure_measure(c);

	l->n_paths = all.paths;
	l->bytes = all.nar_bytes;
	for (size_t i = 0; i < l->n_entries; i++) {
		struct rouse_lock_entry *entry = &l->entries[i];
		struct rouse_closure_root root;

		if (!rouse_closure_root(c, entry->path, &root))
			continue; /* cannot be: it was resolved */
		entry->nar_hash = rouse_arena_strdup(&l->arena, root.nar_hash);
		entry->closure_paths = root.paths;
		entry->closure_bytes = root.nar_bytes;
	}
}

int rouse_lock_walk(struct rouse_lock *l, struct rouse_err *e)
{
	const json_t *caches = json_object_get(l->document->merged, "caches");
	struct lock_walk w __attribute__((cleanup(lock_walk_done))) = { 0 };
	char nowhere[] =
		"/tmp/rouse-lock-XXXXXX"; /* where no path is yet, so that all are asked for */
	struct rouse_context ctx = { .fetcher = l->channels.fetcher,
				     .deadline = l->channels.deadline,
				     .progress = l->progress,
				     .progress_arg = l->progress_arg };
	auto_closure struct rouse_closure *c = NULL;
	int r;

	if (!l->n_entries)
		return 0;
	if (!json_object_size(caches))
		return no_caches(l, e);
	if (list_caches(l, &w, caches, e) < 0)
		return -1;
	list_pins(l, &w);
	if (!mkdtemp(nowhere))
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make a directory in '/tmp'");
	ctx.root = nowhere;
	c = rouse_closure_new(&w.spec);
	r = rouse_closure_resolve(c, &ctx, e);
	(void)rmdir(nowhere);
	if (r == 0)
		measure(l, c);
	for (size_t i = 0; r == 0 && l->manifests && i < l->n_entries; i++)
		if (l->entries[i].how != ROUSE_LOCK_GIVEN)
			r = rouse_lock_write_manifest(l, &w.spec, &l->entries[i], e);
	return r;
}
