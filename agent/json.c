/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/json.h>

#include <string.h>

#include <rouse/limits.h>
#include <rouse/text.h>

/* jansson recurses without asking us first; count the nesting before it sees the text. The bracket
 * that goes too deep, or NULL. */
static const char *too_deep(const char *text, size_t len)
{
	unsigned depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > ROUSE_MAX_JSON_DEPTH)
				return text + i;
		} else if ((c == '}' || c == ']') && depth) {
			depth--;
		}
	}
	return NULL;
}

static void position(const char *text, const char *at, int *line, int *column)
{
	*line = *column = 1;
	for (; text < at; text++) {
		*column = *text == '\n' ? 1 : *column + 1;
		*line += *text == '\n';
	}
}

/*
 * jansson quotes the text where an error is. A key or a stray character helps; a value, which may be
 * a secret, must not reach a report.
 */
static void leave_out_value(char *text)
{
	char *near = strstr(text, " near '");

	if (near && !rouse_strip_prefix(text, "duplicate object key") &&
	    (near[7] == '"' || strlen(near) > strlen(" near 'false'")))
		*near = '\0';
}

/* What people bring that is no JSON at all, by its first bytes. */
static const struct {
	const char *begins, *says;
} strangers[] = {
	{ "\xef\xbb\xbf", "the text begins with a byte order mark; save it as UTF-8 without one" },
	{ "\xff\xfe", "the text is UTF-16; save it as UTF-8" },
	{ "\xfe\xff", "the text is UTF-16; save it as UTF-8" },
	{ "#cloud-config", "this is cloud-init's YAML; a document of rouse begins with {" },
	{ "#!", "this is a script, and rouse runs none; a document of rouse begins with {" },
};

/* What jansson says in its own vocabulary, by the beginning of it, and what to do about it. */
static const struct {
	const char *begins, *says;
} causes[] = {
	{ "string or '}' expected near '}'", "a comma before '}' is one too many" },
	{ "unexpected token near ']'",
	  "a value is missing before ']', or a comma is one too many" },
	{ "string or '}' expected near '/'", "a comment, which JSON does not have" },
	{ "string or '}' expected near '#'", "a comment, which JSON does not have" },
	{ "string or '}' expected", "a key in \"double quotes\" or '}' expected" },
	{ "'}' expected near end of file", "the text ends before its last '}'" },
	{ "']' expected near end of file", "the text ends before its last ']'" },
	{ "premature end of input", "the text ends within a string" },
	{ "'}' expected", "',' or '}' expected before this" },
	{ "']' expected", "',' or ']' expected before this" },
	{ "end of file expected", "the document has ended before this" },
	{ "unexpected newline", "a line ends within a string; a line break in it is written \\n" },
	{ "control character 0x9", "a tab in a string is written \\t" },
};

/* Says at `text` what is wrong; error->text may be shortened for it. */
static const char *reason(json_error_t *error, const char *text, size_t len)
{
	leave_out_value(error->text);
	if (!len)
		return "the text is empty";
	if (strstr(error->text, "JSON_ALLOW_NUL"))
		return "\\u0000 is not allowed in a string";
	for (size_t i = 0; i < ARRAY_SIZE(strangers); i++)
		if (len >= strlen(strangers[i].begins) &&
		    memcmp(text, strangers[i].begins, strlen(strangers[i].begins)) == 0)
			return strangers[i].says;
	for (size_t i = 0; i < ARRAY_SIZE(causes); i++)
		if (rouse_strip_prefix(error->text, causes[i].begins))
			return causes[i].says;
	return error->text;
}

json_t *rouse_json_parse(const char *name, const char *text, size_t len, struct rouse_err *e)
{
	json_error_t error = { 0 };
	const char *deep = too_deep(text, len);
	json_t *json;
	int line, column;

	if (deep) {
		position(text, deep, &line, &column);
		(void)rouse_fail(e, ROUSE_DOCUMENT, 0, "%s:%d:%d: nested more than %d levels deep",
				 name, line, column, ROUSE_MAX_JSON_DEPTH);
		return NULL;
	}
	json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	if (!json) {
		line = error.line > 0 ? error.line : 1;
		column = error.column > 0 ? error.column : 1;
		(void)rouse_fail(e, ROUSE_DOCUMENT, 0, "%s:%d:%d: not JSON: %s", name, line, column,
				 reason(&error, text, len));
	}
	return json;
}

/* A cursor over a text that jansson has accepted: so only well-formed JSON has to be understood. */
struct cursor {
	const char *p, *end;
};

static void skip_blanks(struct cursor *c)
{
	while (c->p < c->end && strchr(" \t\r\n", *c->p))
		c->p++;
}

static void skip_string(struct cursor *c)
{
	for (c->p++; c->p < c->end && *c->p != '"'; c->p++)
		if (*c->p == '\\')
			c->p++;
	c->p++;
}

static void skip_value(struct cursor *c)
{
	unsigned depth = 0;

	do {
		skip_blanks(c);
		if (c->p >= c->end)
			return;
		if (*c->p == '"') {
			skip_string(c);
		} else if (*c->p == '{' || *c->p == '[') {
			depth++;
			c->p++;
		} else if (*c->p == '}' || *c->p == ']') {
			depth--;
			c->p++;
		} else if (*c->p == ',' || *c->p == ':') {
			c->p++;
		} else {
			while (c->p < c->end && !strchr(" \t\r\n,:]}", *c->p))
				c->p++;
		}
		skip_blanks(c);
	} while (depth && c->p < c->end);
}

