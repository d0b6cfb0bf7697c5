/* SPDX-License-Identifier: Apache-2.0 */
/* The system generations, what is remembered of them, and going back to one. */
#include <rouse/generations.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rouse/closure.h>
#include <rouse/init.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/text.h>

#include "graph.h"
#include "path.h"
#include "roots.h"
#include "store.h"

#define PROFILES "/nix/var/nix/profiles"

void rouse_systems_done(struct rouse_systems *s)
{
	free(s->items);
	*s = (struct rouse_systems){ 0 };
}

/* --- what is remembered ----------------------------------------------------------------------- */

/* A file that was never written is an empty object, and so is one that a person broke: no boot fails
 * for it, and the next word that is remembered makes it whole. */
static json_t *read_memory(const char *root_path, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_buf struct rouse_buf text = { 0 };
	auto_json json_t *j = NULL;

	if (rouse_root_open(&root, root_path, e) < 0)
		return e->sys == ENOENT ? json_object() : NULL;
	if (rouse_fs_read(&root, ROUSE_GENERATIONS_FILE, ROUSE_MAX_SETTINGS, &text, e) < 0)
		return e->sys == ENOENT ? json_object() : NULL;
	j = rouse_json_parse(ROUSE_GENERATIONS_FILE, text.data, text.len, e);
	if (json_is_object(j))
		return take(j, NULL);
	rouse_log(ROUSE_LOG_WARNING, "closure",
		  "%s%s; healthy marks and the last rollback are forgotten",
		  j ? ROUSE_GENERATIONS_FILE : e->text, j ? " is no object" : "");
	return json_object();
}

static int write_memory(const char *root_path, const json_t *memory, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_free char *text = rouse_json_print(memory);

	if (rouse_root_open(&root, root_path, e) < 0 ||
	    rouse_fs_mkdirs(&root, ROUSE_GENERATIONS_FILE, false, e) < 0)
		return -1;
	return rouse_fs_replace(&root, ROUSE_GENERATIONS_FILE, text, strlen(text), 0644, (uid_t)-1,
				(gid_t)-1, e);
}

/* The rank of a path among those that were ready, 0: never. */
static unsigned rank_of(const json_t *memory, const char *path)
{
	const json_t *healthy = json_object_get(memory, "healthy"), *h;
	size_t i;

	json_array_foreach (healthy, i, h)
		if (rouse_streq(json_string_value(json_object_get(h, "path")), path))
			return (unsigned)i + 1;
	return 0;
}

int rouse_system_mark_healthy(const char *root, const char *path, struct rouse_err *e)
{
	auto_json json_t *memory = read_memory(root, e);
	json_t *healthy, *mark;
	unsigned rank;

	if (!memory)
		return -1;
	healthy = json_object_get(memory, "healthy");
	if (!json_is_array(healthy)) {
		healthy = json_array();
		rouse_json_set(memory, "healthy", healthy);
	}
	rank = rank_of(memory, path);
	if (rank && rank == json_array_size(healthy))
		return 0; /* another boot of the same system writes nothing */
	if (rank)
		(void)json_array_remove(healthy, rank - 1);
	while (json_array_size(healthy) >= ROUSE_MAX_HEALTHY)
		(void)json_array_remove(healthy, 0);
	mark = json_object();
	rouse_json_set_string(mark, "path", path);
	rouse_json_set_int(mark, "time", (uint64_t)time(NULL));
	rouse_json_append(healthy, mark);
	return write_memory(root, memory, e);
}

static void copy_path(char ret[static ROUSE_SYSTEM_PATH_SIZE], const json_t *from)
{
	const char *s = json_string_value(from);

	(void)snprintf(ret, ROUSE_SYSTEM_PATH_SIZE, "%s", s && rouse_is_store_path(s) ? s : "");
}

static void read_rollback(const json_t *memory, char *from, char *to)
{
	const json_t *r = json_object_get(memory, "rollback");

	copy_path(from, json_object_get(r, "from"));
	copy_path(to, json_object_get(r, "to"));
}

