/* SPDX-License-Identifier: Apache-2.0 */
/* The picture of a plan: each disk before and after. Pure, like the plan, and made of the same: what
 * the document means, where partitions go, and which steps were planned. */
#include "planner.h"

#include <stdlib.h>

#include <rouse/picture.h>
#include <rouse/text.h>

#include "describe.h"

struct artist {
	const struct disks_conf *conf;
	const struct rouse_plan *plan;
	struct rouse_arena *arena;
	const struct disks_disk *d;
	const struct disks_fact *f;
	struct rouse_part *parts;
	size_t n;
};

static const char *content_text(const struct artist *a, const struct disks_content *c)
{
	if (!c)
		return NULL;
	if (c->signatures.n == 0 && c->zero)
		return "blank";
	return disks_describe_content(c, a->arena);
}

/* "ext4", "LVM 'system' with /, /var" */
static const char *content_wanted(const struct artist *a, const struct disks_partition *p)
{
	auto_buf struct rouse_buf out = { 0 };
	const struct disks_partition *v;

	if (p->raid)
		return rouse_arena_printf(a->arena, "member of array '%s'", p->raid);
	if (!p->lvm)
		return p->filesystem;
	rouse_buf_printf(&out, "LVM '%s'", p->lvm->group);
	v = p->lvm->volumes.items;
	for (size_t i = 0; i < p->lvm->volumes.n; i++)
		rouse_buf_printf(&out, "%s%s", i ? ", " : " with ", v[i].key);
	return rouse_arena_strdup(a->arena, out.data);
}

static const char *wanted_text(const struct artist *a, const struct disks_partition *p)
{
	const char *inside = content_wanted(a, p);

	if (!p->luks)
		return inside;
	return inside ? rouse_arena_printf(a->arena, "LUKS with %s", inside) : "LUKS";
}

/* Is something made where this begins, and is anything destroyed for it? */
static bool is_made(const struct artist *a, uint64_t start, bool *ret_lost)
{
	bool made = false;

	for (size_t i = 0; i < a->plan->n_steps; i++) {
		const struct rouse_step *s = &a->plan->steps[i];
		const struct disks_action *action = s->arg;

		if (s->module != &rouse_module_disks || !action ||
		    (s->op != DISKS_OP_MAKE && s->op != DISKS_OP_ERASE) ||
		    !rouse_streq(action->device, a->f->device) || action->start != start)
			continue;
		made = true;
		*ret_lost |= s->effect == ROUSE_DESTROY;
	}
	return made;
}

static struct rouse_part *add_part(struct artist *a)
{
	return &a->parts[a->n++];
}

static void add_entry(struct artist *a, const struct disks_entry *entry, bool lost)
{
	*add_part(a) = (struct rouse_part){
		.number = (unsigned)entry->number,
		.before = content_text(a, entry->content),
		.start = (uint64_t)entry->start,
		.old_size = (uint64_t)entry->size,
		.size = lost ? 0 : (uint64_t)entry->size,
		.fate = lost ? ROUSE_LOST : ROUSE_KEPT,
	};
}

static void add_slot(struct artist *a, const struct disks_slot *s)
{
	struct rouse_part part = {
		.number = s->number,
		.name = s->conf->key,
		.after = wanted_text(a, s->conf),
		.start = s->start,
		.old_size = s->entry ? (uint64_t)s->entry->size : 0,
		.size = s->size,
		.fate = s->entry ? ROUSE_KEPT : ROUSE_MADE,
	};
	bool lost = false;

	if (s->entry) {
		part.before = content_text(a, s->entry->content);
		if (part.size > part.old_size)
			part.fate = ROUSE_GROWN;
		if (is_made(a, s->start, &lost))
			part.fate = lost ? ROUSE_LOST : ROUSE_MADE;
	}
	*add_part(a) = part;
}

static bool has_slot(const struct disks_layout *l, const struct disks_entry *entry)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->slots[i].entry == entry)
			return true;
	return false;
}

/* The same decision as in the plan, of which the steps are known. */
static bool is_fresh(const struct artist *a, const struct disks_layout *l)
{
	enum disks_class class = disks_class_of(a->f);

	if (class != DISKS_GPT && class != DISKS_GPT_GROWN && class != DISKS_GPT_REPAIR)
		return true;
	return !disks_is_ours(a->conf, a->d, a->f) && l->n_matched == 0;
}

