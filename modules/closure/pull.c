/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pulling: in a confined child (child.c) a few threads, each with its own connections, take archives from
 * one queue, largest first. What is complete waits in the staging directory until all it references is
 * complete as well. Only here is anything moved into the store and registered.
 */
#include "pull.h"

#include <malloc.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>

#include <rouse/confine.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/text.h>

#include "child.h"
#include "copy.h"
#include "path.h"

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

/* Queues what failed once more, from the next cache that has the same archive. */
static int requeue_failed(struct pull *p, struct rouse_err *e)
{
	p->next = p->n_queue = 0;
	for (size_t i = 0; i < p->n_failed; i++) {
		struct rouse_path *path = p->failed[i];
		struct rouse_err first = *path->failure;

		if (rouse_closure_next_source(p->c, path, p->ctx, e) < 0) {
			/* Why it was not had where it was said to be. */
			if (!path->tried) {
				*e = first;
				return -1;
			}
			(void)rouse_fail(e, first.kind, 0, "%s; elsewhere: %s", first.text,
					 path->tried);
			e->sys = first.sys;
			return rouse_blame(e, first.fault);
		}
		p->queue[p->n_queue++] = path;
	}
	p->n_failed = 0;
	return 0;
}

/* Says once what a hostile archive would be up against. */
static void tell_confinement(const struct pull *p)
{
	struct rouse_confine_measure m = rouse_confine_measure();
	char buf[80];

	rouse_log(ROUSE_LOG_DEBUG, "closure", "archives are unpacked with %s",
		  rouse_confine_print(buf, m));
	if (!p->ctx->counters)
		return;
	rouse_json_set_int(p->ctx->counters, "confinement.landlock", m.landlock);
	rouse_json_set_int(p->ctx->counters, "confinement.seccomp", m.seccomp);
}

static int run_pull(struct pull *p, uint64_t total, struct rouse_err *e)
{
	if (p->next < p->n_queue)
		tell_confinement(p);
	while (p->next < p->n_queue)
		if (child_work(p, total, e) < 0 || requeue_failed(p, e) < 0)
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
	(void)mallopt(M_MMAP_THRESHOLD, ROUSE_PULL_HEAP);
	(void)mallopt(M_TRIM_THRESHOLD, ROUSE_PULL_HEAP);
	(void)mallopt(M_ARENA_MAX, 1);
}

static void count_pull(const struct pull *p)
{
	json_t *n = p->ctx->counters;

	p->c->fetched += p->n_finished - p->n_kept - p->c->copied;
	if (!n)
		return;
	json_object_set_new(n, "closure.fetched", json_integer((json_int_t)p->c->fetched));
	json_object_set_new(n, "closure.copied", json_integer((json_int_t)p->c->copied));
	json_object_set_new(n, "closure.downloadBytes",
			    json_integer((json_int_t)p->c->fetched_bytes));
	json_object_set_new(n, "closure.requests", json_integer((json_int_t)p->c->requests));
}

static void count_shared(const struct pull *p)
{
	if (!p->ctx->counters || !p->c->spec->deduplicate)
		return;
	rouse_json_set_int(p->ctx->counters, "closure.sharedFiles", p->c->dedup.files);
	rouse_json_set_int(p->ctx->counters, "closure.sharedBytes", p->c->dedup.bytes);
}

static int pull_all(struct pull *p, struct rouse_err *e)
{
	uint64_t total = 0;
	struct rouse_err later = { 0 };
	int r;

	if (finish_begin(p, e) < 0 || fill_queue(p, e) < 0 ||
	    rouse_closure_fits(p->c, p->ctx, NULL, e) < 0 || copy_from_other_store(p, e) < 0)
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
	count_shared(p);
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

/* Downloads archives that go nowhere, to see whether they are right. */
static int check_archives(struct rouse_closure *c, const struct rouse_context *ctx,
			  bool only_claims, struct rouse_err *e)
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

	for (size_t i = 0; i < n; i++) {
		struct rouse_path *path = c->paths.items[i];

		if (!path->known || (only_claims && !path->contents))
			continue;
		p.queue[p.n_queue++] = path;
		total += path->nar_size;
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

int rouse_closure_check(struct rouse_closure *c, const struct rouse_context *ctx,
			struct rouse_err *e)
{
	return check_archives(c, ctx, false, e);
}

int rouse_closure_check_claims(struct rouse_closure *c, const struct rouse_context *ctx,
			       struct rouse_err *e)
{
	return check_archives(c, ctx, true, e);
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
