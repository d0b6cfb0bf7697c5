/* SPDX-License-Identifier: Apache-2.0 */
/* Trees on disk: made from an archive in Nix's canonical form, and removed. */
#pragma once

#include <stdbool.h>

#include <rouse/err.h>
#include <rouse/limits.h>
#include <rouse/trust.h>

#include "nar.h"

/* Writes an archive below a directory that hands no access list down (acl(5)): files 0444 or 0555, directories
 * 0555, mtime 1, with the process's umask of 022, which takes none of these bits: there are files by the ten
 * thousand, and a mode of its own for each would be felt. One descriptor per level, O_NOFOLLOW, O_EXCL: nothing
 * is ever reached by a path. */
struct rouse_tree {
	const char *name;                  /* of the root, in dirs[0]; borrowed */
	int dirs[ROUSE_MAX_NAR_DEPTH + 1]; /* dirs[0] is borrowed */
	unsigned depth;
	int file;
	struct rouse_sha256 *contents; /* gets the bytes of all files; may be NULL; borrowed */
	bool is_plain_file;            /* the root is a file that is not executable */
	uint64_t files, bytes;
};
extern const struct rouse_nar_ops rouse_tree_ops; /* arg: struct rouse_tree * */

void rouse_tree_begin(struct rouse_tree *t, int dir, const char *name);
void rouse_tree_done(struct rouse_tree *t); /* closes what an aborted archive left open */

/* Gives an open directory that was changed its mode and time again. -1 with errno. */
must_check int rouse_tree_finish_directory(int fd);
/* Removes `name` in `dir` with all below it, following nothing; absent is well. -1 with errno. */
must_check int rouse_tree_remove(int dir, const char *name);
