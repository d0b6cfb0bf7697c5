/* SPDX-License-Identifier: Apache-2.0 */
/* One step: lock, read, edit, replace what changed. */
#include "users.h"

#include <fcntl.h>
#include <string.h>

#include <rouse/clock.h>
#include <rouse/limits.h>

/* lckpwdf(3), which knows no root and waits by SIGALRM: the lock of passwd(1), useradd(8)… */
static int lock_accounts(const struct rouse_root *root, int *ret, struct rouse_err *e)
{
	static const char path[] = "/etc/.pwd.lock";
	auto_fd int fd = -1;
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	uint64_t deadline = rouse_clock_ms() + ROUSE_ACCOUNTS_LOCK_TIMEOUT;

	if (rouse_fs_mkdirs(root, path, false, e) < 0)
		return -1;
	fd = rouse_fs_open(root, path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s'", path);
	while (fcntl(fd, F_OFD_SETLK, &whole) < 0) {
		if ((errno != EAGAIN && errno != EACCES && errno != EINTR) ||
		    !rouse_clock_left(deadline))
			return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot lock '%s'", path);
		rouse_clock_sleep_until(rouse_clock_ms() + 50);
	}
	*ret = take(fd, -1);
	return 0;
}

/* What a file that is not there yet gets; one that is keeps its mode and owner. */
static void attributes(const struct rouse_root *root, const struct rouse_accounts *a,
		       enum rouse_account_file f, struct stat *st)
{
	static const mode_t modes[ROUSE_ACCOUNT_FILES_] = {
		[ROUSE_PASSWD] = 0644,
		[ROUSE_GROUP] = 0644,
		[ROUSE_SHADOW] = 0640,
		[ROUSE_GSHADOW] = 0600,
	};
	auto_fd int fd = rouse_fs_open(root, rouse_account_path(f), O_PATH, 0);
	uint32_t gid = 0;

	if (fd >= 0 && fstat(fd, st) == 0)
		return;
	if (f == ROUSE_SHADOW)
		(void)rouse_lines_id(&a->files[ROUSE_GROUP], "shadow", ROUSE_GR_GID,
				     &gid); /* else root */
	*st = (struct stat){ .st_mode = modes[f], .st_gid = gid };
}

/* /etc/passwd last: a user counts as made when it stands there, so that a run that was cut short
 * is taken up again by the next. */
static int save(const struct rouse_root *root, const struct rouse_accounts *a, struct rouse_err *e)
{
	static const enum rouse_account_file order[] = { ROUSE_GSHADOW, ROUSE_GROUP, ROUSE_SHADOW,
							 ROUSE_PASSWD };

	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		const char *path = rouse_account_path(order[i]);
		auto_buf struct rouse_buf text = { 0 };
		struct stat st = { 0 };
		int failed;

		if (!a->files[order[i]].changed)
			continue;
		rouse_lines_print(&a->files[order[i]], &text);
		attributes(root, a, order[i], &st);
		failed = rouse_fs_mkdirs(root, path, false, e) < 0 ||
			 rouse_fs_replace(root, path, text.data, text.len, st.st_mode & 07777,
					  st.st_uid, st.st_gid, e) < 0;
		explicit_bzero(text.data, text.len);
		if (failed)
			return -1;
	}
	return 0;
}

bool users_shell_present(const void *root, const char *shell)
{
	auto_fd int fd = rouse_fs_open(root, shell, O_PATH, 0);

	return fd >= 0;
}

/* In an initramfs the root was out of sight when the plan was made, so each operation looks first
 * and does what is left to do. */
static int edit_accounts(const struct rouse_step *step, const struct rouse_root *root,
			 struct rouse_accounts *a, struct rouse_err *e)
{
	auto_buf struct rouse_buf what = { 0 };
	const struct group_arg *group;
	const struct user *u;
	uint32_t gid = 0;
	bool new = false;

	switch (step->op) {
	case OP_BASE:
		if (!a->files[ROUSE_PASSWD].exists)
			users_make_base(a);
		return 0;
	case OP_GROUP:
		group = step->arg;
		return users_make_group(a, group->name, true, &gid, e);
	default:
		u = step->arg;
		return users_make(a, u, users_default_shell(u, users_shell_present, root), &new,
				  &what, e);
	}
}

static int edit_home(const struct rouse_step *step, const struct rouse_root *root,
		     const struct rouse_accounts *a, struct rouse_err *e)
{
	const struct user *u = step->arg;
	auto_free char *home = users_home(a, u);
	uint32_t uid = 0, gid = 0;

	if (!home && !u->keys.n)
		return 0;
	if (!home || !rouse_lines_id(&a->files[ROUSE_PASSWD], u->name, ROUSE_PW_UID, &uid) ||
	    !rouse_lines_id(&a->files[ROUSE_PASSWD], u->name, ROUSE_PW_GID, &gid))
		return rouse_fail(e, ROUSE_SYSTEM, 0, "user '%s' is not in '/etc/passwd' any more",
				  u->name);
	if (step->op == OP_HOME)
		return home_make(root, home, uid, gid, e);
	return home_write_keys(root, home, uid, gid, &u->keys, e);
}

int users_apply(const struct rouse_step *step, const struct rouse_context *c,
		void *state unused_arg, struct rouse_err *e)
{
	bool accounts = step->op == OP_BASE || step->op == OP_GROUP || step->op == OP_USER;
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_accounts struct rouse_accounts a = { 0 };
	auto_fd int lock = -1;

	if (rouse_root_open(&root, c->root, e) < 0)
		return -1;
	/* another root has no other writers */
	if (accounts && !c->image && !c->initramfs && lock_accounts(&root, &lock, e) < 0)
		return -1;
	if (rouse_accounts_load(&a, &root, accounts, e) < 0)
		return -1;
	if (!accounts)
		return edit_home(step, &root, &a, e);
	return edit_accounts(step, &root, &a, e) < 0 || save(&root, &a, e) < 0 ? -1 : 0;
}
