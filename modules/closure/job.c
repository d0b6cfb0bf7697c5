/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The archives in flight. Bytes go download -> decompress -> hash and parse -> staging directory in one
 * pass. Many archives are in flight at once in each thread, so that round trips overlap; room.c says how many.
 */
#include "child.h"

#include <string.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/limits.h>
#include <rouse/text.h>

#include "nar.h"
#include "nix32.h"
#include "path.h"
#include "tree.h"
#include "unpack.h"

struct job {
	struct rouse_fetch t;
	struct worker *w;
	struct rouse_path *path;
	uint32_t index;           /* of the path, in the queue */
	struct job *next, **link; /* of w->jobs, or (next alone) of w->spare */
	struct seat seat;         /* in the worker's room */
	uint64_t began;
	uint64_t got, most;          /* bytes that came: of this download, and of the longest */
	unsigned vain;               /* downloads since then, none of which came further */
	bool began_before;           /* its download begins anew */
	bool came;                   /* its first byte */
	bool refused;                /* by us: not the cache has failed */
	bool unpacked;               /* all of it, and the decoder is gone */
	bool wide;                   /* its decoder has more than was reckoned */
	struct rouse_unpack *unpack; /* while there is something to unpack; else NULL */
	struct rouse_sha256 *hash;
	struct rouse_sha256 *contents; /* of path->contents; else NULL */
	struct rouse_sha256 *file;     /* of path->file_hash; else NULL */
	uint64_t out;                  /* bytes that came out of the decoder */
	struct rouse_nar nar;
	struct rouse_tree tree;
	char *url;
};

static bool is_stopped(const struct pull *p)
{
	return __atomic_load_n(&p->stop, __ATOMIC_RELAXED);
}

static uint64_t window_of(const struct pull *p)
{
	return __atomic_load_n(&p->window, __ATOMIC_RELAXED);
}

/* --- memory beyond what is reckoned -------------------------------------------------------------- */

/* How large a window is, no signature says, and zstd has some of 128 MiB: one worker at a time has such. Until an
 * archive has more than the usual window in it, the memory was never touched. */
static bool is_wide(const struct job *j)
{
	return j->out > ROUSE_PULL_WINDOW && rouse_unpack_memory(j->unpack) > 2 * ROUSE_PULL_WINDOW;
}

static int await_wide(struct job *j, struct rouse_err *e)
{
	struct worker *w = j->w;
	struct pull *p = w->p;

	(void)pthread_mutex_lock(&p->mutex);
	while (p->wide && p->wide != w && !p->error.kind)
		(void)pthread_cond_wait(&p->changed, &p->mutex);
	j->wide = !p->error.kind;
	if (j->wide) {
		p->wide = w;
		w->n_wide++;
	}
	(void)pthread_mutex_unlock(&p->mutex);
	return j->wide ? 0 : rouse_fail(e, ROUSE_UNAVAILABLE, ECANCELED, "stopped");
}

static void leave_wide(struct job *j)
{
	struct pull *p = j->w->p;

	if (!take(j->wide, false))
		return;
	(void)pthread_mutex_lock(&p->mutex);
	if (!--j->w->n_wide)
		p->wide = NULL;
	(void)pthread_cond_broadcast(&p->changed);
	(void)pthread_mutex_unlock(&p->mutex);
}

/* --- one archive ------------------------------------------------------------------------------ */

