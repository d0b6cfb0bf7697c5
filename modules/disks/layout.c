/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where partitions go: pure arithmetic over conf and facts.
 *
 * On an empty table they stand in the order of the document. On one that has partitions, each of
 * ours is found again (entries.c), may grow into the free space behind it, and new ones take free
 * space. Nothing is moved and nothing shrinks. What has no size shares what is left by weight.
 */
#include "layout.h"

#include <rouse/text.h>

static uint64_t sectors_of_entries(uint64_t sector)
{
	return (ROUSE_MAX_PARTITIONS * UINT64_C(128) + sector - 1) / sector;
}

uint64_t disks_usable_end(uint64_t size, uint64_t sector)
{
	uint64_t sectors = size / sector, table = 1 + sectors_of_entries(sector);

	return sectors > table ? (sectors - table) * sector : 0;
}

/* ---- numbers --------------------------------------------------------------------------------- */

static bool is_number_wanted(const struct layouter *l, unsigned n)
{
	const struct disks_partition *p = l->d->partitions.items;

	for (size_t i = 0; i < l->d->partitions.n; i++)
		if (p[i].number == n)
			return true;
	return false;
}

static bool is_number_used(const struct layouter *l, unsigned n)
{
	const struct disks_entry *entry = l->f->partitions.items;

	for (size_t k = 0; !l->fresh && k < l->f->partitions.n; k++)
		if (entry[k].number == n)
			return true;
	for (size_t i = 0; i < l->ret->n; i++)
		if (l->ret->slots[i].number == n)
			return true;
	return false;
}

/* The number of a partition that is made. */
static int number_of(const struct layouter *l, const struct disks_partition *p, unsigned *ret)
{
	unsigned max = l->fresh || l->f->entries <= 0 ? ROUSE_MAX_PARTITIONS
						      : (unsigned)l->f->entries;

	for (unsigned n = 1; n <= max; n++) {
		if (p->number ? n != p->number : is_number_wanted(l, n))
			continue;
		if (is_number_used(l, n)) {
			if (!p->number)
				continue;
			return rouse_fail(l->e, ROUSE_DOCUMENT, 0,
					  "disks.%s: \"%s\" shall be partition %u of '%s', which "
					  "is another one",
					  l->d->key, p->key, n, l->f->device);
		}
		*ret = n;
		return 0;
	}
	if (p->number)
		return rouse_fail(
			l->e, ROUSE_DOCUMENT, 0,
			"disks.%s: the table of '%s' has no partition %lld, it ends with %u",
			l->d->key, l->f->device, (long long)p->number, max);
	return rouse_fail(l->e, ROUSE_DOCUMENT, 0, "disks.%s: '%s' has %u partitions already",
			  l->d->key, l->f->device, max);
}

static int make_slot(const struct layouter *l, size_t i, uint64_t start, uint64_t size)
{
	const struct disks_partition *p = l->d->partitions.items;
	unsigned number = 0;

	if (number_of(l, &p[i], &number) < 0)
		return -1;
	l->ret->slots[i] = (struct disks_slot){
		.conf = &p[i], .number = number, .start = start, .size = size
	};
	return 0;
}

/* ---- an empty table -------------------------------------------------------------------------- */

/* Partitions that follow each other: from one whose start the document gives up to the next one. */
struct run {
	size_t from, to;
	uint64_t start, end;
};

static int check_start(const struct layouter *l, const struct disks_partition *p)
{
	if (p->start.bytes >= l->first && p->start.bytes < l->end)
		return 0;
	return rouse_fail(l->e, ROUSE_DOCUMENT, 0,
			  "disks.%s: \"%s\" shall begin at %llu, but on '%s' partitions lie "
			  "between %llu and %llu",
			  l->d->key, p->key, (unsigned long long)p->start.bytes, l->f->device,
			  (unsigned long long)l->first, (unsigned long long)l->end);
}

/* Where the next given start behind `at` is, or the end. */
static uint64_t next_start(const struct layouter *l, uint64_t at)
{
	const struct disks_partition *p = l->d->partitions.items;
	uint64_t end = l->end;

	for (size_t i = 0; i < l->d->partitions.n; i++)
		if (p[i].start.bytes > at && p[i].start.bytes < end)
			end = p[i].start.bytes;
	return end == l->end ? down(end) : end;
}

