/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where partitions go: pure arithmetic over conf and facts.
 *
 * On an empty table they stand in the order of the document. On one that has partitions, each of
 * ours is found again (by GUID, by mount, by label, by type), may grow into the free space behind
 * it, and new ones take free space. Nothing is moved and nothing shrinks.
 */
#include "disks.h"

#include <string.h>

#include <rouse/text.h>

struct layouter {
	const struct disks_conf *conf;
	const struct disks_disk *d;
	const struct disks_fact *f;
	const char *root;
	uint64_t end; /* of usable space */
	struct {
		uint64_t start, size;
	} used[2 * ROUSE_MAX_PARTITIONS];
	size_t n_used;
	struct disks_layout *ret;
	struct rouse_arena *arena;
	struct rouse_err *e;
};

uint64_t disks_usable_end(uint64_t size, uint64_t sector)
{
	uint64_t sectors = size / sector;
	uint64_t table = 1 + (ROUSE_MAX_PARTITIONS * UINT64_C(128) + sector - 1) / sector;

	return sectors > table ? (sectors - table) * sector : 0;
}

static uint64_t up(uint64_t n)
{
	return (n + DISKS_GRAIN - 1) / DISKS_GRAIN * DISKS_GRAIN;
}

static uint64_t down(uint64_t n)
{
	return n / DISKS_GRAIN * DISKS_GRAIN;
}

static bool has_size(const struct disks_partition *p)
{
	return p->size.bytes || p->size.percent;
}

/* The size that the document asks for; a percentage is one of all usable space. */
static uint64_t wanted(const struct layouter *l, const struct disks_partition *p)
{
	uint64_t usable = l->end > DISKS_GRAIN ? l->end - DISKS_GRAIN : 0, n;

	if (p->size.bytes)
		return up(p->size.bytes);
	n = down(usable / 100 * p->size.percent);
	return n ? n : DISKS_GRAIN;
}

static int no_room(const struct layouter *l, const struct disks_partition *p, uint64_t need,
		   uint64_t have)
{
	char a[16], b[16];

	return rouse_fail(l->e, ROUSE_DOCUMENT, 0,
			  "disks.%s: no room on '%s' for \"%s\": it needs %s, %s are free there",
			  l->d->key, l->f->device, p->key, rouse_print_size(a, need),
			  rouse_print_size(b, have));
}

static uint64_t smallest(const struct disks_partition *p)
{
	const struct disks_filesystem *fs = p->filesystem ? disks_filesystem_find(p->filesystem)
							  : NULL;

	return fs && up(fs->min) > DISKS_GRAIN ? up(fs->min) : DISKS_GRAIN;
}

/* ---- an empty table -------------------------------------------------------------------------- */

static int place_all(struct layouter *l)
{
	const struct disks_partition *p = l->d->partitions.items;
	uint64_t end = down(l->end), at = DISKS_GRAIN, sum = 0, rest;

	for (size_t i = 0; i < l->d->partitions.n; i++)
		sum += has_size(&p[i]) ? wanted(l, &p[i]) : 0;
	rest = end > at && end - at > sum ? end - at - sum : 0;
	for (size_t i = 0; i < l->d->partitions.n; i++) {
		uint64_t size = has_size(&p[i]) ? wanted(l, &p[i]) : rest;
		uint64_t left = end > at ? end - at : 0;

		if (size > left || size < smallest(&p[i]))
			return no_room(l, &p[i],
				       has_size(&p[i]) && size > smallest(&p[i]) ? size
										 : smallest(&p[i]),
				       has_size(&p[i]) ? left : rest);
		l->ret->slots[i] = (struct disks_slot){
			.conf = &p[i], .number = (unsigned)i + 1, .start = at, .size = size
		};
		at += size;
	}
	return 0;
}

/* ---- finding ours among those that are there ------------------------------------------------- */

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

static bool is_guid(const struct layouter *l, const struct disks_partition *p,
		    const struct disks_entry *entry)
{
	char guid[DISKS_GUID_LEN];

	disks_guid(disks_seed(l->conf), l->d->key, p->key, "partition", guid);
	return rouse_streq(entry->guid, guid);
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
	const char *type = disks_partition_type(p);

	if (strcmp(type, "linux") == 0 && !p->type)
		return false;
	return rouse_streq(entry->type, disks_type_guid(type));
}

