/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls that are left to a confined process (agent/confine.c), by seccomp(2). */
#pragma once

#include <stdbool.h>

#include <rouse/err.h>

/* Does the kernel have filters, for an architecture that we know? */
bool syscalls_can_be_limited(void);
/* For this thread and all that it starts, for good. Needs no_new_privs. A call that is refused gives
 * EPERM; one that is younger than this program ENOSYS, so that libraries fall back on older ones. Where
 * there are no filters, nothing happens. */
must_check int syscalls_limit(struct rouse_err *e);
