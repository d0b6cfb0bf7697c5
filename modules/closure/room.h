/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much a worker of a pull may have in flight. Memory bounds what is unpacked at a time. Where the cache is far,
 * more is asked for than there is memory for: what comes too early waits unread, in the kernel's buffers. Plain
 * arithmetic; nothing here fails or allocates.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "table.h"

struct room {
	struct share {
		uint64_t memory; /* bytes, of archives that are unpacked, or will be at once */
		uint64_t ahead;  /* bytes, of those that wait until there is memory */
	} large, small;
	unsigned n_huge;   /* in flight, too large to keep others waiting for them */
	uint64_t distance; /* how long an answer takes to come, in ms; 0: not known yet */
};

/* What one archive in flight has of it. */
struct seat {
	struct share *share;
	uint64_t memory; /* that it takes, or will */
	uint64_t ahead;  /* its bytes while they may have to wait; else 0 */
	bool huge;
};

/* Is the cache far, so that archives may be asked for before there is memory for them? */
bool room_can_wait(const struct room *r);
/* May this one be asked for? One alone always may. `window` is what a decoder of the same kind took, in bytes; 0: nobody knows. */
bool room_has(const struct room *r, const struct rouse_path *path, uint64_t window);
/* May this one, and is it one of those that are nothing but a wait? */
bool room_has_small(const struct room *r, const struct rouse_path *path, uint64_t window);
/* Takes a seat, which room_has() said is there. */
void room_take(struct room *r, const struct rouse_path *path, uint64_t window, struct seat *ret);
/* Its first bytes have come: do they have to wait? If not, it has its memory from now on. */
bool room_must_wait(const struct room *r, struct seat *seat);
/* Gives the seat back. */
void room_leave(struct room *r, const struct seat *seat);