static int place_run(struct layouter *l, const struct run *r)
{
	const struct disks_partition *p = l->d->partitions.items;
	struct claim claims[ROUSE_MAX_PARTITIONS];
	uint64_t at = r->start, taken = at;
	size_t n = 0, c = 0;

	for (size_t i = r->from; i < r->to; i++)
		if (has_size(&p[i]))
			taken = (i == r->from ? taken : up(taken)) + disks_size_wanted(l, &p[i]);
	taken = up(taken);
	for (size_t i = r->from; i < r->to; i++)
		if (!has_size(&p[i]))
			claims[n++] = disks_claim_of(&p[i], &l->ret->slots[i]);
	if (n && taken <= r->end && !disks_share_out(claims, n, r->end - taken))
		return disks_no_share(l, claims, n, r->end - taken);
	for (size_t i = r->from; i < r->to; i++) {
		uint64_t size = has_size(&p[i]) ? disks_size_wanted(l, &p[i]) : claims[c++].size,
			 left;

		at = i == r->from ? at : up(at);
		left = r->end > at ? r->end - at : 0;
		if (size > left || size < disks_smallest(&p[i]))
			return disks_no_room(
				l, &p[i],
				size > disks_smallest(&p[i]) ? size : disks_smallest(&p[i]), left);
		if (make_slot(l, i, at, size) < 0)
			return -1;
		at += size;
	}
	return 0;
}

