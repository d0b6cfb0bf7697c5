/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Closures: store paths and all they reference, pulled from binary caches into a store. Shared by
 * the module and by `rouse pull`. Two halves: resolving touches network and memory only and knows
 * every path, size and signature at its end; pulling writes.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/err.h>
#include <rouse/trust.h>

struct rouse_context;
struct rouse_room;
struct rouse_root;

struct rouse_cache {
	const char *name,
		*url; /* name: for messages; url: https, http, file, s3, gs or az, without a trailing "/" */
	/* What it is told of who asks: NULL-terminated header lines, or NULL. Secret; told to nobody else. */
	const char *const *headers;
};

/* A root of the closure: a full store path, and what its archive must hash to (NULL: as signed). With a
 * manifest (rouse/manifest.h) the whole closure is as that says. */
struct rouse_pin {
	const char *path, *nar_hash;
	const char *manifest_url, *manifest_sha256; /* both or none; the digest in hex */
};

/* Borrowed; must outlive the closure. */
struct rouse_closure_spec {
	const struct rouse_cache *caches; /* in order of preference */
	size_t n_caches;
	const struct rouse_key *keys; /* any of them may sign any path, wherever it comes from */
	size_t n_keys;
	const struct rouse_pin *roots;
	size_t n_roots;
	unsigned
		jobs; /* threads that pull; 0: as many as there are processors for; 1 costs least memory */
	bool all_problems;              /* for rouse_closure_check: go on behind the first */
	const struct rouse_root *other; /* has a store whose paths may be copied; NULL: none */
	bool deduplicate;               /* files of equal content become hard links, in the store */
	bool elsewhere; /* the store here does not matter: all of it is looked up in the caches */
};

/* A digest as documents pin it: "sha256-…=" (SRI), or "sha256:" and nix32, hex or base64. */
bool rouse_is_nar_hash(const char *text);
/* Are these 32 bytes what the pin wants? */
bool rouse_pin_matches(const struct rouse_pin *pin, const uint8_t hash[static ROUSE_SHA256_LEN]);

/* The "<name>-<version>" of a store path, or NULL when it is none. Points into `path`. */
const char *rouse_store_path_label(const char *path);

struct rouse_closure;
/* `spec` is borrowed. */
struct rouse_closure *rouse_closure_new(const struct rouse_closure_spec *spec);
void rouse_closure_free(struct rouse_closure *c); /* accepts NULL */
AUTO_DEFINE(struct rouse_closure *, closure, rouse_closure_free, NULL)
#define auto_closure auto_of(closure)

/* Walks the graph of what is not in the store below c->root yet (registered by rouse, and there);
 * checks every signature. Missing in every cache is ROUSE_DOCUMENT, not reachable
 * ROUSE_UNAVAILABLE, badly signed ROUSE_UNTRUSTED. Adds "closure.paths" etc. to the counters. */
must_check int rouse_closure_resolve(struct rouse_closure *c, const struct rouse_context *ctx,
				     struct rouse_err *e);

struct rouse_closure_size {
	size_t paths, missing;             /* all, and those that are not in the store */
	uint64_t nar_bytes, missing_bytes; /* unpacked */
	uint64_t download_bytes;           /* of the missing, as far as the caches say */
	uint64_t need_bytes, need_inodes;  /* to have on the filesystem, with a margin */
};
/* Of a resolved closure. */
struct rouse_closure_size rouse_closure_measure(const struct rouse_closure *c);
/* One root of a resolved closure, with all that it references. */
struct rouse_closure_root {
	char nar_hash[52]; /* of the root itself, as documents pin it: "sha256-…=" */
	size_t paths;
	uint64_t nar_bytes, download_bytes;
};
/* false when `path` is no path of the closure. */
bool rouse_closure_root(const struct rouse_closure *c, const char *path,
			struct rouse_closure_root *ret);
/* Refuses (ROUSE_SYSTEM, ENOSPC) a closure that does not fit into `room`; NULL: into what statvfs(3)
 * says of the store below c->root. */
