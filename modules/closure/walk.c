/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk over a closure, breadth first: the narinfo of every path that no store and no manifest tells of,
 * with many requests in flight, while a second thread checks what has come.
 */
#include "graph.h"

#include <string.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/text.h>

#include "answer.h"
#include "checker.h"
#include "path.h"
#include "pinned.h"

/* A walk: paths that wait for their narinfo, breadth first. */
struct ask;
struct walk {
	struct rouse_closure *c;
	const struct rouse_context *ctx;
	const struct rouse_paths *registered;
	size_t next;               /* of c->paths: what comes behind was not looked at yet */
	struct rouse_path **again; /* to be asked for in their next cache */
	size_t n_again, size_again;
	struct ask *asks; /* on their way, or being checked */
	size_t in_flight, answered;
	struct rouse_checker checker;
	struct rouse_err failure; /* of next_ask(), which cannot return one */
};

/* One request on its way. */
struct ask {
	struct rouse_fetch t;
	struct rouse_answer answer;
	struct walk *w;
	struct ask *next, **link; /* of w->asks */
	struct rouse_path *path;  /* NULL: the cache's nix-cache-info */
	unsigned cache;
	uint64_t began; /* CLOCK_BOOTTIME, ms */
	char *url;
};

static bool has_more_caches(const struct rouse_closure *c, const struct rouse_path *p)
{
	for (size_t i = p->cache + 1; i < c->spec->n_caches; i++)
		if (!c->caches[i].down)
			return true;
	return false;
}

static bool has_caches(const struct rouse_closure *c)
{
	for (size_t i = 0; i < c->spec->n_caches; i++)
		if (!c->caches[i].down)
			return true;
	return false;
}

static void queue_again(struct walk *w, struct rouse_path *p)
{
	if (w->n_again == w->size_again) {
		w->size_again = w->size_again ? 2 * w->size_again : 64;
		w->again = rouse_realloc(w->again, w->size_again, sizeof(struct rouse_path *));
	}
	w->again[w->n_again++] = p;
}

/* Adds what a verified path references. */
static int follow(struct walk *w, const struct rouse_path *p, struct rouse_err *e)
{
	w->c->bytes += p->nar_size;
	if (w->c->bytes > ROUSE_MAX_CLOSURE_SIZE)
		return rouse_fail(e, ROUSE_DOCUMENT, EFBIG, "the closure is larger than %llu GiB",
				  (unsigned long long)(ROUSE_MAX_CLOSURE_SIZE / GIB));
	for (size_t i = 0; i < p->n_references; i++)
		(void)rouse_paths_add(&w->c->paths, p->references[i]);
	if (w->c->paths.n > ROUSE_MAX_CLOSURE_PATHS)
		return rouse_fail(e, ROUSE_DOCUMENT, EFBIG, "the closure has more than %d paths",
				  ROUSE_MAX_CLOSURE_PATHS);
	return 0;
}

/* Is it in the store already, in the wanted form? Then nobody needs to be asked. */
static bool take_registered(struct walk *w, struct rouse_path *p)
{
	const struct rouse_path *r = rouse_paths_find(w->registered, p->name);

	const struct rouse_path *pinned = rouse_paths_find(&w->c->pinned, p->name);

	if (!r || !r->valid || !rouse_answer_is_pinned(w->c, p->name, r->nar_hash) ||
	    (pinned && memcmp(pinned->nar_hash, r->nar_hash, sizeof(r->nar_hash)) != 0))
		return false;
	rouse_path_copy(&w->c->paths, p, r);
	p->valid = true;
	return true;
}

/* Does a manifest say what it is? */
static bool take_pinned(struct walk *w, struct rouse_path *p)
{
	const struct rouse_path *from = rouse_paths_find(&w->c->pinned, p->name);

	if (!from)
		return false;
	rouse_path_copy(&w->c->paths, p, from);
	p->pinned = p->exact = true;
	p->url = rouse_arena_strdup(&w->c->paths.arena, from->url);
	p->compression = from->compression;
	p->file_size = from->file_size;
	p->cache = p->base = from->cache;
	return true;
}

/* Takes what nobody needs to be asked for. */
static int take_known(struct walk *w, struct rouse_err *e)
{
	while (w->next < w->c->paths.n) {
		struct rouse_path *p = w->c->paths.items[w->next];

		if (!take_registered(w, p) && !take_pinned(w, p))
			return 0;
		w->next++;
		if (follow(w, p, e) < 0)
			return -1;
	}
	return 0;
}

uint64_t rouse_closure_soon(const struct rouse_context *ctx)
{
	uint64_t soon = rouse_clock_ms() + ROUSE_PULL_STALL;

	return soon < ctx->deadline ? soon : ctx->deadline;
}

