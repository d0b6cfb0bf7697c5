/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The module `files`, inside: whole files of the root, by absolute path, and directories. Contents are
 * compared by digest, so that neither facts nor plan nor log ever hold them. A file is replaced in one
 * rename; a symlink in its place is replaced, not followed.
 *
 *   files.c        tables and checks     observe.c  what stands there
 *   plan.c apply.c files                 directories.c  directories, both
 *   owner.c        whose they are
 */
#pragma once

#include <sys/types.h>

#include <rouse/accounts.h>
#include <rouse/module.h>

struct file {
	const char *path;
	const char *contents, *base64; /* exactly one */
	const char *mode;              /* NULL: "0644", or "0600" for a secret */
	const char *user, *group;      /* NULL: root */
	bool secret;
};

struct directory {
	const char *path;
	const char *mode;         /* NULL: "0755" */
	const char *user, *group; /* NULL: root */
};

struct conf {
	struct rouse_list files;       /* struct file */
	struct rouse_list directories; /* struct directory */
};

/* What stands at a path; absent paths have no entry. */
struct found {
	const char *path;
	const char *type; /* "file", "symlink", "directory", "special" */
	const char *mode; /* octal */
	int64_t size, uid, gid;
	const char *user, *group; /* names in the root's own files, NULL when it has none */
	const char *sha256;       /* NULL when larger than any document's file */
};

/* A file of an earlier document. */
struct former {
	const char *path;
	struct rouse_list is; /* const char *: states that are ours (rouse/made.h) */
	const char *was;
	const char *now; /* the state of today */
};

struct facts {
	bool privileged;                       /* files can be given to others */
	int64_t uid, gid;                      /* of the agent */
	struct rouse_list files;               /* struct found */
	struct rouse_list no_users, no_groups; /* const char *: wanted, and not on this machine */
	struct rouse_list former;              /* struct former: recorded, and not wanted */
	struct rouse_list directories;         /* struct found */
};

/* A file to write, bytes decoded; or a directory, without. */
struct work {
	const char *path, *user, *group; /* user and group NULL: not ours to set */
	unsigned mode;
	const char *data;
	size_t len;
};

enum { OP_WRITE, OP_UNDO, OP_DIRECTORY };
#define SECTION "files" /* of the record of what was made */

extern const struct rouse_module rouse_module_files;
extern const struct rouse_shape files_facts_shape;

int files_observe(const void *conf, const struct rouse_context *c, json_t *facts,
		  struct rouse_err *e);
/* What was found at a path; NULL: nothing. */
const struct found *files_find(const struct rouse_list *found, const char *path);

int files_plan(const void *conf, const void *facts, const struct rouse_context *c,
	       struct rouse_plan *p, struct rouse_err *e);
int files_prepare(const void *conf, const struct rouse_plan *p, const struct rouse_context *c,
		  void **ret_state, struct rouse_err *e);
int files_apply(const struct rouse_step *step, const struct rouse_context *c, void *state,
		struct rouse_err *e);
/* Are the bytes, the mode and the owner as wanted? */
bool files_is_same(const struct work *w, const struct found *is);

must_check int files_plan_directories(const struct conf *want, const struct facts *is,
				      struct rouse_plan *p, struct rouse_err *e);
must_check int files_apply_directory(const struct work *w, const struct rouse_context *c,
				     struct rouse_err *e);

/* NULL, of what is wanted, is anybody. */
bool files_owner_is(const char *want, const char *name, int64_t id);
/* Can it be given to them: is there such a user and group, or will there be, and may we? */
must_check int files_check_owner(const char *path, const char *user, const char *group,
				 const struct facts *is, const struct rouse_plan *p,
				 struct rouse_err *e);
/* The number of a user (or group); stays as it is for NULL. */
must_check int files_resolve(const struct rouse_lines *lines, const char *name, const char *kind,
			     const char *path, uint32_t *ret, struct rouse_err *e);
/* "noUsers" and "noGroups" of the facts. */
void files_observe_owners(const struct conf *want, const struct rouse_accounts *a, json_t *facts);
/* Observes one path alone, when the root was out of sight before. */
must_check int files_look(const struct rouse_root *root, const struct rouse_accounts *accounts,
			  const char *path, struct rouse_arena *arena, json_t **ret_json,
			  const struct found **ret, struct rouse_err *e);
