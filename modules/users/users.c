/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `users`: accounts, groups and SSH keys. The account files of the root are edited in process;
 * accounts that the document does not name are left alone, and nobody is ever deleted.
 */
#include "users.h"

#include <ctype.h>
#include <string.h>

#include <rouse/json.h>
#include <rouse/sshkey.h>
#include <rouse/text.h>
#include <rouse/trust.h>

struct conf {
	struct rouse_list users; /* struct user */
};

struct known { /* what is at a declared user */
	const char *name;
	const char *password; /* digest of the field in /etc/shadow */
	bool home;
	const char *keys; /* digest of rouse's block in authorized_keys */
};

struct facts {
	bool unseen;              /* the root filesystem was not mounted */
	bool fresh;               /* there is no /etc/passwd */
	struct rouse_list passwd; /* const char *: lines, passwords blanked */
	struct rouse_list group;
	struct rouse_list shells; /* const char *: those of our candidates that are there */
	struct rouse_list users;  /* struct known */
};

static bool is_field(const char *s)
{
	for (; *s; s++)
		if (*s == ':' || iscntrl((unsigned char)*s))
			return false;
	return true;
}

static bool is_path_field(const char *s)
{
	return rouse_is_absolute_path(s) && s[1] && is_field(s);
}

/* crypt(5): a scheme that is still considered safe, or no password. */
static bool is_password_hash(const char *s)
{
	static const char *const schemes[] = { "$y$", "$gy$", "$7$", "$2b$", "$2y$", "$6$", "$5$" };

	if (strcmp(s, "!") == 0 || strcmp(s, "*") == 0)
		return true;
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p > 127 ||
		    !(isalnum((unsigned char)*p) || strchr("$./=,-_", *p)))
			return false;
	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
		if (rouse_strip_prefix(s, schemes[i]))
			return strlen(s) > strlen(schemes[i]) + 20;
	return false;
}

static const struct rouse_shape group_shape = {
	.type = ROUSE_STRING,
	.format = "a group name",
	.valid = rouse_is_account_name,
};
static const struct rouse_shape key_shape = {
	.type = ROUSE_STRING,
	.format = "a whole OpenSSH public key such as \"ssh-ed25519 AAAA… name\", without options",
	.valid = rouse_is_ssh_key,
	.instance_keys = true,
	.secret = true, /* what stands there by mistake may be a private one */
};
static const struct rouse_shape text_shape = { .type = ROUSE_STRING };

static const struct rouse_field user_fields[] = {
	ROUSE_FIELD(struct user, uid, "uid", "The user's number; the next free one from 1000.",
		    .type = ROUSE_INT, .min = 1, .max = UINT32_MAX - 1),
	ROUSE_FIELD(struct user, groups, "groups",
		    "Groups that the user is made a member of; missing ones are made.",
		    .type = ROUSE_LIST, .item = &group_shape),
	ROUSE_FIELD(struct user, keys, "sshKeys",
		    "Public keys that may log in; \"{instance.sshKeys}\" stands for those that the "
		    "cloud "
		    "has passed on. Other lines of authorized_keys are kept.",
		    .type = ROUSE_LIST, .item = &key_shape),
	ROUSE_FIELD(struct user, shell, "shell", "Login shell; /bin/bash or /bin/sh.",
		    .type = ROUSE_STRING, .format = "an absolute path without \":\"",
		    .valid = is_path_field),
	ROUSE_FIELD(struct user, home, "home", "Home directory; /home/NAME.", .type = ROUSE_STRING,
		    .format = "an absolute path below \"/\", without \":\"",
		    .valid = is_path_field),
	ROUSE_FIELD(struct user, gecos, "gecos", "Full name.", .type = ROUSE_STRING,
		    .format = "one line without \":\"", .valid = is_field),
	ROUSE_FIELD(struct user, password_hash, "passwordHash",
		    "A crypt(5) hash as mkpasswd prints it; without one no password matches.",
		    .type = ROUSE_STRING, .secret = true,
		    .format = "a crypt(5) hash (yescrypt, scrypt, bcrypt, sha512 or sha256), \"!\" "
			      "or \"*\"",
		    .valid = is_password_hash),
	ROUSE_FIELD(struct user, system, "system",
		    "A service's account: a number below 1000, no home, no shell.",
		    .type = ROUSE_BOOL),
};

static const struct rouse_shape user_shape = { ROUSE_OBJECT_OF(struct user, user_fields) };