static struct rouse_fetch *new_ask(struct walk *w, unsigned cache, struct rouse_path *p)
{
	const struct rouse_cache *from = &w->c->spec->caches[cache];
	struct ask *a = rouse_calloc(1, sizeof(*a));
	auto_free char *more = p ? rouse_asprintf("/%.*s.narinfo", ROUSE_HASH_PART, p->name)
				 : rouse_strdup("/nix-cache-info");

	a->url = rouse_fetch_url(from->url, more);
	a->w = w;
	a->path = p;
	a->cache = cache;
	a->began = rouse_clock_ms();
	a->t = (struct rouse_fetch){
		.url = a->url,
		.headers = from->headers,
		.max_bytes = p ? ROUSE_MAX_NARINFO : ROUSE_MAX_METADATA,
		.max_redirects = ROUSE_CACHE_REDIRECTS,
		.deadline = rouse_closure_soon(w->ctx),
		/* The last resort is asked for as long as there is time; others a few times. */
		.max_tries = !p || has_more_caches(w->c, p) ? ROUSE_CACHE_TRIES : 0,
		.user = a,
	};
	a->next = w->asks;
	a->link = &w->asks;
	if (a->next)
		a->next->link = &a->next;
	w->asks = a;
	w->in_flight++;
	w->c->requests++;
	w->c->caches[cache].wanted = true;
	return &a->t;
}

static void ask_free(struct ask *a)
{
	*a->link = a->next;
	if (a->next)
		a->next->link = a->link;
	rouse_buf_done(&a->t.body_out);
	rouse_answer_done(&a->answer);
	free(a->url);
	free(a);
}

/* The next cache that is not down; the last one is asked even then. */
static void skip_down(const struct rouse_closure *c, struct rouse_path *p)
{
	while (c->caches[p->cache].down && has_more_caches(c, p))
		p->cache++;
}

static struct rouse_fetch *ask_path(struct walk *w, struct rouse_path *p)
{
	skip_down(w->c, p);
	return new_ask(w, p->cache, p);
}

/* How bad a failure is when several caches failed in different ways. */
static int rank(const struct rouse_err *e)
{
	if (e->kind == ROUSE_UNTRUSTED)
		return 3;
	if (e->kind == ROUSE_UNAVAILABLE)
		return 2;
	/* A bucket that may not be listed says 403 for what is not there. */
	return e->sys == ENOENT || e->sys == EACCES ? 0 : 1;
}

void rouse_closure_problem(struct rouse_closure *c, const struct rouse_err *e)
{
	if (!(c->n_problems & (c->n_problems + 1))) /* the list is full at 0, 1, 3, 7… */
		c->problems = rouse_realloc(c->problems, 2 * c->n_problems + 1, sizeof(char *));
	c->problems[c->n_problems++] = rouse_arena_strdup(&c->paths.arena, e->text);
	if (!c->worst.kind || rank(e) > rank(&c->worst))
		c->worst = *e;
}

static int say_nowhere(const struct walk *w, const struct rouse_path *p, struct rouse_err *e)
{
	if (rank(p->failure) == 0)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "'%s%s' is in none of the caches: %s",
				  ROUSE_STORE_PREFIX, p->name, p->tried);
	*e = *p->failure;
	if (w->c->spec->n_caches > 1)
		return rouse_wrap(e, "'%s%s' cannot be had from %s", ROUSE_STORE_PREFIX, p->name,
				  p->tried);
	return strstr(e->text, p->name) ? -1 : rouse_wrap(e, "'%s%s'", ROUSE_STORE_PREFIX, p->name);
}

static int nowhere(struct walk *w, const struct rouse_path *p, struct rouse_err *e)
{
	(void)say_nowhere(w, p, e);
	if (!w->c->spec->all_problems)
		return -1;
	rouse_closure_problem(w->c, e);
	return 0;
}

/* Why a cache was of no use. */
static const char *failure_word(const struct rouse_cache *cache, const struct rouse_err *why)
{
	auto_free char *directory = NULL;

	if (why->kind == ROUSE_UNTRUSTED)
		return "untrusted";
	if (why->kind == ROUSE_UNAVAILABLE)
		return "not reachable";
	if (why->kind == ROUSE_SYSTEM)
		return "not readable";
	if (why->sys == EACCES)
		return "access denied";
	if (why->sys != ENOENT)
		return "refused";
	directory = rouse_fetch_file(cache->url);
	return directory && access(directory, F_OK) < 0 ? "no such directory" : "not there";
}

/* A cache that is a directory, maybe on a disk that is failing, while there are others. */
static bool is_others_disk(const struct walk *w, const struct rouse_path *p)
{
	return has_more_caches(w->c, p) &&
	       rouse_strip_prefix(w->c->spec->caches[p->cache].url, "file://");
}

