/* SPDX-License-Identifier: Apache-2.0 */
/* Does a store have what is wanted, and does what is missing fit? Reads only. */
#include "graph.h"

#include <string.h>
#include <sys/statvfs.h>

#include <rouse/clock.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/text.h>

#include "collect.h"
#include "path.h"
#include "store.h"

/* Is the path valid with all it references? */
static bool is_closed(const struct rouse_paths *registered, const char *name)
{
	auto_paths struct rouse_paths todo = { 0 };

	(void)rouse_paths_add(&todo, name);
	for (size_t i = 0; i < todo.n; i++) {
		const struct rouse_path *p = rouse_paths_find(registered, todo.items[i]->name);

		if (!p || !p->valid)
			return false;
		for (size_t k = 0; k < p->n_references; k++)
			(void)rouse_paths_add(&todo, p->references[k]);
	}
	return true;
}

/* True when all are. */
static bool compare(const struct rouse_store *s, const struct rouse_pin *roots, size_t n,
		    bool *valid)
{
	bool all = true;

	for (size_t i = 0; i < n; i++) {
		const char *name = rouse_store_name(roots[i].path);

		valid[i] = name && is_closed(&s->registered, name) &&
			   rouse_pin_matches(&roots[i],
					     rouse_paths_find(&s->registered, name)->nar_hash);
		all &= valid[i];
	}
	return all;
}

int rouse_closure_valid(const char *root, const struct rouse_pin *roots, size_t n, bool *valid,
			struct rouse_err *e)
{
	auto_store struct rouse_store store = ROUSE_STORE_INIT;

	if (rouse_store_look(&store, root, e) < 0)
		return -1;
	if (compare(&store, roots, n, valid))
		return 0;
	rouse_store_adopt(&store, rouse_clock_ms() + ROUSE_DEADLINE_NIX);
	(void)compare(&store, roots, n, valid);
	return 0;
}

/* Of a root that is yet to be made: in a directory that is there. */
static int stat_parent(const char *root, struct statvfs *ret, struct rouse_err *e)
{
	auto_free char *parent = rouse_strdup(root);
	char *slash;

	while ((slash = strrchr(parent, '/')) && slash > parent && !slash[1])
		*slash = '\0'; /* "dir/" is "dir" */
	if (slash)
		slash[slash == parent] = '\0';
	if (statvfs(slash ? parent : ".", ret) == 0)
		return 0;
	return rouse_fail(e, ROUSE_SYSTEM, errno,
			  "cannot look at the filesystem of '%s', which is to hold the store",
			  root);
}

/* The filesystem that has, or will have, the store. */
static int stat_store(const struct rouse_context *ctx, struct statvfs *ret, struct rouse_err *e)
{
	static const char *const places[] = { ROUSE_STORE_DIR, "/nix", "" };

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		auto_free char *path = rouse_asprintf("%s%s", ctx->root, places[i]);

		if (statvfs(path, ret) == 0)
			return 0;
		if (errno != ENOENT)
			return rouse_fail(e, ROUSE_SYSTEM, errno,
					  "cannot look at the filesystem of '%s'", path);
	}
	return stat_parent(ctx->root, ret, e);
}

static int look_for_room(const struct rouse_context *ctx, struct rouse_room *ret,
			 struct rouse_err *e)
{
	struct statvfs v = { 0 };

	if (stat_store(ctx, &v, e) < 0)
		return -1;
	ret->bytes = (uint64_t)v.f_bavail * v.f_frsize;
	ret->inodes = v.f_files ? v.f_favail : 0; /* btrfs has no bound, and says 0 of 0 */
	if (v.f_files && !ret->inodes)
		return rouse_fail(e, ROUSE_SYSTEM, ENOSPC,
				  "no inode is free on the filesystem of '%s'", ctx->root);
	return 0;
}

/* Where something was pulled before, something may be deleted. */
static const char *hint(const struct rouse_context *ctx)
{
	auto_free char *path = rouse_asprintf("%s" ROUSE_REGISTRATION, ctx->root);

	return access(path, F_OK) == 0 ? "; `rouse gc` deletes what nothing needs" : "";
}

