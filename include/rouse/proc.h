/* SPDX-License-Identifier: Apache-2.0 */
/* Runs programs: by absolute path or by name on the fixed path list of rouse, argv array, given
 * environment, stdin null, bounded output, deadline. Never a shell. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rouse/err.h>
#include <rouse/mem.h>

/* As argv[0]: this program, also when its file was replaced meanwhile. */
#define ROUSE_PROC_SELF "/proc/self/exe"

struct rouse_proc {
	const char *const *argv; /* NULL-terminated; argv[0] is a name or an absolute path */
	const char *const *env;  /* NULL: PATH, LANG=C and nothing else */
	const char *chroot;      /* NULL: none; the program is looked up inside it */
	const void *input;       /* bytes for stdin, NULL: /dev/null */
	size_t input_len;
	int input_fd;      /* > 0: stdin comes from this descriptor; borrowed */
	uint64_t deadline; /* absolute; required */
	size_t max_output; /* of `out`; 0: ROUSE_MAX_PROGRAM_OUTPUT. What is more is dropped */
};

/* Finds a program on the fixed path list (below `chroot` when not NULL); false when missing. */
bool rouse_proc_find(const char *name, const char *chroot, char *buf, size_t size);
/* Runs to the end. *ret_status is the wait(2) exit code 0…255. `out` (may be NULL) receives
 * stdout and stderr together, at most ROUSE_MAX_PROGRAM_OUTPUT. A signal, a time-out or a
 * missing program is an error; an exit status is not. */
must_check int rouse_proc_run(const struct rouse_proc *p, int *ret_status, struct rouse_buf *out,
			      struct rouse_err *e);
/* Runs and demands exit status 0; the error holds the program's last line. */
must_check int rouse_proc_check(const struct rouse_proc *p, struct rouse_err *e);
