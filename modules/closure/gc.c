/* SPDX-License-Identifier: Apache-2.0 */
/* The collector's plan: which generations go, and what is needed without them. */
#include "gc.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include <rouse/clock.h>
#include <rouse/limits.h>
#include <rouse/text.h>

#include "collect.h"
#include "path.h"
#include "roots.h"

void rouse_gc_free(struct rouse_gc *g)
{
	if (!g)
		return;
	rouse_store_done(&g->store);
	if (g->hold >= 0)
		(void)close(g->hold);
	rouse_systems_done(&g->systems);
	free(g->del);
	rouse_paths_done(&g->names);
	rouse_paths_done(&g->roots);
	rouse_paths_done(&g->left);
	rouse_paths_done(&g->live);
	rouse_paths_done(&g->dead);
	rouse_prune_done(&g->prune);
	json_decref(g->notes);
	free(g);
}

static void note(struct rouse_gc *g, const char *text, const char *name)
{
	auto_free char *line = rouse_asprintf("'" ROUSE_STORE_PREFIX "%s' %s", name, text);

	rouse_one_line(line);
	rouse_json_append_string(g->notes, line);
}

/* --- holding ---------------------------------------------------------------------------------- */

/* A lock on the directory itself: taking it writes nothing. */
static int lock_state(const char *root_path, int how, uint64_t deadline, int *ret_fd,
		      struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_fd int fd = -1;

	*ret_fd = -1;
	if (rouse_root_open(&root, root_path, e) < 0)
		return e->sys == ENOENT ? 0 : -1;
	fd = rouse_fs_open(&root, ROUSE_STORE_STATE, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return errno == ENOENT ? 0
				       : rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s'",
						    ROUSE_STORE_STATE);
	while (flock(fd, how | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot lock '%s'",
					  ROUSE_STORE_STATE);
		if (!rouse_clock_left(deadline))
			return rouse_fail(e, ROUSE_UNAVAILABLE, 0,
					  "the store of '%s' is in use by another rouse, which %s",
					  root_path,
					  how == LOCK_EX ? "pulls or switches" : "deletes");
		rouse_clock_sleep_until(rouse_clock_ms() + ROUSE_LOCK_POLL);
	}
	*ret_fd = take(fd, -1);
	return 0;
}

int rouse_store_hold(const char *root_path, bool make, uint64_t deadline, int *ret_fd,
		     struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;

	*ret_fd = -1;
	if (make && (rouse_root_open(&root, root_path, e) < 0 ||
		     rouse_fs_mkdirs(&root, ROUSE_STORE_STATE, true, e) < 0))
		return -1;
	return lock_state(root_path, LOCK_SH, deadline, ret_fd, e);
}

/* --- which generations ------------------------------------------------------------------------ */

static bool is_protected(const struct rouse_systems *s, const struct rouse_gc_policy *p, size_t i)
{
	const struct rouse_system *g = &s->items[i], *healthy = rouse_systems_healthy(s, NULL);

	return g->current || g->booted || g == healthy || g->time > p->younger;
}

void rouse_gc_choose(const struct rouse_systems *s, const struct rouse_gc_policy *p, bool *del)
{
	for (size_t i = 0; i < s->n; i++)
		del[i] = s->n - i > p->keep && !is_protected(s, p, i);
}

int64_t rouse_gc_next(const struct rouse_systems *s, const struct rouse_gc_policy *p,
		      const bool *del)
{
	for (size_t i = 0; i < s->n; i++)
		if (!del[i] && !is_protected(s, p, i))
			return (int64_t)i;
	return -1;
}

/* --- what is needed --------------------------------------------------------------------------- */

static int list_store(struct rouse_gc *g, struct rouse_err *e)
{
	int fd = openat(g->store.dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int saved;

	if (!d) {
		(void)rouse_fail(e, ROUSE_SYSTEM, errno, "cannot list '%s'", ROUSE_STORE_DIR);
		if (fd >= 0)
			(void)close(fd);
		return -1;
	}
	while ((errno = 0, entry = readdir(d))) {
		const char *name = entry->d_name;

		if (rouse_is_store_name(name, strlen(name)))
			(void)rouse_paths_add(&g->names, name);
		else if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
			 strcmp(name, ".links") != 0 && !rouse_strip_prefix(name, ".rouse-"))
			note(g, "is no store path: left alone", name);
	}
	saved = errno;
	(void)closedir(d);
	return saved ? rouse_fail(e, ROUSE_SYSTEM, saved, "cannot list '%s'", ROUSE_STORE_DIR) : 0;
}

