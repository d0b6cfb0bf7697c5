/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of a profile: links into packages, by the rules of Nix's buildProfile (NixOS/nix,
 * src/libstore/builtins/buildenv.cc), so that the same programs give the same store path as `nix
 * profile install` makes. A directory that one package has is one link; where several have it, it
 * becomes a directory of links. Of two files of one name, the one with the lower priority wins.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <rouse/err.h>
#include <rouse/fs.h>
#include <rouse/mem.h>

struct rouse_link; /* a name in the tree */

struct rouse_links {
	const struct rouse_root *root; /* that has the store */
	char root_path[4096];          /* where it really is; "" for "/" */
	struct rouse_arena arena;
	struct rouse_link *top;
	size_t n; /* names in it, bounded */
};

must_check int rouse_links_begin(struct rouse_links *l, const struct rouse_root *root,
				 struct rouse_err *e);
void rouse_links_done(struct rouse_links *l);
static inline void links_auto(struct rouse_links *l)
{
	rouse_links_done(l);
}
#define auto_links __attribute__((cleanup(links_auto)))

struct rouse_package {
	const char *path; /* in the store */
	int64_t priority;
};
/* Links everything of these packages (sorted here), and of what they propagate to their users.
 * Two files of one name and priority are ROUSE_DOCUMENT. */
must_check int rouse_links_add(struct rouse_links *l, struct rouse_package *packages, size_t n,
			       struct rouse_err *e);
/* The archive of the tree, with one file beside the links. */
void rouse_links_archive(const struct rouse_links *l, const char *file, const char *contents,
			 struct rouse_buf *out);
