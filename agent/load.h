/* SPDX-License-Identifier: Apache-2.0 */
/* Brings the layers of a document together: from files, from its pinned base, from overrides. */
#pragma once

#include <stdint.h>

#include <rouse/document.h>
#include <rouse/err.h>

struct rouse_fetcher;

/* A file as the top layer ("-": standard input). */
must_check int rouse_load_file(struct rouse_document *d, const char *path, struct rouse_err *e);
/* What `url` delivers, as a layer above or below the others; with a digest nothing is parsed
 * before it was compared (ROUSE_UNTRUSTED). */
must_check int rouse_load_url(struct rouse_document *d, struct rouse_fetcher *f, const char *url,
			      const char *sha256, bool below, uint64_t deadline, struct rouse_err *e);
/* The pinned bases, each below the one that names it. With `offline`, a base that is not a
 * file is left out and *ret_skipped (may be NULL) is its URL, borrowed. */
must_check int rouse_load_bases(struct rouse_document *d, struct rouse_fetcher *f, bool offline,
				uint64_t deadline, const char **ret_skipped, struct rouse_err *e);
/* DIR/NAME.json in the order of their names, above the others; no such directory is fine. */
must_check int rouse_load_overrides(struct rouse_document *d, const char *dir, struct rouse_err *e);
