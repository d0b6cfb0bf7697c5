/* SPDX-License-Identifier: Apache-2.0 */
#include "tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include <rouse/fs.h>

/* Nix's canonical time of modification: one second after the epoch; access times are left alone. */
static const struct timespec canonical_times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = 1 } };

void rouse_tree_begin(struct rouse_tree *t, int dir, const char *name)
{
	*t = (struct rouse_tree){ .name = name, .file = -1 };
	t->dirs[0] = dir;
}

void rouse_tree_done(struct rouse_tree *t)
{
	if (!t->name)
		return;
	if (t->file >= 0)
		(void)close(t->file);
	t->file = -1;
	for (; t->depth; t->depth--)
		(void)close(t->dirs[t->depth]);
	t->name = NULL;
}

static int failed(struct rouse_tree *t, struct rouse_err *e, const char *verb, const char *name)
{
	return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot %s '%s' of '/nix/store/%s'", verb,
			  name ? name : "the root", t->name);
}

static int make_directory(void *arg, const char *name, struct rouse_err *e)
{
	struct rouse_tree *t = arg;
	int parent = t->dirs[t->depth], fd;

	/* 0700 until it is complete. */
	if (mkdirat(parent, name ? name : t->name, 0700) < 0)
		return failed(t, e, "make directory", name);
	fd = openat(parent, name ? name : t->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return failed(t, e, "open directory", name);
	t->dirs[++t->depth] = fd;
	return 0;
}

int rouse_tree_finish_directory(int fd)
{
	return fchmod(fd, 0555) < 0 || futimens(fd, canonical_times) < 0 ? -1 : 0;
}

static int leave_directory(void *arg, struct rouse_err *e)
{
	struct rouse_tree *t = arg;
	int fd = t->dirs[t->depth];

	if (rouse_tree_finish_directory(fd) < 0)
		return failed(t, e, "set mode and time of a directory in", NULL);
	(void)close(fd); /* read-only */
	t->depth--;
	return 0;
}

static int make_file(void *arg, const char *name, bool executable, uint64_t size unused_arg,
		     struct rouse_err *e)
{
	struct rouse_tree *t = arg;

	t->file = openat(t->dirs[t->depth], name ? name : t->name,
			 O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			 executable ? 0555 : 0444);
	if (t->file < 0)
		return failed(t, e, "make file", name);
	t->files++;
	t->is_plain_file = !name && !executable;
	return 0;
}

static int write_file(void *arg, const void *data, size_t n, struct rouse_err *e)
{
	struct rouse_tree *t = arg;

	if (rouse_write_all(t->file, data, n) < 0)
		return failed(t, e, "write a file", NULL);
	t->bytes += n;
	if (t->contents)
		rouse_sha256_update(t->contents, data, n);
	return 0;
}

static int end_file(void *arg, struct rouse_err *e)
{
	struct rouse_tree *t = arg;
	int fd = take(t->file, -1);
	int r = futimens(fd, canonical_times);

	/* Some filesystems tell of a full disk here only. */
	if (close(fd) < 0 || r < 0)
		return failed(t, e, "finish a file", NULL);
	return 0;
}

static int make_symlink(void *arg, const char *name, const char *target, struct rouse_err *e)
{
	struct rouse_tree *t = arg;
	int dir = t->dirs[t->depth];

	if (!name)
		name = t->name;
	if (symlinkat(target, dir, name) < 0 ||
	    utimensat(dir, name, canonical_times, AT_SYMLINK_NOFOLLOW) < 0)
		return failed(t, e, "make link", name);
	t->files++;
	return 0;
}

const struct rouse_nar_ops rouse_tree_ops = {
	.directory = make_directory,
	.leave = leave_directory,
	.file = make_file,
	.data = write_file,
	.file_end = end_file,
	.symlink = make_symlink,
};

/* Archives nest 64 levels; whatever else lies in a store is not deeper than this either. */
#define REMOVE_DEPTH 200

static int remove_below(int dir, const char *name, unsigned depth);

static int empty_directory(int fd, unsigned depth)
{
	DIR *d = fdopendir(fd); /* owns fd now */
	struct dirent *entry;
	int r = 0;

	if (!d) {
		(void)close(fd);
		return -1;
	}
	while (r == 0 && (errno = 0, entry = readdir(d)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = remove_below(dirfd(d), entry->d_name, depth + 1);
	if (r == 0 && errno)
		r = -1;
	(void)closedir(d);
	return r;
}

static int remove_below(int dir, const char *name, unsigned depth)
{
	int fd;

	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -1;
	if (depth > REMOVE_DEPTH) {
		errno = ELOOP;
		return -1;
	}
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -1;
	/* Directories of a store are read-only, which binds everyone without CAP_DAC_OVERRIDE. */
	(void)fchmod(fd, 0700); /* if it fails, the removal says why */
	if (empty_directory(fd, depth) < 0)
		return -1;
	return unlinkat(dir, name, AT_REMOVEDIR);
}

int rouse_tree_remove(int dir, const char *name)
{
	return remove_below(dir, name, 0);
}
