/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pulling: a few threads, each with its own connections, take archives from one queue, largest
 * first. Bytes go download -> decompress -> hash and parse -> staging directory in one pass; a path is
 * moved into the store when size and hash were right. Many small archives are in flight at once in
 * each thread, so that round trips overlap; memory bounds how many large ones are.
 */
#include "graph.h"

#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/limits.h>
#include <rouse/text.h>

#include "nar.h"
#include "nix32.h"
#include "path.h"
#include "store.h"
#include "tree.h"
#include "unpack.h"

struct job;

struct pull {
	struct rouse_closure *c;
	const struct rouse_context *ctx;
	struct rouse_store *store;

	pthread_mutex_t mutex;     /* guards what follows */
	pthread_cond_t changed;    /* something ended, or memory was given back */
	struct rouse_path **queue; /* largest first; next … n_queue are to be done */
	size_t next, n_queue;
	uint64_t queue_bytes;         /* of the queue, unpacked, when the workers started */
	uint64_t memory;              /* promised to running jobs */
	struct rouse_path **finished; /* in the store; the first n_registered are registered */
	size_t n_finished, n_registered;
	struct rouse_path **failed; /* their cache could not deliver; another one may */
	size_t n_failed;
	unsigned running;       /* workers */
	unsigned most_workers;  /* as many as there are processors for; const once started */
	struct rouse_err error; /* the first fatal one; stops everything */

	uint64_t bytes;   /* unpacked so far; atomic */
	uint64_t flushed; /* … when the disk was last told to write */
	bool stop;        /* atomic copy of error.kind != 0 */
};

struct worker {
	struct pull *p;
	pthread_t thread;
	struct rouse_fetcher *fetcher;
	char *buf;        /* where decoders of this thread put their output */
	struct job *jobs; /* running */
	uint64_t memory;
};

struct job {
	struct rouse_fetch t;
	struct worker *w;
	struct rouse_path *path;
	struct job *next, **link; /* of w->jobs */
	uint64_t memory;
	struct rouse_unpack *unpack;
	struct rouse_sha256 *hash;
	struct rouse_sha256 *contents; /* of path->contents; else NULL */
	uint64_t out;                  /* bytes that came out of the decoder */
	struct rouse_nar nar;
	struct rouse_tree tree;
	char *url;
};

/* --- one archive ------------------------------------------------------------------------------ */

static int take_unpacked(void *arg, const void *data, size_t n, struct rouse_err *e)
{
	struct job *j = arg;

	if (n > j->path->nar_size - j->out)
		return rouse_fail(e, ROUSE_UNTRUSTED, 0,
				  "it unpacks to more than its signed size of %llu bytes",
				  (unsigned long long)j->path->nar_size);
	j->out += n;
	__atomic_add_fetch(&j->w->p->bytes, n, __ATOMIC_RELAXED);
	rouse_sha256_update(j->hash, data, n);
	return rouse_nar_feed(&j->nar, data, n, e);
}

/* The last large archive would keep one processor busy and leave the others idle. */
static unsigned threads_of(const struct job *j)
{
	const struct pull *p = j->w->p;

	return j->path->compression == ROUSE_COMPRESSION_XZ &&
			       j->path->nar_size >= ROUSE_PULL_XZ_THREADS &&
			       j->path->nar_size > p->queue_bytes / p->most_workers
		       ? p->most_workers
		       : 1;
}

/* Puts a job at its beginning; also when its download begins anew. */
static int job_begin(void *arg, struct rouse_err *e)
{
	struct job *j = arg;
	struct rouse_store *s = j->w->p->store;

	rouse_unpack_free(take(j->unpack, NULL));
	rouse_sha256_free(take(j->hash, NULL));
	rouse_tree_done(&j->tree);
	if (rouse_store_discard(s, j->path->name, e) < 0)
		return -1;
	__atomic_sub_fetch(&j->w->p->bytes, j->out, __ATOMIC_RELAXED);
	j->out = 0;
	j->hash = rouse_sha256_new();
	rouse_sha256_free(take(j->contents, NULL));
	j->contents = j->path->contents ? rouse_sha256_new() : NULL;
	rouse_tree_begin(&j->tree, s->staging, j->path->name);
	j->tree.contents = j->contents;
	rouse_nar_begin(&j->nar, j->path->nar_size, &rouse_tree_ops, &j->tree);
	j->unpack = rouse_unpack_new(j->path->compression, threads_of(j), take_unpacked, j, e);
	return j->unpack ? 0 : -1;
}

