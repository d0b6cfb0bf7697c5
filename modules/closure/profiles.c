/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What "profiles" and "environment" say becomes generations of Nix profiles, after the closures are
 * in the store and the accounts are there. Programs that users installed themselves stay.
 */
#include <string.h>
#include <sys/stat.h>

#include <rouse/accounts.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/text.h>

#include "conf.h"
#include "homes.h"
#include "profile.h"

struct known { /* a profile that is wanted, or was */
	const char *key;
	int64_t number, highest;
	const char *path;
	int64_t version;
	struct rouse_list elements; /* struct rouse_element */
	struct rouse_list made;     /* struct rouse_pair: store path, program */
	const char *link;           /* of home_link_words; NULL: everybody's profile */
};

struct facts {
	bool unseen;
	struct rouse_list profiles; /* struct known */
	const char *shell;          /* of shell_file_words */
};

enum { OP_PROGRAM, OP_PROFILE, OP_LINK, OP_KEEP, OP_SHELL, OP_NO_SHELL };

static const struct rouse_shape text_shape = { .type = ROUSE_STRING };
static const struct rouse_field element_fields[] = {
	ROUSE_FIELD(struct rouse_element, name, "name", "Its name, in manifests that have them.",
		    .type = ROUSE_STRING),
	ROUSE_FIELD(struct rouse_element, paths, "paths", "Its store paths.", .type = ROUSE_LIST,
		    .item = &text_shape),
	ROUSE_FIELD(struct rouse_element, priority, "priority", "The lower wins.",
		    .type = ROUSE_INT),
	ROUSE_FIELD(struct rouse_element, inactive, "inactive", "It is not linked.",
		    .type = ROUSE_BOOL),
};
static const struct rouse_shape element_shape = {
	ROUSE_OBJECT_OF(struct rouse_element, element_fields),
};
static const struct rouse_field known_fields[] = {
	ROUSE_FIELD(struct known, number, "number", "The current generation, 0: none.",
		    .type = ROUSE_INT),
	ROUSE_FIELD(struct known, highest, "highest", "The highest generation, 0: none.",
		    .type = ROUSE_INT),
	ROUSE_FIELD(struct known, path, "path", "What the current generation points to.",
		    .type = ROUSE_STRING),
	ROUSE_FIELD(struct known, version, "version", "Of its manifest.", .type = ROUSE_INT),
	ROUSE_FIELD(struct known, elements, "elements", "What is installed in it.",
		    .type = ROUSE_LIST, .item = &element_shape),
	ROUSE_FIELD(struct known, made, "made", "Store paths that earlier documents put there.",
		    .type = ROUSE_MAP, .item = &text_shape),
	ROUSE_FIELD(struct known, link, "link", "What ~/.nix-profile is.", .type = ROUSE_STRING,
		    .words = home_link_words),
};
static const struct rouse_shape known_shape = { ROUSE_OBJECT_OF(struct known, known_fields) };
static const struct rouse_field fact_fields[] = {
	ROUSE_FIELD(struct facts, unseen, "unseen", "The root filesystem was not mounted.",
		    .type = ROUSE_BOOL),
	ROUSE_FIELD(struct facts, profiles, "profiles", "Profiles that are, or were, wanted.",
		    .type = ROUSE_MAP, .item = &known_shape),
	ROUSE_FIELD(struct facts, shell, "shell", "What " SHELL_FILE " is.", .type = ROUSE_STRING,
		    .words = shell_file_words),
};

/* --- what is wanted --------------------------------------------------------------------------- */

struct want {
	const char *key;        /* "default", "per-user/NAME" */
	struct rouse_list list; /* struct closure_pin */
};

static size_t list_wants(const struct closure_conf *conf, struct rouse_arena *arena,
			 struct want **ret)
{
	const struct rouse_named_list *users = conf->profiles.items;
	struct want *w = rouse_arena_alloc(arena, (conf->profiles.n + 1) * sizeof(*w));
	size_t n = 0;

	if (conf->environment.n)
		w[n++] = (struct want){ "default", conf->environment };
	for (size_t i = 0; i < conf->profiles.n; i++)
		w[n++] = (struct want){ rouse_arena_printf(arena, "per-user/%s", users[i].key),
					users[i].list };
	*ret = w;
	return n;
}

static bool is_wanted(const struct want *w, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (rouse_streq(w[i].key, key))
			return true;
	return false;
}

/* --- facts ------------------------------------------------------------------------------------ */

/* In an initramfs the root may still be a bare directory. */
static bool is_mounted(const struct rouse_context *c)
{
	auto_free char *above = rouse_asprintf("%s/..", c->root);
	struct stat in, up;

	return !c->initramfs ||
	       (stat(c->root, &in) == 0 && stat(above, &up) == 0 && in.st_dev != up.st_dev);
}

