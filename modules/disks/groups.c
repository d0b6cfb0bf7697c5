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

struct disks_action *disks_group_action(const struct work *w)
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
	rouse_plan_add(w->p->plan, ROUSE_USE, DISKS_OP_ACTIVATE, disks_group_action(w),
		       "activate volume group '%s'", w->g->name);
	w->p->plan->steps[w->p->plan->n_steps - 1].opens = shows_more(w);
	disks_hoist(w->p);
}

/* The mark of one was left when its group was made. */
static void finish_members(struct work *w)
{
	for (size_t i = 0; i < w->g->n_members; i++) {
		const struct member *m = &w->g->members[i];
		const struct disks_signature *s = m->w.content ? m->w.content->signatures.items
							       : NULL;
		struct disks_action *a;

		if (!m->kept || !s || !s[0].torn)
			continue;
		a = disks_group_action(w);
		a->source = m->node;
		rouse_plan_add(w->p->plan, ROUSE_CHANGE, DISKS_OP_FINISH_PHYSICAL, a,
			       "finish volume group '%s' on %s", w->g->name,
			       disks_name_of(w->p, &m->w));
	}
}

static void add_members(struct work *w)
{
	struct disks_action *a = disks_group_action(w);
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
		a = disks_group_action(w);
		a->source = m->node;
		rouse_plan_add(w->p->plan, ROUSE_CHANGE, DISKS_OP_PHYSICAL, a,
			       "grow volume group '%s' on %s from %s to %s", w->g->name,
			       disks_name_of(w->p, &m->w), disks_size_text(w->p, has * w->extent),
			       disks_size_text(w->p, may * w->extent));
	}
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
	for (size_t i = 0; i < w->g->n_members; i++)
		w->behind = disks_opened(w->p, w->g->members[i].w.behind, w->behind);
	if (find_group(w) < 0)
		return -1;
	if (needs_thin(w->g) && disks_needs_program(w->p, &w->g->members[0].w, "thin_check") < 0)
		return -1;
	list_devices(w);
	if (w->fact)
		activate(w);
	count_extents(w);
	finish_members(w);
	add_members(w);
	for (int turn = 0; turn < 3; turn++)
		for (size_t i = 0; i < w->g->n_volumes; i++)
			if (order_of(w->g->volumes[i].conf) == turn && disks_plan_volume(w, i) < 0)
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
