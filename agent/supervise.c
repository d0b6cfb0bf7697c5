/* SPDX-License-Identifier: Apache-2.0 */
#include "supervise.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/err.h>
#include <rouse/fs.h>
#include <rouse/init.h>
#include <rouse/limits.h>

struct child {
	pid_t pid; /* 0 when it has ended */
	int wait_status;
	sigset_t mask; /* of this process, before */
};

uint64_t supervise_oom_kills(void)
{
	char text[16384];
	int fd = open("/proc/vmstat", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	const char *p;

	if (fd >= 0)
		(void)close(fd);
	text[n > 0 ? n : 0] = '\0';
	p = strstr(text, "\noom_kill ");
	return p ? strtoull(p + strlen("\noom_kill "), NULL, 10) : 0;
}

void supervise_explain(int wait_status, bool oom, char reason[static SUPERVISE_REASON])
{
	if (oom || (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == ROUSE_SYSTEM))
		(void)snprintf(reason, SUPERVISE_REASON, "the agent ran out of memory");
	else if (WIFSIGNALED(wait_status))
		(void)snprintf(reason, SUPERVISE_REASON, "the agent was killed by signal %d (%s)",
			       WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
	else
		(void)snprintf(reason, SUPERVISE_REASON, "the agent ended with status %d",
			       WEXITSTATUS(wait_status));
}

/* The parent of process `pid`, 0 when it is not known (proc_pid_stat(5)). */
static pid_t parent_of(pid_t pid)
{
	char path[64], line[512];
	const char *name_end;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (!rouse_read_line(path, line, sizeof(line)))
		return 0;
	name_end = strrchr(line, ')'); /* then the state, and the parent */
	return name_end && strlen(name_end) > 4 ? (pid_t)strtol(name_end + 4, NULL, 10) : 0;
}

static bool runs_agent(pid_t pid)
{
	char path[64], self[PATH_MAX] = "", other[PATH_MAX] = "";

	(void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	return readlink("/proc/self/exe", self, sizeof(self) - 1) > 0 &&
	       readlink(path, other, sizeof(other) - 1) > 0 && strcmp(self, other) == 0;
}

bool rouse_started_by_init(void)
{
	pid_t parent = getppid();

	return parent == 1 || (runs_agent(parent) && parent_of(parent) == 1);
}

static _Noreturn void run_child(const struct child *c, pid_t parent, int pipe,
				void (*work)(void *arg, void *ret), void *arg, void *ret,
				size_t size)
{
	(void)prctl(PR_SET_CHILD_SUBREAPER, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent) /* it has ended before we said so */
		_exit(ROUSE_SYSTEM);
	(void)sigprocmask(SIG_SETMASK, &c->mask, NULL);
	work(arg, ret);
	(void)fflush(NULL);
	if (rouse_write_all(pipe, ret, size) < 0)
		abort(); /* the parent shall not take it for a success */
	_exit(0);
}

static void reap(struct child *c)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == c->pid) {
			c->pid = 0;
			c->wait_status = status;
		}
}

/* Waits for the end of any child, at most until `until`. */
static void wait_until(struct child *c, uint64_t until)
{
	int left = rouse_clock_left(until);
	const struct timespec time = { .tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000L };
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigtimedwait(&set, NULL, &time);
	reap(c);
}

static bool is_alone(void)
{
	siginfo_t info;

	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD;
}

static void kill_children(void)
{
	char list[4096] = "";
	int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, list, sizeof(list) - 1);

	if (fd >= 0)
		(void)close(fd);
	list[n > 0 ? n : 0] = '\0';
	for (char *rest = list; *rest;) {
		long pid = strtol(rest, &rest, 10);

		if (pid > 1)
			(void)kill((pid_t)pid, SIGKILL);
		rest += strspn(rest, " ");
	}
}

/* A program that goes on writing to a disk may not meet the next run. What the worker leaves comes to this process;
 * a process in an uninterruptible wait outlives even SIGKILL. */
static void end_all(struct child *c)
{
	uint64_t until = rouse_clock_ms() + ROUSE_KILL_GRACE;

	while (!is_alone() && rouse_clock_left(until)) {
		uint64_t next = rouse_clock_ms() + 50;

		kill_children();
		wait_until(c, next < until ? next : until);
	}
}

/* Is that how people, and service managers, end a program? */
static bool was_asked_to_end(int wait_status)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };

	for (size_t i = 0; WIFSIGNALED(wait_status) && i < ARRAY_SIZE(signals); i++)
		if (WTERMSIG(wait_status) == signals[i])
			return true;
	return false;
}

static void begin(struct child *c)
{
	sigset_t set;

	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &set, &c->mask);
	(void)fflush(NULL); /* or it would be said twice */
}

static void end(struct child *c)
{
	(void)sigprocmask(SIG_SETMASK, &c->mask, NULL);
	(void)prctl(PR_SET_CHILD_SUBREAPER, 0);
}

static bool fail_to_begin(struct child *c, char *reason)
{
	(void)snprintf(reason, SUPERVISE_REASON, "the agent cannot start its worker: %s",
		       strerror(errno));
	end(c);
	return false;
}

/* Waits for the child, and ends what is left of it when it has told nothing. */
static bool await(struct child *c, int pipe, void *ret, size_t size, uint64_t limit, bool *ret_late,
		  char *reason)
{
	uint64_t until = rouse_clock_ms() + limit, kills = supervise_oom_kills();
	char told[PIPE_BUF];

	while (c->pid > 0 && rouse_clock_left(until))
		wait_until(c, until);
	*ret_late = c->pid > 0;
	if (!*ret_late && read(pipe, told, size) == (ssize_t)size) {
		memcpy(ret, told, size);
		return true;
	}
	end_all(c);
	if (*ret_late)
		(void)snprintf(reason, SUPERVISE_REASON,
			       "the agent was not done at its deadline and was ended");
	else
		supervise_explain(c->wait_status, supervise_oom_kills() > kills, reason);
	return false;
}

bool supervise(void (*work)(void *arg, void *ret), void *arg, void *ret, size_t size,
	       uint64_t limit, bool *ret_late, char reason[static SUPERVISE_REASON])
{
	struct child c = { 0 };
	pid_t self = getpid();
	int ends[2];
	bool done;

	*ret_late = false;
	begin(&c);
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return fail_to_begin(&c, reason);
	c.pid = fork();
	if (c.pid < 0) {
		(void)fail_to_begin(&c, reason);
		(void)close(ends[0]);
		(void)close(ends[1]);
		return false;
	}
	if (c.pid == 0)
		run_child(&c, self, ends[1], work, arg, ret, size);
	(void)close(ends[1]);
	done = await(&c, ends[0], ret, size, limit, ret_late, reason);
	(void)close(ends[0]);
	end(&c);
	if (!done && !*ret_late && was_asked_to_end(c.wait_status))
		(void)raise(WTERMSIG(c.wait_status));
	return done;
}
