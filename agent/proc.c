/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/proc.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/limits.h>
#include <rouse/text.h>

/* The directories of Debian, of NixOS and of an initramfs, in the order of trust. */
static const char *const search_path[] = {
	"/usr/sbin", "/usr/bin", "/sbin", "/bin", "/run/current-system/sw/bin", NULL,
};
#define DEFAULT_PATH "PATH=/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin"

static bool is_executable(const struct rouse_root *root, const char *path)
{
	auto_fd int fd = rouse_fs_open(root, path, O_PATH, 0);
	struct stat st = { 0 };

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0111);
}

bool rouse_proc_find(const char *name, const char *chroot, char *buf, size_t size)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	struct rouse_err e = { 0 };

	/* The kernel's link, which nothing else is let through by. */
	if (!chroot && rouse_streq(name, ROUSE_PROC_SELF))
		return snprintf(buf, size, "%s", name) < (int)size;
	if (rouse_root_open(&root, chroot ? chroot : "/", &e) < 0)
		return false;
	if (*name == '/') {
		(void)snprintf(buf, size, "%s", name);
		return is_executable(&root, name);
	}
	for (size_t i = 0; search_path[i]; i++) {
		int n = snprintf(buf, size, "%s/%s", search_path[i], name);

		if (n > 0 && (size_t)n < size && is_executable(&root, buf))
			return true;
	}
	return false;
}

/* Where the libraries are, somebody may have had to say: in the scripted stage 1 of a NixOS, programs find
 * theirs by nothing else. */
static const char *library_path(void)
{
	char **v = environ;

	while (v && *v && !rouse_strip_prefix(*v, "LD_LIBRARY_PATH="))
		v++;
	return v ? *v : NULL;
}

/* The child: only async-signal-safe calls. */
static _Noreturn void run_child(const struct rouse_proc *p, const char *path, int in, int out)
{
	const char *const env[] = { DEFAULT_PATH, "LANG=C", "LC_ALL=C",
				    p->chroot ? NULL : library_path(), NULL };
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)setpgid(0, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
		_exit(126);
	(void)syscall(SYS_close_range, 3U, ~0U, 0);
	if (p->chroot && (chroot(p->chroot) < 0 || chdir("/") < 0))
		_exit(126);
	(void)execve(path, (char *const *)p->argv, (char *const *)(p->env ? p->env : env));
	_exit(127);
}

/* stdin of the child: the given bytes in an unlinked file, so that no pipe can fill up. */
static int open_input(const struct rouse_proc *p, struct rouse_err *e)
{
	int fd;

	if (p->input_fd > 0)
		fd = fcntl(p->input_fd, F_DUPFD_CLOEXEC, 3);
	else if (!p->input)
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	else
		fd = (int)syscall(SYS_memfd_create, "rouse-input", 1U /* MFD_CLOEXEC */);
	if (fd < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open the input of '%s'",
				  p->argv[0]);
	if (p->input && p->input_fd <= 0 &&
	    (rouse_write_all(fd, p->input, p->input_len) < 0 || lseek(fd, 0, SEEK_SET) < 0)) {
		int saved = errno;

		(void)close(fd);
		return rouse_fail(e, ROUSE_SYSTEM, saved, "cannot fill the input of '%s'",
				  p->argv[0]);
	}
	return fd;
}

/* Reads what the child says until it closes its end or the deadline passes; what exceeds the
 * bound is read and dropped, so that the child does not block. */
static bool drain(int fd, uint64_t deadline, struct rouse_buf *out, size_t max)
{
	char chunk[4096];

	for (;;) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		int left = rouse_clock_left(deadline);
		ssize_t n;

		if (left == 0)
			return false;
		if (poll(&pfd, 1, left) <= 0)
			continue;
		n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return true;
		if (rouse_buf_add(out, chunk, (size_t)n, max) < 0)
			continue;
	}
}

/* Waits for the child until the deadline; false when it is still there. */
static bool reap(pid_t pid, uint64_t deadline, int *status)
{
	for (;;) {
		pid_t r = waitpid(pid, status, WNOHANG);

		if (r == pid)
			return true;
		if (r < 0 && errno != EINTR) {
			*status = 0;
			return true;
		}
		if (rouse_clock_left(deadline) == 0)
			return false;
		(void)poll(NULL, 0, 2);
	}
}

/* False when it is there even then: SIGKILL does not end what waits for a device that never answers. */
static bool end_group(pid_t pid, int *status)
{
	bool gone;

	(void)kill(-pid, SIGTERM);
	gone = reap(pid, rouse_clock_ms() + ROUSE_KILL_GRACE, status);
	(void)kill(-pid, SIGKILL); /* grandchildren that ignored the first, too */
	return gone || reap(pid, rouse_clock_ms() + ROUSE_KILL_GRACE, status);
}

int rouse_proc_run(const struct rouse_proc *p, int *ret_status, struct rouse_buf *out,
		   struct rouse_err *e)
{
	auto_buf struct rouse_buf own = { 0 };
	auto_fd int in = -1, rd = -1, wr = -1;
	char path[4096];
	int fds[2], status = 0;
	pid_t pid;

	if (!rouse_proc_find(p->argv[0], p->chroot, path, sizeof(path)))
		return rouse_fail(e, ROUSE_SYSTEM, ENOENT, "cannot run '%s'", p->argv[0]);
	in = open_input(p, e);
	if (in < 0)
		return -1;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make a pipe for '%s'",
				  p->argv[0]);
	rd = fds[0];
	wr = fds[1];
	pid = fork();
	if (pid < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot start '%s'", p->argv[0]);
	if (pid == 0)
		run_child(p, path, in, wr);
	(void)setpgid(pid, pid); /* in both, so that neither order of running matters */
	(void)close(take(wr, -1));

	if (!drain(rd, p->deadline, out ? out : &own,
		   p->max_output ? p->max_output : ROUSE_MAX_PROGRAM_OUTPUT) ||
	    !reap(pid, p->deadline, &status)) {
		return rouse_fail(e, ROUSE_SYSTEM, ETIMEDOUT, "'%s' %s", path,
				  end_group(pid, &status)
					  ? "was ended at its deadline"
					  : "is past its deadline, and cannot be ended");
	}
	if (WIFSIGNALED(status))
		return rouse_fail(e, ROUSE_SYSTEM, 0, "'%s' was ended by signal %d", path,
				  WTERMSIG(status));
	if (WEXITSTATUS(status) == 127)
		return rouse_fail(e, ROUSE_SYSTEM, ENOEXEC, "cannot run '%s'", path);
	*ret_status = WEXITSTATUS(status);
	return 0;
}

int rouse_proc_check(const struct rouse_proc *p, struct rouse_err *e)
{
	auto_buf struct rouse_buf out = { 0 };
	const char *last;
	int status = 0;

	if (rouse_proc_run(p, &status, &out, e) < 0)
		return -1;
	if (status == 0)
		return 0;
	while (out.len && (out.data[out.len - 1] == '\n' || out.data[out.len - 1] == ' '))
		out.data[--out.len] = '\0';
	last = out.len ? strrchr(out.data, '\n') : NULL;
	return rouse_fail(e, ROUSE_SYSTEM, 0, "'%s' ended with status %d: %s", p->argv[0], status,
			  out.len ? (last ? last + 1 : out.data) : "no message");
}
