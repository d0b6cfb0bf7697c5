/* SPDX-License-Identifier: Apache-2.0 */
/* A disk with partitions: its table, made or edited, and what stands on it before and after. Pure. */
#include "planner.h"

#include <rouse/text.h>

static struct place place_of(struct planner *p, const struct disks_disk *d,
			     const struct disks_fact *f, const struct disks_slot *s, bool claimed)
{
	char label[256], guid[DISKS_GUID_LEN];
	struct place w = {
		.d = d,
		.f = f,
		.key = s->conf->key,
		.conf = s->conf,
		.filesystem = s->conf->filesystem,
		.lvm = s->conf->lvm,
		.raid = s->conf->raid,
		.luks = s->conf->luks,
		.mount = disks_is_mount_point(s->conf->key) ? s->conf->key : NULL,
		.label = rouse_arena_strdup(&p->plan->arena,
					    disks_partition_label(s->conf, label, sizeof(label))),
		.options = &s->conf->mount_options,
		.number = s->number,
		.published = s->entry != NULL,
		.start = s->start,
		.size = s->size,
		.content = s->entry ? s->entry->content : disks_pending_at(f, s->start),
	};

	disks_guid_of(p->conf, d, s->conf, guid);
	w.ours = s->entry && disks_same_guid(s->entry->guid, guid);
	if (w.lvm || w.raid || w.luks) {
		if (w.lvm)
			w.mount = NULL;
		if (claimed && !s->entry)
			w.content = NULL;
		return w;
	}
	/* Of a disk that was given up, only our own unpublished work counts. */
	if (claimed && !s->entry && w.content && w.filesystem) {
		const struct disks_filesystem *fs = disks_filesystem_find(w.filesystem);
		const struct disks_signature *sig = w.content->signatures.items;
		char shown[DISKS_GUID_LEN];
		uint8_t uuid[16];

		disks_uuids_of(p, &w, fs, uuid, shown);
		if (w.content->signatures.n != 1 || !rouse_streq(sig[0].uuid, shown))
			w.content = NULL;
	}
	return w;
}

static struct disks_row row_of(struct planner *p, const struct disks_disk *d,
			       const struct disks_slot *s)
{
	struct rouse_arena *arena = &p->plan->arena;
	char guid[DISKS_GUID_LEN], label[256];
	uint64_t bits = disks_attributes(s->conf);

	disks_guid_of(p->conf, d, s->conf, guid);
	return (struct disks_row){
		.number = s->number,
		.start = s->start,
		.size = s->size,
		.old_size = s->entry ? (uint64_t)s->entry->size : 0,
		.guid = s->entry ? s->entry->guid : rouse_arena_strdup(arena, guid),
		.type = s->entry && !s->retype ? s->entry->type
					       : disks_type_guid(disks_partition_type(s->conf)),
		.label = s->entry && !s->rename
				 ? s->entry->label
				 : rouse_arena_strdup(arena, disks_partition_label(s->conf, label,
										   sizeof(label))),
		.attributes = s->entry && !s->reattribute
				      ? s->entry->attributes
				      : rouse_arena_printf(arena, "0x%016llx",
							   (unsigned long long)bits),
		.edits = s->retype || s->rename || s->reattribute,
	};
}

static bool is_changed(const struct disks_slot *s)
{
	return !s->entry || s->size != (uint64_t)s->entry->size || s->retype || s->rename ||
	       s->reattribute;
}

/* The rows that change, or with `all` every row of the table to come. */
static void add_rows(struct planner *p, struct disks_action *a, const struct disks_disk *d,
		     const struct disks_fact *f, const struct disks_layout *l, bool all)
{
	const struct disks_entry *entry = f->partitions.items;
	struct disks_row *rows = rouse_arena_alloc(&p->plan->arena,
						   (l->n + f->partitions.n) * sizeof(*rows));

	for (size_t i = 0; i < l->n; i++)
		if (all || is_changed(&l->slots[i]))
			rows[a->n_rows++] = row_of(p, d, &l->slots[i]);
	for (size_t k = 0; all && k < f->partitions.n; k++) {
		bool known = false;

		for (size_t i = 0; i < l->n; i++)
			known |= l->slots[i].entry == &entry[k];
		if (!known)
			rows[a->n_rows++] = (struct disks_row){
				.number = (unsigned)entry[k].number,
				.start = (uint64_t)entry[k].start,
				.size = (uint64_t)entry[k].size,
				.old_size = (uint64_t)entry[k].size,
				.guid = entry[k].guid,
				.type = entry[k].type,
				.label = entry[k].label,
				.attributes = entry[k].attributes,
			};
	}
	a->rows = rows;
}

