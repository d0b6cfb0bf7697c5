/* SPDX-License-Identifier: Apache-2.0 */
#include "load.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include <rouse/fetch.h>
#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/text.h>
#include <rouse/trust.h>

#include "minisign.h"

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

/* Lines "name:base64", or what minisign writes. */
static int check_text(struct rouse_loader *l, char *signature, const struct rouse_buf *text,
		      struct rouse_err *e)
{
	const char *lines[64];
	size_t n = 0;
	char *next = NULL;

	if (rouse_is_minisign(signature))
		return rouse_minisign_check(signature, l->keys, l->n_keys, text->data, text->len,
					    NULL, e);
	for (char *line = strtok_r(signature, "\r\n", &next); line && n < ARRAY_SIZE(lines);
	     line = strtok_r(NULL, "\r\n", &next))
		lines[n++] = line;
	return rouse_signature_check(lines, n, l->keys, l->n_keys, text->data, text->len, NULL, e);
}

static bool has_minisign_key(const struct rouse_loader *l)
{
	for (size_t i = 0; i < l->n_keys; i++)
		if (rouse_is_minisign_key(&l->keys[i]))
			return true;
	return false;
}

static int fetch_signature(struct rouse_loader *l, const char *url, const char *suffix,
			   struct rouse_buf *ret, struct rouse_err *e)
{
	auto_free char *sig_url = rouse_fetch_url(url, suffix);
	struct rouse_fetch t = { .url = sig_url,
				 .max_bytes = ROUSE_MAX_SIGNATURE,
				 .deadline = l->deadline };
	int r = rouse_fetch(l->fetcher, &t, e);

	if (r == 0)
		*ret = take(t.body_out, (struct rouse_buf){ 0 });
	rouse_buf_done(&t.body_out);
	return r;
}

/* Not there; a bucket that may not be listed says it is denied. */
static bool is_missing(const struct rouse_err *e)
{
	return e->kind == ROUSE_DOCUMENT && (e->sys == ENOENT || e->sys == EACCES);
}

/* The detached signature of a document, URL.sig; minisign's own name for it is URL.minisig. */
static int check_signature(struct rouse_loader *l, const char *url, const struct rouse_buf *text,
			   struct rouse_err *e)
{
	auto_buf struct rouse_buf signature = { 0 };
	int r = fetch_signature(l, url, ".sig", &signature, e);

	if (r < 0 && is_missing(e) && has_minisign_key(l))
		r = fetch_signature(l, url, ".minisig", &signature, e);
	if (r < 0 && e->sys == ENOENT)
		return rouse_fail(e, ROUSE_UNTRUSTED, 0,
				  "the document has no signature, which this image demands");
	if (r < 0)
		return -1;
	return check_text(l, signature.data ? signature.data : (char[1]){ "" }, text, e);
}

static int check_trust(struct rouse_loader *l, const char *url, const char *sha256,
		       const struct rouse_buf *text, struct rouse_err *e)
{
	char digest[65];

	rouse_sha256_hex(text->data, text->len, digest);
	if (sha256 && strcmp(digest, sha256) != 0)
		return rouse_fail(e, ROUSE_UNTRUSTED, 0, "the SHA-256 is %s, but %s is demanded",
				  digest, sha256);
	return l->require_signature ? check_signature(l, url, text, e) : 0;
}

static const struct rouse_layer *find_last(const struct rouse_loader *l, const char *source,
					   const char *sha256)
{
	for (size_t i = 0; l->last && i < l->last->n_layers; i++) {
		const struct rouse_layer *layer = &l->last->layers[i];

		if (sha256 ? rouse_streq(layer->sha256, sha256)
			   : layer->etag && rouse_streq(layer->source, source))
			return layer;
	}
	return NULL;
}

/* The text behind `url`: what the machine has, when that is known to be the same. */
static int fetch_text(struct rouse_loader *l, const char *url, const char *sha256,
		      const char *source, struct rouse_buf *ret, char **ret_etag,
		      struct rouse_err *e)
{
	const struct rouse_layer *last = find_last(l, source, sha256);
	auto_free char *condition = last && !sha256
					    ? rouse_asprintf("If-None-Match: %s", last->etag)
					    : NULL;
	const char *const headers[] = { condition, NULL };
	struct rouse_fetch t = { .url = url,
				 .max_bytes = ROUSE_MAX_DOCUMENT,
				 .deadline = l->deadline,
				 .headers = headers,
				 .max_redirects = 3 };
	int r = 0;

