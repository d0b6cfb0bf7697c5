/* SPDX-License-Identifier: Apache-2.0 */
#include "../../modules/closure/room.h"

#include <rouse/limits.h>

#include "../lib/tap.h"

#define FAR 50
#define MANY 4096

static struct rouse_path archive(uint64_t size)
{
	return (struct rouse_path){
		.compression = ROUSE_COMPRESSION_ZSTD,
		.nar_size = size,
		.file_size = size / 3,
	};
}

/* Takes archives of this size for as long as they may be asked for. */
static unsigned fill(struct room *r, uint64_t size, uint64_t window, struct seat *seats)
{
	const struct rouse_path path = archive(size);
	unsigned n = 0;

	while (n < MANY && room_has(r, &path, window))
		room_take(r, &path, window, &seats[n++]);
	return n;
}

static bool is_empty(const struct room *r)
{
	return !r->large.memory && !r->large.ahead && !r->small.memory && !r->small.ahead &&
	       !r->n_huge;
}

static void one_alone_always_may(struct t *t)
{
	const uint64_t sizes[] = { 0, 1, MIB, 64 * MIB, 64 * GIB };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		for (uint64_t distance = 0; distance <= FAR; distance += FAR) {
			struct room r = { .distance = distance };
			const struct rouse_path path = archive(sizes[i]);

			T_CHECK(t, room_has(&r, &path, 0));
			T_CHECK(t, room_has(&r, &path, 128 * MIB));
		}
}

static void near_ones_have_their_memory_at_once(struct t *t)
{
	struct room r = { .distance = 1 };
	static struct seat seats[MANY];
	unsigned n = fill(&r, 100, 0, seats);

	T_CHECK(t, !room_can_wait(&r));
	T_CHECK(t, n > 1 && n < MANY);
	T_CHECK(t, r.large.memory <= ROUSE_PULL_SHARE && !r.large.ahead && !r.small.memory);
	for (unsigned i = 0; i < n; i++)
		T_CHECK(t, !room_must_wait(&r, &seats[i]));
	while (n)
		room_leave(&r, &seats[--n]);
	T_CHECK(t, is_empty(&r));
}

static void far_ones_wait_until_others_have_left(struct t *t)
{
	struct room r = { .distance = FAR };
	static struct seat seats[MANY];
	const uint64_t size = 4 * MIB; /* neither small nor huge */
	unsigned n = fill(&r, size, 0, seats), begun = 0, ended = 0;

	T_CHECK(t, room_can_wait(&r) && n > 1 && n < MANY);
	T_CHECK(t, r.large.ahead <= ROUSE_PULL_AHEAD && !r.large.memory);
	while (begun < n && !room_must_wait(&r, &seats[begun]))
		begun++;
	T_CHECK(t, begun > 0 && begun < n);
	T_CHECK(t, begun == 1 || r.large.memory <= ROUSE_PULL_SHARE_FAR);
	/* Each that ends makes room for the next: none waits for ever. */
	while (ended < n) {
		T_CHECK(t, ended < begun);
		room_leave(&r, &seats[ended++]);
		while (begun < n && !room_must_wait(&r, &seats[begun]))
			begun++;
	}
	T_CHECK(t, is_empty(&r));
}

static void what_has_its_memory_does_not_wait_again(struct t *t)
{
	struct room r = { .distance = FAR };
	const struct rouse_path path = archive(4 * MIB);
	struct seat first, second;

	room_take(&r, &path, 0, &first);
	room_take(&r, &path, 0, &second);
	T_CHECK(t, !room_must_wait(&r, &first) && room_must_wait(&r, &second));
	T_CHECK(t, !room_must_wait(&r, &first)); /* a second try of the same transfer */
	room_leave(&r, &second);                 /* ended before it had any */
	room_leave(&r, &first);
	T_CHECK(t, is_empty(&r));
}

static void small_ones_pass_the_large_ones(struct t *t)
{
	struct room r = { .distance = FAR };
	static struct seat seats[MANY], small;
	const struct rouse_path tiny = archive(1000), large = archive(4 * MIB);

	unsigned n = fill(&r, 4 * MIB, 0, seats);

	T_CHECK(t, !room_has(&r, &large, 0) && room_has(&r, &tiny, 0));
	T_CHECK(t, room_has_small(&r, &tiny, 0) && !room_has_small(&r, &large, 0));
	room_take(&r, &tiny, 0, &small);
	for (unsigned i = 0; i < n; i++)
		(void)room_must_wait(&r, &seats[i]); /* until there is no memory left */
	T_CHECK(t, room_must_wait(&r, &seats[n - 1]));
	T_CHECK(t, !room_must_wait(&r, &small));
}

static void nobody_waits_for_a_huge_one(struct t *t)
{
	struct room r = { .distance = FAR };
	const struct rouse_path huge = archive(1 * GIB), large = archive(16 * MIB),
				tiny = archive(1000);
	struct seat seat;

	room_take(&r, &huge, 0, &seat);
	T_CHECK(t, !room_must_wait(&r, &seat));
	T_CHECK(t, !room_has(&r, &huge, 0) && !room_has(&r, &large, 0) && room_has(&r, &tiny, 0));
	room_leave(&r, &seat);
	T_CHECK(t, room_has(&r, &large, 0) && is_empty(&r));
}

/* What is learnt between taking and leaving must not be what is given back. */
static void what_is_learnt_meanwhile_does_not_change_a_seat(struct t *t)
{
	struct room r = { .distance = 1 };
	const struct rouse_path path = archive(1000);
	struct seat near, far;

	room_take(&r, &path, 0, &near);
	r.distance = FAR;
	room_take(&r, &path, 2 * MIB, &far);
	r.distance = 1;
	room_leave(&r, &near);
	T_CHECK(t, !room_must_wait(&r, &far));
	room_leave(&r, &far);
	T_CHECK(t, is_empty(&r));
}

/* A cache cannot make it believe in more memory than a window has that everybody may use. */
static void a_window_is_believed_up_to_the_usual_one(struct t *t)
{
	struct room r = { .distance = FAR };
	const struct rouse_path path = archive(1 * GIB);
	struct seat small, usual, large;

	room_take(&r, &path, 1 * MIB, &small);
	room_take(&r, &path, 0, &usual);
	room_take(&r, &path, 128 * MIB, &large);
	T_CHECK(t, small.memory == ROUSE_PULL_JOB + 1 * MIB);
	T_CHECK(t, usual.memory == ROUSE_PULL_JOB + ROUSE_PULL_WINDOW);
	T_CHECK(t, large.memory == usual.memory);
}

T_MAIN(T(one_alone_always_may), T(near_ones_have_their_memory_at_once),
       T(far_ones_wait_until_others_have_left), T(what_has_its_memory_does_not_wait_again),
       T(small_ones_pass_the_large_ones), T(nobody_waits_for_a_huge_one),
       T(what_is_learnt_meanwhile_does_not_change_a_seat),
       T(a_window_is_believed_up_to_the_usual_one))
