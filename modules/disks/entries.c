/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the document's partitions among those that are there: by GUID, number, mount, label, type. */
#include "layout.h"

#include <string.h>

#include <rouse/text.h>

bool disks_mounted_at(const struct disks_content *c, const char *root, const char *mount)
{
	char path[512];

	(void)disks_below(root, mount, path, sizeof(path));
	for (size_t i = 0; c && i < c->mounts.n; i++)
		if (rouse_streq(((const char *const *)c->mounts.items)[i], path))
			return true;
	return false;
}

static bool has_label(const struct disks_entry *entry, const char *label)
{
	const struct disks_signature *s = entry->content ? entry->content->signatures.items : NULL;

	if (rouse_streq(entry->label, label))
		return true;
	for (size_t i = 0; s && i < entry->content->signatures.n; i++)
		if (rouse_streq(s[i].label, label))
			return true;
	return false;
}

static bool has_type(const struct disks_partition *p, const struct disks_entry *entry)
{
	return disks_same_guid(entry->type, disks_type_guid(disks_partition_type(p)));
}

static bool is_guid(const struct layouter *l, const struct disks_partition *p,
		    const struct disks_entry *entry)
{
	char guid[DISKS_GUID_LEN];

	disks_guid_of(l->conf, l->d, p, guid);
	return disks_same_guid(entry->guid, guid);
}

/* A number says which one only where label and type, as far as the document has them, agree. */
static bool is_numbered(const struct layouter *l unused_arg, const struct disks_partition *p,
			const struct disks_entry *entry)
{
	return p->number == entry->number && (!p->label || has_label(entry, p->label)) &&
	       (!p->type || has_type(p, entry));
}

static bool is_mounted(const struct layouter *l, const struct disks_partition *p,
		       const struct disks_entry *entry)
{
	return disks_is_mount_point(p->key) && disks_mounted_at(entry->content, l->root, p->key);
}

static bool is_labelled(const struct layouter *l unused_arg, const struct disks_partition *p,
			const struct disks_entry *entry)
{
	return p->label && has_label(entry, p->label);
}

/* "linux" says nothing about a partition's place, unless the document says just that. */
static bool is_typed(const struct layouter *l unused_arg, const struct disks_partition *p,
		     const struct disks_entry *entry)
{
	if (strcmp(disks_partition_type(p), "linux") == 0 && !p->type)
		return false;
	return has_type(p, entry);
}

/* How a partition is known, the surest way first. */
static const struct {
	const char *how;
	bool (*is)(const struct layouter *l, const struct disks_partition *p,
		   const struct disks_entry *entry);
} ways[] = {
	{ "the GUID that rouse gives", is_guid },
	{ "the number", is_numbered },
	{ "the mount point", is_mounted },
	{ "the label", is_labelled },
	{ "the type", is_typed },
};

static bool is_taken(const struct layouter *l, const struct disks_entry *entry)
{
	for (size_t i = 0; i < l->ret->n; i++)
		if (l->ret->slots[i].entry == entry)
			return true;
	return false;
}

static int match_by(struct layouter *l, size_t way)
{
	const struct disks_partition *p = l->d->partitions.items;
	const struct disks_entry *entry = l->f->partitions.items;

	for (size_t i = 0; i < l->d->partitions.n; i++) {
		const struct disks_entry *found = NULL;

		for (size_t k = 0; !l->ret->slots[i].entry && k < l->f->partitions.n; k++) {
			if (is_taken(l, &entry[k]) || !ways[way].is(l, &p[i], &entry[k]))
				continue;
			l->ret->n_matched += !found;
			if (found)
				return rouse_fail(l->e, ROUSE_DOCUMENT, 0,
						  "disks.%s: partitions %lld and %lld of '%s' both "
						  "have %s of \"%s\": "
						  "give the right one a \"label\"",
						  l->d->key, (long long)found->number,
						  (long long)entry[k].number, l->f->device,
						  ways[way].how, p[i].key);
			found = &entry[k];
		}
		if (found)
			l->ret->slots[i] = (struct disks_slot){ .conf = &p[i],
								.entry = found,
								.number = (unsigned)found->number,
								.start = (uint64_t)found->start,
								.size = (uint64_t)found->size };
	}
	return 0;
}

/* Places and identities of what is there never change. */
static int check_slot(const struct layouter *l, const struct disks_slot *s)
{
	const struct disks_partition *p = s->conf;

	if (p->number && p->number != s->entry->number)
		return rouse_fail(l->e, ROUSE_DOCUMENT, 0,
				  "disks.%s: \"%s\" is partition %u of '%s', and shall be number "
				  "%lld: rouse does not renumber",
				  l->d->key, p->key, s->number, l->f->device, (long long)p->number);
	if (p->start.bytes && p->start.bytes != s->start)
		return rouse_fail(
			l->e, ROUSE_DOCUMENT, 0,
			"disks.%s: partition %u of '%s' (\"%s\") begins at %llu, and shall "
			"begin at %llu: rouse moves nothing",
			l->d->key, s->number, l->f->device, p->key, (unsigned long long)s->start,
			(unsigned long long)p->start.bytes);
	if (p->guid && !disks_same_guid(p->guid, s->entry->guid))
		return rouse_fail(l->e, ROUSE_DOCUMENT, 0,
				  "disks.%s: partition %u of '%s' (\"%s\") has the GUID %s, and "
				  "shall have %s: leave \"guid\" out",
				  l->d->key, s->number, l->f->device, p->key, s->entry->guid,
				  p->guid);
	return 0;
}

/* What the document says in so many words about type, name and attributes is brought about. The name
 * of a stranger's partition stays: it may be by the label of its filesystem that it was found. */
static void note_edits(const struct layouter *l, struct disks_slot *s)
{
	const struct disks_partition *p = s->conf;
	const struct disks_entry *entry = s->entry;
	uint64_t bits = entry->attributes ? strtoull(entry->attributes, NULL, 16) : 0;

	s->retype = p->type && !has_type(p, entry);
	s->rename = p->label && is_guid(l, p, entry) && !rouse_streq(p->label, entry->label);
	s->reattribute = p->attributes.n && disks_attributes(p) != bits;
}

int disks_find_entries(struct layouter *l)
{
	for (size_t way = 0; way < ARRAY_SIZE(ways); way++)
		if (match_by(l, way) < 0)
			return -1;
	for (size_t i = 0; i < l->ret->n; i++) {
		struct disks_slot *s = &l->ret->slots[i];

		if (!s->entry)
			continue;
		if (check_slot(l, s) < 0)
			return -1;
		note_edits(l, s);
	}
	return 0;
}
