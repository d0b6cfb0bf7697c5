/* SPDX-License-Identifier: Apache-2.0 */
/* Every value of a text that was accepted is found again, at a place inside the text. */
#include "fuzz.h"

#include <rouse/json.h>
#include <rouse/limits.h>

struct walk {
	const char *text;
	size_t len;
	const char *keys[ROUSE_MAX_JSON_DEPTH + 1];
	size_t n_keys;
	unsigned left; /* looking up is linear: a bound keeps the whole from being quadratic */
};

static void locate(struct walk *w, bool at_key)
{
	unsigned line = 0, column = 0;

	HOLDS(rouse_json_locate(w->text, w->len, w->keys, w->n_keys, at_key, &line, &column));
	HOLDS(line >= 1 && line <= w->len + 1 && column >= 1 && column <= w->len + 1);
}

static void walk(struct walk *w, json_t *json)
{
	const char *key;
	json_t *value;
	size_t i;

	if (!w->left)
		return;
	w->left--;
	locate(w, false);
	json_object_foreach (json, key, value) {
		w->keys[w->n_keys++] = key;
		locate(w, true);
		walk(w, value);
		w->n_keys--;
	}
	json_array_foreach (json, i, value) {
		char name[24];

		(void)snprintf(name, sizeof(name), "#%zu", i);
		w->keys[w->n_keys++] = name;
		walk(w, value);
		w->n_keys--;
	}
}

FUZZ(locate)
{
	struct walk w = { .text = (const char *)data, .len = size, .left = 256 };
	struct rouse_err e = { 0 };
	auto_json json_t *json = rouse_json_parse("d", w.text, size, &e);

	if (json)
		walk(&w, json);
	else
		HOLDS(e.kind == ROUSE_DOCUMENT && fuzz_is_one_line(e.text));
	return 0;
}
