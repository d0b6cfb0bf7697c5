/* SPDX-License-Identifier: Apache-2.0 */
#include "pinned.h"

#include <string.h>

#include <rouse/fetch.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/schema.h>
#include <rouse/text.h>

#include "nix32.h"
#include "path.h"

struct entry {
	const char *path, *nar_hash, *deriver, *url, *compression;
	int64_t nar_size, file_size, cache;
	struct rouse_list references; /* const char * */
};

struct text {
	int64_t version;
	const char *store_dir;
	struct rouse_list roots, caches; /* const char * */
	struct rouse_list paths;         /* struct entry */
};

static bool is_path(const char *s)
{
	return rouse_store_name(s) != NULL;
}

static bool is_compression(const char *s)
{
	enum rouse_compression c;

	return rouse_compression_parse(s, &c);
}

static const struct rouse_shape path_shape = {
	.type = ROUSE_STRING,
	.format = "a store path",
	.valid = is_path,
};
static const struct rouse_shape url_shape = { .type = ROUSE_STRING };
static const struct rouse_field entry_fields[] = {
	ROUSE_REQUIRED(struct entry, path, "path", "The store path.", .type = ROUSE_STRING,
		       .format = "a store path", .valid = is_path),
	ROUSE_REQUIRED(struct entry, nar_hash, "narHash", "What its archive hashes to.",
		       .type = ROUSE_STRING, .format = "a SHA-256, \"sha256-…\"",
		       .valid = rouse_is_nar_hash),
	ROUSE_REQUIRED(struct entry, nar_size, "narSize", "The size of its archive.",
		       .type = ROUSE_INT, .min = 1, .max = ROUSE_MAX_NAR_SIZE),
	ROUSE_REQUIRED(struct entry, references, "references", "What it references.",
		       .type = ROUSE_LIST, .item = &path_shape, .max = ROUSE_MAX_REFERENCES),
	ROUSE_FIELD(struct entry, deriver, "deriver", "What it was built from.",
		    .type = ROUSE_STRING, .format = "a store path", .valid = is_path),
	ROUSE_FIELD(struct entry, cache, "cache", "Which of \"caches\" has it.", .type = ROUSE_INT,
		    .max = UINT16_MAX),
	ROUSE_REQUIRED(struct entry, url, "url", "Where its archive is, below the cache.",
		       .type = ROUSE_STRING, .format = "a URL below the cache",
		       .valid = rouse_is_nar_url),
	ROUSE_REQUIRED(struct entry, compression, "compression", "How the archive is compressed.",
		       .type = ROUSE_STRING, .format = "one that rouse reads",
		       .valid = is_compression),
	ROUSE_FIELD(struct entry, file_size, "fileSize", "The size of the compressed archive.",
		    .type = ROUSE_INT, .max = INT64_MAX),
};
static const struct rouse_shape entry_shape = { ROUSE_OBJECT_OF(struct entry, entry_fields) };
static const struct rouse_field text_fields[] = {
	ROUSE_REQUIRED(struct text, version, "rouseManifest", "The version of the format.",
		       .type = ROUSE_INT, .min = 1, .max = 1),
	ROUSE_REQUIRED(struct text, store_dir, "storeDir", "The store that it is for.",
		       .type = ROUSE_STRING),
	ROUSE_REQUIRED(struct text, roots, "roots", "The paths whose closure this is.",
		       .type = ROUSE_LIST, .item = &path_shape, .max = ROUSE_MAX_CLOSURE_PATHS),
	ROUSE_FIELD(struct text, caches, "caches", "The caches in which it was found.",
		    .type = ROUSE_LIST, .item = &url_shape, .max = UINT16_MAX),
	ROUSE_REQUIRED(struct text, paths, "paths", "Every path, in byte order.",
		       .type = ROUSE_LIST, .item = &entry_shape, .max = ROUSE_MAX_CLOSURE_PATHS),
};
static const struct rouse_shape text_shape = { ROUSE_OBJECT_OF(struct text, text_fields) };

static int wrong(struct rouse_err *e, const char *where, const char *path, const char *why)
{
	return rouse_fail(e, ROUSE_DOCUMENT, 0, "manifest '%s': '%s' %s", where, path, why);
}

