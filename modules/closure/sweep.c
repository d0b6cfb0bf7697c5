/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deleting what a collection found not to be needed: by ourselves, where there is no Nix; else by Nix's own
 * collector, which knows of more paths than we do.
 */
#include "gc.h"

#include <fcntl.h>
#include <string.h>

#include <rouse/clock.h>
#include <rouse/text.h>

#include "dedup.h"
#include "path.h"
#include "tree.h"

#define PROFILES "/nix/var/nix/profiles"
#define GCROOTS "/nix/var/nix/gcroots"
#define GCROOT GCROOTS "/rouse-booted"
#define WANTED_NAME "rouse-wanted" /* while a collector makes room for what is about to be pulled */
#define WANTED GCROOTS "/" WANTED_NAME

static int remove_links(struct rouse_gc *g, struct rouse_err *e)
{
	auto_fd int dir = rouse_fs_open(&g->store.root, PROFILES, O_RDONLY | O_DIRECTORY, 0);
	bool any = false;

	for (size_t i = 0; i < g->systems.n; i++) {
		char link[64];

		if (!g->del[i])
			continue;
		(void)snprintf(link, sizeof(link), "system-%llu-link",
			       (unsigned long long)g->systems.items[i].number);
		if (unlinkat(dir, link, 0) < 0 && errno != ENOENT)
			return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot remove '%s/%s'", PROFILES,
					  link);
		any = true;
	}
	if (any && fsync(dir) < 0 && errno != EINVAL)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot sync '%s'", PROFILES);
	return 0;
}

/* From here on no list says that they are valid, whatever is left of them. */
static int unregister(struct rouse_gc *g, struct rouse_err *e)
{
	bool changed = false;

	for (size_t i = 0; i < g->store.registered.n; i++) {
		struct rouse_path *p = g->store.registered.items[i];

		if (rouse_paths_find(&g->dead, p->name))
			p->valid = false;
		changed |= !p->valid;
	}
	if (changed && rouse_store_write(&g->store, e) < 0)
		return -1;
	return rouse_store_untell_nix(&g->store, &g->dead, e);
}

static int delete_paths(struct rouse_gc *g, uint64_t deadline, struct rouse_err *e)
{
	for (size_t i = 0; i < g->dead.n; i++) {
		struct rouse_path *p = g->dead.items[i];

		if (!rouse_clock_left(deadline))
			return rouse_fail(e, ROUSE_UNAVAILABLE, ETIMEDOUT,
					  "%zu of %zu paths are deleted; run it again", i,
					  g->dead.n);
		if (rouse_store_withdraw(&g->store, p->name, e) < 0)
			return -1;
		p->valid = false;
	}
	return rouse_dedup_prune(&g->store, e);
}

/* The paths that Nix is about to delete take the place of those that we thought of. */
static void take_dead(struct rouse_gc *g, char *text)
{
	rouse_paths_done(&g->dead);
	for (char *line = text, *end; line && *line; line = end) {
		const char *name;

		end = strchr(line, '\n');
		if (end)
			*end++ = '\0';
		name = rouse_store_name(line);
		if (name) {
			const struct rouse_path *p = rouse_gc_known(g, name);
			struct rouse_path *dead = rouse_paths_add(&g->dead, name);

			dead->nar_size = p ? p->nar_size : 0;
			dead->valid = true;
		}
	}
}

static void look_again(struct rouse_gc *g)
{
	struct stat st;

	for (size_t i = 0; i < g->dead.n; i++) {
		struct rouse_path *p = g->dead.items[i];

		p->valid = fstatat(g->store.dir, p->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	}
	for (size_t i = 0; i < g->store.registered.n; i++) {
		struct rouse_path *p = g->store.registered.items[i];

		p->valid &= fstatat(g->store.dir, p->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	}
}

/* Its own roots do not know how this machine was booted. */
static int root_booted(struct rouse_gc *g, struct rouse_err *e)
{
	char booted[ROUSE_SYSTEM_PATH_SIZE];

	if (!rouse_streq(g->store.root.path, "/") || !rouse_booted_system(booted))
		return 0;
	if (rouse_fs_mkdirs(&g->store.root, GCROOT, false, e) < 0)
		return -1;
	return rouse_fs_symlink(&g->store.root, booted, GCROOT, e);
}

/* What is about to be used has no root of its own yet. */
static int root_wanted(struct rouse_gc *g, struct rouse_err *e)
{
	for (size_t i = 0; g->wanted && i < g->wanted->n; i++) {
		const char *name = g->wanted->items[i]->name;
		auto_free char *link = rouse_asprintf(WANTED "/%s", name),
			       *path = rouse_asprintf(ROUSE_STORE_PREFIX "%s", name);

		if (rouse_paths_find(&g->names, name) &&
		    (rouse_fs_mkdirs(&g->store.root, link, false, e) < 0 ||
		     rouse_fs_symlink(&g->store.root, path, link, e) < 0))
			return -1;
	}
	return 0;
}

static void unroot_wanted(struct rouse_gc *g)
{
	auto_fd int dir =
		g->wanted ? rouse_fs_open(&g->store.root, GCROOTS, O_RDONLY | O_DIRECTORY, 0) : -1;

	if (dir >= 0)
		(void)!rouse_tree_remove(dir, WANTED_NAME); /* or the next run does */
}

static int run_nix(struct rouse_gc *g, uint64_t deadline, struct rouse_err *e)
{
	auto_buf struct rouse_buf doomed = { 0 }, out = { 0 };
	int r;

	if (root_booted(g, e) < 0 || root_wanted(g, e) < 0 ||
	    rouse_store_collect_nix(&g->store, "--print-dead", deadline, &doomed, e) < 0)
		return -1;
	take_dead(g, doomed.data);
	if (unregister(g, e) < 0)
		return -1;
	r = rouse_store_collect_nix(&g->store, NULL, deadline, &out, e);
	look_again(g);
	if (r < 0)
		return -1;
	return rouse_store_write(&g->store, e);
}

static int collect_with_nix(struct rouse_gc *g, uint64_t deadline, struct rouse_err *e)
{
	int r = run_nix(g, deadline, e);

	unroot_wanted(g);
	return r;
}

int rouse_gc_apply(struct rouse_gc *g, uint64_t deadline, struct rouse_err *e)
{
	if (g->store.dir < 0)
		return 0;
	g->applied = true;
	/* Without the program, nothing of it can be done right. */
	if (g->nix && !rouse_store_can_collect(&g->store, e))
		return -1;
	if (remove_links(g, e) < 0 || rouse_prune_apply(&g->prune, &g->store.root, e) < 0)
		return -1;
	if (g->nix)
		return collect_with_nix(g, deadline, e);
	if (unregister(g, e) < 0)
		return -1;
	return delete_paths(g, deadline, e);
}
