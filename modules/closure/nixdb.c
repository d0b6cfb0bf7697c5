/* SPDX-License-Identifier: Apache-2.0 */
/* Telling Nix, where there is one, what is valid. */
#include "store.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/proc.h>
#include <rouse/text.h>

#include "path.h"

#define LEFT_FOR_NIX "/nix-path-registration"

/* What Nix can be told: it refuses a path whose references are not valid. */
static void print_closed(struct rouse_paths *paths, struct rouse_buf *out)
{
	bool again = true;

	for (size_t i = 0; i < paths->n; i++)
		paths->items[i]->closed = paths->items[i]->valid;
	while (again) {
		again = false;
		for (size_t i = 0; i < paths->n; i++) {
			struct rouse_path *p = paths->items[i];

			for (size_t k = 0; p->closed && k < p->n_references; k++) {
				const struct rouse_path *r = rouse_paths_find(paths,
									      p->references[k]);

				if (!r || !r->closed) {
					p->closed = false;
					again = true;
				}
			}
		}
	}
	for (size_t i = 0; i < paths->n; i++)
		if (paths->items[i]->closed)
			rouse_path_print(paths->items[i], out);
}

/* Most paths do not have it, which one look tells. */
static bool is_in(const struct rouse_store *s, const char *name, const char *chroot, char *buf,
		  size_t size)
{
	auto_free char *path = rouse_asprintf(ROUSE_STORE_PREFIX "%s/bin/nix-store", name);
	struct stat st;

	return fstatat(s->dir, path + strlen(ROUSE_STORE_PREFIX), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       rouse_proc_find(path, chroot, buf, size);
}

/* The program, as the target sees it: of the system, or of any registered path. */
static bool find_nix_store(const struct rouse_store *s, const char *chroot, char *buf, size_t size)
{
	/* Of the system, of a system closure that does not run yet, of a profile. */
	static const char *const places[] = {
		"nix-store",
		"/nix/var/nix/profiles/system/sw/bin/nix-store",
		"/nix/var/nix/profiles/default/bin/nix-store",
	};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (rouse_proc_find(places[i], chroot, buf, size))
			return true;
	for (size_t i = 0; i < s->registered.n; i++)
		if (s->registered.items[i]->valid &&
		    is_in(s, s->registered.items[i]->name, chroot, buf, size))
			return true;
	return false;
}

static const char *const nix_env[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
				       "LANG=C",
				       "HOME=/root",
				       "USER=root",
				       "NIX_REMOTE=local",
				       NULL };

static const char *chroot_of(const struct rouse_store *s)
{
	return rouse_streq(s->root.path, "/") ? NULL : s->root.path;
}

static int load_db(const char *program, const char *chroot, const struct rouse_buf *text,
		   uint64_t deadline, struct rouse_err *e)
{
	const char *const argv[] = { program, "--load-db", NULL };
	const struct rouse_proc p = {
		.argv = argv,
		.env = nix_env,
		.chroot = chroot,
		.deadline = deadline,
		.input = text->data,
		.input_len = text->len,
	};

	return rouse_proc_check(&p, e);
}

/* From here on Nix has its own list, and changes it. */
static int forget_left(const struct rouse_store *s, struct rouse_err *e)
{
	if (unlinkat(s->root.fd, &LEFT_FOR_NIX[1], 0) < 0 && errno != ENOENT)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot remove '%s'", LEFT_FOR_NIX);
	return 0;
}

static bool is_left(const struct rouse_root *root)
{
	auto_fd int fd = rouse_fs_open(root, LEFT_FOR_NIX, O_PATH | O_NOFOLLOW, 0);

	return fd >= 0;
}

/* Is something left that a Nix which has come since could be told, and may it be? */
static bool may_tell(const struct rouse_store *s)
{
	char program[512];

	return is_left(&s->root) && geteuid() == 0 &&
	       find_nix_store(s, chroot_of(s), program, sizeof(program));
}

static int tell_left(const struct rouse_store *s, uint64_t deadline, struct rouse_err *e)
{
	auto_buf struct rouse_buf text = { 0 };
	char program[512];

	if (rouse_fs_read(&s->root, LEFT_FOR_NIX, ROUSE_MAX_REGISTRATION, &text, e) < 0)
		return e->sys == ENOENT ? 0 : -1;
	if (!find_nix_store(s, chroot_of(s), program, sizeof(program)))
		return rouse_fail(e, ROUSE_SYSTEM, ENOENT, "cannot find nix-store");
	if (load_db(program, chroot_of(s), &text, deadline, e) < 0)
		return -1;
	return forget_left(s, e);
}

/* Asked at each boot of each machine, most of which have nothing left: that is known before all paths of
 * the store are looked at. */
static int look_when_left(const char *root, struct rouse_store *s, struct rouse_err *e)
{
	auto_root struct rouse_root r = ROUSE_ROOT_INIT;

	if (rouse_root_open(&r, root, e) < 0)
		return e->sys == ENOENT ? 0 : -1;
	return is_left(&r) ? rouse_store_look(s, root, e) : 0;
}

bool rouse_store_is_untold(const char *root)
{
	auto_store struct rouse_store s = ROUSE_STORE_INIT;
	struct rouse_err e;

	return look_when_left(root, &s, &e) == 0 && s.dir >= 0 && may_tell(&s);
}

int rouse_store_tell_first(const char *root, uint64_t deadline, struct rouse_err *e)
{
	auto_store struct rouse_store s = ROUSE_STORE_INIT;

	if (look_when_left(root, &s, e) < 0)
		return -1;
	return s.dir >= 0 && may_tell(&s) ? tell_left(&s, deadline, e) : 0;
}

/* --- what others have put there --------------------------------------------------------------- */

static void take_over(struct rouse_store *s, const struct rouse_paths *from)
{
	for (size_t i = 0; i < from->n; i++) {
		const struct rouse_path *p = from->items[i];
		struct rouse_path *mine = rouse_paths_find(&s->registered, p->name);
		struct stat st;

		if ((mine && mine->valid) || !p->known ||
		    fstatat(s->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		mine = rouse_paths_add(&s->registered, p->name);
		rouse_path_copy(&s->registered, mine, p);
		mine->valid = true;
	}
}

/* Is there anything that is not registered? Looking costs less than asking Nix. */
static bool has_more(const struct rouse_store *s)
{
	int fd = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	bool more = false;

	if (!d) {
		if (fd >= 0)
			(void)close(fd);
		return false;
	}
	while (!more && (entry = readdir(d))) {
		const struct rouse_path *p = rouse_paths_find(&s->registered, entry->d_name);

		more = rouse_is_store_name(entry->d_name, strlen(entry->d_name)) &&
		       (!p || !p->valid);
	}
	(void)closedir(d);
	return more;
}

static int ask_nix(const struct rouse_store *s, uint64_t deadline, struct rouse_paths *ret,
		   struct rouse_err *e)
{
	auto_buf struct rouse_buf out = { 0 };
	char program[512], *text;
	const char *const argv[] = { program, "--dump-db", NULL };
	const struct rouse_proc p = { .argv = argv,
				      .env = nix_env,
				      .chroot = chroot_of(s),
				      .deadline = deadline,
				      .max_output = ROUSE_MAX_REGISTRATION };
	int status = 0;

	if (geteuid() != 0 || !rouse_store_has_nix(s) ||
	    !find_nix_store(s, p.chroot, program, sizeof(program)))
		return 0;
	if (rouse_proc_run(&p, &status, &out, e) < 0)
		return -1;
	if (status)
		return rouse_fail(e, ROUSE_SYSTEM, 0, "'%s --dump-db' ended with status %d",
				  program, status);
	/* Warnings come first. */
	if (rouse_buf_add(&out, "", 0, SIZE_MAX) < 0)
		return 0;
	text = out.data;
	while (*text && !rouse_strip_prefix(text, ROUSE_STORE_PREFIX))
		text += strcspn(text, "\n") + (text[strcspn(text, "\n")] != '\0');
	return rouse_paths_parse(ret, "nix-store --dump-db", text, e);
}

static int read_list(const struct rouse_store *s, const char *path, struct rouse_paths *ret,
		     struct rouse_err *e)
{
	auto_buf struct rouse_buf text = { 0 };

	if (rouse_fs_read(&s->root, path, ROUSE_MAX_REGISTRATION, &text, e) < 0)
		return e->sys == ENOENT ? 0 : -1;
	return rouse_paths_parse(ret, path, text.data, e);
}

void rouse_store_adopt(struct rouse_store *s, uint64_t deadline)
{
	/* Where images that Nix made have it (closureInfo's "registration"). */
	static const char *const lists[] = { LEFT_FOR_NIX, "/nix/store/nix-path-registration" };
	struct rouse_err e = { 0 };

	if (s->dir < 0 || !has_more(s))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		auto_paths struct rouse_paths paths = { 0 };

		if (read_list(s, lists[i], &paths, &e) < 0)
			rouse_log(ROUSE_LOG_WARNING, "closure", "%s, ignoring", e.text);
		else
			take_over(s, &paths);
	}
	if (has_more(s)) {
		auto_paths struct rouse_paths paths = { 0 };

		if (ask_nix(s, deadline, &paths, &e) < 0)
			rouse_log(ROUSE_LOG_WARNING, "closure", "%s, ignoring", e.text);
		else
			take_over(s, &paths);
	}
}

int rouse_store_tell_nix(struct rouse_store *s, uint64_t deadline, struct rouse_err *e)
{
	const char *chroot = chroot_of(s);
	auto_buf struct rouse_buf text = { 0 };
	char program[512];

	print_closed(&s->registered, &text);
	if (!text.len || geteuid() != 0 || !find_nix_store(s, chroot, program, sizeof(program)))
		return 0;
	if (load_db(program, chroot, &text, deadline, e) == 0)
		return forget_left(s, e);
	rouse_log(ROUSE_LOG_WARNING, "closure", "%s; leaving '%s' for Nix to load, ignoring",
		  e->text, LEFT_FOR_NIX);
	return 0;
}

int rouse_store_leave(struct rouse_store *s, struct rouse_err *e)
{
	auto_buf struct rouse_buf text = { 0 };

	print_closed(&s->registered, &text);
	if (!text.len)
		return 0;
	return rouse_fs_replace(&s->root, LEFT_FOR_NIX, text.data, text.len, 0644, (uid_t)-1,
				(gid_t)-1, e);
}

bool rouse_store_has_nix(const struct rouse_store *s)
{
	auto_fd int fd = rouse_fs_open(&s->root, "/nix/var/nix/db/db.sqlite", O_PATH, 0);

	return fd >= 0;
}

bool rouse_store_can_collect(const struct rouse_store *s, struct rouse_err *e)
{
	char program[512];

	if (geteuid() == 0 && find_nix_store(s, chroot_of(s), program, sizeof(program)))
		return true;
	(void)rouse_fail(e, ROUSE_SYSTEM, 0,
			 "Nix has a database of this store, and %s could keep it right",
			 geteuid() == 0 ? "there is no nix-store that" : "only root");
	return false;
}

int rouse_store_collect_nix(struct rouse_store *s, const char *more, uint64_t deadline,
			    struct rouse_buf *out, struct rouse_err *e)
{
	char program[512];
	const char *const argv[] = { program, "--gc", more, NULL };
	const struct rouse_proc p = {
		.argv = argv, .env = nix_env, .chroot = chroot_of(s), .deadline = deadline
	};
	int status = 0;

	if (!find_nix_store(s, p.chroot, program, sizeof(program)))
		return rouse_fail(e, ROUSE_SYSTEM, ENOENT, "cannot find nix-store");
	if (rouse_proc_run(&p, &status, out, e) < 0)
		return -1;
	if (status)
		return rouse_fail(e, ROUSE_SYSTEM, 0, "'%s --gc' ended with status %d: %.400s",
				  program, status, out->len ? out->data : "no message");
	return 0;
}

int rouse_store_read_left(const struct rouse_store *s, struct rouse_paths *ret, struct rouse_err *e)
{
	auto_buf struct rouse_buf text = { 0 };

	if (rouse_fs_read(&s->root, LEFT_FOR_NIX, ROUSE_MAX_REGISTRATION, &text, e) < 0)
		return e->sys == ENOENT ? 0 : -1;
	return rouse_paths_parse(ret, LEFT_FOR_NIX, text.data, e);
}

int rouse_store_untell_nix(const struct rouse_store *s, const struct rouse_paths *gone,
			   struct rouse_err *e)
{
	auto_paths struct rouse_paths left = { 0 };
	auto_buf struct rouse_buf text = { 0 };
	bool changed = false;

	if (rouse_store_read_left(s, &left, e) < 0)
		return -1;
	for (size_t i = 0; i < left.n; i++) {
		const struct rouse_path *p = left.items[i];

		if (rouse_paths_find(gone, p->name))
			changed = true;
		else
			rouse_path_print(p, &text);
	}
	return changed ? rouse_fs_replace(&s->root, LEFT_FOR_NIX, text.data ? text.data : "",
					  text.len, 0644, (uid_t)-1, (gid_t)-1, e)
		       : 0;
}