static const struct rouse_field fields[] = {
	ROUSE_FIELD(struct conf, users, "users", "Users of the machine, by name.",
		    .type = ROUSE_MAP, .format = "a user name", .valid = rouse_is_account_name,
		    .item = &user_shape),
};

static const struct rouse_field known_fields[] = {
	ROUSE_FIELD(struct known, password, "password", "Digest of the password's hash.",
		    .type = ROUSE_STRING),
	ROUSE_FIELD(struct known, home, "home", "Whether the home is there.", .type = ROUSE_BOOL),
	ROUSE_FIELD(struct known, keys, "keys", "Digest of the keys that rouse wrote.",
		    .type = ROUSE_STRING),
};

static const struct rouse_shape known_shape = { ROUSE_OBJECT_OF(struct known, known_fields) };

static const struct rouse_field fact_fields[] = {
	ROUSE_FIELD(struct facts, unseen, "unseen", "The root filesystem was not mounted.",
		    .type = ROUSE_BOOL),
	ROUSE_FIELD(struct facts, fresh, "fresh", "There are no accounts yet.", .type = ROUSE_BOOL),
	ROUSE_FIELD(struct facts, passwd, "passwd", "Lines of /etc/passwd.", .type = ROUSE_LIST,
		    .item = &text_shape),
	ROUSE_FIELD(struct facts, group, "group", "Lines of /etc/group.", .type = ROUSE_LIST,
		    .item = &text_shape),
	ROUSE_FIELD(struct facts, shells, "shells", "Usual shells that are there.",
		    .type = ROUSE_LIST, .item = &text_shape),
	ROUSE_FIELD(struct facts, users, "users", "The declared users' state.", .type = ROUSE_MAP,
		    .item = &known_shape),
};

static const struct user *user_at(const struct rouse_list *l, size_t i)
{
	return (const struct user *)l->items + i;
}

static void check_user(const struct user *u, struct rouse_problems *problems)
{
	const char *const keys[] = { "users", u->name, NULL };
	const char *const ssh[] = { "users", u->name, "sshKeys", NULL };

	if (strcmp(u->name, "root") == 0 && (u->uid || u->groups.n || u->shell || u->home ||
					     u->gecos || u->password_hash || u->system))
		rouse_problem(problems, keys, "root may have \"sshKeys\" only");
	if (u->system && u->keys.n && !u->home)
		rouse_problem(problems, ssh, "a system user with keys needs a \"home\"");
}

static void check(const void *conf, struct rouse_problems *problems)
{
	const struct conf *want = conf;

	for (size_t i = 0; i < want->users.n; i++) {
		const struct user *u = user_at(&want->users, i);
		const char *const keys[] = { "users", u->name, "uid", NULL };

		check_user(u, problems);
		for (size_t k = 0; k < i; k++)
			if (u->uid && user_at(&want->users, k)->uid == u->uid)
				rouse_problem(problems, keys, "user \"%s\" has the same",
					      user_at(&want->users, k)->name);
	}
}

/* Lines as facts: no passwords, and ASCII, so that JSON can hold whatever the file does. */
static json_t *lines_json(const struct rouse_lines *l)
{
	json_t *list = json_array();

	for (size_t i = 0; i < l->n; i++) {
		const char *name_end = strchr(l->items[i], ':');
		const char *rest = name_end ? strchr(name_end + 1, ':') : NULL;
		auto_free char *line = NULL;

		if (!rest)
			continue;
		line = rouse_asprintf("%.*s:x%s", (int)(name_end - l->items[i]), l->items[i], rest);
		for (char *p = line; *p; p++)
			if (!isprint((unsigned char)*p))
				*p = '?';
		rouse_json_append(list, json_string(line));
	}
	return list;
}

static int observe_user(const struct rouse_root *root, const struct rouse_accounts *a,
			const struct user *u, json_t *users, struct rouse_err *e)
{
	auto_free char *home = users_home(a, u);
	auto_free char *hash = rouse_lines_get(&a->files[ROUSE_SHADOW], u->name, ROUSE_SP_HASH);
	struct home_state state = { 0 };
	json_t *entry = json_object();
	char hex[65];
	uint32_t uid = (uint32_t)u->uid;

	rouse_json_set(users, u->name, entry);
	if (hash) {
		rouse_sha256_hex(hash, strlen(hash), hex);
		rouse_json_set_string(entry, "password", hex);
		explicit_bzero(hash, strlen(hash));
	}
	if (rouse_lines_find(&a->files[ROUSE_PASSWD], u->name) &&
	    !rouse_lines_id(&a->files[ROUSE_PASSWD], u->name, ROUSE_PW_UID, &uid))
		return 0; /* the plan says what is wrong with that line */
	if (home && home_observe(root, home, uid, &state, e) < 0)
		return -1;
	rouse_json_set_bool(entry, "home", state.exists);
	if (*state.keys_sha256)
		rouse_json_set_string(entry, "keys", state.keys_sha256);
	return 0;
}

