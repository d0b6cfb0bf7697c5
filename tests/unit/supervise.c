/* SPDX-License-Identifier: Apache-2.0 */
#include "../../agent/supervise.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/err.h>

#include "../lib/tap.h"

static void answer(void *arg, void *ret)
{
	*(int *)ret = *(const int *)arg + 1;
}

static void crash(unused_arg void *arg, unused_arg void *ret)
{
	(void)raise(SIGKILL);
}

static void exhaust(unused_arg void *arg, unused_arg void *ret)
{
	_exit(ROUSE_SYSTEM); /* as mem.c does */
}

static void leave(unused_arg void *arg, unused_arg void *ret)
{
	_exit(0);
}

static void hang(unused_arg void *arg, unused_arg void *ret)
{
	(void)pause();
}

static void be_ended(unused_arg void *arg, unused_arg void *ret)
{
	(void)raise(SIGTERM);
}

/* Leaves a program behind, and one of that in a session of its own; both hold the pipe as long as they run. */
static void crash_at_work(void *arg, unused_arg void *ret)
{
	int ends[2];
	char c;

	if (pipe(ends) < 0)
		return;
	if (fork() == 0) {
		if (fork() == 0)
			(void)setsid();
		(void)!write(*(int *)arg, "x", 1);
		(void)!write(ends[1], "x", 1);
		(void)pause();
		_exit(0);
	}
	for (int i = 0; i < 2; i++)
		(void)!read(ends[0], &c, 1);
	(void)raise(SIGKILL);
}

static bool late;
static char reason[SUPERVISE_REASON];

static void supervise_hands_over_the_result(struct t *t)
{
	int arg = 41, ret = 0;

	T_CHECK(t, supervise(answer, &arg, &ret, sizeof(ret), 60000, &late, reason));
	T_CHECK(t, ret == 42 && !late);
}

static void supervise_says_how_the_child_ended(struct t *t)
{
	int ret = 7;

	T_CHECK(t, !supervise(crash, NULL, &ret, sizeof(ret), 60000, &late, reason));
	T_CHECK(t, strncmp(reason, "the agent was killed by signal 9", 32) == 0);
	T_CHECK(t, !supervise(exhaust, NULL, &ret, sizeof(ret), 60000, &late, reason));
	T_STR(t, reason, "the agent ran out of memory");
	T_CHECK(t, !supervise(leave, NULL, &ret, sizeof(ret), 60000, &late, reason));
	T_STR(t, reason, "the agent ended with status 0");
	T_CHECK(t, ret == 7 && !late);
}

static void supervise_ends_what_hangs(struct t *t)
{
	uint64_t begin = rouse_clock_ms();
	int ret = 7;

	T_CHECK(t, !supervise(hang, NULL, &ret, sizeof(ret), 100, &late, reason));
	T_CHECK(t, late && rouse_clock_ms() - begin < 60000);
	T_STR(t, reason, "the agent was not done at its deadline and was ended");
}

static void supervise_ends_what_a_crash_leaves_running(struct t *t)
{
	int ends[2], ret = 0;
	char text[4];

	T_CHECK(t, pipe(ends) == 0);
	T_CHECK(t, !supervise(crash_at_work, &ends[1], &ret, sizeof(ret), 60000, &late, reason));
	(void)close(ends[1]);
	T_CHECK(t, read(ends[0], text, sizeof(text)) == 2); /* two programs ran, */
	T_CHECK(t, read(ends[0], text, sizeof(text)) == 0); /* and none does */
	(void)close(ends[0]);
}

static void supervise_ends_with_who_is_asked_to(struct t *t)
{
	int ret = 0, status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		(void)supervise(be_ended, NULL, &ret, sizeof(ret), 60000, &late, reason);
		_exit(1);
	}
	T_CHECK(t, waitpid(pid, &status, 0) == pid);
	T_CHECK(t, WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

T_MAIN(T(supervise_hands_over_the_result), T(supervise_says_how_the_child_ended),
       T(supervise_ends_what_hangs), T(supervise_ends_what_a_crash_leaves_running),
       T(supervise_ends_with_who_is_asked_to))
