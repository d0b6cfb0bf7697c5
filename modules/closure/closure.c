/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `caches`, `system`, `profiles`: closures that are to be in the store, pulled from binary caches, and
 * the generations that point to them.
 */
#include <rouse/closure.h>

#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <rouse/accounts.h>
#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/generations.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/lock.h>
#include <rouse/log.h>
#include <rouse/module.h>
#include <rouse/netrc.h>
#include <rouse/text.h>
#include <rouse/version.h>

#include "conf.h"
#include "nix32.h"
#include "path.h"

struct profile_fact {
	const char *key; /* below /nix/var/nix/profiles */
	int64_t number, highest;
	const char *path, *last;
};

struct system_fact {
	int64_t number, time, healthy;
	const char *path;
	bool current, booted, there;
};

struct facts {
	bool unseen;             /* the root filesystem is not mounted yet */
	struct rouse_list valid; /* const char *: wanted paths that are there with all they need */
	struct rouse_list profiles; /* struct profile_fact */
	struct rouse_list systems;  /* struct system_fact: where the document says how many stay */
	int64_t now;                /* s since the epoch */
	bool untold;                /* a Nix has come that does not know yet what is valid */
	const char *rolled_back;    /* the system that somebody went back from, or NULL */
};

enum { OP_PULL, OP_GENERATION, OP_KEEP, OP_FORGET, OP_TELL, OP_COLLECT };

static const struct rouse_shape key_shape = {
	.type = ROUSE_STRING,
	.format = "a key as Nix writes it, \"name:base64\"",
	.valid = rouse_is_key,
};
static const struct rouse_field cache_fields[] = {
	ROUSE_REQUIRED(struct closure_cache, url, "url", "Where the binary cache is.",
		       .type = ROUSE_STRING,
		       .format = "an https, http or file URL without a query, or an s3 URL",
		       .valid = rouse_is_cache_url),
	ROUSE_FIELD(struct closure_cache, keys, "keys",
		    "Public keys whose signatures are trusted, whichever cache a path comes from.",
		    .type = ROUSE_LIST, .item = &key_shape, .max = 16, .shorthand = "keys"),
	ROUSE_FIELD(struct closure_cache, token, "token",
		    "A bearer token that a private cache wants; only for an https URL.",
		    .type = ROUSE_STRING, .secret = true, .min = 1, .max = 8192),
	ROUSE_FIELD(struct closure_cache, netrc, "netrc",
		    "A netrc file of this machine with the name and password for a private cache; "
		    "only for an https URL.",
		    .type = ROUSE_STRING, .format = "an absolute path",
		    .valid = rouse_is_absolute_path),
};
static const struct rouse_shape cache_shape = {
	.type = ROUSE_OBJECT,
	.fields = cache_fields,
	.n_fields = ARRAY_SIZE(cache_fields),
	.size = sizeof(struct closure_cache),
};

static const struct rouse_field manifest_fields[] = {
	ROUSE_REQUIRED(struct closure_manifest, url, "url", "Where the manifest is.",
		       .type = ROUSE_STRING, .format = "an https, http, file, s3, gs or az URL",
		       .valid = rouse_is_url),
	ROUSE_REQUIRED(struct closure_manifest, sha256, "sha256", "The digest of its text, in hex.",
		       .type = ROUSE_STRING, .format = "64 lower-case hex digits",
		       .pattern = "^[0-9a-f]{64}$", .valid = rouse_is_sha256_hex),
	ROUSE_FIELD(struct closure_manifest, paths, "paths",
		    "How many paths it lists, for the plan.", .type = ROUSE_INT,
		    .max = ROUSE_MAX_CLOSURE_PATHS),
	ROUSE_FIELD(struct closure_manifest, nar_size, "narSize",
		    "How many bytes they unpack to, for the plan.", .type = ROUSE_INT,
		    .max = ROUSE_MAX_CLOSURE_SIZE),
	ROUSE_FIELD(struct closure_manifest, download_size, "downloadSize",
		    "How many bytes are to be downloaded, for the plan.", .type = ROUSE_INT,
		    .max = ROUSE_MAX_CLOSURE_SIZE),
};

static const struct rouse_field wanted_fields[] = { ROUSE_WANTED_FIELDS(struct closure_wanted,
									where) };
