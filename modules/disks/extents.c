/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How large volumes become, in extents: what the document asks for, how it lies on physical volumes, and
 * what is free there. Pure.
 */
#include "planner.h"

#include <string.h>

#include <rouse/text.h>

const struct disks_volume *disks_volume_named(const struct work *w, const char *name)
{
	const struct disks_volume *v = w->fact ? w->fact->volumes.items : NULL;

	for (size_t i = 0; v && i < w->fact->volumes.n; i++)
		if (rouse_streq(v[i].name, name))
			return &v[i];
	return NULL;
}

static size_t count_physical(const struct work *w)
{
	size_t n = w->fact ? w->fact->physical.n : 0;

	for (size_t i = 0; i < w->g->n_members; i++)
		n += !w->g->members[i].kept;
	return n;
}

struct spread disks_spread_of(const struct work *w, const struct disks_partition *v)
{
	const struct disks_spread *s = v->spread;
	uint64_t n = count_physical(w);

	if (!s)
		return (struct spread){ 1, 1, false };
	if (s->devices)
		n = (uint64_t)s->devices;
	else if (s->level == 1)
		n = 2;
	else if (s->level == 10)
		n -= n % 2;
	n = n ? n : 1;
	switch (s->level) {
	case 1:
		return (struct spread){ n, 1, true };
	case 5:
		return (struct spread){ n, n > 1 ? n - 1 : 1, true };
	case 6:
		return (struct spread){ n, n > 2 ? n - 2 : 1, true };
	case 10:
		return (struct spread){ n, n > 1 ? n / 2 : 1, true };
	default:
		return (struct spread){ n, n ? n : 1, false };
	}
}

static uint64_t fewest(const struct disks_spread *s)
{
	switch (s->level) {
	case 5:
		return 3;
	case 6:
		return 5;
	case 10:
		return 4;
	default:
		return 2;
	}
}

/* Extents that a volume takes. A pool has metadata, and room to repair it: 64 bytes for each 64 KiB. */
static uint64_t cost(const struct work *w, const struct disks_partition *v, uint64_t extents)
{
	const struct spread s = disks_spread_of(w, v);
	uint64_t meta = v->pool && extents ? extents / 1024 + 1 : 0;

	if (v->thin || !extents)
		return 0;
	return s.images * ((extents + s.data - 1) / s.data + s.meta) + 2 * meta;
}

static const struct disks_volume *pool_of(const struct work *w, const struct disks_partition *v,
					  uint64_t *ret_extents)
{
	const struct disks_volume *pool = disks_volume_named(w, v->thin);

	*ret_extents = pool ? (uint64_t)pool->size / w->extent : 0;
	for (size_t i = 0; i < w->g->n_volumes; i++)
		if (w->g->volumes[i].conf->pool && strcmp(w->g->volumes[i].conf->key, v->thin) == 0)
			*ret_extents = w->g->volumes[i].extents;
	return pool;
}

/* Extents that the document asks for; 0: what is left. */
static uint64_t wanted(const struct work *w, const struct disks_partition *v)
{
	uint64_t data = disks_spread_of(w, v).data, whole = w->total, n;

	if (v->thin)
		(void)pool_of(w, v, &whole);
	n = v->size.percent ? whole * v->size.percent / 100
			    : (v->size.bytes + w->extent - 1) / w->extent;
	n = (n + data - 1) / data * data;
	return n || !v->size.percent ? n : data;
}

static int no_room(const struct work *w, size_t i, uint64_t need, uint64_t have)
{
	char a[16], b[16];

	return rouse_fail(w->p->e, ROUSE_DOCUMENT, 0,
			  "disks.%s: no room in the volume group '%s' for \"%s\": it needs %s, %s "
			  "are free there",
			  w->g->volumes[i].d->key, w->g->name, w->g->volumes[i].conf->key,
			  rouse_print_size(a, need * w->extent),
			  rouse_print_size(b, have * w->extent));
}

/* Extents that each part of a volume can have when every part is on a physical volume of its own. */
static uint64_t room_for_parts(const struct work *w, uint64_t images)
{
	uint64_t best = 0;

	for (size_t i = 0; i < w->n_room; i++) {
		size_t others = 0;

		for (size_t k = 0; k < w->n_room; k++)
			others += w->room[k] >= w->room[i];
		if (others >= images && w->room[i] > best)
			best = w->room[i];
	}
	return best;
}

/* Where lvm will put it: parts where most is free, all else from the first one on. */
static void take_room(struct work *w, uint64_t images, uint64_t each)
{
	if (images > 1) {
		uint64_t least = room_for_parts(w, images);

		for (size_t i = 0; i < w->n_room && images; i++)
			if (w->room[i] >= least) {
				w->room[i] -= each < w->room[i] ? each : w->room[i];
				images--;
			}
		return;
	}
	for (size_t i = 0; i < w->n_room && each; i++) {
		uint64_t here = each < w->room[i] ? each : w->room[i];

		w->room[i] -= here;
		each -= here;
	}
}

