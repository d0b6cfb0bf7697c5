/* SPDX-License-Identifier: Apache-2.0 */
/* From a hand-written document to one that holds only pins. */
#pragma once

#include <jansson.h>

#include <rouse/closure.h>
#include <rouse/document.h>

#include "resolve.h"

enum rouse_lock_how {
	ROUSE_LOCK_GIVEN, /* the document itself has a store path */
	ROUSE_LOCK_KEPT,  /* as it was locked before */
	ROUSE_LOCK_FOUND, /* looked up now */
};

/* One closure of the document. */
struct rouse_lock_entry {
	const char *user, *name;    /* user NULL: the system; "": everybody */
	const json_t *written;      /* in the document */
	const json_t *old;          /* in what was locked before, or NULL */
	struct rouse_wanted wanted; /* with what the document says for all */
	json_t *wanted_json;
	bool update; /* was asked to move */
	enum rouse_lock_how how;
	const char *path, *nar_hash; /* nar_hash NULL: not known before the walk */
	struct rouse_resolved found;
	uint64_t closure_paths, closure_bytes;
	json_t *manifest; /* what the pin says of it, or NULL */
};

/* One run: the document with its bases, and what it was locked to before. */
struct rouse_lock {
	struct rouse_document *document; /* loaded, its top layer is to be locked */
	const json_t *previous;          /* NULL: never */
	bool update;                     /* everything, or with names these */
	const char *const *names;        /* "system", "NAME", "USER/NAME" */
	size_t n_names;
	const char *manifests;     /* a directory that gets a manifest of each closure, or NULL */
	const char *manifests_url; /* where machines will find it */
	const char *netrc; /* for private caches; NULL: what the document names, if it is here */
	/* As of struct rouse_context; may be NULL. */
	void (*progress)(void *arg, const char *what, uint64_t done, uint64_t total);
	void *progress_arg;
	struct rouse_channels channels;
	/* out */
	struct rouse_lock_entry *entries;
	size_t n_entries, n_paths;
	uint64_t bytes;          /* of all closures together, unpacked */
	json_t *merged, *locked; /* all layers as written; the document to be written */
	struct rouse_arena arena;
};

/* Looks up what has no path, walks all closures in the document's caches, fills `locked`. Prints and
 * writes nothing. */
must_check int rouse_lock_run(struct rouse_lock *l, struct rouse_err *e);
void rouse_lock_done(struct rouse_lock *l);

/* "system", "deploy/htop"; in the arena of `l`. */
const char *rouse_lock_title(struct rouse_lock *l, const struct rouse_lock_entry *entry);

/* In agent/lock_walk.c: proves that every path of every entry is in the caches and signed, and fills
 * hashes and sizes. */
must_check int rouse_lock_walk(struct rouse_lock *l, struct rouse_err *e);

/* In agent/lock_manifest.c: writes the manifest of an entry's closure; fills entry->manifest. */
must_check int rouse_lock_write_manifest(struct rouse_lock *l,
					 const struct rouse_closure_spec *caches,
					 struct rouse_lock_entry *entry, struct rouse_err *e);