static int receive(void *arg, const void *data, size_t n, struct rouse_err *e)
{
	struct job *j = arg;

	if (__atomic_load_n(&j->w->p->stop, __ATOMIC_RELAXED))
		return rouse_fail(e, ROUSE_UNAVAILABLE, ECANCELED, "stopped");
	return rouse_unpack_feed(j->unpack, data, n, j->w->buf, ROUSE_UNPACK_BUFFER, e);
}

/* Is the one file of the archive what the name of the path says? */
static int check_contents(struct job *j, struct rouse_err *e)
{
	uint8_t hash[ROUSE_SHA256_LEN];

	if (!j->contents)
		return 0;
	rouse_sha256_final(j->contents, hash);
	if (j->tree.is_plain_file && memcmp(hash, j->path->contents, sizeof(hash)) == 0)
		return 0;
	return rouse_fail(e, ROUSE_UNTRUSTED, 0, "its content is not what its name says");
}

/* The download is complete: is it what was signed? */
static int job_check(struct job *j, struct rouse_err *e)
{
	uint8_t hash[ROUSE_SHA256_LEN];
	char got[ROUSE_NAR_HASH_TEXT], want[ROUSE_NAR_HASH_TEXT];

	if (rouse_unpack_end(j->unpack, j->w->buf, ROUSE_UNPACK_BUFFER, e) < 0)
		return -1;
	if (j->out != j->path->nar_size)
		return rouse_fail(
			e, ROUSE_UNTRUSTED, 0, "it unpacks to %llu bytes, and %llu are signed",
			(unsigned long long)j->out, (unsigned long long)j->path->nar_size);
	if (rouse_nar_end(&j->nar, e) < 0)
		return -1;
	rouse_sha256_final(j->hash, hash);
	if (memcmp(hash, j->path->nar_hash, sizeof(hash)) != 0)
		return rouse_fail(e, ROUSE_UNTRUSTED, 0, "it hashes to '%s', and '%s' is signed",
				  rouse_nar_hash_print(got, hash),
				  rouse_nar_hash_print(want, j->path->nar_hash));
	return check_contents(j, e);
}

static void job_free(struct job *j)
{
	struct pull *p = j->w->p;

	*j->link = j->next;
	if (j->next)
		j->next->link = j->link;
	j->w->memory -= j->memory;
	(void)pthread_mutex_lock(&p->mutex);
	p->memory -= j->memory;
	(void)pthread_cond_broadcast(&p->changed);
	(void)pthread_mutex_unlock(&p->mutex);
	rouse_unpack_free(j->unpack);
	rouse_sha256_free(j->hash);
	rouse_sha256_free(j->contents);
	rouse_tree_done(&j->tree);
	rouse_buf_done(&j->t.body_out);
	free(j->url);
	free(j);
}

/* --- the queue -------------------------------------------------------------------------------- */

static void set_error(struct pull *p, const struct rouse_err *e)
{
	if (!p->error.kind)
		p->error = *e;
	__atomic_store_n(&p->stop, true, __ATOMIC_RELAXED);
	(void)pthread_cond_broadcast(&p->changed);
}

static void fail_pull(struct pull *p, const struct rouse_err *e)
{
	(void)pthread_mutex_lock(&p->mutex);
	set_error(p, e);
	(void)pthread_mutex_unlock(&p->mutex);
}

static uint64_t memory_of(const struct rouse_path *path)
{
	if (path->compression == ROUSE_COMPRESSION_NONE)
		return ROUSE_PULL_JOB;
	return ROUSE_PULL_JOB +
	       (path->nar_size < ROUSE_PULL_WINDOW ? path->nar_size : ROUSE_PULL_WINDOW);
}

/* May the worker start the next job? One is always allowed. With the mutex held. */
static bool is_room(const struct pull *p, const struct worker *w)
{
	uint64_t memory = memory_of(p->queue[p->next]);

	if (w->memory && w->memory + memory > ROUSE_PULL_SHARE)
		return false;
	return !p->memory || p->memory + memory <= ROUSE_PULL_MEMORY;
}

static struct rouse_path *take_path(struct worker *w, uint64_t *ret_memory)
{
	struct pull *p = w->p;
	struct rouse_path *path = NULL;

