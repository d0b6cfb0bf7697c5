/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For each layer a shadow is made: the same JSON, with the place of each value instead of the value.
 * Merged by the same rules as the layers, the shadows say where each merged value stands.
 */
#include "origin.h"

#include <string.h>

#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/text.h>

/* A place as one number: no text has more lines, and no line more bytes, than a document. */
#define PLACE_BITS 21
#define PLACE_MASK ((1u << PLACE_BITS) - 1)
_Static_assert(ROUSE_MAX_DOCUMENT < PLACE_MASK, "lines and columns fit");

/* Over a text that jansson has accepted. */
struct cursor {
	const char *p, *end, *line_start;
	uint64_t line, layer;
};

static void skip_blanks(struct cursor *c)
{
	for (; c->p < c->end && strchr(" \t\r\n,:", *c->p); c->p++)
		if (*c->p == '\n') {
			c->line++;
			c->line_start = c->p + 1;
		}
}

static void skip_scalar(struct cursor *c)
{
	if (*c->p != '"') {
		while (c->p < c->end && !strchr(" \t\r\n,]}", *c->p))
			c->p++;
		return;
	}
	for (c->p++; c->p < c->end && *c->p != '"'; c->p++)
		if (*c->p == '\\')
			c->p++;
	c->p++;
}

static json_t *place(const struct cursor *c)
{
	uint64_t column = (uint64_t)(c->p - c->line_start) + 1;

	return json_integer(
		(json_int_t)((c->layer << PLACE_BITS | c->line) << PLACE_BITS | column));
}

/* `json` is what jansson made of the text at the cursor: members come in the order of the text. In an
 * object, null deletes; in a list, which is replaced as a whole, it is a value. */
static json_t *shadow_of(struct cursor *c, const json_t *json, bool in_list)
{
	json_t *shadow, *value;
	const char *key;
	size_t i;

	skip_blanks(c);
	if (!json_is_object(json) && !json_is_array(json)) {
		shadow = json_is_null(json) && !in_list ? json_null() : place(c);
		skip_scalar(c);
		return shadow;
	}
	c->p++;
	if (json_is_object(json)) {
		shadow = json_object();
		json_object_foreach ((json_t *)json, key, value) {
			skip_blanks(c);
			skip_scalar(c);
			rouse_json_set(shadow, key, shadow_of(c, value, in_list));
		}
	} else {
		shadow = json_array();
		json_array_foreach (json, i, value)
			rouse_json_append(shadow, shadow_of(c, value, true));
	}
	skip_blanks(c);
	c->p++;
	return shadow;
}

struct walk {
	const struct rouse_document *d;
	void (*each)(void *arg, const struct rouse_origin *o);
	void *arg;
	const char *keys[ROUSE_MAX_JSON_DEPTH + 1];
	size_t n_keys;
};

/* Empty objects and lists have no place of their own in a shadow; they are rare enough to be looked for. */
static void locate(const struct walk *w, struct rouse_origin *o)
{
	for (size_t i = w->d->n_layers; i-- > 0 && !o->layer;) {
		const struct rouse_layer *l = &w->d->layers[i];

		if (rouse_json_locate(l->text, l->len, w->keys, w->n_keys, false, &o->line,
				      &o->column))
			o->layer = l->name;
	}
}

static void tell(const struct walk *w, const struct rouse_shape *shape, const json_t *value,
		 const json_t *shadow)
{
	auto_free char *path = rouse_path_of_keys(w->keys, w->n_keys);
	uint64_t at = (uint64_t)json_integer_value(shadow), layer = at >> (2 * PLACE_BITS);
	struct rouse_origin o = { .path = path, .value = value, .secret = shape && shape->secret };

	rouse_one_line(path);
	if (json_is_integer(shadow) && layer < w->d->n_layers) {
		o.layer = w->d->layers[layer].name;
		o.line = (unsigned)(at >> PLACE_BITS) & PLACE_MASK;
		o.column = (unsigned)at & PLACE_MASK;
	} else {
		locate(w, &o);
	}
	w->each(w->arg, &o);
}

/* The shape of a member; a scalar may stand for an object or a list by its short form. */
static const struct rouse_shape *shape_in(const struct rouse_shape *shape, const char *key)
{
	if (!shape)
		return NULL;
	if (shape->type == ROUSE_LIST || shape->type == ROUSE_MAP)
		return shape->item;
	for (size_t i = 0; shape->type == ROUSE_OBJECT && key && i < shape->n_fields; i++)
		if (strcmp(shape->fields[i].name, key) == 0)
			return &shape->fields[i].shape;
	return NULL;
}

static const struct rouse_shape *shape_of_scalar(const struct rouse_shape *shape)
{
	while (shape && (shape->type == ROUSE_OBJECT || shape->type == ROUSE_LIST))
		shape = shape_in(shape, shape->shorthand);
	return shape;
}

static void walk(struct walk *w, const struct rouse_shape *shape, const json_t *value,
		 const json_t *shadow)
{
	const char *key;
	json_t *member;
	size_t i;

	if (w->n_keys >= ROUSE_MAX_JSON_DEPTH)
		return; /* the parser has refused such a text */
	if (json_object_size(value)) {
		json_object_foreach ((json_t *)value, key, member) {
			w->keys[w->n_keys++] = key;
			walk(w, shape_in(shape, key), member, json_object_get(shadow, key));
			w->n_keys--;
		}
	} else if (json_array_size(value)) {
		json_array_foreach (value, i, member) {
			char index[32];

			(void)snprintf(index, sizeof(index), "#%zu", i);
			w->keys[w->n_keys++] = index;
			walk(w, shape_in(shape, NULL), member, json_array_get(shadow, i));
			w->n_keys--;
		}
	} else {
		tell(w, shape_of_scalar(shape), value, shadow);
	}
}

void rouse_document_origins(const struct rouse_document *d,
			    void (*each)(void *arg, const struct rouse_origin *o), void *arg)
{
	struct walk w = { .d = d, .each = each, .arg = arg };
	auto_json json_t *merged = json_object();

	for (size_t i = 0; i < d->n_layers; i++) {
		const struct rouse_layer *l = &d->layers[i];
		struct cursor c = { .p = l->text,
				    .end = l->text + l->len,
				    .line_start = l->text,
				    .line = 1,
				    .layer = i };
		auto_json json_t *shadow = shadow_of(&c, l->json, false);

		rouse_json_merge(&merged, shadow);
	}
	walk(&w, rouse_document_shape(), d->merged, merged);
}