	if (!last || !sha256)
		r = rouse_fetch(l->fetcher, &t, e);
	if (last && (sha256 || (r < 0 && t.status == 304))) {
		rouse_buf_done(&t.body_out);
		*ret_etag = last->etag ? rouse_strdup(last->etag) : NULL;
		return rouse_buf_add(ret, last->text, last->len, ROUSE_MAX_DOCUMENT);
	}
	if (r == 0 && t.etag[0])
		*ret_etag = rouse_strdup(t.etag);
	if (r == 0)
		*ret = take(t.body_out, (struct rouse_buf){ 0 });
	rouse_buf_done(&t.body_out);
	return r;
}

int rouse_load_url(struct rouse_loader *l, struct rouse_document *d, const char *url,
		   const char *sha256, bool below, struct rouse_err *e)
{
	auto_buf struct rouse_buf text = { 0 };
	auto_free char *etag = NULL;
	struct rouse_layer *layer;
	char name[512], source[65];

	(void)rouse_print_url(name, sizeof(name), url);
	rouse_sha256_hex(url, strlen(url), source);
	if (fetch_text(l, url, sha256, source, &text, &etag, e) < 0)
		return -1;
	if (!text.data && rouse_buf_add(&text, "", 0, 1) < 0)
		return rouse_fail(e, ROUSE_BUG, 0, "no room for an empty text");
	if (check_trust(l, url, sha256, &text, e) < 0)
		return rouse_wrap(e, "%s", name);
	if (rouse_document_add(d, name, text.data, text.len, below, e) < 0)
		return -1;
	layer = &d->layers[below ? 0 : d->n_layers - 1];
	layer->source = rouse_strdup(source);
	layer->etag = take(etag, NULL);
	return 0;
}

/* Digests make it all but impossible to build, and easy to write down. With a query, one name may be
 * several texts. */
static bool is_below_itself(const struct rouse_document *d, const char *url, const char *sha256)
{
	for (size_t i = 0; i < d->n_layers; i++)
		if (rouse_streq(d->layers[i].sha256, sha256) || rouse_streq(d->layers[i].name, url))
			return true;
	return false;
}

