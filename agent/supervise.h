/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that must end in a verdict, whatever becomes of who does it: a child does it, and this process waits. For
 * units and commands; process 1 (init.c) does the same in its own way, as it may not allocate, has all orphans of
 * the machine, and what the worker says must reach it before the worker ends.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SUPERVISE_REASON 256

/* Does work(arg, ret) in a child, for at most `limit` ms. True when it came to its end: then `ret`, of `size` bytes
 * (PIPE_BUF at most), is as the child left it. Else `reason` says what became of the child, all that it has started
 * has been ended, and *ret_late tells a time that was over from a crash; `ret` is as it was. Who ends the child as
 * people end a program (SIGTERM, Ctrl-C) ends this process, too: that is no crash. */
bool supervise(void (*work)(void *arg, void *ret), void *arg, void *ret, size_t size,
	       uint64_t limit, bool *ret_late, char reason[static SUPERVISE_REASON]);

/* How a worker ended that has told no result, in words: its status of wait(2), and whether the kernel has killed
 * somebody for memory meanwhile. Allocates nothing. */
void supervise_explain(int wait_status, bool oom, char reason[static SUPERVISE_REASON]);
/* How often the kernel has killed a process because there was no memory left; 0 when it does not say. */
uint64_t supervise_oom_kills(void);