static int place_all(struct layouter *l)
{
	const struct disks_partition *p = l->d->partitions.items;

	for (size_t i = 0; i < l->d->partitions.n;) {
		struct run r = { .from = i, .start = DISKS_GRAIN };

		if (p[i].start.bytes) {
			if (check_start(l, &p[i]) < 0)
				return -1;
			r.start = p[i].start.bytes;
		}
		for (i++; i < l->d->partitions.n && !p[i].start.bytes;)
			i++;
		r.to = i;
		r.end = next_start(l, r.start);
		if (place_run(l, &r) < 0)
			return -1;
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

static int blocked(const struct layouter *l, const struct disks_slot *s, uint64_t want,
		   uint64_t room)
{
	char a[16], b[16];

	return rouse_fail(l->e, ROUSE_DOCUMENT, 0,
			  "disks.%s: partition %u of '%s' (\"%s\") cannot grow to %s: what "
			  "follows it leaves %s",
			  l->d->key, s->number, l->f->device, s->conf->key,
			  rouse_print_size(a, want), rouse_print_size(b, room));
}

static uint64_t room_for(const struct layouter *l, const struct disks_slot *s)
{
	uint64_t limit = down(limit_of(l, s->start + s->size));

	return limit > s->start ? limit - s->start : 0;
}

/* A size in bytes is a demand; a percentage was one when the partition was made, and after that
 * it is met as far as there is room. */
static int grow_sized(struct layouter *l, struct disks_slot *s)
{
	uint64_t want = disks_size_wanted(l, s->conf), room = room_for(l, s);
	char a[16], b[16];

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
		return blocked(l, s, want, room);
	grow_to(l, s, want);
	return 0;
}

/* Without a size it takes what is behind it, within its bounds. */
static int grow_rest(struct layouter *l, struct disks_slot *s)
{
	struct claim c = disks_claim_of(s->conf, s);
	uint64_t room = room_for(l, s), want = room < c.max ? room : c.max;

	if (s->conf->min.bytes && s->size + DISKS_GRAIN <= up(s->conf->min.bytes) &&
	    room < up(s->conf->min.bytes))
		return blocked(l, s, up(s->conf->min.bytes), room);
	if (want >= s->size + DISKS_GRAIN)
		grow_to(l, s, want);
	return 0;
}

/* The partition without a size that ends here, and would have what follows. */
static struct disks_slot *growing_from(const struct layouter *l, uint64_t at)
{
	for (size_t i = 0; i < l->ret->n; i++) {
		struct disks_slot *s = &l->ret->slots[i];

		if (s->entry && !has_size(s->conf) && up(s->start + s->size) == at)
			return s;
	}
	return NULL;
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

/* Where the document says: nothing else may be there. */
static int add_at_start(struct layouter *l, size_t i)
{
	const struct disks_partition *p = (const struct disks_partition *)l->d->partitions.items +
					  i;
	uint64_t start = p->start.bytes, room = 0, limit, size;

	if (check_start(l, p) < 0)
		return -1;
	limit = limit_of(l, start);
	for (size_t k = 0; k < l->n_used; k++)
		if (l->used[k].start <= start && start < l->used[k].start + l->used[k].size)
			limit = start;
	room = limit - start;
	if (!has_size(p))
		room = down(limit) > start ? down(limit) - start : 0;
	size = has_size(p)                 ? disks_size_wanted(l, p)
	       : room < disks_most_size(p) ? room
					   : disks_most_size(p);
	if (size > room || size < (has_size(p) ? EXACT : disks_least_size(p)))
		return disks_no_room(l, p, has_size(p) ? size : disks_least_size(p), room);
	use(l, start, size);
	return make_slot(l, i, start, size);
}

/* The first area that is large enough, from its end when somebody grows from its beginning. */
static int add_sized(struct layouter *l, size_t i)
{
	const struct disks_partition *p = (const struct disks_partition *)l->d->partitions.items +
					  i;
	uint64_t at = DISKS_GRAIN, start = 0, size = 0, best = 0, need = disks_size_wanted(l, p);

	while (next_area(l, &at, &start, &size)) {
		best = size > best ? size : best;
		if (size < need)
			continue;
		if (growing_from(l, start))
			start += size - need;
		use(l, start, need);
		return make_slot(l, i, start, need);
	}
	return disks_no_room(l, p, need, best);
}

/* Those without a size share the largest area, with the one that grows from its beginning. */
static int add_rest(struct layouter *l)
{
	const struct disks_partition *p = l->d->partitions.items;
	struct claim claims[ROUSE_MAX_PARTITIONS + 1];
	struct disks_slot *before = NULL;
	uint64_t at = DISKS_GRAIN, start = 0, size = 0, best = 0, where = 0;
	size_t n = 0, old;

	while (next_area(l, &at, &start, &size))
		if (size > best) {
			best = size;
			where = start;
		}
	before = growing_from(l, where);
	if (before) {
		claims[n++] = disks_claim_of(before->conf, before);
		best += where - before->start;
		where = before->start;
	}
	old = n;
	for (size_t i = 0; i < l->ret->n; i++)
		if (!l->ret->slots[i].conf && !has_size(&p[i]))
			claims[n++] = disks_claim_of(&p[i], &l->ret->slots[i]);
	if (n == old)
		return 0;
	if (!disks_share_out(claims, n, best))
		return disks_no_share(l, claims, n, best);
	for (size_t k = 0; k < n; k++) {
		if (k < old && claims[k].size > before->size)
			grow_to(l, before, claims[k].size);
		if (k >= old) {
			use(l, where, claims[k].size);
			if (make_slot(l, (size_t)(claims[k].slot - l->ret->slots), where,
				      claims[k].size) < 0)
				return -1;
		}
		where = up(where + claims[k].size);
	}
	return 0;
}

static int grow_and_add(struct layouter *l)
{
	const struct disks_partition *p = l->d->partitions.items;
	struct disks_slot *s = l->ret->slots;

	for (size_t i = 0; i < l->ret->n; i++)
		if (s[i].entry && has_size(&p[i]) && grow_sized(l, &s[i]) < 0)
			return -1;
	for (size_t i = 0; i < l->ret->n; i++)
		if (!s[i].entry && p[i].start.bytes && add_at_start(l, i) < 0)
			return -1;
	for (size_t i = 0; i < l->ret->n; i++)
		if (!s[i].conf && has_size(&p[i]) && add_sized(l, i) < 0)
			return -1;
	if (add_rest(l) < 0)
		return -1;
	for (size_t i = 0; i < l->ret->n; i++)
		if (s[i].entry && !has_size(&p[i]) && grow_rest(l, &s[i]) < 0)
			return -1;
	return 0;
}

int disks_layout(const struct disks_conf *conf, const struct disks_disk *d,
		 const struct disks_fact *f, bool fresh, const char *root,
		 struct rouse_arena *arena, struct disks_layout *ret, struct rouse_err *e)
{
	const struct disks_entry *entry = f->partitions.items;
	uint64_t sector = f->sector > 0 ? (uint64_t)f->sector : 512;
	struct layouter *l = rouse_arena_alloc(arena, sizeof(*l));

	*ret = (struct disks_layout){ .n = d->partitions.n };
	ret->slots = rouse_arena_alloc(arena, ret->n * sizeof(*ret->slots));
	*l = (struct layouter){ .conf = conf,
				.d = d,
				.f = f,
				.fresh = fresh,
				.root = root,
				.first = (2 + sectors_of_entries(sector)) * sector,
				.ret = ret,
				.arena = arena,
				.e = e };
	l->end = fresh || f->end <= 0 ? disks_usable_end((uint64_t)f->size, sector)
				      : (uint64_t)f->end;
	if (fresh || f->partitions.n == 0)
		return place_all(l); /* the table is made anew */
	if (f->first > (int64_t)l->first)
		l->first = (uint64_t)f->first;
	for (size_t k = 0; k < f->partitions.n; k++)
		use(l, (uint64_t)entry[k].start, (uint64_t)entry[k].size);
	if (disks_find_entries(l) < 0)
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
