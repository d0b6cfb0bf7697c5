/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Homes belong to people who may put links where root is about to write, also where the home of
 * another is to be. On the way to it, only links that nobody but root can have made are followed;
 * from the home on, none, and everything must belong to its user or to root.
 */
#include "users.h"

#include <fcntl.h>
#include <string.h>

#include <rouse/limits.h>
#include <rouse/parent.h>
#include <rouse/text.h>
#include <rouse/trust.h>

#define BLOCK_BEGIN "# begin rouse"
#define BLOCK_END "# end rouse"

static bool owned(const struct stat *st, uint32_t uid)
{
	/* root may have made it; a file of root's with a second name may be a planted link to it */
	return st->st_uid == uid ||
	       (st->st_uid == 0 && (S_ISDIR(st->st_mode) || st->st_nlink == 1));
}

/* -1 with errno ENOENT when there is no home. */
static int open_home(const struct rouse_root *root, const char *home, uint32_t uid, int *ret,
		     struct rouse_err *e)
{
	auto_free char *inside = rouse_asprintf("%s/.ssh", home);
	auto_root struct rouse_root dir = ROUSE_ROOT_INIT;
	const char *name = NULL;
	struct stat st = { 0 };

	if (*home != '/')
		return rouse_fail(e, ROUSE_SYSTEM, 0, "home '%s' is no absolute path; correct it",
				  home);
	if (rouse_open_parent(root, inside, false, &dir, &name, e) < 0)
		return -1;
	if (fstat(dir.fd, &st) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open home '%s'", home);
	if (!owned(&st, uid))
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "home '%s' belongs to uid %u instead of %u; correct it", home,
				  st.st_uid, uid);
	*ret = take(dir.fd, -1);
	return 0;
}

static int open_ssh(int home_fd, const char *home, uint32_t uid, int *ret, struct rouse_err *e)
{
	auto_fd int fd = openat(home_fd, ".ssh", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st = { 0 };

	if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
		return rouse_fail(e, ROUSE_SYSTEM, errno,
				  "'%s/.ssh' is not a directory of its own; remove it", home);
	if (fd < 0 || fstat(fd, &st) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s/.ssh'", home);
	if (!owned(&st, uid))
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "'%s/.ssh' belongs to uid %u instead of %u; correct it", home,
				  st.st_uid, uid);
	*ret = take(fd, -1);
	return 0;
}

/* authorized_keys, or an empty text when there is none. A symlink counts as none: it is replaced. */
static int read_keys(int ssh_fd, const char *home, uint32_t uid, struct rouse_buf *ret,
		     struct stat *st, struct rouse_err *e)
{
	auto_fd int fd = openat(ssh_fd, "authorized_keys",
				O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	char chunk[4096];
	ssize_t n = 0;

	*st = (struct stat){ 0 };
	if (fd < 0 && errno != ENOENT && errno != ELOOP)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s/.ssh/authorized_keys'",
				  home);
	if (fd >= 0 && (fstat(fd, st) < 0 || !S_ISREG(st->st_mode) || !owned(st, uid)))
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "'%s/.ssh/authorized_keys' is not a file of uid %u; remove it",
				  home, uid);
	while (fd >= 0 && (n = read(fd, chunk, sizeof(chunk))) > 0)
		if (rouse_buf_add(ret, chunk, (size_t)n, ROUSE_MAX_ACCOUNTS) < 0)
			return rouse_fail(e, ROUSE_SYSTEM, EFBIG,
					  "cannot read '%s/.ssh/authorized_keys'", home);
	if (n < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot read '%s/.ssh/authorized_keys'",
				  home);
	if (ret->len && memchr(ret->data, '\0', ret->len))
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "'%s/.ssh/authorized_keys' holds a NUL byte; remove it", home);
	return rouse_buf_add(ret, "", 0, ROUSE_MAX_ACCOUNTS);
}

static const char *next_line(const char *line)
{
	line += strcspn(line, "\n");
	return *line ? line + 1 : line;
}

static bool line_is(const char *line, const char *text)
{
	size_t n = strlen(text);

	return strncmp(line, text, n) == 0 && (!line[n] || line[n] == '\n');
}

/* The block of rouse: from its first line up to the one behind its last; false when there is none.
 * A begin without an end is a block of one line: what follows is somebody's. */
static bool find_block(const char *text, const char **ret_begin, const char **ret_end)
{
	for (const char *line = text; *line; line = next_line(line)) {
		if (!line_is(line, BLOCK_BEGIN))
			continue;
		*ret_begin = line;
		*ret_end = next_line(line);
		for (const char *end = *ret_end; *end; end = next_line(end)) {
			if (line_is(end, BLOCK_BEGIN))
				break;
			if (line_is(end, BLOCK_END)) {
				*ret_end = next_line(end);
				break;
			}
		}
		return true;
	}
	return false;
}

