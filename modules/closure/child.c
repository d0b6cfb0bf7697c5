/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The child in which bytes from caches are received, decompressed and unpacked into the staging directory.
 * It is confined before the first of them comes. Of the store and of what is registered it has nothing:
 * what it says is heard by listen.c, in the parent, which keeps the books.
 */
#include "child.h"

#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <rouse/clock.h>
#include <rouse/confine.h>
#include <rouse/fetch.h>
#include <rouse/limits.h>
#include <rouse/text.h>

#include "path.h"
#include "unpack.h"

void child_say(const struct pull *p, const struct said *what)
{
	bool whole = what->what == SAID_FAILED || what->what == SAID_END;
	size_t n = whole ? sizeof(*what) : offsetof(struct said, err);

	/* Without a parent there is no child. */
	if (send(p->tell, what, n, MSG_NOSIGNAL) != (ssize_t)n)
		_exit(ROUSE_SYSTEM);
}

/* Disk and processors work side by side: what is written while the rest still comes need not be waited
 * for at the end. */
static void flush_early(struct pull *p)
{
	uint64_t bytes = __atomic_load_n(&p->bytes, __ATOMIC_RELAXED);
	struct rouse_err e = { 0 };

	if (bytes < p->flushed + ROUSE_PULL_FLUSH)
		return;
	p->flushed = bytes;
	/* An error is told once, so that this one is not the last one's. */
	if (syncfs(p->store->staging) < 0 &&
	    rouse_fail(&e, ROUSE_SYSTEM, errno, "cannot write '%s' to disk", ROUSE_STORE_DIR) < 0)
		pull_fail(p, &e);
}

/* The parent wants it to end. */
static void look_for_end(struct pull *p)
{
	struct rouse_err e = { 0 };

	if (rouse_confine_ended() && rouse_fail(&e, ROUSE_UNAVAILABLE, EINTR, "interrupted") < 0)
		pull_fail(p, &e);
}

static void say_progress(const struct pull *p)
{
	const struct said s = { .what = SAID_PROGRESS,
				.bytes = __atomic_load_n(&p->bytes, __ATOMIC_RELAXED) };

	child_say(p, &s);
}

/* Waits until all workers have ended. */
static void oversee(struct pull *p)
{
	bool running = true;

	while (running) {
		struct timespec until = { 0 };

		(void)clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += ROUSE_PULL_TICK * 1000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_nsec -= 1000000000;
			until.tv_sec++;
		}
		(void)pthread_mutex_lock(&p->mutex);
		while (p->running &&
		       pthread_cond_timedwait(&p->changed, &p->mutex, &until) != ETIMEDOUT)
			;
		running = p->running > 0;
		(void)pthread_mutex_unlock(&p->mutex);
		say_progress(p);
		look_for_end(p);
		if (p->store)
			flush_early(p);
	}
}

/* A thread beyond the first costs more than it gains until there is much to do: each page that one
 * of them gives back interrupts the processors of the others. */
static unsigned count_workers(const struct pull *p)
{
	uint64_t most = p->most_workers, wanted;

	/* A path costs as much as some of its bytes, however small it is. */
	wanted = 1 + (p->queue_bytes + (p->n_queue - p->next) * ROUSE_PULL_PATH) / ROUSE_PULL_WORTH;
	if (p->n_queue - p->next < most)
		most = p->n_queue - p->next;
	return (unsigned)(wanted < most ? wanted : most);
}

static void run_workers(struct pull *p, struct said *end)
{
	unsigned n = count_workers(p), started = 0;
	auto_free struct worker *workers = rouse_calloc(n, sizeof(*workers));

	p->running = n;
	p->moved = rouse_clock_ms();
	for (; started < n; started++) {
		struct worker *w = &workers[started];
		int r;

		w->p = p;
		w->room.distance = p->c->distance;
		w->parallel = ROUSE_PULL_PARALLEL_FAR / n;
		if (w->parallel > 2 * ROUSE_PULL_PARALLEL)
			w->parallel = 2 * ROUSE_PULL_PARALLEL;
		w->fetcher = rouse_fetcher_clone(p->ctx->fetcher);
		w->buf = rouse_calloc(1, ROUSE_UNPACK_BUFFER);
		r = pthread_create(&w->thread, NULL, worker_run, w);
		if (r == 0)
			continue;
		(void)rouse_fail(&end->err, ROUSE_SYSTEM, r, "cannot start a thread");
		pull_fail(p, &end->err);
		(void)pthread_mutex_lock(&p->mutex);
		p->running -= n - started;
		(void)pthread_mutex_unlock(&p->mutex);
		break;
	}
	oversee(p);
	for (unsigned i = 0; i < started; i++) {
		struct rouse_fetch_counters c;

		(void)pthread_join(workers[i].thread, NULL);
		c = rouse_fetcher_counters(workers[i].fetcher);
		end->requests += c.requests;
		end->bytes += c.bytes;
	}
	end->err = p->error;
}

/* What may be read beside what every transfer needs: certificates, and caches that are directories. */
static size_t list_readable(const struct pull *p, const char **list)
{
	const struct rouse_closure_spec *spec = p->c->spec;
	size_t n = 0;

	if ((list[n] = rouse_fetcher_ca_file(p->ctx->fetcher)))
		n++;
	for (size_t i = 0; i < spec->n_caches; i++)
		if ((list[n] = rouse_fetch_file(spec->caches[i].url)))
			n++;
	return n;
}

static int confine(const struct pull *p, struct rouse_err *e)
{
	const char *read[ROUSE_MAX_CACHES + 1];
	const int keep[] = { p->tell, p->store ? p->store->lock : -1 };
	const struct rouse_confinement c = {
		.keep = keep,
		.n_keep = ARRAY_SIZE(keep),
		.write = p->store ? p->store->staging : -1,
		.read = read,
		.n_read = list_readable(p, read),
	};

	return rouse_confine(&c, e);
}

_Noreturn void child_run(struct pull *p)
{
	struct said end = { .what = SAID_END };

	rouse_fetcher_forget(p->ctx->fetcher);
	if (confine(p, &end.err) == 0)
		run_workers(p, &end);
	child_say(p, &end);
	_exit(0);
}
