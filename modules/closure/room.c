/* SPDX-License-Identifier: Apache-2.0 */
#include "room.h"

#include <rouse/limits.h>
#include <rouse/mem.h>

bool room_can_wait(const struct room *r)
{
	return r->distance >= ROUSE_CACHE_FAR;
}

static uint64_t memory_of(const struct room *r, const struct rouse_path *path, uint64_t window)
{
	if (path->compression == ROUSE_COMPRESSION_NONE)
		return ROUSE_PULL_JOB;
	/* Whoever fills a cache packs all archives alike. */
	if (!room_can_wait(r) || path->compression != ROUSE_COMPRESSION_ZSTD || !window ||
	    window > ROUSE_PULL_WINDOW)
		window = ROUSE_PULL_WINDOW;
	return ROUSE_PULL_JOB + (path->nar_size < window ? path->nar_size : window);
}

static bool is_small(const struct rouse_path *path)
{
	return path->nar_size <= ROUSE_PULL_SMALL;
}

static bool is_huge(const struct rouse_path *path)
{
	return path->nar_size > ROUSE_PULL_MEDIUM;
}

static bool is_among_small(const struct room *r, const struct rouse_path *path)
{
	return room_can_wait(r) && is_small(path);
}

static uint64_t most_memory(const struct room *r, const struct share *s)
{
	return s == &r->small     ? ROUSE_PULL_SHARE_SMALL
	       : room_can_wait(r) ? ROUSE_PULL_SHARE_FAR
				  : ROUSE_PULL_SHARE;
}

/* What the kernel has of an archive that waits is a window at most. */
static uint64_t ahead_of(const struct rouse_path *path)
{
	uint64_t n = path->file_size ? path->file_size : path->nar_size;

	return n < ROUSE_PULL_UNREAD ? n : ROUSE_PULL_UNREAD;
}

static bool fits(uint64_t used, uint64_t more, uint64_t most)
{
	return !used || used + more <= most;
}

static bool has_memory(const struct room *r, const struct share *s, uint64_t memory)
{
	return fits(s->memory, memory, most_memory(r, s));
}

/* Unless its cache is far, only what has its memory: more archives would push each other out of the processor's
 * cache. Of a far one they save the wait; but none waits for a huge one, which can take longer than a server's
 * patience. */
bool room_has(const struct room *r, const struct rouse_path *path, uint64_t window)
{
	const struct share *s = is_among_small(r, path) ? &r->small : &r->large;
	bool now = has_memory(r, s, memory_of(r, path, window));

	if (!room_can_wait(r) || is_huge(path))
		return now;
	return (now || is_small(path) || !r->n_huge) &&
	       fits(s->ahead, ahead_of(path), ROUSE_PULL_AHEAD);
}

bool room_has_small(const struct room *r, const struct rouse_path *path, uint64_t window)
{
	return is_among_small(r, path) && room_has(r, path, window);
}

void room_take(struct room *r, const struct rouse_path *path, uint64_t window, struct seat *ret)
{
	*ret = (struct seat){
		.share = is_among_small(r, path) ? &r->small : &r->large,
		.memory = memory_of(r, path, window),
		.ahead = room_can_wait(r) && !is_huge(path) ? ahead_of(path) : 0,
		.huge = is_huge(path),
	};
	ret->share->memory += ret->ahead ? 0 : ret->memory;
	ret->share->ahead += ret->ahead;
	r->n_huge += ret->huge;
}

bool room_must_wait(const struct room *r, struct seat *seat)
{
	if (!seat->ahead)
		return false;
	if (!has_memory(r, seat->share, seat->memory))
		return true;
	seat->share->memory += seat->memory;
	seat->share->ahead -= take(seat->ahead, 0);
	return false;
}

void room_leave(struct room *r, const struct seat *seat)
{
	seat->share->memory -= seat->ahead ? 0 : seat->memory;
	seat->share->ahead -= seat->ahead;
	r->n_huge -= seat->huge;
}
