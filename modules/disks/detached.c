/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Grows filesystems that nobody has mounted, by the same ioctl as mounted ones: on a mount that
 * exists only as a descriptor. resize2fs would do it too, but it cuts the image off behind the
 * filesystem, with the backup of the partition table, when that is a partition of a file.
 */
#include "write.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

/* A loop device over a part of an image; it goes away with its last descriptor. */
static int loop_open(const struct disks_action *a, char *node, size_t size, struct rouse_err *e)
{
	auto_fd int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	auto_fd int image = open(a->source, O_RDWR | O_CLOEXEC);
	auto_fd int fd = -1;
	struct loop_config config = {
		.fd = (uint32_t)image,
		.info = { .lo_offset = a->start,
			  .lo_sizelimit = a->length,
			  .lo_flags = LO_FLAGS_AUTOCLEAR },
	};
	int n;

	if (control < 0 || image < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s' for a loop device",
				  a->source);
	for (int tries = 0; tries < 16; tries++) { /* somebody else may take the free one first */
		n = ioctl(control, LOOP_CTL_GET_FREE);
		if (n < 0)
			break;
		(void)snprintf(node, size, "/dev/loop%d", n);
		fd = open(node, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) == 0)
			return take(fd, -1);
		if (fd >= 0)
			(void)close(take(fd, -1));
		if (errno != EBUSY)
			break;
	}
	return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make a loop device of '%s'", a->source);
}

static int mount_detached(const char *node, const char *type, struct rouse_err *e)
{
	auto_fd int fs = fsopen(type, FSOPEN_CLOEXEC);
	int fd = -1;

	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "source", node, 0) < 0 ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0 ||
	    (fd = fsmount(fs, FSMOUNT_CLOEXEC,
			  MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC)) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot mount '%s' (%s) for growing",
				  node, type);
	return fd;
}

int disks_grow_detached(const struct disks_action *a, struct rouse_err *e)
{
	auto_fd int loop = -1, mounted = -1, fd = -1;
	char node[64];

	if (a->file) {
		loop = loop_open(a, node, sizeof(node), e);
		if (loop < 0)
			return -1;
	}
	mounted = mount_detached(a->file ? node : a->source, a->type, e);
	if (mounted < 0)
		return -1;
	/* What fsmount(2) gives is O_PATH, and takes no ioctl. */
	fd = openat(mounted, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s'", a->source);
	return a->fs->grow(fd, a->length, e) < 0 ? rouse_wrap(e, "'%s'", a->source) : 0;
}
