/* SPDX-License-Identifier: Apache-2.0 */
#include "roots.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include <rouse/closure.h>
#include <rouse/limits.h>
#include <rouse/text.h>

#include "nix32.h"
#include "path.h"

#define STATE "/nix/var/nix"
#define PROFILES STATE "/profiles"
#define HOPS 16       /* from link to link */
#define MAX_LEVELS 64 /* of directories below gcroots */

void rouse_roots_scan(struct rouse_paths *roots, const char *text, size_t n)
{
	const char *end = text + n, *at;
	char part[ROUSE_HASH_PART + 1];
	uint8_t hash[20];

	while ((at = memmem(text, (size_t)(end - text), ROUSE_STORE_PREFIX,
			    sizeof(ROUSE_STORE_PREFIX) - 1))) {
		text = at + sizeof(ROUSE_STORE_PREFIX) - 1;
		if (end - text < ROUSE_HASH_PART ||
		    !rouse_unnix32(hash, sizeof(hash), text, ROUSE_HASH_PART))
			continue;
		memcpy(part, text, ROUSE_HASH_PART);
		part[ROUSE_HASH_PART] = '\0';
		(void)rouse_paths_add(roots, part);
	}
}

/* Where a descriptor leads; the kernel has followed every link on the way. */
static int scan_place(struct rouse_paths *roots, int fd, struct rouse_err *e)
{
	char link[32], place[PATH_MAX];
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, place, sizeof(place));
	if (n < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot read '%s'", link);
	rouse_roots_scan(roots, place, (size_t)n);
	return 0;
}

/* A link, and what it points to, link by link: each may be in the store, or have been in it. */
static int follow(struct rouse_paths *roots, const struct rouse_root *root, const char *link,
		  struct rouse_err *e)
{
	auto_free char *path = rouse_strdup(link);
	char target[PATH_MAX];

	for (int hop = 0; hop < HOPS; hop++) {
		auto_fd int fd = rouse_fs_open(root, path, O_PATH | O_NOFOLLOW, 0);
		const char *slash = strrchr(path, '/');
		char *next;
		ssize_t n;

		if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
			return 0; /* it dangles */
		if (fd < 0)
			return rouse_fail(e, ROUSE_SYSTEM, errno,
					  "cannot follow the root '%s' to '%s'", link, path);
		if (scan_place(roots, fd, e) < 0)
			return -1;
		n = readlinkat(fd, "", target, sizeof(target) - 1);
		if (n <= 0)
			return 0; /* no link */
		target[n] = '\0';
		rouse_roots_scan(roots, target, (size_t)n);
		next = *target == '/' ? rouse_strdup(target)
				      : rouse_asprintf("%.*s/%s", slash ? (int)(slash - path) : 0,
						       path, target);
		free(path);
		path = next;
	}
	return 0;
}

/* Files of /proc have no size that is known before, and their owner decides how long they are: they
 * are read piece by piece, and a path may lie across two. */
static void scan_file(struct rouse_paths *roots, int dir, const char *name)
{
	enum { OVERLAP = sizeof(ROUSE_STORE_PREFIX) - 1 + ROUSE_HASH_PART - 1 };
	auto_fd int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	char piece[16384];
	size_t kept = 0;
	ssize_t n;

	if (fd < 0)
		return; /* a process that has ended needs nothing */
	while ((n = read(fd, piece + kept, sizeof(piece) - kept)) > 0) {
		size_t len = kept + (size_t)n;

		rouse_roots_scan(roots, piece, len);
		kept = len < OVERLAP ? len : OVERLAP;
		memmove(piece, piece + len - kept, kept);
	}
}

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

struct walk {
	struct rouse_paths *roots;
	const struct rouse_root *root;
	bool contents;                  /* of files, not their names */
	const struct rouse_paths *skip; /* links, by their path; may be NULL */
};

static int walk(const struct walk *w, const char *path, unsigned level, struct rouse_err *e);

static int visit(const struct walk *w, DIR *d, const char *dir, const char *name, unsigned level,
		 struct rouse_err *e)
{
	auto_free char *path = rouse_asprintf("%s/%s", dir, name);
	auto_free char *own = NULL;
	struct stat st;

