/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this module share: a user as declared, accounts in memory, homes on disk. */
#pragma once

#include <rouse/accounts.h>
#include <rouse/module.h>

extern const struct rouse_module rouse_module_users;

struct user {
	const char *name;
	int64_t uid;              /* 0: the next free one */
	struct rouse_list groups; /* const char *: is made a member of */
	struct rouse_list keys;   /* const char *: lines for authorized_keys */
	const char *shell, *home, *gecos;
	const char *password_hash; /* crypt(3); NULL: "*" for a new user, else unchanged */
	bool system;
};

enum { OP_BASE, OP_GROUP, OP_USER, OP_HOME, OP_KEYS }; /* all but the first two: arg is a user */

struct group_arg {
	const char *name;
};

/* apply.c */
int users_apply(const struct rouse_step *step, const struct rouse_context *c, void *state,
		struct rouse_err *e);
bool users_shell_present(const void *root, const char *shell); /* root: struct rouse_root */

/* passwd.c: what a user needs in the account files; the same code makes the plan (on lines out of
 * the facts) and the change (on the files). */

/* root, nobody and their groups, for a root that has no /etc/passwd. */
void users_make_base(struct rouse_accounts *a);
/* A group with the next free id, unless it is there. */
must_check int users_make_group(struct rouse_accounts *a, const char *name, bool system,
				uint32_t *ret_gid, struct rouse_err *e);
/* Makes or changes the user and appends to `what`, for people, what that changed. Needed groups
 * are made. `shell` is for a new user that names none. */
must_check int users_make(struct rouse_accounts *a, const struct user *u, const char *shell,
			  bool *ret_new, struct rouse_buf *what, struct rouse_err *e);
/* The shell of a new user that names none: the first that is there, else a plausible one (the root
 * of an image may get its shells later). */
const char *users_default_shell(const struct user *u,
				bool (*is_there)(const void *ctx, const char *shell),
				const void *ctx);
extern const char *const users_shells[]; /* all candidates; NULL-ended */
/* Where the user's home is or will be; NULL: it has none. Caller frees. */
char *users_home(const struct rouse_accounts *a, const struct user *u);

/* home.c: the home directory and ~/.ssh/authorized_keys, where others may have planted links. */

struct home_state {
	bool exists;
	char keys_sha256[65]; /* of rouse's block in authorized_keys; "" when there is none */
};
/* `uid` is who the home must belong to (or root). */
must_check int home_observe(const struct rouse_root *root, const char *home, uint32_t uid,
			    struct home_state *ret, struct rouse_err *e);
must_check int home_make(const struct rouse_root *root, const char *home, uint32_t uid,
			 uint32_t gid, struct rouse_err *e);
/* Replaces rouse's block; without keys it goes. */
must_check int home_write_keys(const struct rouse_root *root, const char *home, uint32_t uid,
			       uint32_t gid, const struct rouse_list *keys, struct rouse_err *e);
/* The digest that home_observe() reports for a block of these keys; "" for none. */
void home_keys_digest(const struct rouse_list *keys, char ret[static 65]);
/* The text of authorized_keys with rouse's block replaced, appended to `out`. */
void home_edit_keys(const char *text, const struct rouse_list *keys, struct rouse_buf *out);
