/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/manifest.h>

#include <string.h>

#include <rouse/json.h>
#include <rouse/module.h>
#include <rouse/text.h>

#include "graph.h"
#include "nix32.h"
#include "path.h"

void rouse_manifest_done(struct rouse_manifest *m)
{
	rouse_buf_done(&m->text);
	for (size_t i = 0; i < m->n_roots; i++)
		free(m->nar_hashes[i]);
	free(m->nar_hashes);
	*m = (struct rouse_manifest){ 0 };
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(struct rouse_path *const *)a)->name,
		      (*(struct rouse_path *const *)b)->name);
}

static json_t *store_path(const char *name)
{
	auto_free char *path = rouse_asprintf(ROUSE_STORE_PREFIX "%s", name);

	return json_string(path);
}

static json_t *print_path(const struct rouse_path *p)
{
	json_t *j = json_object(), *references = json_array();
	auto_free char *hash = rouse_nar_hash_sri(p->nar_hash);

	rouse_json_set(j, "path", store_path(p->name));
	rouse_json_set_string(j, "narHash", hash);
	rouse_json_set_int(j, "narSize", p->nar_size);
	for (size_t i = 0; i < p->n_references; i++)
		rouse_json_append(references, store_path(p->references[i]));
	rouse_json_set(j, "references", references);
	if (p->deriver)
		rouse_json_set(j, "deriver", store_path(p->deriver));
	if (p->cache)
		rouse_json_set_int(j, "cache", p->cache);
	rouse_json_set_string(j, "url", p->url);
	rouse_json_set_string(j, "compression", rouse_compression_word(p->compression));
	if (p->file_size)
		rouse_json_set_int(j, "fileSize", p->file_size);
	return j;
}

static json_t *print_closure(struct rouse_closure *c)
{
	const struct rouse_closure_spec *spec = c->spec;
	json_t *j = json_object(), *roots = json_array(), *caches = json_array(),
	       *paths = json_array();
	auto_free struct rouse_path **sorted = rouse_calloc(c->paths.n, sizeof(*sorted));

	memcpy(sorted, c->paths.items, c->paths.n * sizeof(*sorted));
	qsort(sorted, c->paths.n, sizeof(*sorted), by_name);
	rouse_json_set_int(j, "rouseManifest", 1);
	rouse_json_set_string(j, "storeDir", ROUSE_STORE_DIR);
	for (size_t i = 0; i < spec->n_roots; i++)
		rouse_json_append_string(roots, spec->roots[i].path);
	rouse_json_set(j, "roots", roots);
	for (size_t i = 0; i < spec->n_caches; i++)
		rouse_json_append_string(caches, spec->caches[i].url);
	rouse_json_set(j, "caches", caches);
	for (size_t i = 0; i < c->paths.n; i++)
		rouse_json_append(paths, print_path(sorted[i]));
	rouse_json_set(j, "paths", paths);
	return j;
}

static void fill(struct rouse_manifest *m, struct rouse_closure *c)
{
	struct rouse_closure_size size = rouse_closure_measure(c);
	auto_json json_t *json = print_closure(c);

	m->text.data = rouse_json_print(json);
	m->text.len = m->text.size = strlen(m->text.data);
	rouse_sha256_hex(m->text.data, m->text.len, m->sha256);
	m->paths = size.paths;
	m->nar_bytes = size.nar_bytes;
	m->download_bytes = size.download_bytes;
	m->n_roots = c->spec->n_roots;
	m->nar_hashes = rouse_calloc(m->n_roots, sizeof(char *));
	for (size_t i = 0; i < m->n_roots; i++)
		m->nar_hashes[i] = rouse_nar_hash_sri(
			rouse_paths_find(&c->paths, rouse_store_name(c->spec->roots[i].path))
				->nar_hash);
}

json_t *rouse_closure_json(const struct rouse_closure *c)
{
	json_t *all = json_array();
	char url[512];

	for (size_t i = 0; i < c->paths.n; i++) {
		const struct rouse_path *p = c->paths.items[i];
		json_t *j = json_object();

		rouse_json_set(j, "path", store_path(p->name));
		rouse_json_set_int(j, "narSize", p->nar_size);
		rouse_json_set_bool(j, "present", !p->url);
		if (p->url) {
			if (p->file_size)
				rouse_json_set_int(j, "downloadSize", p->file_size);
			rouse_json_set_string(
				j, "cache",
				rouse_print_url(url, sizeof(url), c->spec->caches[p->base].url));
			rouse_json_set_bool(j, "fetched", p->complete && !p->copied);
			if (p->copied)
				rouse_json_set_bool(j, "copied", true);
		}
		if (p->complete && !p->copied)
			rouse_json_set_int(j, "milliseconds", p->took);
		rouse_json_append(all, j);
	}
	return all;
}

int rouse_manifest_make(struct rouse_manifest *ret, const struct rouse_closure_spec *spec,
			struct rouse_fetcher *f, uint64_t deadline, struct rouse_err *e)
{
	struct rouse_closure_spec everywhere = *spec;
	struct rouse_context ctx = { .root = "/", .fetcher = f, .deadline = deadline };
	auto_closure struct rouse_closure *c = NULL;
	struct rouse_manifest m = { 0 };

	everywhere.elsewhere = true;
	c = rouse_closure_new(&everywhere);
	/* What is pinned is believed without another look. */
	if (rouse_closure_resolve(c, &ctx, e) < 0 || rouse_closure_check_claims(c, &ctx, e) < 0)
		return -1;
	fill(&m, c);
	if (m.text.len > ROUSE_MAX_MANIFEST) {
		rouse_manifest_done(&m);
		return rouse_fail(e, ROUSE_DOCUMENT, EFBIG,
				  "the manifest is larger than the %llu MiB that are read",
				  (unsigned long long)(ROUSE_MAX_MANIFEST / MIB));
	}
	*ret = m;
	return 0;
}