/* How a partition is known, the surest way first. */
static const struct {
	const char *how;
	bool (*is)(const struct layouter *l, const struct disks_partition *p,
		   const struct disks_entry *entry);
} ways[] = {
	{ "the GUID that rouse gives", is_guid },
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

/* ---- growing and adding ---------------------------------------------------------------------- */

/* Where the next partition behind `at` begins, or the end. */
static uint64_t limit_of(const struct layouter *l, uint64_t at)
{
	uint64_t limit = l->end;

	for (size_t i = 0; i < l->n_used; i++)
		if (l->used[i].start >= at && l->used[i].start < limit)
			limit = l->used[i].start;
	return limit;
}

static void use(struct layouter *l, uint64_t start, uint64_t size)
{
	if (l->n_used < ARRAY_SIZE(l->used)) {
		l->used[l->n_used].start = start;
		l->used[l->n_used++].size = size;
	}
}

static void grow_to(struct layouter *l, struct disks_slot *s, uint64_t size)
{
	for (size_t i = 0; i < l->n_used; i++)
		if (l->used[i].start == s->start)
			l->used[i].size = size;
	s->size = size;
}

/* A size in bytes is a demand; a percentage was one when the partition was made, and after that
 * it is met as far as there is room. */
static int grow_sized(struct layouter *l, struct disks_slot *s)
{
	uint64_t want = wanted(l, s->conf), room = down(limit_of(l, s->start + s->size));
	char a[16], b[16];

	room = room > s->start ? room - s->start : 0;
	if (s->conf->size.percent && want > room)
		want = room;
	if (want < s->size && !s->conf->size.percent && s->size - want >= DISKS_GRAIN)
		return rouse_fail(l->e, ROUSE_DOCUMENT, 0,
				  "disks.%s: partition %u of '%s' has %s, and \"%s\" shall have "
				  "%s: rouse does not "
				  "shrink; ask for what is there or leave \"size\" out",
				  l->d->key, s->number, l->f->device, rouse_print_size(a, s->size),
				  s->conf->key, rouse_print_size(b, want));
	if (want < s->size + DISKS_GRAIN)
		return 0;
	if (want > room)
		return rouse_fail(l->e, ROUSE_DOCUMENT, 0,
				  "disks.%s: partition %u of '%s' (\"%s\") cannot grow to %s: what "
				  "follows it leaves "
				  "%s",
				  l->d->key, s->number, l->f->device, s->conf->key,
				  rouse_print_size(a, want), rouse_print_size(b, room));
	grow_to(l, s, want);
	return 0;
}

/* Does a partition end here that shall have whatever is left? */
static bool grows_from(const struct layouter *l, uint64_t at)
{
	for (size_t i = 0; i < l->ret->n; i++) {
		const struct disks_slot *s = &l->ret->slots[i];

		if (s->entry && !has_size(s->conf) && up(s->start + s->size) == at)
			return true;
	}
	return false;
}

/* Calls for each free area in ascending order; *at is where to look from. */
static bool next_area(const struct layouter *l, uint64_t *at, uint64_t *start, uint64_t *size)
{
	while (*at < l->end) {
		uint64_t inside = 0, limit;

		for (size_t i = 0; i < l->n_used; i++)
			if (l->used[i].start <= *at && *at < l->used[i].start + l->used[i].size)
				inside = l->used[i].start + l->used[i].size;
		if (inside) {
			*at = up(inside);
			continue;
		}
		limit = down(limit_of(l, *at));
		*start = *at;
		*size = limit > *at ? limit - *at : 0;
		*at = limit > *at ? limit : *at + DISKS_GRAIN;
		if (*size)
			return true;
	}
	return false;
}

static unsigned free_number(const struct layouter *l)
{
	const struct disks_entry *entry = l->f->partitions.items;

	for (unsigned n = 1; n <= ROUSE_MAX_PARTITIONS; n++) {
		bool taken = false;

		for (size_t k = 0; k < l->f->partitions.n; k++)
			taken |= entry[k].number == n;
		for (size_t i = 0; i < l->ret->n; i++)
			taken |= l->ret->slots[i].number == n;
		if (!taken)
			return n;
	}
	return 0;
}

/* `sized`: the first area that is large enough, from its end when somebody grows from its
 * beginning; else the largest one, all of it. */
static int add(struct layouter *l, size_t i, bool sized)
{
	const struct disks_partition *p = (const struct disks_partition *)l->d->partitions.items +
					  i;
	uint64_t at = DISKS_GRAIN, start = 0, size = 0, best = 0, where = 0;
	uint64_t need = sized ? wanted(l, p) : smallest(p);
	unsigned number = free_number(l);

	while (next_area(l, &at, &start, &size)) {
		if (size <= best)
			continue;
		best = size;
		where = sized && size >= need && grows_from(l, start) ? start + size - need : start;
		if (sized && size >= need)
			break;
	}
	if (best < need)
		return no_room(l, p, need, best);
	if (!number)
		return rouse_fail(l->e, ROUSE_DOCUMENT, 0,
				  "disks.%s: '%s' has %d partitions already", l->d->key,
				  l->f->device, ROUSE_MAX_PARTITIONS);
	l->ret->slots[i] = (struct disks_slot){
		.conf = p, .number = number, .start = where, .size = sized ? need : best
	};
	use(l, where, l->ret->slots[i].size);
	return 0;
}

static int grow_and_add(struct layouter *l)
{
	const struct disks_partition *p = l->d->partitions.items;

	for (size_t i = 0; i < l->ret->n; i++)
		if (l->ret->slots[i].entry && has_size(&p[i]) &&
		    grow_sized(l, &l->ret->slots[i]) < 0)
			return -1;
	for (size_t i = 0; i < l->ret->n; i++)
		if (!l->ret->slots[i].entry && has_size(&p[i]) && add(l, i, true) < 0)
			return -1;
	for (size_t i = 0; i < l->ret->n; i++) {
		struct disks_slot *s = &l->ret->slots[i];
		uint64_t room;

		if (has_size(&p[i]))
			continue;
		if (!s->entry)
			return add(l, i, false); /* check() made sure that there is only one */
		room = down(limit_of(l, s->start + s->size));
		if (room > s->start && room - s->start >= s->size + DISKS_GRAIN)
			grow_to(l, s, room - s->start);
	}
	return 0;
}

int disks_layout(const struct disks_conf *conf, const struct disks_disk *d,
		 const struct disks_fact *f, bool fresh, const char *root,
		 struct rouse_arena *arena, struct disks_layout *ret, struct rouse_err *e)
{
	const struct disks_entry *entry = f->partitions.items;
	struct layouter *l = rouse_arena_alloc(arena, sizeof(*l));

	*ret = (struct disks_layout){ .n = d->partitions.n };
	ret->slots = rouse_arena_alloc(arena, ret->n * sizeof(*ret->slots));
	*l = (struct layouter){
		.conf = conf, .d = d, .f = f, .root = root, .ret = ret, .arena = arena, .e = e
	};
	l->end = fresh || f->end <= 0 ? disks_usable_end((uint64_t)f->size, (uint64_t)f->sector)
				      : (uint64_t)f->end;
	if (fresh || f->partitions.n == 0)
		return place_all(l);
	for (size_t k = 0; k < f->partitions.n; k++)
		use(l, (uint64_t)entry[k].start, (uint64_t)entry[k].size);
	for (size_t way = 0; way < ARRAY_SIZE(ways); way++)
		if (match_by(l, way) < 0)
			return -1;
	return grow_and_add(l);
}

bool disks_is_ours(const struct disks_conf *conf, const struct disks_disk *d,
		   const struct disks_fact *f)
{
	char guid[DISKS_GUID_LEN];

	disks_guid(disks_seed(conf), d->key, "", "disk", guid);
	return rouse_streq(f->guid, guid);
}

const struct disks_content *disks_pending_at(const struct disks_fact *f, uint64_t start)
{
	const struct disks_range *r = f->pending.items;

	for (size_t i = 0; i < f->pending.n; i++)
		if ((uint64_t)r[i].start == start)
			return r[i].content;
	return NULL;
}
