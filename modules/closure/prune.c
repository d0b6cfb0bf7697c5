/* SPDX-License-Identifier: Apache-2.0 */
#include "prune.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <rouse/closure.h>
#include <rouse/parent.h>
#include <rouse/text.h>

#define PROFILES "/nix/var/nix/profiles"
#define MAX_LEVELS 8 /* of directories below it: Nix has "per-user/NAME" */

void rouse_prune_done(struct rouse_prune *p)
{
	rouse_paths_done(&p->links);
}

struct one {
	char *profile; /* "profile" of "profile-7-link" */
	uint64_t number;
	int64_t time;
};

struct all {
	struct one *items;
	size_t n, size;
};

static void all_done(struct all *a)
{
	for (size_t i = 0; i < a->n; i++)
		free(a->items[i].profile);
	free(a->items);
}
#define auto_all __attribute__((cleanup(all_done)))

/* By profile, the newest first. */
static int order(const void *a, const void *b)
{
	const struct one *x = a, *y = b;
	int by_name = strcmp(x->profile, y->profile);

	if (by_name)
		return by_name;
	return x->number > y->number ? -1 : x->number < y->number;
}

/* "profile" of "profile-7-link"; NULL for other names. Caller frees. */
static char *profile_of(const char *link, uint64_t *ret_number)
{
	size_t len = strlen(link);
	const char *end = len > 5 ? link + len - 5 : link, *dash = end;
	auto_free char *name = NULL;

	while (dash > link && dash[-1] >= '0' && dash[-1] <= '9')
		dash--;
	if (dash - link < 2 || dash[-1] != '-')
		return NULL;
	name = rouse_strndup(link, (size_t)(dash - 1 - link));
	*ret_number = rouse_generation_number(link, name);
	return *ret_number ? take(name, NULL) : NULL;
}

static void add_link(struct all *a, const char *link, const struct stat *st)
{
	uint64_t number = 0;
	char *profile = profile_of(link, &number);

	if (!profile)
		return;
	if (a->n == a->size) {
		a->size = a->size ? 2 * a->size : 16;
		a->items = rouse_realloc(a->items, a->size, sizeof(*a->items));
	}
	a->items[a->n++] = (struct one){ profile, number, st->st_mtime };
}

/* The number of the current generation, 0: it is no profile. */
static uint64_t current_of(DIR *d, const char *profile)
{
	char target[NAME_MAX + 1];
	ssize_t n = readlinkat(dirfd(d), profile, target, sizeof(target) - 1);

	if (n <= 0)
		return 0;
	target[n] = '\0';
	return rouse_generation_number(target, profile);
}

static void choose(struct rouse_prune *p, DIR *d, const char *dir, const struct all *a,
		   const struct rouse_gc_policy *policy)
{
	uint64_t rank = 0, current = 0;

	for (size_t i = 0; i < a->n; i++) {
		const struct one *o = &a->items[i];
		auto_free char *path = NULL;

		if (!i || strcmp(a->items[i - 1].profile, o->profile) != 0) {
			rank = 0;
			current = current_of(d, o->profile);
		}
		if (strcmp(dir, PROFILES) == 0 && strcmp(o->profile, "system") == 0)
			continue;
		if (rank++ < policy->keep || !current || o->number == current ||
		    o->time > policy->younger)
			continue;
		path = rouse_asprintf("%s/%s-%llu-link", dir, o->profile,
				      (unsigned long long)o->number);
		(void)rouse_paths_add(&p->links, path);
	}
}

static int walk(struct rouse_prune *p, int parent, const char *name, const char *path,
		const struct rouse_gc_policy *policy, unsigned level, struct rouse_err *e)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	auto_all struct all a = { 0 };
	struct dirent *entry;

	if (!d) {
		r = errno == ENOENT || errno == ELOOP || errno == ENOTDIR
			    ? 0
			    : rouse_fail(e, ROUSE_SYSTEM, errno, "cannot list '%s'", path);
		if (fd >= 0)
			(void)close(fd);
		return r;
	}
	while (r == 0 && (errno = 0, entry = readdir(d))) {
		struct stat st;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(st.st_mode) && level < MAX_LEVELS) {
			auto_free char *below = rouse_asprintf("%s/%s", path, entry->d_name);

			r = walk(p, dirfd(d), entry->d_name, below, policy, level + 1, e);
		} else if (S_ISLNK(st.st_mode)) {
			add_link(&a, entry->d_name, &st);
		}
	}
	if (r == 0 && errno)
		r = rouse_fail(e, ROUSE_SYSTEM, errno, "cannot list '%s'", path);
	if (a.n)
		qsort(a.items, a.n, sizeof(*a.items), order);
	if (r == 0)
		choose(p, d, path, &a, policy);
	(void)closedir(d);
	return r;
}

int rouse_prune_choose(struct rouse_prune *ret, const struct rouse_root *root,
		       const struct rouse_gc_policy *policy, struct rouse_err *e)
{
	auto_fd int fd = rouse_fs_open(root, PROFILES, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0)
		return errno == ENOENT
			       ? 0
			       : rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s'", PROFILES);
	return walk(ret, fd, ".", PROFILES, policy, 0, e);
}

int rouse_prune_apply(const struct rouse_prune *p, const struct rouse_root *root,
		      struct rouse_err *e)
{
	for (size_t i = 0; i < p->links.n; i++) {
		const char *path = p->links.items[i]->name, *name = NULL;
		auto_root struct rouse_root parent = ROUSE_ROOT_INIT;

		/* Their users may have removed or moved them since. */
		if (rouse_open_parent(root, path, false, &parent, &name, e) < 0) {
			if (e->sys == ENOENT || e->sys == ENOTDIR)
				continue;
			return -1;
		}
		if (unlinkat(parent.fd, name + 1, 0) < 0 && errno != ENOENT)
			return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot remove '%s'", path);
	}
	return 0;
}
