/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Closure manifests: every path of a closure in one text, which a document pins by its digest. Then one
 * request replaces the walk through a cache, and no signature is needed.
 *
 * A manifest is JSON: { "rouseManifest": 1, "storeDir": "/nix/store", "roots": [path…],
 * "caches": [URL…], "paths": [{ "path", "narHash", "narSize", "references", "deriver", "cache", "url",
 * "compression", "fileSize" }…] }. Paths, and the references of each, are in byte order, one value to a
 * line: the same closure makes the same text, and two of them compare well. "url" is relative to the
 * cache, "cache" is an index into "caches" (absent: 0). Where a document has that cache too, it is
 * asked first.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <rouse/closure.h>
#include <rouse/err.h>
#include <rouse/mem.h>

struct rouse_fetcher;

struct rouse_manifest {
	struct rouse_buf text;
	char sha256[65]; /* of the text */
	size_t paths;
	uint64_t nar_bytes, download_bytes; /* unpacked; to be fetched, as far as the caches say */
	/* What each root's archive hashes to, "sha256-…=", as a document pins it; in the order of
	 * spec->roots. Owned. */
	char **nar_hashes;
	size_t n_roots;
};
void rouse_manifest_done(struct rouse_manifest *m);
static inline void manifest_auto(struct rouse_manifest *m)
{
	rouse_manifest_done(m);
}
#define auto_manifest __attribute__((cleanup(manifest_auto)))

/* Walks the closures of spec->roots in the caches, whatever a store here has, checks every signature,
 * and writes the manifest of what it found. Fails as rouse_closure_resolve() does. */
must_check int rouse_manifest_make(struct rouse_manifest *ret,
				   const struct rouse_closure_spec *spec, struct rouse_fetcher *f,
				   uint64_t deadline, struct rouse_err *e);