static json_t *element_fact(const struct rouse_element *el)
{
	json_t *fact = json_object(), *paths = json_array();

	rouse_json_set_string(fact, "name", el->name);
	for (size_t i = 0; i < el->paths.n; i++)
		rouse_json_append_string(paths, ((const char *const *)el->paths.items)[i]);
	rouse_json_set(fact, "paths", paths);
	if (el->priority)
		rouse_json_set(fact, "priority", json_integer(el->priority));
	if (el->inactive)
		rouse_json_set_bool(fact, "inactive", true);
	return fact;
}

static int observe_profile(const struct rouse_root *root, const char *key, const json_t *record,
			   json_t *profiles, struct rouse_err *e)
{
	auto_profile struct profile p = { .parent = ROUSE_ROOT_INIT };
	json_t *fact = json_object(), *elements = json_array(), *made = json_object();
	enum home_link link = HOME_NONE;

	rouse_json_set(profiles, key, fact);
	rouse_json_set(fact, "elements", elements);
	rouse_json_set(fact, "made", made);
	if (profile_read(&p, root, key, record, e) < 0)
		return -1;
	rouse_json_set_int(fact, "number", p.generation.number);
	rouse_json_set_int(fact, "highest", p.generation.highest);
	if (rouse_is_store_path(p.generation.path))
		rouse_json_set_string(fact, "path", p.generation.path);
	rouse_json_set_int(fact, "version", (uint64_t)p.elements.version);
	for (size_t i = 0; i < p.elements.n; i++)
		rouse_json_append(elements, element_fact(&p.elements.items[i]));
	for (size_t i = 0; i < p.made.n; i++)
		rouse_json_set_string(made, ((const struct rouse_pair *)p.made.items)[i].key,
				      ((const struct rouse_pair *)p.made.items)[i].value);
	if (!profile_user(key))
		return 0;
	if (home_link_read(root, profile_user(key), &link, e) < 0)
		return -1;
	rouse_json_set_string(fact, "link", home_link_words[link]);
	return 0;
}

static bool is_key(const char *key)
{
	return rouse_streq(key, "default") ||
	       (profile_user(key) && rouse_is_account_name(profile_user(key)));
}

static int observe(const void *conf, const struct rouse_context *c, json_t *facts,
		   struct rouse_err *e)
{
	auto_arena struct rouse_arena arena = { 0 };
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_json json_t *record = NULL;
	json_t *profiles = json_object(), *made;
	enum shell_file shell = SHELL_ABSENT;
	struct want *w = NULL;
	size_t n = list_wants(conf, &arena, &w);
	const char *key;

	rouse_json_set(facts, "profiles", profiles);
	if (!is_mounted(c)) {
		rouse_json_set_bool(facts, "unseen", true);
		return 0;
	}
	if (rouse_root_open(&root, c->root, e) < 0)
		return c->initramfs && e->sys == ENOENT ? 0 : -1;
	record = profile_record_read(&root, e);
	if (!record || shell_file_read(&root, &shell, e) < 0)
		return -1;
	rouse_json_set_string(facts, "shell", shell_file_words[shell]);
	for (size_t i = 0; i < n; i++)
		if (observe_profile(&root, w[i].key, record, profiles, e) < 0)
			return -1;
	json_object_foreach (record, key, made)
		if (is_key(key) && json_is_object(made) && !is_wanted(w, n, key) &&
		    observe_profile(&root, key, record, profiles, e) < 0)
			return -1;
	return 0;
}

/* --- the plan --------------------------------------------------------------------------------- */

static const struct known *find_known(const struct facts *facts, const char *key)
{
	const struct known *k = facts->profiles.items;

	for (size_t i = 0; i < facts->profiles.n; i++)
		if (rouse_streq(k[i].key, key))
			return &k[i];
	return NULL;
}

static void plan_programs(const struct want *w, const struct rouse_element_step *steps, size_t n,
			  struct rouse_plan *p)
{
	char title[64];

	(void)profile_title(title, w->key);
	for (size_t i = 0; i < n; i++)
		switch (steps[i].change) {
		case ROUSE_ELEMENT_ADD:
			rouse_plan_add(p, ROUSE_CREATE, OP_PROGRAM, w, "add %s to %s: %s",
				       steps[i].name, title, steps[i].path);
			break;
		case ROUSE_ELEMENT_UPDATE:
			rouse_plan_add(p, ROUSE_CHANGE, OP_PROGRAM, w, "update %s in %s: %s",
				       steps[i].name, title, steps[i].path);
			break;
		case ROUSE_ELEMENT_REMOVE:
			rouse_plan_add(p, ROUSE_CHANGE, OP_PROGRAM, w, "remove %s from %s: %s",
				       steps[i].name, title, steps[i].path);
			break;
		}
}