static const struct rouse_field lock_fields[] = {
	ROUSE_FIELD(struct rouse_lock_record, wanted, "wanted", "What was to be found.",
		    .type = ROUSE_OBJECT, .fields = wanted_fields,
		    .n_fields = ARRAY_SIZE(wanted_fields), .size = sizeof(struct closure_wanted)),
	ROUSE_FIELD(struct rouse_lock_record, release, "release",
		    "The release of the channel in which it was found.", .type = ROUSE_STRING),
	ROUSE_FIELD(struct rouse_lock_record, revision, "revision",
		    "The revision of the release's sources.", .type = ROUSE_STRING),
	ROUSE_FIELD(struct rouse_lock_record, evaluation, "evaluation",
		    "Where the builds of the release are listed.", .type = ROUSE_STRING),
	ROUSE_FIELD(struct rouse_lock_record, attribute, "attribute", "What it is called there.",
		    .type = ROUSE_STRING),
	ROUSE_FIELD(struct rouse_lock_record, version, "version", "The version that was found.",
		    .type = ROUSE_STRING),
};
#define PIN_FIELDS                                                                                 \
	ROUSE_FIELD(struct closure_pin, path, "path", "The store path; `rouse lock` finds it.",    \
		    .type = ROUSE_STRING, .format = "a store path, \"/nix/store/…\"",              \
		    .valid = rouse_is_store_path),                                                 \
		ROUSE_FIELD(struct closure_pin, nar_hash, "narHash",                               \
			    "What the path's archive must hash to, beyond what is signed.",        \
			    .type = ROUSE_STRING, .format = "a SHA-256, \"sha256-…\"",             \
			    .valid = rouse_is_nar_hash),                                           \
		ROUSE_FIELD(struct closure_pin, manifest, "manifest",                              \
			    "The closure manifest (`rouse manifest`): pins every path, so that "   \
			    "no signature is "                                                     \
			    "needed, and replaces the walk through the caches.",                   \
			    .type = ROUSE_OBJECT, .fields = manifest_fields,                       \
			    .n_fields = ARRAY_SIZE(manifest_fields),                               \
			    .size = sizeof(struct closure_manifest)),                              \
		ROUSE_FIELD(struct closure_pin, closure_size, "closureSize",                       \
			    "Bytes of the path and all it references, unpacked; for people.",      \
			    .type = ROUSE_INT, .max = INT64_MAX),                                  \
		ROUSE_FIELD(struct closure_pin, lock, "lock",                                      \
			    "Where `rouse lock` found it; for people.", .type = ROUSE_OBJECT,      \
			    .fields = lock_fields, .n_fields = ARRAY_SIZE(lock_fields),            \
			    .size = sizeof(struct rouse_lock_record)),                             \
		ROUSE_WANTED_FIELDS(struct closure_pin, wanted)

static bool is_fallback(const char *s)
{
	return rouse_streq(s, "healthy") || rouse_is_store_path(s);
}

static const struct rouse_field system_fields[] = {
	PIN_FIELDS,
	ROUSE_FIELD(
		struct closure_pin, fallback, "fallback",
		"What is booted when this system fails: the store path of one that came with the "
		"image, where none was healthy yet; \"healthy\" (the default): the last that was.",
		.type = ROUSE_STRING, .format = "a store path or \"healthy\"",
		.valid = is_fallback),
};
static const struct rouse_field program_fields[] = {
	PIN_FIELDS,
	ROUSE_FIELD(struct closure_pin, priority, "priority",
		    "Of two programs with the same file the lower number wins; 5.",
		    .type = ROUSE_INT, .min = 1, .max = 1000),
};
static const struct rouse_shape program_shape = {
	.type = ROUSE_OBJECT,
	.fields = program_fields,
	.n_fields = ARRAY_SIZE(program_fields),
	.size = sizeof(struct closure_pin),
	.shorthand = "version",
};
static const struct rouse_shape user_shape = {
	.type = ROUSE_MAP,
	.format = "the name of a program",
	.valid = rouse_is_label,
	.item = &program_shape,
	.max = ROUSE_MAX_PROGRAMS,
};

static const struct rouse_field fields[] = {
	ROUSE_FIELD(struct closure_conf, caches, "caches",
		    "Binary caches, in the order in which they are asked.", .type = ROUSE_MAP,
		    .format = "the name of a cache", .valid = rouse_is_label, .item = &cache_shape,
		    .max = ROUSE_MAX_CACHES),
	ROUSE_WHERE_FIELDS(struct closure_conf, where),
	ROUSE_FIELD(struct closure_conf, system, "system",
		    "The system closure that this machine boots.", .type = ROUSE_OBJECT,
		    .fields = system_fields, .n_fields = ARRAY_SIZE(system_fields),
		    .size = sizeof(struct closure_pin)),
	ROUSE_FIELD(
		struct closure_conf, generations, "generations",
		"Which generations of the system stay; those beyond go with the next change, and "
		"`rouse gc` does by it what it does to profiles. Absent: nothing goes by itself. "
		"The "
		"current, the booted and the last healthy one always stay.",
		.type = ROUSE_OBJECT, .fields = rouse_keep_fields, .n_fields = ROUSE_KEEP_FIELDS,
		.size = sizeof(struct rouse_keep)),
	ROUSE_FIELD(struct closure_conf, profiles, "profiles",
		    "Programs in the profiles of users: user, then name.", .type = ROUSE_MAP,
		    .format = "the name of a user", .valid = rouse_is_account_name,
		    .item = &user_shape, .max = 256),
	ROUSE_FIELD(struct closure_conf, environment, "environment",
		    "Programs for all users, by name.", .type = ROUSE_MAP,
		    .format = "the name of a program", .valid = rouse_is_label,
		    .item = &program_shape, .max = ROUSE_MAX_PROGRAMS),
};