const struct rouse_path *rouse_gc_known(const struct rouse_gc *g, const char *name)
{
	const struct rouse_path *p = rouse_paths_find(&g->store.registered, name);

	return p && p->known ? p : rouse_paths_find(&g->left, name);
}

static bool is_root(const struct rouse_gc *g, const char *name)
{
	char part[ROUSE_HASH_PART + 1];

	(void)snprintf(part, sizeof(part), "%s", name);
	return rouse_paths_find(&g->roots, part) != NULL;
}

static void add_system(struct rouse_gc *g, const char *path)
{
	const char *name = rouse_store_name(path);

	if (name && rouse_paths_find(&g->names, name))
		(void)rouse_paths_add(&g->live, name);
}

/* Everything that a root or a generation that stays needs. Returns its bytes. */
static uint64_t mark(struct rouse_gc *g)
{
	char booted[ROUSE_SYSTEM_PATH_SIZE];
	uint64_t bytes = 0;

	rouse_paths_done(&g->live);
	g->opaque = NULL;
	for (size_t i = 0; i < g->names.n; i++)
		if (is_root(g, g->names.items[i]->name))
			(void)rouse_paths_add(&g->live, g->names.items[i]->name);
	for (size_t i = 0; i < g->systems.n; i++)
		if (!g->del[i])
			add_system(g, g->systems.items[i].path);
	for (size_t i = 0; g->wanted && i < g->wanted->n; i++)
		if (rouse_gc_known(g, g->wanted->items[i]->name) &&
		    rouse_paths_find(&g->names, g->wanted->items[i]->name))
			(void)rouse_paths_add(&g->live, g->wanted->items[i]->name);
	if (rouse_streq(g->store.root.path, "/") && rouse_booted_system(booted))
		add_system(g, booted);
	for (size_t i = 0; i < g->live.n; i++) {
		const char *name = g->live.items[i]->name;
		const struct rouse_path *p = rouse_gc_known(g, name);

		if (!p && rouse_paths_find(&g->names, name))
			g->opaque = rouse_paths_find(&g->names, name)->name;
		bytes += p ? p->nar_size : 0;
		for (size_t k = 0; p && k < p->n_references; k++)
			(void)rouse_paths_add(&g->live, p->references[k]);
	}
	return bytes;
}

/* Bytes that are not needed, as far as that is known, after mark(). */
static uint64_t count_dead(const struct rouse_gc *g)
{
	uint64_t bytes = 0;

	for (size_t i = 0; (g->nix || !g->opaque) && i < g->names.n; i++) {
		const struct rouse_path *p = rouse_gc_known(g, g->names.items[i]->name);

		if (p && !rouse_paths_find(&g->live, p->name))
			bytes += p->nar_size;
	}
	return bytes;
}

/* What is not needed goes, unless something is in use that may need it for all we know. */
static void list_dead(struct rouse_gc *g)
{
	if (g->opaque) {
		note(g,
		     g->nix ? "came from elsewhere, and Nix knows what it needs: what else goes, "
			      "its "
			      "collector decides"
			    : "is in use, and what it needs is not known: no path is deleted",
		     g->opaque);
		return;
	}
	for (size_t i = 0; i < g->names.n; i++) {
		const char *name = g->names.items[i]->name;
		const struct rouse_path *p = rouse_gc_known(g, name);
		struct rouse_path *dead;

		/* What Nix has and rouse does not know is not ours to speak of. */
		if (rouse_paths_find(&g->live, name) || (g->nix && !p))
			continue;
		dead = rouse_paths_add(&g->dead, name);
		dead->nar_size = p ? p->nar_size : 0;
		dead->valid = true;
	}
}

static int choose(struct rouse_gc *g, const char *root, const struct rouse_gc_policy *p,
		  struct rouse_err *e)
{
	int64_t next;