	if (fstatat(dirfd(d), name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT
			       ? 0
			       : rouse_fail(e, ROUSE_SYSTEM, errno, "cannot look at '%s'", path);
	if (S_ISDIR(st.st_mode))
		return walk(w, path, level + 1, e);
	if (S_ISLNK(st.st_mode)) {
		if (strcmp(dir, PROFILES) == 0 && rouse_generation_number(name, "system"))
			return 0;
		if (w->skip && rouse_paths_find(w->skip, path))
			return 0;
		return follow(w->roots, w->root, path, e);
	}
	if (!S_ISREG(st.st_mode))
		return 0;
	if (w->contents) {
		scan_file(w->roots, dirfd(d), name);
		return 0;
	}
	own = rouse_asprintf(ROUSE_STORE_PREFIX "%s", name);
	rouse_roots_scan(w->roots, own, strlen(own));
	return 0;
}

static int walk(const struct walk *w, const char *path, unsigned level, struct rouse_err *e)
{
	int fd = rouse_fs_open(w->root, path, O_RDONLY | O_DIRECTORY, 0), r = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!d && errno == ENOENT)
		return 0;
	if (!d || level > MAX_LEVELS) {
		r = rouse_fail(e, ROUSE_SYSTEM, d ? ELOOP : errno, "cannot list '%s'", path);
		if (d)
			(void)closedir(d);
		else if (fd >= 0)
			(void)close(fd);
		return r;
	}
	while (r == 0 && (errno = 0, entry = readdir(d)))
		if (!is_dots(entry->d_name))
			r = visit(w, d, path, entry->d_name, level, e);
	if (r == 0 && errno)
		r = rouse_fail(e, ROUSE_SYSTEM, errno, "cannot list '%s'", path);
	(void)closedir(d);
	return r;
}

static void scan_link(struct rouse_paths *roots, int dir, const char *name)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(dir, name, target, sizeof(target));

	if (n > 0)
		rouse_roots_scan(roots, target, (size_t)n);
}

static void scan_descriptors(struct rouse_paths *roots, int process)
{
	int fd = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!d) {
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	while ((entry = readdir(d)))
		if (!is_dots(entry->d_name))
			scan_link(roots, dirfd(d), entry->d_name);
	(void)closedir(d);
}

/* What cannot be read belongs to a process that has ended, or to one that is none of ours. */
static void scan_process(struct rouse_paths *roots, int proc, const char *pid)
{
	auto_fd int dir = openat(proc, pid, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return;
	scan_link(roots, dir, "exe");
	scan_link(roots, dir, "cwd");
	scan_link(roots, dir, "root");
	scan_descriptors(roots, dir);
	scan_file(roots, dir, "maps");
	scan_file(roots, dir, "environ");
}

static int scan_processes(struct rouse_paths *roots, struct rouse_err *e)
{
	DIR *d = opendir("/proc");
	struct dirent *entry;

	if (!d)
		return rouse_fail(e, ROUSE_SYSTEM, errno,
				  "cannot see what processes need: cannot open '/proc'");
	while ((entry = readdir(d)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			scan_process(roots, dirfd(d), entry->d_name);
	/* Programs that the kernel itself will start. */
	scan_file(roots, dirfd(d), "sys/kernel/modprobe");
	scan_file(roots, dirfd(d), "sys/kernel/poweroff_cmd");
	(void)closedir(d);
	return 0;
}

/* Documents pin what they want: what is not current today may be asked for by the next boot. */
static int scan_documents(struct rouse_paths *roots, const struct rouse_root *root,
			  struct rouse_err *e)
{
	static const char *const files[] = { "/var/lib/rouse/document.json",
					     "/var/lib/rouse/good.json", "/etc/rouse/agent.json" };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		auto_buf struct rouse_buf text = { 0 };

		if (rouse_fs_read(root, files[i], ROUSE_MAX_FACTS, &text, e) == 0)
			rouse_roots_scan(roots, text.data, text.len);
		else if (e->sys != ENOENT && e->sys != ENOTDIR)
			return -1;
	}
	return 0;
}

int rouse_roots_read(struct rouse_paths *roots, const struct rouse_root *root,
		     const struct rouse_paths *skip, struct rouse_err *e)
{
	const struct walk links = { .roots = roots, .root = root, .skip = skip };
	const struct walk texts = { .roots = roots, .root = root, .contents = true };

	if (walk(&links, PROFILES, 0, e) < 0 || walk(&links, STATE "/gcroots", 0, e) < 0 ||
	    walk(&texts, STATE "/temproots", 0, e) < 0 ||
	    follow(roots, root, "/run/current-system", e) < 0 ||
	    follow(roots, root, "/run/booted-system", e) < 0 || scan_documents(roots, root, e) < 0)
		return -1;
	/* Their paths begin with where the root is mounted; the hash in them is enough. */
	return scan_processes(roots, e);
}
