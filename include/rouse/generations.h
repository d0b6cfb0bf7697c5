/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system generations of a machine: what they are, which of them was healthy, going back to one,
 * and the collector that deletes what no generation and no other root needs.
 *
 * What the links of the profile cannot say is kept in /var/lib/rouse/generations.json: the systems
 * that were ready once, oldest first, and the last rollback.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/err.h>
#include <rouse/schema.h>

#define ROUSE_GENERATIONS_FILE "/var/lib/rouse/generations.json"
#define ROUSE_SYSTEM_PATH_SIZE 512

struct rouse_system {
	uint64_t number;                   /* of the generation */
	char path[ROUSE_SYSTEM_PATH_SIZE]; /* store path */
	int64_t time;                      /* the link was made, s since the epoch */
	uint64_t bytes; /* its closure, unpacked; 0: unknown, for rouse did not pull all of it */
	bool there;     /* its path is in the store, with all it needs as far as rouse knows */
	bool current, booted;
	unsigned healthy; /* 0: never ready; the highest was ready last */
};

struct rouse_systems {
	struct rouse_system *items; /* by number */
	size_t n;
	/* The last rollback: the document's system that is not made current again, and the one that
	 * is kept instead; "" when there was none, or the document has moved on. */
	char rolled_from[ROUSE_SYSTEM_PATH_SIZE], rolled_to[ROUSE_SYSTEM_PATH_SIZE];
};
void rouse_systems_done(struct rouse_systems *s);
static inline void systems_auto(struct rouse_systems *s)
{
	rouse_systems_done(s);
}
#define auto_systems __attribute__((cleanup(systems_auto)))

/* All generations of the system profile below `root`; none at all is well. What is booted is known of
 * the running machine ("/") only. */
must_check int rouse_systems_read(const char *root, struct rouse_systems *ret, struct rouse_err *e);
/* Where `rouse rollback` goes without a number: the last one before the current that was healthy,
 * else the one before the current, in both cases another system that is there; NULL: none. */
const struct rouse_system *rouse_systems_before(const struct rouse_systems *s);
/* The one that was ready last and is there, but not `except` (may be NULL); NULL: none. */
const struct rouse_system *rouse_systems_healthy(const struct rouse_systems *s, const char *except);

/* The system that this machine was booted with: false when nothing says so. */
bool rouse_booted_system(char buf[static ROUSE_SYSTEM_PATH_SIZE]);
/* Records that this system was ready. */
must_check int rouse_system_mark_healthy(const char *root, const char *path, struct rouse_err *e);

/* Makes `to`, one of `s`, current, and records it: a document that still wants the system that was
 * current does not make it so again. */
must_check int rouse_rollback(const char *root, const struct rouse_systems *s,
			      const struct rouse_system *to, struct rouse_err *e);
/* The system path that a rollback went away from, "" when there was none. */
must_check int rouse_rollback_read(const char *root, char ret_from[static ROUSE_SYSTEM_PATH_SIZE],
				   struct rouse_err *e);
/* The document has moved on: the rollback is history. */
must_check int rouse_rollback_forget(const char *root, struct rouse_err *e);

/* Nothing is collected in the store below `root` while *ret_fd is open: from before a closure is
 * compared with what is there, until a generation points to it. Writes nothing unless `make`; a root
 * that has no store yet has nothing to collect either, and gives -1 in *ret_fd. */
must_check int rouse_store_hold(const char *root, bool make, uint64_t deadline, int *ret_fd,
				struct rouse_err *e);

struct rouse_gc_policy {
	uint64_t keep;   /* so many of the newest generations stay */
	int64_t younger; /* … and those that were made after this, s since the epoch */
	uint64_t
		max_size; /* 0: none; then older ones go, one by one, until the rest is this small */
};
/* Pure: which generations may go? The current, the booted, the last healthy one and the young never
 * do; sets del[i]. */
void rouse_gc_choose(const struct rouse_systems *s, const struct rouse_gc_policy *p, bool *del);
/* The oldest one that max_size may still cost; -1: none. */
int64_t rouse_gc_next(const struct rouse_systems *s, const struct rouse_gc_policy *p,
		      const bool *del);

/* The keep policy: "generations" of a document, and of the image's settings for what the document does
 * not say. 0: not said. */
struct rouse_keep {
	int64_t keep;
	uint64_t older_than; /* ms */
	struct rouse_size max_size;
};
#define ROUSE_KEEP_FIELDS 3
extern const struct rouse_field rouse_keep_fields[ROUSE_KEEP_FIELDS];
/* As a policy; `now` in s since the epoch. */
struct rouse_gc_policy rouse_keep_policy(const struct rouse_keep *k, int64_t now);
/* What the document that the machine below `root` was provisioned with says, and the settings there. */
must_check int rouse_keep_read(const char *root, struct rouse_keep *ret, struct rouse_err *e);
#define ROUSE_KEEP_DEFAULT 3

struct rouse_gc;
/* Says what would be deleted; with `lock`, keeps everybody else away until rouse_gc_free, for
 * rouse_gc_apply (ROUSE_UNAVAILABLE when somebody pulls). Otherwise writes nothing. */
must_check int rouse_gc_plan(const char *root, const struct rouse_gc_policy *p, bool lock,
			     struct rouse_gc **ret, struct rouse_err *e);
/* Deletes it: links first, then the words that paths are valid, then the paths, so that a crash
 * leaves nothing but litter for the next run. Where a Nix has a database, its own collector deletes
 * the paths. */
must_check int rouse_gc_apply(struct rouse_gc *g, uint64_t deadline, struct rouse_err *e);
/* { "generations": [{ "number", "path" }], "profiles": [link of an old generation], "paths": [{ "path", "bytes" }], "bytes", "notes": [] },
 * after rouse_gc_apply of what was deleted; a new reference. */
json_t *rouse_gc_json(const struct rouse_gc *g);
void rouse_gc_free(struct rouse_gc *g); /* accepts NULL */
AUTO_DEFINE(struct rouse_gc *, gc, rouse_gc_free, NULL)
#define auto_gc auto_of(gc)
