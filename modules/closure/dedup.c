/* SPDX-License-Identifier: Apache-2.0 */
#include "dedup.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "nar.h"
#include "nix32.h"
#include "path.h"
#include "tree.h"

#define LINKS ".links"
#define LINK_NAME (ROUSE_NIX32_LEN(ROUSE_SHA256_LEN) + 1)
#define SPARE ".link" /* in the staging directory: about to take the place of a file */
#define BLOCK (128 * 1024)

struct run {
	struct rouse_dedup *count;
	int links, staging;
	unsigned char *buf; /* two blocks */
};

static int failed(const char *verb, const char *name, struct rouse_err *e)
{
	return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot %s '%s' in '%s'", verb, name,
			  ROUSE_STORE_DIR);
}

/* What may be shared: a file, open, or a symbolic link. */
struct node {
	int dir, fd; /* fd: -1 for a link */
	const char *name;
	struct stat st;
	char target[ROUSE_NAR_TARGET + 1]; /* of a link */
	char link[LINK_NAME];              /* in .links */
};

static void hash_symlink(struct rouse_sha256 *h, const struct node *n)
{
	rouse_nar_hash_words(h, (const char *const[]){ "nix-archive-1", "(", "type", "symlink",
						       "target", n->target, ")", NULL });
}

static int hash_file(const struct run *r, struct rouse_sha256 *h, const struct node *n,
		     struct rouse_err *e)
{
	uint64_t have = 0;
	ssize_t got;

	rouse_nar_hash_words(
		h, (const char *const[]){ "nix-archive-1", "(", "type", "regular", NULL });
	if (n->st.st_mode & S_IXUSR)
		rouse_nar_hash_words(h, (const char *const[]){ "executable", "", NULL });
	rouse_nar_hash_words(h, (const char *const[]){ "contents", NULL });
	rouse_nar_hash_length(h, (uint64_t)n->st.st_size);
	while ((got = pread(n->fd, r->buf, BLOCK, (off_t)have)) > 0) {
		rouse_sha256_update(h, r->buf, (size_t)got);
		have += (uint64_t)got;
	}
	if (got < 0)
		return failed("read", n->name, e);
	rouse_nar_hash_padding(h, have);
	rouse_nar_hash_words(h, (const char *const[]){ ")", NULL });
	return 0;
}

static int name_content(const struct run *r, struct node *n, struct rouse_err *e)
{
	auto_of(sha256) struct rouse_sha256 *h = rouse_sha256_new();
	uint8_t hash[ROUSE_SHA256_LEN];

	if (n->fd < 0)
		hash_symlink(h, n);
	else if (hash_file(r, h, n, e) < 0)
		return -1;
	rouse_sha256_final(h, hash);
	rouse_nix32(n->link, hash, sizeof(hash));
	return 0;
}

static bool has_bytes_of(const struct run *r, int a, int b)
{
	off_t at = 0;
	ssize_t n;

	while ((n = pread(a, r->buf, BLOCK, at)) > 0) {
		if (pread(b, r->buf + BLOCK, BLOCK, at) != n ||
		    memcmp(r->buf, r->buf + BLOCK, (size_t)n) != 0)
			return false;
		at += n;
	}
	return n == 0;
}

