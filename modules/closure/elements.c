/* SPDX-License-Identifier: Apache-2.0 */
#include "elements.h"

#include <string.h>

#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/text.h>

#include "conf.h"

/* --- reading and writing ---------------------------------------------------------------------- */

static int damaged(const char *where, const char *why, struct rouse_err *e)
{
	return rouse_fail(e, ROUSE_SYSTEM, 0, "'%s' is no manifest of a profile: %s", where, why);
}

static int parse_paths(struct rouse_element *el, const char *where, const json_t *paths,
		       struct rouse_arena *arena, struct rouse_err *e)
{
	size_t n = json_array_size(paths);
	const char **items;

	if (!json_is_array(paths) || n > ROUSE_MAX_ELEMENTS)
		return damaged(where, "\"storePaths\" is no list of store paths", e);
	items = rouse_arena_alloc(arena, (n + 1) * sizeof(*items));
	for (size_t i = 0; i < n; i++) {
		items[i] = json_string_value(json_array_get(paths, i));
		if (!items[i] || !rouse_is_store_path(items[i]))
			return damaged(where, "\"storePaths\" names what is no store path", e);
	}
	el->paths = (struct rouse_list){ n, items };
	return 0;
}

static int parse_one(struct rouse_element *el, const char *where, const char *name,
		     const json_t *json, struct rouse_arena *arena, struct rouse_err *e)
{
	const json_t *active = json_object_get(json, "active"),
		     *priority = json_object_get(json, "priority");

	if (!json_is_object(json))
		return damaged(where, "an element is no object", e);
	if (priority && !json_is_integer(priority))
		return damaged(where, "\"priority\" is no number", e);
	*el = (struct rouse_element){
		.name = name,
		.priority = json_integer_value(priority),
		.inactive = json_is_false(active),
		.json = json,
	};
	if (priority && !el->priority)
		el->priority = -1; /* 0 means "not said" here, and is the highest but for this */
	return parse_paths(el, where, json_object_get(json, "storePaths"), arena, e);
}

static int parse_all(struct rouse_elements *m, const char *where, const json_t *json,
		     struct rouse_arena *arena, struct rouse_err *e)
{
	json_t *elements = json_object_get(json, "elements"), *one;
	const char *name;
	size_t i;

	m->version = json_integer_value(json_object_get(json, "version"));
	if (m->version < 1 || m->version > 3)
		return damaged(where, "its version is none of 1, 2 and 3", e);
	if (m->version == 3 ? !json_is_object(elements) : !json_is_array(elements))
		return damaged(where, "\"elements\" does not fit its version", e);
	if (json_array_size(elements) + json_object_size(elements) > ROUSE_MAX_ELEMENTS)
		return damaged(where, "it lists too many elements", e);
	m->items = rouse_arena_alloc(arena,
				     (json_array_size(elements) + json_object_size(elements) + 1) *
					     sizeof(*m->items));
	json_array_foreach (elements, i, one)
		if (parse_one(&m->items[m->n++], where, NULL, one, arena, e) < 0)
			return -1;
	if (json_is_object(elements))
		json_object_foreach (elements, name, one)
			if (parse_one(&m->items[m->n++], where, name, one, arena, e) < 0)
				return -1;
	return 0;
}

int rouse_elements_parse(struct rouse_elements *ret, const char *where, const char *text,
			 size_t len, struct rouse_arena *arena, json_t **ret_json,
			 struct rouse_err *e)
{
	struct rouse_elements m = { 0 };
	auto_json json_t *json = rouse_json_parse(where, text, len, e);

	if (!json) {
		e->kind = ROUSE_SYSTEM; /* it is no document */
		return -1;
	}
	if (parse_all(&m, where, json, arena, e) < 0)
		return -1;
	*ret = m;
	*ret_json = take(json, NULL);
	return 0;
}

static json_t *print_one(const struct rouse_element *el)
{
	json_t *one, *paths;

	if (el->json)
		return json_deep_copy(el->json);
	one = json_object();
	paths = json_array();
	rouse_json_set_bool(one, "active", !el->inactive);
	for (size_t i = 0; i < el->paths.n; i++)
		rouse_json_append_string(paths, ((const char *const *)el->paths.items)[i]);
	rouse_json_set(one, "storePaths", paths);
	if (el->priority && el->priority != ROUSE_PRIORITY)
		rouse_json_set_int(one, "priority", (uint64_t)el->priority);
	return one;
}

char *rouse_elements_print(const struct rouse_elements *m)
{
	auto_json json_t *json = json_object();
	int64_t version = m->version ? m->version : 2;
	json_t *elements = version == 3 ? json_object() : json_array();

	rouse_json_set_int(json, "version", (uint64_t)version);
	rouse_json_set(json, "elements", elements);
	for (size_t i = 0; i < m->n; i++)
		if (version == 3)
			rouse_json_set(elements, m->items[i].name, print_one(&m->items[i]));
		else
			rouse_json_append(elements, print_one(&m->items[i]));
	return rouse_json_print_compact(json);
}

