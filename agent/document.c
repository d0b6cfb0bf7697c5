/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/document.h>

#include <string.h>

#include <rouse/json.h>
#include <rouse/text.h>
#include <rouse/trust.h>

#include "freshness.h"

/* The keys that belong to no module. */
struct from_conf {
	const char *url, *sha256;
};
struct head_conf {
	int64_t version;
	struct from_conf *from;
	int64_t generation;
	const char *not_after;
	const char *schema;
};

static const struct rouse_field from_fields[] = {
	ROUSE_REQUIRED(struct from_conf, url, "url", "Where the base document is.",
		       .type = ROUSE_STRING, .format = "an https, http, file, s3, gs or az URL",
		       .valid = rouse_is_url),
	ROUSE_REQUIRED(struct from_conf, sha256, "sha256", "SHA-256 of its bytes.",
		       .type = ROUSE_STRING, .format = "64 lower-case hex digits",
		       .valid = rouse_is_sha256_hex, .pattern = "^[0-9a-f]{64}$"),
};
static const struct rouse_field head_fields[] = {
	ROUSE_REQUIRED(struct head_conf, version, "rouse", "Version of the document's format: 1.",
		       .type = ROUSE_INT, .min = 1, .max = 1),
	ROUSE_FIELD(struct head_conf, from, "from",
		    "A pinned base document that this one is merged onto.",
		    ROUSE_OBJECT_OF(struct from_conf, from_fields)),
	ROUSE_FIELD(
		struct head_conf, generation, "generation",
		"Counts up from version to version: a machine that has seen a higher one refuses "
		"this document.",
		.type = ROUSE_INT, .max = ROUSE_MAX_GENERATION),
	ROUSE_FIELD(struct head_conf, not_after, "notAfter",
		    "Until when (UTC) the document may be used.", .type = ROUSE_STRING,
		    .format = "a time such as \"2027-01-31T12:00:00Z\", or a day",
		    .valid = rouse_is_time),
	ROUSE_FIELD(struct head_conf, schema, "$schema", "For editors; not used.",
		    .type = ROUSE_STRING),
};
/* What must hold of a layer by itself: the pointer is read before the layers below are there. */
static const struct rouse_shape head_shape = {
	ROUSE_OBJECT_OF(struct head_conf, head_fields),
	.open = true,
};

/* All sections as one object: the head, then each module's struct at its own offset. */
static struct {
	struct rouse_shape shape;
	struct rouse_field fields[ARRAY_SIZE(head_fields) + 64];
	size_t offset[ROUSE_MAX_MODULES];
} whole;

static size_t aligned(size_t n)
{
	return (n + _Alignof(max_align_t) - 1) / _Alignof(max_align_t) * _Alignof(max_align_t);
}

const struct rouse_shape *rouse_document_shape(void)
{
	size_t n = 0, size = aligned(sizeof(struct head_conf));

	if (whole.shape.fields)
		return &whole.shape;
	for (size_t i = 0; i < ARRAY_SIZE(head_fields); i++)
		whole.fields[n++] = head_fields[i];
	for (size_t m = 0; m < rouse_n_modules; m++) {
		whole.offset[m] = size;
		for (size_t i = 0; i < rouse_modules[m]->n_fields && n < ARRAY_SIZE(whole.fields);
		     i++) {
			whole.fields[n] = rouse_modules[m]->fields[i];
			whole.fields[n++].offset += size;
		}
		size += aligned(rouse_modules[m]->conf_size);
	}
	whole.shape = (struct rouse_shape){
		.type = ROUSE_OBJECT,
		.fields = whole.fields,
		.n_fields = n,
		.size = size,
	};
	return &whole.shape;
}

void rouse_document_done(struct rouse_document *d)
{
	for (size_t i = 0; i < d->n_layers; i++) {
		free(d->layers[i].name);
		free(d->layers[i].text);
		free(d->layers[i].source);
		free(d->layers[i].etag);
		json_decref(d->layers[i].json);
	}
	json_decref(d->merged);
	rouse_arena_done(&d->arena);
	rouse_problems_done(&d->problems);
	*d = (struct rouse_document){ 0 };
}

