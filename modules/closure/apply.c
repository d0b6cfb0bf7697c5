/* SPDX-License-Identifier: Apache-2.0 */
#include "module.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include <rouse/fetch.h>
#include <rouse/fs.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/netrc.h>
#include <rouse/text.h>

#include "path.h"

struct state {
	struct rouse_pin *keep; /* everything that the document wants */
	size_t n_keep;
	struct rouse_closure_spec spec;
	struct rouse_root bare; /* of the running system; not open: it has nothing to copy from */
	struct rouse_closure *closure;
	struct rouse_arena arena;
	int hold; /* no collector runs until generations point to what was found or pulled */
	char *headers[ROUSE_MAX_CACHES][2]; /* of spec.caches: at most one line each; secret */
};

void closure_state_free(void *state)
{
	struct state *s = state;

	if (!s)
		return;
	rouse_closure_free(s->closure);
	for (size_t i = 0; i < ARRAY_SIZE(s->headers); i++)
		rouse_secret_free(s->headers[i][0]);
	rouse_arena_done(&s->arena);
	rouse_root_done(&s->bare);
	if (s->hold >= 0)
		(void)close(s->hold);
	free(s);
}

static int list_keys(struct state *s, const struct closure_conf *conf, struct rouse_err *e)
{
	const struct closure_cache *caches = conf->caches.items;
	struct rouse_key *keys;
	size_t n = 0;

	for (size_t i = 0; i < conf->caches.n; i++)
		n += caches[i].keys.n;
	s->spec.keys = keys = rouse_arena_alloc(&s->arena, (n + 1) * sizeof(*keys));
	for (size_t i = 0; i < conf->caches.n; i++) {
		const char *const *text = caches[i].keys.items;

		for (size_t k = 0; k < caches[i].keys.n; k++)
			if (rouse_key_parse(&keys[s->spec.n_keys++], text[k], e) < 0)
				return -1;
	}
	return 0;
}

/* What a private cache is told. */
static int introduce(struct state *s, const struct closure_cache *from, size_t i,
		     struct rouse_err *e)
{
	if (from->token)
		return rouse_bearer_header(&s->headers[i][0], from->token, e);
	if (!from->netrc)
		return 0;
	if (rouse_netrc_read(&s->headers[i][0], from->netrc, from->url, e) < 0)
		return -1;
	return s->headers[i][0] ? 0
				: rouse_fail(e, ROUSE_DOCUMENT, 0,
					     "'%s' has no password for its host", from->netrc);
}

static int list_caches(struct state *s, const struct closure_conf *conf, struct rouse_err *e)
{
	const struct closure_cache *from = conf->caches.items;
	struct rouse_cache *caches = rouse_arena_alloc(&s->arena,
						       (conf->caches.n + 1) * sizeof(*caches));

	for (size_t i = 0; i < conf->caches.n; i++) {
		size_t len = strlen(from[i].url);

		while (len && from[i].url[len - 1] == '/')
			len--;
		caches[i] = (struct rouse_cache){
			.name = from[i].key,
			.url = rouse_arena_strndup(&s->arena, from[i].url, len),
			.headers = (const char *const *)s->headers[i],
		};
		if (introduce(s, &from[i], i, e) < 0)
			return rouse_wrap(e, "caches.%s", from[i].key);
	}
	s->spec.caches = caches;
	s->spec.n_caches = conf->caches.n;
	return 0;
}

static bool needs_network(const struct state *s)
{
	for (size_t i = 0; i < s->spec.n_caches; i++)
		if (!rouse_strip_prefix(s->spec.caches[i].url, "file:"))
			return true;
	return false;
}

static void list_roots(struct state *s, const struct rouse_plan *p)
{
	struct rouse_pin *roots = rouse_arena_alloc(&s->arena, (p->n_steps + 1) * sizeof(*roots));

	for (size_t i = 0; i < p->n_steps; i++) {
		const struct want *w = p->steps[i].arg;

		if (p->steps[i].module == &rouse_module_closure && p->steps[i].op == OP_PULL)
			roots[s->spec.n_roots++] = w->pin;
	}
	s->spec.roots = roots;
}

static void list_keep(struct state *s, const struct closure_conf *conf)
{
	const struct want *w = closure_list_wants(conf, &s->arena, &s->n_keep);

	s->keep = rouse_arena_alloc(&s->arena, (s->n_keep + 1) * sizeof(*s->keep));
	for (size_t i = 0; i < s->n_keep; i++)
		s->keep[i] = w[i].pin;
	if (conf->system && conf->system->fallback)
		s->keep[s->n_keep++].path = conf->system->fallback;
}

