/* SPDX-License-Identifier: Apache-2.0 */
/* The filesystems that documents may ask for: one row, one file each. */
#include "disks.h"

#include <string.h>

static const struct disks_filesystem *const rows[] = { &disks_ext4,  &disks_vfat, &disks_xfs,
						       &disks_btrfs, &disks_f2fs, &disks_swap };
const char *const disks_filesystem_words[] = {
	"ext4", "vfat", "xfs", "btrfs", "f2fs", "swap", NULL
};
_Static_assert(ARRAY_SIZE(disks_filesystem_words) == ARRAY_SIZE(rows) + 1, "one word for each row");

const struct disks_filesystem *disks_filesystem_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (strcmp(rows[i]->name, name) == 0)
			return rows[i];
	return NULL;
}