static int take_unpacked(void *arg, const void *data, size_t n, struct rouse_err *e)
{
	struct job *j = arg;

	if (n > j->path->nar_size - j->out)
		return rouse_fail(e, ROUSE_UNTRUSTED, 0,
				  "it unpacks to more than its signed size of %llu bytes",
				  (unsigned long long)j->path->nar_size);
	j->out += n;
	if (!j->wide && is_wide(j) && await_wide(j, e) < 0)
		return -1;
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

/* For an archive that goes nowhere: what is needed to tell whether it is right. */
static int look_at_file(void *arg, const char *name, bool executable, uint64_t size unused_arg,
			struct rouse_err *e unused_arg)
{
	struct rouse_tree *t = arg;

	t->is_plain_file = !name && !executable;
	return 0;
}

static int look_at_data(void *arg, const void *data, size_t n, struct rouse_err *e unused_arg)
{
	struct rouse_tree *t = arg;

	if (t->contents)
		rouse_sha256_update(t->contents, data, n);
	return 0;
}

static const struct rouse_nar_ops look_ops = { .file = look_at_file, .data = look_at_data };

/* Is there something under its name in the staging directory? */
static bool may_be_there(const struct job *j)
{
	return j->began_before || j->path->failure ||
	       rouse_paths_find(&j->w->p->store->kept, j->path->name);
}

static void forget_output(struct job *j)
{
	__atomic_sub_fetch(&j->w->p->bytes, j->out, __ATOMIC_RELAXED);
	j->out = 0;
}

/* A decoder comes with the first byte and goes with the last: many more archives are on their way than there
 * are decoders, and a used one is quicker had, and in the processor's cache. */
static int get_decoder(struct job *j, struct rouse_err *e)
{
	struct worker *w = j->w;

	while (!j->unpack && w->n_decoders) {
		struct rouse_unpack *u = w->decoders[--w->n_decoders];

		if (rouse_unpack_compression(u) == j->path->compression && rouse_unpack_reset(u, j))
			j->unpack = u;
		else
			rouse_unpack_free(u);
	}
	if (!j->unpack)
		j->unpack = rouse_unpack_new(j->path->compression, threads_of(j), take_unpacked, j,
					     e);
	return j->unpack ? 0 : -1;
}

static void put_decoder(struct job *j)
{
	struct rouse_unpack *u = take(j->unpack, NULL);
	struct worker *w = j->w;
	uint64_t memory = u ? rouse_unpack_memory(u) : 0;

	if (memory && memory <= ROUSE_PULL_KEEP && w->n_decoders < PULL_DECODERS)
		w->decoders[w->n_decoders++] = u;
	else
		rouse_unpack_free(u);
	leave_wide(j);
}

static void count_download(struct job *j)
{
	uint64_t got = take(j->got, 0);

	if (got > j->most) {
		j->most = got;
		j->vain = 0;
	} else if (j->began_before) {
		j->vain++;
	}
}

/* Puts a job at its beginning; also when its download begins anew. */
static int job_begin(void *arg, struct rouse_err *e)
{
	struct job *j = arg;
	struct rouse_store *s = j->w->p->store;

	rouse_tree_done(&j->tree);
	if (s && may_be_there(j) && rouse_store_discard(s, j->path->name, e) < 0)
		return -1;
	forget_output(j);
	count_download(j);
	j->began_before = true;
	if (j->hash)
		rouse_sha256_reset(j->hash);
	else
		j->hash = rouse_sha256_new();
	rouse_sha256_free(take(j->contents, NULL));
	j->contents = j->path->contents ? rouse_sha256_new() : NULL;
	rouse_sha256_free(take(j->file, NULL));
	j->file = j->path->file_hash ? rouse_sha256_new() : NULL;
	rouse_tree_begin(&j->tree, s ? s->staging : -1, j->path->name);
	j->tree.contents = j->contents;
	rouse_nar_begin(&j->nar, j->path->nar_size, s ? &rouse_tree_ops : &look_ops, &j->tree);
	put_decoder(j);
	j->unpacked = false;
	return 0;
}

/* From the first bytes: how far away the cache is, and how large its windows are. The quickest tells: others
 * waited for a connection, for a server or for us. */
static void learn(struct job *j)
{
	struct worker *w = j->w;
	uint64_t took = rouse_clock_ms() - j->began, window = rouse_unpack_memory(j->unpack);

	if (!w->room.distance || took < w->room.distance)
		w->room.distance = took ? took : 1;
	if (window > window_of(w->p))
		__atomic_store_n(&w->p->window, window, __ATOMIC_RELAXED);
}

/* What would come behind the end gets a decoder of its own, and is refused as too much. */
static bool is_unpacked(struct job *j)
{
	struct rouse_err unfinished = { 0 };

	return j->path->compression == ROUSE_COMPRESSION_ZSTD && j->out == j->path->nar_size &&
	       rouse_unpack_end(j->unpack, j->w->buf, ROUSE_UNPACK_BUFFER, &unfinished) == 0;
}

/* What a line broke off has to come once more, which may take long; a beginning that comes over and over again is
 * no progress. */
static void note_progress(struct job *j, size_t n)
{
	j->got += n;
	if (j->got > j->most || j->vain < ROUSE_CACHE_TRIES)
		__atomic_store_n(&j->w->p->moved, rouse_clock_ms(), __ATOMIC_RELAXED);
}

static int receive(void *arg, const void *data, size_t n, struct rouse_err *e)
{
	struct job *j = arg;

	if (is_stopped(j->w->p))
		return rouse_fail(e, ROUSE_UNAVAILABLE, ECANCELED, "stopped");
	note_progress(j, n);
	if (j->file)
		rouse_sha256_update(j->file, data, n);
	if (get_decoder(j, e) < 0 ||
	    rouse_unpack_feed(j->unpack, data, n, j->w->buf, ROUSE_UNPACK_BUFFER, e) < 0) {
		j->refused = true;
		return -1;
	}
	if (!j->came)
		learn(j);
	j->came = true;
	j->unpacked = is_unpacked(j);
	if (j->unpacked)
		put_decoder(j);
	return 0;
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

/* What a narinfo says of the archive as it lies there, which no signature covers. */
static int check_file(struct job *j, struct rouse_err *e)
{
	uint8_t hash[ROUSE_SHA256_LEN];
	char got[ROUSE_NAR_HASH_TEXT], want[ROUSE_NAR_HASH_TEXT];

	if (j->w->p->store)
		return 0;
	if (j->path->file_size && j->got != j->path->file_size)
		return rouse_fail(
			e, ROUSE_DOCUMENT, 0,
			"it has %llu bytes, and its FileSize is %llu: correct the narinfo",
			(unsigned long long)j->got, (unsigned long long)j->path->file_size);
	if (!j->file)
		return 0;
	rouse_sha256_final(j->file, hash);
	if (memcmp(hash, j->path->file_hash, sizeof(hash)) == 0)
		return 0;
	return rouse_fail(e, ROUSE_DOCUMENT, 0,
			  "the file hashes to '%s', and its FileHash is '%s': correct the narinfo",
			  rouse_nar_hash_print(got, hash),
			  rouse_nar_hash_print(want, j->path->file_hash));
}

/* The download is complete: is it what was signed? */
static int job_check(struct job *j, struct rouse_err *e)
{
	uint8_t hash[ROUSE_SHA256_LEN];
	char got[ROUSE_NAR_HASH_TEXT], want[ROUSE_NAR_HASH_TEXT];

	if (!j->unpacked && (get_decoder(j, e) < 0 ||
			     rouse_unpack_end(j->unpack, j->w->buf, ROUSE_UNPACK_BUFFER, e) < 0))
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
	return check_contents(j, e) < 0 ? -1 : check_file(j, e);
}

/* --- what it asks and is asked while it waits ------------------------------------------------- */

static bool hold(void *arg)
{
	struct job *j = arg;

	return room_must_wait(&j->w->room, &j->seat);
}

/* A line on which nothing comes any more ends the pull, and so does whatever else ends it: one that waits for its
 * next try would never hear of it. */
static uint64_t until(void *arg)
{
	const struct pull *p = ((const struct job *)arg)->w->p;

	if (is_stopped(p))
		return 0;
	return __atomic_load_n(&p->moved, __ATOMIC_RELAXED) + ROUSE_PULL_STALL;
}

/* --- the job of a path ------------------------------------------------------------------------ */

/* A job for a path, with the hash of one that has ended, if there is one: for a small archive, making it would
 * cost more than using it. */
static struct job *job_new(struct worker *w, uint32_t index)
{
	struct job *j = w->spare;

	if (j)
		w->spare = j->next;
	else
		j = rouse_calloc(1, sizeof(*j));
	j->w = w;
	j->path = w->p->queue[index];
	j->index = index;
	room_take(&w->room, j->path, window_of(w->p), &j->seat);
	j->began = rouse_clock_ms();
	j->got = j->most = 0;
	j->vain = 0;
	j->began_before = j->came = j->refused = false;
	j->next = w->jobs;
	j->link = &w->jobs;
	if (j->next)
		j->next->link = &j->next;
	w->jobs = j;
	return j;
}

static void free_spare(struct worker *w)
{
	struct job *next;

	for (struct job *j = w->spare; j; j = next) {
		next = j->next;
		rouse_sha256_free(j->hash);
		free(j);
	}
	w->spare = NULL;
	while (w->n_decoders)
		rouse_unpack_free(w->decoders[--w->n_decoders]);
}

static void job_end(struct job *j)
{
	struct worker *w = j->w;

	*j->link = j->next;
	if (j->next)
		j->next->link = j->link;
	room_leave(&w->room, &j->seat);
	rouse_sha256_free(take(j->contents, NULL));
	rouse_sha256_free(take(j->file, NULL));
	rouse_tree_done(&j->tree);
	rouse_buf_done(&j->t.body_out);
	free(take(j->url, NULL));
	j->out = 0;
	put_decoder(j);
	j->next = w->spare;
	w->spare = j;
}

/* --- the queue -------------------------------------------------------------------------------- */

/* With the mutex held. */
static void set_error(struct pull *p, const struct rouse_err *e)
{
	if (!p->error.kind)
		p->error = *e;
	__atomic_store_n(&p->stop, true, __ATOMIC_RELAXED);
	(void)pthread_cond_broadcast(&p->changed);
}

void pull_fail(struct pull *p, const struct rouse_err *e)
{
	(void)pthread_mutex_lock(&p->mutex);
	set_error(p, e);
	(void)pthread_mutex_unlock(&p->mutex);
}

/* What a worker may start next, from the front of the queue or from its back: the small ones of a far cache are
 * nothing but waiting, and are asked for beside the large ones. With the mutex held. */
static bool find_turn(const struct worker *w, bool *ret_back)
{
	const struct pull *p = w->p;
	uint64_t window = window_of(p);

	*ret_back = false;
	if (room_has(&w->room, p->queue[p->next], window))
		return true;
	*ret_back = room_has_small(&w->room, p->queue[p->n_queue - 1], window);
	return *ret_back;
}

static bool take_turn(struct worker *w, uint32_t *ret_index)
{
	struct pull *p = w->p;
	bool found, back;

	(void)pthread_mutex_lock(&p->mutex);
	found = !p->stop && p->next < p->n_queue && find_turn(w, &back);
	if (found)
		*ret_index = (uint32_t)(back ? --p->n_queue : p->next++);
	(void)pthread_mutex_unlock(&p->mutex);
	return found;
}

static struct rouse_fetch *next_job(void *ctx)
{
	struct worker *w = ctx;
	const struct rouse_closure *c = w->p->c;
	const struct rouse_path *path;
	auto_free char *path_url = NULL;
	struct rouse_err e = { 0 };
	uint32_t index = 0;
	struct job *j;

	if (!take_turn(w, &index))
		return NULL;
	j = job_new(w, index);
	path = j->path;
	path_url = rouse_asprintf("/%s", path->url);
	j->url = rouse_fetch_url(c->spec->caches[path->base].url, path_url);
	j->t = (struct rouse_fetch){
		.url = j->url,
		.headers = c->spec->caches[path->base].headers,
		/* FileSize is nobody's word, but whoever says it must keep it. */
		.max_bytes = path->file_size ? path->file_size : rouse_narinfo_most(path->nar_size),
		.max_redirects = ROUSE_CACHE_REDIRECTS,
		.deadline = w->p->ctx->deadline,
		.max_tries = rouse_closure_has_more(c, path) ? ROUSE_CACHE_TRIES : 0,
		.sink = receive,
		.restart = job_begin,
		.hold = room_can_wait(&w->room) ? hold : NULL,
		.until = until,
		.arg = j,
		.user = j,
	};
	if (job_begin(j, &e) < 0) {
		pull_fail(w->p, &e);
		job_end(j);
		return NULL;
	}
	return &j->t;
}

/* This archive could not be had from this cache. Another may have it; if not, everything stops. */
static void note_failed(struct pull *p, struct rouse_path *path, const struct rouse_err *e)
{
	if (e->kind == ROUSE_SYSTEM || e->kind == ROUSE_BUG) {
		set_error(p, e);
	} else if (!p->store) {
		rouse_closure_problem(p->c, e);
	} else if (!rouse_closure_has_more(p->c, path)) {
		set_error(p, e);
	} else {
		path->failure = rouse_arena_alloc(&p->c->paths.arena, sizeof(*e));
		*path->failure = *e;
		p->failed[p->n_failed++] = path;
	}
}

void pull_note_failed(struct pull *p, struct rouse_path *path, const struct rouse_err *e)
{
	(void)pthread_mutex_lock(&p->mutex);
	note_failed(p, path, e);
	(void)pthread_mutex_unlock(&p->mutex);
}

static void job_failed(struct job *j, const struct rouse_err *why)
{
	struct pull *p = j->w->p;
	struct said s = { .what = SAID_FAILED, .path = j->index, .err = *why };
	char url[1024];

	if (why->kind != ROUSE_SYSTEM || !strstr(why->text, j->path->name))
		(void)rouse_wrap(&s.err, "'" ROUSE_STORE_PREFIX "%s' from '%s'", j->path->name,
				 rouse_print_url(url, sizeof(url), j->url));
	forget_output(j);
	/* Said before another thread can fail because of it: the first to be heard is the cause. */
	(void)pthread_mutex_lock(&p->mutex);
	note_failed(p, j->path, &s.err);
	child_say(p, &s);
	(void)pthread_mutex_unlock(&p->mutex);
}

static int job_done(void *ctx, struct rouse_fetch *t, struct rouse_err *e)
{
	struct worker *w = ctx;
	struct pull *p = w->p;
	struct job *j = t->user;
	struct rouse_err why = t->err;
	bool ok = t->result == 0 && job_check(j, &why) == 0;

	if (ok) {
		const struct said s = { .what = SAID_COMPLETE,
					.path = j->index,
					.took = rouse_clock_ms() - j->began };

		child_say(p, &s);
	} else {
		/* A cache that is a directory, on a disk that fails: not this machine's, while there are others. */
		if (t->result < 0 && why.kind == ROUSE_SYSTEM && !j->refused &&
		    rouse_strip_prefix(j->url, "file://") && rouse_closure_has_more(p->c, j->path))
			why.kind = ROUSE_UNAVAILABLE;
		/* What ended because of another one is no failure of its own. */
		if (!is_stopped(p))
			job_failed(j, &why);
		rouse_tree_done(&j->tree);
		/* If this fails, the whole staging directory still goes in the end. */
		if (p->store)
			(void)!rouse_store_discard(p->store, j->path->name, &why);
	}
	job_end(j);
	/* `stop` ends the other transfers of this worker, too. */
	return is_stopped(p) ? rouse_fail(e, ROUSE_UNAVAILABLE, ECANCELED, "stopped") : 0;
}

void *worker_run(void *arg)
{
	struct worker *w = arg;
	struct rouse_err e = { 0 };

	if (rouse_fetch_many(w->fetcher, w->parallel, next_job, job_done, w, &e) < 0)
		pull_fail(w->p, &e); /* unless it was stopped for a reason of its own */
	while (w->jobs)
		job_end(w->jobs);
	free_spare(w);
	(void)pthread_mutex_lock(&w->p->mutex);
	w->p->running--;
	(void)pthread_cond_broadcast(&w->p->changed);
	(void)pthread_mutex_unlock(&w->p->mutex);
	return NULL;
}
