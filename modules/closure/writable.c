/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include "journal.h"
#include "path.h"

/* A copy of the mount behind `dir` that can be written and that no path leads to; -1 when the kernel
 * (before 5.12), or whoever runs us, has none. */
static int writable_copy(int dir)
{
#ifdef SYS_mount_setattr
	struct mount_attr attr = { .attr_clr = MOUNT_ATTR_RDONLY };
	auto_fd int tree = (int)syscall(SYS_open_tree, dir, "",
					OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);

	if (tree < 0 ||
	    syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return -1;
	return openat(tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
#else
	(void)dir;
	errno = ENOSYS;
	return -1;
#endif
}

int rouse_store_writable(struct rouse_store *s, struct rouse_err *e)
{
	struct statvfs v;
	int copy;

	if (fstatvfs(s->dir, &v) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot look at the filesystem of '%s'",
				  ROUSE_STORE_DIR);
	if (!(v.f_flag & ST_RDONLY))
		return 0;
	copy = writable_copy(s->dir);
	if (copy < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno == EINVAL ? EROFS : errno,
				  "'%s' is mounted read-only, and cannot be written in another way",
				  ROUSE_STORE_DIR);
	(void)close(s->dir);
	s->dir = copy;
	return 0;
}
