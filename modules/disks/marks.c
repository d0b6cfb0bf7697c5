/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The second pending mark: it says whose unfinished work is there while a program of somebody else takes
 * the first one away long before what it makes can be told. No prober knows it.
 */
#include "write.h"

#include <string.h>
#include <unistd.h>

#include <rouse/text.h>

/* In a sector of its own: these 16 bytes, then the UUID of the pending mark. */
static const char magic[16] = DISKS_PENDING_LABEL;

int disks_mark_again(const struct disks_target *t, uint64_t at, struct rouse_err *e)
{
	uint8_t mark[512] = { 0 };

	memcpy(mark, magic, sizeof(magic));
	memcpy(mark + sizeof(magic), t->uuid, 16);
	mark[sizeof(magic) + 15] ^= 1;
	if (disks_pwrite(t->fd, mark, sizeof(mark), t->offset + at, t->what, e) < 0)
		return -1;
	return disks_sync(t->fd, t->what, e);
}

bool disks_marked_again(int fd, uint64_t at, char ret[static DISKS_GUID_LEN])
{
	uint8_t mark[32];

	if (pread(fd, mark, sizeof(mark), (off_t)at) != (ssize_t)sizeof(mark) ||
	    memcmp(mark, magic, sizeof(magic)) != 0)
		return false;
	disks_uuid_print(mark + sizeof(magic), ret);
	return true;
}
