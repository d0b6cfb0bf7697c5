/* SPDX-License-Identifier: Apache-2.0 */
/* Each test looks at what is possible in a child that has confined itself; the child says what was not as
 * it should be. */
#include <rouse/confine.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <rouse/fs.h>

#include "../../modules/closure/tree.h"
#include "../lib/tap.h"

/* A directory with two more, of which one may be written, and a file that may be read. */
struct place {
	char path[32], told[64], untold[64];
	int in;
	char said[256]; /* by the child; "" when all was well */
};

static void place_done(struct place *p)
{
	(void)close(p->in);
	(void)!rouse_tree_remove(AT_FDCWD, p->path);
}
#define auto_place __attribute__((cleanup(place_done)))

static bool touch(const char *path)
{
	auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	return fd >= 0 && write(fd, "x", 1) == 1;
}

static struct place place_make(void)
{
	struct place p = { .path = "/tmp/confine-XXXXXX", .in = -1 };
	auto_fd int dir = -1;

	if (!mkdtemp(p.path) || (dir = open(p.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
	    mkdirat(dir, "in", 0700) < 0 || mkdirat(dir, "out", 0700) < 0)
		abort();
	(void)snprintf(p.told, sizeof(p.told), "%s/out/told", p.path);
	(void)snprintf(p.untold, sizeof(p.untold), "%s/out/untold", p.path);
	p.in = openat(dir, "in", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p.in < 0 || !touch(p.told) || !touch(p.untold))
		abort();
	return p;
}

/* In the child: `check` returns NULL, or what was wrong. True when nothing was. */
static bool confined(struct place *p, const char *(*check)(const struct place *p))
{
	int pipes[2], status = -1;
	pid_t pid;
	ssize_t n;

	if (pipe2(pipes, O_CLOEXEC) < 0)
		abort();
	(void)fflush(stdout);
	pid = rouse_confine_fork();
	if (pid == 0) {
		const int keep[] = { pipes[1] };
		const char *const read[] = { p->told, "/absent" };
		const struct rouse_confinement c = { keep, 1, p->in, read, 2 };
		struct rouse_err e = { 0 };
		const char *wrong = rouse_confine(&c, &e) < 0 ? e.text : check(p);

		if (wrong && write(pipes[1], wrong, strlen(wrong)) < 0)
			_exit(2);
		_exit(wrong ? 1 : 0);
	}
	(void)close(pipes[1]);
	n = read(pipes[0], p->said, sizeof(p->said) - 1);
	p->said[n > 0 ? n : 0] = '\0';
	(void)close(pipes[0]);
	(void)waitpid(pid, &status, 0);
	if (status)
		printf("# in the child: %s (%#x)\n", p->said, status);
	return status == 0;
}

/* The value of a line of /proc/PID/status, which a process in Landlock cannot read itself. */
static uint64_t status_of(pid_t pid, const char *name, int base)
{
	char path[64];
	auto_buf struct rouse_buf text = { 0 };
	struct rouse_err e;
	const char *line;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (rouse_read_file(path, 65536, &text, &e) < 0 || !(line = strstr(text.data, name)))
		return UINT64_MAX - 1;
	return strtoull(line + strlen(name) + 1, NULL, base);
}

static void has_no_capabilities_and_gets_none(struct t *t)
{
	auto_place struct place p = place_make();
	bool root = geteuid() == 0;
	int ready[2], go[2];
	char byte;
	uint64_t got[6];
	pid_t pid;

	T_CHECK(t, pipe2(ready, O_CLOEXEC) == 0 && pipe2(go, O_CLOEXEC) == 0);
	pid = rouse_confine_fork();
	if (pid == 0) {
		const int keep[] = { ready[1], go[0] };
		const struct rouse_confinement c = { keep, 2, p.in, NULL, 0 };
		struct rouse_err e = { 0 };

		_exit(rouse_confine(&c, &e) == 0 && write(ready[1], "", 1) == 1 &&
		      read(go[0], &byte, 1) == 0);
	}
	(void)close(ready[1]);
	T_CHECK(t, read(ready[0], &byte, 1) == 1);
	got[0] = status_of(pid, "CapEff:", 16);
	got[1] = status_of(pid, "CapPrm:", 16);
	got[2] = status_of(pid, "CapInh:", 16);
	got[3] = status_of(pid, "CapAmb:", 16);
	got[4] = status_of(pid, "NoNewPrivs:", 10);
	got[5] = status_of(pid, "Seccomp:", 10);
	T_CHECK(t, !got[0] && !got[1] && !got[2] && !got[3]);
	T_CHECK(t, !root || status_of(pid, "CapBnd:", 16) == 0);
	T_CHECK(t, got[4] == 1);
	T_CHECK(t, !rouse_confine_measure().seccomp || got[5] == 2);
	(void)close(go[1]);
	(void)close(ready[0]);
	(void)close(go[0]);
	T_CHECK(t, waitpid(pid, NULL, 0) == pid);
}

#define REFUSED(call)                                                                              \
	do {                                                                                       \
		if ((call) != -1 || (errno != EPERM && errno != EACCES))                           \
			return "not refused: " #call;                                              \
	} while (0)
#define WORKS(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			return "does not work: " #condition;                                       \
	} while (0)

static const char *no_process(const struct place *p)
{
	char *const argv[] = { NULL };

	(void)p;
	REFUSED(execve("/bin/true", argv, argv));
	REFUSED(syscall(SYS_execveat, -100, "/bin/true", argv, argv, 0));
	REFUSED(fork());
	REFUSED(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
	REFUSED(syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0));
	REFUSED(kill(getppid(), 0));
	REFUSED(syscall(SYS_tgkill, getppid(), getppid(), 0));
	REFUSED(syscall(SYS_pidfd_open, getppid(), 0));
	REFUSED(prlimit(getppid(), RLIMIT_NOFILE, NULL, NULL));
	REFUSED(fcntl(p->in, F_SETOWN, getppid()));
	return NULL;
}

static void reaches_no_other_process(struct t *t)
{
	auto_place struct place p = place_make();

	T_CHECK(t, !rouse_confine_measure().seccomp || confined(&p, no_process));
}

static const char *no_kernel(const struct place *p)
{
	REFUSED(mount("none", p->path, "tmpfs", 0, NULL));
	REFUSED(umount2("/", MNT_DETACH));
	REFUSED(syscall(SYS_pivot_root, "/", "/"));
	REFUSED(chroot(p->path));
	REFUSED(unshare(CLONE_NEWUSER));
	REFUSED(syscall(SYS_setns, p->in, 0));
	REFUSED(syscall(SYS_init_module, NULL, 0, ""));
	REFUSED(syscall(SYS_finit_module, p->in, "", 0));
	REFUSED(syscall(SYS_bpf, 0, NULL, 0));
	REFUSED(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
	REFUSED(syscall(SYS_userfaultfd, 0));
	REFUSED(syscall(SYS_keyctl, 0, 0));
	REFUSED(syscall(SYS_io_uring_setup, 1, NULL));
	REFUSED(syscall(SYS_open_by_handle_at, p->in, NULL, 0));
	REFUSED(syscall(SYS_reboot, 0, 0, 0, NULL));
	REFUSED(sethostname("x", 1));
	REFUSED(setuid(1));
	REFUSED(ioctl(STDERR_FILENO, TIOCSTI, "x"));
	REFUSED(socket(AF_PACKET, SOCK_RAW, 0));
	REFUSED(socket(AF_UNIX, SOCK_STREAM, 0));
	REFUSED(socketpair(AF_UNIX, SOCK_DGRAM, 0, (int[2]){ 0 }));
	/* A call of the future is not there. */
	WORKS(syscall(1000) == -1 && errno == ENOSYS);
	return NULL;
}

static void reaches_nothing_of_the_kernel(struct t *t)
{
	auto_place struct place p = place_make();

	T_CHECK(t, !rouse_confine_measure().seccomp || confined(&p, no_kernel));
}

static const char *no_special_files(const struct place *p)
{
	REFUSED(fchownat(p->in, ".", 1, 1, 0));
	REFUSED(fchown(p->in, 1, 1));
	REFUSED(mknodat(p->in, "null", S_IFCHR | 0600, 0));
	REFUSED(mknodat(p->in, "fifo", S_IFIFO | 0600, 0));
	REFUSED(fchmodat(p->in, ".", 0700, 0));
	REFUSED(fchmod(p->in, 04700));
	REFUSED(fchmod(p->in, 0777));
	REFUSED(openat(p->in, "setuid", O_CREAT | O_WRONLY, 04700));
	REFUSED(linkat(p->in, "..", p->in, "link", 0));
	return NULL;
}

static void makes_no_special_files(struct t *t)
{
	auto_place struct place p = place_make();

	T_CHECK(t, !rouse_confine_measure().seccomp || confined(&p, no_special_files));
}

static const char *no_other_files(const struct place *p)
{
	char path[64];

	REFUSED(open(p->untold, O_RDONLY));
	REFUSED(open(p->untold, O_WRONLY));
	REFUSED(open(p->told, O_WRONLY));
	REFUSED(openat(p->in, "../out/untold", O_RDONLY));
	REFUSED(openat(p->in, "../out/new", O_CREAT | O_WRONLY, 0600));
	REFUSED(openat(p->in, "../out", O_RDONLY | O_DIRECTORY));
	REFUSED(unlinkat(p->in, "../out/told", 0));
	REFUSED(mkdirat(p->in, "../out/directory", 0700));
	REFUSED(symlinkat("x", p->in, "../out/symlink"));
	(void)snprintf(path, sizeof(path), "/proc/%d/environ", (int)getppid());
	REFUSED(open(path, O_RDONLY));
	REFUSED(open("/etc/passwd", O_RDONLY));
	REFUSED(open("/proc/sys/kernel/core_pattern", O_WRONLY));
	return NULL;
}

static void reads_and_writes_no_other_files(struct t *t)
{
	auto_place struct place p = place_make();

	T_CHECK(t, !rouse_confine_measure().landlock || confined(&p, no_other_files));
}

static const char *only_kept(const struct place *p)
{
	WORKS(fcntl(p->in, F_GETFD) >= 0 && fcntl(STDERR_FILENO, F_GETFD) >= 0);
	WORKS(write(STDOUT_FILENO, "not ok: stdout is still there\n", 30) == 30);
	for (int fd = 3, n = 0; fd < 1024; fd++) {
		n += fcntl(fd, F_GETFD) >= 0;
		WORKS(n <= 2);
	}
	return NULL;
}

static void keeps_only_some_descriptors(struct t *t)
{
	auto_place struct place p = place_make();
	auto_fd int secret = open(p.untold, O_RDONLY | O_CLOEXEC);

	T_CHECK(t, secret >= 0 && confined(&p, only_kept));
}

static void *in_thread(void *arg)
{
	const struct place *p = arg;
	auto_fd int fd = openat(p->in, "thread", O_CREAT | O_WRONLY, 0600);

	return fd >= 0 && openat(p->in, "../out/untold", O_RDONLY) < 0 ? arg : NULL;
}

/* A server beside the child: the child can only connect. */
static int listener;

static const char *work(const struct place *p)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t size = sizeof(a);
	auto_fd int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct addrinfo hint = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = 1 } };
	auto_fd int fd = -1, dir = -1;
	pthread_t thread;
	void *result = NULL;

	WORKS(mkdirat(p->in, "tree", 0700) == 0);
	dir = openat(p->in, "tree", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	WORKS(dir >= 0);
	fd = openat(dir, "file", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	WORKS(fd >= 0 && rouse_write_all(fd, "x", 1) == 0);
	WORKS(fchmod(fd, 0444) == 0 && futimens(fd, times) == 0);
	WORKS(symlinkat("/anything", dir, "link") == 0);
	WORKS(utimensat(dir, "link", times, AT_SYMLINK_NOFOLLOW) == 0);
	WORKS(fchmod(dir, 0555) == 0 && syncfs(p->in) == 0);
	WORKS(rouse_tree_remove(p->in, "tree") == 0);
	WORKS(close(open(p->told, O_RDONLY)) == 0);
	WORKS(pthread_create(&thread, NULL, in_thread, (void *)p) == 0);
	WORKS(pthread_join(thread, &result) == 0 && result == p);
	WORKS(getaddrinfo("localhost", "80", &hint, &found) == 0);
	freeaddrinfo(found);
	(void)getsockname(s, (struct sockaddr *)&a, &size);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	a.sin_port = htons((uint16_t)listener);
	WORKS(connect(s, (const struct sockaddr *)&a, sizeof(a)) == 0);
	return NULL;
}

static void what_a_pull_needs_works(struct t *t)
{
	auto_place struct place p = place_make();
	auto_fd int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t size = sizeof(a);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	T_CHECK(t, bind(s, (const struct sockaddr *)&a, size) == 0 && listen(s, 1) == 0);
	T_CHECK(t, getsockname(s, (struct sockaddr *)&a, &size) == 0);
	listener = ntohs(a.sin_port);
	T_CHECK(t, confined(&p, work));
}

static void dies_with_its_parent(struct t *t)
{
	int pipes[2];
	pid_t pid;
	char byte;

	T_CHECK(t, pipe2(pipes, O_CLOEXEC) == 0);
	pid = fork();
	if (pid == 0) {
		if (rouse_confine_fork() == 0 && write(pipes[1], "", 1) == 1)
			(void)pause();
		(void)pause();
		_exit(0);
	}
	(void)close(pipes[1]);
	T_CHECK(t, read(pipes[0], &byte, 1) == 1);
	T_CHECK(t, kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
	T_CHECK(t, read(pipes[0], &byte, 1) == 0); /* both are gone */
	(void)close(pipes[0]);
}

static void says_what_is_in_effect(struct t *t)
{
	char buf[80];

	T_STR(t, rouse_confine_print(buf, (struct rouse_confine_measure){ 2, true }),
	      "no capabilities, seccomp, Landlock 2");
	T_STR(t, rouse_confine_print(buf, (struct rouse_confine_measure){ 0 }),
	      "no capabilities, no seccomp, no Landlock");
}

T_MAIN(T(has_no_capabilities_and_gets_none), T(reaches_no_other_process),
       T(reaches_nothing_of_the_kernel), T(makes_no_special_files),
       T(reads_and_writes_no_other_files), T(keeps_only_some_descriptors),
       T(what_a_pull_needs_works), T(dies_with_its_parent), T(says_what_is_in_effect))
