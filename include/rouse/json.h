/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing JSON text: bounded, duplicate keys refused, positions for people. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include <rouse/err.h>
#include <rouse/mem.h>

static inline void json_release(json_t *j)
{
	json_decref(j);
}
AUTO_DEFINE(json_t *, json, json_release, NULL)
#define auto_json auto_of(json)

/* Parses a whole text (RFC 8259, UTF-8, no trailing text, no duplicate keys, at most
 * ROUSE_MAX_JSON_DEPTH levels). NULL with *e (ROUSE_DOCUMENT, "name:line:column: …") otherwise.
 * Returns a new reference. */
must_check json_t *rouse_json_parse(const char *name, const char *text, size_t len,
				    struct rouse_err *e);
/* Finds where a value (or, with at_key, its key) stands in a text that rouse_json_parse accepted.
 * keys as in struct rouse_problem. false when the text has no such value. Lines and columns count
 * from 1; columns count bytes. */
bool rouse_json_locate(const char *text, size_t len, const char *const *keys, size_t n_keys,
		       bool at_key, unsigned *ret_line, unsigned *ret_column);
/* RFC 7396: merges `patch` into `*target` (a new reference replaces it). */
void rouse_json_merge(json_t **target, const json_t *patch);
/* The patch that makes `b` of `a` (which may be NULL): merging it into `a` gives what json_equal() calls
 * equal to `b`. Objects in `b` must have no null members: a merge patch cannot say those. A new reference. */
json_t *rouse_json_diff(const json_t *a, const json_t *b);
/* Indented, one trailing newline; caller frees. */
char *rouse_json_print(const json_t *json);
/* In one line without blanks or newline, keys sorted: the same text for equal values; caller frees. */
char *rouse_json_print_compact(const json_t *json);
/* Short-hands for building: the value's reference is stolen, like json_object_set_new, and running
 * out of memory ends the program. In strings, what is not UTF-8 becomes "?". */
void rouse_json_set(json_t *object, const char *key, json_t *value);
void rouse_json_set_string(json_t *object, const char *key, const char *value); /* NULL: nothing */
void rouse_json_set_int(json_t *object, const char *key, uint64_t value);
void rouse_json_set_bool(json_t *object, const char *key, bool value);
void rouse_json_append(json_t *array, json_t *value);
void rouse_json_append_string(json_t *array, const char *value);
