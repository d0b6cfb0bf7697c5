/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The document: what should be. Layers (`from`, the document, overrides) are merged by JSON Merge
 * Patch (RFC 7396), validated as a whole and decoded for the modules.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include <rouse/err.h>
#include <rouse/limits.h>
#include <rouse/mem.h>
#include <rouse/module.h>
#include <rouse/schema.h>

/* Who this machine is; from the source. NULL members are unknown. */
struct rouse_instance {
	const char *cloud; /* "ec2", "nocloud", "cmdline", "file" */
	const char *id, *type, *region, *zone, *hostname;
	struct rouse_list tags;     /* struct rouse_pair */
	struct rouse_list ssh_keys; /* const char *: lines of authorized_keys, public */
	/* What the firmware says about this machine and no other, without a network: by it a boot that
	 * cannot ask knows itself again. */
	const char *firmware;
};

struct rouse_layer {
	char *name; /* file name or URL (redacted), for messages */
	char *text;
	size_t len;
	json_t *json;
	char sha256[65]; /* of text */
	/* Of what was fetched, for asking again: the SHA-256 of the whole URL, and the server's ETag. */
	char *source, *etag;
	bool is_override; /* this machine's own, from override.d */
};

struct rouse_document {
	size_t n_layers;
	struct rouse_layer layers[ROUSE_MAX_LAYERS]; /* lowest first */
	json_t *merged;
	char sha256[65];               /* of the merged document, canonical form */
	void *conf[ROUSE_MAX_MODULES]; /* one struct per module, in the modules' order */
	struct rouse_arena arena;
	struct rouse_problems problems;
};

void rouse_document_done(struct rouse_document *d);
static inline void document_auto(struct rouse_document *d)
{
	rouse_document_done(d);
}
#define auto_document __attribute__((cleanup(document_auto)))

/* Adds a layer above (or, with below, beneath) those there: parses, checks that it is an object.
 * `text` is copied. */
must_check int rouse_document_add(struct rouse_document *d, const char *name, const char *text,
				  size_t len, bool below, struct rouse_err *e);
/* The pinned base that the lowest layer names ("from"); *ret_url is NULL when there is none.
 * Borrowed from the layer. Of a document of one layer, what is wrong with its head is in d->problems. */
must_check int rouse_document_from(struct rouse_document *d, const char **ret_url,
				   const char **ret_sha256, struct rouse_err *e);
/* The lowest `n` layers merged, as they are: nothing is checked. A new reference. */
json_t *rouse_document_merge(const struct rouse_document *d, size_t n);
/* Merges, validates, decodes. With problems, fails with ROUSE_DOCUMENT and the first of them as
 * "file:line:column: path: message"; all are in d->problems. */
must_check int rouse_document_finish(struct rouse_document *d,
				     const struct rouse_instance *instance, struct rouse_err *e);
/* One problem as "file:line:column: path: message"; caller frees. */
char *rouse_document_describe(const struct rouse_document *d, const struct rouse_problem *p);
/* The shape of a whole document, made of the modules' tables; lives as long as the program. */
const struct rouse_shape *rouse_document_shape(void);
