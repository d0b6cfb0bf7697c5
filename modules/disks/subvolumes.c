/* SPDX-License-Identifier: Apache-2.0 */
/* Subvolumes of a fresh btrfs: made on a mount that has no place in any tree, then the label that says
 * that they are there. */
#include "write.h"

#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rouse/init.h>
#include <rouse/text.h>

/* The directory that holds the last part of a path, made where it is not there; *ret_name points into
 * the path. Returns a descriptor. */
static int open_parent(int root, const char *path, const char **ret_name, struct rouse_err *e)
{
	auto_fd int at = fcntl(root, F_DUPFD_CLOEXEC, 3);
	const char *slash;
	char part[256];

	for (; at >= 0 && (slash = strchr(path, '/')); path = slash + 1) {
		int next;

		(void)snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		if (mkdirat(at, part, 0755) < 0 && errno != EEXIST)
			break;
		next = openat(at, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		(void)close(at);
		at = next;
	}
	if (at < 0 || strchr(path, '/'))
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make the directory of '%s'",
				  path);
	*ret_name = path;
	return take(at, -1);
}

static int make_one(int root, const char *path, struct rouse_err *e)
{
	struct btrfs_ioctl_vol_args args = { 0 };
	const char *name = NULL;
	auto_fd int at = open_parent(root, path, &name, e);

	if (at < 0)
		return -1;
	(void)snprintf(args.name, sizeof(args.name), "%s", name);
	if (ioctl(at, BTRFS_IOC_SUBVOL_CREATE, &args) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make the subvolume '%s'", path);
	return 0;
}

static int mount_it(const char *node, struct rouse_err *e)
{
	auto_fd int fs = -1, mounted = -1;
	struct rouse_err ignored = { 0 };
	int fd = -1;

	if (rouse_kmod_load("btrfs", &ignored) < 0)
		ignored = (struct rouse_err){ 0 }; /* built in, or the kernel asks for it itself */
	fs = fsopen("btrfs", FSOPEN_CLOEXEC);
	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "source", node, 0) < 0 ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0 ||
	    (mounted = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)) < 0 ||
	    (fd = openat(mounted, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot mount '%s' (btrfs)", node);
	return fd;
}

/* "a" before "a/b", which would make a plain directory of it. */
static int by_path(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int make_all(int root, const struct rouse_list *subvolumes, struct rouse_err *e)
{
	const struct rouse_pair *s = subvolumes->items;
	auto_free const char **paths = rouse_calloc(subvolumes->n + 1, sizeof(*paths));

	for (size_t i = 0; i < subvolumes->n; i++)
		paths[i] = s[i].value;
	qsort(paths, subvolumes->n, sizeof(*paths), by_path);
	for (size_t i = 0; i < subvolumes->n; i++)
		if (make_one(root, paths[i], e) < 0)
			return -1;
	return 0;
}

int disks_make_subvolumes(const struct disks_target *t, struct rouse_err *e)
{
	char label[BTRFS_LABEL_SIZE] = "";
	auto_fd int fd = mount_it(t->node, e);

	if (fd < 0 || make_all(fd, &t->mkfs->subvolumes, e) < 0)
		return -1;
	if (syncfs(fd) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot sync '%s'", t->node);
	(void)snprintf(label, sizeof(label), "%s", t->label);
	if (ioctl(fd, BTRFS_IOC_SET_FSLABEL, label) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot label '%s'", t->node);
	return syncfs(fd) < 0 ? rouse_fail(e, ROUSE_SYSTEM, errno, "cannot sync '%s'", t->node) : 0;
}
