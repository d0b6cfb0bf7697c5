/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/schema.h>

#include <stdarg.h>
#include <string.h>

#include <rouse/document.h>
#include <rouse/text.h>

#include "interpolate.h"
#include "problems.h"
#include "s3.h"

struct reader {
	struct rouse_arena *arena;
	const struct rouse_instance *instance;
	struct rouse_problems *problems;
	const char *keys[ROUSE_MAX_JSON_DEPTH + 1];
	size_t n_keys;
};

static like_printf(3, 4) void wrong(struct reader *r, bool at_key, const char *fmt, ...)
{
	char message[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	problems_add(r->problems, r->keys, r->n_keys, at_key, rouse_strdup(message));
}

static const struct rouse_field *find_field(const struct rouse_shape *shape, const char *name)
{
	for (size_t i = 0; i < shape->n_fields; i++)
		if (strcmp(shape->fields[i].name, name) == 0)
			return &shape->fields[i];
	return NULL;
}

static enum rouse_type shorthand_type(const struct rouse_shape *shape)
{
	return find_field(shape, shape->shorthand)->shape.type;
}

/* Room for what is wanted, and for what stands there instead. */
#define WANTED 256
#define FOUND 160

static const char *wanted_words(char buf[static WANTED], const char *const *words)
{
	size_t n = (size_t)snprintf(buf, WANTED, "%s", words[1] ? "one of" : "");

	for (size_t i = 0; words[i] && n < WANTED; i++)
		n += (size_t)snprintf(buf + n, WANTED - n, "%s\"%s\"",
				      i          ? ", "
				      : words[1] ? " "
						 : "",
				      words[i]);
	return buf;
}

static const char *wanted_object(char buf[static WANTED], const struct rouse_shape *shape)
{
	const char *either = !shape->shorthand                    ? ""
			     : shorthand_type(shape) == ROUSE_INT ? "a whole number or "
								  : "a string or ";
	size_t n = (size_t)snprintf(buf, WANTED, "%san object", either);
	const char *with = " with ";

	for (size_t i = 0; i < shape->n_fields && n < WANTED; i++)
		if (shape->fields[i].required) {
			n += (size_t)snprintf(buf + n, WANTED - n, "%s\"%s\"", with,
					      shape->fields[i].name);
			with = " and ";
		}
	return buf;
}

static const char *wanted(char buf[static WANTED], const struct rouse_shape *shape)
{
	switch (shape->type) {
	case ROUSE_STRING:
		if (shape->words)
			return wanted_words(buf, shape->words);
		return shape->format ? shape->format : "a string";
	case ROUSE_BOOL:
		return "true or false";
	case ROUSE_INT:
		if (shape->min != shape->max || !shape->min)
			return "a whole number";
		(void)snprintf(buf, WANTED, "the number %lld", (long long)shape->min);
		return buf;
	case ROUSE_SIZE:
		return shape->percent ? "a size such as \"200MB\", \"1GiB\" or \"25%\""
				      : "a size such as \"200MB\" or \"1GiB\"";
	case ROUSE_DURATION:
		return "a duration such as \"90s\" or \"5m\"";
	case ROUSE_MODE:
		return "an octal mode such as \"0644\"";
	case ROUSE_OBJECT:
		return wanted_object(buf, shape);
	case ROUSE_LIST:
		return "a list";
	case ROUSE_MAP:
		return "an object";
	case ROUSE_TYPES_:
		break;
	}
	return "nothing";
}

/* What rouse_print_url() leaves out of a URL, which may be what is wrong with it. */
static const char *left_out_of_url(const struct rouse_shape *shape, const char *url)
{
	const char *rest = strstr(url, "://");

	if (rest && memchr(rest + 3, '@', strcspn(rest + 3, "/?#")))
		return " with a user or password in it";
	return shape->valid == rouse_is_cache_url && strchr(url, '?') ? " with a query" : "";
}

/* A password or a token in a URL belongs into no message. */
static const char *found_url(char buf[static FOUND], const struct rouse_shape *shape, const char *s)
{
	struct s3_target t __attribute__((cleanup(s3_target_auto))) = { 0 };
	struct rouse_err e = { 0 };
	char url[80];

	if (shape->format && strstr(shape->format, "s3") && rouse_strip_prefix(s, "s3://") &&
	    s3_parse(&t, s, &e) < 0)
		(void)snprintf(buf, FOUND, "one of s3 that is wrong: %.*s", FOUND - 32, e.text);
	else
		(void)snprintf(buf, FOUND, "\"%s\"%s", rouse_print_url(url, sizeof(url), s),
			       left_out_of_url(shape, s));
	return buf;
}

/* The text itself only when it is short and no secret. */
static const char *found_text(char buf[static FOUND], const struct rouse_shape *shape,
			      const char *s)
{
	if (shape->secret || strlen(s) > 64)
		return "another string";
	if (rouse_is_like_url(s))
		return found_url(buf, shape, s);
	(void)snprintf(buf, FOUND, "\"%s\"", s);
	return buf;
}

/* What stands there instead. */
static const char *found(char buf[static FOUND], const struct rouse_shape *shape,
			 const json_t *json)
{
	switch (json_typeof(json)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "a list";
	case JSON_STRING:
		return found_text(buf, shape, json_string_value(json));
	case JSON_INTEGER:
		(void)snprintf(buf, FOUND, "%lld", (long long)json_integer_value(json));
		return shape->secret ? "a number" : buf;
	case JSON_REAL:
		return "a number with a fraction";
	case JSON_TRUE:
		return "true";
	case JSON_FALSE:
		return "false";
	case JSON_NULL:
		return "null";
	}
	return "nothing";
}

static bool expected(struct reader *r, const struct rouse_shape *shape, const json_t *json)
{
	char buf[FOUND], want[WANTED];

	wrong(r, false, "expected %s, found %s", wanted(want, shape), found(buf, shape, json));
	return false;
}

static const char *word_at(const void *ctx, size_t i)
{
	return ((const char *const *)ctx)[i];
}

static bool check_words(struct reader *r, const struct rouse_shape *shape, const char *s)
{
	auto_buf struct rouse_buf all = { 0 };
	const char *near;
	size_t n = 0;

	for (; shape->words[n]; n++) {
		if (strcmp(s, shape->words[n]) == 0)
			return true;
		rouse_buf_printf(&all, "%s\"%s\"", n ? ", " : "", shape->words[n]);
	}
	near = rouse_nearest(s, n, word_at, shape->words);
	if (near)
		wrong(r, false, "unknown value \"%.64s\", did you mean \"%s\"? (one of %s)", s,
		      near, all.data);
	else
		wrong(r, false, "unknown value \"%.64s\" (one of %s)", s, all.data);
	return false;
}

static bool read_string(struct reader *r, const struct rouse_shape *shape, const json_t *json,
			const char **ret)
{
	const char *s = json_string_value(json);
	char buf[FOUND], want[WANTED];
	size_t n;

	if (!s)
		return expected(r, shape, json);
	if (shape->interpolate) {
		struct rouse_err e = { 0 };

		if (interpolate(s, r->instance, r->arena, &s, &e) < 0) {
			wrong(r, false, "%s", e.text);
			return false;
		}
	}
	n = strlen(s);
	if (shape->max > 0 && (n < (size_t)shape->min || n > (size_t)shape->max)) {
		wrong(r, false, "expected %lld to %lld bytes, found %zu", (long long)shape->min,
		      (long long)shape->max, n);
		return false;
	}
	if (shape->words && !check_words(r, shape, s))
		return false;
	if (shape->valid && !shape->valid(s)) {
		wrong(r, false, "expected %s, found %s", wanted(want, shape),
		      found_text(buf, shape, s));
		return false;
	}
	*ret = s;
	return true;
}

static bool read_int(struct reader *r, const struct rouse_shape *shape, const json_t *json,
		     int64_t *ret)
{
	int64_t v = json_integer_value(json);

	if (!json_is_integer(json))
		return expected(r, shape, json);
	if (shape->min == shape->max && shape->min && v != shape->min) {
		wrong(r, false, "expected %lld, found %lld", (long long)shape->min, (long long)v);
		return false;
	}
	if ((shape->min || shape->max) && (v < shape->min || v > shape->max)) {
		wrong(r, false, "expected a number from %lld to %lld, found %lld",
		      (long long)shape->min, (long long)shape->max, (long long)v);
		return false;
	}
	*ret = v;
	return true;
}

static bool read_size(struct reader *r, const struct rouse_shape *shape, const json_t *json,
		      struct rouse_size *ret)
{
	const char *s = json_string_value(json);
	struct rouse_size v = { 0 };

	if (!s || !((shape->percent && rouse_parse_percent(s, &v.percent)) ||
		    (rouse_parse_size(s, &v.bytes) && v.bytes > 0)))
		return expected(r, shape, json);
	*ret = v;
	return true;
}

static bool read_duration(struct reader *r, const struct rouse_shape *shape, const json_t *json,
			  uint64_t *ret)
{
	const char *s = json_string_value(json);
	char low[24], high[24];
	uint64_t v = 0;

	if (!s || !rouse_parse_duration(s, &v))
		return expected(r, shape, json);
	if (shape->max > 0 && (v < (uint64_t)shape->min || v > (uint64_t)shape->max)) {
		wrong(r, false, "expected a duration from %s to %s, found \"%s\"",
		      rouse_print_duration(low, (uint64_t)shape->min),
		      rouse_print_duration(high, (uint64_t)shape->max), s);
		return false;
	}
	*ret = v;
	return true;
}

static bool read_mode(struct reader *r, const struct rouse_shape *shape, const json_t *json,
		      uint32_t *ret)
{
	const char *s = json_string_value(json);
	unsigned v = 0;

	if (!s || !rouse_parse_mode(s, &v))
		return expected(r, shape, json);
	*ret = v;
	return true;
}

static void read_value(struct reader *r, const struct rouse_shape *shape, const json_t *json,
		       void *ret);

static const char *field_name_at(const void *ctx, size_t i)
{
	return ((const struct rouse_field *)ctx)[i].name;
}

static void unknown_key(struct reader *r, const struct rouse_shape *shape, const char *key)
{
	const char *near = rouse_nearest(key, shape->n_fields, field_name_at, shape->fields);
	auto_buf struct rouse_buf all = { 0 };

	for (size_t i = 0; i < shape->n_fields; i++)
		rouse_buf_printf(&all, "%s%s", i ? ", " : "", shape->fields[i].name);
	if (near)
		wrong(r, true, "unknown key, did you mean \"%s\"?", near);
	else
		wrong(r, true, "unknown key (known here: %s)", all.data ? all.data : "none");
}

/* Reads into the struct itself, size bytes, zeroed. */
static void read_fields(struct reader *r, const struct rouse_shape *shape, const json_t *json,
			void *ret)
{
	char want[WANTED];
	const char *key;
	json_t *value;

	if (shape->shorthand &&
	    (shorthand_type(shape) == ROUSE_INT ? json_is_integer(json) : json_is_string(json))) {
		const struct rouse_field *f = find_field(shape, shape->shorthand);

		read_value(r, &f->shape, json, (char *)ret + f->offset);
		return;
	}
	if (!json_is_object(json)) {
		(void)expected(r, shape, json);
		return;
	}
	json_object_foreach ((json_t *)json, key, value) {
		const struct rouse_field *f = find_field(shape, key);

		r->keys[r->n_keys++] = key;
		if (f)
			read_value(r, &f->shape, value, (char *)ret + f->offset);
		else if (!shape->open)
			unknown_key(r, shape, key);
		r->n_keys--;
	}
	for (size_t i = 0; i < shape->n_fields; i++)
		if (shape->fields[i].required && !json_object_get(json, shape->fields[i].name))
			wrong(r, false, "\"%s\" is missing (%s)", shape->fields[i].name,
			      wanted(want, &shape->fields[i].shape));
}

static size_t stride_of(const struct rouse_shape *item, bool map)
{
	switch (item->type) {
	case ROUSE_STRING:
		return map ? sizeof(struct rouse_pair) : sizeof(const char *);
	case ROUSE_INT:
		return sizeof(int64_t);
	case ROUSE_OBJECT:
		return item->size;
	case ROUSE_LIST:
	case ROUSE_MAP:
		return sizeof(struct rouse_named_list);
	case ROUSE_BOOL:
	case ROUSE_SIZE:
	case ROUSE_DURATION:
	case ROUSE_MODE:
	case ROUSE_TYPES_:
		break;
	}
	return 0; /* such lists have no storage: a table must not declare one */
}

static void read_item(struct reader *r, const struct rouse_shape *item, const json_t *json,
		      const char *key, char *slot)
{
	if (key)
		*(const char **)(void *)slot = key;
	if (item->type == ROUSE_OBJECT)
		read_fields(r, item, json, slot);
	else
		read_value(r, item, json, key ? slot + sizeof(const char *) : slot);
}

static bool check_count(struct reader *r, const struct rouse_shape *shape, size_t n)
{
	if (shape->max > 0 && (n < (size_t)shape->min || n > (size_t)shape->max)) {
		wrong(r, false, "expected %lld to %lld entries, found %zu", (long long)shape->min,
		      (long long)shape->max, n);
		return false;
	}
	return true;
}

/* Does this item stand for the keys that the cloud has passed on? */
static bool stands_for_keys(const struct rouse_shape *item, const json_t *json)
{
	const char *s = item->instance_keys ? json_string_value(json) : NULL;

	return s && strcmp(s, "{instance.sshKeys}") == 0;
}

/* Adds those that are of the right form; what else a cloud passes on is no fault of the document. */
static size_t add_keys(struct reader *r, const struct rouse_shape *item, const char **items)
{
	const struct rouse_list *keys = r->instance ? &r->instance->ssh_keys : NULL;
	size_t n = 0;

	for (size_t i = 0; keys && i < keys->n; i++) {
		const char *key = ((const char *const *)keys->items)[i];

		if (!item->valid || item->valid(key))
			items[n++] = rouse_arena_strdup(r->arena, key);
	}
	return n;
}

static void read_list(struct reader *r, const struct rouse_shape *shape, const json_t *json,
		      struct rouse_list *ret)
{
	size_t stride = stride_of(shape->item, false), n = json_array_size(json), room = 0;
	struct rouse_list list = { 0 };

	if (!json_is_array(json)) {
		if (!shape->shorthand) {
			(void)expected(r, shape, json);
			return;
		}
		list = (struct rouse_list){ .n = 1, .items = rouse_arena_alloc(r->arena, stride) };
		read_item(r, shape->item, json, NULL, list.items);
		*ret = list;
		return;
	}
	if (!check_count(r, shape, n))
		return;
	for (size_t i = 0; i < n && r->instance; i++)
		if (stands_for_keys(shape->item, json_array_get(json, i)))
			room += r->instance->ssh_keys.n;
	list = (struct rouse_list){ .items = rouse_arena_alloc(r->arena, (n + room) * stride) };
	for (size_t i = 0; i < n; i++) {
		const json_t *item = json_array_get(json, i);
		char *at = (char *)list.items + list.n * stride;

		if (stands_for_keys(shape->item, item)) {
			list.n += add_keys(r, shape->item, (const char **)(void *)at);
			continue;
		}
		r->keys[r->n_keys++] = rouse_arena_printf(r->arena, "#%zu", i);
		read_item(r, shape->item, item, NULL, at);
		list.n++;
		r->n_keys--;
	}
	*ret = list;
}

static void read_map(struct reader *r, const struct rouse_shape *shape, const json_t *json,
		     struct rouse_list *ret)
{
	size_t stride = stride_of(shape->item, true), n = json_object_size(json), i = 0;
	struct rouse_list list;
	const char *key;
	json_t *value;

	if (!json_is_object(json)) {
		(void)expected(r, shape, json);
		return;
	}
	if (!check_count(r, shape, n))
		return;
	list = (struct rouse_list){ .n = n, .items = rouse_arena_alloc(r->arena, n * stride) };
	json_object_foreach ((json_t *)json, key, value) {
		r->keys[r->n_keys++] = key;
		if (shape->valid && !shape->valid(key))
			wrong(r, true, "expected %s as key",
			      shape->format ? shape->format : "a name");
		read_item(r, shape->item, value, key, (char *)list.items + i++ * stride);
		r->n_keys--;
	}
	*ret = list;
}

static void read_value(struct reader *r, const struct rouse_shape *shape, const json_t *json,
		       void *ret)
{
	void *object;

	if (r->n_keys >= ROUSE_MAX_JSON_DEPTH)
		return; /* the parser has refused such a text */
	switch (shape->type) {
	case ROUSE_STRING:
		(void)read_string(r, shape, json, ret);
		return;
	case ROUSE_BOOL:
		if (json_is_boolean(json) && shape->choice)
			*(enum rouse_choice *)ret = json_is_true(json) ? ROUSE_YES : ROUSE_NO;
		else if (json_is_boolean(json))
			*(bool *)ret = json_is_true(json);
		else
			(void)expected(r, shape, json);
		return;
	case ROUSE_INT:
		(void)read_int(r, shape, json, ret);
		return;
	case ROUSE_SIZE:
		(void)read_size(r, shape, json, ret);
		return;
	case ROUSE_DURATION:
		(void)read_duration(r, shape, json, ret);
		return;
	case ROUSE_MODE:
		(void)read_mode(r, shape, json, ret);
		return;
	case ROUSE_OBJECT:
		object = rouse_arena_alloc(r->arena, shape->size);
		read_fields(r, shape, json, object);
		*(void **)ret = object;
		return;
	case ROUSE_LIST:
		read_list(r, shape, json, ret);
		return;
	case ROUSE_MAP:
		read_map(r, shape, json, ret);
		return;
	case ROUSE_TYPES_:
		break;
	}
}

size_t rouse_schema_read(const struct rouse_shape *shape, const json_t *json,
			 const struct rouse_instance *instance, void *ret,
			 struct rouse_arena *arena, struct rouse_problems *problems)
{
	struct reader r = { .arena = arena, .instance = instance, .problems = problems };
	size_t before = problems->n;

	if (!ret)
		ret = rouse_arena_alloc(arena, shape->size);
	read_fields(&r, shape, json, ret);
	return problems->n - before;
}