int rouse_document_add(struct rouse_document *d, const char *name, const char *text, size_t len,
		       bool below, struct rouse_err *e)
{
	struct rouse_layer *layer;
	auto_json json_t *json = NULL;

	if (d->n_layers == ROUSE_MAX_LAYERS)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "%s: more than %d layers", name,
				  ROUSE_MAX_LAYERS);
	if (len > ROUSE_MAX_DOCUMENT)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "%s: larger than %llu bytes", name,
				  (unsigned long long)ROUSE_MAX_DOCUMENT);
	json = rouse_json_parse(name, text, len, e);
	if (!json)
		return -1;
	if (!json_is_object(json))
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "%s:1:1: expected an object { \"rouse\": 1, … }", name);
	if (below)
		memmove(d->layers + 1, d->layers, d->n_layers * sizeof(*d->layers));
	layer = below ? d->layers : d->layers + d->n_layers;
	d->n_layers++;
	*layer = (struct rouse_layer){
		.name = rouse_strdup(name),
		.text = rouse_calloc(len + 1, 1),
		.len = len,
		.json = take(json, NULL),
	};
	memcpy(layer->text, text, len);
	rouse_sha256_hex(text, len, layer->sha256);
	return 0;
}

char *rouse_document_describe(const struct rouse_document *d, const struct rouse_problem *p)
{
	const char *separator = p->path[0] ? ": " : "";

	/* The value that counts is the one of the highest layer that has it; a missing value is
	 * reported where its object is. */
	for (size_t up = 0; up <= p->n_keys; up++)
		for (size_t i = d->n_layers; i-- > 0;) {
			const struct rouse_layer *l = &d->layers[i];
			unsigned line = 0, column = 0;

			if (rouse_json_locate(l->text, l->len, p->keys, p->n_keys - up,
					      p->at_key && !up, &line, &column))
				return rouse_asprintf("%s:%u:%u: %s%s%s", l->name, line, column,
						      p->path, separator, p->message);
		}
	return rouse_asprintf("%s%s%s", p->path, separator, p->message);
}

static int fail_with_problems(struct rouse_document *d, struct rouse_err *e)
{
	auto_free char *first = rouse_document_describe(d, &d->problems.items[0]);

	if (d->problems.n > 1)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "%s (and %zu more)", first,
				  d->problems.n - 1);
	return rouse_fail(e, ROUSE_DOCUMENT, 0, "%s", first);
}

int rouse_document_from(struct rouse_document *d, const char **ret_url, const char **ret_sha256,
			struct rouse_err *e)
{
	struct rouse_document one = { .n_layers = 1, .layers = { d->layers[0] } };
	auto_arena struct rouse_arena arena = { 0 };
	struct head_conf head = { 0 };
	int r = 0;

	if (rouse_schema_read(&head_shape, d->layers[0].json, NULL, &head, &arena, &one.problems) >
	    0)
		r = fail_with_problems(&one, e);
	if (r < 0 && d->n_layers == 1 &&
	    !d->problems.n) /* whoever shows all of them finds them there */
		d->problems = take(one.problems, (struct rouse_problems){ 0 });
	rouse_problems_done(&one.problems);
	*ret_url = r == 0 && head.from ? head.from->url : NULL;
	*ret_sha256 = r == 0 && head.from ? head.from->sha256 : NULL;
	return r;
}

json_t *rouse_document_merge(const struct rouse_document *d, size_t n)
{
	json_t *merged = json_object();

	for (size_t i = 0; i < n && i < d->n_layers; i++)
		rouse_json_merge(&merged, d->layers[i].json);
	return merged;
}

/* Where the struct of a module is. */
static size_t offset_of(size_t m)
{
	for (size_t i = 0; rouse_modules[m]->reads && i < m; i++)
		if (rouse_modules[i] == rouse_modules[m]->reads)
			return whole.offset[i];
	return whole.offset[m];
}

int rouse_document_finish(struct rouse_document *d, const struct rouse_instance *instance,
			  struct rouse_err *e)
{
	const struct rouse_shape *shape = rouse_document_shape();
	auto_free char *canonical = NULL;
	char *base;

	json_decref(d->merged);
	d->merged = rouse_document_merge(d, d->n_layers);
	rouse_problems_done(&d->problems);
	base = rouse_arena_alloc(&d->arena, shape->size);
	if (rouse_schema_read(shape, d->merged, instance, base, &d->arena, &d->problems) > 0)
		return fail_with_problems(d, e);
	for (size_t m = 0; m < rouse_n_modules; m++) {
		d->conf[m] = base + offset_of(m);
		if (rouse_modules[m]->check)
			rouse_modules[m]->check(d->conf[m], &d->problems);
	}
	if (d->problems.n > 0)
		return fail_with_problems(d, e);
	canonical = json_dumps(d->merged, JSON_COMPACT | JSON_SORT_KEYS);
	if (!canonical)
		return rouse_fail(e, ROUSE_BUG, 0, "cannot print the merged document");
	rouse_sha256_hex(canonical, strlen(canonical), d->sha256);
	return 0;
}
