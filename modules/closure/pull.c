/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pulling: a few threads, each with its own connections, take archives from one queue, largest first.
 * What is complete waits in the staging directory until all it references is complete as well.
 */
#include "pull.h"

#include <malloc.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/text.h>

#include "path.h"
#include "unpack.h"

static void report_progress(struct pull *p, uint64_t total)
{
	char what[64];
	size_t n;

	if (!p->ctx->progress)
		return;
	(void)pthread_mutex_lock(&p->mutex);
	n = p->n_finished;
	(void)pthread_mutex_unlock(&p->mutex);
	(void)snprintf(what, sizeof(what), "pulling the closure, %zu of %zu paths", n, p->n_queue);
	p->ctx->progress(p->ctx->progress_arg, what, __atomic_load_n(&p->bytes, __ATOMIC_RELAXED),
			 total);
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
	if (syncfs(p->store->dir) < 0 &&
	    rouse_fail(&e, ROUSE_SYSTEM, errno, "cannot write '%s' to disk", ROUSE_STORE_DIR) < 0)
		pull_fail(p, &e);
}

/* When the last byte came. */
struct moved {
	uint64_t bytes, when;
};

/* Somebody who wants it to end, or a line on which nothing comes any more. */
static void look_for_end(struct pull *p, struct moved *m)
{
	uint64_t bytes = __atomic_load_n(&p->received, __ATOMIC_RELAXED), now = rouse_clock_ms();
	struct rouse_err e = { 0 };
	char took[24];

	if (bytes != m->bytes)
		*m = (struct moved){ bytes, now };
	if (p->ctx->cancelled && *p->ctx->cancelled)
		(void)rouse_fail(&e, ROUSE_UNAVAILABLE, EINTR, "interrupted");
	else if (now - m->when > ROUSE_PULL_STALL)
		(void)rouse_fail(&e, ROUSE_UNAVAILABLE, ETIMEDOUT, "no byte has come for %s",
				 rouse_print_duration(took, now - m->when));
	if (e.kind)
		pull_fail(p, &e);
}

/* Waits until all workers have ended; tells of progress, and registers now and then, so that a power
 * cut does not cost what was pulled long before. */
static void oversee(struct pull *p, uint64_t total)
{
	uint64_t checkpoint = rouse_clock_ms() + ROUSE_PULL_CHECKPOINT;
	struct moved moved = { .when = rouse_clock_ms() };
	struct rouse_err e = { 0 };
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
		report_progress(p, total);
		look_for_end(p, &moved);
		if (!p->store)
			continue;
		flush_early(p);
		if (running && rouse_clock_ms() >= checkpoint) {
			if (finish_register(p, &e) < 0)
				pull_fail(p, &e);
			checkpoint = rouse_clock_ms() + ROUSE_PULL_CHECKPOINT;
		}
	}
}

