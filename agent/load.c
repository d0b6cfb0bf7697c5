/* SPDX-License-Identifier: Apache-2.0 */
#include "load.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#include <rouse/fetch.h>
#include <rouse/fs.h>
#include <rouse/limits.h>
#include <rouse/text.h>
#include <rouse/trust.h>

/* A base may have a base; a fleet that needs more than this has lost sight of its layers. */
#define MAX_BASES 4

int rouse_load_file(struct rouse_document *d, const char *path, struct rouse_err *e)
{
	bool is_stdin = strcmp(path, "-") == 0;
	auto_buf struct rouse_buf text = { 0 };

	if (rouse_read_file(is_stdin ? "/dev/stdin" : path, ROUSE_MAX_DOCUMENT, &text, e) < 0)
		return -1;
	return rouse_document_add(d, is_stdin ? "stdin" : path, text.data, text.len, false, e);
}

int rouse_load_url(struct rouse_document *d, struct rouse_fetcher *f, const char *url,
		   const char *sha256, bool below, uint64_t deadline, struct rouse_err *e)
{
	struct rouse_fetch t = { .url = url, .max_bytes = ROUSE_MAX_DOCUMENT, .deadline = deadline,
				 .max_redirects = 3 };
	char digest[65], name[512];
	int r;

	(void)rouse_print_url(name, sizeof(name), url);
	r = rouse_fetch(f, &t, e);
	if (r == 0 && sha256) {
		rouse_sha256_hex(t.body_out.data ? t.body_out.data : "", t.body_out.len, digest);
		if (strcmp(digest, sha256) != 0)
			r = rouse_fail(e, ROUSE_UNTRUSTED, 0,
				       "'%s' has the SHA-256 %s, but %s is demanded", name, digest, sha256);
	}
	if (r == 0)
		r = rouse_document_add(d, name, t.body_out.data ? t.body_out.data : "", t.body_out.len,
				       below, e);
	rouse_buf_done(&t.body_out);
	return r;
}

int rouse_load_bases(struct rouse_document *d, struct rouse_fetcher *f, bool offline, uint64_t deadline,
		     const char **ret_skipped, struct rouse_err *e)
{
	for (int n = 0;; n++) {
		const char *url = NULL, *sha256 = NULL;

		if (rouse_document_from(d, &url, &sha256, e) < 0)
			return -1;
		if (!url)
			return 0;
		if (n == MAX_BASES)
			return rouse_fail(e, ROUSE_DOCUMENT, 0, "more than %d bases below each other", MAX_BASES);
		if (offline && !rouse_strip_prefix(url, "file://")) {
			if (ret_skipped)
				*ret_skipped = url;
			return 0;
		}
		if (rouse_load_url(d, f, url, sha256, true, deadline, e) < 0)
			return rouse_wrap(e, "from");
	}
}

static int is_layer(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);

	return entry->d_name[0] != '.' && n > 5 && strcmp(entry->d_name + n - 5, ".json") == 0;
}

int rouse_load_overrides(struct rouse_document *d, const char *dir, struct rouse_err *e)
{
	struct dirent **entries = NULL;
	int n = scandir(dir, &entries, is_layer, alphasort), r = 0;

	if (n < 0 && errno == ENOENT)
		return 0;
	if (n < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot list '%s'", dir);
	for (int i = 0; i < n; i++) {
		auto_free char *path = rouse_asprintf("%s/%s", dir, entries[i]->d_name);

		free(entries[i]);
		if (r == 0)
			r = rouse_load_file(d, path, e);
	}
	free(entries);
	return r;
}
