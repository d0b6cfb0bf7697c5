/* SPDX-License-Identifier: Apache-2.0 */
#include "module.h"

#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <rouse/clock.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/text.h>

#include "path.h"

static struct want make_want(const char *path, const char *nar_hash,
			     const struct closure_manifest *m, bool system)
{
	return (struct want){
		.pin = { .path = path,
			 .nar_hash = nar_hash,
			 .manifest_url = m ? m->url : NULL,
			 .manifest_sha256 = m ? m->sha256 : NULL },
		.manifest = m,
		.system = system,
	};
}

static size_t count_wants(const struct closure_conf *conf)
{
	const struct rouse_named_list *users = conf->profiles.items;
	size_t n = (conf->system != NULL) + conf->environment.n;

	for (size_t i = 0; i < conf->profiles.n; i++)
		n += users[i].list.n;
	return n;
}

static size_t list_programs(struct want *w, const struct rouse_list *list)
{
	const struct closure_pin *p = list->items;

	for (size_t i = 0; i < list->n; i++)
		w[i] = make_want(p[i].path, p[i].nar_hash, p[i].manifest, false);
	return list->n;
}

struct want *closure_list_wants(const struct closure_conf *conf, struct rouse_arena *arena,
				size_t *ret_n)
{
	const struct rouse_named_list *users = conf->profiles.items;
	struct want *w = rouse_arena_alloc(arena, (count_wants(conf) + 1) * sizeof(*w));
	size_t n = 0;

	if (conf->system)
		w[n++] = make_want(conf->system->path, conf->system->nar_hash,
				   conf->system->manifest, true);
	n += list_programs(w + n, &conf->environment);
	for (size_t i = 0; i < conf->profiles.n; i++)
		n += list_programs(w + n, &users[i].list);
	*ret_n = n;
	return w;
}

/* --- facts ------------------------------------------------------------------------------------ */

/* In an initramfs the root may still be a bare directory. */
bool closure_is_mounted(const struct rouse_context *c)
{
	auto_free char *above = rouse_asprintf("%s/..", c->root);
	struct stat in, up;

	return !c->initramfs ||
	       (stat(c->root, &in) == 0 && stat(above, &up) == 0 && in.st_dev != up.st_dev);
}

static int observe_system(const struct rouse_context *c, json_t *profiles, struct rouse_err *e)
{
	struct rouse_generation g = { 0 };
	json_t *fact = json_object();

	rouse_json_set(profiles, "system", fact);
	if (rouse_generation_read(c->root, ROUSE_PROFILE_SYSTEM, &g, e) < 0)
		return -1;
	rouse_json_set_int(fact, "number", g.number);
	rouse_json_set_int(fact, "highest", g.highest);
	rouse_json_set_string(fact, "path", rouse_store_name(g.path) ? g.path : NULL);
	rouse_json_set_string(fact, "last", rouse_store_name(g.last) ? g.last : NULL);
	return 0;
}

static int observe_systems(const struct rouse_context *c, json_t *facts, struct rouse_err *e)
{
	auto_systems struct rouse_systems s = { 0 };
	json_t *list = json_array();

	rouse_json_set(facts, "systems", list);
	rouse_json_set(facts, "now", json_integer((json_int_t)time(NULL)));
	if (rouse_systems_read(c->root, &s, e) < 0)
		return -1;
	for (size_t i = 0; i < s.n; i++) {
		json_t *one = json_object();

		rouse_json_set_int(one, "number", s.items[i].number);
		rouse_json_set(one, "time", json_integer(s.items[i].time));
		rouse_json_set_int(one, "healthy", s.items[i].healthy);
		rouse_json_set_string(one, "path", s.items[i].path);
		rouse_json_set_bool(one, "current", s.items[i].current);
		rouse_json_set_bool(one, "booted", s.items[i].booted);
		rouse_json_set_bool(one, "there", s.items[i].there);
		rouse_json_append(list, one);
	}
	return 0;
}

int closure_observe(const void *conf, const struct rouse_context *c, json_t *facts,
		    struct rouse_err *e)
{
	auto_arena struct rouse_arena arena = { 0 };
	size_t n = 0;
	const struct want *w = closure_list_wants(conf, &arena, &n);
	struct rouse_pin *pins = rouse_arena_alloc(&arena, (n + 1) * sizeof(*pins));
	bool *valid = rouse_arena_alloc(&arena, (n + 1) * sizeof(*valid));
	json_t *list = json_array(), *profiles = json_object();
	char from[ROUSE_SYSTEM_PATH_SIZE] = "";