static int observe(const void *conf, const struct rouse_context *c, json_t *facts,
		   struct rouse_err *e)
{
	const struct conf *want = conf;
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_accounts struct rouse_accounts a = { 0 };
	bool privileged = geteuid() ==
			  0; /* others may ask for a plan, but cannot look everywhere */
	json_t *list = json_array(), *users = json_object();

	rouse_json_set(facts, "shells", list);
	rouse_json_set(facts, "users", users);
	if (!want->users.n)
		return 0;
	if (rouse_root_open(&root, c->root, e) < 0 && !(c->initramfs && e->sys == ENOENT))
		return -1;
	if (root.fd >= 0 && rouse_accounts_load(&a, &root, privileged, e) < 0)
		return -1;
	rouse_json_set_bool(facts, "unseen", c->initramfs);
	rouse_json_set_bool(facts, "fresh", !a.files[ROUSE_PASSWD].exists);
	rouse_json_set(facts, "passwd", lines_json(&a.files[ROUSE_PASSWD]));
	rouse_json_set(facts, "group", lines_json(&a.files[ROUSE_GROUP]));
	if (root.fd < 0)
		return 0;
	for (size_t i = 0; users_shells[i]; i++)
		if (users_shell_present(&root, users_shells[i]))
			rouse_json_append(list, json_string(users_shells[i]));
	for (size_t i = 0; privileged && i < want->users.n; i++)
		if (observe_user(&root, &a, user_at(&want->users, i), users, e) < 0)
			return -1;
	return 0;
}

static const char *text_at(const struct rouse_list *l, size_t i)
{
	return ((const char *const *)l->items)[i];
}

static bool has_text(const struct rouse_list *l, const char *text)
{
	for (size_t i = 0; i < l->n; i++)
		if (rouse_streq(text_at(l, i), text))
			return true;
	return false;
}

static bool in_facts(const void *ctx, const char *shell)
{
	return has_text(&((const struct facts *)ctx)->shells, shell);
}

static const struct known *find_known(const struct facts *is, const char *name)
{
	static const struct known nothing = { 0 };

	for (size_t i = 0; i < is->users.n; i++) {
		const struct known *k = (const struct known *)is->users.items + i;

		if (strcmp(k->name, name) == 0)
			return k;
	}
	return &nothing;
}

/* The account files as the facts tell them. Passwords are known by digest only: the declared one
 * where it matches, else something that differs from every hash. */
static void model(struct rouse_accounts *a, const struct conf *want, const struct facts *is)
{
	for (size_t i = 0; i < is->passwd.n; i++)
		if (text_at(&is->passwd, i))
			rouse_lines_add(&a->files[ROUSE_PASSWD], text_at(&is->passwd, i));
	for (size_t i = 0; i < is->group.n; i++)
		if (text_at(&is->group, i))
			rouse_lines_add(&a->files[ROUSE_GROUP], text_at(&is->group, i));
	for (size_t i = 0; i < want->users.n; i++) {
		const struct user *u = user_at(&want->users, i);
		const char *digest = find_known(is, u->name)->password;
		auto_free char *line = NULL;
		char hex[65] = "";

		if (u->password_hash)
			rouse_sha256_hex(u->password_hash, strlen(u->password_hash), hex);
		line = rouse_asprintf("%s:%s:", u->name,
				      rouse_streq(digest, hex) ? u->password_hash : "?");
		rouse_lines_add(&a->files[ROUSE_SHADOW], line);
	}
}

