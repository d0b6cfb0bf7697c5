/* SPDX-License-Identifier: Apache-2.0 */
/* The collector: which generations go, what is needed without them, and deleting the rest. */
#include <rouse/generations.h>

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include <rouse/clock.h>
#include <rouse/closure.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/text.h>

#include "collect.h"
#include "dedup.h"
#include "graph.h"
#include "path.h"
#include "prune.h"
#include "roots.h"
#include "store.h"
#include "tree.h"

#define PROFILES "/nix/var/nix/profiles"
#define GCROOTS "/nix/var/nix/gcroots"
#define GCROOT GCROOTS "/rouse-booted"
#define WANTED_NAME "rouse-wanted" /* while a collector makes room for what is about to be pulled */
#define WANTED GCROOTS "/" WANTED_NAME

struct rouse_gc {
	struct rouse_store store;
	int hold;
	bool nix;     /* has a database of this store */
	bool applied; /* the lists are of what was deleted */
	struct rouse_systems systems;
	bool *del;                        /* of systems.items */
	struct rouse_paths names;         /* in the store; ->valid: registered */
	struct rouse_paths roots;         /* hash parts */
	struct rouse_paths left;          /* of /nix-path-registration: more that is known */
	struct rouse_paths live;          /* ->valid: what it references is known */
	struct rouse_paths dead;          /* ->nar_size; ->valid: still there */
	struct rouse_prune prune;         /* links of other profiles */
	const struct rouse_paths *wanted; /* about to be rooted; may be NULL */
	uint64_t need;                    /* bytes to be freed; 0: not asked for */
	const char *opaque; /* a live path, of which it is not known what it references */
	json_t *notes;
};

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

/* What is known of a path: registered by rouse, or in what is left for Nix. */
static const struct rouse_path *known(const struct rouse_gc *g, const char *name)
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
		if (known(g, g->wanted->items[i]->name) &&
		    rouse_paths_find(&g->names, g->wanted->items[i]->name))
			(void)rouse_paths_add(&g->live, g->wanted->items[i]->name);
	if (rouse_streq(g->store.root.path, "/") && rouse_booted_system(booted))
		add_system(g, booted);
	for (size_t i = 0; i < g->live.n; i++) {
		const char *name = g->live.items[i]->name;
		const struct rouse_path *p = known(g, name);

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
		const struct rouse_path *p = known(g, g->names.items[i]->name);

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
		const struct rouse_path *p = known(g, name);
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

/* --- deleting --------------------------------------------------------------------------------- */

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
			const struct rouse_path *p = known(g, name);
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
