/* SPDX-License-Identifier: Apache-2.0 */
#include "forks.h"

#include <pthread.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

/* Those who forbid read, who forks writes. */
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static _Thread_local unsigned depth;

void forks_forbid(void)
{
	if (depth++ == 0)
		(void)pthread_rwlock_rdlock(&lock);
}

void forks_allow(void)
{
	if (--depth == 0)
		(void)pthread_rwlock_unlock(&lock);
}

unsigned forks_rest(void)
{
	unsigned before = depth;

	depth = 0;
	if (before)
		(void)pthread_rwlock_unlock(&lock);
	return before;
}

void forks_resume(unsigned before)
{
	if (before)
		(void)pthread_rwlock_rdlock(&lock);
	depth = before;
}

pid_t forks_fork(void)
{
	unsigned own = forks_rest();
	struct timespec until = { 0 };
	bool locked;
	pid_t pid;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += FORKS_PATIENCE / 1000;
	locked = pthread_rwlock_clockwrlock(&lock, CLOCK_MONOTONIC, &until) == 0;
	pid = fork();
	if (pid == 0) /* those who wait for it are in the parent */
		lock = (pthread_rwlock_t)PTHREAD_RWLOCK_INITIALIZER;
	else if (locked)
		(void)pthread_rwlock_unlock(&lock);
	forks_resume(own);
	return pid;
}
