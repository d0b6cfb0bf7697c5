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

/* The detached signature of a document: lines "name:base64" in URL.sig. */
static int check_signature(struct rouse_loader *l, const char *url, const struct rouse_buf *text,
			   struct rouse_err *e)
{
	auto_free char *sig_url = rouse_fetch_url(url, ".sig");
	struct rouse_fetch t = { .url = sig_url, .max_bytes = 16 * KIB, .deadline = l->deadline };
	const char *lines[64];
	size_t n = 0;
	char *next = NULL;
	int r = rouse_fetch(l->fetcher, &t, e);

	if (r < 0 && e->sys == ENOENT)
		r = rouse_fail(e, ROUSE_UNTRUSTED, 0, "the document has no signature, which this image demands");
	if (r == 0 && t.body_out.data)
		for (char *line = strtok_r(t.body_out.data, "\r\n", &next); line && n < ARRAY_SIZE(lines);
		     line = strtok_r(NULL, "\r\n", &next))
			lines[n++] = line;
	if (r == 0)
		r = rouse_signature_check(lines, n, l->keys, l->n_keys, text->data, text->len, NULL, e);
	rouse_buf_done(&t.body_out);
	return r;
}

static int check_trust(struct rouse_loader *l, const char *url, const char *sha256,
		       const struct rouse_buf *text, struct rouse_err *e)
{
	char digest[65];

	rouse_sha256_hex(text->data, text->len, digest);
	if (sha256 && strcmp(digest, sha256) != 0)
		return rouse_fail(e, ROUSE_UNTRUSTED, 0, "the SHA-256 is %s, but %s is demanded", digest,
				  sha256);
	return l->require_signature ? check_signature(l, url, text, e) : 0;
}

int rouse_load_url(struct rouse_loader *l, struct rouse_document *d, const char *url,
		   const char *sha256, bool below, struct rouse_err *e)
{
	struct rouse_fetch t = { .url = url, .max_bytes = ROUSE_MAX_DOCUMENT, .deadline = l->deadline,
				 .max_redirects = 3 };
	char name[512];
	int r = rouse_fetch(l->fetcher, &t, e);

	(void)rouse_print_url(name, sizeof(name), url);
	if (r == 0 && !t.body_out.data && rouse_buf_add(&t.body_out, "", 0, 1) < 0)
		r = rouse_fail(e, ROUSE_BUG, 0, "no room for an empty text");
	if (r == 0 && check_trust(l, url, sha256, &t.body_out, e) < 0)
		r = rouse_wrap(e, "%s", name);
	if (r == 0)
		r = rouse_document_add(d, name, t.body_out.data, t.body_out.len, below, e);
	rouse_buf_done(&t.body_out);
	return r;
}

int rouse_load_bases(struct rouse_loader *l, struct rouse_document *d, struct rouse_err *e)
{
	for (int n = 0;; n++) {
		const char *url = NULL, *sha256 = NULL;

		if (rouse_document_from(d, &url, &sha256, e) < 0)
			return -1;
		if (!url)
			return 0;
		if (n == MAX_BASES)
			return rouse_fail(e, ROUSE_DOCUMENT, 0, "more than %d bases below each other", MAX_BASES);
		if (l->offline && !rouse_strip_prefix(url, "file://")) {
			l->skipped = url;
			return 0;
		}
		if (rouse_load_url(l, d, url, sha256, true, e) < 0)
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