static const struct rouse_field profile_fact_fields[] = {
	ROUSE_FIELD(struct profile_fact, number, "number", "The current generation, 0: none.",
		    .type = ROUSE_INT, .max = UINT32_MAX),
	ROUSE_FIELD(struct profile_fact, highest, "highest", "The highest generation, 0: none.",
		    .type = ROUSE_INT, .max = UINT32_MAX),
	ROUSE_FIELD(struct profile_fact, path, "path", "What the current generation points to.",
		    .type = ROUSE_STRING),
	ROUSE_FIELD(struct profile_fact, last, "last", "What the highest generation points to.",
		    .type = ROUSE_STRING),
};
static const struct rouse_shape profile_fact_shape = {
	.type = ROUSE_OBJECT,
	.fields = profile_fact_fields,
	.n_fields = ARRAY_SIZE(profile_fact_fields),
	.size = sizeof(struct profile_fact),
};
static const struct rouse_shape path_shape = { .type = ROUSE_STRING };

static const struct rouse_field system_fact_fields[] = {
	ROUSE_FIELD(struct system_fact, number, "number", "Of the generation.", .type = ROUSE_INT),
	ROUSE_FIELD(struct system_fact, time, "time", "When it was made, s since the epoch.",
		    .type = ROUSE_INT),
	ROUSE_FIELD(struct system_fact, healthy, "healthy", "The highest was ready last; 0: never.",
		    .type = ROUSE_INT),
	ROUSE_FIELD(struct system_fact, path, "path", "What it points to.", .type = ROUSE_STRING),
	ROUSE_FIELD(struct system_fact, current, "current", "The next boot starts it.",
		    .type = ROUSE_BOOL),
	ROUSE_FIELD(struct system_fact, booted, "booted", "This boot has started it.",
		    .type = ROUSE_BOOL),
	ROUSE_FIELD(struct system_fact, there, "there", "It is complete.", .type = ROUSE_BOOL),
};
static const struct rouse_shape system_fact_shape = {
	.type = ROUSE_OBJECT,
	.fields = system_fact_fields,
	.n_fields = ARRAY_SIZE(system_fact_fields),
	.size = sizeof(struct system_fact),
};

static const struct rouse_field fact_fields[] = {
	ROUSE_FIELD(struct facts, unseen, "unseen", "The root filesystem was not mounted.",
		    .type = ROUSE_BOOL),
	ROUSE_FIELD(struct facts, valid, "valid",
		    "Wanted paths that are in the store with all they need.", .type = ROUSE_LIST,
		    .item = &path_shape),
	ROUSE_FIELD(struct facts, profiles, "profiles", "Generations, by profile.",
		    .type = ROUSE_MAP, .item = &profile_fact_shape),
	ROUSE_FIELD(struct facts, systems, "systems",
		    "Generations of the system, where the document says how many stay.",
		    .type = ROUSE_LIST, .item = &system_fact_shape),
	ROUSE_FIELD(struct facts, now, "now", "s since the epoch.", .type = ROUSE_INT),
	ROUSE_FIELD(struct facts, untold, "untold",
		    "A Nix has come that does not know yet what is valid.", .type = ROUSE_BOOL),
	ROUSE_FIELD(struct facts, rolled_back, "rolledBack",
		    "The system that `rouse rollback` went away from.", .type = ROUSE_STRING),
};

/* --- what is wanted --------------------------------------------------------------------------- */

struct want {
	struct rouse_pin pin;
	const struct closure_manifest *manifest;
	bool system; /* else of a profile, which others make of it */
};

static struct want make_want(const char *path, const char *nar_hash,
			     const struct closure_manifest *m, bool system)
{
	return (struct want){
		.pin = { .path = path,
			 .nar_hash = nar_hash,
			 .manifest_url = m ? m->url : NULL,
			 .manifest_sha256 = m ? m->sha256 : NULL },
		.manifest = m,
		.system = system,
	};
}

