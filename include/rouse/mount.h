/* SPDX-License-Identifier: Apache-2.0 */
/* Mount options and mounts as mount(8) and /proc/self/mountinfo have them, through libmount. */
#pragma once

#include <stdbool.h>

#include <rouse/err.h>

/* Splits the options of mount(8), "noatime,nosuid,size=1G", into flags of mount(2) and what the
 * filesystem itself reads (*ret_data, which the caller frees; NULL when there is nothing, or nobody
 * asks). Options that are for other programs ("nofail", "x-…") are left out. */
must_check int rouse_mount_options(const char *options, unsigned long *ret_flags, char **ret_data,
				   struct rouse_err *e);
/* Is this one of them? */
bool rouse_mount_has_option(const char *options, const char *name);
/* The type of what is mounted at `target` of the root at `root` ("/sysroot"), the uppermost; NULL when
 * it is no mount point. Caller frees. */
char *rouse_mounted_type(const char *root, const char *target);
