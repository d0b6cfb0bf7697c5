/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of laying out share: entries.c finds partitions again, layout.c gives places. */
#pragma once

#include "disks.h"

struct layouter {
	const struct disks_conf *conf;
	const struct disks_disk *d;
	const struct disks_fact *f;
	bool fresh; /* what is on the disk does not count */
	const char *root;
	uint64_t first, end; /* of usable space */
	struct {
		uint64_t start, size;
	} used[2 * ROUSE_MAX_PARTITIONS];
	size_t n_used;
	struct disks_layout *ret;
	struct rouse_arena *arena;
	struct rouse_err *e;
};

/* Fills the slots of those partitions that are on the disk, and checks what the document says of
 * them. -1 with l->e when it is not clear which is which, or when one is not as it shall be. */
must_check int disks_find_entries(struct layouter *l);
