/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From conf and facts to steps: every disk in turn, and a filesystem on one or on a part of it. Pure.
 *
 * Filesystems are made before the table that publishes them is written, so that a partition is
 * there complete or not at all. Every refusal happens in planning, before any disk is touched.
 */
#include "planner.h"

#include <string.h>

#include <rouse/text.h>

const char *disks_mount_root(const struct rouse_context *c)
{
	return c->initramfs ? c->root : "/";
}

struct disks_action *disks_new_action(struct planner *p, const struct disks_disk *d unused_arg,
				      const struct disks_fact *f)
{
	struct disks_action *a = rouse_arena_alloc(&p->plan->arena, sizeof(*a));

	*a = (struct disks_action){ .device = f->device,
				    .fingerprint = f->fingerprint,
				    .pending = &f->pending,
				    .file = f->file,
				    .size = (uint64_t)f->size,
				    .sector = (uint64_t)f->sector,
				    .ours = p->ours,
				    .begin = p->begin };
	p->begin = NULL; /* with the first step of a disk */
	return a;
}

struct disks_action *disks_action_on(struct planner *p, const struct place *w)
{
	p->last = disks_new_action(p, w->d, w->f);
	return p->last;
}

const char *disks_size_text(struct planner *p, uint64_t bytes)
{
	char buf[16];

	return rouse_arena_strdup(&p->plan->arena, rouse_print_size(buf, bytes));
}

/* ---- one filesystem -------------------------------------------------------------------------- */

/* Made when the table has published it; until then the pending mark lies there. */
bool disks_is_late(const struct place *w)
{
	const struct disks_filesystem *fs = w->filesystem ? disks_filesystem_find(w->filesystem)
							  : NULL;

	return w->lvm || w->raid || w->luks || (fs && fs->late && !w->f->file);
}

/* Lays the pending mark into what the table will publish. */
static void add_mark(struct planner *p, const struct place *w, const uint8_t uuid[static 16])
{
	struct disks_mark *m = &p->table->marks[p->table->n_marks++];

	*m = (struct disks_mark){ .start = w->start, .size = w->size };
	memcpy(m->uuid, uuid, sizeof(m->uuid));
}

/* Leaves only the pending mark there: where consent was given (v is REPLACE), or what is blank is taken by
 * something that is made in several steps. */
static void add_erase(struct planner *p, const struct place *w, enum verdict v)
{
	struct disks_action *a = disks_new_action(p, w->d, w->f);
	bool whole = !w->number;

	disks_uuid_of(p, w, a->uuid);
	a->number = w->number;
	a->published = true;
	a->start = w->start;
	a->length = w->size;
	if (v == REPLACE)
		rouse_plan_add(p->plan, ROUSE_DESTROY, DISKS_OP_ERASE, a, "destroy %s on %s",
			       whole ? disks_describe(w->f, &p->plan->arena)
				     : disks_describe_content(w->content, &p->plan->arena),
			       disks_name_of(p, w));
	else
		rouse_plan_add(p->plan, ROUSE_CREATE, DISKS_OP_ERASE, a,
			       "take %s (%s, blank) for %s", disks_name_of(p, w),
			       disks_size_text(p, w->size), disks_what_is_wanted(p, w));
	p->last = a;
}

int disks_claim(struct planner *p, const struct place *w, enum verdict v)
{
	uint8_t uuid[16];

	if (disks_refuse_writes(p, w->d, w->f) < 0)
		return -1;
	disks_uuid_of(p, w, uuid);
	if (disks_has_node(w))
		return 0; /* its own step marks it */
	if (!w->published)
		add_mark(p, w, uuid);
	else if (v == REPLACE || !disks_is_pending(p, w))
		add_erase(p, w, v);
	return 0;
}