	(void)pthread_mutex_lock(&p->mutex);
	if (!p->stop && p->next < p->n_queue && is_room(p, w)) {
		path = p->queue[p->next++];
		*ret_memory = memory_of(path);
		p->memory += *ret_memory;
		w->memory += *ret_memory;
	}
	(void)pthread_mutex_unlock(&p->mutex);
	return path;
}

static struct rouse_fetch *next_job(void *ctx)
{
	struct worker *w = ctx;
	const struct rouse_closure *c = w->p->c;
	uint64_t memory = 0;
	struct rouse_path *path = take_path(w, &memory);
	auto_free char *path_url = NULL;
	struct rouse_err e = { 0 };
	struct job *j;

	if (!path)
		return NULL;
	j = rouse_calloc(1, sizeof(*j));
	j->w = w;
	j->path = path;
	j->memory = memory;
	j->next = w->jobs;
	j->link = &w->jobs;
	if (j->next)
		j->next->link = &j->next;
	w->jobs = j;
	path_url = rouse_asprintf("/%s", path->url);
	j->url = rouse_fetch_url(c->spec->caches[path->base].url, path_url);
	j->t = (struct rouse_fetch){
		.url = j->url,
		/* FileSize is nobody's word, but whoever says it must keep it. */
		.max_bytes = path->file_size ? path->file_size : rouse_narinfo_most(path->nar_size),
		.max_redirects = ROUSE_CACHE_REDIRECTS,
		.deadline = w->p->ctx->deadline,
		.max_tries = rouse_closure_has_more(c, path) ? ROUSE_CACHE_TRIES : 0,
		.sink = receive,
		.restart = job_begin,
		.arg = j,
		.user = j,
	};
	if (job_begin(j, &e) < 0) {
		fail_pull(w->p, &e);
		job_free(j);
		return NULL;
	}
	return &j->t;
}

/* The archive could not be had from this cache. Another may have it; if not, everything stops. */
static void job_failed(struct job *j, const struct rouse_err *why)
{
	struct pull *p = j->w->p;
	struct rouse_err e = *why;
	char url[1024];

	if (e.kind != ROUSE_SYSTEM || !strstr(e.text, j->path->name))
		(void)rouse_wrap(&e, "'" ROUSE_STORE_PREFIX "%s' from '%s'", j->path->name,
				 rouse_print_url(url, sizeof(url), j->url));
	__atomic_sub_fetch(&p->bytes, j->out, __ATOMIC_RELAXED);
	(void)pthread_mutex_lock(&p->mutex);
	if (e.kind == ROUSE_SYSTEM || e.kind == ROUSE_BUG || e.sys == ECANCELED ||
	    !rouse_closure_has_more(p->c, j->path)) {
		set_error(p, &e);
	} else {
		j->path->failure = rouse_arena_alloc(&p->c->paths.arena, sizeof(e));
		*j->path->failure = e;
		p->failed[p->n_failed++] = j->path;
	}
	(void)pthread_mutex_unlock(&p->mutex);
}

static int job_done(void *ctx, struct rouse_fetch *t, struct rouse_err *e)
{
	struct worker *w = ctx;
	struct pull *p = w->p;
	struct job *j = t->user;
	struct rouse_err why = t->err;
	bool ok = t->result == 0 && job_check(j, &why) == 0 &&
		  rouse_store_publish(p->store, j->path->name, &why) == 0;

	if (ok) {
		(void)pthread_mutex_lock(&p->mutex);
		p->finished[p->n_finished++] = j->path;
		(void)pthread_mutex_unlock(&p->mutex);
	} else {
		job_failed(j, &why);
		rouse_tree_done(&j->tree);
		/* If this fails, the whole staging directory still goes in the end. */
		(void)!rouse_store_discard(p->store, j->path->name, &why);
	}
	job_free(j);
	/* `stop` ends the other transfers of this worker, too. */
	return __atomic_load_n(&p->stop, __ATOMIC_RELAXED)
		       ? rouse_fail(e, ROUSE_UNAVAILABLE, ECANCELED, "stopped")
		       : 0;
}

