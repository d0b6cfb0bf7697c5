/* SPDX-License-Identifier: Apache-2.0 */
#include "copy.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/log.h>
#include <rouse/text.h>

#include "nar.h"
#include "path.h"
#include "tree.h"

struct copy {
	const struct rouse_context *ctx;
	struct rouse_sha256 *hash; /* of the archive that the copy has */
	uint64_t left;             /* bytes of it that are still to come */
	struct rouse_tree tree;
	unsigned depth;
	unsigned char buf[128 * 1024];
};

/* Somebody wants it to end, or its time has. */
static bool is_over(const struct rouse_context *ctx)
{
	return (ctx->cancelled && *ctx->cancelled) || !rouse_clock_left(ctx->deadline);
}

/* --- its archive, into the hash ----------------------------------------------------------------- */

static int spend(struct copy *c, uint64_t n, struct rouse_err *e)
{
	if (n > c->left)
		return rouse_fail(e, ROUSE_UNTRUSTED, 0, "there is more than was signed");
	c->left -= n;
	return 0;
}

static int add(struct copy *c, const void *data, size_t n, struct rouse_err *e)
{
	if (spend(c, n, e) < 0)
		return -1;
	rouse_sha256_update(c->hash, data, n);
	return 0;
}

static int add_words(struct copy *c, const char *const *words, struct rouse_err *e)
{
	uint64_t n = 0;

	for (size_t i = 0; words[i]; i++)
		n += 8 + (strlen(words[i]) + 7) / 8 * 8;
	if (spend(c, n, e) < 0)
		return -1;
	rouse_nar_hash_words(c->hash, words);
	return 0;
}
#define ADD(c, e, ...) add_words(c, (const char *const[]){ __VA_ARGS__, NULL }, e)

/* --- a node ------------------------------------------------------------------------------------- */

/* In `dir`, `name`; in the copy, `as`: NULL for the root of the path. */
struct node {
	int dir;
	const char *name, *as;
};

static int cannot_read(const struct node *n, struct rouse_err *e)
{
	return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot read '%s'", n->name);
}

/* What is hashed is read from the copy where that shares its blocks with `from`, and else written as it
 * is read: either way the hash is that of the copy. */
static int copy_contents(struct copy *c, const struct node *n, int from, uint64_t size,
			 struct rouse_err *e)
{
	bool shared = size && ioctl(c->tree.file, FICLONE, from) == 0;
	int source = shared ? c->tree.file : from;
	uint64_t have = 0;

	for (;;) {
		ssize_t got = pread(source, c->buf, sizeof(c->buf), (off_t)have);

		if (is_over(c->ctx))
			return rouse_fail(e, ROUSE_UNAVAILABLE, ECANCELED, "no time is left");
		if (got < 0)
			return cannot_read(n, e);
		if (got == 0)
			break;
		have += (uint64_t)got;
		if (have > size)
			break;
		if (add(c, c->buf, (size_t)got, e) < 0 ||
		    (!shared && rouse_tree_ops.data(&c->tree, c->buf, (size_t)got, e) < 0))
			return -1;
	}
	return have == size ? 0
			    : rouse_fail(e, ROUSE_UNTRUSTED, 0, "'%s' changes its size", n->name);
}