unsigned rouse_closure_processors(const struct rouse_closure *c)
{
	cpu_set_t cpus;
	unsigned n;

	if (c->spec->jobs)
		return c->spec->jobs < ROUSE_MAX_PULL_WORKERS ? c->spec->jobs
							      : ROUSE_MAX_PULL_WORKERS;
	if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
		return 1;
	n = (unsigned)CPU_COUNT(&cpus);
	return n < ROUSE_MAX_PULL_WORKERS ? n : ROUSE_MAX_PULL_WORKERS;
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

static void count_transfers(struct pull *p, const struct rouse_fetcher *f)
{
	struct rouse_fetch_counters n = rouse_fetcher_counters(f);

	p->c->requests += n.requests;
	p->c->fetched_bytes += n.bytes;
}

/* Works off the queue once. */
static int run_workers(struct pull *p, uint64_t total, struct rouse_err *e)
{
	auto_free struct worker *workers = NULL;
	unsigned n, started = 0;
	int r = 0;

	p->queue_bytes = 0;
	for (size_t i = p->next; i < p->n_queue; i++)
		p->queue_bytes += p->queue[i]->nar_size;
	p->running = n = count_workers(p);
	workers = rouse_calloc(n, sizeof(*workers));
	for (; started < n; started++) {
		struct worker *w = &workers[started];

		w->p = p;
		w->fetcher = rouse_fetcher_clone(p->ctx->fetcher);
		w->buf = rouse_calloc(1, ROUSE_UNPACK_BUFFER);
		r = pthread_create(&w->thread, NULL, worker_run, w);
		if (r == 0)
			continue;
		(void)rouse_fail(e, ROUSE_SYSTEM, r, "cannot start a thread");
		pull_fail(p, e);
		(void)pthread_mutex_lock(&p->mutex);
		p->running -= n - started;
		(void)pthread_mutex_unlock(&p->mutex);
		rouse_fetcher_free(w->fetcher);
		free(w->buf);
		break;
	}
	oversee(p, total);
	for (unsigned i = 0; i < started; i++) {
		(void)pthread_join(workers[i].thread, NULL);
		count_transfers(p, workers[i].fetcher);
		rouse_fetcher_free(workers[i].fetcher);
		free(workers[i].buf);
	}
	if (!p->error.kind)
		return 0;
	*e = p->error;
	return -1;
}

/* Queues what failed once more, from the next cache that has the same archive. */
static int requeue_failed(struct pull *p, struct rouse_err *e)
{
	p->next = p->n_queue = 0;
	for (size_t i = 0; i < p->n_failed; i++) {
		struct rouse_path *path = p->failed[i];
		struct rouse_err first = *path->failure;

		if (rouse_closure_next_source(p->c, path, p->ctx, e) < 0) {
			*e = first; /* why it was not had where it was said to be */
			return -1;
		}
		p->queue[p->n_queue++] = path;
	}
	p->n_failed = 0;
	return 0;
}

static int run_pull(struct pull *p, uint64_t total, struct rouse_err *e)
{
	while (p->next < p->n_queue)
		if (run_workers(p, total, e) < 0 || requeue_failed(p, e) < 0)
			return -1;
	return 0;
}

static int by_size(const void *a, const void *b)
{
	const struct rouse_path *x = *(struct rouse_path *const *)a,
				*y = *(struct rouse_path *const *)b;

	return x->nar_size < y->nar_size   ? 1
	       : x->nar_size > y->nar_size ? -1
					   : strcmp(x->name, y->name);
}

/* What was resolved against the store, or without it (an initramfs has none then), is compared with
 * what is there now, with the lock held. */
static int fill_queue(struct pull *p, struct rouse_err *e)
{
	struct rouse_closure *c = p->c;

	for (size_t i = 0; i < c->paths.n; i++) {
		struct rouse_path *path = c->paths.items[i];
		const struct rouse_path *r = rouse_paths_find(&p->store->registered, path->name);
		bool valid = r && r->valid &&
			     memcmp(r->nar_hash, path->nar_hash, sizeof(r->nar_hash)) == 0;

		if (path->valid && !valid)
			return rouse_fail(e, ROUSE_UNAVAILABLE, 0,
					  "'%s%s' has left the store meanwhile; run it again",
					  ROUSE_STORE_PREFIX, path->name);
		path->valid = valid;
		if (valid)
			continue;
		if (!finish_has(p, path))
			p->queue[p->n_queue++] = path;
	}
	qsort(p->queue, p->n_queue, sizeof(struct rouse_path *), by_size);
	return 0;
}

/* Trees are a few levels deep, and each level is a descriptor; the usual limit is 1024. */
static void raise_descriptor_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur >= ROUSE_PULL_DESCRIPTORS)
		return;
	l.rlim_cur = l.rlim_max < ROUSE_PULL_DESCRIPTORS ? l.rlim_max : ROUSE_PULL_DESCRIPTORS;
	(void)setrlimit(RLIMIT_NOFILE, &l); /* without it, only very deep trees fail */
}

/* Windows and buffers come and go by the hundred. By default glibc has a heap for each thread, and
 * gives large blocks back at once: each window would be made of new pages, which the kernel clears
 * one by one. */
static void reuse_memory(void)
{
	(void)mallopt(M_MMAP_THRESHOLD, ROUSE_PULL_MEMORY);
	(void)mallopt(M_TRIM_THRESHOLD, ROUSE_PULL_MEMORY);
	(void)mallopt(M_ARENA_MAX, 1);
}

