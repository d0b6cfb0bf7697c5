/* SPDX-License-Identifier: Apache-2.0 */
#include "service.h"

#include <string.h>

#include <rouse/fetch.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/text.h>

#include "sources.h"

/* --- where a value goes ----------------------------------------------------------------------- */

static const char **member_of(struct rouse_instance *i, enum service_fact fact)
{
	switch (fact) {
	case FACT_ID:
		return &i->id;
	case FACT_TYPE:
		return &i->type;
	case FACT_REGION:
		return &i->region;
	case FACT_ZONE:
		return &i->zone;
	case FACT_HOSTNAME:
		return &i->hostname;
	case FACT_NONE:
	case FACT_USER_DATA:
	case FACT_TAGS:
	case FACT_TAG_NAMES:
	case FACT_KEYS:
		break;
	}
	return NULL;
}

static bool is_known(const struct rouse_found *f, enum service_fact fact)
{
	struct rouse_instance i = f->instance;
	const char **member = member_of(&i, fact);

	if (fact == FACT_USER_DATA)
		return f->user_data != NULL;
	if (fact == FACT_KEYS)
		return i.ssh_keys.n > 0;
	return member && *member;
}

static void add_tag(struct rouse_found *f, const char *key, const char *value)
{
	struct rouse_list *tags = &f->instance.tags;
	struct rouse_pair *items = tags->items;
	const char *kept = source_keep(f, key, strlen(key));

	if (!items)
		tags->items = items = rouse_arena_alloc(&f->arena, ROUSE_MAX_TAGS * sizeof(*items));
	if (!kept || tags->n == ROUSE_MAX_TAGS)
		return;
	items[tags->n].value = *value ? source_keep(f, value, strlen(value)) : "";
	items[tags->n].key = kept;
	tags->n += items[tags->n].value != NULL;
}

static void add_key(struct rouse_found *f, const char *text, size_t len, unsigned flags)
{
	struct rouse_list *keys = &f->instance.ssh_keys;
	const char **items = keys->items, *kept, *colon;

	while (len && strchr(" \t\r\n", text[len - 1]))
		len--;
	kept = source_keep(f, text, len);
	colon = kept && (flags & ITEM_USERS) ? strchr(kept, ':') : NULL;
	if (colon)
		kept = colon + 1;
	/* Google's keys of one session say when they end, which a list of keys cannot. */
	if (!kept || *kept == '#' || !strchr(kept, ' ') || strstr(kept, " google-ssh {"))
		return;
	if (!items)
		keys->items = items = rouse_arena_alloc(&f->arena,
							ROUSE_MAX_INSTANCE_KEYS * sizeof(*items));
	if (keys->n < ROUSE_MAX_INSTANCE_KEYS)
		items[keys->n++] = kept;
}

static void add_keys(struct rouse_found *f, const char *text, size_t len, unsigned flags)
{
	for (const char *p = text, *end = text + len; p < end;) {
		const char *line_end = memchr(p, '\n', (size_t)(end - p));

		line_end = line_end ? line_end : end;
		add_key(f, p, (size_t)(line_end - p), flags);
		p = line_end + 1;
	}
}

static void set_user_data(struct rouse_found *f, const char *text, size_t len)
{
	if (!len)
		return;
	free(f->user_data);
	f->user_data = rouse_calloc(len + 1, 1);
	memcpy(f->user_data, text, len);
	f->user_data_len = len;
}

static void set_text(struct rouse_found *f, const struct service_item *item, const char *text,
		     size_t len)
{
	const char **member = member_of(&f->instance, item->fact);

	if (item->fact == FACT_USER_DATA)
		set_user_data(f, text, len);
	if (item->fact == FACT_KEYS)
		add_keys(f, text, len, item->flags);
	if (!member)
		return;
	len = strcspn(text, "\r\n");
	for (size_t i = len; i && (item->flags & ITEM_LAST); i--)
		if (text[i - 1] == '/') {
			text += i;
			len -= i;
			break;
		}
	for (size_t i = len; i && (item->flags & ITEM_OF_ZONE); i--)
		if (text[i - 1] == '-') {
			len = i - 1;
			break;
		}
	*member = source_keep(f, text, len);
}

/* --- values of a JSON answer ------------------------------------------------------------------ */

static const json_t *walk(const json_t *json, const char *member)
{
	char name[64];

	for (const char *p = member; json && p && *p;) {
		size_t n = strcspn(p, ".");
		uint64_t at;

		(void)snprintf(name, sizeof(name), "%.*s", (int)n, p);
		json = json_is_array(json) ? rouse_parse_u64(name, SIZE_MAX, &at)
						     ? json_array_get(json, (size_t)at)
						     : NULL
					   : json_object_get(json, name);
		p += n + (p[n] == '.');
	}
	return json;
}