static void take_references(struct rouse_paths *paths, struct rouse_path *p, const struct entry *e)
{
	const char *const *from = e->references.items;

	p->n_references = e->references.n;
	p->references = rouse_arena_alloc(&paths->arena,
					  (p->n_references + 1) * sizeof(*p->references));
	for (size_t i = 0; i < p->n_references; i++)
		p->references[i] = rouse_arena_strdup(&paths->arena, rouse_store_name(from[i]));
}

static int take_entry(struct rouse_paths *paths, const char *where, const struct entry *entry,
		      size_t n_caches, struct rouse_err *e)
{
	const char *const *refs = entry->references.items;
	struct rouse_path *p = rouse_paths_add(paths, rouse_store_name(entry->path));
	enum rouse_compression compression;
	uint8_t hash[ROUSE_SHA256_LEN];

	for (size_t i = 1; i < entry->references.n; i++)
		if (strcmp(refs[i - 1], refs[i]) >= 0)
			return wrong(e, where, entry->path, "has references out of order");
	if (n_caches && (uint64_t)entry->cache >= n_caches)
		return wrong(e, where, entry->path, "is in a cache that is not listed");
	if (!rouse_nar_hash_parse(entry->nar_hash, hash) ||
	    !rouse_compression_parse(entry->compression, &compression))
		return wrong(e, where, entry->path, "has a hash or a compression that is not read");
	if (p->known && memcmp(p->nar_hash, hash, sizeof(hash)) != 0)
		return wrong(e, where, entry->path, "is another build than in another manifest");
	if (p->known)
		return 0;
	memcpy(p->nar_hash, hash, sizeof(hash));
	p->nar_size = (uint64_t)entry->nar_size;
	p->file_size = (uint64_t)entry->file_size;
	p->cache = (unsigned)entry->cache;
	p->compression = compression;
	p->url = rouse_arena_strdup(&paths->arena, entry->url);
	p->deriver = entry->deriver
			     ? rouse_arena_strdup(&paths->arena, rouse_store_name(entry->deriver))
			     : NULL;
	take_references(paths, p, entry);
	p->known = true;
	return 0;
}

static int take_entries(struct rouse_paths *paths, const char *where, const struct text *t,
			struct rouse_err *e)
{
	const struct entry *entries = t->paths.items;

	if (!rouse_streq(t->store_dir, ROUSE_STORE_DIR))
		return wrong(e, where, t->store_dir, "is not the store here");
	for (size_t i = 0; i < t->paths.n; i++) {
		if (i && strcmp(entries[i - 1].path, entries[i].path) >= 0)
			return wrong(e, where, entries[i].path, "is out of order");
		if (take_entry(paths, where, &entries[i], t->caches.n, e) < 0)
			return -1;
	}
	for (size_t i = 0; i < t->paths.n; i++) {
		const char *const *refs = entries[i].references.items;

		for (size_t k = 0; k < entries[i].references.n; k++)
			if (!rouse_paths_find(paths, rouse_store_name(refs[k])))
				return wrong(e, where, refs[k], "is referenced, and not listed");
	}
	return 0;
}

int rouse_pinned_parse(struct rouse_paths *paths, const char *where, const char *text, size_t len,
		       struct rouse_arena *arena, const char *const **ret_caches, size_t *ret_n,
		       struct rouse_err *e)
{
	struct rouse_problems problems = { 0 };
	auto_arena struct rouse_arena own = { 0 };
	struct text t = { 0 };
	auto_json json_t *json = rouse_json_parse(where, text, len, e);
	const char **caches;
	int r = 0;

	if (!json)
		return -1;
	if (rouse_schema_read(&text_shape, json, NULL, &t, &own, &problems))
		r = rouse_fail(e, ROUSE_DOCUMENT, 0, "manifest '%s': %s: %s", where,
			       problems.items[0].path, problems.items[0].message);
	rouse_problems_done(&problems);
	if (r < 0 || take_entries(paths, where, &t, e) < 0)
		return -1;
	caches = rouse_arena_alloc(arena, (t.caches.n + 1) * sizeof(*caches));
	for (size_t i = 0; i < t.caches.n; i++)
		caches[i] = rouse_arena_strdup(arena, ((const char *const *)t.caches.items)[i]);
	*ret_caches = caches;
	*ret_n = t.caches.n;
	return 0;
}

