/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of laying out share: entries.c finds partitions again, shares.c says how large they
 * become, layout.c gives places. */
#pragma once

#include "disks.h"

/* Places that the document gives need not be whole MiB. */
#define EXACT (4 * KIB)

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

static inline uint64_t round_up(uint64_t n, uint64_t unit)
{
	return (n + unit - 1) / unit * unit;
}

static inline uint64_t up(uint64_t n)
{
	return round_up(n, DISKS_GRAIN);
}

static inline uint64_t down(uint64_t n)
{
	return n / DISKS_GRAIN * DISKS_GRAIN;
}

static inline bool has_size(const struct disks_partition *p)
{
	return p->size.bytes || p->size.percent;
}

/* The size that the document asks for; a percentage is one of all usable space. */
uint64_t disks_size_wanted(const struct layouter *l, const struct disks_partition *p);
/* What its filesystem takes; what holds none may be as small as anybody says. */
uint64_t disks_smallest(const struct disks_partition *p);
/* Without a size: at least, and at most, this. */
uint64_t disks_least_size(const struct disks_partition *p);
uint64_t disks_most_size(const struct disks_partition *p);
int disks_no_room(const struct layouter *l, const struct disks_partition *p, uint64_t need,
		  uint64_t have);

/* What a partition without a size may have, and gets. */
struct claim {
	const struct disks_partition *p;
	struct disks_slot *slot;
	uint64_t min, max, size;
	bool fixed;
};

struct claim disks_claim_of(const struct disks_partition *p, struct disks_slot *s);
/* Shares `total` bytes, whole MiB, by weight within the bounds; false when the minima exceed it. */
bool disks_share_out(struct claim *claims, size_t n, uint64_t total);
int disks_no_share(const struct layouter *l, const struct claim *claims, size_t n, uint64_t total);
