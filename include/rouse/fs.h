/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files below a root directory. Paths are absolute as the machine will see them ("/etc/hostname")
 * and are resolved inside the root by openat2(2) with RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS, so
 * that a symlink in a target tree cannot lead out of it. All descriptors are O_CLOEXEC.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <rouse/err.h>
#include <rouse/mem.h>

struct rouse_root {
	int fd;           /* O_PATH | O_DIRECTORY; -1 when not open */
	const char *path; /* as given, for messages; owned */
};

#define ROUSE_ROOT_INIT                                                                            \
	{                                                                                          \
		.fd = -1, .path = NULL                                                             \
	}

/* `path` is copied; rouse_root_done() closes. ROUSE_SYSTEM with errno in e->sys when it is no directory. */
must_check int rouse_root_open(struct rouse_root *ret, const char *path, struct rouse_err *e);
/* The filesystem that the running "/" is on, without what is mounted over parts of it: an image's own
 * store, say, where /nix is a volume now (open_tree(2) with OPEN_TREE_CLONE; needs CAP_SYS_ADMIN). */
must_check int rouse_root_open_bare(struct rouse_root *ret, struct rouse_err *e);
void rouse_root_done(struct rouse_root *r);
static inline void root_auto(struct rouse_root *r)
{
	rouse_root_done(r);
}
#define auto_root __attribute__((cleanup(root_auto)))

/* Opens `path` below the root. Returns a descriptor, or -1 with errno (no rouse_err: absence is
 * often an answer). */
must_check int rouse_fs_open(const struct rouse_root *r, const char *path, int flags, mode_t mode);
/* Opens the parent directory of `path`; *ret_name is its last component (points into path). */
must_check int rouse_fs_open_parent(const struct rouse_root *r, const char *path,
				    const char **ret_name, struct rouse_err *e);
/* Creates the missing directories of `path` (not the last component unless `all`), 0755 root. */
must_check int rouse_fs_mkdirs(const struct rouse_root *r, const char *path, bool all,
			       struct rouse_err *e);
/* Reads a whole regular file of at most `max` bytes. errno ENOENT is in e->sys. */
must_check int rouse_fs_read(const struct rouse_root *r, const char *path, size_t max,
			     struct rouse_buf *ret, struct rouse_err *e);
/* What is left in an open file; `path` is for messages. */
must_check int rouse_fs_read_fd(int fd, const char *path, size_t max, struct rouse_buf *ret,
				struct rouse_err *e);
/* Refuses (ROUSE_UNTRUSTED) what somebody else than root, or who runs us, owns or may write. */
must_check int rouse_fs_check_owner(const struct stat *st, const char *path, struct rouse_err *e);
/* Replaces (or makes) a file: temporary name, write, fchmod, fchown, fsync, rename, fsync of the
 * directory. A symlink at `path` is replaced, not followed. uid/gid (uid_t)-1 keep the owner. */
must_check int rouse_fs_replace(const struct rouse_root *r, const char *path, const void *data,
				size_t len, mode_t mode, uid_t uid, gid_t gid, struct rouse_err *e);
/* Replaces (or makes) a symlink, atomically. */
must_check int rouse_fs_symlink(const struct rouse_root *r, const char *target, const char *path,
				struct rouse_err *e);

/* The same without a root, for /proc, /sys and command line arguments. */
must_check int rouse_read_file(const char *path, size_t max, struct rouse_buf *ret,
			       struct rouse_err *e);
/* Replaces (or makes) a file that somebody has named, as rouse_fs_replace() does. What is there and is no regular file
 * is refused (ROUSE_USAGE). */
must_check int rouse_write_file(const char *path, const void *data, size_t len, mode_t mode,
				struct rouse_err *e);
/* First line of a small file without its newline into buf; false when it cannot be read. */
bool rouse_read_line(const char *path, char *buf, size_t size);
/* Writes all bytes; -1 with errno. */
must_check int rouse_write_all(int fd, const void *data, size_t n);
