/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `caches`, `system`, `profiles`: closures that are to be in the store, pulled from binary caches, and
 * the generations that point to them.
 */
#include "module.h"

#include <string.h>

#include <rouse/accounts.h>
#include <rouse/limits.h>
#include <rouse/text.h>
#include <rouse/version.h>

#include "nix32.h"
#include "path.h"

static const struct rouse_shape key_shape = {
	.type = ROUSE_STRING,
	.format = "a key as Nix writes it, \"name:base64\"",
	.valid = rouse_is_key,
};
static const struct rouse_field cache_fields[] = {
	ROUSE_REQUIRED(
		struct closure_cache, url, "url", "Where the binary cache is.",
		.type = ROUSE_STRING,
		.format = "an https, http or file URL without a query, or an s3, gs or az URL",
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
	ROUSE_OBJECT_OF(struct closure_cache, cache_fields),
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
		    ROUSE_OBJECT_OF(struct closure_wanted, wanted_fields)),
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
			    ROUSE_OBJECT_OF(struct closure_manifest, manifest_fields)),            \
		ROUSE_FIELD(struct closure_pin, closure_size, "closureSize",                       \
			    "Bytes of the path and all it references, unpacked; for people.",      \
			    .type = ROUSE_INT, .max = INT64_MAX),                                  \
		ROUSE_FIELD(struct closure_pin, lock, "lock",                                      \
			    "Where `rouse lock` found it; for people.",                            \
			    ROUSE_OBJECT_OF(struct rouse_lock_record, lock_fields)),               \
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
	ROUSE_OBJECT_OF(struct closure_pin, program_fields),
	.shorthand = "version",
};
static const struct rouse_shape user_shape = {
	.type = ROUSE_MAP,
	.format = "the name of a program (letters, digits, '.', '_' and '-')",
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
		    "The system closure that this machine boots.",
		    ROUSE_OBJECT_OF(struct closure_pin, system_fields)),
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
		    .format = "the name of a program (letters, digits, '.', '_' and '-')",
		    .valid = rouse_is_label, .item = &program_shape, .max = ROUSE_MAX_PROGRAMS),
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
	ROUSE_OBJECT_OF(struct profile_fact, profile_fact_fields),
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
	ROUSE_OBJECT_OF(struct system_fact, system_fact_fields),
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
	const struct want *w = closure_list_wants(conf, &arena, &n);
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

const struct rouse_module rouse_module_closure = {
	.name = "closure",
	.fields = fields,
	.n_fields = ARRAY_SIZE(fields),
	.conf_size = sizeof(struct closure_conf),
	.facts = fact_fields,
	.n_facts = ARRAY_SIZE(fact_fields),
	.facts_size = sizeof(struct facts),
	.check = check,
	.observe = closure_observe,
	.plan = closure_plan,
	.prepare = closure_prepare,
	.apply = closure_apply,
	.state_free = closure_state_free,
};
