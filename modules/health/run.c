/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the checks side by side: one that hangs must not hide that another one is slow. */
#include <rouse/health.h>

#include <pthread.h>
#include <string.h>
#include <time.h>

#include <rouse/clock.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/mem.h>
#include <rouse/text.h>

#include "tools.h"

struct watch;

struct runner {
	struct watch *watch;
	const struct rouse_health_check *check;
	pthread_t thread;
	bool started;
	/* Written by the thread, under the lock of the watch. */
	bool passed, ended;
	unsigned tries;
	uint64_t start, end;
	char *note;
	struct rouse_err err; /* of the last try */
};

struct watch {
	pthread_mutex_t lock;
	pthread_cond_t moved; /* a try has ended */
	uint64_t deadline;
	unsigned moves;
	size_t n;
	struct runner *runners;
};

static struct runner *find(struct watch *w, const char *key)
{
	for (size_t i = 0; i < w->n; i++)
		if (rouse_streq(w->runners[i].check->key, key))
			return &w->runners[i];
	return NULL;
}

/* Those that must pass before this one: 1 all have, 0 not yet, -1 one never will; under the lock. */
static int ready(struct runner *r)
{
	const char *const *after = r->check->after.items;

	for (size_t i = 0; i < r->check->after.n; i++) {
		const struct runner *before = find(r->watch, after[i]);

		if (before && before->passed)
			continue;
		if (before && before->started && !before->ended)
			return 0;
		(void)rouse_fail(&r->err, ROUSE_SYSTEM, 0,
				 "it was not tried: check '%s' comes before it", after[i]);
		return -1;
	}
	return 1;
}

/* Waits for those before it, which all end by the deadline; false when this one need not begin. */
static bool await_turn(struct runner *r)
{
	struct watch *w = r->watch;
	int turn;

	(void)pthread_mutex_lock(&w->lock);
	while ((turn = ready(r)) == 0)
		(void)pthread_cond_wait(&w->moved, &w->lock);
	if (r->check->after.n)
		r->start = r->end = rouse_clock_ms();
	if (turn < 0) {
		r->ended = true;
		w->moves++;
		(void)pthread_cond_broadcast(&w->moved);
	}
	(void)pthread_mutex_unlock(&w->lock);
	return turn > 0;
}

/* One more try; true when it was the last one. */
static bool step(struct runner *r)
{
	struct rouse_err e = { 0 };
	char *note = NULL;
	bool passed = rouse_health_try(r->check, r->watch->deadline, &note, &e) == 0;
	bool spent = r->check->retries && r->tries >= (unsigned)r->check->retries;
	bool ended = passed || spent || rouse_clock_left(r->watch->deadline) == 0;

	(void)pthread_mutex_lock(&r->watch->lock);
	free(r->note);
	r->note = note;
	/* A try that the deadline cut short says less than the one before it. */
	if (passed || spent || !ended || r->tries == 0)
		r->err = e;
	r->tries++;
	r->passed = passed;
	r->ended = ended;
	r->end = rouse_clock_ms();
	r->watch->moves++;
	(void)pthread_cond_broadcast(&r->watch->moved);
	(void)pthread_mutex_unlock(&r->watch->lock);
	return ended;
}

static void *run(void *arg)
{
	struct runner *r = arg;
	const struct health_kind *kind = health_kind_of(r->check, NULL);
	uint64_t usual = kind ? kind->interval : ROUSE_CHECK_INTERVAL;
	uint64_t interval = r->check->interval ? r->check->interval : usual;

	if (!await_turn(r))
		return NULL;
	while (!step(r)) {
		uint64_t next = rouse_clock_ms() + interval;

		rouse_clock_sleep_until(next < r->watch->deadline ? next : r->watch->deadline);
	}
	return NULL;
}

/* "2 of 3 checks passed; web: cannot connect …"; under the lock. */
static char *summary(const struct watch *w)
{
	const struct runner *waiting = NULL;
	size_t passed = 0;

	for (size_t i = 0; i < w->n; i++) {
		if (w->runners[i].passed)
			passed++;
		else if (!waiting)
			waiting = &w->runners[i];
	}
	if (!waiting)
		return rouse_asprintf("%zu of %zu checks passed", passed, w->n);
	return rouse_asprintf("%zu of %zu checks passed; waiting for %s%s%s", passed, w->n,
			      waiting->check->key, waiting->tries ? ": " : "",
			      waiting->tries ? waiting->err.text : "");
}

