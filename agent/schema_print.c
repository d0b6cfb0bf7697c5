/* SPDX-License-Identifier: Apache-2.0 */
/* What else a schema table is good for: the JSON Schema, the man page section, the dictionary. */
#include <string.h>

#include <rouse/json.h>
#include <rouse/schema.h>

static json_t *typed(const char *type)
{
	json_t *j = json_object();

	rouse_json_set_string(j, "type", type);
	return j;
}

static json_t *patterned(const char *pattern)
{
	json_t *j = typed("string");

	rouse_json_set_string(j, "pattern", pattern);
	return j;
}

static json_t *schema_of(const struct rouse_shape *shape);

static json_t *schema_of_string(const struct rouse_shape *shape)
{
	json_t *j = typed("string");

	if (shape->words) {
		json_t *words = json_array();

		for (size_t i = 0; shape->words[i]; i++)
			rouse_json_append(words, json_string(shape->words[i]));
		rouse_json_set(j, "enum", words);
	}
	rouse_json_set_string(j, "pattern", shape->interpolate ? NULL : shape->pattern);
	if (shape->max > 0 && !shape->interpolate) {
		rouse_json_set_int(j, "minLength", (uint64_t)shape->min);
		rouse_json_set_int(j, "maxLength", (uint64_t)shape->max);
	}
	return j;
}

static bool is_integer_form(const struct rouse_shape *shape)
{
	for (size_t i = 0; i < shape->n_fields; i++)
		if (strcmp(shape->fields[i].name, shape->shorthand) == 0)
			return shape->fields[i].shape.type == ROUSE_INT;
	return false;
}

static json_t *schema_of_object(const struct rouse_shape *shape)
{
	json_t *j = typed("object"), *properties = json_object(), *required = json_array(), *any,
	       *either;

	for (size_t i = 0; i < shape->n_fields; i++) {
		const struct rouse_field *f = &shape->fields[i];
		json_t *p = schema_of(&f->shape);

		rouse_json_set_string(p, "description", f->doc);
		rouse_json_set(properties, f->name, p);
		if (f->required)
			rouse_json_append(required, json_string(f->name));
	}
	rouse_json_set(j, "properties", properties);
	if (json_array_size(required))
		rouse_json_set(j, "required", required);
	else
		json_decref(required);
	rouse_json_set_bool(j, "additionalProperties", shape->open);
	if (!shape->shorthand)
		return j;
	any = json_array();
	rouse_json_append(any, typed(is_integer_form(shape) ? "integer" : "string"));
	rouse_json_append(any, j);
	either = json_object();
	rouse_json_set(either, "anyOf", any);
	return either;
}

static json_t *schema_of_list(const struct rouse_shape *shape)
{
	json_t *j = typed("array"), *any, *either;

	rouse_json_set(j, "items", schema_of(shape->item));
	if (shape->max > 0) {
		rouse_json_set_int(j, "minItems", (uint64_t)shape->min);
		rouse_json_set_int(j, "maxItems", (uint64_t)shape->max);
	}
	if (!shape->shorthand)
		return j;
	any = json_array();
	rouse_json_append(any, schema_of(shape->item));
	rouse_json_append(any, j);
	either = json_object();
	rouse_json_set(either, "anyOf", any);
	return either;
}

static json_t *schema_of_map(const struct rouse_shape *shape)
{
	json_t *j = typed("object"), *names;

	rouse_json_set(j, "additionalProperties", schema_of(shape->item));
	if (shape->pattern) {
		names = json_object();
		rouse_json_set_string(names, "pattern", shape->pattern);
		rouse_json_set(j, "propertyNames", names);
	}
	if (shape->max > 0) {
		rouse_json_set_int(j, "minProperties", (uint64_t)shape->min);
		rouse_json_set_int(j, "maxProperties", (uint64_t)shape->max);
	}
	return j;
}

static json_t *schema_of(const struct rouse_shape *shape)
{
	json_t *j;

	switch (shape->type) {
	case ROUSE_STRING:
		return schema_of_string(shape);
	case ROUSE_BOOL:
		return typed("boolean");
	case ROUSE_INT:
		j = typed("integer");
		if (shape->min || shape->max) {
			rouse_json_set(j, "minimum", json_integer(shape->min));
			rouse_json_set(j, "maximum", json_integer(shape->max));
		}
		return j;
	case ROUSE_SIZE:
		return patterned(shape->percent
					 ? "^([0-9]+([kKMGTP]?B|[KMGTP](iB)?)|([1-9][0-9]?|100)%)$"
					 : "^[0-9]+([kKMGTP]?B|[KMGTP](iB)?)$");
	case ROUSE_DURATION:
		return patterned("^[0-9]+(ms|s|m|min|h|d)$");
	case ROUSE_MODE:
		return patterned("^[0-7]{3,5}$");
	case ROUSE_OBJECT:
		return schema_of_object(shape);
	case ROUSE_LIST:
		return schema_of_list(shape);
	case ROUSE_MAP:
		return schema_of_map(shape);
	case ROUSE_TYPES_:
		break;
	}
	return json_object();
}

