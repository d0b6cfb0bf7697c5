/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is installed in a profile: its manifest.json, as `nix profile` reads and writes it. Versions
 * (NixOS/nix, src/nix/profile.cc): 1 and 2 hold a list of elements (and differ in how they call the
 * URL of a flake), 3 (since 2.20) an object of them by name. A manifest is written in the version in
 * which it was read; a new one in version 2, which every Nix since 2.5 reads.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include <rouse/err.h>
#include <rouse/mem.h>
#include <rouse/schema.h>

#define ROUSE_PRIORITY 5 /* Nix's default */

struct rouse_element {
	const char *name;        /* version 3; else NULL */
	struct rouse_list paths; /* const char *: store paths */
	int64_t priority;        /* 0: ROUSE_PRIORITY */
	bool inactive;           /* kept in the store, and not linked */
	const json_t *json;      /* as it was read, with all that is not ours; NULL: made by us */
};

struct rouse_elements {
	int64_t version; /* 0: there is no manifest yet */
	size_t n;
	struct rouse_element *items;
};

/* Parses a text from `where` (for messages). Strings and *ret_json (the caller's reference) outlive
 * the elements; the rest is in `arena`. What is malformed is ROUSE_SYSTEM: it is the machine's. */
must_check int rouse_elements_parse(struct rouse_elements *ret, const char *where, const char *text,
				    size_t len, struct rouse_arena *arena, json_t **ret_json,
				    struct rouse_err *e);
/* The text, as Nix would print it: compact, sorted keys, no newline. */
char *rouse_elements_print(const struct rouse_elements *m); /* caller frees */

enum rouse_element_change { ROUSE_ELEMENT_ADD, ROUSE_ELEMENT_UPDATE, ROUSE_ELEMENT_REMOVE };
struct rouse_element_step {
	enum rouse_element_change change;
	const char *name, *path; /* of the program; path: the new one, or that which goes */
};

struct closure_pin;

/* Pure: what a profile becomes. `made` (struct rouse_pair: store path, name) says which elements are of
 * an earlier document; all others are their user's and stay as they are, also when the document wants
 * the same path. `wanted`: struct closure_pin. The steps are in *ret_steps, all from `arena`. */
struct rouse_elements rouse_elements_merge(const struct rouse_elements *is,
					   const struct rouse_list *made,
					   const struct rouse_list *wanted,
					   struct rouse_arena *arena,
					   struct rouse_element_step **ret_steps, size_t *ret_n);