static bool has_layout(const struct disks_partition *v, const struct disks_volume *there)
{
	char want[16];

	if (v->pool)
		return strstr(there->layout, "pool") != NULL;
	if (v->thin)
		return strncmp(there->layout, "thin", 4) == 0;
	if (!v->spread)
		return true; /* linear, or whatever somebody has made of it */
	if (v->spread->level == 0)
		return strcmp(there->layout, "striped") == 0;
	(void)snprintf(want, sizeof(want), ",raid%lld", (long long)v->spread->level);
	return strstr(there->layout, want) != NULL;
}

/* What there is left for a volume without a size. */
static uint64_t rest_for(const struct work *w, const struct disks_partition *v, uint64_t left)
{
	const struct spread s = disks_spread_of(w, v);
	uint64_t n = left / s.images, parts = room_for_parts(w, s.images);

	if (s.images > 1 && parts < n)
		n = parts;
	if (v->pool)
		return left > 2 * (left / 1024 + 1) ? left - 2 * (left / 1024 + 1) : 0;
	return n > s.meta ? (n - s.meta) * s.data : 0;
}

static int size_new(struct work *w, size_t i, uint64_t left, uint64_t *ret)
{
	const struct disks_partition *v = w->g->volumes[i].conf;
	const struct spread s = disks_spread_of(w, v);
	uint64_t want = wanted(w, v), each;

	if (v->spread && (s.images < fewest(v->spread) || s.images > count_physical(w)))
		return rouse_fail(w->p->e, ROUSE_DOCUMENT, 0,
				  "disks.%s: volume \"%s\" takes %llu physical volumes, the group "
				  "'%s' has %zu",
				  w->g->volumes[i].d->key, v->key,
				  (unsigned long long)(s.images < fewest(v->spread)
							       ? fewest(v->spread)
							       : s.images),
				  w->g->name, count_physical(w));
	if (!want)
		want = rest_for(w, v, left);
	each = cost(w, v, want) / s.images;
	if (!want || cost(w, v, want) > left)
		return no_room(w, i, want ? cost(w, v, want) : 1, left);
	if (s.images > 1 && each > room_for_parts(w, s.images))
		return no_room(w, i, cost(w, v, want), s.images * room_for_parts(w, s.images));
	w->used += cost(w, v, want);
	take_room(w, s.images, each);
	*ret = want;
	return 0;
}

static int size_existing(struct work *w, size_t i, const struct disks_volume *there, uint64_t left,
			 uint64_t *ret)
{
	const struct disks_partition *v = w->g->volumes[i].conf;
	const struct spread s = disks_spread_of(w, v);
	uint64_t has = (uint64_t)there->size / w->extent, want = wanted(w, v), more;
	bool plain = v->pool || v->thin || v->spread || rouse_streq(there->layout, "linear");
	char a[16], b[16];

	if (!has_layout(v, there))
		return rouse_fail(w->p->e, ROUSE_DOCUMENT, 0,
				  "disks.%s: volume '%s' of '%s' is there as %s, and the document "
				  "wants another kind: rouse does not convert volumes",
				  w->g->volumes[i].d->key, there->name, w->g->name,
				  disks_printable(there->layout, &w->p->plan->arena));
	if (!want && v->spread)
		want = has + s.data * room_for_parts(w, s.images);
	else if (!want)
		want = has + left;
	if (v->size.percent && !v->thin && want > has + left)
		want = has + left;
	if (v->size.bytes && want < has)
		return rouse_fail(w->p->e, ROUSE_DOCUMENT, 0,
				  "disks.%s: volume '%s' of '%s' has %s, and \"%s\" shall have %s: "
				  "rouse does not "
				  "shrink; ask for what is there or leave \"size\" out",
				  w->g->volumes[i].d->key, there->name, w->g->name,
				  rouse_print_size(a, has * w->extent), v->key,
				  rouse_print_size(b, want * w->extent));
	if (want < has || !plain ||
	    ((v->spread || v->pool) && !v->size.bytes && (want - has) * w->extent < DISKS_GROW_MIN))
		want = has;
	more = v->thin ? 0 : (want - has + s.data - 1) / s.data * s.images;
	if (more > left || (s.images > 1 && more / s.images > room_for_parts(w, s.images)))
		return no_room(w, i, more, left);
	w->used += more;
	take_room(w, s.images, more / s.images);
	*ret = want;
	return 0;
}

/* How many extents volume i will have; what it takes more is used up. */
int disks_size_volume(struct work *w, size_t i, const struct disks_volume *there, uint64_t *ret)
{
	uint64_t left = w->total > w->used ? w->total - w->used : 0;

	if ((there ? size_existing(w, i, there, left, ret) : size_new(w, i, left, ret)) < 0)
		return -1;
	w->g->volumes[i].extents = *ret;
	return 0;
}