/* A tag of a list: { "key": …, "value": … }, or a name that stands for itself. */
static void add_listed_tag(struct rouse_found *f, const json_t *tag)
{
	const char *key = json_string_value(json_object_get(tag, "key"));
	const char *value = json_string_value(json_object_get(tag, "value"));

	key = key ? key : json_string_value(json_object_get(tag, "name"));
	if (json_is_string(tag))
		add_tag(f, json_string_value(tag), "");
	else if (key && value)
		add_tag(f, key, value);
}

static void set_json(struct rouse_found *f, const struct service_item *item, const json_t *json)
{
	char number[32];
	const char *key;
	json_t *value;
	size_t i;

	if (json_is_string(json)) {
		set_text(f, item, json_string_value(json), json_string_length(json));
	} else if (json_is_integer(json)) {
		(void)snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT,
			       json_integer_value(json));
		set_text(f, item, number, strlen(number));
	} else if (item->fact == FACT_TAGS || item->fact == FACT_KEYS) {
		json_array_foreach (json, i, value)
			if (item->fact == FACT_TAGS)
				add_listed_tag(f, value);
			else if (json_is_string(value))
				set_json(f, item, value);
		json_object_foreach ((json_t *)json, key, value)
			if (json_is_string(value) && item->fact == FACT_TAGS)
				add_tag(f, key, json_string_value(value));
			else if (json_is_string(value))
				set_json(f, item, value);
	}
}

/* --- values of lines -------------------------------------------------------------------------- */

/* Of what YAML has, plain and quoted values of one line, and lists of them, are understood; what
 * stands deeper is somebody else's. */
static void set_value(struct rouse_found *f, const struct service_item *item, const char *value,
		      size_t len)
{
	while (len && strchr(" \t", *value))
		value++, len--;
	while (len && strchr(" \t\r", value[len - 1]))
		len--;
	if (len >= 2 && (*value == '"' || *value == '\'') && value[len - 1] == *value)
		value++, len -= 2;
	if (len) {
		auto_free char *line = rouse_strndup(value, len);

		set_text(f, item, line, strlen(line));
	}
}

static void set_lines(struct rouse_found *f, const struct service_item *item, const char *text,
		      size_t len)
{
	size_t n = strlen(item->member);
	bool in_list = false;

	for (const char *p = text, *end = text + len, *next; p < end; p = next) {
		const char *line_end = memchr(p, '\n', (size_t)(end - p));
		size_t indent = 0, line;

		line_end = line_end ? line_end : end;
		next = line_end + 1;
		line = (size_t)(line_end - p);
		while (indent < line && p[indent] == ' ')
			indent++;
		if (in_list && line > indent + 1 && p[indent] == '-' && p[indent + 1] == ' ')
			set_value(f, item, p + indent + 2, line - indent - 2);
		else if (in_list && line > indent && indent == 0)
			in_list = false;
		if (line > n && p[n] == ':' && memcmp(p, item->member, n) == 0) {
			in_list = item->fact == FACT_KEYS;
			set_value(f, item, p + n + 1, line - n - 1);
		}
	}
}

/* --- one answer ------------------------------------------------------------------------------- */

static bool looks_like_json(const struct rouse_buf *body)
{
	size_t blanks = body->data ? strspn(body->data, " \t\r\n") : 0;

	return body->len > blanks && (body->data[blanks] == '{' || body->data[blanks] == '[');
}

int service_read(struct rouse_found *f, const struct service_item *items, size_t n,
		 const char *name, struct rouse_buf *body, struct rouse_err *e)
{
	const char *text = body->data ? body->data : "";
	auto_json json_t *json = NULL;

	for (size_t i = 0; i < n; i++) {
		const struct service_item *item = &items[i];

		if ((item->flags & ITEM_IF_UNKNOWN) && is_known(f, item->fact))
			continue;
		if (!item->member && item->fact != FACT_TAGS) {
			set_text(f, item, text, body->len);
			continue;
		}
		if ((item->flags & ITEM_LINES) && !looks_like_json(body)) {
			set_lines(f, item, text, body->len);
			continue;
		}
		if (!json)
			json = rouse_json_parse(name, text, body->len, e);
		if (!json) {
			/* What is wrong with a service is no fault of a document. */
			e->kind = ROUSE_SYSTEM;
			return -1;
		}
		set_json(f, item, walk(json, item->member));
	}
	return 0;
}

/* --- the conversation ------------------------------------------------------------------------- */

static int read_tag(struct rouse_imds *i, struct rouse_found *f, const char *path, const char *name,
		    struct rouse_err *e)
{
	auto_buf struct rouse_buf url = { 0 }, body = { 0 };