int closure_prepare(const void *conf, const struct rouse_plan *p, const struct rouse_context *c,
		    void **ret_state, struct rouse_err *e)
{
	struct state *s = rouse_calloc(1, sizeof(*s));
	const struct rouse_room *room = rouse_plan_find_room(p, ROUSE_STORE_DIR);

	*ret_state = s;
	s->hold = -1;
	s->bare = (struct rouse_root)ROUSE_ROOT_INIT;
	s->spec.other = &s->bare;
	list_keep(s, conf);
	if (closure_is_mounted(c) && rouse_store_hold(c->root, false, c->deadline, &s->hold, e) < 0)
		return -1;
	list_roots(s, p);
	if (!s->spec.n_roots)
		return 0;
	if (list_caches(s, conf, e) < 0)
		return -1;
	if (needs_network(s) && c->network && c->network(c->network_arg, c->deadline, e) < 0)
		return -1;
	if (list_keys(s, conf, e) < 0)
		return -1;
	s->closure = rouse_closure_new(&s->spec);
	if (rouse_closure_resolve(s->closure, c, e) < 0)
		return -1;
	/* Without a word about room, an unmounted root is looked at when it is there. */
	return room || closure_is_mounted(c)
		       ? rouse_closure_make_room(s->closure, c, room, s->keep, s->n_keep, false,
						 &s->hold, e)
		       : 0;
}

/* What came with the image, or with an initramfs, need not come over the network once more. */
static void look_for_other(struct state *s)
{
	struct rouse_err e = { 0 };

	if (rouse_root_open_bare(&s->bare, &e) < 0 && rouse_root_open(&s->bare, "/", &e) < 0)
		rouse_log(ROUSE_LOG_DEBUG, "closure", "%s, all is fetched", e.text);
}

static int pull(struct state *s, const struct rouse_context *c, struct rouse_err *e)
{
	if (s->hold < 0 && rouse_store_hold(c->root, true, c->deadline, &s->hold, e) < 0)
		return -1;
	if (rouse_closure_make_room(s->closure, c, NULL, s->keep, s->n_keep, true, &s->hold, e) < 0)
		return -1;
	look_for_other(s);
	return rouse_closure_pull(s->closure, c, e);
}

/* What was planned for a root that was out of sight does not know of a rollback. */
static int make_generation(const struct want *w, const struct rouse_context *c, struct rouse_err *e)
{
	char from[ROUSE_SYSTEM_PATH_SIZE] = "";
	struct rouse_generation g = { 0 };
	uint64_t number = 0;

	if (rouse_generation_read(c->root, ROUSE_PROFILE_SYSTEM, &g, e) < 0 ||
	    rouse_rollback_read(c->root, from, e) < 0)
		return -1;
	if (g.number && rouse_streq(from, w->pin.path)) {
		rouse_log(ROUSE_LOG_NOTICE, "closure",
			  "keeping system generation %llu: it was rolled back to, from %s",
			  (unsigned long long)g.number, from);
		return 0;
	}
	if (rouse_generation_make(c->root, ROUSE_PROFILE_SYSTEM, w->pin.path, &number, e) < 0)
		return -1;
	return from[0] ? rouse_rollback_forget(c->root, e) : 0;
}

static int collect(struct state *s, const struct closure_conf *conf, const struct rouse_context *c,
		   struct rouse_err *e)
{
	struct rouse_gc_policy policy = rouse_keep_policy(conf->generations, (int64_t)time(NULL));

	return rouse_closure_collect(c->root, &policy, s->keep, s->n_keep, &s->hold, c->deadline,
				     e);
}

int closure_apply(const struct rouse_step *step, const struct rouse_context *c, void *state,
		  struct rouse_err *e)
{
	/* One pull brings all closures; the steps of the others find nothing to do. */
	if (step->op == OP_PULL)
		return pull(state, c, e);
	if (step->op == OP_COLLECT)
		return collect(state, step->arg, c, e);
	if (step->op == OP_TELL)
		return rouse_store_tell_first(c->root, c->deadline, e);
	if (step->op == OP_FORGET)
		return rouse_rollback_forget(c->root, e);
	return step->op == OP_GENERATION ? make_generation(step->arg, c, e) : 0;
}
