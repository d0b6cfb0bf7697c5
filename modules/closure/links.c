/* SPDX-License-Identifier: Apache-2.0 */
#include "links.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/text.h>

#include "path.h"

#define PROPAGATED "nix-support/propagated-user-env-packages"
#define PROPAGATED_PRIORITY 1000 /* of the first; each one behind it gives way to those before */

struct rouse_link {
	const char *name;
	const char *target; /* NULL: a directory */
	int64_t priority;
	struct rouse_link **entries; /* of a directory, in byte order */
	size_t n, size;
};

int rouse_links_begin(struct rouse_links *l, const struct rouse_root *root, struct rouse_err *e)
{
	char link[32];
	ssize_t n;

	*l = (struct rouse_links){ .root = root };
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", root->fd);
	n = readlink(link, l->root_path, sizeof(l->root_path) - 1);
	if (n < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot read '%s'", link);
	l->root_path[n == 1 ? 0 : n] = '\0';
	l->top = rouse_arena_alloc(&l->arena, sizeof(*l->top));
	return 0;
}

static void free_entries(struct rouse_link *link)
{
	for (size_t i = 0; i < link->n; i++)
		free_entries(link->entries[i]);
	free(link->entries);
}

void rouse_links_done(struct rouse_links *l)
{
	if (l->top)
		free_entries(l->top);
	rouse_arena_done(&l->arena);
	*l = (struct rouse_links){ 0 };
}

/* --- the tree --------------------------------------------------------------------------------- */

/* Where `name` is among the entries, or belongs. */
static size_t place_of(const struct rouse_link *dir, const char *name, bool *ret_there)
{
	size_t low = 0, high = dir->n;

	*ret_there = false;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = strcmp(dir->entries[mid]->name, name);

		if (order == 0) {
			*ret_there = true;
			return mid;
		}
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int insert(struct rouse_links *l, struct rouse_link *dir, const char *name,
		  const char *target, int64_t priority, struct rouse_err *e)
{
	bool there = false;
	size_t at = place_of(dir, name, &there);
	struct rouse_link *link;

	if (l->n++ >= ROUSE_MAX_PROFILE_LINKS)
		return rouse_fail(e, ROUSE_SYSTEM, 0, "the profile would have more than %d names",
				  ROUSE_MAX_PROFILE_LINKS);
	if (dir->n == dir->size) {
		dir->size = dir->size ? 2 * dir->size : 8;
		dir->entries = rouse_realloc(dir->entries, dir->size, sizeof(*dir->entries));
	}
	link = rouse_arena_alloc(&l->arena, sizeof(*link));
	*link = (struct rouse_link){ .name = rouse_arena_strdup(&l->arena, name),
				     .target = rouse_arena_strdup(&l->arena, target),
				     .priority = priority };
	memmove(dir->entries + at + 1, dir->entries + at, (dir->n - at) * sizeof(*dir->entries));
	dir->entries[at] = link;
	dir->n++;
	return 0;
}

/* --- what packages have ----------------------------------------------------------------------- */

/* What Nix does not link: useless in a profile, and in the way of each other. */
static bool is_skipped(const char *path)
{
	static const char *const ends[] = { "/propagated-build-inputs", "/nix-support",
					    "/perllocal.pod", "/info/dir", "/log" };
	size_t len = strlen(path);

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		size_t n = strlen(ends[i]);

		if (len >= n && strcmp(path + len - n, ends[i]) == 0)
			return true;
	}
	return false;
}

static int by_name(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return strcmp(*x, *y);
}

struct names {
	char **items;
	size_t n, size;
};

static void names_auto(struct names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->items[i]);
	free(names->items);
}
#define auto_names __attribute__((cleanup(names_auto)))

