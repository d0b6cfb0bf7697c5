/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into the agent: makes its worker fail in the way that ROUSE_FAULT or the kernel command
 * line (fault=…) says. Process 1, and the child that writes the verdict, go on as they are. "crash-plan"
 * crashes in phase "plan" alone.
 *
 *   crash    once in each phase (with ROUSE_FAULT_ALWAYS each time), as soon as the report has it: the next run
 *            comes one phase further
 *   abort    the same, as an assertion that does not hold does it
 *   kill     the same, as the kernel does it when there is no memory left
 *   end      the same, as a person does it, or a service manager
 *   unit     the same, for the worker and its parent at once
 *   hang     once, in the first phase
 *   memory   once, in the first phase
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PHASE "\"phase\": \""

static const char *asked(void)
{
	static char line[4096];
	const char *fault = getenv("ROUSE_FAULT");
	int fd = fault ? -1 : open("/proc/cmdline", O_RDONLY | O_CLOEXEC);

	if (fault)
		return fault;
	if (fd < 0 || read(fd, line, sizeof(line) - 1) <= 0)
		return "";
	close(fd);
	fault = strstr(line, "fault=");
	return fault ? fault + strlen("fault=") : "";
}

/* A mark on the disk: another process must know, too. */
static bool first_time(const char *name)
{
	const char *dir = getenv("ROUSE_FAULT_DIR");
	char path[256];
	int fd;

	if (getenv("ROUSE_FAULT_ALWAYS"))
		return true;
	snprintf(path, sizeof(path), "%s/failed.%s", dir ? dir : "/run", name);
	fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

/* Is that what is asked for, in this phase, for the first time? */
static bool due(const char *kind, const char *phase, const char *mark)
{
	const char *fault = asked();
	size_t n = strlen(kind), m = strlen(phase);

	if (strncmp(fault, kind, n) != 0)
		return false;
	if (fault[n] == '-' &&
	    (strncmp(fault + n + 1, phase, m) != 0 || (unsigned char)fault[n + 1 + m] > ' '))
		return false;
	return first_time(mark);
}

static void fail_in(const char *phase)
{
	static const struct {
		const char *name;
		int signal;
	} kinds[] = {
		{ "crash", SIGSEGV }, { "abort", SIGABRT }, { "kill", SIGKILL }, { "end", SIGTERM }
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (due(kinds[i].name, phase, phase))
			raise(kinds[i].signal);
	if (due("unit", phase, phase)) {
		kill(getppid(), SIGKILL);
		pause(); /* it takes its child along */
	}
	if (due("hang", phase, "hang"))
		while (true)
			pause();
	if (due("memory", phase, "memory"))
		while (true) {
			char *p = malloc(1 << 20);

			if (!p)
				_exit(71);
			memset(p, 1, 1 << 20);
		}
}

/* Stands in for the C library's: the agent writes its live state with it, after the report. */
ssize_t write(int fd, const void *data, size_t n)
{
	const char *at = memmem(data, n, PHASE, strlen(PHASE));
	char phase[32] = "";

	if (at && getpid() != 1) {
		at += strlen(PHASE);
		for (size_t i = 0;
		     i < sizeof(phase) - 1 && at + i < (const char *)data + n && at[i] != '"'; i++)
			phase[i] = at[i];
		fail_in(phase);
	}
	return syscall(SYS_write, fd, data, n);
}
