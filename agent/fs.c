/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/fs.h>

#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <rouse/clock.h>

int rouse_root_open(struct rouse_root *ret, const char *path, struct rouse_err *e)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open the root directory '%s'",
				  path);
	ret->fd = fd;
	ret->path = rouse_strdup(path);
	return 0;
}

int rouse_root_open_bare(struct rouse_root *ret, struct rouse_err *e)
{
	int fd = open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (fd < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno,
				  "cannot look below what is mounted over '/'");
	ret->fd = fd;
	ret->path = rouse_strdup("/");
	return 0;
}

void rouse_root_done(struct rouse_root *r)
{
	if (!r)
		return;
	if (r->fd >= 0)
		(void)close(r->fd);
	free((char *)r->path);
	*r = (struct rouse_root)ROUSE_ROOT_INIT;
}

int rouse_fs_open(const struct rouse_root *r, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)flags | O_CLOEXEC,
		.mode = flags & (O_CREAT | O_TMPFILE) ? mode : 0,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};

	/* EAGAIN: a rename raced with the walk of "..", openat2(2). */
	for (int tries = 0;; tries++) {
		int fd = (int)syscall(SYS_openat2, r->fd, path, &how, sizeof(how));

		if (fd >= 0 || errno != EAGAIN || tries == 16)
			return fd;
	}
}

int rouse_fs_open_parent(const struct rouse_root *r, const char *path, const char **ret_name,
			 struct rouse_err *e)
{
	const char *slash = strrchr(path, '/');
	auto_free char *parent = NULL;
	int fd;

	if (!slash || !slash[1] || strcmp(slash + 1, ".") == 0 || strcmp(slash + 1, "..") == 0)
		return rouse_fail(e, ROUSE_BUG, 0, "'%s' names no file", path);
	parent = rouse_strndup(path, slash == path ? 1 : (size_t)(slash - path));
	fd = rouse_fs_open(r, parent, O_PATH | O_DIRECTORY, 0);
	if (fd < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open directory '%s'", parent);
	*ret_name = slash + 1;
	return fd;
}

int rouse_fs_mkdirs(const struct rouse_root *r, const char *path, bool all, struct rouse_err *e)
{
	auto_free char *copy = rouse_strdup(path);
	size_t len = strlen(copy);

	for (size_t i = 1; i <= len; i++) {
		auto_fd int fd = -1, parent = -1;
		const char *name = NULL;

		if (copy[i] != '/' && (copy[i] || !all))
			continue;
		copy[i] = '\0';
		fd = rouse_fs_open(r, copy, O_PATH | O_DIRECTORY, 0);
		if (fd < 0 && errno != ENOENT)
			return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open directory '%s'",
					  copy);
		if (fd < 0) {
			parent = rouse_fs_open_parent(r, copy, &name, e);
			if (parent < 0)
				return -1;
			if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
				return rouse_fail(e, ROUSE_SYSTEM, errno,
						  "cannot make directory '%s'", copy);
		}
		if (i < len)
			copy[i] = '/';
	}
	return 0;
}

int rouse_fs_read_fd(int fd, const char *path, size_t max, struct rouse_buf *ret,
		     struct rouse_err *e)
{
	char chunk[8192];

	for (;;) {
		ssize_t n = read(fd, chunk, sizeof(chunk));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot read '%s'", path);
		if (n == 0)
			break;
		if (rouse_buf_add(ret, chunk, (size_t)n, max) < 0)
			return rouse_fail(e, ROUSE_DOCUMENT, 0, "'%s' is larger than %zu bytes",
					  path, max);
	}
	/* An empty file still gives a terminated string. */
	return rouse_buf_add(ret, "", 0, max);
}

int rouse_fs_read(const struct rouse_root *r, const char *path, size_t max, struct rouse_buf *ret,
		  struct rouse_err *e)
{
	auto_fd int fd = rouse_fs_open(r, path, O_RDONLY | O_NOCTTY | O_NONBLOCK, 0);
	struct stat st = { 0 };

