/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pid 1. If this process ends, the kernel panics: it calls nothing that allocates and may exit,
 * parses nothing that came from outside, and waits for nothing without a deadline. All that is in
 * the worker.
 */
#include "init.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/limits.h>
#include <rouse/log.h>

#include "supervise.h"

struct supervisor {
	struct rouse_boot_options boot;
	char cmdline[ROUSE_MAX_CMDLINE];
	int signals;  /* signalfd with SIGCHLD */
	int pipe;     /* from the worker */
	pid_t worker; /* 0 when it has ended */
	int wait_status;
	uint64_t deadline;
	bool has_switched; /* the root is the system's */
	bool late;         /* the deadline has passed: the worker was killed for it */
	bool done, has_target;
	struct rouse_boot_result result; /* of the boot, when done */
	struct init_message target;
	uint64_t held; /* since the first failure; 0: none yet */
	bool abandoned;
	char reason[SUPERVISE_REASON]; /* why the machine is held, for the console */
	int console_level;             /* of the kernel, as we found it */
};

/* Is `name` (or `name=value`, then *ret_value) a word of the kernel command line? The last counts;
 * what follows "--" is for the next init. */
static bool option(const struct supervisor *s, const char *name, char *ret_value, size_t size)
{
	size_t len = strlen(name);
	bool found = false;

	for (const char *p = s->cmdline; *p; p += strcspn(p, " \n")) {
		size_t n;

		p += strspn(p, " \n");
		n = strcspn(p, " \n");
		if (n == 2 && strncmp(p, "--", 2) == 0)
			break;
		if (n < len || strncmp(p, name, len) != 0 || (n > len && p[len] != '='))
			continue;
		found = true;
		if (ret_value)
			(void)snprintf(ret_value, size, "%.*s", n > len ? (int)(n - len - 1) : 0,
				       n > len ? p + len + 1 : "");
	}
	return found;
}

static bool option_is(const struct supervisor *s, const char *name, const char *value)
{
	char text[64] = "";

	return option(s, name, text, sizeof(text)) && strcmp(text, value) == 0;
}

static void mount_one(const char *type, const char *where, unsigned long flags, const char *data)
{
	(void)mkdir(where, 0755); /* exists in most images; mount(2) tells when it does not */
	if (mount(type, where, type, flags, data) < 0 && errno != EBUSY)
		rouse_log(ROUSE_LOG_ERROR, "init", "cannot mount '%s': %s", where, strerror(errno));
}

