/* SPDX-License-Identifier: Apache-2.0 */
/* How programs of profiles are found: ~/.nix-profile, which Nix and NixOS know, and a file in
 * /etc/profile.d for the login shells of other systems. */
#pragma once

#include <stdbool.h>

#include <rouse/err.h>
#include <rouse/fs.h>

/* Where ~/.nix-profile leads. */
enum home_link {
	HOME_NONE,   /* no such user, or no home yet */
	HOME_ABSENT, /* to be made */
	HOME_OURS,   /* to the user's profile */
	HOME_OTHER,  /* the user made it: it stays */
	HOME_LINKS_
};
extern const char *const home_link_words[]; /* for facts; NULL at the end */

must_check int home_link_read(const struct rouse_root *root, const char *user, enum home_link *ret,
			      struct rouse_err *e);
must_check int home_link_make(const struct rouse_root *root, const char *user, struct rouse_err *e);

/* The file for login shells. */
#define SHELL_FILE "/etc/profile.d/rouse.sh"
enum shell_file {
	SHELL_CLOSURE, /* /etc is a NixOS closure's, which knows the profiles */
	SHELL_ABSENT,  /* … or somebody else's text */
	SHELL_OURS,
	SHELL_FILES_
};
extern const char *const shell_file_words[];

must_check int shell_file_read(const struct rouse_root *root, enum shell_file *ret,
			       struct rouse_err *e);
must_check int shell_file_write(const struct rouse_root *root, struct rouse_err *e);
must_check int shell_file_remove(const struct rouse_root *root, struct rouse_err *e);