static bool has_content_of(const struct run *r, const struct node *n)
{
	char target[sizeof(n->target)];
	auto_fd int fd = -1;
	ssize_t len;

	if (n->fd < 0) {
		len = readlinkat(r->links, n->link, target, sizeof(target) - 1);
		return len >= 0 && (size_t)len == strlen(n->target) &&
		       memcmp(target, n->target, (size_t)len) == 0;
	}
	fd = openat(r->links, n->link, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	return fd >= 0 && has_bytes_of(r, n->fd, fd);
}

/* What is in .links under the name of this content. Anything may have become of it since: after a power cut
 * it may lack what it had. */
static bool is_usable(const struct run *r, const struct node *n, bool *ret_itself)
{
	struct stat st;

	if (fstatat(r->links, n->link, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	*ret_itself = st.st_ino == n->st.st_ino;
	return *ret_itself || (st.st_mode == n->st.st_mode && st.st_size == n->st.st_size &&
			       st.st_uid == n->st.st_uid &&
			       st.st_mtim.tv_sec == n->st.st_mtim.tv_sec && has_content_of(r, n));
}

/* More names than a filesystem gives one file: it stays as it is. */
static int no_more(const char *name, struct rouse_err *e)
{
	return errno == EMLINK ? 0 : failed("link", name, e);
}

static int share(const struct run *r, struct node *n, struct rouse_err *e)
{
	bool itself = false;

	if (name_content(r, n, e) < 0)
		return -1;
	if (linkat(n->dir, n->name, r->links, n->link, 0) == 0)
		return 0;
	if (errno != EEXIST)
		return no_more(n->name, e);
	if (!is_usable(r, n, &itself)) {
		if (unlinkat(r->links, n->link, 0) < 0)
			return failed("remove", n->link, e);
		return linkat(n->dir, n->name, r->links, n->link, 0) < 0 ? no_more(n->name, e) : 0;
	}
	if (itself)
		return 0;
	if (unlinkat(r->staging, SPARE, 0) < 0 && errno != ENOENT)
		return failed("remove", SPARE, e);
	if (linkat(r->links, n->link, r->staging, SPARE, 0) < 0)
		return no_more(n->name, e);
	if (renameat(r->staging, SPARE, n->dir, n->name) < 0)
		return failed("replace", n->name, e);
	r->count->files++;
	r->count->bytes += (uint64_t)n->st.st_size;
	return 0;
}

static int share_file(const struct run *r, int dir, const char *name, struct rouse_err *e)
{
	auto_fd int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct node n = { .dir = dir, .fd = fd, .name = name };

	if (fd < 0 || fstat(fd, &n.st) < 0)
		return failed("read", name, e);
	return share(r, &n, e);
}

static int share_symlink(const struct run *r, int dir, const char *name, const struct stat *st,
			 struct rouse_err *e)
{
	struct node n = { .dir = dir, .fd = -1, .name = name, .st = *st };

	if (readlinkat(dir, name, n.target, sizeof(n.target) - 1) < 0)
		return failed("read", name, e);
	return share(r, &n, e);
}

static int share_below(const struct run *r, int dir, const char *name, unsigned depth,
		       struct rouse_err *e);

static int share_directory(const struct run *r, int dir, const char *name, unsigned depth,
			   struct rouse_err *e)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), ret = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd); /* owns fd now */
	const struct dirent *entry;

	if (!d) {
		ret = failed("read", name, e);
		if (fd >= 0)
			(void)close(fd);
		return ret;
	}
	if (fchmod(dirfd(d), 0755) < 0)
		ret = failed("change", name, e);
	while (ret == 0 && (errno = 0, entry = readdir(d)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			ret = share_below(r, dirfd(d), entry->d_name, depth + 1, e);
	if (ret == 0 && (errno || rouse_tree_finish_directory(dirfd(d)) < 0))
		ret = failed("read", name, e);
	(void)closedir(d);
	return ret;
}

static int share_below(const struct run *r, int dir, const char *name, unsigned depth,
		       struct rouse_err *e)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return failed("read", name, e);
	if (S_ISREG(st.st_mode))
		return share_file(r, dir, name, e);
	if (S_ISLNK(st.st_mode))
		return share_symlink(r, dir, name, &st, e);
	return S_ISDIR(st.st_mode) && depth <= ROUSE_MAX_NAR_DEPTH
		       ? share_directory(r, dir, name, depth, e)
		       : 0;
}

int rouse_dedup_path(struct rouse_dedup *d, const struct rouse_store *s, const char *name,
		     struct rouse_err *e)
{
	auto_free unsigned char *buf = rouse_calloc(2, BLOCK);
	auto_fd int links = -1;
	struct run r = { .count = d, .staging = s->staging, .buf = buf };

	if (mkdirat(s->dir, LINKS, 0755) < 0 && errno != EEXIST)
		return failed("make", LINKS, e);
	links = openat(s->dir, LINKS, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (links < 0)
		return failed("open", LINKS, e);
	r.links = links;
	return share_below(&r, s->staging, name, 0, e);
}

int rouse_dedup_prune(const struct rouse_store *s, struct rouse_err *e)
{
	int fd = openat(s->dir, LINKS, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd); /* owns fd now */
	const struct dirent *entry;
	struct stat st;

	if (!d) {
		r = errno == ENOENT ? 0 : failed("read", LINKS, e);
		if (fd >= 0)
			(void)close(fd);
		return r;
	}
	while (r == 0 && (errno = 0, entry = readdir(d)))
		if (fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    !S_ISDIR(st.st_mode) && st.st_nlink == 1 &&
		    unlinkat(dirfd(d), entry->d_name, 0) < 0)
			r = failed("remove", entry->d_name, e);
	if (r == 0 && errno)
		r = failed("read", LINKS, e);
	(void)closedir(d);
	return r;
}
