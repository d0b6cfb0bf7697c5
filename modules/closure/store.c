/* SPDX-License-Identifier: Apache-2.0 */
#include "store.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/xattr.h>

#include <rouse/clock.h>
#include <rouse/limits.h>
#include <rouse/text.h>

#include "journal.h"
#include "path.h"
#include "tree.h"

void rouse_store_done(struct rouse_store *s)
{
	if (s->staging >= 0) {
		(void)close(s->staging);
		/* Leftovers cost space only; the next run removes them. */
		if (!s->keep)
			(void)!rouse_tree_remove(s->dir, s->staging_name);
	}
	if (s->dir >= 0)
		(void)close(s->dir);
	if (s->lock >= 0)
		(void)close(s->lock); /* unlocks */
	rouse_paths_done(&s->kept);
	rouse_paths_done(&s->registered);
	rouse_root_done(&s->root);
	*s = (struct rouse_store)ROUSE_STORE_INIT;
}

static int read_registered(struct rouse_store *s, struct rouse_err *e)
{
	auto_buf struct rouse_buf text = { 0 };
	struct stat st;

	if (rouse_fs_read(&s->root, ROUSE_REGISTRATION, ROUSE_MAX_REGISTRATION, &text, e) < 0)
		return e->sys == ENOENT ? 0 : -1;
	if (rouse_paths_parse(&s->registered, ROUSE_REGISTRATION, text.data, e) < 0)
		return rouse_fail(
			e, ROUSE_SYSTEM, 0,
			"'%s' is damaged; remove it, and a pull finds or fetches again what "
			"is missing in it",
			ROUSE_REGISTRATION);
	for (size_t i = 0; i < s->registered.n; i++) {
		struct rouse_path *p = s->registered.items[i];

		p->valid = fstatat(s->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	}
	return 0;
}

int rouse_store_look(struct rouse_store *s, const char *root, struct rouse_err *e)
{
	if (rouse_root_open(&s->root, root, e) < 0)
		return e->sys == ENOENT ? 0 : -1;
	s->dir = rouse_fs_open(&s->root, ROUSE_STORE_DIR, O_RDONLY | O_DIRECTORY, 0);
	if (s->dir < 0)
		return errno == ENOENT ? 0
				       : rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s%s'",
						    root, ROUSE_STORE_DIR);
	return read_registered(s, e);
}

