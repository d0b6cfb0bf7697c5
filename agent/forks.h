/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork(2) beside other threads, for a child that goes on with this program. A lock which one of them holds within
 * a library (OpenSSL has some for all of a process) stays held in the child, which has no such thread: whoever
 * wants it there waits for ever. So who works in such a library says when, and a fork waits until nobody does.
 */
#pragma once

#include <sys/types.h>

/* From here to forks_allow() no other thread forks. These nest. */
void forks_forbid(void);
void forks_allow(void);

/* Within that, around a wait in which no library works: takes back what this thread has forbidden, and forbids it
 * again. */
unsigned forks_rest(void);
void forks_resume(unsigned depth);

/* fork(2), when nobody forbids it; after FORKS_PATIENCE in any case. */
#define FORKS_PATIENCE 5000
pid_t forks_fork(void);