/* `lost`: what is destroyed for it, in words; NULL: nothing. */
struct disks_action *disks_add_make(struct planner *p, const struct place *w,
				    const struct disks_filesystem *fs, const char *lost)
{
	struct disks_action *a = disks_new_action(p, w->d, w->f);
	const char *label = strlen(w->label) <= fs->max_label ? w->label : "";
	const char *name = rouse_arena_printf(
		&p->plan->arena, "%s%s%s%s", fs->name, *label ? " '" : "",
		disks_printable(label, &p->plan->arena), *label ? "'" : "");

	char shown[DISKS_GUID_LEN];

	disks_uuids_of(p, w, fs, a->uuid, shown);
	a->volume = w->volume && !w->inside ? disks_name_of(p, w) : NULL;
	a->source = disks_has_node(w) ? disks_node_of(p, w) : NULL;
	a->fs = fs;
	a->mkfs = w->conf ? w->conf->mkfs : NULL;
	a->label = rouse_arena_strdup(&p->plan->arena, label);
	a->number = w->number;
	a->published = w->published || disks_is_late(w);
	a->start = w->start;
	a->length = w->size;
	rouse_plan_add(p->plan, lost ? ROUSE_DESTROY : ROUSE_CREATE,
		       disks_has_node(w) ? DISKS_OP_MAKE_VOLUME : DISKS_OP_MAKE, a,
		       "make %s on %s (%s)%s%s%s%s", name, disks_name_of(p, w),
		       disks_size_text(p, w->size), w->mount ? " for " : "",
		       w->mount ? w->mount : "", lost ? ", in place of " : "", lost ? lost : "");
	if (disks_has_node(w))
		return a;
	p->last = a;
	if (!w->published && disks_is_late(w))
		add_mark(p, w, a->uuid);
	return a;
}

static int plan_filesystem(struct planner *p, const struct place *w)
{
	const struct disks_filesystem *fs = w->filesystem ? disks_filesystem_find(w->filesystem)
							  : NULL;
	enum verdict v = KEEP;

	if (fs && w->size < fs->min && !w->number)
		return rouse_fail(p->e, ROUSE_DOCUMENT, 0, "disks.%s: %s%s%s is too small for %s",
				  w->d->key, w->title ? "" : "'", disks_name_of(p, w),
				  w->title ? "" : "'", fs->name);
	if (fs && disks_judge(p, w, fs, &v) < 0)
		return -1;
	if (v != KEEP && disks_needs_program(p, w, fs->program) < 0)
		return -1;
	if (v != KEEP && w->f->file && w->conf && w->conf->mkfs && w->conf->mkfs->subvolumes.n)
		return rouse_fail(
			p->e, ROUSE_DOCUMENT, 0,
			"disks.%s: subvolumes take a kernel: make them on a device, not in "
			"the image file '%s'",
			w->d->key, w->f->device);
	if (v != KEEP) {
		if (disks_refuse_writes(p, w->d, w->f) < 0)
			return -1;
		(void)disks_add_make(p, w, fs,
				     v != REPLACE ? NULL
				     : w->number || disks_has_node(w)
					     ? disks_describe_content(w->content, &p->plan->arena)
					     : disks_describe(w->f, &p->plan->arena));
	}
	return disks_plan_use(p, w, v == KEEP);
}

int disks_plan_place(struct planner *p, const struct place *w)
{
	bool made;

	if (w->number && w->conf->image)
		return disks_plan_image(p, w);
	if (w->raid)
		return disks_plan_array_member(p, w, w->raid);
	if (w->luks)
		return disks_plan_luks(p, w, false, &made);
	if (w->lvm)
		return disks_plan_member(p, w);
	return plan_filesystem(p, w);
}

/* ---- a whole disk ---------------------------------------------------------------------------- */

const struct disks_partition *disks_conf_of(struct planner *p, const struct disks_disk *d)
{
	struct disks_partition *conf = rouse_arena_alloc(&p->plan->arena, sizeof(*conf));

	*conf = (struct disks_partition){ .key = d->mount ? d->mount : d->key,
					  .filesystem = d->filesystem,
					  .label = d->label,
					  .lvm = d->lvm,
					  .luks = d->luks,
					  .mkfs = d->mkfs,
					  .mount_options = d->mount_options };
	return conf;
}

