/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/fs.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>

#include "../lib/tap.h"

static int remove_one(const char *path, const struct stat *st unused_arg, int type unused_arg,
		      struct FTW *ftw unused_arg)
{
	return remove(path);
}

static void tree_auto(char (*path)[64])
{
	(void)nftw(*path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
#define auto_tree __attribute__((cleanup(tree_auto)))

static bool make_tree(char (*path)[64], struct rouse_root *root)
{
	struct rouse_err e = { 0 };

	return mkdtemp(*path) && rouse_root_open(root, *path, &e) == 0;
}

static int count_entries(const struct rouse_root *root, const char *path)
{
	int fd = rouse_fs_open(root, path, O_RDONLY | O_DIRECTORY, 0), n = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	while (dir && readdir(dir))
		n++;
	if (dir)
		(void)closedir(dir);
	return n - 2; /* without "." and ".." */
}

static void replace_leaves_the_new_file_and_nothing_else(struct t *t)
{
	auto_tree char path[64] = "/tmp/rouse-fs-XXXXXX";
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_buf struct rouse_buf got = { 0 };
	struct rouse_err e = { 0 };
	struct stat st = { 0 };
	int entries = 0;

	T_CHECK(t, make_tree(&path, &root));
	T_CHECK(t, rouse_fs_mkdirs(&root, "/etc/deep/file", false, &e) == 0);
	T_CHECK(t, rouse_fs_replace(&root, "/etc/deep/file", "old", 3, 0600, -1U, -1U, &e) == 0);
	T_CHECK(t, rouse_fs_replace(&root, "/etc/deep/file", "newer", 5, 0640, -1U, -1U, &e) == 0);
	T_CHECK(t, rouse_fs_read(&root, "/etc/deep/file", 5, &got, &e) == 0);
	T_STR(t, got.data, "newer");
	{
		auto_fd int fd = rouse_fs_open(&root, "/etc/deep/file", O_RDONLY, 0);

		T_CHECK(t, fd >= 0 && fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0640);
		T_CHECK(t, fcntl(fd, F_GETFD) & FD_CLOEXEC);
	}
	entries = count_entries(&root, "/etc/deep");
	T_CHECK(t, entries == 1);
}

static void links_cannot_lead_out_of_the_root(struct t *t)
{
	auto_tree char path[64] = "/tmp/rouse-fs-XXXXXX";
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_buf struct rouse_buf got = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, make_tree(&path, &root));
	T_CHECK(t, rouse_fs_symlink(&root, "/etc", "/out", &e) == 0);
	T_CHECK(t, rouse_fs_symlink(&root, "../../../../etc", "/up", &e) == 0);
	/* inside the root there is no /etc: the machine's own must not be found */
	T_CHECK(t, rouse_fs_read(&root, "/out/passwd", 1 << 20, &got, &e) < 0 && e.sys == ENOENT);
	T_CHECK(t, rouse_fs_read(&root, "/up/passwd", 1 << 20, &got, &e) < 0 && e.sys == ENOENT);
	T_CHECK(t, rouse_fs_mkdirs(&root, "/etc", true, &e) == 0);
	T_CHECK(t, rouse_fs_replace(&root, "/out/x", "1", 1, 0644, -1U, -1U, &e) == 0);
	T_CHECK(t, rouse_fs_read(&root, "/etc/x", 1, &got, &e) == 0);
}

static void replace_does_not_follow_a_planted_link(struct t *t)
{
	auto_tree char path[64] = "/tmp/rouse-fs-XXXXXX";
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_buf struct rouse_buf got = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, make_tree(&path, &root));
	T_CHECK(t, rouse_fs_replace(&root, "/victim", "keep", 4, 0644, -1U, -1U, &e) == 0);
	T_CHECK(t, rouse_fs_symlink(&root, "/victim", "/config", &e) == 0);
	T_CHECK(t, rouse_fs_replace(&root, "/config", "mine", 4, 0644, -1U, -1U, &e) == 0);
	T_CHECK(t, rouse_fs_read(&root, "/victim", 4, &got, &e) == 0);
	T_STR(t, got.data, "keep");
}

static void reading_is_bounded_and_wants_regular_files(struct t *t)
{
	auto_tree char path[64] = "/tmp/rouse-fs-XXXXXX";
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_buf struct rouse_buf got = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, make_tree(&path, &root));
	T_CHECK(t, rouse_fs_replace(&root, "/f", "12345", 5, 0644, -1U, -1U, &e) == 0);
	T_CHECK(t, rouse_fs_read(&root, "/f", 4, &got, &e) < 0);
	T_HAS(t, e.text, "'/f' is larger than 4 bytes");
	T_CHECK(t, mkfifoat(root.fd, "pipe", 0600) == 0);
	T_CHECK(t, rouse_fs_read(&root, "/pipe", 4, &got, &e) < 0); /* and does not block */
	T_HAS(t, e.text, "not a regular file");
	T_CHECK(t, rouse_fs_read(&root, "/none", 4, &got, &e) < 0 && e.sys == ENOENT);
	T_HAS(t, e.text, "cannot open '/none': No such file");
}

T_MAIN(T(replace_leaves_the_new_file_and_nothing_else), T(links_cannot_lead_out_of_the_root),
       T(replace_does_not_follow_a_planted_link), T(reading_is_bounded_and_wants_regular_files))
