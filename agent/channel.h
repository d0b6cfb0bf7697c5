/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a channel publishes about one of its releases (as nixos-channel-scripts does), and lists of store
 * paths. Nothing of it is signed: it says which build is meant, and the signature of the build decides.
 *
 *   git-revision      40 hex digits; where this is, there is a release
 *   src-url           the evaluation of Hydra that it was made of; missing: there is none
 *   packages.json.br  {"packages": {ATTRIBUTE: {"pname", "version", "outputName", "meta"}}}: no paths
 *   store-paths.xz    a store path a line, of all platforms: no attributes
 *   EVALUATION/job/NAME   {"buildstatus": 0, "buildoutputs": {"out": {"path": …}}}
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include <rouse/err.h>
#include <rouse/mem.h>

struct rouse_fetcher;

/* Store paths, borrowed from the text. */
struct rouse_store_list {
	const char **paths;
	size_t n;
	char *text;
};
/* Takes over `text`: a store path a line; blank lines are left out, others are ROUSE_DOCUMENT. */
must_check int rouse_store_list_parse(struct rouse_store_list *ret, const char *where, char *text,
				      struct rouse_err *e);
void rouse_store_list_done(struct rouse_store_list *l);
bool rouse_store_list_has(const struct rouse_store_list *l, const char *path);

struct rouse_release {
	struct rouse_release *next;
	const char *channel;      /* as asked for */
	const char *url, *name;   /* "https://releases.nixos.org/…/nixos-24.05.1.abc", its end */
	const char *revision;     /* of nixpkgs */
	const char *evaluation;   /* NULL: none is named */
	const char *binary_cache; /* NULL: none is named */
	json_t *packages;         /* NULL: not fetched yet, or there are none */
	bool asked;               /* for packages */
};

struct rouse_store_index {
	struct rouse_store_index *next;
	const char *url;
	bool missing;
	struct rouse_store_list list;
};

/* All that one run has fetched, so that nothing is fetched twice. */
struct rouse_channels {
	struct rouse_fetcher *fetcher;
	uint64_t deadline;
	const char *base; /* where channels are that are only named */
	struct rouse_release *releases;
	struct rouse_store_index *indexes;
	struct rouse_arena arena;
};
void rouse_channels_done(struct rouse_channels *c);

/* The newest release of a channel, or `pinned`, the URL of one. Strings live as long as `c`. */
must_check int rouse_channels_open(struct rouse_channels *c, const char *channel,
				   const char *pinned, struct rouse_release **ret,
				   struct rouse_err *e);
/* The "packages" of packages.json.br; *ret is NULL when the release has none. */
must_check int rouse_release_packages(struct rouse_channels *c, struct rouse_release *r,
				      const json_t **ret, struct rouse_err *e);
/* The store path of one output of a job. e->sys is ENOENT when the evaluation has no such job. */
must_check int rouse_release_job(struct rouse_channels *c, const struct rouse_release *r,
				 const char *job, const char *output, const char **ret,
				 struct rouse_err *e);
/* A list of store paths; compressed when its name says so. *ret is NULL when it is not there. */
must_check int rouse_channels_list(struct rouse_channels *c, const char *url,
				   const struct rouse_store_list **ret, struct rouse_err *e);