int rouse_rollback_read(const char *root, char ret_from[static ROUSE_SYSTEM_PATH_SIZE],
			struct rouse_err *e)
{
	auto_json json_t *memory = read_memory(root, e);
	char to[ROUSE_SYSTEM_PATH_SIZE];

	if (!memory)
		return -1;
	read_rollback(memory, ret_from, to);
	return 0;
}

int rouse_rollback_forget(const char *root, struct rouse_err *e)
{
	auto_json json_t *memory = read_memory(root, e);

	if (!memory)
		return -1;
	if (!json_object_get(memory, "rollback"))
		return 0;
	(void)json_object_del(memory, "rollback");
	return write_memory(root, memory, e);
}

/* --- the generations -------------------------------------------------------------------------- */

static bool store_path_in(const char *text, char ret[static ROUSE_SYSTEM_PATH_SIZE])
{
	const char *name = rouse_strip_prefix(text, ROUSE_STORE_PREFIX);
	size_t len = name ? strcspn(name, "/") : 0;

	if (!name || !rouse_is_store_name(name, len))
		return false;
	(void)snprintf(ret, ROUSE_SYSTEM_PATH_SIZE, ROUSE_STORE_PREFIX "%.*s", (int)len, name);
	return true;
}

bool rouse_booted_system(char buf[static ROUSE_SYSTEM_PATH_SIZE])
{
	struct rouse_handoff h = { 0 };
	struct rouse_err e = { 0 };
	char target[ROUSE_SYSTEM_PATH_SIZE];
	ssize_t n;

	/* The hand-off's file is there in the initramfs, too, before anything is booted. */
	if (rouse_handoff_read(&h, &e) == 0 && access("/etc/initrd-release", F_OK) < 0 &&
	    store_path_in(h.init, buf))
		return true;
	n = readlink("/run/booted-system", target, sizeof(target) - 1);
	if (n <= 0)
		return false;
	target[n] = '\0';
	return store_path_in(target, buf);
}

static int by_number(const void *a, const void *b)
{
	const struct rouse_system *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

static int list_links(DIR *d, struct rouse_systems *ret)
{
	struct dirent *entry;
	size_t size = 0;

	while ((errno = 0, entry = readdir(d))) {
		uint64_t n = rouse_generation_number(entry->d_name, "system");
		struct rouse_system s = { .number = n };
		struct stat st;
		ssize_t len;

		if (!n || fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISLNK(st.st_mode))
			continue;
		len = readlinkat(dirfd(d), entry->d_name, s.path, sizeof(s.path) - 1);
		if (len <= 0)
			continue;
		s.path[len] = '\0';
		s.time = st.st_mtime;
		if (ret->n == size) {
			size = size ? 2 * size : 16;
			ret->items = rouse_realloc(ret->items, size, sizeof(*ret->items));
		}
		ret->items[ret->n++] = s;
	}
	return errno ? -1 : 0;
}

static int read_links(const char *root_path, struct rouse_systems *ret, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	DIR *d = NULL;
	int fd, r;

	if (rouse_root_open(&root, root_path, e) < 0)
		return -1;
	fd = rouse_fs_open(&root, PROFILES, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0 && errno == ENOENT)
		return 0;
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		r = rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s'", PROFILES);
		if (fd >= 0)
			(void)close(fd);
		return r;
	}
	r = list_links(d, ret);
	if (r < 0)
		(void)rouse_fail(e, ROUSE_SYSTEM, errno, "cannot list '%s'", PROFILES);
	(void)closedir(d);
	if (ret->n)
		qsort(ret->items, ret->n, sizeof(*ret->items), by_number);
	return r;
}