static bool wait_for_room(struct worker *w)
{
	struct pull *p = w->p;
	bool more;

	(void)pthread_mutex_lock(&p->mutex);
	while (!p->stop && p->next < p->n_queue && !is_room(p, w))
		(void)pthread_cond_wait(&p->changed, &p->mutex);
	more = !p->stop && p->next < p->n_queue;
	(void)pthread_mutex_unlock(&p->mutex);
	return more;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct rouse_err e = { 0 };

	while (wait_for_room(w))
		if (rouse_fetch_many(w->fetcher, ROUSE_PULL_PARALLEL, next_job, job_done, w, &e) <
		    0) {
			fail_pull(w->p, &e); /* unless it was stopped for a reason of its own */
			break;
		}
	while (w->jobs)
		job_free(w->jobs);
	(void)pthread_mutex_lock(&w->p->mutex);
	w->p->running--;
	(void)pthread_cond_broadcast(&w->p->changed);
	(void)pthread_mutex_unlock(&w->p->mutex);
	return NULL;
}

/* --- the whole -------------------------------------------------------------------------------- */

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

/* Registers what has been finished since the last time; workers go on meanwhile. */
static int register_finished(struct pull *p, struct rouse_err *e)
{
	size_t n;

	(void)pthread_mutex_lock(&p->mutex);
	n = p->n_finished;
	(void)pthread_mutex_unlock(&p->mutex);
	if (n == p->n_registered)
		return 0;
	if (rouse_store_register(p->store, p->finished + p->n_registered, n - p->n_registered, e) <
	    0)
		return -1;
	p->n_registered = n;
	return 0;
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
		fail_pull(p, &e);
}

/* Waits until all workers have ended; tells of progress, and registers now and then, so that a power
 * cut does not cost what was pulled long before. */
static void oversee(struct pull *p, uint64_t total)
{
	uint64_t checkpoint = rouse_clock_ms() + ROUSE_PULL_CHECKPOINT;
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
		flush_early(p);
		if (running && rouse_clock_ms() >= checkpoint) {
			if (register_finished(p, &e) < 0)
				fail_pull(p, &e);
			checkpoint = rouse_clock_ms() + ROUSE_PULL_CHECKPOINT;
		}
	}
}

static unsigned count_processors(void)
{
	cpu_set_t cpus;
	unsigned n;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
		return 1;
	n = (unsigned)CPU_COUNT(&cpus);
	return n < ROUSE_MAX_PULL_WORKERS ? n : ROUSE_MAX_PULL_WORKERS;
}

/* A thread beyond the first costs more than it gains until there is much to do: each page that one
 * of them gives back interrupts the processors of the others. */
static unsigned count_workers(const struct pull *p)
{
	uint64_t most = p->most_workers, wanted = 1 + p->queue_bytes / ROUSE_PULL_WORTH;

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
		r = pthread_create(&w->thread, NULL, work, w);
		if (r == 0)
			continue;
		(void)rouse_fail(e, ROUSE_SYSTEM, r, "cannot start a thread");
		fail_pull(p, e);
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
		if (!valid)
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

	p->c->fetched += p->n_finished;
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

	if (fill_queue(p, e) < 0 || rouse_closure_fits(p->c, p->ctx, NULL, e) < 0)
		return -1;
	for (size_t i = 0; i < p->n_queue; i++)
		total += p->queue[i]->nar_size;
	r = run_pull(p, total, e);
	count_pull(p);
	/* After a failure, too: what is finished need not be fetched again. */
	if (register_finished(p, &later) < 0 && r == 0) {
		*e = later;
		return -1;
	}
	for (size_t i = 0; i < p->n_registered; i++)
		p->finished[i]->valid = true;
	return r;
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
			  .most_workers = count_processors() };
	pthread_condattr_t attr;
	int r;

	if (!rouse_closure_measure(c).missing) {
		count_pull(&p);
		return 0;
	}
	if (rouse_store_open(&store, ctx->root, ctx->deadline, e) < 0)
		return -1;
	rouse_store_adopt(&store, ctx->deadline);
	raise_descriptor_limit();
	reuse_memory();
	(void)pthread_mutex_init(&p.mutex, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&p.changed, &attr);
	r = pull_all(&p, e);
	(void)pthread_cond_destroy(&p.changed);
	(void)pthread_condattr_destroy(&attr);
	(void)pthread_mutex_destroy(&p.mutex);
	if (r == 0 && p.n_registered)
		r = rouse_store_tell_nix(&store, ctx->deadline, e);
	return r;
}