static size_t count_wants(const struct closure_conf *conf)
{
	const struct rouse_named_list *users = conf->profiles.items;
	size_t n = (conf->system != NULL) + conf->environment.n;

	for (size_t i = 0; i < conf->profiles.n; i++)
		n += users[i].list.n;
	return n;
}

static size_t list_programs(struct want *w, const struct rouse_list *list)
{
	const struct closure_pin *p = list->items;

	for (size_t i = 0; i < list->n; i++)
		w[i] = make_want(p[i].path, p[i].nar_hash, p[i].manifest, false);
	return list->n;
}

/* Every closure of the document, the system first; from `arena`. */
static struct want *list_wants(const struct closure_conf *conf, struct rouse_arena *arena,
			       size_t *ret_n)
{
	const struct rouse_named_list *users = conf->profiles.items;
	struct want *w = rouse_arena_alloc(arena, (count_wants(conf) + 1) * sizeof(*w));
	size_t n = 0;

	if (conf->system)
		w[n++] = make_want(conf->system->path, conf->system->nar_hash,
				   conf->system->manifest, true);
	n += list_programs(w + n, &conf->environment);
	for (size_t i = 0; i < conf->profiles.n; i++)
		n += list_programs(w + n, &users[i].list);
	*ret_n = n;
	return w;
}

static void check_locked(const struct closure_pin *pin, const char *const *keys,
			 struct rouse_problems *problems)
{
	if (!pin->path)
		rouse_problem(
			problems, keys,
			"is not locked to a store path: run `rouse lock` on this document, and "
			"boot what that writes");
}

/* Each file of the one would be in the way of the other's. */
static void check_programs(const struct rouse_list *list, const char *section, const char *user,
			   struct rouse_problems *problems)
{
	const struct closure_pin *p = list->items;

	for (size_t i = 0; i < list->n; i++) {
		const char *const keys[] = { section, user ? user : p[i].key,
					     user ? p[i].key : NULL, NULL };

		check_locked(&p[i], keys, problems);
		for (size_t k = 0; k < i; k++)
			if (p[i].path && rouse_streq(p[i].path, p[k].path))
				rouse_problem(problems,
					      (const char *const[]){ section,
								     user ? user : p[i].key,
								     user ? p[i].key : "path",
								     user ? "path" : NULL, NULL },
					      "the same path as \"%s\"", p[k].key);
	}
}

/* Secrets are told once, and not where anyone may listen. */
static void check_secrets(const struct closure_cache *c, struct rouse_problems *problems)
{
	const char *what = c->token ? "token" : "netrc";

	if (c->token && c->netrc)
		rouse_problem(problems, (const char *const[]){ "caches", c->key, NULL },
			      "\"token\" and \"netrc\": one of them, not both");
	else if ((c->token || c->netrc) && !rouse_strip_prefix(c->url, "https://"))
		rouse_problem(problems, (const char *const[]){ "caches", c->key, what, NULL },
			      "only a cache with an https URL can be told a secret");
}

