/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volume groups, planned when all disks are: from the partitions that name a group, and what lvm
 * reports, to steps. Pure. A group is known by its name and by standing on one of our partitions;
 * nothing of it is ever removed, moved or shrunk.
 */
#include "planner.h"

#include <string.h>

#include <rouse/text.h>

/* lvm keeps its metadata before the first extent. */
#define HEAD MIB

struct work {
	struct planner *p;
	struct group *g;
	const struct disks_group *fact; /* NULL: to be made */
	uint64_t extent, total, used;   /* extents */
	size_t n_room;
	uint64_t room[2 * ROUSE_MAX_MEMBERS]; /* free extents on each physical volume, about */
	const char *const *devices;
};

static struct group *group_named(struct planner *p, const char *name)
{
	for (size_t i = 0; i < p->n_groups; i++)
		if (strcmp(p->groups[i].name, name) == 0)
			return &p->groups[i];
	if (p->n_groups == ARRAY_SIZE(p->groups))
		return NULL;
	p->groups[p->n_groups].name = name;
	return &p->groups[p->n_groups++];
}

static const struct disks_group *group_on(const struct planner *p, const char *device)
{
	const struct disks_group *g = p->facts->groups.items;

	for (size_t i = 0; i < p->facts->groups.n; i++) {
		const struct disks_physical *pv = g[i].physical.items;

		for (size_t k = 0; k < g[i].physical.n; k++)
			if (rouse_streq(pv[k].device, device))
				return &g[i];
	}
	return NULL;
}

static bool is_orphan(const struct planner *p, const char *device)
{
	for (size_t i = 0; i < p->facts->orphans.n; i++)
		if (rouse_streq(((const char *const *)p->facts->orphans.items)[i], device))
			return true;
	return false;
}

static bool has_tag(const struct rouse_list *tags, const char *tag)
{
	for (size_t i = 0; i < tags->n; i++)
		if (rouse_streq(((const char *const *)tags->items)[i], tag))
			return true;
	return false;
}

/* ---- what a group stands on ------------------------------------------------------------------ */

/* A physical volume is there already: of this group, of none, or of another one. */
static int judge_member(struct planner *p, const struct group *g, struct member *m)
{
	const struct disks_group *on = group_on(p, m->node);

	if (on && rouse_streq(on->name, g->name)) {
		m->kept = true;
		return 0;
	}
	if (on)
		return rouse_fail(p->e, ROUSE_DOCUMENT, 0,
				  "disks.%s: %s belongs to the volume group '%s', not to '%s': "
				  "name that one, "
				  "or take it out of there by hand",
				  m->w.d->key, disks_name_of(p, &m->w),
				  disks_printable(on->name, &p->plan->arena), g->name);
	if (is_orphan(p, m->node) && m->w.ours)
		return 0; /* our own, from a run that was cut off: it holds nothing yet */
	return rouse_fail(p->e, ROUSE_DOCUMENT, 0,
			  "disks.%s: %s is an LVM physical volume of which no volume group is "
			  "known: if it is "
			  "worthless, remove it by hand (pvremove)",
			  m->w.d->key, disks_name_of(p, &m->w));
}

static const struct disks_filesystem physical = { .name = "LVM2_member",
						  .print_uuid = disks_uuid_print };

static int plan_member(struct planner *p, struct group *g, struct member *m)
{
	enum verdict v = MAKE;

	if (disks_judge(p, &m->w, &physical, &v) < 0 || disks_needs_program(p, &m->w, "lvm") < 0)
		return -1;
	if (m->w.f->file && v == KEEP) {
		g->unknown = true; /* it grows when it boots */
		return 0;
	}
	if (m->w.f->file)
		return rouse_fail(p->e, ROUSE_DOCUMENT, 0,
				  "disks.%s: an LVM volume group takes a kernel: make it on a "
				  "device, not in the "
				  "image file '%s'",
				  m->w.d->key, m->w.f->device);
	if (v == KEEP)
		return judge_member(p, g, m);
	return disks_claim(p, &m->w, v);
}

