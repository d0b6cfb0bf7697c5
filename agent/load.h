/* SPDX-License-Identifier: Apache-2.0 */
/* Brings the layers of a document together: from files, from its pinned base, from overrides. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rouse/document.h>
#include <rouse/err.h>
#include <rouse/trust.h>

struct rouse_fetcher;

struct rouse_loader {
	struct rouse_fetcher *fetcher;
	uint64_t deadline;
	bool offline;                 /* leave out bases that are not files; see skipped */
	bool require_signature;       /* what comes from a URL needs URL.sig by one of the keys */
	const struct rouse_key *keys;
	size_t n_keys;
	const char *skipped;          /* out: the base that was left out, borrowed from the layer */
};

/* A file as the top layer ("-": standard input). */
must_check int rouse_load_file(struct rouse_document *d, const char *path, struct rouse_err *e);
/* What `url` delivers, as a layer above or below the others. Nothing is parsed before its digest
 * (NULL: none is demanded) and its signature were right (ROUSE_UNTRUSTED). */
must_check int rouse_load_url(struct rouse_loader *l, struct rouse_document *d, const char *url,
			      const char *sha256, bool below, struct rouse_err *e);
/* The pinned bases, each below the one that names it. */
must_check int rouse_load_bases(struct rouse_loader *l, struct rouse_document *d, struct rouse_err *e);
/* DIR/NAME.json in the order of their names, above the others; no such directory is fine. */
must_check int rouse_load_overrides(struct rouse_document *d, const char *dir, struct rouse_err *e);
