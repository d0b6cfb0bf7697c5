/* SPDX-License-Identifier: Apache-2.0 */
#include "interpolate.h"

#include <stdio.h>
#include <string.h>

#include <rouse/document.h>
#include <rouse/text.h>

/* The value of a name inside {instance.…}; *known says whether such a name exists at all. */
static const char *instance_value(const struct rouse_instance *i, const char *name, bool *known)
{
	static const struct rouse_instance nobody = {
		.id = "x", .type = "x", .region = "x", .zone = "x", .hostname = "x"
	};
	const struct rouse_instance *from = i ? i : &nobody;
	const char *tag = rouse_strip_prefix(name, "tags.");
	const struct {
		const char *name, *value;
	} names[] = { { "id", from->id },
		      { "type", from->type },
		      { "region", from->region },
		      { "zone", from->zone },
		      { "hostname", from->hostname } };

	for (size_t n = 0; n < ARRAY_SIZE(names); n++)
		if (strcmp(name, names[n].name) == 0) {
			*known = true;
			return names[n].value;
		}
	*known = tag && *tag;
	if (!*known || !i)
		return *known ? "x" : NULL;
	for (size_t n = 0; n < i->tags.n; n++) {
		const struct rouse_pair *pair = (const struct rouse_pair *)i->tags.items + n;

		if (strcmp(pair->key, tag) == 0)
			return pair->value;
	}
	return NULL;
}

int interpolate(const char *s, const struct rouse_instance *instance, struct rouse_arena *arena,
		const char **ret, struct rouse_err *e)
{
	auto_buf struct rouse_buf out = { 0 };

	if (!strchr(s, '{')) {
		*ret = s;
		return 0;
	}
	while (*s) {
		const char *close, *value;
		char name[160];
		bool known = false;
		size_t plain = strcspn(s, "{");

		rouse_buf_printf(&out, "%.*s", (int)plain, s);
		s += plain;
		if (!*s)
			break;
		if (s[1] == '{') {
			rouse_buf_printf(&out, "{");
			s += 2;
			continue;
		}
		close = strchr(s, '}');
		if (!close || (size_t)(close - s) >= sizeof(name))
			return rouse_fail(e, ROUSE_DOCUMENT, 0,
					  "\"{\" opens a name such as {instance.id}; write \"{{\" "
					  "for a brace");
		(void)snprintf(name, sizeof(name), "%.*s", (int)(close - s - 1), s + 1);
		value = rouse_strip_prefix(name, "instance.")
				? instance_value(instance, name + strlen("instance."), &known)
				: NULL;
		if (!known)
			return rouse_fail(
				e, ROUSE_DOCUMENT, 0,
				"unknown name {%s}; known: {instance.id}, .type, .region, "
				".zone, .hostname, .tags.NAME",
				name);
		if (!value)
			return rouse_fail(e, ROUSE_DOCUMENT, 0, "this machine has no {%s}", name);
		rouse_buf_printf(&out, "%s", value);
		s = close + 1;
	}
	*ret = rouse_arena_strdup(arena, out.data ? out.data : "");
	return 0;
}