/* The bytes of a closure; *ret_there: it is in the store, as far as rouse knows what it needs. */
static uint64_t measure(const struct rouse_store *store, const char *path, bool *ret_there)
{
	auto_paths struct rouse_paths todo = { 0 };
	const char *name = rouse_store_name(path);
	uint64_t bytes = 0;
	bool known = true;
	struct stat st;

	*ret_there = name && store->dir >= 0 &&
		     fstatat(store->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	if (!*ret_there)
		return 0;
	(void)rouse_paths_add(&todo, name);
	for (size_t i = 0; i < todo.n; i++) {
		const struct rouse_path *p = rouse_paths_find(&store->registered,
							      todo.items[i]->name);

		if (!p) {
			known = false;
			continue;
		}
		*ret_there &= p->valid;
		bytes += p->nar_size;
		for (size_t k = 0; k < p->n_references; k++)
			(void)rouse_paths_add(&todo, p->references[k]);
	}
	return known ? bytes : 0;
}

int rouse_systems_read(const char *root, struct rouse_systems *ret, struct rouse_err *e)
{
	auto_store struct rouse_store store = ROUSE_STORE_INIT;
	auto_json json_t *memory = read_memory(root, e);
	struct rouse_generation now = { 0 };
	char booted[ROUSE_SYSTEM_PATH_SIZE] = "";

	if (!memory || rouse_generation_read(root, ROUSE_PROFILE_SYSTEM, &now, e) < 0 ||
	    rouse_store_look(&store, root, e) < 0 || read_links(root, ret, e) < 0)
		return -1;
	if (!rouse_streq(root, "/") || !rouse_booted_system(booted))
		booted[0] = '\0';
	for (size_t i = 0; i < ret->n; i++) {
		struct rouse_system *s = &ret->items[i];

		s->bytes = measure(&store, s->path, &s->there);
		s->current = s->number == now.number;
		s->booted = rouse_streq(s->path, booted);
		s->healthy = rank_of(memory, s->path);
	}
	read_rollback(memory, ret->rolled_from, ret->rolled_to);
	return 0;
}

static const struct rouse_system *current_of(const struct rouse_systems *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->items[i].current)
			return &s->items[i];
	return NULL;
}

const struct rouse_system *rouse_systems_before(const struct rouse_systems *s)
{
	const struct rouse_system *now = current_of(s), *best = NULL;

	for (size_t i = 0; now && i < s->n; i++) {
		const struct rouse_system *g = &s->items[i];

		if (g->number >= now->number || !g->there || rouse_streq(g->path, now->path))
			continue;
		if (!best || g->healthy >= best->healthy)
			best = g;
	}
	return best;
}

const struct rouse_system *rouse_systems_healthy(const struct rouse_systems *s, const char *except)
{
	const struct rouse_system *best = NULL;

	for (size_t i = 0; i < s->n; i++) {
		const struct rouse_system *g = &s->items[i];

		if (g->healthy && g->there && !rouse_streq(g->path, except) &&
		    (!best || g->healthy >= best->healthy))
			best = g;
	}
	return best;
}

/* --- going back ------------------------------------------------------------------------------- */

/* A second rollback in a row still goes away from what the document wants, and coming back to that
 * ends it. */
static int record_rollback(const char *root, const struct rouse_systems *s,
			   const struct rouse_system *to, struct rouse_err *e)
{
	const struct rouse_system *now = current_of(s);
	const char *from = now ? now->path : "";
	auto_json json_t *memory = read_memory(root, e);
	json_t *r;

	if (!memory)
		return -1;
	if (s->rolled_from[0] && rouse_streq(s->rolled_to, from))
		from = s->rolled_from;
	if (rouse_streq(from, to->path) || !rouse_is_store_path(from)) {
		(void)json_object_del(memory, "rollback");
		return write_memory(root, memory, e);
	}
	r = json_object();
	rouse_json_set_string(r, "from", from);
	rouse_json_set_string(r, "to", to->path);
	rouse_json_set_int(r, "time", (uint64_t)time(NULL));
	rouse_json_set(memory, "rollback", r);
	return write_memory(root, memory, e);
}

int rouse_rollback(const char *root_path, const struct rouse_systems *s,
		   const struct rouse_system *to, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	char link[64];

	/* In this order: a switch without its record would be undone by the next boot, and a record
	 * without its switch means nothing. */
	if (rouse_root_open(&root, root_path, e) < 0 || record_rollback(root_path, s, to, e) < 0)
		return -1;
	(void)snprintf(link, sizeof(link), "system-%llu-link", (unsigned long long)to->number);
	return rouse_fs_symlink(&root, link, ROUSE_PROFILE_SYSTEM, e);
}
