/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include <rouse/err.h>
#include <rouse/fs.h>

/* Opens the directory that holds `path` as a root of its own, in which *ret_name ("/NAME", points
 * into path) is the file. Root's symlinks are followed inside the root; where somebody else may
 * have put one, none is: else the next run would write, as root, where a user pointed. With `make`
 * missing directories are made, 0755, for whoever owns the directory around them; without, their
 * absence is ENOENT in e->sys. */
must_check int rouse_open_parent(const struct rouse_root *root, const char *path, bool make,
				 struct rouse_root *ret, const char **ret_name,
				 struct rouse_err *e);