static int plan_whole(struct planner *p, const struct disks_disk *d, const struct disks_fact *f)
{
	const struct place w = { .d = d,
				 .f = f,
				 .key = "",
				 .conf = disks_conf_of(p, d),
				 .filesystem = d->filesystem,
				 .mount = d->mount,
				 .lvm = d->lvm,
				 .luks = d->luks,
				 .label = d->label ? d->label : d->key,
				 .options = &d->mount_options,
				 .published = true,
				 .size = (uint64_t)f->size,
				 .content = f->content };

	return disks_plan_place(p, &w);
}

/* Said, so that nobody wonders; nothing is done. */
static void add_skip(struct planner *p, const struct disks_disk *d)
{
	rouse_plan_add(p->plan, ROUSE_USE, DISKS_OP_SKIP, NULL, "do without %s, which is not there",
		       d->key);
}

/* A tree below --root has no disks unless they are named with --disk. */
static bool has_disks(const struct disks_facts *facts, const struct rouse_context *c)
{
	const struct disks_fact *f = facts->disks.items;

	for (size_t i = 0; c->image && i < facts->disks.n; i++)
		if (f[i].bound)
			return true;
	return !c->image;
}

static bool is_opening(const struct rouse_plan *plan)
{
	for (size_t i = 0; i < plan->n_steps; i++)
		if (plan->steps[i].opens)
			return true;
	return false;
}

int disks_plan(const void *conf_, const void *facts, const struct rouse_context *c,
	       struct rouse_plan *plan, struct rouse_err *e)
{
	const struct disks_conf *conf = conf_;
	const struct disks_disk *d = conf->disks.items;
	struct disks_found found[ROUSE_MAX_DISKS];
	auto_free struct planner *p = rouse_calloc(1, sizeof(*p));

	if (conf->disks.n && !has_disks(facts, c))
		return 0;
	p->conf = conf;
	p->facts = facts;
	p->c = c;
	p->plan = plan;
	p->first = plan->n_steps;
	p->e = e;
	p->ours = disks_our_guids(conf, &plan->arena);
	if (disks_match(conf, facts, c, &plan->arena, found, e) < 0)
		return -1;
	for (size_t i = 0; i < conf->disks.n; i++) {
		for (size_t k = 0; k < found[i].n; k++)
			if (!found[i].all[k]->size && found[i].all[k]->damage)
				return rouse_fail(e, ROUSE_SYSTEM, 0, "disks.%s: %s", d[i].key,
						  found[i].all[k]->damage);
			else if (found[i].all[k]->fingerprint)
				rouse_plan_basis(plan, found[i].all[k]->fingerprint);
		p->last = NULL;
		if (found[i].missing) {
			add_skip(p, &d[i]);
			disks_plan_lacking(p, &d[i]);
			continue;
		}
		if (d[i].raid) {
			if (d[i].device && disks_plan_set(p, &d[i], &found[i]) < 0)
				return -1;
			continue;
		}
		if ((d[i].partitions.n ? disks_plan_partitions(p, &d[i], found[i].f)
				       : plan_whole(p, &d[i], found[i].f)) < 0)
			return -1;
		if (p->last)
			p->last->last = true;
	}
	if (disks_plan_arrays(p) < 0 || disks_plan_groups(p) < 0 || disks_plan_verity(p) < 0)
		return -1;
	/* What stands on something that is not open yet is not known yet. An initramfs uses at once what
	 * it has: it would mount what belongs into a root that comes later, and is then mounted over it. */
	if (!is_opening(plan) || !c->initramfs)
		disks_plan_mounts(p);
	if (is_opening(plan))
		return 0;
	disks_plan_fstab(p);
	disks_plan_units(p);
	return 0;
}