static int add_volume(struct planner *p, struct group *g, const struct place *w,
		      const struct disks_partition *v)
{
	if (g->n_volumes == ARRAY_SIZE(g->volumes))
		return rouse_fail(p->e, ROUSE_DOCUMENT, 0, "disks: more than %d volumes in '%s'",
				  ROUSE_MAX_VOLUMES, g->name);
	g->volumes[g->n_volumes].conf = v;
	g->volumes[g->n_volumes].d = w->d;
	g->volumes[g->n_volumes++].f = w->f;
	return 0;
}

int disks_plan_member(struct planner *p, const struct place *w)
{
	const struct disks_partition *conf = w->conf;
	struct group *g = group_named(p, conf->lvm->group);
	const struct disks_partition *v = conf->lvm->volumes.items;
	struct disks_partition *one;

	if (!g || g->n_members == ARRAY_SIZE(g->members))
		return rouse_fail(p->e, ROUSE_DOCUMENT, 0,
				  "disks: too many volume groups, or parts of '%s'",
				  conf->lvm->group);
	g->members[g->n_members] = (struct member){ .w = *w, .node = disks_node_of(p, w) };
	if (plan_member(p, g, &g->members[g->n_members++]) < 0)
		return -1;
	for (size_t i = 0; i < conf->lvm->volumes.n; i++)
		if (add_volume(p, g, w, &v[i]) < 0)
			return -1;
	if (conf->lvm->volumes.n || (!conf->filesystem && !disks_is_mount_point(conf->key)))
		return 0;
	/* The short form: the size is the partition's, the volume has all of it. */
	one = rouse_arena_alloc(&p->plan->arena, sizeof(*one));
	*one = *conf;
	one->size = (struct rouse_size){ 0 };
	one->lvm = NULL;
	return add_volume(p, g, w, one);
}

/* ---- one group ------------------------------------------------------------------------------- */

static struct disks_action *new_action(const struct work *w)
{
	struct disks_action *a = rouse_arena_alloc(&w->p->plan->arena, sizeof(*a));

	*a = (struct disks_action){ .group = w->g->name, .devices = w->devices };
	return a;
}

static int find_group(struct work *w)
{
	const struct disks_group *g = w->p->facts->groups.items;
	const struct disks_disk *d = w->g->members[0].w.d;
	bool kept = false;

	for (size_t i = 0; i < w->p->facts->groups.n; i++) {
		if (!rouse_streq(g[i].name, w->g->name))
			continue;
		if (w->fact)
			return rouse_fail(
				w->p->e, ROUSE_DOCUMENT, 0,
				"disks.%s: there are two volume groups named '%s': rename one",
				d->key, w->g->name);
		w->fact = &g[i];
	}
	for (size_t i = 0; i < w->g->n_members; i++)
		kept |= w->g->members[i].kept;
	if (w->fact && !kept)
		return rouse_fail(w->p->e, ROUSE_DOCUMENT, 0,
				  "disks.%s: a volume group '%s' exists elsewhere on this machine: "
				  "choose another name",
				  d->key, w->g->name);
	if (w->fact && w->fact->missing > 0)
		return rouse_fail(w->p->e, ROUSE_SYSTEM, 0,
				  "disks.%s: the volume group '%s' lacks %lld physical volume%s: "
				  "it is not changed "
				  "nor used without",
				  d->key, w->g->name, (long long)w->fact->missing,
				  w->fact->missing == 1 ? "" : "s");
	w->extent = w->fact && w->fact->extent > 0 ? (uint64_t)w->fact->extent : DISKS_EXTENT;
	return 0;
}

/* Devices that are there, then those that are new. */
static void list_devices(struct work *w)
{
	size_t n = 0, known = w->fact ? w->fact->physical.n : 0;
	const char **list = rouse_arena_alloc(&w->p->plan->arena,
					      (known + w->g->n_members + 1) * sizeof(*list));

	for (size_t i = 0; i < known; i++)
		list[n++] = ((const struct disks_physical *)w->fact->physical.items)[i].device;
	for (size_t i = 0; i < w->g->n_members; i++)
		if (!w->g->members[i].kept)
			list[n++] = w->g->members[i].node;
	w->devices = list;
}

/* Is there more to see when its volumes are active: what nobody can read through what they stand on,
 * or what is encrypted? */
