/* SPDX-License-Identifier: Apache-2.0 */
#include "users.h"

#include <string.h>

#include <rouse/text.h>

/* The ranges of login.defs(5): people from 1000 up, services from 999 down. */
#define FIRST_UID 1000
#define LAST_UID 59999
#define LAST_SYSTEM_UID 999
#define FIRST_SYSTEM_UID 100

#define N_LOGIN_SHELLS 2 /* of the following; the others let nobody in */
const char *const users_shells[] = { "/bin/bash",     "/bin/sh",    "/usr/sbin/nologin",
				     "/sbin/nologin", "/bin/false", NULL };

const char *users_default_shell(const struct user *u,
				bool (*is_there)(const void *ctx, const char *shell),
				const void *ctx)
{
	const char *const *candidates = users_shells + (u->system ? N_LOGIN_SHELLS : 0);

	for (size_t i = 0; candidates[i] && (u->system || i < N_LOGIN_SHELLS); i++)
		if (is_there(ctx, candidates[i]))
			return candidates[i];
	return u->system ? "/sbin/nologin" : "/bin/sh";
}

static struct rouse_lines *lines(struct rouse_accounts *a, enum rouse_account_file f)
{
	return &a->files[f];
}

static bool id_used(const struct rouse_lines *l, uint32_t id)
{
	auto_free char *name = rouse_lines_name_of(l, ROUSE_PW_UID, id);

	return name != NULL;
}

/* The first id that is free in `l`, and in `also` when not NULL; 0 when there is none. */
static uint32_t free_id(const struct rouse_lines *l, const struct rouse_lines *also, bool system)
{
	uint32_t id = system ? LAST_SYSTEM_UID : FIRST_UID;

	while (id >= FIRST_SYSTEM_UID && id <= LAST_UID) {
		if (!id_used(l, id) && !(also && id_used(also, id)))
			return id;
		id = system ? id - 1 : id + 1;
	}
	return 0;
}

static void add(struct rouse_lines *l, char *line)
{
	rouse_lines_add(l, line);
	free(line);
}

static void add_group(struct rouse_accounts *a, const char *name, uint32_t gid)
{
	add(lines(a, ROUSE_GROUP), rouse_asprintf("%s:x:%u:", name, gid));
	if (a->files[ROUSE_GSHADOW].exists && !rouse_lines_find(&a->files[ROUSE_GSHADOW], name))
		add(lines(a, ROUSE_GSHADOW), rouse_asprintf("%s:!::", name));
}

static void add_user(struct rouse_accounts *a, const struct user *u, uint32_t uid, uint32_t gid,
		     const char *home, const char *shell)
{
	add(lines(a, ROUSE_PASSWD), rouse_asprintf("%s:x:%u:%u:%s:%s:%s", u->name, uid, gid,
						   u->gecos ? u->gecos : "", home, shell));
	/* no date of the last change: no ageing, and the same bytes on every machine. "*" matches
	 * no password, but unlike "!" it is not a lock that an sshd without PAM would honour */
	if (!rouse_lines_find(lines(a, ROUSE_SHADOW), u->name))
		add(lines(a, ROUSE_SHADOW), rouse_asprintf("%s:*::0:99999:7:::", u->name));
	/* the line may be left of a user of this name that somebody deleted by hand */
	rouse_lines_set(lines(a, ROUSE_SHADOW), u->name, ROUSE_SP_HASH,
			u->password_hash ? u->password_hash : "*");
}

void users_make_base(struct rouse_accounts *a)
{
	static const struct user root = { .name = "root", .gecos = "root" };
	static const struct user nobody = { .name = "nobody", .gecos = "nobody" };

	a->files[ROUSE_GSHADOW].exists = true;
	if (!rouse_lines_find(lines(a, ROUSE_GROUP), "root"))
		add_group(a, "root", 0);
	if (!rouse_lines_find(lines(a, ROUSE_GROUP), "wheel"))
		add_group(a, "wheel", 1); /* as NixOS numbers it */
	if (!rouse_lines_find(lines(a, ROUSE_GROUP), "nogroup"))
		add_group(a, "nogroup", 65534);
	add_user(a, &root, 0, 0, "/root", "/bin/sh");
	add_user(a, &nobody, 65534, 65534, "/", "/sbin/nologin");
}

