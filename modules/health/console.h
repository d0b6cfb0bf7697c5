/* SPDX-License-Identifier: Apache-2.0 */
/* What is said on consoles about the host keys of an SSH server; for tests beside modules/health/console.c. */
#pragma once

#include <rouse/err.h>

/* Calls `each` with the line of every public host key in `dir`, by name, until one fails; what it returned last.
 * -1 comes from `each` alone. */
int console_each_host_key(const char *dir,
			  int (*each)(void *arg, const char *line, struct rouse_err *e), void *arg,
			  struct rouse_err *e);
/* All of them, with the lines of cloud-init around them; NULL: there are none. Caller frees. */
char *console_host_keys(const char *dir);
