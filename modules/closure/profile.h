/* SPDX-License-Identifier: Apache-2.0 */
/* The profiles of users and of everybody: what is in them, and making another generation. */
#pragma once

#include <jansson.h>

#include <rouse/closure.h>
#include <rouse/fs.h>
#include <rouse/module.h>

#include "elements.h"

/* What earlier documents put into profiles: { "per-user/NAME": { "/nix/store/…": "program" } }. */
#define ROUSE_PROFILES_FILE "/var/lib/rouse/profiles.json"

/* As in rouse/closure.h, in a root that is open. */
must_check int rouse_generation_read_in(const struct rouse_root *root, const char *profile,
					struct rouse_generation *ret, struct rouse_err *e);
must_check int rouse_generation_make_in(const struct rouse_root *root, const char *profile,
					const char *path, uint64_t *ret_number,
					struct rouse_err *e);

/* A profile by its key, "default" (everybody's) or "per-user/NAME". */
struct profile {
	const char *key;
	struct rouse_root parent; /* its directory; fd -1: there is none */
	const char *name;         /* "/default" or "/profile" within it */
	struct rouse_generation generation;
	struct rouse_elements elements;
	json_t *manifest;
	struct rouse_list made; /* struct rouse_pair: store path, program */
	struct rouse_arena arena;
};
void profile_done(struct profile *p);
#define auto_profile __attribute__((cleanup(profile_done)))

/* The user of a key, NULL for everybody's. */
const char *profile_user(const char *key);
/* "the profile of NAME", "the profile of all users". */
const char *profile_title(char buf[static 64], const char *key);
/* Reads a profile, and of `record` (what is in ROUSE_PROFILES_FILE) what is ours in it. The directory of
 * a user may be the user's: no link in it is followed but those of Nix's own form. A tree without a
 * manifest that can be read is one element by itself, so that nothing of it is lost. */
must_check int profile_read(struct profile *ret, const struct rouse_root *root, const char *key,
			    const json_t *record, struct rouse_err *e);
/* Makes the generation that has what the document wants (struct closure_pin). */
must_check int profile_make(const struct rouse_context *c, const char *key,
			    const struct rouse_list *wanted, struct rouse_err *e);
/* Gives the directory of a user's profile to a user who has come since; there need be neither. */
must_check int profile_give(const struct rouse_root *root, const char *key, struct rouse_err *e);
/* The record, an empty object when there is none; a new reference, NULL with *e. */
must_check json_t *profile_record_read(const struct rouse_root *root, struct rouse_err *e);