static int plan_groups(const struct user *u, struct rouse_accounts *a, struct rouse_plan *p,
		       struct rouse_err *e)
{
	for (size_t i = 0; i < u->groups.n; i++) {
		struct group_arg *arg = rouse_arena_alloc(&p->arena, sizeof(*arg));
		uint32_t gid = 0;

		arg->name = text_at(&u->groups, i);
		if (rouse_lines_find(&a->files[ROUSE_GROUP], arg->name) ||
		    strcmp(arg->name, u->name) == 0)
			continue;
		if (users_make_group(a, arg->name, true, &gid, e) < 0)
			return -1;
		rouse_plan_add(p, ROUSE_CREATE, OP_GROUP, arg, "make group '%s' (gid %u)",
			       arg->name, gid);
	}
	return 0;
}

static void plan_keys(const struct user *u, const struct known *is, bool unseen,
		      struct rouse_plan *p)
{
	char digest[65];

	home_keys_digest(&u->keys, digest);
	/* an older document may have allowed some on this disk */
	if (unseen && !u->keys.n)
		rouse_plan_add(p, ROUSE_USE, OP_KEYS, u,
			       "make sure that no SSH key of '%s' is left", u->name);
	if (strcmp(digest, is->keys ? is->keys : "") == 0)
		return;
	if (u->keys.n)
		rouse_plan_add(p, is->keys ? ROUSE_CHANGE : ROUSE_CREATE, OP_KEYS, u,
			       "allow %zu SSH key%s for '%s'", u->keys.n, u->keys.n == 1 ? "" : "s",
			       u->name);
	else
		rouse_plan_add(p, ROUSE_CHANGE, OP_KEYS, u, "withdraw the SSH keys of '%s'",
			       u->name);
}

static int plan_user(const struct user *u, const struct facts *is, struct rouse_accounts *a,
		     struct rouse_plan *p, struct rouse_err *e)
{
	const struct known *known = find_known(is, u->name);
	auto_buf struct rouse_buf what = { 0 };
	auto_free char *home = NULL;
	bool new = false;

	if (plan_groups(u, a, p, e) < 0 ||
	    users_make(a, u, users_default_shell(u, in_facts, is), &new, &what, e) < 0)
		return -1;
	rouse_plan_account(p, false, u->name);
	if (rouse_lines_find(&a->files[ROUSE_GROUP], u->name))
		rouse_plan_account(p, true, u->name);
	for (size_t i = 0; i < u->groups.n; i++)
		rouse_plan_account(p, true, text_at(&u->groups, i));
	home = users_home(a, u);
	if (new)
		rouse_plan_add(p, ROUSE_CREATE, OP_USER, u, "make user '%s' (%s)", u->name,
			       what.data + 2);
	else if (what.len)
		rouse_plan_add(p, ROUSE_CHANGE, OP_USER, u, "change user '%s' (%s)", u->name,
			       what.data + 2);
	if (home && !known->home && ((new && !u->system) || u->home || u->keys.n))
		rouse_plan_add(p, ROUSE_CREATE, OP_HOME, u, "make home %s", home);
	plan_keys(u, known, is->unseen, p);
	return 0;
}

static int plan(const void *conf, const void *facts, const struct rouse_context *c unused_arg,
		struct rouse_plan *p, struct rouse_err *e)
{
	const struct conf *want = conf;
	const struct facts *is = facts;
	auto_accounts struct rouse_accounts a = { 0 };

	if (!want->users.n)
		return 0;
	model(&a, want, is);
	if (is->fresh) {
		users_make_base(&a);
		rouse_plan_add(p, ROUSE_CREATE, OP_BASE, NULL,
			       "make /etc/passwd and /etc/group with root "
			       "and nobody");
	}
	for (size_t i = 0; i < want->users.n; i++)
		if (plan_user(user_at(&want->users, i), is, &a, p, e) < 0)
			return -1;
	return 0;
}

static int prepare(const void *conf unused_arg, const struct rouse_plan *p,
		   const struct rouse_context *c unused_arg, void **state unused_arg,
		   struct rouse_err *e)
{
	for (size_t i = 0; i < p->n_steps; i++)
		if (p->steps[i].module == &rouse_module_users && geteuid() != 0)
			return rouse_fail(e, ROUSE_SYSTEM, EPERM, "cannot %s", p->steps[i].what);
	return 0;
}

const struct rouse_module rouse_module_users = {
	.name = "users",
	.fields = fields,
	.n_fields = ARRAY_SIZE(fields),
	.conf_size = sizeof(struct conf),
	.facts = fact_fields,
	.n_facts = ARRAY_SIZE(fact_fields),
	.facts_size = sizeof(struct facts),
	.check = check,
	.observe = observe,
	.plan = plan,
	.prepare = prepare,
	.apply = users_apply,
};