	rouse_json_set(facts, "valid", list);
	rouse_json_set(facts, "profiles", profiles);
	if (!closure_is_mounted(c)) {
		rouse_json_set_bool(facts, "unseen", true);
		return 0;
	}
	for (size_t i = 0; i < n; i++)
		pins[i] = w[i].pin;
	if (rouse_closure_valid(c->root, pins, n, valid, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (valid[i])
			rouse_json_append(list, json_string(w[i].pin.path));
	if (((const struct closure_conf *)conf)->system && observe_system(c, profiles, e) < 0)
		return -1;
	if (rouse_rollback_read(c->root, from, e) < 0)
		return -1;
	if (from[0])
		rouse_json_set_string(facts, "rolledBack", from);
	if (((const struct closure_conf *)conf)->generations && observe_systems(c, facts, e) < 0)
		return -1;
	if (n && rouse_store_is_untold(c->root))
		rouse_json_set_bool(facts, "untold", true);
	return 0;
}

/* --- the plan --------------------------------------------------------------------------------- */

static bool is_valid(const struct facts *facts, const char *path)
{
	const char *const *valid = facts->valid.items;

	for (size_t i = 0; i < facts->valid.n; i++)
		if (rouse_streq(valid[i], path))
			return true;
	return false;
}

static struct rouse_generation generation_of(const struct facts *facts, const char *profile)
{
	const struct profile_fact *p = facts->profiles.items;
	struct rouse_generation g = { 0 };

	for (size_t i = 0; i < facts->profiles.n; i++) {
		if (!rouse_streq(p[i].key, profile))
			continue;
		g.number = (uint64_t)p[i].number;
		g.highest = (uint64_t)p[i].highest;
		(void)snprintf(g.path, sizeof(g.path), "%s", p[i].path ? p[i].path : "");
		(void)snprintf(g.last, sizeof(g.last), "%s", p[i].last ? p[i].last : "");
	}
	return g;
}

/* A rollback holds until the document names another system than the one it went away from. */
static bool is_rolled_back(const struct facts *facts, const struct want *w,
			   const struct rouse_generation *g)
{
	return w->system && g->number && rouse_streq(facts->rolled_back, w->pin.path) &&
	       !rouse_streq(g->path, w->pin.path);
}

static void name_caches(const struct closure_conf *conf, struct rouse_buf *out)
{
	const struct closure_cache *caches = conf->caches.items;

	for (size_t i = 0; i < conf->caches.n; i++)
		rouse_buf_printf(out, "%s%s", i ? ", " : "", caches[i].key);
}

/* " (463 paths, 1.1 GiB)", as far as the document says. */
static const char *size_of(const struct want *w, struct rouse_arena *arena)
{
	const struct closure_manifest *m = w->manifest;
	char nar[16], download[16];
	struct rouse_buf b = { 0 };
	const char *text = "";

	if (m && m->paths)
		rouse_buf_printf(&b, ", %lld path%s", (long long)m->paths,
				 m->paths == 1 ? "" : "s");
	if (m && m->nar_size)
		rouse_buf_printf(&b, ", %s", rouse_print_size(nar, (uint64_t)m->nar_size));
	if (m && m->download_size)
		rouse_buf_printf(&b, ", %s to download",
				 rouse_print_size(download, (uint64_t)m->download_size));
	if (b.len)
		text = rouse_arena_printf(arena, " (%s)", b.data + 2);
	rouse_buf_done(&b);
	return text;
}

/* Two users may want the same program. */
static bool is_listed(const struct want *w, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (rouse_streq(w[i].pin.path, w[n].pin.path))
			return true;
	return false;
}

static void plan_system(const struct facts *facts, const struct want *w,
			const struct rouse_generation *g, struct rouse_plan *p)
{
	if (facts->unseen)
		rouse_plan_add(p, ROUSE_CREATE, OP_GENERATION, w,
			       "make it the current generation of system");
	else if (!rouse_streq(g->path, w->pin.path))
		rouse_plan_add(p, ROUSE_CREATE, OP_GENERATION, w, "make %s system generation %llu",
			       is_valid(facts, w->pin.path) ? w->pin.path : "it",
			       (unsigned long long)rouse_generation_next(g, w->pin.path));
	else if (facts->rolled_back && !rouse_streq(facts->rolled_back, w->pin.path))
		rouse_plan_add(p, ROUSE_CHANGE, OP_FORGET, w,
			       "forget the rollback from %s: the document has moved on",
			       facts->rolled_back);
}

/* The systems as they will be, once the document's is current. */
static void foresee(const struct facts *facts, const struct closure_conf *conf,
		    struct rouse_systems *ret)
{
	const struct system_fact *f = facts->systems.items;
	struct rouse_generation g = generation_of(facts, "system");
	const char *path = conf->system ? conf->system->path : NULL;
	bool moves = path && !rouse_streq(g.path, path) && !rouse_streq(facts->rolled_back, path);
	uint64_t next = moves ? rouse_generation_next(&g, path) : g.number;

	ret->items = rouse_calloc(facts->systems.n + 1, sizeof(*ret->items));
	for (size_t i = 0; i < facts->systems.n; i++) {
		struct rouse_system *s = &ret->items[ret->n++];

		*s = (struct rouse_system){ .number = (uint64_t)f[i].number,
					    .time = f[i].time,
					    .healthy = (unsigned)f[i].healthy,
					    .booted = f[i].booted,
					    .there = f[i].there,
					    .current = (uint64_t)f[i].number == next };
		(void)snprintf(s->path, sizeof(s->path), "%s", f[i].path ? f[i].path : "");
	}
	if (moves && next > g.highest)
		ret->items[ret->n++] = (struct rouse_system){
			.number = next, .time = facts->now, .there = true, .current = true
		};
}

static void plan_collect(const struct facts *facts, const struct closure_conf *conf,
			 struct rouse_plan *p)
{
	auto_systems struct rouse_systems s = { 0 };
	auto_free bool *del = NULL;
	auto_buf struct rouse_buf text = { 0 };
	struct rouse_gc_policy policy;

	if (!conf->generations || facts->unseen)
		return;
	policy = rouse_keep_policy(conf->generations, facts->now);
	foresee(facts, conf, &s);
	del = rouse_calloc(s.n + 1, sizeof(*del));
	rouse_gc_choose(&s, &policy, del);
	for (size_t i = 0; i < s.n; i++)
		if (del[i])
			rouse_buf_printf(&text, "%s%llu", text.len ? ", " : "",
					 (unsigned long long)s.items[i].number);
	if (text.len)
		rouse_plan_add(p, ROUSE_CHANGE, OP_COLLECT, conf,
			       "delete system generation %s, and what nothing needs without it",
			       text.data);
}

int closure_plan(const void *conf_, const void *facts_, const struct rouse_context *c unused_arg,
		 struct rouse_plan *p, struct rouse_err *e)
{
	const struct closure_conf *conf = conf_;
	const struct facts *facts = facts_;
	auto_buf struct rouse_buf caches = { 0 };
	size_t n = 0;
	const struct want *w = closure_list_wants(conf, &p->arena, &n);

	name_caches(conf, &caches);
	if (facts->untold)
		rouse_plan_add(p, ROUSE_CHANGE, OP_TELL, NULL,
			       "tell Nix, which was not there before, what is in the store");
	for (size_t i = 0; i < n; i++) {
		struct rouse_generation g = { 0 };

		if (w[i].system)
			g = generation_of(facts, "system");
		if (is_rolled_back(facts, &w[i], &g)) {
			rouse_plan_add(
				p, ROUSE_USE, OP_KEEP, &w[i],
				"keep system generation %llu: it was rolled back to, from %s",
				(unsigned long long)g.number, w[i].pin.path);
			continue;
		}
		if (!is_valid(facts, w[i].pin.path) && !is_listed(w, i)) {
			if (!conf->caches.n)
				return rouse_fail(e, ROUSE_DOCUMENT, 0,
						  "'%s' is not in the store, and \"caches\" names "
						  "none to pull it from",
						  w[i].pin.path);
			rouse_plan_add(p, ROUSE_CREATE, OP_PULL, &w[i], "pull %s from %s%s%s",
				       w[i].pin.path, caches.data, size_of(&w[i], &p->arena),
				       facts->unseen ? ", unless it is on the disk" : "");
		}
		if (w[i].system)
			plan_system(facts, &w[i], &g, p);
	}
	plan_collect(facts, conf, p);
	return 0;
}
