/* SPDX-License-Identifier: Apache-2.0 */
/* What is made on all of a device that has a node of its own: a volume, an array. */
#include "write.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <rouse/clock.h>

int disks_open_node(const char *node, uint64_t deadline, struct disks_target *t,
		    struct rouse_err *e)
{
	uint64_t wait = rouse_clock_ms() + ROUSE_DEVICES_NODE, size = 0;
	auto_fd int fd = -1;
	int sector = 512;

	if (disks_wait_for_node(node, wait < deadline ? wait : deadline, e) < 0)
		return -1;
	fd = open(node, O_RDWR | O_CLOEXEC | O_EXCL);
	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &size) < 0 || ioctl(fd, BLKSSZGET, &sector) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s' for writing", node);
	t->what = node;
	t->size = size;
	t->sector = (uint64_t)sector;
	t->fd = take(fd, -1);
	return 0;
}

int disks_mark_inside(const struct disks_action *a, const char *node, uint64_t deadline,
		      struct rouse_err *e)
{
	struct disks_target t = { .fd = -1, .uuid = a->uuid };
	auto_fd int fd = -1;

	if (disks_open_node(node, deadline, &t, e) < 0)
		return -1;
	fd = t.fd;
	if (disks_mark_pending(&t, e) < 0 || disks_erase(&t, e) < 0)
		return -1;
	if (!a->holds && disks_zero(fd, 1024, 1024, node, e) < 0)
		return -1; /* nothing will be made in it */
	return disks_sync(fd, node, e);
}

int disks_reseal(const struct disks_action *a, uint64_t deadline, struct rouse_err *e)
{
	struct disks_target t = { .fd = -1, .what = a->source };
	auto_fd int fd = -1;

	if (!a->file && disks_open_node(a->source, deadline, &t, e) < 0)
		return -1;
	fd = a->file ? open(a->source, O_RDWR | O_CLOEXEC) : t.fd;
	if (fd < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s' for writing",
				  a->source);
	t.fd = fd;
	t.offset = a->file ? a->start : 0;
	t.size = a->length;
	t.uuid = a->uuid;
	t.label = a->label;
	t.mkfs = a->mkfs;
	return a->fs->reseal(&t, e);
}

int disks_make_on_node(const struct disks_action *a, uint64_t deadline, struct rouse_err *e)
{
	struct disks_target t = {
		.fd = -1, .uuid = a->uuid, .label = a->label, .mkfs = a->mkfs, .deadline = deadline
	};
	auto_fd int fd = -1;

	if (disks_open_node(a->source, deadline, &t, e) < 0)
		return -1;
	fd = t.fd;
	if (disks_mark_pending(&t, e) < 0 || disks_erase(&t, e) < 0)
		return -1;
	if (a->fs->late) {
		if (disks_sync(fd, a->source, e) < 0)
			return -1;
		(void)close(take(fd, -1)); /* its program opens the node exclusively */
		t.node = a->source;
	}
	return a->fs->make(&t, e);
}
