/* SPDX-License-Identifier: Apache-2.0 */
/* What is on a disk, in words; and what the document consents to destroy. */
#include "describe.h"

#include <string.h>
#include <strings.h>

#include <rouse/text.h>

static void list_signatures(const struct disks_content *c, struct rouse_buf *out,
			    struct rouse_arena *arena)
{
	const struct disks_signature *s = c ? c->signatures.items : NULL;

	for (size_t i = 0; s && i < c->signatures.n; i++) {
		rouse_buf_printf(out, "%s%s", out->len ? ", " : "",
				 disks_printable(s[i].type, arena));
		if (s[i].label)
			rouse_buf_printf(out, " '%s'", disks_printable(s[i].label, arena));
	}
}

const char *disks_describe_content(const struct disks_content *c, struct rouse_arena *arena)
{
	auto_buf struct rouse_buf out = { 0 };

	list_signatures(c, &out, arena);
	if (!out.len)
		return c && !c->zero ? "data without a signature" : "nothing";
	return rouse_arena_strdup(arena, out.data);
}

const char *disks_describe(const struct disks_fact *f, struct rouse_arena *arena)
{
	const struct disks_entry *entry = f->partitions.items;
	enum disks_class class = disks_class_of(f);
	auto_buf struct rouse_buf inner = { 0 };
	const char *table = class == DISKS_OTHER_TABLE ? "a partition table" : "a GPT";

	switch (class) {
	case DISKS_BLANK:
		return "nothing";
	case DISKS_OPAQUE:
		return f->damage ? disks_printable(f->damage, arena) : "data without a signature";
	case DISKS_SIGNED:
	case DISKS_AMBIGUOUS:
		return disks_describe_content(f->content, arena);
	case DISKS_GPT:
	case DISKS_GPT_GROWN:
	case DISKS_GPT_REPAIR:
	case DISKS_GPT_DAMAGED:
	case DISKS_OTHER_TABLE:
	case DISKS_CLASSES_:
		break;
	}
	for (size_t i = 0; i < f->partitions.n; i++)
		list_signatures(entry[i].content, &inner, arena);
	return rouse_arena_printf(arena, "%s%s with %zu partition%s%s%s%s",
				  class == DISKS_GPT_DAMAGED ? "what is left of " : "", table,
				  f->partitions.n, f->partitions.n == 1 ? "" : "s",
				  inner.len ? " (" : "", inner.len ? inner.data : "",
				  inner.len ? ")" : "");
}

/* ---- consent --------------------------------------------------------------------------------- */

static bool allows(const struct disks_disk *d, const struct disks_signature *s)
{
	const char *const *item = d->replace.items;

	for (size_t i = 0; i < d->replace.n; i++) {
		size_t n = strcspn(item[i], ":");

		if (strcmp(item[i], "anything") == 0)
			return true;
		if (strlen(s->type) == n && strncasecmp(item[i], s->type, n) == 0 &&
		    (!item[i][n] || rouse_streq(item[i] + n + 1, s->label)))
			return true;
	}
	return false;
}

/* A protective MBR is a part of the GPT. */
static bool allows_part(const struct disks_disk *d, const struct disks_signature *s)
{
	static const struct disks_signature gpt = { .type = "gpt" };

	return allows(d, s) || (strcmp(s->type, "PMBR") == 0 && allows(d, &gpt));
}

static bool allows_anything(const struct disks_disk *d)
{
	return allows(d, &(struct disks_signature){ .type = "anything" });
}

bool disks_consents_content(const struct disks_disk *d, const struct disks_content *c)
{
	const struct disks_signature *s = c ? c->signatures.items : NULL;

	if (!c || (c->signatures.n == 0 && c->zero))
		return true;
	if (c->signatures.n == 0)
		return allows_anything(d);
	for (size_t i = 0; i < c->signatures.n; i++)
		if (!allows(d, &s[i]))
			return false;
	return true;
}

static bool is_table(const char *type)
{
	return strcmp(type, "gpt") == 0 || strcmp(type, "PMBR") == 0 || strcmp(type, "dos") == 0;
}

/* A table goes with what its partitions hold; one that holds nothing has to be named itself. */
bool disks_consents_disk(const struct disks_disk *d, const struct disks_fact *f)
{
	const struct disks_signature *s = f->content ? f->content->signatures.items : NULL;
	const struct disks_entry *entry = f->partitions.items;
	bool holds = false;

	for (size_t i = 0; i < f->partitions.n; i++) {
		if (!disks_consents_content(d, entry[i].content))
			return false;
		holds |= entry[i].content && entry[i].content->signatures.n;
	}
	for (size_t i = 0; s && i < f->content->signatures.n; i++)
		if (!allows_part(d, &s[i]) && !(is_table(s[i].type) && holds))
			return false;
	return allows_anything(d) || (f->content && f->content->signatures.n);
}

static void suggest(const struct disks_content *c, bool tables, struct rouse_buf *out,
		    struct rouse_arena *arena)
{
	const struct disks_signature *s = c ? c->signatures.items : NULL;

	for (size_t i = 0; s && i < c->signatures.n; i++) {
		if (is_table(s[i].type) && (!tables || strcmp(s[i].type, "PMBR") == 0))
			continue;
		rouse_buf_printf(out, "%s\"%s%s%s\"", out->len ? ", " : "",
				 disks_printable(s[i].type, arena), s[i].label ? ":" : "",
				 s[i].label ? disks_printable(s[i].label, arena) : "");
	}
}

const char *disks_consent_for(const struct disks_content *c, struct rouse_arena *arena)
{
	auto_buf struct rouse_buf out = { 0 };

	suggest(c, true, &out, arena);
	return out.len ? rouse_arena_strdup(arena, out.data) : "\"anything\"";
}

const char *disks_consent_for_disk(const struct disks_fact *f, struct rouse_arena *arena)
{
	const struct disks_entry *entry = f->partitions.items;
	auto_buf struct rouse_buf out = { 0 };

	for (size_t i = 0; i < f->partitions.n; i++) {
		const struct disks_content *c = entry[i].content;

		if (c && c->signatures.n == 0 && !c->zero)
			return "\"anything\"";
		suggest(c, true, &out, arena);
	}
	suggest(f->content, out.len == 0, &out, arena);
	return out.len ? rouse_arena_strdup(arena, out.data) : "\"anything\"";
}