static int copy_file(struct copy *c, const struct node *n, struct rouse_err *e)
{
	/* Should it have become a FIFO by now, nothing waits for its other end. */
	auto_fd int from = openat(n->dir, n->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bool executable;
	uint64_t size;
	struct stat st;

	if (from < 0 || fstat(from, &st) < 0)
		return cannot_read(n, e);
	executable = st.st_mode & S_IXUSR;
	size = (uint64_t)st.st_size;
	if (ADD(c, e, "(", "type", "regular") < 0 ||
	    (executable && ADD(c, e, "executable", "") < 0) || ADD(c, e, "contents") < 0 ||
	    spend(c, 8 + (-size & 7), e) < 0)
		return -1;
	rouse_nar_hash_length(c->hash, size);
	if (size > c->left)
		return rouse_fail(e, ROUSE_UNTRUSTED, 0, "there is more than was signed");
	if (rouse_tree_ops.file(&c->tree, n->as, executable, size, e) < 0 ||
	    copy_contents(c, n, from, size, e) < 0 || rouse_tree_ops.file_end(&c->tree, e) < 0)
		return -1;
	rouse_nar_hash_padding(c->hash, size);
	return ADD(c, e, ")");
}

static int copy_symlink(struct copy *c, const struct node *n, struct rouse_err *e)
{
	char target[ROUSE_NAR_TARGET + 1];
	ssize_t len = readlinkat(n->dir, n->name, target, sizeof(target));

	if (len < 0)
		return cannot_read(n, e);
	if ((size_t)len == sizeof(target))
		return rouse_fail(e, ROUSE_UNTRUSTED, 0, "the target of '%s' is too long", n->name);
	target[len] = '\0';
	if (ADD(c, e, "(", "type", "symlink", "target", target, ")") < 0)
		return -1;
	return rouse_tree_ops.symlink(&c->tree, n->as, target, e);
}

static int copy_node(struct copy *c, const struct node *n, struct rouse_err *e);

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int copy_entries(struct copy *c, int dir, char **names, size_t n, struct rouse_err *e)
{
	if (n) /* qsort(3) takes no NULL */
		qsort(names, n, sizeof(*names), by_name);
	for (size_t i = 0; i < n; i++) {
		const struct node entry = { dir, names[i], names[i] };

		if (ADD(c, e, "entry", "(", "name", names[i], "node") < 0 ||
		    copy_node(c, &entry, e) < 0 || ADD(c, e, ")") < 0)
			return -1;
	}
	return 0;
}

/* The names of a directory, in `arena`: no more than what was signed has room for. */
static int list_entries(struct copy *c, const struct node *n, DIR *d, struct rouse_arena *arena,
			char ***ret, size_t *ret_n, struct rouse_err *e)
{
	uint64_t bytes = 0;
	size_t size = 0;
	const struct dirent *entry;

	while ((errno = 0, entry = readdir(d))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		bytes += strlen(entry->d_name) + ROUSE_NAR_KEYWORD;
		if (bytes > c->left)
			return rouse_fail(e, ROUSE_UNTRUSTED, 0, "there is more than was signed");
		if (*ret_n == size) {
			size = size ? 2 * size : 64;
			*ret = rouse_realloc(*ret, size, sizeof(**ret));
		}
		(*ret)[(*ret_n)++] = rouse_arena_strdup(arena, entry->d_name);
	}
	return errno ? cannot_read(n, e) : 0;
}

static int copy_directory(struct copy *c, const struct node *n, struct rouse_err *e)
{
	auto_arena struct rouse_arena arena = { 0 };
	auto_free char **names = NULL;
	size_t n_names = 0;
	int fd = openat(n->dir, n->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd); /* owns fd now */
	int r;

	if (!d) {
		r = cannot_read(n, e);
		if (fd >= 0)
			(void)close(fd);
		return r;
	}
	r = list_entries(c, n, d, &arena, &names, &n_names, e);
	if (r == 0)
		r = ADD(c, e, "(", "type", "directory");
	if (r == 0)
		r = rouse_tree_ops.directory(&c->tree, n->as, e);
	if (r == 0)
		r = copy_entries(c, dirfd(d), names, n_names, e);
	if (r == 0)
		r = rouse_tree_ops.leave(&c->tree, e);
	(void)closedir(d);
	return r == 0 ? ADD(c, e, ")") : -1;
}

static int copy_node(struct copy *c, const struct node *n, struct rouse_err *e)
{
	struct stat st;
	int r;

	if (fstatat(n->dir, n->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return cannot_read(n, e);
	if (S_ISREG(st.st_mode))
		return copy_file(c, n, e);
	if (S_ISLNK(st.st_mode))
		return copy_symlink(c, n, e);
	if (!S_ISDIR(st.st_mode))
		return rouse_fail(e, ROUSE_UNTRUSTED, 0, "'%s' is no file, directory or link",
				  n->name);
	if (c->depth == ROUSE_MAX_NAR_DEPTH)
		return rouse_fail(e, ROUSE_UNTRUSTED, 0, "'%s' is too deep", n->name);
	c->depth++;
	r = copy_directory(c, n, e);
	c->depth--;
	return r;
}

/* --- paths -------------------------------------------------------------------------------------- */

static int copy_tree(struct copy *c, int dir, const struct rouse_path *path, struct rouse_err *e)
{
	const struct node root = { dir, path->name, NULL };
	uint8_t hash[ROUSE_SHA256_LEN];

	if (ADD(c, e, "nix-archive-1") < 0 || copy_node(c, &root, e) < 0)
		return -1;
	rouse_sha256_final(c->hash, hash);
	if (c->left || memcmp(hash, path->nar_hash, sizeof(hash)) != 0)
		return rouse_fail(e, ROUSE_UNTRUSTED, 0, "it is not what was signed");
	return 0;
}

static int copy_path(struct copy *c, struct pull *p, int dir, const struct rouse_path *path,
		     struct rouse_err *e)
{
	int r;

	if (rouse_store_discard(p->store, path->name, e) < 0)
		return -1;
	rouse_sha256_reset(c->hash);
	c->left = path->nar_size;
	rouse_tree_begin(&c->tree, p->store->staging, path->name);
	r = copy_tree(c, dir, path, e);
	rouse_tree_done(&c->tree);
	if (r < 0) {
		struct rouse_err ignored = { 0 };

		/* If this fails, the whole staging directory still goes in the end. */
		(void)!rouse_store_discard(p->store, path->name, &ignored);
	}
	return r;
}

/* The other store, or -1 where there is none: it may be the same one, seen through another mount. */
static int open_other(const struct pull *p)
{
	const struct rouse_root *other = p->c->spec->other;
	auto_fd int dir = -1;
	struct stat a, b;

	if (!other || other->fd < 0)
		return -1;
	dir = rouse_fs_open(other, ROUSE_STORE_DIR, O_RDONLY | O_DIRECTORY, 0);
	if (dir < 0 || fstat(dir, &a) < 0 || fstat(p->store->dir, &b) < 0 ||
	    (a.st_dev == b.st_dev && a.st_ino == b.st_ino))
		return -1;
	return take(dir, -1);
}

/* Only its content certifies a path with `contents`, its archive does not: that is fetched. */
static bool may_copy(const struct pull *p, int dir, const struct rouse_path *path)
{
	return !path->contents && !is_over(p->ctx) &&
	       faccessat(dir, path->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int copy_all(struct pull *p, int dir, struct rouse_err *e)
{
	auto_free struct copy *c = rouse_calloc(1, sizeof(*c));
	auto_of(sha256) struct rouse_sha256 *hash = rouse_sha256_new();
	size_t n_left = 0;

	c->ctx = p->ctx;
	c->hash = hash;
	for (size_t i = 0; i < p->n_queue; i++) {
		struct rouse_path *path = p->queue[i];
		struct rouse_err why = { 0 };

		if (may_copy(p, dir, path) && copy_path(c, p, dir, path, &why) == 0) {
			path->copied = true;
			p->c->copied++;
			p->c->copied_bytes += path->nar_size;
			if (finish_note(p, path, e) < 0)
				return -1;
			continue;
		}
		if (why.kind)
			rouse_log(ROUSE_LOG_DEBUG, "closure",
				  "'%s%s' of another store is not taken: %s", ROUSE_STORE_PREFIX,
				  path->name, why.text);
		p->queue[n_left++] = path;
	}
	p->n_queue = n_left;
	return 0;
}

int copy_from_other_store(struct pull *p, struct rouse_err *e)
{
	auto_fd int dir = open_other(p);
	char size[16];

	if (dir < 0)
		return 0;
	if (copy_all(p, dir, e) < 0)
		return -1;
	if (p->c->copied)
		rouse_log(ROUSE_LOG_INFO, "closure",
			  "%zu path%s (%s) copied from the store of '%s'", p->c->copied,
			  p->c->copied == 1 ? "" : "s", rouse_print_size(size, p->c->copied_bytes),
			  p->c->spec->other->path);
	return 0;
}