/* flock(2) knows no deadline; the holder is another rouse, which has one. */
static int lock_store(struct rouse_store *s, uint64_t deadline, struct rouse_err *e)
{
	s->lock = rouse_fs_open(&s->root, ROUSE_STORE_STATE "/lock", O_RDWR | O_CREAT | O_NOFOLLOW,
				0600);
	if (s->lock < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s'",
				  ROUSE_STORE_STATE "/lock");
	while (flock(s->lock, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot lock the store");
		if (!rouse_clock_left(deadline))
			return rouse_fail(
				e, ROUSE_UNAVAILABLE, 0,
				"the store is locked by another rouse, which did not end in time");
		rouse_clock_sleep_until(rouse_clock_ms() + ROUSE_LOCK_POLL);
	}
	return 0;
}

/* With the lock held, every staging directory is of a run that ended early. */
static int remove_leftovers(struct rouse_store *s, struct rouse_err *e)
{
	int fd = fcntl(s->dir, F_DUPFD_CLOEXEC, 3);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int r = 0;

	if (!d)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot list '%s'", ROUSE_STORE_DIR);
	rewinddir(d);
	while (r == 0 && (entry = readdir(d)))
		if (rouse_strip_prefix(entry->d_name, ROUSE_STAGING_PREFIX) &&
		    !rouse_streq(entry->d_name, s->staging_name) &&
		    rouse_tree_remove(s->dir, entry->d_name) < 0)
			r = rouse_fail(e, ROUSE_SYSTEM, errno, "cannot remove '%s/%s'",
				       ROUSE_STORE_DIR, entry->d_name);
	(void)closedir(d);
	return r;
}

static int make_staging(struct rouse_store *s, struct rouse_err *e)
{
	(void)snprintf(s->staging_name, sizeof(s->staging_name), ROUSE_STAGING_PREFIX "%08x",
		       (unsigned)rouse_jitter(UINT32_MAX));
	if (mkdirat(s->dir, s->staging_name, 0700) == 0)
		s->staging = openat(s->dir, s->staging_name,
				    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (s->staging < 0 || fchmod(s->staging, 0700) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make '%s/%s'", ROUSE_STORE_DIR,
				  s->staging_name);
	/* What is made below it would inherit the store's; where it has none, there is nothing to remove. */
	(void)fremovexattr(s->staging, "system.posix_acl_default");
	return 0;
}

int rouse_store_lock(struct rouse_store *s, uint64_t deadline, struct rouse_err *e)
{
	if (rouse_fs_mkdirs(&s->root, ROUSE_STORE_STATE, true, e) < 0 ||
	    lock_store(s, deadline, e) < 0)
		return -1;
	rouse_paths_done(&s->registered);
	return read_registered(s, e);
}

static int open_store(struct rouse_store *s, const char *root, uint64_t deadline, bool resume,
		      struct rouse_err *e)
{
	if (rouse_root_open(&s->root, root, e) < 0 ||
	    rouse_fs_mkdirs(&s->root, ROUSE_STORE_DIR, true, e) < 0 ||
	    rouse_fs_mkdirs(&s->root, ROUSE_STORE_STATE, true, e) < 0)
		return -1;
	s->dir = rouse_fs_open(&s->root, ROUSE_STORE_DIR, O_RDONLY | O_DIRECTORY, 0);
	if (s->dir < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s%s'", root,
				  ROUSE_STORE_DIR);
	if (rouse_store_writable(s, e) < 0 || lock_store(s, deadline, e) < 0)
		return -1;
	if (resume)
		rouse_journal_adopt(s);
	if (remove_leftovers(s, e) < 0 || read_registered(s, e) < 0)
		return -1;
	return s->staging >= 0 ? 0 : make_staging(s, e);
}

int rouse_store_open(struct rouse_store *s, const char *root, uint64_t deadline,
		     struct rouse_err *e)
{
	return open_store(s, root, deadline, false, e);
}

int rouse_store_resume(struct rouse_store *s, const char *root, uint64_t deadline,
		       struct rouse_err *e)
{
	return open_store(s, root, deadline, true, e);
}

static bool has_leftovers(const struct rouse_store *s)
{
	int fd = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	bool any = false;

	while (d && !any && (entry = readdir(d)))
		any = rouse_strip_prefix(entry->d_name, ROUSE_STAGING_PREFIX) != NULL;
	if (d)
		(void)closedir(d);
	return any;
}

void rouse_store_tidy(const char *root)
{
	auto_store struct rouse_store s = ROUSE_STORE_INIT, locked = ROUSE_STORE_INIT;
	struct rouse_err e;

	if (rouse_store_look(&s, root, &e) == 0 && s.dir >= 0 && has_leftovers(&s))
		(void)!rouse_store_open(&locked, root, rouse_clock_ms(), &e);
}

/* rename(2) of a read-only directory needs write permission on it, unless one is root. */
static int move(int from, const char *name, int to, const char *new_name, unsigned flags)
{
	struct stat st;
	int r = renameat2(from, name, to, new_name, flags);

	if (r < 0 && errno == EINVAL) /* a filesystem without flags; we hold the lock */
		r = renameat(from, name, to, new_name);
	if (r == 0 || errno != EACCES || geteuid() == 0 ||
	    fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
		return r;
	if (fchmodat(from, name, 0755, 0) < 0)
		return -1;
	r = renameat2(from, name, to, new_name, flags);
	if (r == 0 && fchmodat(to, new_name, 0555, 0) < 0)
		return -1;
	return r;
}

int rouse_store_publish(struct rouse_store *s, const char *name, struct rouse_err *e)
{
	char trash[32];

	for (int tries = 0; tries < 2; tries++) {
		if (move(s->staging, name, s->dir, name, RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != EEXIST && errno != ENOTEMPTY)
			break;
		/* In one step: it may be what this machine runs on, put there by somebody else. The
		 * old one is gone with the staging directory. */
		if (renameat2(s->staging, name, s->dir, name, RENAME_EXCHANGE) == 0)
			return 0;
		(void)snprintf(trash, sizeof(trash), "trash-%u",
			       __atomic_add_fetch(&s->trash, 1, __ATOMIC_RELAXED));
		if (move(s->dir, name, s->staging, trash, 0) < 0)
			return rouse_fail(e, ROUSE_SYSTEM, errno,
					  "cannot move the unregistered '%s%s' out of the way",
					  ROUSE_STORE_PREFIX, name);
	}
	return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot move '%s%s' into the store",
			  ROUSE_STORE_PREFIX, name);
}

int rouse_store_discard(struct rouse_store *s, const char *name, struct rouse_err *e)
{
	if (rouse_tree_remove(s->staging, name) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot remove the unfinished '%s%s'",
				  ROUSE_STORE_PREFIX, name);
	return 0;
}

int rouse_store_withdraw(struct rouse_store *s, const char *name, struct rouse_err *e)
{
	if (move(s->dir, name, s->staging, name, 0) < 0 && errno != ENOENT)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot move '%s%s' out of the store",
				  ROUSE_STORE_PREFIX, name);
	if (rouse_tree_remove(s->staging, name) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot remove all of '%s%s'",
				  ROUSE_STORE_PREFIX, name);
	return 0;
}

int rouse_store_write(struct rouse_store *s, struct rouse_err *e)
{
	auto_buf struct rouse_buf text = { 0 };

	for (size_t i = 0; i < s->registered.n; i++)
		if (s->registered.items[i]->valid)
			rouse_path_print(s->registered.items[i], &text);
	return rouse_fs_replace(&s->root, ROUSE_REGISTRATION, text.data ? text.data : "", text.len,
				0644, (uid_t)-1, (gid_t)-1, e);
}

int rouse_store_register(struct rouse_store *s, struct rouse_path *const *paths, size_t n,
			 struct rouse_err *e)
{
	/* First the bytes, then the word that they are there. */
	if (syncfs(s->dir) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot write '%s' to disk",
				  ROUSE_STORE_DIR);
	for (size_t i = 0; i < n; i++) {
		struct rouse_path *p = rouse_paths_add(&s->registered, paths[i]->name);

		rouse_path_copy(&s->registered, p, paths[i]);
		p->valid = true;
	}
	/* Nix is told last. When that is cut off, what is left for it says so: nobody else would, for
	 * the next run finds all that it wants. */
	return rouse_store_leave(s, e) < 0 ? -1 : rouse_store_write(s, e);
}
