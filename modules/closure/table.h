/* SPDX-License-Identifier: Apache-2.0 */
/* Store paths by name: the graph of a closure, and the list of what is registered. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/err.h>
#include <rouse/mem.h>
#include <rouse/trust.h>

#include "narinfo.h"

struct rouse_path {
	const char *name; /* base name */
	bool known;       /* the four below are there, and verified */
	uint8_t nar_hash[ROUSE_SHA256_LEN];
	uint64_t nar_size;
	const char *deriver; /* base name, or NULL */
	const char **references;
	size_t n_references;

	bool valid;     /* registered, and in the store */
	bool copied;    /* from another store of this machine */
	bool complete;  /* its archive was right; it is in the staging directory, or in the store */
	bool closed;    /* … and so is all that it references: about to be moved into the store */
	bool published; /* … and has been */
	uint64_t took;  /* ms, from the request for its archive to its last byte */
	bool pinned;    /* known by a manifest: the caches have not been asked */
	unsigned cache; /* where it is, or where it is asked for */
	enum rouse_compression compression;
	uint64_t file_size;
	const uint8_t *file_hash; /* of the archive as it comes; NULL: not told, or not looked at */
	unsigned base;            /* the cache below which `url` is: most often the same */
	const char *url;          /* relative to that */
	bool exact;               /* a manifest says what it is: no other build will do */
	bool claimed; /* it certifies itself: its hash is true, its size is the cache's word */
	const uint8_t
		*contents; /* … and the SHA-256 of the one file that it is; NULL: not needed */
	const char *tried; /* "'acme' (missing)": caches that do not have it; NULL: none yet */
	struct rouse_err *failure; /* the worst of them, in the arena */
};

struct rouse_paths {
	struct rouse_path **items; /* in the order in which they came; each stays where it is */
	size_t n, size;
	uint32_t *slots; /* open addressing: index + 1, 0 is free */
	size_t n_slots;
	uint64_t seed; /* names come from outside: no one may choose the collisions */
	struct rouse_arena arena;
};

void rouse_paths_done(struct rouse_paths *p);
static inline void paths_auto(struct rouse_paths *p)
{
	rouse_paths_done(p);
}
#define auto_paths __attribute__((cleanup(paths_auto)))

struct rouse_path *rouse_paths_find(const struct rouse_paths *p, const char *name);
/* Where it is in `items`; false when it is not there. */
bool rouse_paths_index(const struct rouse_paths *p, const char *name, size_t *ret);
/* Finds or adds; the name is copied. */
struct rouse_path *rouse_paths_add(struct rouse_paths *p, const char *name);
/* Copies what is known of `from` (strings and all). */
void rouse_path_copy(struct rouse_paths *p, struct rouse_path *to, const struct rouse_path *from);

/* The `nix-store --load-db` text of one path, appended. */
void rouse_path_print(const struct rouse_path *path, struct rouse_buf *out);
/* Reads such a text. A broken one is ROUSE_SYSTEM: it is our own file. */
must_check int rouse_paths_parse(struct rouse_paths *p, const char *where, char *text,
				 struct rouse_err *e);