static struct disks_action *table_action(struct planner *p, const struct disks_disk *d,
					 const struct disks_fact *f, bool create)
{
	struct disks_action *a = disks_new_action(p, d, f);
	char guid[DISKS_GUID_LEN];

	disks_guid(disks_seed(p->conf), d->key, "", "disk", guid);
	a->guid = create ? rouse_arena_strdup(&p->plan->arena, guid) : f->guid;
	a->create = create;
	a->hybrid = f->hybrid && !create;
	a->marks = rouse_arena_alloc(&p->plan->arena, d->partitions.n * sizeof(*a->marks));
	p->table = a;
	return a;
}

/* The kernel is to have all partitions that the document means, also those that do not change: a run
 * that was killed may have left it behind the table. */
static void show_all(struct planner *p, struct disks_action *a, const struct disks_disk *d,
		     const struct disks_layout *l)
{
	struct disks_row *rows = rouse_arena_alloc(&p->plan->arena, l->n * sizeof(*rows));

	for (size_t i = 0; i < l->n; i++)
		rows[a->n_shown++] = row_of(p, d, &l->slots[i]);
	a->shown = rows;
}

static void add_show(struct planner *p, const struct disks_disk *d, const struct disks_fact *f,
		     const struct disks_layout *l)
{
	struct disks_action *a = disks_new_action(p, d, f);

	show_all(p, a, d, l);
	rouse_plan_add(p->plan, ROUSE_USE, DISKS_OP_SHOW, a, "tell the kernel the partitions of %s",
		       f->device);
	p->last = a;
}

static bool is_unseen(const struct disks_layout *l)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->slots[i].entry && l->slots[i].entry->unseen)
			return true;
	return false;
}

static void add_claim(struct planner *p, const struct disks_disk *d, const struct disks_fact *f)
{
	rouse_plan_add(p->plan, ROUSE_DESTROY, DISKS_OP_CLAIM, table_action(p, d, f, true),
		       "destroy %s on %s (%s)", disks_describe(f, &p->plan->arena), f->device,
		       disks_size_text(p, (uint64_t)f->size));
}

static void add_new_table(struct planner *p, const struct disks_disk *d, const struct disks_fact *f,
			  const struct disks_layout *l)
{
	struct disks_action *a = table_action(p, d, f, true);

	add_rows(p, a, d, f, l, false);
	show_all(p, a, d, l);
	rouse_plan_add(p->plan, ROUSE_CREATE, DISKS_OP_TABLE, a,
		       "write a GPT with %zu partition%s on %s (%s%s)", l->n, l->n == 1 ? "" : "s",
		       f->device, disks_size_text(p, (uint64_t)f->size),
		       disks_class_of(f) == DISKS_BLANK ? ", blank" : "");
	p->last = a;
}

static bool has_changes(const struct disks_layout *l)
{
	for (size_t i = 0; i < l->n; i++)
		if (is_changed(&l->slots[i]))
			return true;
	return false;
}

/* "set the type of partition 3 of /dev/vda to esp" */
static void add_edits(struct planner *p, const struct disks_fact *f, const struct disks_slot *s,
		      struct rouse_buf *text)
{
	const struct disks_partition *conf = s->conf;
	const char *of = rouse_arena_printf(&p->plan->arena, "of partition %u of %s", s->number,
					    f->device);

	if (s->retype)
		rouse_buf_printf(text, "%sset the type %s to %s", text->len ? ", " : "", of,
				 conf->type);
	if (s->rename)
		rouse_buf_printf(text, "%sset the name %s to '%s'", text->len ? ", " : "", of,
				 disks_printable(conf->label, &p->plan->arena));
	if (s->reattribute)
		rouse_buf_printf(text, "%sset the attributes %s to 0x%016llx",
				 text->len ? ", " : "", of,
				 (unsigned long long)disks_attributes(conf));
}

/* "grow partition 1 of /dev/vda from 2.0 GiB to 8.0 GiB, add partition 2 (1.0 GiB)" */
static void add_table_change(struct planner *p, const struct disks_disk *d,
			     const struct disks_fact *f, const struct disks_layout *l, bool rebuild,
			     const char *repair)
{
	struct disks_action *a = table_action(p, d, f, rebuild);
	auto_buf struct rouse_buf text = { 0 };
	bool adds = false;

	add_rows(p, a, d, f, l, rebuild);
	show_all(p, a, d, l);
	if (repair)
		rouse_buf_printf(&text, "repair the GPT of %s: %s", f->device, repair);
	else if (disks_class_of(f) == DISKS_GPT_GROWN && !has_changes(l))
		rouse_buf_printf(&text, "move the backup of the GPT to the end of %s", f->device);
	for (size_t i = 0; i < l->n; i++) {
		const struct disks_slot *s = &l->slots[i];

		if (!s->entry)
			rouse_buf_printf(&text, "%sadd partition %u (%s) to %s",
					 text.len ? ", " : "", s->number,
					 disks_size_text(p, s->size), f->device);
		else if (s->size != (uint64_t)s->entry->size)
			rouse_buf_printf(&text, "%sgrow partition %u of %s from %s to %s",
					 text.len ? ", " : "", s->number, f->device,
					 disks_size_text(p, (uint64_t)s->entry->size),
					 disks_size_text(p, s->size));
		add_edits(p, f, s, &text);
		adds |= !s->entry;
	}
	rouse_plan_add(p->plan, adds ? ROUSE_CREATE : ROUSE_CHANGE, DISKS_OP_TABLE, a, "%s",
		       text.data);
	p->last = a;
}