static bool shows_more(const struct work *w)
{
	const struct disks_volume *v = w->fact->volumes.items;

	for (size_t i = 0; i < w->fact->volumes.n; i++)
		if (!v[i].active && !v[i].content)
			return true;
	for (size_t i = 0; i < w->g->n_volumes; i++)
		if (w->g->volumes[i].conf->luks)
			return true;
	return false;
}

static void activate(struct work *w)
{
	const struct disks_volume *v = w->fact->volumes.items;
	bool all = true;

	for (size_t i = 0; i < w->fact->volumes.n; i++)
		all &= v[i].active;
	if (all || w->p->c->image)
		return;
	rouse_plan_add(w->p->plan, ROUSE_USE, DISKS_OP_ACTIVATE, new_action(w),
		       "activate volume group '%s'", w->g->name);
	w->p->plan->steps[w->p->plan->n_steps - 1].opens = shows_more(w);
	disks_hoist(w->p);
}

static void add_members(struct work *w)
{
	struct disks_action *a = new_action(w);
	auto_buf struct rouse_buf names = { 0 };
	uint8_t(*marks)[16] = rouse_arena_alloc(&w->p->plan->arena,
						w->g->n_members * sizeof(*marks));

	for (size_t i = 0; i < w->g->n_members; i++) {
		const struct member *m = &w->g->members[i];
		uint64_t has;

		if (m->kept)
			continue;
		disks_uuid_of(w->p, &m->w, marks[a->n_new++]);
		rouse_buf_printf(&names, "%s%s", names.len ? ", " : "", disks_name_of(w->p, &m->w));
		has = m->w.size > HEAD ? (m->w.size - HEAD) / w->extent : 0;
		w->total += has;
		if (w->n_room < ARRAY_SIZE(w->room))
			w->room[w->n_room++] = has;
	}
	if (!a->n_new)
		return;
	a->marks_of_new = (const uint8_t(*)[16])marks;
	a->extends = w->fact != NULL;
	rouse_plan_add(w->p->plan, ROUSE_CREATE, DISKS_OP_GROUP, a,
		       w->fact ? "extend volume group '%s' to %s" : "make volume group '%s' on %s",
		       w->g->name, names.data);
}

static void grow_member(struct work *w, const struct disks_physical *pv, uint64_t *ret_grown)
{
	for (size_t i = 0; i < w->g->n_members; i++) {
		const struct member *m = &w->g->members[i];
		uint64_t start = (uint64_t)pv->start, has = (uint64_t)pv->extents;
		uint64_t may = m->w.size > start ? (m->w.size - start) / w->extent : 0;
		struct disks_action *a;

		if (!rouse_streq(m->node, pv->device) || may <= has)
			continue;
		w->total += may - has;
		*ret_grown = may - has;
		a = new_action(w);
		a->source = m->node;
		rouse_plan_add(w->p->plan, ROUSE_CHANGE, DISKS_OP_PHYSICAL, a,
			       "grow volume group '%s' on %s from %s to %s", w->g->name,
			       disks_name_of(w->p, &m->w), disks_size_text(w->p, has * w->extent),
			       disks_size_text(w->p, may * w->extent));
	}
}

/* ---- its volumes ----------------------------------------------------------------------------- */

static const struct disks_volume *volume_named(const struct work *w, const char *name)
{
	const struct disks_volume *v = w->fact ? w->fact->volumes.items : NULL;

	for (size_t i = 0; v && i < w->fact->volumes.n; i++)
		if (rouse_streq(v[i].name, name))
			return &v[i];
	return NULL;
}

static const char *volume_name(struct work *w, size_t i)
{
	char name[256];

	return rouse_arena_strdup(&w->p->plan->arena, disks_volume_name(w->g->volumes[i].conf->key,
									name, sizeof(name)));
}

/* How a volume lies on physical volumes: on so many, of which so many hold what counts. */
struct spread {
	uint64_t images, data;
	bool meta; /* one extent more on each */
};

static size_t count_physical(const struct work *w)
{
	size_t n = w->fact ? w->fact->physical.n : 0;

	for (size_t i = 0; i < w->g->n_members; i++)
		n += !w->g->members[i].kept;
	return n;
}