static void count_pull(const struct pull *p)
{
	json_t *n = p->ctx->counters;

	p->c->fetched += p->n_finished - p->n_kept;
	if (!n)
		return;
	json_object_set_new(n, "closure.fetched", json_integer((json_int_t)p->c->fetched));
	json_object_set_new(n, "closure.downloadBytes",
			    json_integer((json_int_t)p->c->fetched_bytes));
	json_object_set_new(n, "closure.requests", json_integer((json_int_t)p->c->requests));
}

static int pull_all(struct pull *p, struct rouse_err *e)
{
	uint64_t total = 0;
	struct rouse_err later = { 0 };
	int r;

	if (finish_begin(p, e) < 0 || fill_queue(p, e) < 0 ||
	    rouse_closure_fits(p->c, p->ctx, NULL, e) < 0)
		return -1;
	for (size_t i = 0; i < p->n_queue; i++)
		total += p->queue[i]->nar_size;
	r = run_pull(p, total, e);
	count_pull(p);
	/* After a failure, too: what is finished need not be fetched again. */
	if (finish_register(p, &later) < 0 && r == 0) {
		*e = later;
		r = -1;
	}
	finish_end(p, r < 0 && e->kind == ROUSE_UNAVAILABLE);
	for (size_t i = 0; i < p->n_registered; i++)
		p->finished[i]->valid = true;
	return r;
}

static void begin(struct pull *p)
{
	pthread_condattr_t attr;

	raise_descriptor_limit();
	reuse_memory();
	(void)pthread_mutex_init(&p->mutex, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&p->changed, &attr);
	(void)pthread_condattr_destroy(&attr);
}

static void end(struct pull *p)
{
	(void)pthread_cond_destroy(&p->changed);
	(void)pthread_mutex_destroy(&p->mutex);
}

int rouse_closure_check(struct rouse_closure *c, const struct rouse_context *ctx,
			struct rouse_err *e)
{
	size_t n = c->paths.n;
	auto_free struct rouse_path **lists = rouse_calloc(3 * n, sizeof(*lists));
	struct pull p = { .c = c,
			  .ctx = ctx,
			  .queue = lists,
			  .finished = lists + n,
			  .failed = lists + 2 * n,
			  .journal = -1,
			  .most_workers = rouse_closure_processors(c) };
	uint64_t total = 0;
	int r;

	for (size_t i = 0; i < n; i++)
		if (c->paths.items[i]->known) {
			p.queue[p.n_queue++] = c->paths.items[i];
			total += c->paths.items[i]->nar_size;
		}
	qsort(p.queue, p.n_queue, sizeof(struct rouse_path *), by_size);
	begin(&p);
	r = run_pull(&p, total, e);
	end(&p);
	count_pull(&p);
	if (r < 0 || !c->n_problems)
		return r;
	*e = c->worst;
	return -1;
}

const char *const *rouse_closure_problems(const struct rouse_closure *c, size_t *ret_n)
{
	*ret_n = c->n_problems;
	return c->problems;
}

int rouse_closure_pull(struct rouse_closure *c, const struct rouse_context *ctx,
		       struct rouse_err *e)
{
	auto_store struct rouse_store store = ROUSE_STORE_INIT;
	size_t n = c->paths.n;
	auto_free struct rouse_path **lists = rouse_calloc(3 * n, sizeof(*lists));
	struct pull p = { .c = c,
			  .ctx = ctx,
			  .store = &store,
			  .queue = lists,
			  .finished = lists + n,
			  .failed = lists + 2 * n,
			  .journal = -1,
			  .most_workers = rouse_closure_processors(c) };
	int r;

	if (!rouse_closure_measure(c).missing) {
		count_pull(&p);
		/* A run that was cut off at its very end left all, and maybe not that. */
		rouse_store_tidy(ctx->root);
		if (rouse_store_tell_first(ctx->root, ctx->deadline, e) < 0)
			rouse_log(ROUSE_LOG_WARNING, "closure", "%s, ignoring", e->text);
		return 0;
	}
	if (rouse_store_resume(&store, ctx->root, ctx->deadline, e) < 0)
		return -1;
	rouse_store_adopt(&store, ctx->deadline);
	begin(&p);
	r = pull_all(&p, e);
	end(&p);
	if (r == 0 && p.n_registered)
		r = rouse_store_tell_nix(&store, ctx->deadline, e);
	return r;
}