int users_make_group(struct rouse_accounts *a, const char *name, bool system, uint32_t *ret_gid,
		     struct rouse_err *e)
{
	uint32_t gid = 0;

	if (rouse_lines_find(lines(a, ROUSE_GROUP), name)) {
		if (!rouse_lines_id(lines(a, ROUSE_GROUP), name, ROUSE_GR_GID, ret_gid))
			return rouse_fail(
				e, ROUSE_SYSTEM, 0,
				"the line of group '%s' in '/etc/group' has no number; repair it",
				name);
		return 0;
	}
	gid = free_id(lines(a, ROUSE_GROUP), NULL, system);
	if (!gid)
		return rouse_fail(e, ROUSE_SYSTEM, 0, "no group id is free for '%s'", name);
	add_group(a, name, gid);
	*ret_gid = gid;
	return 0;
}

char *users_home(const struct rouse_accounts *a, const struct user *u)
{
	char *home;

	if (u->home)
		return rouse_strdup(u->home);
	home = rouse_lines_get(&a->files[ROUSE_PASSWD], u->name, ROUSE_PW_HOME);
	if (home)
		return home;
	return u->system ? NULL : rouse_asprintf("/home/%s", u->name);
}

/* The group that bears the user's name: the uid's number when that is free. */
static int make_own_group(struct rouse_accounts *a, const struct user *u, uint32_t uid,
			  uint32_t *ret_gid, struct rouse_err *e)
{
	if (rouse_lines_find(lines(a, ROUSE_GROUP), u->name) || id_used(lines(a, ROUSE_GROUP), uid))
		return users_make_group(a, u->name, u->system, ret_gid, e);
	add_group(a, u->name, uid);
	*ret_gid = uid;
	return 0;
}

/* The number of a group of the same name comes first: when power failed after /etc/group was written,
 * the user gets the number that was meant. */
static uint32_t choose_uid(struct rouse_accounts *a, const struct user *u)
{
	uint32_t gid = 0;

	if (rouse_lines_id(lines(a, ROUSE_GROUP), u->name, ROUSE_GR_GID, &gid) &&
	    gid >= (u->system ? FIRST_SYSTEM_UID : FIRST_UID) &&
	    gid <= (u->system ? LAST_SYSTEM_UID : LAST_UID) &&
	    !id_used(lines(a, ROUSE_PASSWD), gid))
		return gid;
	return free_id(lines(a, ROUSE_PASSWD), lines(a, ROUSE_GROUP), u->system);
}

static int make_new(struct rouse_accounts *a, const struct user *u, const char *shell,
		    struct rouse_buf *what, struct rouse_err *e)
{
	uint32_t uid = (uint32_t)u->uid, gid = 0;
	auto_free char *home = users_home(a, u), *holder = NULL;

	if (uid)
		holder = rouse_lines_name_of(lines(a, ROUSE_PASSWD), ROUSE_PW_UID, uid);
	if (holder)
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "uid %u, wanted for '%s', belongs to '%s' on this machine", uid,
				  u->name, holder);
	if (!uid)
		uid = choose_uid(a, u);
	if (!uid)
		return rouse_fail(e, ROUSE_SYSTEM, 0, "no user id is free for '%s'", u->name);
	if (make_own_group(a, u, uid, &gid, e) < 0)
		return -1;
	add_user(a, u, uid, gid, home ? home : "/nonexistent", u->shell ? u->shell : shell);
	rouse_buf_printf(what, ", uid %u", uid);
	if (home)
		rouse_buf_printf(what, ", home %s", home);
	rouse_buf_printf(what, ", shell %s", u->shell ? u->shell : shell);
	return 0;
}