/* --- changing --------------------------------------------------------------------------------- */

struct merge {
	struct rouse_arena *arena;
	struct rouse_elements *out;
	struct rouse_element_step *steps;
	size_t n_steps;
	bool *placed; /* of wanted */
};

static void add_step(struct merge *m, enum rouse_element_change change, const char *name,
		     const char *path)
{
	m->steps[m->n_steps++] = (struct rouse_element_step){ change, name, path };
}

/* The one path of an element that may be ours; NULL: it has several. */
static const char *path_of(const struct rouse_element *el)
{
	return el->paths.n == 1 ? *(const char *const *)el->paths.items : NULL;
}

static const char *made_name(const struct rouse_list *made, const char *path)
{
	const struct rouse_pair *p = made->items;

	for (size_t i = 0; path && i < made->n; i++)
		if (rouse_streq(p[i].key, path))
			return p[i].value;
	return NULL;
}

static int64_t priority_of(int64_t priority)
{
	return priority ? priority : ROUSE_PRIORITY;
}

static bool is_taken(const struct rouse_elements *m, const char *name)
{
	for (size_t i = 0; i < m->n; i++)
		if (rouse_streq(m->items[i].name, name))
			return true;
	return false;
}

static struct rouse_element make_element(const struct closure_pin *w, struct rouse_arena *arena)
{
	const char **path = rouse_arena_alloc(arena, sizeof(*path));

	*path = w->path;
	return (struct rouse_element){ .paths = { 1, path }, .priority = w->priority };
}

/* A place for a wanted program: where the element `was` stood, or (NULL) behind the others. */
static void place(struct merge *m, const struct closure_pin *w, const struct rouse_element *was,
		  const struct rouse_elements *is)
{
	struct rouse_element el = make_element(w, m->arena);

	if (was) {
		el.name = was->name;
	} else if (m->out->version == 3) {
		el.name = w->key;
		for (unsigned i = 1; is_taken(m->out, el.name) || is_taken(is, el.name); i++)
			el.name = rouse_arena_printf(m->arena, "%s-%u", w->key, i);
	}
	m->out->items[m->out->n++] = el;
}

static void merge_made(struct merge *m, const struct rouse_elements *is,
		       const struct rouse_element *el, const char *name,
		       const struct rouse_list *wanted)
{
	const struct closure_pin *w = wanted->items;
	size_t i = 0;

	while (i < wanted->n && (!rouse_streq(w[i].key, name) || m->placed[i]))
		i++;
	if (i == wanted->n) {
		add_step(m, ROUSE_ELEMENT_REMOVE, name, path_of(el));
		return;
	}
	m->placed[i] = true;
	if (rouse_streq(w[i].path, path_of(el)) &&
	    priority_of(w[i].priority) == priority_of(el->priority) && !el->inactive) {
		m->out->items[m->out->n++] = *el;
		return;
	}
	add_step(m, ROUSE_ELEMENT_UPDATE, name, w[i].path);
	place(m, &w[i], el, is);
}

/* What stays with its user: the document needs no second of it. */
static void find_own(struct merge *m, const struct rouse_elements *is,
		     const struct rouse_list *made, const struct rouse_list *wanted)
{
	const struct closure_pin *w = wanted->items;

	for (size_t i = 0; i < is->n; i++) {
		const struct rouse_element *el = &is->items[i];

		for (size_t k = 0; k < wanted->n && !el->inactive; k++)
			if (rouse_streq(w[k].path, path_of(el)) && !made_name(made, w[k].path))
				m->placed[k] = true;
	}
}

struct rouse_elements rouse_elements_merge(const struct rouse_elements *is,
					   const struct rouse_list *made,
					   const struct rouse_list *wanted,
					   struct rouse_arena *arena,
					   struct rouse_element_step **ret_steps, size_t *ret_n)
{
	const struct closure_pin *w = wanted->items;
	struct rouse_elements out = { .version = is->version };
	struct merge m = { .arena = arena, .out = &out };

	out.items = rouse_arena_alloc(arena, (is->n + wanted->n + 1) * sizeof(*out.items));
	m.steps = rouse_arena_alloc(arena, (is->n + wanted->n + 1) * sizeof(*m.steps));
	m.placed = rouse_arena_alloc(arena, (wanted->n + 1) * sizeof(*m.placed));
	find_own(&m, is, made, wanted);
	for (size_t i = 0; i < is->n; i++) {
		const char *name = made_name(made, path_of(&is->items[i]));

		if (name)
			merge_made(&m, is, &is->items[i], name, wanted);
		else
			out.items[out.n++] = is->items[i];
	}
	for (size_t i = 0; i < wanted->n; i++) {
		if (m.placed[i])
			continue;
		add_step(&m, ROUSE_ELEMENT_ADD, w[i].key, w[i].path);
		place(&m, &w[i], NULL, is);
	}
	*ret_steps = m.steps;
	*ret_n = m.n_steps;
	return out;
}