must_check int rouse_closure_fits(const struct rouse_closure *c, const struct rouse_context *ctx,
				  const struct rouse_room *room, struct rouse_err *e);

/* As rouse_closure_fits; but when it does not, old generations (never the current, the booted and the
 * last healthy one), the oldest first, and what nothing needs go, no more than must. `now`: they are
 * deleted; else it is only asked whether that would do. `keep`: paths that stay beside the closure's. `hold`: the caller's (rouse_store_hold), given
 * away while somebody collects, and taken again. */
must_check int rouse_closure_make_room(const struct rouse_closure *c,
				       const struct rouse_context *ctx,
				       const struct rouse_room *room, const struct rouse_pin *keep,
				       size_t n, bool now, int *hold, struct rouse_err *e);
struct rouse_gc_policy;
/* Deletes by a policy (rouse_gc_plan), but nothing that `keep` needs; `hold` as above. */
must_check int rouse_closure_collect(const char *root, const struct rouse_gc_policy *policy,
				     const struct rouse_pin *keep, size_t n, int *hold,
				     uint64_t deadline, struct rouse_err *e);

/* Downloads, checks and unpacks what is missing, and registers it. A path becomes visible in the store
 * only when its archive was right to the last bit. What was finished before a failure stays, so that
 * a second run does not fetch it again. */
must_check int rouse_closure_pull(struct rouse_closure *c, const struct rouse_context *ctx,
				  struct rouse_err *e);

/* Downloads and checks every archive of a closure that was resolved `elsewhere` with `all_problems`, and
 * writes nothing. -1 with the worst of the problems, when there are any; those of resolving count. */
must_check int rouse_closure_check(struct rouse_closure *c, const struct rouse_context *ctx,
				   struct rouse_err *e);
/* As that, of no more than the files whose content is certified by their path and whose archive is not: what a
 * cache says of its hash is true behind this. */
must_check int rouse_closure_check_claims(struct rouse_closure *c, const struct rouse_context *ctx,
					  struct rouse_err *e);
/* What was wrong: *ret_n sentences. */
const char *const *rouse_closure_problems(const struct rouse_closure *c, size_t *ret_n);
/* Every path, as `rouse pull --json` says it: path, narSize, downloadSize, cache, whether it was there,
 * and how long it took. A new reference. */
json_t *rouse_closure_json(const struct rouse_closure *c);

/* Which of these are valid, as pinned and with all they reference, below `root`? Fills valid[0…n-1]. */
must_check int rouse_closure_valid(const char *root, const struct rouse_pin *roots, size_t n,
				   bool *valid, struct rouse_err *e);

/* Tells a Nix that has come since what is valid below `root`, where that was left for it; else nothing. */
bool rouse_store_is_untold(const char *root); /* would it? */
must_check int rouse_store_tell_first(const char *root, uint64_t deadline, struct rouse_err *e);

/* Profiles, as Nix lays them out: NAME -> NAME-7-link -> /nix/store/… */
#define ROUSE_PROFILE_SYSTEM "/nix/var/nix/profiles/system"
struct rouse_generation {
	uint64_t number;  /* 0: the profile does not exist */
	uint64_t highest; /* of all its generations */
	char path[512];   /* what it points to; "" when unknown */
	char last[512];   /* what the highest points to */
};
/* "system-7-link" of "system": 7; 0 for other names. */
uint64_t rouse_generation_number(const char *link, const char *profile);
/* The current generation of a profile, e.g. "/nix/var/nix/profiles/system". */
must_check int rouse_generation_read(const char *root, const char *profile,
				     struct rouse_generation *ret, struct rouse_err *e);
/* The number that `path` has, or will get. */
uint64_t rouse_generation_next(const struct rouse_generation *g, const char *path);
/* Makes `path` the current generation: the next number, or the last when that points there
 * already. Returns its number in *ret_number. */
must_check int rouse_generation_make(const char *root, const char *profile, const char *path,
				     uint64_t *ret_number, struct rouse_err *e);
