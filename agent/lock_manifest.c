/* SPDX-License-Identifier: Apache-2.0 */
#include "lock.h"

#include <string.h>

#include <rouse/fetch.h>
#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/manifest.h>

/* A name of its own for each text: what was locked before still finds its manifest. */
static const char *file_name(struct rouse_lock *l, const struct rouse_lock_entry *entry,
			     const struct rouse_manifest *m)
{
	return rouse_arena_printf(&l->arena, "/%s.%.16s.json", rouse_store_path_label(entry->path),
				  m->sha256);
}

static int write_file(const char *directory, const char *name, const struct rouse_buf *text,
		      struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;

	if (rouse_root_open(&root, directory, e) < 0)
		return rouse_wrap(e, "--manifests");
	return rouse_fs_replace(&root, name, text->data, text->len, 0644, (uid_t)-1, (gid_t)-1, e);
}

int rouse_lock_write_manifest(struct rouse_lock *l, const struct rouse_closure_spec *caches,
			      struct rouse_lock_entry *entry, struct rouse_err *e)
{
	const struct rouse_pin root = { .path = entry->path, .nar_hash = entry->nar_hash };
	struct rouse_closure_spec spec = *caches;
	auto_manifest struct rouse_manifest m = { 0 };
	auto_free char *url = NULL;
	const char *name;

	spec.roots = &root;
	spec.n_roots = 1;
	if (rouse_manifest_make(&m, &spec, l->channels.fetcher, l->channels.deadline, e) < 0)
		return -1;
	name = file_name(l, entry, &m);
	if (write_file(l->manifests, name, &m.text, e) < 0)
		return -1;
	url = rouse_fetch_url(l->manifests_url, name);
	entry->manifest = json_object();
	rouse_json_set_string(entry->manifest, "url", url);
	rouse_json_set_string(entry->manifest, "sha256", m.sha256);
	rouse_json_set_int(entry->manifest, "paths", m.paths);
	rouse_json_set_int(entry->manifest, "narSize", m.nar_bytes);
	if (m.download_bytes)
		rouse_json_set_int(entry->manifest, "downloadSize", m.download_bytes);
	return 0;
}