/* Names that begin with a dot are not linked, as a shell's "*" would not. */
static int list(const struct rouse_links *l, const char *path, struct names *ret,
		struct rouse_err *e)
{
	int fd = rouse_fs_open(l->root, path, O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int r = 0;

	if (!d) {
		r = rouse_fail(e, ROUSE_SYSTEM, errno, "cannot list '%s'", path);
		if (fd >= 0)
			(void)close(fd);
		return r;
	}
	while (r == 0 && (errno = 0, entry = readdir(d))) {
		if (entry->d_name[0] == '.')
			continue;
		if (ret->n == ROUSE_MAX_PROFILE_LINKS)
			r = rouse_fail(e, ROUSE_SYSTEM, 0, "'%s' has more than %d names", path,
				       ROUSE_MAX_PROFILE_LINKS);
		if (ret->n == ret->size) {
			ret->size = ret->size ? 2 * ret->size : 64;
			ret->items = rouse_realloc(ret->items, ret->size, sizeof(*ret->items));
		}
		ret->items[ret->n++] = rouse_strdup(entry->d_name);
	}
	if (r == 0 && errno)
		r = rouse_fail(e, ROUSE_SYSTEM, errno, "cannot list '%s'", path);
	(void)closedir(d);
	if (ret->n)
		qsort(ret->items, ret->n, sizeof(*ret->items), by_name);
	return r;
}

/* 1: a directory, or a link to one; 0: anything else that is there; -1 with errno. */
static int is_directory(const struct rouse_links *l, const char *path)
{
	auto_fd int fd = rouse_fs_open(l->root, path, O_PATH, 0);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -1;
	return S_ISDIR(st.st_mode);
}

/* The directory that `path` leads to, without links; from the arena. */
static int resolve(struct rouse_links *l, const char *path, const char **ret, struct rouse_err *e)
{
	auto_fd int fd = rouse_fs_open(l->root, path, O_PATH | O_DIRECTORY, 0);
	char link[32], place[PATH_MAX];
	const char *inside = NULL;
	ssize_t n = -1;

	if (fd >= 0) {
		(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, place, sizeof(place) - 1);
	}
	if (n < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s'", path);
	place[n] = '\0';
	inside = rouse_strip_prefix(place, l->root_path);
	*ret = rouse_arena_strdup(&l->arena, inside ? inside : place);
	return 0;
}

static int add_directory(struct rouse_links *l, struct rouse_link *dir, const char *path,
			 int64_t priority, unsigned depth, struct rouse_err *e);

/* A directory of a second package: what was one link becomes a directory of links. */
static int merge_directory(struct rouse_links *l, struct rouse_link *there, const char *path,
			   int64_t priority, unsigned depth, struct rouse_err *e)
{
	const char *first = NULL;

	if (there->target) {
		int is_dir = is_directory(l, there->target);

		if (is_dir <= 0)
			return rouse_fail(e, ROUSE_DOCUMENT, is_dir < 0 ? errno : 0,
					  "'%s' is a directory, and '%s' is none: no profile has "
					  "room for both",
					  path, there->target);
		if (resolve(l, there->target, &first, e) < 0)
			return -1;
		there->target = NULL;
		if (add_directory(l, there, first, there->priority, depth + 1, e) < 0)
			return -1;
	}
	return add_directory(l, there, path, priority, depth + 1, e);
}

static int merge_file(struct rouse_links *l, struct rouse_link *there, const char *path,
		      int64_t priority, struct rouse_err *e)
{
	if (!there->target)
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "'%s' is no directory, and another package has one of this name: "
				  "no profile has room for both",
				  path);
	if (there->priority == priority)
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "'%s' and '%s' have the same priority, %lld; give one of the two "
				  "programs another \"priority\"",
				  there->target, path, (long long)priority);
	if (there->priority > priority) {
		there->target = rouse_arena_strdup(&l->arena, path);
		there->priority = priority;
	}
	return 0;
}

static int add_one(struct rouse_links *l, struct rouse_link *dir, const char *path,
		   const char *name, int64_t priority, unsigned depth, struct rouse_err *e)
{
	int is_dir;
	bool there = false;
	size_t at;

	if (is_skipped(path))
		return 0;
	is_dir = is_directory(l, path);
	if (is_dir < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)) {
		rouse_log(ROUSE_LOG_DEBUG, "profiles", "'%s' dangles: not linked", path);
		return 0;
	}
	if (is_dir < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot look at '%s'", path);
	at = place_of(dir, name, &there);
	if (!there)
		return insert(l, dir, name, path, priority, e);
	return is_dir ? merge_directory(l, dir->entries[at], path, priority, depth, e)
		      : merge_file(l, dir->entries[at], path, priority, e);
}

static int add_directory(struct rouse_links *l, struct rouse_link *dir, const char *path,
			 int64_t priority, unsigned depth, struct rouse_err *e)
{
	auto_names struct names names = { 0 };

	/* One level is the tree itself. Links may lead into a circle. */
	if (depth >= ROUSE_MAX_NAR_DEPTH - 1)
		return rouse_fail(e, ROUSE_DOCUMENT, ELOOP, "'%s' nests too deep for a profile",
				  path);
	if (list(l, path, &names, e) < 0)
		return -1;
	for (size_t i = 0; i < names.n; i++) {
		auto_free char *below = rouse_asprintf("%s/%s", path, names.items[i]);

		if (add_one(l, dir, below, names.items[i], priority, depth, e) < 0)
			return -1;
	}
	return 0;
}

/* --- packages --------------------------------------------------------------------------------- */

struct queue {
	char **paths;
	size_t n, size;
};

static void queue_auto(struct queue *q)
{
	for (size_t i = 0; i < q->n; i++)
		free(q->paths[i]);
	free(q->paths);
}
#define auto_queue __attribute__((cleanup(queue_auto)))

