/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into the agent: makes its worker fail in the way that ROUSE_FAULT or the kernel command
 * line (fault=…) says. Process 1, and the child that writes the verdict, go on as they are.
 *
 *   crash    once in each phase, as soon as the report has it: the next run comes one phase further
 *   abort    the same, as an assertion that does not hold does it
 *   kill     the same, as the kernel does it when there is no memory left
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

	snprintf(path, sizeof(path), "%s/failed.%s", dir ? dir : "/run", name);
	fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static void fail_in(const char *phase)
{
	static const struct {
		const char *name;
		int signal;
	} kinds[] = { { "crash", SIGSEGV }, { "abort", SIGABRT }, { "kill", SIGKILL } };
	const char *fault = asked();

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strncmp(fault, kinds[i].name, strlen(kinds[i].name)) == 0 && first_time(phase))
			raise(kinds[i].signal);
	if (strncmp(fault, "hang", 4) == 0 && first_time("hang"))
		while (true)
			pause();
	if (strncmp(fault, "memory", 6) == 0 && first_time("memory"))
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
