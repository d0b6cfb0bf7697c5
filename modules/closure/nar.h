/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Nix archive format, as a parser that is pushed bytes as they come. Strict: one spelling of
 * each tree is accepted, names ascend, padding is zero. No recursion, no allocation while it runs;
 * every length is compared with what is left of the archive before it is used.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/err.h>
#include <rouse/limits.h>
#include <rouse/trust.h>

/* What is in the archive, in its order. `name` is NULL for the root. Names are 1…255 bytes, never
 * ".", ".." and without "/". Any function may be NULL. -1 with *e ends the parsing. */
struct rouse_nar_ops {
	int (*directory)(void *arg, const char *name,
			 struct rouse_err *e); /* entries follow, then leave */
	int (*leave)(void *arg, struct rouse_err *e);
	int (*file)(void *arg, const char *name, bool executable, uint64_t size,
		    struct rouse_err *e);
	int (*data)(void *arg, const void *data, size_t n, struct rouse_err *e);
	int (*file_end)(void *arg, struct rouse_err *e);
	int (*symlink)(void *arg, const char *name, const char *target, struct rouse_err *e);
};

#define ROUSE_NAR_NAME 255
#define ROUSE_NAR_TARGET 4095
#define ROUSE_NAR_KEYWORD 32

struct rouse_nar {
	const struct rouse_nar_ops *ops;
	void *arg;
	uint64_t left;  /* bytes of the archive that have not come yet */
	unsigned state; /* what the grammar expects next */
	unsigned depth; /* open directories */
	bool in_string; /* the length is known, the bytes are awaited */
	bool in_data;   /* … and go to ops->data as they come */
	bool executable;
	uint64_t string; /* length of the awaited string */
	uint64_t data_left;
	size_t want, have; /* bytes of `token` */
	const char *name;  /* of the node that is being read: names[depth], NULL for the root */
	char names[ROUSE_MAX_NAR_DEPTH][ROUSE_NAR_NAME + 1]; /* the last name on each level */
	unsigned char token[ROUSE_NAR_TARGET + 9];
};

/* Begins an archive of exactly `size` bytes. */
void rouse_nar_begin(struct rouse_nar *n, uint64_t size, const struct rouse_nar_ops *ops,
		     void *arg);
/* Takes bytes. Malformed is ROUSE_UNTRUSTED: whoever signed it did not make it with Nix. */
must_check int rouse_nar_feed(struct rouse_nar *n, const void *data, size_t len,
			      struct rouse_err *e);
/* Demands that the archive is complete. */
must_check int rouse_nar_end(const struct rouse_nar *n, struct rouse_err *e);

/* An archive that is never written, only hashed: words (NULL behind the last), a length, and what fills up
 * `n` bytes. */
void rouse_nar_hash_words(struct rouse_sha256 *h, const char *const *words);
void rouse_nar_hash_length(struct rouse_sha256 *h, uint64_t n);
void rouse_nar_hash_padding(struct rouse_sha256 *h, uint64_t n);