static void plan_profile(const struct want *w, const struct known *k, struct rouse_plan *p)
{
	static const struct known none;
	struct rouse_elements is;
	struct rouse_element_step *steps;
	char title[64];
	size_t n = 0;

	k = k ? k : &none;
	is = (struct rouse_elements){ k->version, k->elements.n, k->elements.items };
	(void)rouse_elements_merge(&is, &k->made, &w->list, &p->arena, &steps, &n);
	plan_programs(w, steps, n, p);
	/* A profile that was never made has something to it even when it has no program. */
	if (n)
		rouse_plan_add(p, ROUSE_CREATE, OP_PROFILE, w, "make generation %llu of %s",
			       (unsigned long long)k->highest + 1, profile_title(title, w->key));
}

static void plan_link(const struct want *w, const struct known *k, bool account,
		      struct rouse_plan *p)
{
	const char *user = profile_user(w->key), *is = k && k->link ? k->link : "none";

	if (!user || !w->list.n)
		return;
	if (rouse_streq(is, "absent") || (rouse_streq(is, "none") && account))
		rouse_plan_add(p, ROUSE_CREATE, OP_LINK, w,
			       "link the home of %s to it, .nix-profile", user);
	else if (rouse_streq(is, "none"))
		rouse_plan_add(p, ROUSE_USE, OP_KEEP, w,
			       "leave out .nix-profile: %s is no user with a home yet", user);
	else if (rouse_streq(is, "other"))
		rouse_plan_add(p, ROUSE_USE, OP_KEEP, w,
			       "keep the .nix-profile of %s, which is the user's own", user);
}

static void plan_shell(const struct facts *facts, bool wanted, struct rouse_plan *p)
{
	bool ours = rouse_streq(facts->shell, shell_file_words[SHELL_OURS]);

	if (rouse_streq(facts->shell, shell_file_words[SHELL_CLOSURE]) || wanted == ours)
		return;
	if (wanted)
		rouse_plan_add(p, ROUSE_CREATE, OP_SHELL, NULL, "write %s", SHELL_FILE);
	else
		rouse_plan_add(p, ROUSE_CHANGE, OP_NO_SHELL, NULL, "remove %s", SHELL_FILE);
}

/* Out of sight: apply compares. */
static void plan_unseen(const struct want *w, size_t n, struct rouse_plan *p)
{
	char title[64];

	for (size_t i = 0; i < n; i++) {
		rouse_plan_add(p, ROUSE_CREATE, OP_PROFILE, &w[i], "put %zu program%s into %s",
			       w[i].list.n, w[i].list.n == 1 ? "" : "s",
			       profile_title(title, w[i].key));
		plan_link(&w[i], NULL, true, p);
	}
	if (n)
		rouse_plan_add(p, ROUSE_CREATE, OP_SHELL, NULL, "write %s", SHELL_FILE);
}

static int plan(const void *conf, const void *facts_, const struct rouse_context *c unused_arg,
		struct rouse_plan *p, struct rouse_err *e unused_arg)
{
	const struct facts *facts = facts_;
	const struct known *k = facts->profiles.items;
	struct want *w = NULL;
	size_t n = list_wants(conf, &p->arena, &w);

	if (facts->unseen) {
		plan_unseen(w, n, p);
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		const struct known *is = find_known(facts, w[i].key);
		const char *user = profile_user(w[i].key);

		plan_profile(&w[i], is, p);
		plan_link(&w[i], is, user && rouse_plan_has_account(p, false, user), p);
	}
	for (size_t i = 0; i < facts->profiles.n; i++) {
		struct want *gone;

		if (is_wanted(w, n, k[i].key))
			continue;
		gone = rouse_arena_alloc(&p->arena, sizeof(*gone));
		gone->key = k[i].key;
		plan_profile(gone, &k[i], p);
	}
	plan_shell(facts, n > 0, p);
	return 0;
}

/* --- apply ------------------------------------------------------------------------------------ */

static int apply(const struct rouse_step *step, const struct rouse_context *c,
		 void *state unused_arg, struct rouse_err *e)
{
	const struct want *w = step->arg;
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	enum shell_file shell;

	/* One generation has all changes: the step that makes it follows those that name them. */
	if (step->op == OP_PROGRAM || step->op == OP_KEEP)
		return 0;
	if (step->op == OP_PROFILE)
		return profile_make(c, w->key, &w->list, e);
	if (rouse_root_open(&root, c->root, e) < 0)
		return -1;
	if (step->op == OP_LINK) {
		/* The profile may be older than its user. */
		if (profile_give(&root, w->key, e) < 0)
			return -1;
		return home_link_make(&root, profile_user(w->key), e);
	}
	if (shell_file_read(&root, &shell, e) < 0)
		return -1;
	if (step->op == OP_NO_SHELL)
		return shell == SHELL_OURS ? shell_file_remove(&root, e) : 0;
	return shell == SHELL_ABSENT ? shell_file_write(&root, e) : 0;
}

const struct rouse_module rouse_module_profiles = {
	.name = "profiles",
	.reads = &rouse_module_closure,
	.facts = fact_fields,
	.n_facts = ARRAY_SIZE(fact_fields),
	.facts_size = sizeof(struct facts),
	.observe = observe,
	.plan = plan,
	.apply = apply,
};
