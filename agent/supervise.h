/* SPDX-License-Identifier: Apache-2.0 */
/* Work that must end in a verdict, whatever becomes of who does it. */
#pragma once

#include <rouse/err.h>

/* Forks. Returns 1 in the child, which is to do the work; in the parent, when the child has ended, 0 or -1
 * with its exit status in e->kind. A child that is killed, or does not end in the time of the longest
 * health.deadline, leaves a failed verdict in `run`, and it is told. */
must_check int supervise(const char *run, struct rouse_err *e);