/* This cache does not have it: the next one, or the end. */
static int take_failure(struct walk *w, struct rouse_path *p, const struct rouse_err *why,
			struct rouse_err *e)
{
	struct rouse_arena *arena = &w->c->paths.arena;
	const struct rouse_cache *cache = &w->c->spec->caches[p->cache];
	struct rouse_cache_state *state = &w->c->caches[p->cache];
	char url[256];

	if (why->kind == ROUSE_BUG || (why->kind == ROUSE_SYSTEM && !is_others_disk(w, p))) {
		*e = *why;
		return -1;
	}
	p->tried = rouse_arena_printf(
		arena, "%s%s'%s' (%s)", p->tried ? p->tried : "", p->tried ? ", " : "",
		rouse_print_url(url, sizeof(url), cache->url), failure_word(cache, why));
	if (!p->failure || rank(why) > rank(p->failure)) {
		p->failure = rouse_arena_alloc(arena, sizeof(*p->failure));
		*p->failure = *why;
	}
	if (why->kind == ROUSE_UNAVAILABLE && ++state->failures >= ROUSE_CACHE_TRIES)
		state->down = true;
	if (!has_more_caches(w->c, p))
		return nowhere(w, p, e);
	p->cache++;
	queue_again(w, p);
	return 0;
}

/* Nobody vouches for these references; but what is wrong behind them is to be named as well. */
static void look_behind(struct walk *w, const struct rouse_answer *a)
{
	for (size_t i = 0; i < a->info.n_references; i++)
		if (w->c->paths.n < ROUSE_MAX_CLOSURE_PATHS)
			(void)rouse_paths_add(&w->c->paths, a->info.references[i]);
}

static int take_narinfo(struct ask *a, struct rouse_err *e)
{
	struct walk *w = a->w;
	struct rouse_path *p = a->path;
	struct rouse_err why = { 0 };
	bool again = p->known; /* asked for another source of the same archive */

	if (rouse_answer_take(w->c, p, &a->answer, &why) < 0) {
		if (w->c->spec->all_problems && a->answer.result != ROUSE_ANSWER_WRONG &&
		    !has_more_caches(w->c, p))
			look_behind(w, &a->answer);
		return take_failure(w, p, &why, e);
	}
	w->c->caches[p->cache].failures = 0;
	return again ? 0 : follow(w, p, e);
}

static int take_greeting(struct ask *a, struct rouse_err *e)
{
	struct rouse_cache_state *state = &a->w->c->caches[a->cache];

	if (a->t.result == 0) {
		if (rouse_answer_info(&a->w->c->spec->caches[a->cache], &a->t.body_out, e) == 0)
			return 0;
		state->down = true;
		if (!has_caches(a->w->c))
			return -1;
		rouse_log(ROUSE_LOG_WARNING, "closure", "%s, ignoring that cache", e->text);
		*e = (struct rouse_err){ 0 };
		return 0;
	}
	/* A cache without this file may still have the paths; one that is away has none. */
	if (a->t.err.kind == ROUSE_UNAVAILABLE || a->t.err.kind == ROUSE_UNTRUSTED)
		state->down = true;
	return 0;
}

/* An ask has come to its end, whatever it was. */
static int settle(struct ask *a, int r)
{
	struct walk *w = a->w;

	if (r == 0 && a->path && w->ctx->progress) {
		char text[80];

		(void)snprintf(text, sizeof(text), "resolving the closure: %zu of %zu paths",
			       ++w->answered, w->c->paths.n);
		w->ctx->progress(w->ctx->progress_arg, text, 0, 0);
	}
	ask_free(a);
	return r;
}

static void give_answer(struct ask *a)
{
	a->answer.spec = a->w->c->spec;
	a->answer.url = a->url;
	a->answer.name = a->path->name;
	a->answer.cache = a->path->cache;
	a->answer.text = take(a->t.body_out, (struct rouse_buf){ 0 });
	rouse_checker_give(&a->w->checker, &a->answer);
}

static bool has_to_ask(const struct walk *w)
{
	return w->n_again || w->next < w->c->paths.n;
}

/* Takes what has been checked. When nothing else can be done, waits for it. */
static int take_checked(struct walk *w, struct rouse_err *e)
{
	struct rouse_answer *answer;

	while ((answer = rouse_checker_take(&w->checker, !w->in_flight && !has_to_ask(w)))) {
		struct ask *a = (void *)((char *)answer - offsetof(struct ask, answer));

		if (settle(a, take_narinfo(a, e)) < 0)
			return -1;
	}
	return 0;
}