bool rouse_has_manifests(const struct rouse_closure_spec *spec)
{
	for (size_t i = 0; i < spec->n_roots; i++)
		if (spec->roots[i].manifest_url)
			return true;
	return false;
}

/* Which cache of ours is the one that the manifest means? The first, when none is. */
static unsigned find_cache(const struct rouse_closure_spec *spec, const char *url)
{
	for (size_t i = 0; i < spec->n_caches; i++)
		if (rouse_streq(spec->caches[i].url, url))
			return (unsigned)i;
	return 0;
}

static int check_digest(const struct rouse_pin *root, const char *where,
			const struct rouse_buf *text, struct rouse_err *e)
{
	char hex[65];

	rouse_sha256_hex(text->data ? text->data : "", text->len, hex);
	if (rouse_streq(hex, root->manifest_sha256))
		return 0;
	return rouse_fail(e, ROUSE_UNTRUSTED, 0,
			  "the manifest '%s' has the SHA-256 '%s', and '%s' is pinned", where, hex,
			  root->manifest_sha256);
}

/* A manifest in a private cache is asked for as its archives are. */
static const char *const *headers_for(const struct rouse_closure_spec *spec, const char *url)
{
	for (size_t i = 0; i < spec->n_caches; i++) {
		const char *rest = rouse_strip_prefix(url, spec->caches[i].url);

		if (rest && *rest == '/')
			return spec->caches[i].headers;
	}
	return NULL;
}

static int load_one(struct rouse_closure *c, const struct rouse_pin *root,
		    const struct rouse_context *ctx, struct rouse_err *e)
{
	auto_arena struct rouse_arena arena = { 0 };
	const char *const *caches = NULL;
	struct rouse_fetch t = {
		.url = root->manifest_url,
		.headers = headers_for(c->spec, root->manifest_url),
		.max_bytes = ROUSE_MAX_MANIFEST,
		.deadline = rouse_closure_soon(ctx),
	};
	char where[512];
	size_t n = 0;
	int r;

	(void)rouse_print_url(where, sizeof(where), root->manifest_url);
	c->requests++;
	r = rouse_fetch(ctx->fetcher, &t, e);
	if (r == 0)
		r = check_digest(root, where, &t.body_out, e);
	if (r == 0)
		r = rouse_pinned_parse(&c->pinned, where, t.body_out.data ? t.body_out.data : "",
				       t.body_out.len, &arena, &caches, &n, e);
	rouse_buf_done(&t.body_out);
	if (r < 0)
		return -1;
	for (size_t i = 0; i < c->pinned.n; i++) {
		struct rouse_path *p = c->pinned.items[i];

		if (!p->pinned)
			p->cache = n ? find_cache(c->spec, caches[p->cache]) : 0;
		p->pinned = true;
	}
	return 0;
}

static bool was_loaded(const struct rouse_closure_spec *spec, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (rouse_streq(spec->roots[k].manifest_url, spec->roots[i].manifest_url) &&
		    rouse_streq(spec->roots[k].manifest_sha256, spec->roots[i].manifest_sha256))
			return true;
	return false;
}

int rouse_pinned_load(struct rouse_closure *c, const struct rouse_context *ctx, struct rouse_err *e)
{
	const struct rouse_closure_spec *spec = c->spec;

	for (size_t i = 0; i < spec->n_roots; i++)
		if (spec->roots[i].manifest_url && !was_loaded(spec, i) &&
		    load_one(c, &spec->roots[i], ctx, e) < 0)
			return -1;
	for (size_t i = 0; i < spec->n_roots; i++) {
		const struct rouse_pin *root = &spec->roots[i];
		const struct rouse_path *p = rouse_paths_find(&c->pinned,
							      rouse_store_name(root->path));

		if (root->manifest_url && !p)
			return wrong(e, root->manifest_url, root->path, "is not listed");
		if (p && !rouse_pin_matches(root, p->nar_hash))
			return wrong(e, root->manifest_url ? root->manifest_url : "of another root",
				     root->path,
				     "has another hash than the narHash that is pinned");
	}
	return 0;
}