	if (rouse_systems_read(root, &g->systems, e) < 0)
		return -1;
	g->del = rouse_calloc(g->systems.n + 1, sizeof(*g->del));
	rouse_gc_choose(&g->systems, p, g->del);
	while ((mark(g) > p->max_size && p->max_size) || (g->need && count_dead(g) < g->need)) {
		next = rouse_gc_next(&g->systems, p, g->del);
		if (next < 0 && g->need)
			break;
		if (next < 0) {
			rouse_json_append_string(g->notes, "what may not be deleted is larger than "
							   "--max-size");
			break;
		}
		g->del[next] = true;
	}
	return 0;
}

/* Nix remounts a read-only store by itself, and needs no staging. */
static int open_store(struct rouse_gc *g, const char *root, bool lock, struct rouse_err *e)
{
	if (rouse_store_look(&g->store, root, e) < 0)
		return -1;
	if (g->store.dir < 0)
		return 0;
	g->nix = rouse_store_has_nix(&g->store);
	if (!lock)
		return 0;
	if (g->nix)
		return rouse_store_lock(&g->store, rouse_clock_ms(), e);
	rouse_store_done(&g->store);
	return rouse_store_open(&g->store, root, rouse_clock_ms(), e);
}

static int make_plan(struct rouse_gc *g, const char *root, const struct rouse_gc_policy *p,
		     bool lock, struct rouse_err *e)
{
	if (lock && lock_state(root, LOCK_EX, rouse_clock_ms(), &g->hold, e) < 0)
		return -1;
	if (open_store(g, root, lock, e) < 0)
		return -1;
	if (g->store.dir < 0)
		return 0;
	if (list_store(g, e) < 0 || rouse_store_read_left(&g->store, &g->left, e) < 0 ||
	    rouse_prune_choose(&g->prune, &g->store.root, p, e) < 0 ||
	    rouse_roots_read(&g->roots, &g->store.root, &g->prune.links, e) < 0 ||
	    choose(g, root, p, e) < 0)
		return -1;
	list_dead(g);
	return 0;
}

int rouse_gc_plan_for(const char *root, const struct rouse_gc_policy *p,
		      const struct rouse_paths *wanted, uint64_t need, bool lock,
		      struct rouse_gc **ret, struct rouse_err *e)
{
	auto_gc struct rouse_gc *g = rouse_calloc(1, sizeof(*g));

	g->store = (struct rouse_store)ROUSE_STORE_INIT;
	g->hold = -1;
	g->notes = json_array();
	g->wanted = wanted;
	g->need = need;
	if (make_plan(g, root, p, lock, e) < 0)
		return -1;
	*ret = take(g, NULL);
	return 0;
}

int rouse_gc_plan(const char *root, const struct rouse_gc_policy *p, bool lock,
		  struct rouse_gc **ret, struct rouse_err *e)
{
	return rouse_gc_plan_for(root, p, NULL, 0, lock, ret, e);
}

uint64_t rouse_gc_bytes(const struct rouse_gc *g)
{
	return g->store.dir < 0 ? 0 : count_dead(g);
}

json_t *rouse_gc_json(const struct rouse_gc *g)
{
	json_t *j = json_object(), *generations = json_array(), *paths = json_array(), *one;
	json_t *profiles = json_array();
	uint64_t bytes = 0;

	for (size_t i = 0; i < g->systems.n; i++) {
		if (!g->del[i])
			continue;
		one = json_object();
		rouse_json_set_int(one, "number", g->systems.items[i].number);
		rouse_json_set_string(one, "path", g->systems.items[i].path);
		rouse_json_append(generations, one);
	}
	for (size_t i = 0; i < g->dead.n; i++) {
		const struct rouse_path *p = g->dead.items[i];
		auto_free char *path = rouse_asprintf(ROUSE_STORE_PREFIX "%s", p->name);

		if (p->valid == g->applied)
			continue;
		one = json_object();
		rouse_json_set_string(one, "path", path);
		if (p->nar_size)
			rouse_json_set_int(one, "bytes", p->nar_size);
		bytes += p->nar_size;
		rouse_json_append(paths, one);
	}
	for (size_t i = 0; i < g->prune.links.n; i++)
		rouse_json_append_string(profiles, g->prune.links.items[i]->name);
	rouse_json_set(j, "generations", generations);
	rouse_json_set(j, "profiles", profiles);
	rouse_json_set(j, "paths", paths);
	rouse_json_set_int(j, "bytes", bytes);
	rouse_json_set(j, "notes", json_incref(g->notes));
	return j;
}
