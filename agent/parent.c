/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/parent.h>

#include <fcntl.h>
#include <string.h>

/* Can only root, or who runs us, put things there? */
static bool trusted(const struct stat *st)
{
	return (st->st_uid == 0 || st->st_uid == geteuid()) &&
	       (!S_ISDIR(st->st_mode) || !(st->st_mode & (S_IWGRP | S_IWOTH)) ||
		(st->st_mode & S_ISVTX));
}

static int make_directory(int dir, const char *name, const struct stat *around)
{
	auto_fd int fd = -1;

	if (mkdirat(dir, name, 0755) < 0)
		return errno == EEXIST ? 0 : -1;
	if (geteuid() != 0 || around->st_uid == 0)
		return 0;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -1 : fchown(fd, around->st_uid, around->st_gid);
}

/* One step down. `prefix` is the path up to and with `name`; *safe, that nobody else could have
 * touched what lies on it. */
static int step(const struct rouse_root *root, int dir, const char *prefix, const char *name,
		bool make, bool *safe, int *ret, struct rouse_err *e)
{
	auto_fd int fd = -1;
	struct stat around = { 0 }, st = { 0 };

	if (fstat(dir, &around) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot look at the directory of '%s'",
				  prefix);
	*safe = *safe && trusted(&around);
	fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && make) {
		if (make_directory(dir, name, &around) < 0)
			return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make directory '%s'",
					  prefix);
		fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	}
	if (fd < 0 || fstat(fd, &st) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open directory '%s'", prefix);
	if (S_ISLNK(st.st_mode)) {
		if (!*safe || !trusted(&st))
			return rouse_fail(
				e, ROUSE_SYSTEM, 0,
				"refused: '%s' is a symlink that a user may have put there",
				prefix);
		(void)close(take(fd, -1));
		fd = rouse_fs_open(root, prefix, O_PATH | O_DIRECTORY, 0);
		if (fd < 0 || fstat(fd, &st) < 0)
			return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open directory '%s'",
					  prefix);
	}
	if (!S_ISDIR(st.st_mode))
		return rouse_fail(e, ROUSE_SYSTEM, ENOTDIR, "cannot open directory '%s'", prefix);
	*ret = take(fd, -1);
	return 0;
}

int rouse_open_parent(const struct rouse_root *root, const char *path, bool make,
		      struct rouse_root *ret, const char **ret_name, struct rouse_err *e)
{
	auto_free char *prefix = rouse_strdup(path);
	auto_fd int dir = openat(root->fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	bool safe = true;
	char *name = prefix + 1, *slash;

	if (dir < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open the root directory '%s'",
				  root->path);
	for (; (slash = strchr(name, '/')); name = slash + 1) {
		int next = -1;

		if (slash == name) /* "//" */
			continue;
		*slash = '\0';
		if (strcmp(name, "..") == 0)
			return rouse_fail(e, ROUSE_SYSTEM, 0, "refused: '%s' holds \"..\"", path);
		if (step(root, dir, prefix, name, make, &safe, &next, e) < 0)
			return -1;
		*slash = '/';
		(void)close(dir);
		dir = next;
	}
	*ret = (struct rouse_root){ .fd = take(dir, -1), .path = rouse_strdup(path) };
	*ret_name = strrchr(path, '/');
	return 0;
}