static void enqueue(struct queue *q, const char *path)
{
	for (size_t i = 0; i < q->n; i++)
		if (strcmp(q->paths[i], path) == 0)
			return;
	if (q->n == q->size) {
		q->size = q->size ? 2 * q->size : 16;
		q->paths = rouse_realloc(q->paths, q->size, sizeof(*q->paths));
	}
	q->paths[q->n++] = rouse_strdup(path);
}

/* Store paths in a text of blanks and newlines, which the package's maker wrote. */
static int read_propagated(const struct rouse_links *l, const char *package, struct queue *q,
			   struct rouse_err *e)
{
	auto_free char *path = rouse_asprintf("%s/" PROPAGATED, package);
	auto_buf struct rouse_buf text = { 0 };

	if (rouse_fs_read(l->root, path, ROUSE_MAX_METADATA, &text, e) < 0)
		return e->sys == ENOENT || e->sys == ENOTDIR ? 0 : -1;
	for (char *word = text.data, *end; *word; word = end) {
		word += strspn(word, " \t\n");
		end = word + strcspn(word, " \t\n");
		if (*end)
			*end++ = '\0';
		if (rouse_store_name(word) && q->n < ROUSE_MAX_ELEMENTS)
			enqueue(q, word);
	}
	return 0;
}

static int add_package(struct rouse_links *l, struct queue *q, const char *path, int64_t priority,
		       struct rouse_err *e)
{
	if (is_directory(l, path) == 0)
		return rouse_fail(e, ROUSE_DOCUMENT, ENOTDIR, "no profile can hold '%s'", path);
	if (add_directory(l, l->top, path, priority, 0, e) < 0)
		return -1;
	return read_propagated(l, path, q, e);
}

static int by_priority(const void *a, const void *b)
{
	const struct rouse_package *x = a, *y = b;

	return x->priority < y->priority   ? -1
	       : x->priority > y->priority ? 1
					   : strcmp(x->path, y->path);
}

int rouse_links_add(struct rouse_links *l, struct rouse_package *packages, size_t n,
		    struct rouse_err *e)
{
	auto_queue struct queue q = { 0 };
	size_t explicitly;

	if (n)
		qsort(packages, n, sizeof(*packages), by_priority);
	for (size_t i = 0; i < n; i++)
		enqueue(&q, packages[i].path);
	explicitly = q.n;
	for (size_t i = 0; i < n; i++)
		if (add_package(l, &q, packages[i].path, packages[i].priority, e) < 0)
			return -1;
	for (size_t i = explicitly; i < q.n; i++) {
		auto_free char *path = rouse_strdup(q.paths[i]);

		if (add_package(l, &q, path, PROPAGATED_PRIORITY + (int64_t)(i - explicitly), e) <
		    0)
			return -1;
	}
	return 0;
}

/* --- the archive ------------------------------------------------------------------------------ */

static void put(struct rouse_buf *out, const char *s)
{
	static const char zeros[8];
	uint64_t n = strlen(s);
	unsigned char length[8];

	for (unsigned i = 0; i < sizeof(length); i++)
		length[i] = (unsigned char)(n >> 8 * i);
	/* Bounded by the number of names and the lengths of paths. */
	(void)!rouse_buf_add(out, length, sizeof(length), SIZE_MAX);
	(void)!rouse_buf_add(out, s, n, SIZE_MAX);
	(void)!rouse_buf_add(out, zeros, -n & 7, SIZE_MAX);
}

static void put_all(struct rouse_buf *out, const char *const *words)
{
	for (; *words; words++)
		put(out, *words);
}
#define PUT(out, ...) put_all(out, (const char *const[]){ __VA_ARGS__, NULL })

static void put_directory(struct rouse_buf *out, const struct rouse_link *dir, const char *file,
			  const char *contents);

static void put_file(struct rouse_buf *out, const char *file, const char *contents)
{
	PUT(out, "entry", "(", "name", file, "node", "(", "type", "regular", "contents", contents,
	    ")", ")");
}

static void put_entry(struct rouse_buf *out, const struct rouse_link *link)
{
	PUT(out, "entry", "(", "name", link->name, "node");
	if (link->target)
		PUT(out, "(", "type", "symlink", "target", link->target, ")");
	else
		put_directory(out, link, NULL, NULL);
	put(out, ")");
}

static void put_directory(struct rouse_buf *out, const struct rouse_link *dir, const char *file,
			  const char *contents)
{
	PUT(out, "(", "type", "directory");
	for (size_t i = 0; i < dir->n; i++) {
		int order = file ? strcmp(file, dir->entries[i]->name) : 1;

		if (order < 0) {
			put_file(out, file, contents);
			file = NULL;
		}
		if (order != 0) /* the file takes the place of a link */
			put_entry(out, dir->entries[i]);
	}
	if (file)
		put_file(out, file, contents);
	put(out, ")");
}

void rouse_links_archive(const struct rouse_links *l, const char *file, const char *contents,
			 struct rouse_buf *out)
{
	put(out, "nix-archive-1");
	put_directory(out, l->top, file, contents);
}
