/* SPDX-License-Identifier: Apache-2.0 */
/* Swap space: one page that says what the rest is for. The kernel reads nothing else of it. */
#include "write.h"

#include <endian.h>
#include <string.h>
#include <unistd.h>

#define LABEL 16

/* The header of <linux/swap.h> behind the boot block; numbers in the byte order of this machine. */
static void fill(const struct disks_target *t, uint8_t *page, size_t size)
{
	uint64_t pages = t->size / size - 1;
	uint32_t version = 1, last = pages < UINT32_MAX ? (uint32_t)pages : UINT32_MAX;
	size_t n = strlen(t->label);

	memcpy(page + 1024, &version, sizeof(version));
	memcpy(page + 1028, &last, sizeof(last));
	memcpy(page + 1036, t->uuid, 16);
	memcpy(page + 1052, t->label, n < LABEL ? n : LABEL);
	memcpy(page + size - 10, "SWAPSPACE2", 10);
}

/* The pending mark is in the page: replacing it is one write, which is there as a whole or not
 * where a device writes its sectors in order; in between there is no magic at the end. */
static int make_swap(const struct disks_target *t, struct rouse_err *e)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	auto_free uint8_t *page = rouse_calloc(1, size);

	fill(t, page, size);
	if (disks_pwrite(t->fd, page + 2048, size - 2048, t->offset + 2048, t->what, e) < 0 ||
	    disks_sync(t->fd, t->what, e) < 0 ||
	    disks_pwrite(t->fd, page, 2048, t->offset, t->what, e) < 0)
		return -1;
	return disks_sync(t->fd, t->what, e);
}

static void no_room(uint64_t size unused_arg, uint64_t *bytes, uint64_t *inodes)
{
	*bytes = *inodes = 0;
}

const struct disks_filesystem disks_swap = {
	.name = "swap",
	.min = 1 * MIB,
	.max_label = LABEL - 1,
	.swap = true,
	.room = no_room,
	.print_uuid = disks_uuid_print,
	.make = make_swap,
};