int rouse_closure_fits(const struct rouse_closure *c, const struct rouse_context *ctx,
		       const struct rouse_room *room, struct rouse_err *e)
{
	struct rouse_closure_size s = rouse_closure_measure(c);
	struct rouse_room here = { .mount = ctx->root };
	char need[16], have[16];

	if (!s.missing)
		return 0;
	if (!room) {
		if (look_for_room(ctx, &here, e) < 0)
			return -1;
		room = &here;
	}
	if (s.need_bytes > room->bytes)
		return rouse_fail(e, ROUSE_SYSTEM, ENOSPC,
				  "the closure needs %s more, and '%s' has %s free%s",
				  rouse_print_size(need, s.need_bytes), room->mount,
				  rouse_print_size(have, room->bytes), hint(ctx));
	if (room->inodes && s.need_inodes > room->inodes)
		return rouse_fail(
			e, ROUSE_SYSTEM, ENOSPC,
			"the closure needs about %llu more files, and '%s' has room for %llu%s",
			(unsigned long long)s.need_inodes, room->mount,
			(unsigned long long)room->inodes, hint(ctx));
	return 0;
}

/* The bytes that have to be freed; 1 when it is inodes that lack. */
static uint64_t shortfall(const struct rouse_closure *c, const struct rouse_context *ctx,
			  const struct rouse_room *room)
{
	struct rouse_closure_size s = rouse_closure_measure(c);
	struct rouse_room here = { 0 };
	struct rouse_err e;

	if (!room && look_for_room(ctx, &here, &e) < 0)
		return 1;
	room = room ? room : &here;
	return s.need_bytes > room->bytes ? s.need_bytes - room->bytes : 1;
}

static void tell(const struct rouse_gc *g, bool now)
{
	auto_json json_t *j = rouse_gc_json(g);
	char size[16];

	rouse_log(
		ROUSE_LOG_NOTICE, "closure",
		"%s to make room: old system generations: %zu, and what nothing needs (%zu "
		"paths, %s)",
		now ? "deleted" : "will delete", json_array_size(json_object_get(j, "generations")),
		json_array_size(json_object_get(j, "paths")),
		rouse_print_size(size, (uint64_t)json_integer_value(json_object_get(j, "bytes"))));
}

/* What no root points to yet: the paths of a closure, and others that will be used. */
static void list_wanted(struct rouse_paths *ret, const struct rouse_closure *c,
			const struct rouse_pin *keep, size_t n)
{
	for (size_t i = 0; c && i < c->paths.n; i++)
		(void)rouse_paths_add(ret, c->paths.items[i]->name);
	for (size_t i = 0; i < n; i++)
		if (rouse_store_name(keep[i].path))
			(void)rouse_paths_add(ret, rouse_store_name(keep[i].path));
}

int rouse_closure_collect(const char *root, const struct rouse_gc_policy *policy,
			  const struct rouse_pin *keep, size_t n, int *hold, uint64_t deadline,
			  struct rouse_err *e)
{
	auto_paths struct rouse_paths wanted = { 0 };
	auto_gc struct rouse_gc *g = NULL;

	list_wanted(&wanted, NULL, keep, n);
	if (*hold >= 0)
		(void)close(take(*hold, -1)); /* the collector wants all holds gone, ours too */
	if (rouse_gc_plan_for(root, policy, &wanted, 0, true, &g, e) < 0 ||
	    rouse_gc_apply(g, deadline, e) < 0)
		return -1;
	rouse_gc_free(take(g, NULL));
	return rouse_store_hold(root, true, deadline, hold, e);
}

int rouse_closure_make_room(const struct rouse_closure *c, const struct rouse_context *ctx,
			    const struct rouse_room *room, const struct rouse_pin *keep, size_t n,
			    bool now, int *hold, struct rouse_err *e)
{
	/* As many as may go, and no more than must. */
	static const struct rouse_gc_policy policy = { .keep = UINT64_MAX, .younger = INT64_MAX };
	auto_paths struct rouse_paths wanted = { 0 };
	auto_gc struct rouse_gc *g = NULL;
	struct rouse_err why = { 0 };
	uint64_t need;

	if (rouse_closure_fits(c, ctx, room, e) == 0)
		return 0;
	if (e->sys != ENOSPC)
		return -1;
	need = shortfall(c, ctx, room);
	list_wanted(&wanted, c, keep, n);
	if (now && *hold >= 0)
		(void)close(take(*hold, -1)); /* the collector wants all holds gone, ours too */
	if (rouse_gc_plan_for(ctx->root, &policy, &wanted, need, now, &g, &why) < 0 ||
	    rouse_gc_bytes(g) < need) {
		rouse_log(ROUSE_LOG_DEBUG, "closure", "no room can be made: %s",
			  why.kind ? why.text : "too little is old");
		return -1;
	}
	if (now && rouse_gc_apply(g, ctx->deadline, e) < 0)
		return -1;
	tell(g, now);
	if (!now)
		return 0;
	rouse_gc_free(take(g, NULL));
	if (rouse_store_hold(ctx->root, true, ctx->deadline, hold, e) < 0)
		return -1;
	return rouse_closure_fits(c, ctx, NULL, e);
}
