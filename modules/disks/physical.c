/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes a physical volume of LVM, before and after lvm(8) writes to it. It asks about every
 * signature that a prober knows, so our pending mark cannot stay where it is; and its metadata may be on
 * the disk before its label is, or without it. Meanwhile the second mark (marks.c) is there.
 */
#include "write.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/json.h>
#include <rouse/text.h>

/* Blank, with our mark, or one that holds nothing: plan() has seen that it is in no group. */
static bool is_as_planned(const json_t *content, const uint8_t uuid[static 16])
{
	const json_t *list = json_object_get(content, "signatures"), *s;
	char mark[DISKS_GUID_LEN];
	size_t i;

	disks_pending_guid(uuid, mark);
	json_array_foreach ((json_t *)list, i, s) {
		const char *type = json_string_value(json_object_get(s, "type"));
		const char *is = json_string_value(json_object_get(s, "uuid"));

		if ((rouse_streq(is, mark) &&
		     rouse_streq(json_string_value(json_object_get(s, "label")),
				 DISKS_PENDING_LABEL)) ||
		    (json_array_size(list) == 1 && rouse_streq(type, "LVM2_member")))
			return true;
	}
	return json_is_true(json_object_get(content, "zero"));
}

/* One of the marks is there at every moment, and all else goes. */
static int change_marks(const struct disks_target *t, struct rouse_err *e)
{
	if (disks_mark_pending(t, e) < 0 || disks_erase(t, e) < 0 ||
	    disks_mark_again(t, DISKS_MARK_OF_LVM, e) < 0 ||
	    disks_zero(t->fd, 1024, 1024, t->what, e) < 0)
		return -1;
	return disks_sync(t->fd, t->what, e);
}

int disks_physical_prepare(const char *node, const uint8_t uuid[static 16], uint64_t deadline,
			   struct rouse_err *e)
{
	uint64_t wait = rouse_clock_ms() + ROUSE_DEVICES_NODE;
	struct disks_target t = { .uuid = uuid, .what = node };
	auto_json json_t *content = NULL;
	auto_fd int fd = -1;
	int sector = 512;

	if (disks_wait_for_node(node, wait < deadline ? wait : deadline, e) < 0)
		return -1;
	fd = open(node, O_RDWR | O_CLOEXEC | O_EXCL);
	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &t.size) < 0 || ioctl(fd, BLKSSZGET, &sector) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s' for writing", node);
	t.fd = fd;
	t.sector = (uint64_t)sector;
	if (disks_content_read(fd, 0, t.size, t.sector, &content, e) < 0)
		return -1;
	if (!is_as_planned(content, uuid))
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "'%s' has changed since the plan was made: plan again", node);
	return change_marks(&t, e);
}

int disks_physical_finish(const char *node, struct rouse_err *e)
{
	auto_fd int fd = open(node, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s' for writing", node);
	return disks_zero(fd, DISKS_MARK_OF_LVM, 512, node, e) < 0 ? -1 : disks_sync(fd, node, e);
}
