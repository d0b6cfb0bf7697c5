/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals while the boot is at work: each channel is tried before the long work, so that one that cannot
 * work is known early, and who waits with a time-out hears a heartbeat, but only while the work moves on.
 * A thread of its own, which shares nothing with the boot but a count and the results.
 */
#include "signals.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/mem.h>
#include <rouse/proxy.h>

/* How soon a boot that moves on again after its heartbeat was due is heard of. */
#define OVERDUE_PAUSE 1000

struct rouse_herald {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t ended;
	bool over, probe;
	const unsigned *moves; /* of the boot's report */
	unsigned seen;
	json_t *channels; /* what came of the first try, of the thread until it is joined */
	unsigned beats;
	/* Copies: the boot may go on to another document. */
	struct rouse_report report;
	struct rouse_health health;
	struct rouse_arena arena;
	json_t *section;
};

static size_t all_turns(const struct rouse_herald *h, struct signal_turn *turns,
			struct rouse_fetcher *f)
{
	const struct signal_call like = signal_call_of(&h->report, f);
	size_t n = 0;

	for (unsigned stage = 0; stage < SIGNAL_STAGES_; stage++)
		n += signal_turns(turns + n, stage, &h->health, &like);
	return n;
}

static void try_all(struct rouse_herald *h, struct rouse_fetcher *f)
{
	struct signal_turn turns[2 * SIGNAL_ROWS];
	size_t n = all_turns(h, turns, f), kept = 0;

	for (size_t i = 0; i < n; i++)
		if (turns[i].signal->probe)
			turns[kept++] = turns[i];
	signal_run(turns, kept, SIGNAL_PROBE, ROUSE_SIGNAL_TIMEOUT);
	for (size_t i = 0; i < kept; i++)
		signal_note(h->channels, &turns[i]);
}

static uint64_t interval(const struct rouse_herald *h)
{
	struct signal_turn turns[2 * SIGNAL_ROWS];

	return signal_interval(turns, all_turns(h, turns, NULL));
}

static void beat(struct rouse_herald *h, struct rouse_fetcher *f)
{
	struct signal_turn turns[2 * SIGNAL_ROWS];

	signal_beat(turns, all_turns(h, turns, f));
	h->beats++;
}

/* Waits until `when`; true when the boot is over. */
static bool wait_until(struct rouse_herald *h, uint64_t when)
{
	bool over;

	(void)pthread_mutex_lock(&h->lock);
	while (!h->over && rouse_clock_left(when)) {
		struct timespec t;
		int left = rouse_clock_left(when);

		(void)clock_gettime(CLOCK_MONOTONIC, &t);
		t.tv_sec += left / 1000;
		t.tv_nsec += left % 1000 * 1000000L;
		if (t.tv_nsec >= 1000000000L) {
			t.tv_sec++;
			t.tv_nsec -= 1000000000L;
		}
		(void)pthread_cond_timedwait(&h->ended, &h->lock, &t);
	}
	over = h->over;
	(void)pthread_mutex_unlock(&h->lock);
	return over;
}

static void beat_on(struct rouse_herald *h, struct rouse_fetcher *f)
{
	uint64_t pause = interval(h), next = rouse_clock_ms() + pause;
	bool told = false;

	while (pause && !wait_until(h, next)) {
		unsigned now = __atomic_load_n(h->moves, __ATOMIC_RELAXED);

		if (now == h->seen) {
			if (!told)
				rouse_log(ROUSE_LOG_WARNING, "health",
					  "the boot does not move on: no heartbeat");
			told = true;
			next = rouse_clock_ms() + OVERDUE_PAUSE;
			continue;
		}
		told = false;
		h->seen = now;
		pause = interval(h);
		next = rouse_clock_ms() + pause;
		if (pause)
			beat(h, f);
	}
}

static void *run(void *arg)
{
	struct rouse_herald *h = arg;
	auto_fetcher struct rouse_fetcher *f = rouse_fetcher_new_in(h->report.dir);

	if (h->probe)
		try_all(h, f);
	beat_on(h, f);
	return NULL;
}

static void herald_free(struct rouse_herald *h)
{
	rouse_report_done(&h->report);
	rouse_arena_done(&h->arena);
	json_decref(h->section);
	json_decref(h->channels);
	(void)pthread_mutex_destroy(&h->lock);
	(void)pthread_cond_destroy(&h->ended);
	free(h);
}

/* What the thread looks at must not change under it. */
static bool copy(struct rouse_herald *h, const struct rouse_report *r,
		 const struct rouse_health *from)
{
	struct rouse_problems problems = { 0 };
	bool whole;

	h->report = (struct rouse_report){ .json = json_deep_copy(r->json), .dir = r->dir };
	h->section = rouse_health_json(from);
	whole = rouse_schema_read(&rouse_health_shape, h->section, NULL, &h->health, &h->arena,
				  &problems) == 0;
	rouse_problems_done(&problems);
	return whole && h->report.json;
}

static void make_lock(struct rouse_herald *h)
{
	pthread_condattr_t attributes;

	(void)pthread_mutex_init(&h->lock, NULL);
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&h->ended, &attributes);
	(void)pthread_condattr_destroy(&attributes);
}

bool rouse_health_needs_network(const struct rouse_health *h)
{
	static const struct signal_call nobody = { 0 };
	struct signal_turn turns[2 * SIGNAL_ROWS];

	return signal_turns(turns, SIGNAL_REASON, h, &nobody) +
		       signal_turns(turns, SIGNAL_GROUP, h, &nobody) >
	       0;
}

struct rouse_herald *rouse_herald_start(const struct rouse_report *r,
					const struct rouse_health *from, bool probe)
{
	struct rouse_herald *h;

	if (!from->signals)
		return NULL;
	h = rouse_calloc(1, sizeof(*h));
	make_lock(h);
	h->moves = &r->moves;
	h->seen = __atomic_load_n(h->moves, __ATOMIC_RELAXED);
	h->probe = probe;
	h->channels = json_array();
	if (copy(h, r, from) && (probe || interval(h)) &&
	    pthread_create(&h->thread, NULL, run, h) == 0)
		return h;
	herald_free(h); /* no heartbeats are no reason to fail a boot */
	return NULL;
}

void rouse_herald_stop(struct rouse_herald *h, struct rouse_report *r)
{
	json_int_t before = json_integer_value(json_object_get(r->json, "heartbeats"));

	if (!h)
		return;
	(void)pthread_mutex_lock(&h->lock);
	h->over = true;
	(void)pthread_cond_signal(&h->ended);
	(void)pthread_mutex_unlock(&h->lock);
	(void)pthread_join(h->thread, NULL);
	if (json_array_size(h->channels))
		rouse_report_set(r, "channels", json_incref(h->channels));
	if (h->beats)
		rouse_report_set(r, "heartbeats", json_integer(before + h->beats));
	herald_free(h);
}