static void print_block(const struct rouse_list *keys, struct rouse_buf *out)
{
	if (!keys->n)
		return;
	rouse_buf_printf(out, BLOCK_BEGIN "\n");
	for (size_t i = 0; i < keys->n; i++)
		rouse_buf_printf(out, "%s\n", ((const char *const *)keys->items)[i]);
	rouse_buf_printf(out, BLOCK_END "\n");
}

void home_keys_digest(const struct rouse_list *keys, char ret[static 65])
{
	auto_buf struct rouse_buf block = { 0 };

	ret[0] = '\0';
	print_block(keys, &block);
	if (block.len)
		rouse_sha256_hex(block.data, block.len, ret);
}

void home_edit_keys(const char *text, const struct rouse_list *keys, struct rouse_buf *out)
{
	const char *begin = text + strlen(text), *end = begin;

	(void)find_block(text, &begin, &end); /* without a block: at the end */
	rouse_buf_printf(out, "%.*s", (int)(begin - text), text);
	if (keys->n && out->len && out->data[out->len - 1] != '\n')
		rouse_buf_printf(out, "\n");
	print_block(keys, out);
	/* a second block can only come from an edit by hand; its keys would survive their removal */
	while (find_block(end, &begin, &text)) {
		rouse_buf_printf(out, "%.*s", (int)(begin - end), end);
		end = text;
	}
	rouse_buf_printf(out, "%s", end);
}

int home_observe(const struct rouse_root *root, const char *home, uint32_t uid,
		 struct home_state *ret, struct rouse_err *e)
{
	auto_fd int home_fd = -1, ssh_fd = -1;
	auto_buf struct rouse_buf text = { 0 };
	const char *begin = NULL, *end = NULL;
	struct stat st;

	*ret = (struct home_state){ 0 };
	if (open_home(root, home, uid, &home_fd, e) < 0)
		return e->sys == ENOENT ? 0 : -1;
	ret->exists = true;
	if (open_ssh(home_fd, home, uid, &ssh_fd, e) < 0)
		return e->sys == ENOENT ? 0 : -1;
	if (read_keys(ssh_fd, home, uid, &text, &st, e) < 0)
		return -1;
	if (find_block(text.data, &begin, &end))
		rouse_sha256_hex(begin, (size_t)(end - begin), ret->keys_sha256);
	return 0;
}

int home_make(const struct rouse_root *root, const char *home, uint32_t uid, uint32_t gid,
	      struct rouse_err *e)
{
	auto_root struct rouse_root parent = ROUSE_ROOT_INIT;
	const char *name = NULL;
	auto_fd int fd = -1;

	if (rouse_open_parent(root, home, true, &parent, &name, e) < 0)
		return -1;
	name++; /* the slash */
	if (mkdirat(parent.fd, name, 0700) < 0) {
		if (errno == EEXIST)
			return open_home(root, home, uid, &fd, e);
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make home '%s'", home);
	}
	fd = openat(parent.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fchown(fd, uid, gid) < 0 || fchmod(fd, 0700) < 0 || fsync(fd) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make home '%s'", home);
	return 0;
}

static int make_ssh(int home_fd, const char *home, uint32_t uid, uint32_t gid, int *ret,
		    struct rouse_err *e)
{
	bool made = mkdirat(home_fd, ".ssh", 0700) == 0;

	if (!made && errno != EEXIST)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make '%s/.ssh'", home);
	/* between the two the user may swap it, but only for a directory that is the user's own */
	if (open_ssh(home_fd, home, uid, ret, e) < 0)
		return -1;
	if (made && (fchown(*ret, uid, gid) < 0 || fchmod(*ret, 0700) < 0))
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot give '%s/.ssh' to uid %u", home,
				  uid);
	return 0;
}

int home_write_keys(const struct rouse_root *root, const char *home, uint32_t uid, uint32_t gid,
		    const struct rouse_list *keys, struct rouse_err *e)
{
	auto_fd int home_fd = -1, ssh_fd = -1;
	auto_buf struct rouse_buf old = { 0 }, new = { 0 };
	struct stat st;
	struct rouse_root ssh;

	if (!keys->n) {
		struct home_state state;

		if (home_observe(root, home, uid, &state, e) < 0)
			return -1;
		if (!*state.keys_sha256)
			return 0;
	}
	if (open_home(root, home, uid, &home_fd, e) < 0 ||
	    make_ssh(home_fd, home, uid, gid, &ssh_fd, e) < 0 ||
	    read_keys(ssh_fd, home, uid, &old, &st, e) < 0)
		return -1;
	home_edit_keys(old.data, keys, &new);
	if (st.st_nlink && new.len == old.len &&
	    memcmp(new.data ? new.data : "", old.data, old.len) == 0)
		return 0;
	ssh = (struct rouse_root){ .fd = ssh_fd, .path = home };
	return rouse_fs_replace(&ssh, "/authorized_keys", new.data ? new.data : "", new.len, 0600,
				uid, gid, e);
}