static void draw_lost(struct artist *a)
{
	const struct disks_entry *entry = a->f->partitions.items;

	for (size_t k = 0; k < a->f->partitions.n; k++)
		add_entry(a, &entry[k], true);
	if (!a->f->partitions.n && disks_class_of(a->f) != DISKS_BLANK)
		*add_part(a) = (struct rouse_part){ .before = disks_describe(a->f, a->arena),
						    .old_size = (uint64_t)a->f->size,
						    .fate = ROUSE_LOST };
}

static void draw_partitions(struct artist *a, const char *root)
{
	const struct disks_entry *entry = a->f->partitions.items;
	struct disks_layout l = { 0 };
	struct rouse_err e;
	bool fresh;

	a->parts = rouse_arena_alloc(a->arena, (a->d->partitions.n + a->f->partitions.n + 1) *
						       sizeof(*a->parts));
	/* With an error it says at least what it has matched. */
	fresh = disks_layout(a->conf, a->d, a->f, false, root, a->arena, &l, &e) < 0 ||
		is_fresh(a, &l);
	if (fresh && disks_layout(a->conf, a->d, a->f, true, root, a->arena, &l, &e) < 0)
		return; /* then there is no plan either */
	if (fresh)
		draw_lost(a);
	for (size_t i = 0; i < l.n; i++)
		add_slot(a, &l.slots[i]);
	for (size_t k = 0; !fresh && k < a->f->partitions.n; k++)
		if (!has_slot(&l, &entry[k]))
			add_entry(a, &entry[k], false);
}

static void draw_whole(struct artist *a)
{
	struct disks_partition conf = { .filesystem = a->d->filesystem,
					.lvm = a->d->lvm,
					.luks = a->d->luks };
	bool lost = false, made = is_made(a, 0, &lost);

	a->parts = rouse_arena_alloc(a->arena, sizeof(*a->parts));
	*add_part(a) = (struct rouse_part){
		.name = a->d->mount ? a->d->mount : a->d->key,
		.before = disks_class_of(a->f) == DISKS_BLANK ? "blank"
							      : disks_describe(a->f, a->arena),
		.after = a->d->raid
				 ? rouse_arena_printf(a->arena, "member of array '%s'", a->d->key)
				 : wanted_text(a, &conf),
		.old_size = (uint64_t)a->f->size,
		.size = (uint64_t)a->f->size,
		.fate = lost   ? ROUSE_LOST
			: made ? ROUSE_MADE
			       : ROUSE_KEPT,
	};
}

static int by_start(const void *a_, const void *b_)
{
	const struct rouse_part *a = a_, *b = b_;
	bool gone_a = a->size == 0, gone_b = b->size == 0;

	if (gone_a != gone_b)
		return gone_a ? -1 : 1;
	return a->start < b->start ? -1 : a->start > b->start;
}

static struct rouse_picture *draw_disk(const struct disks_conf *conf, const struct rouse_plan *plan,
				       const struct disks_disk *d, const struct disks_fact *f,
				       const char *root, struct rouse_arena *arena)
{
	struct artist a = { .conf = conf, .plan = plan, .arena = arena, .d = d, .f = f };
	struct rouse_picture *p = rouse_arena_alloc(arena, sizeof(*p));

	if (d->partitions.n)
		draw_partitions(&a, root);
	else
		draw_whole(&a);
	if (a.n)
		qsort(a.parts, a.n, sizeof(*a.parts), by_start);
	*p = (struct rouse_picture){ .device = f->device,
				     .name = d->key,
				     .size = (uint64_t)f->size,
				     .n = a.n,
				     .parts = a.parts };
	return p;
}

void disks_draw(const void *conf_, const void *facts, const struct rouse_context *c,
		struct rouse_plan *plan)
{
	const struct disks_conf *conf = conf_;
	const struct disks_disk *d = conf->disks.items;
	struct disks_found found[ROUSE_MAX_DISKS] = { 0 };
	struct rouse_picture **tail = &plan->pictures;
	struct rouse_err e;

	if (!conf->disks.n || disks_match(conf, facts, c, &plan->arena, found, &e) < 0)
		return; /* an image without disks, for which there is no plan either */
	while (*tail)
		tail = &(*tail)->next;
	for (size_t i = 0; i < conf->disks.n; i++)
		for (size_t k = 0; !found[i].missing && k < found[i].n; k++) {
			*tail = draw_disk(conf, plan, &d[i], found[i].all[k], disks_mount_root(c),
					  &plan->arena);
			tail = &(*tail)->next;
		}
}