static void note_node(struct planner *p, const struct place *w, bool after)
{
	if (after && p->n_nodes < ARRAY_SIZE(p->nodes))
		p->nodes[p->n_nodes++] = (struct node){ .d = w->d,
							.conf = w->conf,
							.key = w->key,
							.node = disks_node_of(p, w),
							.complete = w->published &&
								    !disks_is_pending(p, w) };
}

/* First what a table will publish, then the table, then what stands on partitions that are there. */
static int plan_places(struct planner *p, const struct disks_disk *d, const struct disks_fact *f,
		       const struct disks_layout *l, bool claimed, bool after)
{
	for (size_t i = 0; i < l->n; i++) {
		struct place w = place_of(p, d, f, &l->slots[i], claimed);

		note_node(p, &w, after);
		if (after && w.conf->image && !w.published)
			disks_finish_image(p, &w);
		if ((w.published || disks_is_late(&w)) != after)
			continue;
		if (disks_plan_place(p, &w) < 0)
			return -1;
	}
	return 0;
}

static int plan_fresh(struct planner *p, const struct disks_disk *d, const struct disks_fact *f,
		      bool claim)
{
	struct disks_layout l = { 0 };

	if (disks_refuse_writes(p, d, f) < 0 ||
	    disks_layout(p->conf, d, f, true, disks_mount_root(p->c), &p->plan->arena, &l, p->e) <
		    0)
		return -1;
	if (claim)
		add_claim(p, d, f);
	else
		p->begin = table_action(p, d, f, true);
	if (plan_places(p, d, f, &l, claim, false) < 0)
		return -1;
	add_new_table(p, d, f, &l);
	return plan_places(p, d, f, &l, claim, true);
}

/* Tables that are right, but would not be when libfdisk has written them. */
static int refuse_table(struct planner *p, const struct disks_disk *d, const struct disks_fact *f)
{
	if (f->unusual)
		return rouse_fail(
			p->e, ROUSE_DOCUMENT, 0,
			"disks.%s: the GPT of '%s' would have to be changed, but %s: make "
			"it anew with another tool",
			d->key, f->device, disks_printable(f->unusual, &p->plan->arena));
	if (f->hybrid && !rouse_streq(d->hybrid, "keep"))
		return rouse_fail(p->e, ROUSE_DOCUMENT, 0,
				  "disks.%s: the GPT of '%s' would have to be changed, but its MBR "
				  "lists partitions, too (a hybrid one): \"hybridMbr\": \"keep\" "
				  "keeps the MBR in step",
				  d->key, f->device);
	return 0;
}

static int plan_existing(struct planner *p, const struct disks_disk *d, const struct disks_fact *f,
			 const struct disks_layout *l, bool ours)
{
	enum disks_class class = disks_class_of(f);
	bool broken = class == DISKS_GPT_REPAIR;
	bool claimed = ours && f->partitions.n == 0;
	bool changes = has_changes(l) || broken || class == DISKS_GPT_GROWN;

	if (changes && (disks_refuse_writes(p, d, f) < 0 || refuse_table(p, d, f) < 0))
		return -1;
	if (plan_places(p, d, f, l, claimed, false) < 0)
		return -1;
	if (claimed)
		add_new_table(p, d, f, l);
	else if (changes)
		add_table_change(p, d, f, l, ours && broken, broken ? f->damage : NULL);
	else if (is_unseen(l))
		add_show(p, d, f, l);
	return plan_places(p, d, f, l, claimed, true);
}

static bool is_gpt(enum disks_class class)
{
	return class == DISKS_GPT || class == DISKS_GPT_GROWN || class == DISKS_GPT_REPAIR;
}

/* A table that is not ours is kept when one of its partitions is one that the document means;
 * if none is, the disk is somebody else's. */
int disks_plan_partitions(struct planner *p, const struct disks_disk *d, const struct disks_fact *f)
{
	bool ours = disks_is_ours(p->conf, d, f);
	struct disks_layout l = { 0 };

	if (disks_class_of(f) == DISKS_BLANK)
		return plan_fresh(p, d, f, false);
	if (is_gpt(disks_class_of(f))) {
		struct rouse_err e = { 0 };
		int r = disks_layout(p->conf, d, f, false, disks_mount_root(p->c), &p->plan->arena,
				     &l, &e);

		if (ours || l.n_matched > 0) {
			if (r == 0)
				return plan_existing(p, d, f, &l, ours);
			*p->e = e;
			return -1;
		}
	}
	if (disks_consent_to_disk(p, d, f) < 0)
		return -1;
	return plan_fresh(p, d, f, true);
}