static void change_field(struct rouse_accounts *a, const struct user *u, unsigned field,
			 const char *label, const char *want, struct rouse_buf *what)
{
	auto_free char *is = rouse_lines_get(lines(a, ROUSE_PASSWD), u->name, field);

	if (!want || rouse_streq(is, want))
		return;
	rouse_lines_set(lines(a, ROUSE_PASSWD), u->name, field, want);
	rouse_buf_printf(what, ", %s '%s'", label, want);
}

static int change(struct rouse_accounts *a, const struct user *u, struct rouse_buf *what,
		  struct rouse_err *e)
{
	auto_free char *hash = rouse_lines_get(lines(a, ROUSE_SHADOW), u->name, ROUSE_SP_HASH);
	uint32_t uid = 0, gid = 0;

	if (!rouse_lines_id(lines(a, ROUSE_PASSWD), u->name, ROUSE_PW_UID, &uid) ||
	    !rouse_lines_id(lines(a, ROUSE_PASSWD), u->name, ROUSE_PW_GID, &gid))
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "the line of user '%s' in '/etc/passwd' has no number; repair it",
				  u->name);
	if (u->uid && (uint32_t)u->uid != uid)
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "user '%s' exists with uid %u; uid %u would orphan its files",
				  u->name, uid, (uint32_t)u->uid);
	change_field(a, u, ROUSE_PW_GECOS, "gecos", u->gecos, what);
	change_field(a, u, ROUSE_PW_HOME, "home", u->home, what);
	change_field(a, u, ROUSE_PW_SHELL, "shell", u->shell, what);
	if (!u->password_hash || rouse_streq(hash, u->password_hash))
		return 0;
	if (!rouse_lines_find(lines(a, ROUSE_SHADOW), u->name))
		add(lines(a, ROUSE_SHADOW), rouse_asprintf("%s:*::0:99999:7:::", u->name));
	rouse_lines_set(lines(a, ROUSE_SHADOW), u->name, ROUSE_SP_HASH, u->password_hash);
	rouse_buf_printf(what, ", another password");
	return 0;
}

/* Is `group` the one that the user's passwd line names? */
static bool is_primary(struct rouse_accounts *a, const struct user *u, const char *group)
{
	uint32_t gid = 0, own = 0;

	return rouse_lines_id(lines(a, ROUSE_PASSWD), u->name, ROUSE_PW_GID, &own) &&
	       rouse_lines_id(lines(a, ROUSE_GROUP), group, ROUSE_GR_GID, &gid) && gid == own;
}

static int join(struct rouse_accounts *a, const struct user *u, const char *group,
		struct rouse_buf *what, struct rouse_err *e)
{
	uint32_t gid = 0;

	/* a group that is only named as somebody's is a role, like wheel or docker */
	if (users_make_group(a, group, true, &gid, e) < 0)
		return -1;
	if (is_primary(a, u, group) ||
	    rouse_lines_has_member(lines(a, ROUSE_GROUP), group, ROUSE_GR_MEMBERS, u->name))
		return 0;
	rouse_lines_add_member(lines(a, ROUSE_GROUP), group, ROUSE_GR_MEMBERS, u->name);
	rouse_lines_add_member(lines(a, ROUSE_GSHADOW), group, ROUSE_GR_MEMBERS, u->name);
	rouse_buf_printf(what, ", in group '%s'", group);
	return 0;
}

int users_make(struct rouse_accounts *a, const struct user *u, const char *shell, bool *ret_new,
	       struct rouse_buf *what, struct rouse_err *e)
{
	*ret_new = !rouse_lines_find(lines(a, ROUSE_PASSWD), u->name);
	if ((*ret_new ? make_new(a, u, shell, what, e) : change(a, u, what, e)) < 0)
		return -1;
	for (size_t i = 0; i < u->groups.n; i++)
		if (join(a, u, ((const char *const *)u->groups.items)[i], what, e) < 0)
			return -1;
	return 0;
}