static bool all_ended(const struct watch *w)
{
	for (size_t i = 0; i < w->n; i++)
		if (w->runners[i].started && !w->runners[i].ended)
			return false;
	return true;
}

/* Sleeps until all threads are done; tells when a check has moved on. */
static void attend(struct watch *w, void (*progress)(void *arg, const char *what), void *arg)
{
	auto_free char *told = NULL;

	(void)pthread_mutex_lock(&w->lock);
	for (;;) {
		unsigned seen = w->moves;
		bool ended = all_ended(w);
		auto_free char *what = summary(w);

		if (progress) {
			bool news = !told || strcmp(told, what) != 0;

			(void)pthread_mutex_unlock(&w->lock);
			progress(arg, news ? what : NULL);
			(void)pthread_mutex_lock(&w->lock);
			free(told);
			told = take(what, NULL);
		}
		if (ended)
			break;
		/* Each thread ends by the deadline and signals then: this wait is bounded by it. */
		while (w->moves == seen)
			(void)pthread_cond_wait(&w->moved, &w->lock);
	}
	(void)pthread_mutex_unlock(&w->lock);
}

static json_t *runner_json(const struct runner *r)
{
	auto_free char *what = rouse_health_describe(r->check);
	json_t *j = json_object();

	rouse_json_set_string(j, "name", r->check->key);
	rouse_json_set_string(j, "what", what);
	rouse_json_set_bool(j, "ok", r->passed);
	rouse_json_set_int(j, "tries", r->tries);
	rouse_json_set_int(j, "start", r->start);
	rouse_json_set_int(j, "end", r->end);
	rouse_json_set_string(j, "note", r->note);
	if (!r->passed)
		rouse_json_set_string(j, "error", r->err.text);
	return j;
}

static void start(struct runner *r)
{
	int error = pthread_create(&r->thread, NULL, run, r);

	if (error == 0)
		return;
	(void)rouse_fail(&r->err, ROUSE_SYSTEM, error, "cannot start a thread");
	(void)pthread_mutex_lock(&r->watch->lock);
	r->started = false;
	(void)pthread_cond_broadcast(&r->watch->moved);
	(void)pthread_mutex_unlock(&r->watch->lock);
}

json_t *rouse_health_run(const struct rouse_health *h, uint64_t deadline,
			 void (*progress)(void *arg, const char *what), void *arg, bool *ret_failed,
			 struct rouse_err *e)
{
	struct watch w = { .lock = PTHREAD_MUTEX_INITIALIZER,
			   .moved = PTHREAD_COND_INITIALIZER,
			   .deadline = deadline,
			   .n = h->checks.n };
	const struct rouse_health_check *checks = h->checks.items;
	auto_free struct runner *runners = rouse_calloc(w.n, sizeof(*runners));
	json_t *results = json_array();

	w.runners = runners;
	*ret_failed = false;
	for (size_t i = 0; i < w.n; i++)
		runners[i] = (struct runner){ .watch = &w,
					      .check = &checks[i],
					      .started = true, /* until it is known that not */
					      .start = rouse_clock_ms(),
					      .end = rouse_clock_ms() };
	for (size_t i = 0; i < w.n; i++)
		start(&runners[i]);
	attend(&w, progress, arg);
	for (size_t i = 0; i < w.n; i++) {
		struct runner *r = &runners[i];

		if (r->started)
			(void)pthread_join(r->thread, NULL);
		rouse_json_append(results, runner_json(r));
		free(r->note);
		if (r->passed || *ret_failed)
			continue;
		*ret_failed = true;
		*e = r->err;
		e->kind =
			ROUSE_SYSTEM; /* this machine is what was looked at, whatever the try met */
		(void)rouse_wrap(e, "check '%s' never passed", r->check->key);
	}
	return results;
}