int rouse_load_bases(struct rouse_loader *l, struct rouse_document *d, struct rouse_err *e)
{
	for (int n = 0;; n++) {
		const char *url = NULL, *sha256 = NULL;
		char name[512];

		if (rouse_document_from(d, &url, &sha256, e) < 0)
			return -1;
		if (!url)
			return 0;
		if (is_below_itself(d, url, sha256))
			return rouse_fail(e, ROUSE_DOCUMENT, 0,
					  "from: '%s' is a base of itself, through '%s'",
					  rouse_print_url(name, sizeof(name), url),
					  d->layers[0].name);
		if (n == MAX_BASES)
			return rouse_fail(e, ROUSE_DOCUMENT, 0,
					  "more than %d bases below each other", MAX_BASES);
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

/* Of these an override would do nothing, and say nothing: "from" is read before overrides are, the others
 * are what the author of the document says about it. */
static const struct {
	const char *key, *why;
} not_in_overrides[] = {
	{ "from", "an override cannot name a base" },
	{ "generation", "an override cannot say which generation the document is" },
	{ "notAfter", "an override cannot say how long the document is good" },
};

static int add_override(struct rouse_document *d, const char *name, const char *text, size_t len,
			struct rouse_err *e)
{
	unsigned line = 0, column = 0;
	struct rouse_layer *l;

	if (rouse_document_add(d, name, text, len, false, e) < 0)
		return -1;
	l = &d->layers[d->n_layers - 1];
	l->is_override = true;
	for (size_t i = 0; i < ARRAY_SIZE(not_in_overrides); i++)
		if (rouse_json_locate(l->text, l->len, &not_in_overrides[i].key, 1, true, &line,
				      &column))
			return rouse_fail(e, ROUSE_DOCUMENT, 0, "%s:%u:%u: %s: %s", name, line,
					  column, not_in_overrides[i].key, not_in_overrides[i].why);
	return 0;
}

int rouse_read_override(int dir, const char *name, const char *path, bool trusted,
			struct rouse_buf *ret, struct rouse_err *e)
{
	int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (trusted ? O_NOFOLLOW : 0);
	auto_fd int fd = openat(dir, name, flags);
	struct stat st = { 0 };

	if (fd < 0 && errno == ELOOP)
		return rouse_fail(e, ROUSE_UNTRUSTED, 0,
				  "'%s' is a symbolic link: put the override itself there", path);
	if (fd < 0 || fstat(fd, &st) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s'", path);
	if (!S_ISREG(st.st_mode))
		return rouse_fail(e, ROUSE_UNTRUSTED, 0, "'%s' is not a regular file", path);
	if (trusted && rouse_fs_check_owner(&st, path, e) < 0)
		return -1;
	return rouse_fs_read_fd(fd, path, ROUSE_MAX_DOCUMENT, ret, e);
}

static int check_dir(int dir, const char *path, struct rouse_err *e)
{
	struct stat st = { 0 };

	if (fstat(dir, &st) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot read '%s'", path);
	return rouse_fs_check_owner(&st, path, e);
}

static int load_override(struct rouse_document *d, int dir, const char *path, const char *name,
			 bool trusted, struct rouse_err *e)
{
	auto_free char *full = rouse_asprintf("%s/%s", path, name);
	auto_buf struct rouse_buf text = { 0 };

	if (rouse_read_override(dir, name, full, trusted, &text, e) < 0)
		return -1;
	return add_override(d, full, text.data, text.len, e);
}

/* What stands in the place of a file, or has none yet. */
static int load_instead(struct rouse_document *d, const struct rouse_override *o,
			struct rouse_err *e)
{
	return add_override(d, o->label, o->text, o->len, e);
}

int rouse_load_overrides_at(struct rouse_document *d, int dir, const char *path, bool trusted,
			    const struct rouse_override *instead, struct rouse_err *e)
{
	const struct rouse_override *waiting = instead && instead->text ? instead : NULL;
	struct dirent **entries = NULL;
	int n, r = trusted ? check_dir(dir, path, e) : 0;

	if (r < 0)
		return -1;
	n = scandirat(dir, ".", &entries, is_layer, alphasort);
	if (n < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot list '%s'", path);
	for (int i = 0; i < n; i++) {
		const char *name = entries[i]->d_name;

		if (r == 0 && waiting && strcmp(name, waiting->name) >= 0)
			r = load_instead(d, take(waiting, NULL), e);
		if (r == 0 && !(instead && rouse_streq(name, instead->name)))
			r = load_override(d, dir, path, name, trusted, e);
		free(entries[i]);
	}
	free(entries);
	return r == 0 && waiting ? load_instead(d, waiting, e) : r;
}

int rouse_open_overrides(const struct rouse_root *root, const char **ret_path,
			 struct rouse_arena *arena, struct rouse_err *e)
{
	const char *path = rouse_arena_printf(
		arena, "%s%s", rouse_streq(root->path, "/") ? "" : root->path, ROUSE_OVERRIDE_DIR);
	int dir = rouse_fs_open(root, ROUSE_OVERRIDE_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

	*ret_path = path;
	if (dir < 0 && (errno == ENOTDIR || errno == ELOOP))
		return rouse_fail(e, ROUSE_UNTRUSTED, 0,
				  "'%s' is no directory (links are refused there)", path);
	if (dir < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s'", path);
	return dir;
}

int rouse_load_overrides(struct rouse_document *d, const char *root_path, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_arena struct rouse_arena arena = { 0 };
	const char *path = NULL;
	auto_fd int dir = -1;

	if (rouse_root_open(&root, root_path, e) < 0)
		return -1;
	dir = rouse_open_overrides(&root, &path, &arena, e);
	if (dir < 0)
		return e->sys == ENOENT ? 0 : -1;
	return rouse_load_overrides_at(d, dir, path, true, NULL, e);
}

int rouse_load_running(struct rouse_document *d, const char *root_path, struct rouse_running *ret,
		       struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;

	if (rouse_root_open(&root, root_path, e) < 0 || rouse_layers_load(&root, d, ret, e) < 0)
		return -1;
	return rouse_load_overrides(d, root_path, e);
}
