/* SPDX-License-Identifier: Apache-2.0 */
#include "init.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <rouse/log.h>

/* Deeper trees are not in any initramfs; what is left only keeps its memory. */
#define MAX_DEPTH 32

/* Of /proc/self/mounts; what does not fit is written out, but not closed. */
#define MOUNTS_SIZE 16384

static const char *const moved[] = { "/dev", "/proc", "/sys", "/run" };

void init_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY);

	if (fd < 0)
		fd = open("/dev/null", O_RDWR | O_NOCTTY);
	if (fd < 0)
		return;
	for (int i = 0; i <= 2; i++)
		if (fd != i)
			(void)dup2(fd, i); /* both are open: it cannot fail */
	if (fd > 2)
		(void)close(fd);
}

/* Deletes what is below `fd` (which is taken over) on the same filesystem, but for what travels.
 * Failures only cost memory. opendir() may fail for want of memory: nothing is deleted then. */
static void delete_below(int fd, dev_t dev, int depth)
{
	DIR *dir = fdopendir(fd);
	struct dirent *d;

	if (!dir) {
		(void)close(fd);
		return;
	}
	while ((d = readdir(dir))) {
		struct stat st = { 0 };

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 ||
		    (depth == 0 && strcmp(d->d_name, ROUSE_KEPT_DIR) == 0) ||
		    fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != dev)
			continue;
		if (S_ISDIR(st.st_mode) && depth < MAX_DEPTH) {
			int sub = openat(fd, d->d_name,
					 O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			if (sub >= 0)
				delete_below(sub, dev, depth + 1);
		}
		(void)unlinkat(fd, d->d_name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0);
	}
	(void)closedir(dir);
}

/* Is this the memory that an initramfs is unpacked into? Nothing else is ever deleted. */
static bool is_memory(int fd)
{
	struct statfs s = { 0 };

	return fstatfs(fd, &s) == 0 && (s.f_type == RAMFS_MAGIC || s.f_type == TMPFS_MAGIC);
}

static void move_back(const char *root, size_t n)
{
	char path[512];

	while (n--) {
		(void)snprintf(path, sizeof(path), "%s%s", root, moved[n]);
		(void)mount(path, moved[n], NULL, MS_MOVE, NULL); /* there is nobody left to tell */
	}
}

static int move_mounts(const char *root, struct rouse_err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(moved); i++) {
		char path[512];
		const char *what = "make";

		(void)snprintf(path, sizeof(path), "%s%s", root, moved[i]);
		if (mkdir(path, 0755) == 0 || errno == EEXIST) {
			what = "move the mount to";
			if (mount(moved[i], path, NULL, MS_MOVE, NULL) == 0)
				continue;
		}
		(void)rouse_fail(e, ROUSE_SYSTEM, errno, "cannot %s '%s'", what, path);
		move_back(root, i);
		return -1;
	}
	return 0;
}

int init_switch_root(const char *root, struct rouse_err *e)
{
	auto_fd int old = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat outer = { 0 }, inner = { 0 };

	if (old < 0 || fstat(old, &outer) < 0 || stat(root, &inner) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot switch to '%s'", root);
	if (outer.st_dev == inner.st_dev)
		return rouse_fail(e, ROUSE_SYSTEM, EXDEV,
				  "cannot switch to '%s': nothing is mounted there", root);
	/* MS_MOVE is refused below a shared mount; the kernel's rootfs is private, others may not be. */
	(void)mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	if (move_mounts(root, e) < 0)
		return -1;
	/* pivot_root(2) does not work on rootfs: its mount cannot be moved away, only covered. */
	if (chdir(root) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0) {
		(void)rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make '%s' the root", root);
		move_back(root, ARRAY_SIZE(moved));
		(void)!chdir("/");
		return -1;
	}
	if (chroot(".") < 0 || chdir("/") < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot enter '%s'", root);
	if (is_memory(old)) {
		int fd = fcntl(old, F_DUPFD_CLOEXEC, 3);

		if (fd >= 0)
			delete_below(fd, outer.st_dev, 0);
	}
	return 0;
}

/* Remounts the filesystem at `root` and those below it; failures are what a crash would leave, too. */
static void remount(const char *root, unsigned long flags)
{
	static char text[MOUNTS_SIZE];
	int fd = open("/proc/self/mounts", O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n;

	while (fd >= 0 && (n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	if (fd >= 0)
		(void)close(fd);
	text[len] = '\0';
	for (char *line = text, *next; *line; line = next) {
		char *where = strchr(line, ' ');
		size_t end;

		next = line + strcspn(line, "\n");
		if (*next)
			*next++ = '\0';
		if (!where)
			continue;
		where++;
		end = strcspn(where, " ");
		where[end] = '\0';
		end = strlen(root);
		if (strncmp(where, root, end) == 0 && (!where[end] || where[end] == '/'))
			(void)mount(NULL, where, NULL, MS_REMOUNT | flags, NULL);
	}
}

int rouse_handoff_kexec(const char *root, struct rouse_err *e)
{
	sync();
	remount(root, MS_RDONLY);
	(void)reboot(RB_KEXEC);
	(void)rouse_fail(e, ROUSE_SYSTEM, errno, "cannot start the kernel that was loaded");
	remount(root, 0);
	return -1;
}

int init_exec(const char *init, char **argv, struct rouse_err *e)
{
	static const char *const env[] = { "HOME=/", "TERM=linux", NULL };
	struct sigaction plain = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		(void)sigaction(s, &plain, NULL); /* SIGKILL and SIGSTOP refuse, and are default */
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)umask(022);
	init_console();
	/* O_CLOEXEC covers ours; libraries are not to be trusted with an init's descriptors. With
	 * CLOSE_RANGE_CLOEXEC the log survives a failure. */
	(void)close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	argv[0] = (char *)init;
	(void)execve(init, argv, (char *const *)env); /* execve(2) writes to neither */
	return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot start '%s'", init);
}