json_t *rouse_schema_json(const struct rouse_shape *shape)
{
	json_t *j = schema_of(shape);

	rouse_json_set_string(j, "$schema", "https://json-schema.org/draft/2020-12/schema");
	rouse_json_set_string(j, "title", "rouse document");
	return j;
}

static const char *type_word(enum rouse_type type)
{
	static const char *const words[] = {
		[ROUSE_STRING] = "string",     [ROUSE_BOOL] = "boolean",
		[ROUSE_INT] = "number",        [ROUSE_SIZE] = "size",
		[ROUSE_DURATION] = "duration", [ROUSE_MODE] = "octal mode",
		[ROUSE_OBJECT] = "object",     [ROUSE_LIST] = "list",
		[ROUSE_MAP] = "object",
	};
	_Static_assert(ARRAY_SIZE(words) == ROUSE_TYPES_, "a word for each type");

	return words[type];
}

/* "size", or both forms: "string or object", "number or list". */
static void print_type(const struct rouse_shape *shape, struct rouse_buf *out)
{
	if (shape->shorthand && shape->type == ROUSE_LIST)
		rouse_buf_printf(out, "%s or ", type_word(shape->item->type));
	else if (shape->shorthand)
		rouse_buf_printf(out, "%s or ", is_integer_form(shape) ? "number" : "string");
	rouse_buf_printf(out, "%s", type_word(shape->type));
}

/* roff takes "-" for a hyphen and a leading "." or "'" for a request. */
static void roff(struct rouse_buf *out, const char *s)
{
	if (*s == '.' || *s == '\'')
		rouse_buf_printf(out, "\\&");
	for (; *s; s++) {
		if (*s == '-')
			rouse_buf_printf(out, "\\-");
		else if (*s == '\\')
			rouse_buf_printf(out, "\\e");
		else
			rouse_buf_printf(out, "%c", *s);
	}
}

static void man_of_field(const struct rouse_field *f, const char *prefix, struct rouse_buf *out)
{
	rouse_buf_printf(out, ".TP\n.B ");
	roff(out, prefix);
	roff(out, f->name);
	rouse_buf_printf(out, "\n(");
	if (!f->shape.words)
		print_type(&f->shape, out);
	for (size_t i = 0; f->shape.words && f->shape.words[i]; i++) {
		rouse_buf_printf(out, "%s", i ? ", " : "one of ");
		roff(out, f->shape.words[i]);
	}
	rouse_buf_printf(out, "%s%s", f->required ? ", required" : "",
			 f->shape.interpolate ? ", \\%{instance.\\|.\\|.}" : "");
	rouse_buf_printf(out, ") ");
	roff(out, f->doc);
	rouse_buf_printf(out, "\n");
}

void rouse_schema_man(const struct rouse_shape *shape, const char *prefix, unsigned levels,
		      struct rouse_buf *out)
{
	for (size_t i = 0; i < shape->n_fields; i++) {
		const struct rouse_field *f = &shape->fields[i];
		const struct rouse_shape *inner = &f->shape;
		auto_free char *deeper = rouse_asprintf("%s%s", prefix, f->name);

		man_of_field(f, prefix, out);
		while (inner->type == ROUSE_LIST || inner->type == ROUSE_MAP) {
			char *longer = rouse_asprintf("%s%s", deeper,
						      inner->type == ROUSE_LIST ? "[]" : ".NAME");

			free(deeper);
			deeper = longer;
			inner = inner->item;
		}
		if (inner->type == ROUSE_OBJECT && levels > 1) {
			auto_free char *dotted = rouse_asprintf("%s.", deeper);

			rouse_schema_man(inner, dotted, levels - 1, out);
		}
	}
}

void rouse_schema_dictionary(const struct rouse_shape *shape, struct rouse_buf *out)
{
	for (size_t i = 0; i < shape->n_fields; i++)
		rouse_buf_printf(out, "\"\\\"%s\\\"\"\n", shape->fields[i].name);
	for (size_t i = 0; shape->words && shape->words[i]; i++)
		rouse_buf_printf(out, "\"\\\"%s\\\"\"\n", shape->words[i]);
	for (size_t i = 0; i < shape->n_fields; i++)
		rouse_schema_dictionary(&shape->fields[i].shape, out);
	if (shape->item)
		rouse_schema_dictionary(shape->item, out);
}
