/* SPDX-License-Identifier: Apache-2.0 */
#include "supervise.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/health.h>
#include <rouse/limits.h>
#include <rouse/report.h>
#include <rouse/text.h>

/* What nobody else says any more. */
static int give_verdict(const char *run, const char *reason, struct rouse_err *e)
{
	struct rouse_report r = { 0 };
	bool told;

	if (rouse_report_load(&r, run, e) < 0 && rouse_report_begin(&r, run, e) < 0)
		return -1;
	told = json_is_true(json_object_get(r.json, "announced"));
	rouse_report_verdict(&r, ROUSE_FAILED, ROUSE_SYSTEM, reason);
	rouse_report_write(&r);
	if (!told) {
		if (rouse_streq(run, "/run/rouse"))
			rouse_health_console(&r);
		rouse_health_signal(&r, NULL);
		rouse_report_write(&r);
	}
	rouse_report_done(&r);
	return rouse_fail(e, ROUSE_SYSTEM, 0, "%s", reason);
}

/* Waits for the child to end; false when its time is over. */
static bool await(pid_t pid)
{
	auto_fd int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t end = rouse_clock_ms() + ROUSE_DEADLINE_SUPERVISE;
	int r = -1;

	while (fd >= 0 && r <= 0 && rouse_clock_left(end))
		r = poll(&p, 1, rouse_clock_left(end)); /* EINTR: once more */
	return r > 0;
}

int supervise(const char *run, struct rouse_err *e)
{
	char reason[128];
	pid_t pid = fork();
	int status = 0;
	bool late;

	if (pid == 0)
		return 1;
	if (pid < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot fork");
	late = !await(pid);
	if (late)
		(void)kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status)) {
		e->kind = (enum rouse_kind)WEXITSTATUS(status);
		e->text[0] = '\0'; /* said already */
		return e->kind == ROUSE_OK ? 0 : -1;
	}
	if (late)
		(void)snprintf(reason, sizeof(reason), "the health checks did not end in time");
	else
		(void)snprintf(reason, sizeof(reason),
			       "the agent was killed by signal %d (%s) during the health checks",
			       WTERMSIG(status), strsignal(WTERMSIG(status)));
	return give_verdict(run, reason, e);
}