/* Does the quoted string at the cursor spell `key`? Escapes are undone by jansson itself. */
static bool string_is(const struct cursor *c, const char *key)
{
	struct cursor end = *c;
	auto_json json_t *s = NULL;

	skip_string(&end);
	if (end.p > end.end)
		return false;
	s = json_loadb(c->p, (size_t)(end.p - c->p), JSON_DECODE_ANY, NULL);
	return s && rouse_streq(json_string_value(s), key);
}

/* Moves into the object at the cursor to the value of `key` (or to the key itself). */
static bool enter_object(struct cursor *c, const char *key, bool stay_at_key)
{
	c->p++;
	for (;;) {
		struct cursor at;

		skip_blanks(c);
		if (c->p >= c->end || *c->p != '"')
			return false;
		at = *c;
		skip_string(c);
		skip_blanks(c);
		c->p++; /* ':' */
		skip_blanks(c);
		if (string_is(&at, key)) {
			if (stay_at_key)
				*c = at;
			return true;
		}
		skip_value(c);
		if (c->p < c->end && *c->p == ',')
			c->p++;
	}
}

static bool enter_array(struct cursor *c, uint64_t index)
{
	c->p++;
	for (uint64_t i = 0;; i++) {
		skip_blanks(c);
		if (c->p >= c->end || *c->p == ']')
			return false;
		if (i == index)
			return true;
		skip_value(c);
		if (c->p < c->end && *c->p == ',')
			c->p++;
	}
}

bool rouse_json_locate(const char *text, size_t len, const char *const *keys, size_t n_keys,
		       bool at_key, unsigned *ret_line, unsigned *ret_column)
{
	struct cursor c = { .p = text, .end = text + len };
	unsigned line = 1, column = 1;

	skip_blanks(&c);
	for (size_t i = 0; i < n_keys; i++) {
		uint64_t index = 0;

		if (c.p >= c.end)
			return false;
		if (*c.p == '{') {
			if (!enter_object(&c, keys[i], at_key && i + 1 == n_keys))
				return false;
		} else if (*c.p == '[' && keys[i][0] == '#' &&
			   rouse_parse_u64(keys[i] + 1, UINT32_MAX, &index)) {
			if (!enter_array(&c, index))
				return false;
		} else {
			return false;
		}
	}
	for (const char *p = text; p < c.p; p++) {
		column++;
		if (*p == '\n') {
			line++;
			column = 1;
		}
	}
	*ret_line = line;
	*ret_column = column;
	return true;
}

static void out_of_memory_unless(bool ok)
{
	if (!ok)
		_exit(ROUSE_SYSTEM); /* jansson could not allocate; see rouse/mem.h */
}

void rouse_json_merge(json_t **target, const json_t *patch)
{
	const char *key;
	json_t *value;

	if (!json_is_object(patch)) {
		json_t *copy = json_deep_copy(patch);

		out_of_memory_unless(copy);
		json_decref(*target);
		*target = copy;
		return;
	}
	if (!json_is_object(*target)) {
		json_decref(*target);
		*target = json_object();
		out_of_memory_unless(*target);
	}
	json_object_foreach ((json_t *)patch, key, value) {
		json_t *member;

		if (json_is_null(value)) {
			(void)json_object_del(*target, key); /* absent already is fine */
			continue;
		}
		member = json_incref(json_object_get(*target, key));
		rouse_json_merge(&member, value);
		rouse_json_set(*target, key, member);
	}
}

/* What must be in a patch to make the object `a` the object `b`. */
static json_t *diff_objects(const json_t *a, const json_t *b)
{
	json_t *patch = json_object(), *value;
	const char *key;

	out_of_memory_unless(patch);
	json_object_foreach ((json_t *)a, key, value)
		if (!json_object_get(b, key))
			rouse_json_set(patch, key, json_null());
	json_object_foreach ((json_t *)b, key, value) {
		const json_t *old = json_object_get(a, key);

		if (!old || !json_equal(old, value))
			rouse_json_set(patch, key, rouse_json_diff(old, value));
	}
	return patch;
}

json_t *rouse_json_diff(const json_t *a, const json_t *b)
{
	json_t *copy;

	if (json_is_object(a) && json_is_object(b))
		return diff_objects(a, b);
	copy = json_deep_copy(b); /* anything but an object is replaced as a whole */
	out_of_memory_unless(copy);
	return copy;
}

char *rouse_json_print(const json_t *json)
{
	auto_free char *text = json_dumps(json, JSON_INDENT(2) | JSON_ENCODE_ANY);

	out_of_memory_unless(text);
	return rouse_asprintf("%s\n", text);
}

char *rouse_json_print_compact(const json_t *json)
{
	auto_free char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);

	out_of_memory_unless(text);
	return rouse_strdup(text);
}

void rouse_json_set(json_t *object, const char *key, json_t *value)
{
	out_of_memory_unless(value && json_object_set_new(object, key, value) == 0);
}

/* What a device or a program says need not be UTF-8, which json_string() refuses. */
static json_t *any_string(const char *value)
{
	json_t *s = json_string(value);
	auto_free char *readable = s ? NULL : rouse_strdup(value);

	if (!readable)
		return s;
	rouse_one_line(readable);
	return json_string(readable);
}

void rouse_json_set_string(json_t *object, const char *key, const char *value)
{
	if (value)
		rouse_json_set(object, key, any_string(value));
}

void rouse_json_set_int(json_t *object, const char *key, uint64_t value)
{
	rouse_json_set(object, key, json_integer((json_int_t)value));
}

void rouse_json_set_bool(json_t *object, const char *key, bool value)
{
	rouse_json_set(object, key, json_boolean(value));
}

void rouse_json_append(json_t *array, json_t *value)
{
	out_of_memory_unless(value && json_array_append_new(array, value) == 0);
}

void rouse_json_append_string(json_t *array, const char *value)
{
	rouse_json_append(array, any_string(value));
}