static void mount_all(void)
{
	static const char *const links[][2] = { { "/proc/self/fd", "/dev/fd" },
						{ "/proc/self/fd/0", "/dev/stdin" },
						{ "/proc/self/fd/1", "/dev/stdout" },
						{ "/proc/self/fd/2", "/dev/stderr" } };

	mount_one("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount_one("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount_one("devtmpfs", "/dev", MS_NOSUID, "mode=0755");
	mount_one("tmpfs", "/run", MS_NOSUID | MS_NODEV | MS_STRICTATIME, "mode=0755");
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		(void)!symlink(links[i][0], links[i][1]); /* for scripts; EEXIST is as good */
	(void)mkdir("/run/rouse", 0755);
}

static void open_log(struct supervisor *s)
{
	char line[64] = "";
	int fd = open("/proc/sys/kernel/printk_devkmsg", O_WRONLY | O_CLOEXEC);

	/* Else the kernel drops our lines after the tenth. */
	if (fd >= 0) {
		(void)!write(fd, "on\n", 3);
		(void)close(fd);
	}
	init_console();
	rouse_log_open_console("/dev/console");
	rouse_log_open_kmsg();
	if (option(s, "rouse.debug", NULL, 0)) {
		rouse_log_set_level(ROUSE_LOG_DEBUG);
		return;
	}
	/* Our lines reach the console directly: the kernel need not echo them (at most notices, see
	 * log.c) there once more. It still shows its own warnings and errors. */
	s->console_level = 7;
	if (rouse_read_line("/proc/sys/kernel/printk", line, sizeof(line)) && *line >= '1' &&
	    *line <= '9')
		s->console_level = *line - '0';
	if (s->console_level > 5)
		(void)klogctl(8 /* SYSLOG_ACTION_CONSOLE_LEVEL */, NULL, 5);
}

/* SIGCHLD comes through a descriptor; a reader that goes away is an error of write(2). */
static void take_signals(struct supervisor *s)
{
	sigset_t child;

	(void)sigemptyset(&child);
	(void)sigaddset(&child, SIGCHLD);
	(void)sigprocmask(SIG_SETMASK, &child, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	if (s->signals < 0)
		s->signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void begin(struct supervisor *s)
{
	int fd;

	(void)setsid(); /* pid 1 has none when the kernel starts it */
	(void)umask(022);
	mount_all();
	fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		ssize_t n = read(fd, s->cmdline, sizeof(s->cmdline) - 1);

		s->cmdline[n > 0 ? n : 0] = '\0';
		(void)close(fd);
	}
	open_log(s);
	take_signals(s);
}

/* Reaps everything there is; remembers how the worker ended. */
static void reap(struct supervisor *s)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	while (read(s->signals, &info, sizeof(info)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == s->worker) {
			s->worker = 0;
			s->wait_status = status;
		}
}

static void listen_to_worker(struct supervisor *s)
{
	struct init_message m;

	while (s->pipe >= 0 && read(s->pipe, &m, sizeof(m)) == sizeof(m))
		switch (m.type) {
		case INIT_SETTINGS:
			s->result = m.result;
			/* The phases end at the image's deadline; the fallback and the verdict come after. */
			if (m.number)
				s->deadline = rouse_clock_ms() + m.number + ROUSE_DEADLINE_HANDOFF;
			break;
		case INIT_TARGET:
			m.handoff.root[sizeof(m.handoff.root) - 1] = '\0';
			m.handoff.init[sizeof(m.handoff.init) - 1] = '\0';
			m.previous[sizeof(m.previous) - 1] = '\0';
			s->target = m;
			s->has_target = true;
			break;
		case INIT_DONE:
			s->result = m.result;
			s->done = true;
			break;
		}
}

/* Waits for a signal or a message, at most until `until`. */
static void wait_until(struct supervisor *s, uint64_t until)
{
	struct pollfd p[2] = { { .fd = s->signals, .events = POLLIN },
			       { .fd = s->pipe, .events = POLLIN } };

	(void)poll(p, 2, rouse_clock_left(until));
	listen_to_worker(s);
	if (p[1].revents & POLLHUP) { /* nobody can write any more; poll would return at once */
		(void)close(s->pipe);
		s->pipe = -1;
	}
	reap(s);
}

/* Waits for the running child; false when it is still there at `until`. */
static bool await_child(struct supervisor *s, uint64_t until)
{
	while (s->worker > 0 && rouse_clock_left(until))
		wait_until(s, until);
	return s->worker == 0;
}

/* Every process descends from us, and comes to us when its parent ends. */
static bool alone(void)
{
	siginfo_t info;

	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD;
}

/* Ends whatever runs besides us. A process in an uninterruptible wait outlives even SIGKILL; it
 * must not hold the boot. */
static void end_all(struct supervisor *s)
{
	static const int signals[] = { SIGTERM, SIGKILL };

	for (size_t i = 0; i < ARRAY_SIZE(signals) && !alone(); i++) {
		uint64_t until = rouse_clock_ms() + ROUSE_KILL_GRACE;

		(void)kill(-1, signals[i]); /* ESRCH: it ended by itself */
		while (!alone() && rouse_clock_left(until))
			wait_until(s, until);
	}
}

/* Forks a child that has the signals of a plain process and its own process group. */
static pid_t fork_child(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		sigset_t none;

		(void)sigemptyset(&none);
		(void)sigprocmask(SIG_SETMASK, &none, NULL);
		(void)setpgid(0, 0);
	}
	return pid;
}

/* Does `what` in a child of its own: its result, or -1 when it gave none in time. */
static int in_child(struct supervisor *s, int (*what)(struct supervisor *s))
{
	pid_t pid = fork_child();

	if (pid == 0)
		_exit(what(s));
	if (pid < 0)
		return -1;
	s->worker = pid;
	if (await_child(s, rouse_clock_ms() + ROUSE_DEADLINE_HANDOFF))
		return WIFEXITED(s->wait_status) ? WEXITSTATUS(s->wait_status) : -1;
	end_all(s);
	return -1;
}

static int tell_aborted(struct supervisor *s)
{
	rouse_boot_aborted(&s->boot, s->reason);
	return 0;
}

/* The verdict of a boot whose worker could not give one, written by a second child: what broke
 * the first may break this one too. */
static void abort_boot(struct supervisor *s)
{
	rouse_log(ROUSE_LOG_ERROR, "init", "%s", s->reason);
	(void)in_child(s, tell_aborted);
}

/* Why did the worker end without a word? Into s->reason. */
static void explain(struct supervisor *s, uint64_t kills_before)
{
	if (s->late)
		(void)snprintf(s->reason, sizeof(s->reason),
			       "the boot was not over at its deadline and was ended");
	else
		supervise_explain(s->wait_status, supervise_oom_kills() > kills_before, s->reason);
}

/* Runs a worker to its end, or to its deadline: it has said all there is to say, or s->done is not
 * set. */
static void run_worker(struct supervisor *s)
{
	int ends[2];

	s->done = s->has_target = s->late = false;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return;
	s->deadline = rouse_clock_ms() + ROUSE_DEADLINE_BOOT;
	s->worker = fork_child();
	if (s->worker == 0) {
		(void)close(ends[0]);
		init_work(&s->boot, ends[1]);
	}
	(void)close(ends[1]);
	(void)fcntl(ends[0], F_SETFL, O_NONBLOCK); /* cannot fail on a pipe */
	s->pipe = ends[0];
	while (s->worker > 0 && rouse_clock_left(s->deadline))
		wait_until(s, s->deadline);
	s->late = s->worker > 0;
	end_all(s);
	listen_to_worker(s);
	if (s->pipe >= 0)
		(void)close(s->pipe);
	s->pipe = -1;
}

/* One boot: true when there is a root to switch to. Else s->reason says why not. */
static bool run_boot(struct supervisor *s)
{
	uint64_t kills = supervise_oom_kills();

	s->result = (struct rouse_boot_result){ .hold_max = ROUSE_HOLD_MAX,
						.pause = ROUSE_HOLD_POLL };
	s->boot.crashed = NULL;
	run_worker(s);
	if (!s->done) {
		/* What the document broke, or somebody else's memory, need not break the fallback. */
		explain(s, kills);
		rouse_log(ROUSE_LOG_ERROR, "init", "%s", s->reason);
		s->boot.crashed = s->reason;
		run_worker(s);
	}
	if (s->done && s->result.status == 0 && s->has_target)
		return true;
	if (s->done && s->result.status != 0) {
		if (!s->boot.crashed)
			(void)snprintf(s->reason, sizeof(s->reason), "the boot has failed (%s): %s",
				       rouse_kind_word((enum rouse_kind)s->result.status),
				       rouse_kind_advice((enum rouse_kind)s->result.status));
		return false;
	}
	if (s->done)
		(void)snprintf(s->reason, sizeof(s->reason), "the boot ended without a hand-off");
	s->result.status = ROUSE_SYSTEM;
	s->result.action = ROUSE_ACT_HOLD;
	abort_boot(s);
	return false;
}

/* Returns only when nothing in the new root can be started. */
static void leave(struct supervisor *s, char **argv)
{
	struct rouse_root root = { .fd = -1, .path = s->target.handoff.root };
	struct rouse_err e;
	int r = -1;

	root.fd = open(root.path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* The worker has proved this; nothing but a dying disk can have changed it since. */
	if (root.fd >= 0)
		r = rouse_handoff_prove(&root, s->target.handoff.init, &e);
	else
		(void)rouse_fail(&e, ROUSE_SYSTEM, errno, "cannot open '%s'", root.path);
	if (root.fd >= 0)
		(void)close(root.fd);
	if (r == 0 && s->target.handoff.kexec) {
		rouse_log(ROUSE_LOG_INFO, "init", "starting the kernel of '%s'",
			  s->target.handoff.init);
		if (rouse_handoff_kexec(s->target.handoff.root, &e) < 0)
			rouse_log(ROUSE_LOG_ERROR, "init", "%s; switching root instead", e.text);
	}
	if (r == 0)
		r = init_switch_root(s->target.handoff.root, &e);
	if (r == 0) {
		s->has_switched = true;
		init_leave_watcher(s->target.handoff.init);
		rouse_log(ROUSE_LOG_INFO, "init", "starting '%s'", s->target.handoff.init);
		if (s->console_level > 5)
			(void)klogctl(8, NULL, s->console_level);
		r = init_exec(s->target.handoff.init, argv, &e);
		if (r < 0 && s->target.previous[0]) {
			rouse_log(ROUSE_LOG_ERROR, "init", "%s; starting the previous generation",
				  e.text);
			r = init_exec(s->target.previous, argv, &e);
		}
	}
	take_signals(s); /* the attempts gave them back */
	(void)snprintf(s->reason, sizeof(s->reason), "%.250s", e.text);
	abort_boot(s);
}

/* Counted on the disk; where that cannot be, nothing would end the loop. */
static int count_reboot(struct supervisor *s)
{
	struct rouse_boot_options o = s->boot;

	if (s->has_switched)
		o.root = "/";
	return rouse_boot_count_reboot(&o) ? 0 : 1;
}

/* Keeps the machine up, out of service, and says so once a minute; until `until` (0: for ever). */
static void hold(struct supervisor *s, uint64_t until)
{
	if (option_is(s, "rouse.onfailure", "reboot") && in_child(s, count_reboot) == 0) {
		rouse_log(ROUSE_LOG_ERROR, "init", "%s; rebooting in 10 s", s->reason);
		rouse_clock_sleep_until(rouse_clock_ms() + 10000);
		sync();
		(void)reboot(RB_AUTOBOOT);
	}
	do {
		uint64_t next = rouse_clock_ms() + 60000;

		rouse_log(ROUSE_LOG_ERROR, "init", "%s; holding: see %s/report.json", s->reason,
			  s->boot.run);
		if (until && until < next)
			next = until;
		while (rouse_clock_left(next))
			wait_until(s, next);
	} while (!until || rouse_clock_left(until));
}

/* As hold(), while a child keeps those waiting who wait for this machine. */
static void hold_on(struct supervisor *s, uint64_t until)
{
	pid_t pid = fork_child();

	if (pid == 0) {
		rouse_boot_wait(&s->boot, until);
		_exit(0);
	}
	hold(s, until); /* also without a child: they have time-outs of their own */
	end_all(s);
}

static int tell_abandoned(struct supervisor *s)
{
	rouse_boot_abandoned(&s->boot);
	return 0;
}

/* Waits for the time of the next try. A machine that was given up stays up, for whoever looks; what
 * was out of reach may still come back for one that belongs to no group. */
static void wait_for_next(struct supervisor *s)
{
	uint64_t now = rouse_clock_ms(), end, next = now + s->result.pause;

	if (!s->held)
		s->held = now;
	end = s->held + s->result.hold_max;
	if (s->result.action == ROUSE_ACT_HOLD && !s->abandoned) {
		hold_on(s, next < end ? next : end);
		if (next < end)
			return;
		(void)snprintf(s->reason, sizeof(s->reason),
			       "the machine was held as long as it may, and is given up");
		(void)in_child(s, tell_abandoned);
	}
	s->abandoned = true;
	hold(s, s->result.status == ROUSE_UNAVAILABLE ? rouse_clock_ms() + s->result.pause : 0);
}

int rouse_init_main(unused_arg int argc, char **argv)
{
	struct supervisor s = { .boot = { .initramfs = true,
					  .root = "/sysroot",
					  .run = "/run/rouse",
					  .settings = "/etc/rouse/agent.json" },
				.signals = -1,
				.pipe = -1 };

	if (getpid() != 1) {
		static const char line[] = "rouse: /init must be process 1\n";

		(void)!write(STDERR_FILENO, line, sizeof(line) - 1);
		return ROUSE_USAGE;
	}
	begin(&s);
	if (option_is(&s, "rouse", "off")) {
		(void)snprintf(s.reason, sizeof(s.reason),
			       "rouse=off on the kernel command line, but this initramfs holds "
			       "nothing else");
		hold(&s, 0);
	}
	for (;;) {
		if (run_boot(&s)) {
			leave(&s, argv);
			hold(&s, 0);
		}
		wait_for_next(&s);
		s.boot.again = true;
		(void)umount2(s.boot.root,
			      MNT_DETACH); /* a half-made root; EINVAL when there is none */
	}
}