static void learn_distance(struct rouse_closure *c, const struct ask *a)
{
	uint64_t took = rouse_clock_ms() - a->began;

	if (!c->distance || took < c->distance)
		c->distance = took ? took : 1;
}

static int ask_done(void *ctx, struct rouse_fetch *t, struct rouse_err *e)
{
	struct walk *w = ctx;
	struct ask *a = t->user;
	int r = 0;

	w->in_flight--;
	if (t->result == 0)
		learn_distance(w->c, a);
	if (w->failure.kind) {
		*e = w->failure;
		return -1;
	}
	if (!a->path)
		r = settle(a, take_greeting(a, e));
	else if (t->result < 0)
		r = settle(a, take_failure(w, a->path, &t->err, e));
	else
		give_answer(a);
	return r < 0 ? -1 : take_checked(w, e);
}

static struct rouse_fetch *next_ask(void *ctx)
{
	struct walk *w = ctx;

	if (w->failure.kind || take_checked(w, &w->failure) < 0)
		return NULL;
	if (w->in_flight >= ROUSE_WALK_CONNECTIONS && w->c->distance < ROUSE_CACHE_FAR)
		return NULL;
	for (unsigned i = 0; i < w->c->spec->n_caches; i++)
		if (w->c->caches[i].wanted && !w->c->caches[i].greeted) {
			w->c->caches[i].greeted = true;
			return new_ask(w, i, NULL);
		}
	do {
		if (w->n_again)
			return ask_path(w, w->again[--w->n_again]);
		if (take_known(w, &w->failure) < 0)
			return NULL;
		if (w->next < w->c->paths.n)
			return ask_path(w, w->c->paths.items[w->next++]);
		/* The last word, when nothing is on its way, has what was given to be checked. */
		if (take_checked(w, &w->failure) < 0)
			return NULL;
	} while (has_to_ask(w));
	return NULL;
}

static int run_walk(struct walk *w, unsigned parallel, struct rouse_err *e)
{
	int r;

	rouse_checker_begin(&w->checker, w->ctx->fetcher, rouse_closure_processors(w->c));
	r = rouse_fetch_many(w->ctx->fetcher, parallel, next_ask, ask_done, w, e);
	rouse_checker_end(&w->checker);
	while (w->asks)
		ask_free(w->asks);
	free(w->again);
	if (r == 0 && w->failure.kind) {
		*e = w->failure;
		return -1;
	}
	return r;
}

static void add_roots(struct rouse_closure *c)
{
	for (size_t i = 0; i < c->spec->n_roots; i++)
		(void)rouse_paths_add(&c->paths, rouse_store_name(c->spec->roots[i].path));
}

int rouse_closure_walk(struct rouse_closure *c, const struct rouse_context *ctx,
		       const struct rouse_paths *registered, struct rouse_err *e)
{
	struct walk w = { .c = c, .ctx = ctx, .registered = registered };

	add_roots(c);
	/* What is in the store needs nobody: a machine without a network still comes up. */
	if (take_known(&w, e) < 0)
		return -1;
	if (w.next < c->paths.n && rouse_has_manifests(c->spec)) {
		if (rouse_pinned_load(c, ctx, e) < 0)
			return -1;
		/* Anew: what the store has may be another build than what is pinned. */
		rouse_paths_done(&c->paths);
		c->bytes = 0;
		add_roots(c);
		w = (struct walk){ .c = c, .ctx = ctx, .registered = registered };
		if (take_known(&w, e) < 0)
			return -1;
	}
	if (w.next == c->paths.n)
		return 0;
	if (!c->spec->n_caches)
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "'%s%s' is not in the store, and no cache is given",
				  ROUSE_STORE_PREFIX, c->paths.items[w.next]->name);
	return run_walk(&w, ROUSE_WALK_CONNECTIONS_FAR, e);
}

bool rouse_closure_has_more(const struct rouse_closure *c, const struct rouse_path *path)
{
	return path->pinned ? c->spec->n_caches > 0 : has_more_caches(c, path);
}

int rouse_closure_next_source(struct rouse_closure *c, struct rouse_path *path,
			      const struct rouse_context *ctx, struct rouse_err *e)
{
	struct walk w = { .c = c, .ctx = ctx, .next = c->paths.n };

	if (!rouse_closure_has_more(c, path))
		return rouse_fail(e, ROUSE_UNAVAILABLE, 0, "no other cache has '%s%s'",
				  ROUSE_STORE_PREFIX, path->name);
	/* Where a manifest says it is, it is not; every cache may know better. */
	if (path->pinned)
		path->cache = 0;
	else
		path->cache++;
	path->pinned = false;
	queue_again(&w, path);
	return run_walk(&w, 1, e);
}
