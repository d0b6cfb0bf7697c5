/* SPDX-License-Identifier: Apache-2.0 */
/* Brings the layers of a document together: from files, from its pinned base, from overrides. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rouse/document.h>
#include <rouse/err.h>
#include <rouse/trust.h>

#include "layers.h"

struct rouse_fetcher;

struct rouse_loader {
	struct rouse_fetcher *fetcher;
	uint64_t deadline;
	bool offline;           /* leave out bases that are not files; see skipped */
	bool require_signature; /* what comes from a URL needs URL.sig by one of the keys */
	const struct rouse_key *keys;
	size_t n_keys;
	/* What the machine was last provisioned with, or NULL: a text that it has by its digest is not
	 * fetched again, and others only when they have changed. */
	const struct rouse_document *last;
	const char *skipped; /* out: the base that was left out, borrowed from the layer */
};

/* A file as the top layer ("-": standard input). */
must_check int rouse_load_file(struct rouse_document *d, const char *path, struct rouse_err *e);
/* What `url` delivers, as a layer above or below the others. Nothing is parsed before its digest
 * (NULL: none is demanded) and its signature were right (ROUSE_UNTRUSTED). */
must_check int rouse_load_url(struct rouse_loader *l, struct rouse_document *d, const char *url,
			      const char *sha256, bool below, struct rouse_err *e);
/* The pinned bases, each below the one that names it. */
must_check int rouse_load_bases(struct rouse_loader *l, struct rouse_document *d,
				struct rouse_err *e);
/* ROUSE_OVERRIDE_DIR/NAME.json below `root` in the order of their names, above the others; no such
 * directory is fine. The directory and the files are refused (ROUSE_UNTRUSTED) when anyone but root may
 * write them, or they are links. */
must_check int rouse_load_overrides(struct rouse_document *d, const char *root,
				    struct rouse_err *e);
/* The document of the machine below `root`: the layers of its boot and its overrides as they are now. */
must_check int rouse_load_running(struct rouse_document *d, const char *root,
				  struct rouse_running *ret, struct rouse_err *e);
/* Opens that directory; *ret_path is its name for messages, in the arena. Without one, -1 and ENOENT in
 * e->sys. */
must_check int rouse_open_overrides(const struct rouse_root *root, const char **ret_path,
				    struct rouse_arena *arena, struct rouse_err *e);

/* A text in the place of one override. */
struct rouse_override {
	const char *name;  /* the file's name in the directory; left out when it is there */
	const char *label; /* of the text, for messages */
	const char *text;  /* NULL: nothing takes its place */
	size_t len;
};
/* The same of an open directory; `path` is for messages, `instead` may be NULL. Without `trusted`
 * neither owners nor links are looked at: for checking what lies elsewhere than on the machine. */
must_check int rouse_load_overrides_at(struct rouse_document *d, int dir, const char *path,
				       bool trusted, const struct rouse_override *instead,
				       struct rouse_err *e);
/* The text of one. Whoever may write an override owns the machine, and a link might lead to where others
 * may: with `trusted` both are refused. */
must_check int rouse_read_override(int dir, const char *name, const char *path, bool trusted,
				   struct rouse_buf *ret, struct rouse_err *e);