static void check(const void *conf_, struct rouse_problems *problems)
{
	const struct closure_conf *conf = conf_;
	const struct closure_cache *caches = conf->caches.items;
	auto_arena struct rouse_arena arena = { 0 };
	size_t n = 0, pinned = 0;
	const struct want *w = list_wants(conf, &arena, &n);
	const struct rouse_named_list *users = conf->profiles.items;

	if (conf->system)
		check_locked(conf->system, (const char *const[]){ "system", NULL }, problems);
	check_programs(&conf->environment, "environment", NULL, problems);
	for (size_t i = 0; i < conf->profiles.n; i++)
		check_programs(&users[i].list, "profiles", users[i].key, problems);
	for (size_t i = 0; i < n; i++)
		pinned += w[i].manifest != NULL;
	for (size_t i = 0; i < conf->caches.n; i++) {
		if (!caches[i].keys.n && (!n || pinned < n))
			rouse_problem(
				problems, (const char *const[]){ "caches", caches[i].key, NULL },
				"\"keys\" is empty: nothing that this cache has could be trusted");
		check_secrets(&caches[i], problems);
	}
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

static int observe_system(const struct rouse_context *c, json_t *profiles, struct rouse_err *e)
{
	struct rouse_generation g = { 0 };
	json_t *fact = json_object();

	rouse_json_set(profiles, "system", fact);
	if (rouse_generation_read(c->root, ROUSE_PROFILE_SYSTEM, &g, e) < 0)
		return -1;
	rouse_json_set_int(fact, "number", g.number);
	rouse_json_set_int(fact, "highest", g.highest);
	rouse_json_set_string(fact, "path", rouse_store_name(g.path) ? g.path : NULL);
	rouse_json_set_string(fact, "last", rouse_store_name(g.last) ? g.last : NULL);
	return 0;
}

static int observe_systems(const struct rouse_context *c, json_t *facts, struct rouse_err *e)
{
	auto_systems struct rouse_systems s = { 0 };
	json_t *list = json_array();

	rouse_json_set(facts, "systems", list);
	rouse_json_set(facts, "now", json_integer((json_int_t)time(NULL)));
	if (rouse_systems_read(c->root, &s, e) < 0)
		return -1;
	for (size_t i = 0; i < s.n; i++) {
		json_t *one = json_object();

		rouse_json_set_int(one, "number", s.items[i].number);
		rouse_json_set(one, "time", json_integer(s.items[i].time));
		rouse_json_set_int(one, "healthy", s.items[i].healthy);
		rouse_json_set_string(one, "path", s.items[i].path);
		rouse_json_set_bool(one, "current", s.items[i].current);
		rouse_json_set_bool(one, "booted", s.items[i].booted);
		rouse_json_set_bool(one, "there", s.items[i].there);
		rouse_json_append(list, one);
	}
	return 0;
}

static int observe(const void *conf, const struct rouse_context *c, json_t *facts,
		   struct rouse_err *e)
{
	auto_arena struct rouse_arena arena = { 0 };
	size_t n = 0;
	const struct want *w = list_wants(conf, &arena, &n);
	struct rouse_pin *pins = rouse_arena_alloc(&arena, (n + 1) * sizeof(*pins));
	bool *valid = rouse_arena_alloc(&arena, (n + 1) * sizeof(*valid));
	json_t *list = json_array(), *profiles = json_object();
	char from[ROUSE_SYSTEM_PATH_SIZE] = "";

	rouse_json_set(facts, "valid", list);
	rouse_json_set(facts, "profiles", profiles);
	if (!is_mounted(c)) {
		rouse_json_set_bool(facts, "unseen", true);
		return 0;
	}
	for (size_t i = 0; i < n; i++)
		pins[i] = w[i].pin;
	if (rouse_closure_valid(c->root, pins, n, valid, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (valid[i])
			rouse_json_append(list, json_string(w[i].pin.path));
	if (((const struct closure_conf *)conf)->system && observe_system(c, profiles, e) < 0)
		return -1;
	if (rouse_rollback_read(c->root, from, e) < 0)
		return -1;
	if (from[0])
		rouse_json_set_string(facts, "rolledBack", from);
	if (((const struct closure_conf *)conf)->generations && observe_systems(c, facts, e) < 0)
		return -1;
	if (n && rouse_store_is_untold(c->root))
		rouse_json_set_bool(facts, "untold", true);
	return 0;
}

/* --- the plan --------------------------------------------------------------------------------- */

static bool is_valid(const struct facts *facts, const char *path)
{
	const char *const *valid = facts->valid.items;

	for (size_t i = 0; i < facts->valid.n; i++)
		if (rouse_streq(valid[i], path))
			return true;
	return false;
}

static struct rouse_generation generation_of(const struct facts *facts, const char *profile)
{
	const struct profile_fact *p = facts->profiles.items;
	struct rouse_generation g = { 0 };

	for (size_t i = 0; i < facts->profiles.n; i++) {
		if (!rouse_streq(p[i].key, profile))
			continue;
		g.number = (uint64_t)p[i].number;
		g.highest = (uint64_t)p[i].highest;
		(void)snprintf(g.path, sizeof(g.path), "%s", p[i].path ? p[i].path : "");
		(void)snprintf(g.last, sizeof(g.last), "%s", p[i].last ? p[i].last : "");
	}
	return g;
}

/* A rollback holds until the document names another system than the one it went away from. */
static bool is_rolled_back(const struct facts *facts, const struct want *w,
			   const struct rouse_generation *g)
{
	return w->system && g->number && rouse_streq(facts->rolled_back, w->pin.path) &&
	       !rouse_streq(g->path, w->pin.path);
}

static void name_caches(const struct closure_conf *conf, struct rouse_buf *out)
{
	const struct closure_cache *caches = conf->caches.items;

	for (size_t i = 0; i < conf->caches.n; i++)
		rouse_buf_printf(out, "%s%s", i ? ", " : "", caches[i].key);
}

/* " (463 paths, 1.1 GiB)", as far as the document says. */
static const char *size_of(const struct want *w, struct rouse_arena *arena)
{
	const struct closure_manifest *m = w->manifest;
	char nar[16], download[16];
	struct rouse_buf b = { 0 };
	const char *text = "";

	if (m && m->paths)
		rouse_buf_printf(&b, ", %lld path%s", (long long)m->paths,
				 m->paths == 1 ? "" : "s");
	if (m && m->nar_size)
		rouse_buf_printf(&b, ", %s", rouse_print_size(nar, (uint64_t)m->nar_size));
	if (m && m->download_size)
		rouse_buf_printf(&b, ", %s to download",
				 rouse_print_size(download, (uint64_t)m->download_size));
	if (b.len)
		text = rouse_arena_printf(arena, " (%s)", b.data + 2);
	rouse_buf_done(&b);
	return text;
}

/* Two users may want the same program. */
static bool is_listed(const struct want *w, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (rouse_streq(w[i].pin.path, w[n].pin.path))
			return true;
	return false;
}

static void plan_system(const struct facts *facts, const struct want *w,
			const struct rouse_generation *g, struct rouse_plan *p)
{
	if (facts->unseen)
		rouse_plan_add(p, ROUSE_CREATE, OP_GENERATION, w,
			       "make it the current generation of system");
	else if (!rouse_streq(g->path, w->pin.path))
		rouse_plan_add(p, ROUSE_CREATE, OP_GENERATION, w, "make %s system generation %llu",
			       is_valid(facts, w->pin.path) ? w->pin.path : "it",
			       (unsigned long long)rouse_generation_next(g, w->pin.path));
	else if (facts->rolled_back && !rouse_streq(facts->rolled_back, w->pin.path))
		rouse_plan_add(p, ROUSE_CHANGE, OP_FORGET, w,
			       "forget the rollback from %s: the document has moved on",
			       facts->rolled_back);
}

/* The systems as they will be, once the document's is current. */
static void foresee(const struct facts *facts, const struct closure_conf *conf,
		    struct rouse_systems *ret)
{
	const struct system_fact *f = facts->systems.items;
	struct rouse_generation g = generation_of(facts, "system");
	const char *path = conf->system ? conf->system->path : NULL;
	bool moves = path && !rouse_streq(g.path, path) && !rouse_streq(facts->rolled_back, path);
	uint64_t next = moves ? rouse_generation_next(&g, path) : g.number;

	ret->items = rouse_calloc(facts->systems.n + 1, sizeof(*ret->items));
	for (size_t i = 0; i < facts->systems.n; i++) {
		struct rouse_system *s = &ret->items[ret->n++];

		*s = (struct rouse_system){ .number = (uint64_t)f[i].number,
					    .time = f[i].time,
					    .healthy = (unsigned)f[i].healthy,
					    .booted = f[i].booted,
					    .there = f[i].there,
					    .current = (uint64_t)f[i].number == next };
		(void)snprintf(s->path, sizeof(s->path), "%s", f[i].path ? f[i].path : "");
	}
	if (moves && next > g.highest)
		ret->items[ret->n++] = (struct rouse_system){
			.number = next, .time = facts->now, .there = true, .current = true
		};
}

static void plan_collect(const struct facts *facts, const struct closure_conf *conf,
			 struct rouse_plan *p)
{
	auto_systems struct rouse_systems s = { 0 };
	auto_free bool *del = NULL;
	auto_buf struct rouse_buf text = { 0 };
	struct rouse_gc_policy policy;

	if (!conf->generations || facts->unseen)
		return;
	policy = rouse_keep_policy(conf->generations, facts->now);
	foresee(facts, conf, &s);
	del = rouse_calloc(s.n + 1, sizeof(*del));
	rouse_gc_choose(&s, &policy, del);
	for (size_t i = 0; i < s.n; i++)
		if (del[i])
			rouse_buf_printf(&text, "%s%llu", text.len ? ", " : "",
					 (unsigned long long)s.items[i].number);
	if (text.len)
		rouse_plan_add(p, ROUSE_CHANGE, OP_COLLECT, conf,
			       "delete system generation %s, and what nothing needs without it",
			       text.data);
}

static int plan(const void *conf_, const void *facts_, const struct rouse_context *c unused_arg,
		struct rouse_plan *p, struct rouse_err *e)
{
	const struct closure_conf *conf = conf_;
	const struct facts *facts = facts_;
	auto_buf struct rouse_buf caches = { 0 };
	size_t n = 0;
	const struct want *w = list_wants(conf, &p->arena, &n);

	name_caches(conf, &caches);
	if (facts->untold)
		rouse_plan_add(p, ROUSE_CHANGE, OP_TELL, NULL,
			       "tell Nix, which was not there before, what is in the store");
	for (size_t i = 0; i < n; i++) {
		struct rouse_generation g = { 0 };

		if (w[i].system)
			g = generation_of(facts, "system");
		if (is_rolled_back(facts, &w[i], &g)) {
			rouse_plan_add(
				p, ROUSE_USE, OP_KEEP, &w[i],
				"keep system generation %llu: it was rolled back to, from %s",
				(unsigned long long)g.number, w[i].pin.path);
			continue;
		}
		if (!is_valid(facts, w[i].pin.path) && !is_listed(w, i)) {
			if (!conf->caches.n)
				return rouse_fail(e, ROUSE_DOCUMENT, 0,
						  "'%s' is not in the store, and \"caches\" names "
						  "none to pull it from",
						  w[i].pin.path);
			rouse_plan_add(p, ROUSE_CREATE, OP_PULL, &w[i], "pull %s from %s%s%s",
				       w[i].pin.path, caches.data, size_of(&w[i], &p->arena),
				       facts->unseen ? ", unless it is on the disk" : "");
		}
		if (w[i].system)
			plan_system(facts, &w[i], &g, p);
	}
	plan_collect(facts, conf, p);
	return 0;
}

/* --- prepare and apply ------------------------------------------------------------------------ */

struct state {
	struct rouse_pin *keep; /* everything that the document wants */
	size_t n_keep;
	struct rouse_closure_spec spec;
	struct rouse_closure *closure;
	struct rouse_arena arena;
	int hold; /* no collector runs until generations point to what was found or pulled */
	char *headers[ROUSE_MAX_CACHES][2]; /* of spec.caches: at most one line each; secret */
};

static void state_free(void *state)
{
	struct state *s = state;

	if (!s)
		return;
	rouse_closure_free(s->closure);
	for (size_t i = 0; i < ARRAY_SIZE(s->headers); i++)
		rouse_secret_free(s->headers[i][0]);
	rouse_arena_done(&s->arena);
	if (s->hold >= 0)
		(void)close(s->hold);
	free(s);
}

static int list_keys(struct state *s, const struct closure_conf *conf, struct rouse_err *e)
{
	const struct closure_cache *caches = conf->caches.items;
	struct rouse_key *keys;
	size_t n = 0;

	for (size_t i = 0; i < conf->caches.n; i++)
		n += caches[i].keys.n;
	s->spec.keys = keys = rouse_arena_alloc(&s->arena, (n + 1) * sizeof(*keys));
	for (size_t i = 0; i < conf->caches.n; i++) {
		const char *const *text = caches[i].keys.items;

		for (size_t k = 0; k < caches[i].keys.n; k++)
			if (rouse_key_parse(&keys[s->spec.n_keys++], text[k], e) < 0)
				return -1;
	}
	return 0;
}

/* What a private cache is told. */
static int introduce(struct state *s, const struct closure_cache *from, size_t i,
		     struct rouse_err *e)
{
	if (from->token)
		return rouse_bearer_header(&s->headers[i][0], from->token, e);
	if (!from->netrc)
		return 0;
	if (rouse_netrc_read(&s->headers[i][0], from->netrc, from->url, e) < 0)
		return -1;
	return s->headers[i][0] ? 0
				: rouse_fail(e, ROUSE_DOCUMENT, 0,
					     "'%s' has no password for its host", from->netrc);
}

static int list_caches(struct state *s, const struct closure_conf *conf, struct rouse_err *e)
{
	const struct closure_cache *from = conf->caches.items;
	struct rouse_cache *caches = rouse_arena_alloc(&s->arena,
						       (conf->caches.n + 1) * sizeof(*caches));

	for (size_t i = 0; i < conf->caches.n; i++) {
		size_t len = strlen(from[i].url);

		while (len && from[i].url[len - 1] == '/')
			len--;
		caches[i] = (struct rouse_cache){
			.name = from[i].key,
			.url = rouse_arena_strndup(&s->arena, from[i].url, len),
			.headers = (const char *const *)s->headers[i],
		};
		if (introduce(s, &from[i], i, e) < 0)
			return rouse_wrap(e, "caches.%s", from[i].key);
	}
	s->spec.caches = caches;
	s->spec.n_caches = conf->caches.n;
	return 0;
}

static bool needs_network(const struct state *s)
{
	for (size_t i = 0; i < s->spec.n_caches; i++)
		if (!rouse_strip_prefix(s->spec.caches[i].url, "file:"))
			return true;
	return false;
}

static void list_roots(struct state *s, const struct rouse_plan *p)
{
	struct rouse_pin *roots = rouse_arena_alloc(&s->arena, (p->n_steps + 1) * sizeof(*roots));

	for (size_t i = 0; i < p->n_steps; i++) {
		const struct want *w = p->steps[i].arg;

		if (p->steps[i].module == &rouse_module_closure && p->steps[i].op == OP_PULL)
			roots[s->spec.n_roots++] = w->pin;
	}
	s->spec.roots = roots;
}

static void list_keep(struct state *s, const struct closure_conf *conf)
{
	const struct want *w = list_wants(conf, &s->arena, &s->n_keep);

	s->keep = rouse_arena_alloc(&s->arena, (s->n_keep + 1) * sizeof(*s->keep));
	for (size_t i = 0; i < s->n_keep; i++)
		s->keep[i] = w[i].pin;
	if (conf->system && conf->system->fallback)
		s->keep[s->n_keep++].path = conf->system->fallback;
}

static int prepare(const void *conf, const struct rouse_plan *p, const struct rouse_context *c,
		   void **ret_state, struct rouse_err *e)
{
	struct state *s = rouse_calloc(1, sizeof(*s));
	const struct rouse_room *room = rouse_plan_find_room(p, ROUSE_STORE_DIR);

	*ret_state = s;
	s->hold = -1;
	list_keep(s, conf);
	if (is_mounted(c) && rouse_store_hold(c->root, false, c->deadline, &s->hold, e) < 0)
		return -1;
	list_roots(s, p);
	if (!s->spec.n_roots)
		return 0;
	if (list_caches(s, conf, e) < 0)
		return -1;
	if (needs_network(s) && c->network && c->network(c->network_arg, c->deadline, e) < 0)
		return -1;
	if (list_keys(s, conf, e) < 0)
		return -1;
	s->closure = rouse_closure_new(&s->spec);
	if (rouse_closure_resolve(s->closure, c, e) < 0)
		return -1;
	/* Without a word about room, an unmounted root is looked at when it is there. */
	return room || is_mounted(c) ? rouse_closure_make_room(s->closure, c, room, s->keep,
							       s->n_keep, false, &s->hold, e)
				     : 0;
}

static int pull(struct state *s, const struct rouse_context *c, struct rouse_err *e)
{
	if (s->hold < 0 && rouse_store_hold(c->root, true, c->deadline, &s->hold, e) < 0)
		return -1;
	if (rouse_closure_make_room(s->closure, c, NULL, s->keep, s->n_keep, true, &s->hold, e) < 0)
		return -1;
	return rouse_closure_pull(s->closure, c, e);
}

/* What was planned for a root that was out of sight does not know of a rollback. */
static int make_generation(const struct want *w, const struct rouse_context *c, struct rouse_err *e)
{
	char from[ROUSE_SYSTEM_PATH_SIZE] = "";
	struct rouse_generation g = { 0 };
	uint64_t number = 0;

	if (rouse_generation_read(c->root, ROUSE_PROFILE_SYSTEM, &g, e) < 0 ||
	    rouse_rollback_read(c->root, from, e) < 0)
		return -1;
	if (g.number && rouse_streq(from, w->pin.path)) {
		rouse_log(ROUSE_LOG_NOTICE, "closure",
			  "keeping system generation %llu: it was rolled back to, from %s",
			  (unsigned long long)g.number, from);
		return 0;
	}
	if (rouse_generation_make(c->root, ROUSE_PROFILE_SYSTEM, w->pin.path, &number, e) < 0)
		return -1;
	return from[0] ? rouse_rollback_forget(c->root, e) : 0;
}

static int collect(struct state *s, const struct closure_conf *conf, const struct rouse_context *c,
		   struct rouse_err *e)
{
	struct rouse_gc_policy policy = rouse_keep_policy(conf->generations, (int64_t)time(NULL));

	return rouse_closure_collect(c->root, &policy, s->keep, s->n_keep, &s->hold, c->deadline,
				     e);
}

static int apply(const struct rouse_step *step, const struct rouse_context *c, void *state,
		 struct rouse_err *e)
{
	/* One pull brings all closures; the steps of the others find nothing to do. */
	if (step->op == OP_PULL)
		return pull(state, c, e);
	if (step->op == OP_COLLECT)
		return collect(state, step->arg, c, e);
	if (step->op == OP_TELL)
		return rouse_store_tell_first(c->root, c->deadline, e);
	if (step->op == OP_FORGET)
		return rouse_rollback_forget(c->root, e);
	return step->op == OP_GENERATION ? make_generation(step->arg, c, e) : 0;
}

const struct rouse_module rouse_module_closure = {
	.name = "closure",
	.fields = fields,
	.n_fields = ARRAY_SIZE(fields),
	.conf_size = sizeof(struct closure_conf),
	.facts = fact_fields,
	.n_facts = ARRAY_SIZE(fact_fields),
	.facts_size = sizeof(struct facts),
	.check = check,
	.observe = observe,
	.plan = plan,
	.prepare = prepare,
	.apply = apply,
	.state_free = state_free,
};
