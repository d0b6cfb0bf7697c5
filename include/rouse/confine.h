/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes for the parsing of bytes from the network (HTTP, TLS, decompression, archives). They have no
 * capabilities, cannot gain any, and have of the kernel what such work needs and no more: no program can
 * be started, no process looked at, signalled or traced, nothing mounted, and no local socket reached
 * (behind which are daemons that do what root asks). By Landlock nothing can be written but beneath one
 * directory, and nothing read but libraries, certificates and what names are looked up with. What a
 * kernel does not have is left out: see rouse_confine_measure().
 *
 * What is not promised: the memory of the process that was forked is there to be read.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <rouse/err.h>

struct rouse_confinement {
	const int *keep; /* descriptors that stay open, besides `write`, 0 and 1 (null) and 2 */
	size_t n_keep;
	int write; /* a directory beneath which everything but devices and sockets can be made; -1: none */
	const char *const
		*read; /* files and directories that can be read besides; absent is well */
	size_t n_read;
};

/* What this kernel confines with; Landlock's is the version of its interface, 0 when there is none. */
struct rouse_confine_measure {
	unsigned landlock;
	bool seccomp;
};
struct rouse_confine_measure rouse_confine_measure(void);
/* "no capabilities, seccomp, Landlock 2"; buf is returned. */
const char *rouse_confine_print(char buf[static 80], struct rouse_confine_measure m);

/* fork(2), between two pieces of work of other threads (agent/forks.h), for a child that is killed when the thread
 * that has called this ends. In the child the log is on stderr only, and SIGTERM waits until somebody asks
 * whether it has come. */
pid_t rouse_confine_fork(void);
bool rouse_confine_ended(void); /* … has it? */
/* Confines this process, which has one thread, for good. */
must_check int rouse_confine(const struct rouse_confinement *c, struct rouse_err *e);
