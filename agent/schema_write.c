/* SPDX-License-Identifier: Apache-2.0 */
/* The way back of rouse_schema_read(): what travels in a file is written by the table that reads it. */
#include <rouse/schema.h>

#include <rouse/json.h>

static json_t *write_value(const struct rouse_shape *shape, const void *at);

static json_t *write_fields(const struct rouse_shape *shape, const void *object)
{
	json_t *j = json_object();

	for (size_t i = 0; i < shape->n_fields; i++) {
		const struct rouse_field *f = &shape->fields[i];
		json_t *value = write_value(&f->shape, (const char *)object + f->offset);

		if (value)
			rouse_json_set(j, f->name, value);
	}
	return j;
}

static json_t *write_text(char *text)
{
	json_t *j = json_string(text);

	free(text);
	return j;
}

static json_t *write_size(const struct rouse_size *s)
{
	if (s->percent)
		return write_text(rouse_asprintf("%u%%", s->percent));
	return s->bytes ? write_text(rouse_asprintf("%lluB", (unsigned long long)s->bytes)) : NULL;
}

static size_t stride_of(const struct rouse_shape *item, bool map)
{
	if (item->type == ROUSE_STRING)
		return map ? sizeof(struct rouse_pair) : sizeof(const char *);
	if (item->type == ROUSE_OBJECT)
		return item->size;
	return item->type == ROUSE_INT ? sizeof(int64_t) : sizeof(struct rouse_named_list);
}

/* A list or a map; absent when it is empty. */
static json_t *write_list(const struct rouse_shape *shape, const struct rouse_list *list)
{
	bool map = shape->type == ROUSE_MAP;
	json_t *j = NULL;

	for (size_t i = 0; i < list->n; i++) {
		const char *at = (const char *)list->items + i * stride_of(shape->item, map);
		bool whole = shape->item->type == ROUSE_OBJECT;
		const void *value = map && !whole ? at + sizeof(const char *) : at;
		json_t *item = whole ? write_fields(shape->item, value)
				     : write_value(shape->item, value);

		if (!j)
			j = map ? json_object() : json_array();
		if (map)
			rouse_json_set(j, *(const char *const *)(const void *)at, item);
		else
			rouse_json_append(j, item);
	}
	return j;
}

/* NULL for what was not given. */
static json_t *write_value(const struct rouse_shape *shape, const void *at)
{
	const char *string;
	const void *object;

	switch (shape->type) {
	case ROUSE_STRING:
		string = *(const char *const *)at;
		return string ? json_string(string) : NULL;
	case ROUSE_BOOL:
		if (shape->choice)
			return *(const enum rouse_choice *)at
				       ? json_boolean(*(const enum rouse_choice *)at == ROUSE_YES)
				       : NULL;
		return *(const bool *)at ? json_true() : NULL;
	case ROUSE_INT:
		return *(const int64_t *)at ? json_integer(*(const int64_t *)at) : NULL;
	case ROUSE_SIZE:
		return write_size(at);
	case ROUSE_DURATION:
		return *(const uint64_t *)at
			       ? write_text(rouse_asprintf(
					 "%llums", (unsigned long long)*(const uint64_t *)at))
			       : NULL;
	case ROUSE_MODE:
		return *(const uint32_t *)at
			       ? write_text(rouse_asprintf("%04o", *(const uint32_t *)at))
			       : NULL;
	case ROUSE_OBJECT:
		object = *(const void *const *)at;
		return object ? write_fields(shape, object) : NULL;
	case ROUSE_LIST:
	case ROUSE_MAP:
		return write_list(shape, at);
	case ROUSE_TYPES_:
		break;
	}
	return NULL;
}

json_t *rouse_schema_write(const struct rouse_shape *shape, const void *object)
{
	return write_fields(shape, object);
}
