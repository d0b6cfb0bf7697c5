/* SPDX-License-Identifier: Apache-2.0 */
/* What a cache says about a path (.narinfo). Nothing in it is to be believed before
 * rouse_narinfo_verify(); URL and Compression are never covered by a signature. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/closure.h>
#include <rouse/err.h>
#include <rouse/mem.h>
#include <rouse/trust.h>

enum rouse_compression {
	ROUSE_COMPRESSION_NONE,
	ROUSE_COMPRESSION_ZSTD,
	ROUSE_COMPRESSION_XZ,
	ROUSE_COMPRESSION_GZIP,
	ROUSE_COMPRESSION_BZIP2,
	ROUSE_COMPRESSION_BROTLI,
	ROUSE_COMPRESSIONS_
};
const char *rouse_compression_word(enum rouse_compression c); /* as narinfo spells it */
/* false for what rouse does not read. */
must_check bool rouse_compression_parse(const char *word, enum rouse_compression *ret);

struct rouse_narinfo {
	const char *name; /* base name of StorePath */
	const char *url;  /* relative to the cache `base` */
	size_t base;      /* index of it */
	enum rouse_compression compression;
	uint64_t file_size;       /* 0: not told */
	const uint8_t *file_hash; /* SHA-256 of the compressed archive; NULL: not told */
	uint8_t nar_hash[ROUSE_SHA256_LEN];
	uint64_t nar_size;
	size_t n_references, n_signatures;
	const char **references; /* base names, in byte order, each once */
	const char **signatures; /* "name:base64" */
	const char *deriver;     /* base name, or NULL */
	const char *ca;          /* NULL: addressed by its inputs */
};

/* Parses `len` bytes of text from `where` (for messages), which is in the cache caches[own]. A URL in
 * the text must be relative to that, or absolute and below one of the caches. All strings are copies in
 * `arena`. Unknown keys are ignored, as Nix does; whatever is malformed is ROUSE_UNTRUSTED, an archive
 * format that rouse does not read ROUSE_DOCUMENT. */
must_check int rouse_narinfo_parse(struct rouse_narinfo *ret, const char *where,
				   const struct rouse_cache *caches, size_t n_caches, size_t own,
				   const char *text, size_t len, struct rouse_arena *arena,
				   struct rouse_err *e);
/* The most bytes that an archive of this size may have when compressed: formats lose a little. */
uint64_t rouse_narinfo_most(uint64_t nar_size);
/* The string that signatures cover, rebuilt from the parsed values; appended to `out`. */
void rouse_narinfo_fingerprint(const struct rouse_narinfo *n, struct rouse_buf *out);
/* Is its name the address of its content, so that no signature is needed? Trees (`nix-store --add`,
 * fetched sources), plain files (fetchurl) and texts (writeText, derivations), all by SHA-256; what
 * references itself needs a signature. */
enum rouse_certified {
	ROUSE_NOT_CERTIFIED,
	ROUSE_CERTIFIED_TREE, /* by NarHash */
	ROUSE_CERTIFIED_FILE, /* by the SHA-256 of its one file's contents, and NarHash is a claim */
};
enum rouse_certified rouse_narinfo_certified(const struct rouse_narinfo *n,
					     uint8_t ret_contents[static ROUSE_SHA256_LEN]);
/* Demands a good signature by one of the keys. */
must_check int rouse_narinfo_verify(const struct rouse_narinfo *n, const char *where,
				    const struct rouse_key *keys, size_t n_keys,
				    struct rouse_err *e);
/* May a narinfo name this URL? Relative, below the cache, no "..", nothing that needs escaping. */
bool rouse_is_nar_url(const char *url);