static struct spread spread_of(const struct work *w, const struct disks_partition *v)
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
	const struct spread s = spread_of(w, v);
	uint64_t meta = v->pool && extents ? extents / 1024 + 1 : 0;

	if (v->thin || !extents)
		return 0;
	return s.images * ((extents + s.data - 1) / s.data + s.meta) + 2 * meta;
}

static const struct disks_volume *pool_of(const struct work *w, const struct disks_partition *v,
					  uint64_t *ret_extents)
{
	const struct disks_volume *pool = volume_named(w, v->thin);

	*ret_extents = pool ? (uint64_t)pool->size / w->extent : 0;
	for (size_t i = 0; i < w->g->n_volumes; i++)
		if (w->g->volumes[i].conf->pool && strcmp(w->g->volumes[i].conf->key, v->thin) == 0)
			*ret_extents = w->g->volumes[i].extents;
	return pool;
}

/* Extents that the document asks for; 0: what is left. */
static uint64_t wanted(const struct work *w, const struct disks_partition *v)
{
	uint64_t data = spread_of(w, v).data, whole = w->total, n;

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
	const struct spread s = spread_of(w, v);
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
	const struct spread s = spread_of(w, v);
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
	const struct spread s = spread_of(w, v);
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
static int size_volume(struct work *w, size_t i, const struct disks_volume *there, uint64_t *ret)
{
	uint64_t left = w->total > w->used ? w->total - w->used : 0;

	if ((there ? size_existing(w, i, there, left, ret) : size_new(w, i, left, ret)) < 0)
		return -1;
	w->g->volumes[i].extents = *ret;
	return 0;
}

static const char *text_of(struct work *w, uint64_t n)
{
	return rouse_arena_printf(&w->p->plan->arena, "%llu", (unsigned long long)n);
}

/* What lvcreate has to know beside name and size. */
static const char *const *arguments_of(struct work *w, const struct disks_partition *v)
{
	const struct spread s = spread_of(w, v);
	const char **list = rouse_arena_alloc(&w->p->plan->arena, 12 * sizeof(*list));
	size_t n = 0;

	if (v->pool) {
		list[n++] = "--type";
		list[n++] = "thin-pool";
		return list;
	}
	list[n++] = "-Wn";
	list[n++] = "-Zn";
	list[n++] = "--addtag";
	list[n++] = DISKS_PENDING_TAG;
	if (!v->spread)
		return list;
	list[n++] = "--type";
	list[n++] = v->spread->level ? rouse_arena_printf(&w->p->plan->arena, "raid%lld",
							  (long long)v->spread->level)
				     : "striped";
	if (v->spread->level != 1) {
		list[n++] = "--stripes";
		list[n++] = text_of(w, s.data);
	}
	if (v->spread->level == 1 || v->spread->level == 10) {
		list[n++] = "--mirrors";
		list[n++] = text_of(w, v->spread->level == 1 ? s.images - 1 : 1);
	}
	return list;
}

/* " as RAID 1", " for thin volumes" */
static const char *kind_of(struct work *w, const struct disks_partition *v)
{
	const struct spread s = spread_of(w, v);

	if (v->pool)
		return ", a pool for thin volumes";
	if (v->thin)
		return rouse_arena_printf(&w->p->plan->arena, ", thin, in the pool '%s'", v->thin);
	if (!v->spread)
		return "";
	if (!v->spread->level)
		return rouse_arena_printf(&w->p->plan->arena, ", %llu stripes",
					  (unsigned long long)s.images);
	return rouse_arena_printf(&w->p->plan->arena, ", RAID %lld on %llu",
				  (long long)v->spread->level, (unsigned long long)s.images);
}

static void add_volume_step(struct work *w, size_t i, const char *name,
			    const struct disks_volume *there, uint64_t extents)
{
	const struct disks_partition *v = w->g->volumes[i].conf;
	bool rest = !v->size.bytes && !v->size.percent;
	struct disks_action *a = new_action(w);

	a->volume = rouse_arena_printf(&w->p->plan->arena, "%s/%s", w->g->name, name);
	a->extents = rest && !(there && v->spread) ? 0 : extents;
	a->extends = there != NULL;
	a->length = extents * w->extent;
	a->pool = v->thin;
	a->arguments = arguments_of(w, v);
	if (there)
		rouse_plan_add(w->p->plan, ROUSE_CHANGE, DISKS_OP_VOLUME, a,
			       "grow volume '%s' in '%s' from %s to %s", name, w->g->name,
			       disks_size_text(w->p, (uint64_t)there->size),
			       disks_size_text(w->p, extents * w->extent));
	else
		rouse_plan_add(w->p->plan, ROUSE_CREATE, DISKS_OP_VOLUME, a,
			       "make volume '%s' (%s%s) in '%s'", name,
			       disks_size_text(w->p, extents * w->extent), kind_of(w, v),
			       w->g->name);
}

static struct place place_of(struct work *w, size_t i, const char *name,
			     const struct disks_volume *there, uint64_t extents)
{
	const struct disks_partition *v = w->g->volumes[i].conf;
	bool pending = there && has_tag(&there->tags, DISKS_PENDING_TAG);
	char label[256];

	return (struct place){
		.d = w->g->volumes[i].d,
		.f = w->g->volumes[i].f,
		.key = v->key,
		.conf = v,
		.filesystem = v->filesystem,
		.luks = v->luks,
		.mount = disks_is_mount_point(v->key) ? v->key : NULL,
		.label = rouse_arena_strdup(&w->p->plan->arena,
					    disks_partition_label(v, label, sizeof(label))),
		.options = &v->mount_options,
		.group = w->g->name,
		.volume = name,
		.published = true,
		.size = extents * w->extent,
		/* What is there while it is pending was there before. */
		.content = there && (!pending || there->content) ? there->content : NULL,
	};
}

/* Until its filesystem is complete, what a pending volume holds is nobody's. */
static bool is_finished(struct planner *p, const struct place *w, const struct disks_filesystem *fs)
{
	const struct disks_signature *s = w->content ? w->content->signatures.items : NULL;
	char shown[DISKS_GUID_LEN];
	uint8_t uuid[16];

	disks_uuid(disks_seed(p->conf), w->group, w->volume, "volume", uuid);
	fs->print_uuid(uuid, shown);
	return s && w->content->signatures.n == 1 && rouse_streq(s[0].type, fs->name) &&
	       rouse_streq(s[0].uuid, shown);
}

static void add_finish(struct work *w, const char *name)
{
	struct disks_action *a = new_action(w);

	a->volume = rouse_arena_printf(&w->p->plan->arena, "%s/%s", w->g->name, name);
	rouse_plan_add(w->p->plan, ROUSE_CHANGE, DISKS_OP_FINISH, a, "finish volume '%s' in '%s'",
		       name, w->g->name);
}

/* The tag has done its work when the encrypted volume, which is pending itself, is there. */
static int plan_encrypted(struct work *w, struct place *at, const struct disks_volume *there)
{
	const struct disks_signature *s = at->content ? at->content->signatures.items : NULL;
	bool pending = there && has_tag(&there->tags, DISKS_PENDING_TAG), made = false;
	bool ours = s && at->content->signatures.n == 1 && rouse_streq(s[0].type, "crypto_LUKS") &&
		    !disks_is_pending(w->p, at);

	if (pending && !ours)
		at->content = NULL;
	if (there && !pending && !there->content && !there->active && !w->p->c->image)
		return 0; /* when it is active */
	if (there && !pending && !there->content)
		return rouse_fail(w->p->e, ROUSE_SYSTEM, 0,
				  "disks.%s: nobody can tell what volume '%s' of '%s' holds while "
				  "it is not active: activate it",
				  at->d->key, at->volume, at->group);
	if (disks_plan_luks(w->p, at, !there || pending, &made) < 0)
		return -1;
	if (!there || pending)
		add_finish(w, at->volume);
	return 0;
}

static int plan_content(struct work *w, struct place *at, const struct disks_volume *there)
{
	struct planner *p = w->p;
	const struct disks_filesystem *fs = at->filesystem ? disks_filesystem_find(at->filesystem)
							   : NULL;
	bool pending = there && has_tag(&there->tags, DISKS_PENDING_TAG);
	enum verdict v = KEEP;

	if (fs && pending && !is_finished(p, at, fs))
		at->content = NULL;
	if (there && !pending && !there->content && !there->active && !p->c->image)
		return 0; /* when it is active */
	if (there && !pending && !there->content && at->filesystem)
		return rouse_fail(p->e, ROUSE_SYSTEM, 0,
				  "disks.%s: nobody can tell what volume '%s' of '%s' holds while "
				  "it is not active: "
				  "activate it",
				  at->d->key, at->volume, at->group);
	if (fs && at->size < fs->min)
		return rouse_fail(p->e, ROUSE_DOCUMENT, 0,
				  "disks.%s: volume '%s' of '%s' is too small for %s", at->d->key,
				  at->volume, at->group, fs->name);
	if (fs && disks_judge(p, at, fs, &v) < 0)
		return -1;
	if (v == REPLACE)
		return rouse_fail(p->e, ROUSE_DOCUMENT, 0,
				  "disks.%s: volume '%s' of '%s' holds %s, where %s is wanted: "
				  "\"replace\" does not "
				  "count for volumes; remove it by hand",
				  at->d->key, at->volume, at->group,
				  disks_describe_content(at->content, &p->plan->arena), fs->name);
	if (v == MAKE && disks_needs_program(p, at, fs->program) < 0)
		return -1;
	if (v == MAKE) {
		struct disks_action *a = disks_add_make(p, at, fs, NULL);

		a->devices = !there || pending ? w->devices : NULL; /* the tag goes with it */
	} else if (pending) {
		add_finish(w, at->volume);
	}
	return disks_plan_use(p, at, v == KEEP && there);
}

static int plan_volume(struct work *w, size_t i)
{
	const char *name = volume_name(w, i);
	const struct disks_volume *there = volume_named(w, name);
	uint64_t extents = 0;
	struct place at;

	if (size_volume(w, i, there, &extents) < 0)
		return -1;
	if (!there || extents * w->extent > (uint64_t)there->size)
		add_volume_step(w, i, name, there, extents);
	if (w->g->volumes[i].conf->pool)
		return 0;
	at = place_of(w, i, name, there, extents);
	return at.luks ? plan_encrypted(w, &at, there) : plan_content(w, &at, there);
}

/* What has a size first, then what takes what is left, then what is in a pool. */
static int order_of(const struct disks_partition *v)
{
	return v->thin ? 2 : !v->size.bytes && !v->size.percent;
}

static void count_extents(struct work *w)
{
	const struct disks_physical *pv = w->fact ? w->fact->physical.items : NULL;
	const struct disks_volume *v = w->fact ? w->fact->volumes.items : NULL;

	for (size_t i = 0; pv && i < w->fact->physical.n; i++) {
		uint64_t grown = 0, has = (uint64_t)pv[i].extents,
			 taken = (uint64_t)pv[i].allocated;

		w->total += has;
		w->used += taken;
		grow_member(w, &pv[i], &grown);
		if (w->n_room < ARRAY_SIZE(w->room))
			w->room[w->n_room++] = has + grown > taken ? has + grown - taken : 0;
	}
	if (w->used)
		return;
	for (size_t i = 0; v && i < w->fact->volumes.n; i++)
		w->used += (uint64_t)v[i].size / w->extent;
}

static bool needs_thin(const struct group *g)
{
	for (size_t i = 0; i < g->n_volumes; i++)
		if (g->volumes[i].conf->pool)
			return true;
	return false;
}

static int plan_group(struct work *w)
{
	if (find_group(w) < 0)
		return -1;
	if (needs_thin(w->g) && disks_needs_program(w->p, &w->g->members[0].w, "thin_check") < 0)
		return -1;
	list_devices(w);
	if (w->fact)
		activate(w);
	count_extents(w);
	add_members(w);
	for (int turn = 0; turn < 3; turn++)
		for (size_t i = 0; i < w->g->n_volumes; i++)
			if (order_of(w->g->volumes[i].conf) == turn && plan_volume(w, i) < 0)
				return -1;
	return 0;
}

int disks_plan_groups(struct planner *p)
{
	for (size_t i = 0; i < p->n_groups; i++) {
		struct work w = { .p = p, .g = &p->groups[i] };

		if (!p->groups[i].unknown && plan_group(&w) < 0)
			return -1;
	}
	return 0;
}