	rouse_buf_printf(&url, "%s/", path);
	for (const char *p = name; *p; p++) {
		bool plain = (*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') ||
			     (*p >= 'a' && *p <= 'z') || strchr("-._~", *p);

		rouse_buf_printf(&url, plain ? "%c" : "%%%02X", (unsigned char)*p);
	}
	if (rouse_imds_get(i, url.data, ROUSE_MAX_METADATA, &body, e) < 0)
		return e->sys == ENOENT ? 0 : -1;
	if (body.data)
		body.data[strcspn(body.data, "\r\n")] = '\0';
	if (body.data && *body.data)
		add_tag(f, name, body.data);
	return 0;
}

static int read_tags(struct rouse_imds *i, struct rouse_found *f, const char *path, char *names,
		     struct rouse_err *e)
{
	char *rest = names, *name;
	size_t n = 0;

	while (n < ROUSE_MAX_TAGS && (name = strsep(&rest, "\r\n"))) {
		if (!source_keep(f, name, strlen(name)))
			continue;
		n++;
		if (read_tag(i, f, path, name, e) < 0)
			return -1;
	}
	return 0;
}

/* The rows from `first` on that are about one answer. */
static size_t count_rows(const struct service *s, size_t first)
{
	size_t n = 1;

	while (first + n < s->n_items && !s->items[first + n].path)
		n++;
	return n;
}

static bool is_needed(const struct rouse_found *f, const struct service_item *items, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!(items[i].flags & ITEM_IF_UNKNOWN) || !is_known(f, items[i].fact))
			return true;
	return false;
}

static int read_rows(struct rouse_imds *i, struct rouse_found *f, const struct service_item *items,
		     size_t n, struct rouse_err *e)
{
	bool payload = false;
	auto_buf struct rouse_buf body = { 0 };

	for (size_t k = 0; k < n; k++)
		payload |= items[k].fact == FACT_USER_DATA;
	/* In JSON and in base64 user-data is longer than it is. */
	if (rouse_imds_get(i, items->path,
			   !payload                 ? ROUSE_MAX_METADATA
			   : items->member || n > 1 ? 2 * ROUSE_MAX_USERDATA + ROUSE_MAX_METADATA
						    : ROUSE_MAX_USERDATA,
			   &body, e) < 0)
		return e->sys == ENOENT ? 0 : -1;
	if (items->fact == FACT_TAG_NAMES)
		return body.data ? read_tags(i, f, items->path, body.data, e) : 0;
	return service_read(f, items, n, "the metadata service's answer", &body, e);
}

/* The firmware knows it too: another who answers at the link-local address is found out. That is the
 * business of this machine's network: the others, and their document, are not to blame. */
static int check_identity(const struct service *s, const struct rouse_found *f,
			  const char *firmware, struct rouse_err *e)
{
	if (!f->instance.id && !s->may_lack_id)
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "the metadata service does not say which instance this is");
	if (!firmware || !f->instance.id || strcasecmp(firmware, f->instance.id) == 0)
		return 0;
	(void)rouse_fail(e, ROUSE_UNTRUSTED, 0,
			 "the metadata service says that this is instance '%s', the firmware says "
			 "'%s'",
			 f->instance.id, firmware);
	return rouse_blame(e, ROUSE_LOCAL);
}

int service_fetch(const struct service *s, const char *base, const char *firmware,
		  struct rouse_fetcher *f, uint64_t deadline, struct rouse_found *ret,
		  struct rouse_err *e)
{
	struct rouse_imds i = { .api = s->api, .base = base, .f = f, .deadline = deadline };
	bool checked = false;
	int r = 0;

	ret->instance.cloud = s->cloud;
	for (size_t k = 0, n; r == 0 && k < s->n_items; k += n) {
		n = count_rows(s, k);
		if (is_needed(ret, &s->items[k], n))
			r = read_rows(&i, ret, &s->items[k], n, e);
		/* Before anything more is asked of who may be an impostor. */
		if (r == 0 && !checked && ret->instance.id) {
			checked = true;
			r = check_identity(s, ret, firmware, e);
		}
	}
	if (r == 0 && !checked)
		r = check_identity(s, ret, firmware, e);
	rouse_imds_done(&i);
	/* What an impostor says of the machine is kept no more than its document. */
	if (r < 0 && e->kind == ROUSE_UNTRUSTED)
		ret->instance = (struct rouse_instance){ .cloud = s->cloud };
	return r;
}

int service_ask(const struct rouse_source *s, struct rouse_machine *m, struct rouse_fetcher *f,
		uint64_t deadline, struct rouse_found *ret, struct rouse_err *e)
{
	char firmware[64] = "";
	bool known = s->same_identity && s->identity(m, firmware, sizeof(firmware));

	return service_fetch(s->service, NULL, known ? firmware : NULL, f, deadline, ret, e);
}