	if (fd < 0 || fstat(fd, &st) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s'", path);
	if (!S_ISREG(st.st_mode))
		return rouse_fail(e, ROUSE_SYSTEM, EINVAL, "'%s' is not a regular file", path);
	return rouse_fs_read_fd(fd, path, max, ret, e);
}

/* Makes a name for a file that will be renamed over `name`; the same prefix marks leftovers. */
static void temporary_name(char *buf, size_t size, const char *name)
{
	(void)snprintf(buf, size, ".rouse-%08x-%.200s", (unsigned)rouse_jitter(UINT32_MAX), name);
}

static int fill_file(int fd, const void *data, size_t len, mode_t mode, uid_t uid, gid_t gid)
{
	if (rouse_write_all(fd, data, len) < 0)
		return -1;
	if ((uid != (uid_t)-1 || gid != (gid_t)-1) && fchown(fd, uid, gid) < 0)
		return -1;
	return fchmod(fd, mode) < 0 || fsync(fd) < 0 ? -1
						     : 0; /* after fchown, which drops setuid */
}

int rouse_fs_replace(const struct rouse_root *r, const char *path, const void *data, size_t len,
		     mode_t mode, uid_t uid, gid_t gid, struct rouse_err *e)
{
	const char *name = NULL;
	auto_fd int parent = rouse_fs_open_parent(r, path, &name, e), dir = -1, fd = -1;
	char temporary[256];

	if (parent < 0)
		return -1;
	dir = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open the directory of '%s'",
				  path);
	temporary_name(temporary, sizeof(temporary), name);
	fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make a file beside '%s'", path);
	if (fill_file(fd, data, len, mode, uid, gid) < 0 ||
	    renameat(dir, temporary, dir, name) < 0) {
		int saved = errno;

		(void)unlinkat(dir, temporary, 0);
		return rouse_fail(e, ROUSE_SYSTEM, saved, "cannot write '%s'", path);
	}
	if (fsync(dir) < 0 && errno != EINVAL) /* EINVAL: a filesystem without it, such as vfat */
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot sync the directory of '%s'",
				  path);
	return 0;
}

int rouse_fs_symlink(const struct rouse_root *r, const char *target, const char *path,
		     struct rouse_err *e)
{
	const char *name = NULL;
	auto_fd int parent = rouse_fs_open_parent(r, path, &name, e), dir = -1;
	char temporary[256];

	if (parent < 0)
		return -1;
	dir = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open the directory of '%s'",
				  path);
	temporary_name(temporary, sizeof(temporary), name);
	if (symlinkat(target, dir, temporary) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make a link beside '%s'", path);
	if (renameat(dir, temporary, dir, name) < 0) {
		int saved = errno;

		(void)unlinkat(dir, temporary, 0);
		return rouse_fail(e, ROUSE_SYSTEM, saved, "cannot make link '%s'", path);
	}
	if (fsync(dir) < 0 && errno != EINVAL)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot sync the directory of '%s'",
				  path);
	return 0;
}

int rouse_fs_check_owner(const struct stat *st, const char *path, struct rouse_err *e)
{
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return rouse_fail(e, ROUSE_UNTRUSTED, 0, "'%s' belongs to uid %u: root must own it",
				  path, (unsigned)st->st_uid);
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return rouse_fail(e, ROUSE_UNTRUSTED, 0,
				  "'%s' may be written by others (mode %04o): chmod go-w it", path,
				  (unsigned)st->st_mode & 07777);
	return 0;
}

int rouse_read_file(const char *path, size_t max, struct rouse_buf *ret, struct rouse_err *e)
{
	auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s'", path);
	return rouse_fs_read_fd(fd, path, max, ret, e);
}

int rouse_write_file(const char *path, const void *data, size_t len, mode_t mode,
		     struct rouse_err *e)
{
	const char *slash = strrchr(path, '/');
	auto_free char *directory = slash ? rouse_strndup(path, (size_t)(slash - path) + 1)
					  : rouse_strdup(".");
	auto_free char *name = rouse_asprintf("/%s", slash ? slash + 1 : path);
	auto_root struct rouse_root dir = ROUSE_ROOT_INIT;
	struct stat st;

	if (!name[1] || (lstat(path, &st) == 0 && S_ISDIR(st.st_mode)))
		return rouse_fail(e, ROUSE_USAGE, 0, "cannot write '%s': it is a directory", path);
	/* Instead of /dev/stdout there would be a file, for everybody. */
	if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return rouse_fail(e, ROUSE_USAGE, 0,
				  "cannot write '%s': it is a link, a pipe or a device, and no "
				  "file to be replaced",
				  path);
	if (rouse_root_open(&dir, directory, e) < 0 ||
	    rouse_fs_replace(&dir, name, data, len, mode, (uid_t)-1, (gid_t)-1, e) < 0)
		return rouse_fail(e, e->kind, e->sys, "cannot write '%s'", path);
	return 0;
}

bool rouse_read_line(const char *path, char *buf, size_t size)
{
	auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t n;

	if (fd < 0 || size == 0)
		return false;
	do
		n = read(fd, buf, size - 1);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return false;
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return true;
}

int rouse_write_all(int fd, const void *data, size_t n)
{
	const char *p = data;

	while (n) {
		ssize_t w = write(fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -1;
		p += w;
		n -= (size_t)w;
	}
	return 0;
}
