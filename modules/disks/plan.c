/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From conf and facts to steps. Pure.
 *
 * Filesystems are made before the table that publishes them is written, so that a partition is
 * there complete or not at all. Every refusal happens here, before any disk is touched.
 */
#include "disks.h"

#include <string.h>

#include <rouse/text.h>

#include "describe.h"
#include "planner.h"

const char *disks_mount_root(const struct rouse_context *c)
{
	return c->initramfs ? c->root : "/";
}

static struct disks_action *new_action(struct planner *p, const struct disks_disk *d unused_arg,
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
	p->last = new_action(p, w->d, w->f);
	return p->last;
}

const char *disks_size_text(struct planner *p, uint64_t bytes)
{
	char buf[16];

	return rouse_arena_strdup(&p->plan->arena, rouse_print_size(buf, bytes));
}

/* ---- refusals -------------------------------------------------------------------------------- */

static int refuse_busy(struct planner *p, const struct disks_disk *d, const char *what,
		       const char *busy)
{
	return rouse_fail(p->e, ROUSE_DOCUMENT, 0,
			  "disks.%s: '%s' would have to be overwritten, but %s", d->key, what,
			  disks_printable(busy, &p->plan->arena));
}

int disks_refuse_writes(struct planner *p, const struct disks_disk *d, const struct disks_fact *f)
{
	if (f->read_only)
		return rouse_fail(p->e, ROUSE_SYSTEM, 0, "disks.%s: '%s' is write-protected",
				  d->key, f->device);
	return 0;
}

/* Consent is spent once: is there something that rouse made for this very name, with what has been
 * written since? Unpublished work is not: nobody has written there. */
static bool is_spent(const struct planner *p, const struct disks_disk *d, const char *key,
		     const struct disks_content *c)
{
	const struct disks_signature *s = c ? c->signatures.items : NULL;
	char shown[DISKS_GUID_LEN];
	uint8_t uuid[16];

	disks_uuid(disks_seed(p->conf), d->key, key, "filesystem", uuid);
	for (size_t i = 0; s && i < c->signatures.n; i++) {
		const struct disks_filesystem *fs = s[i].type ? disks_filesystem_find(s[i].type)
							      : NULL;

		if (fs)
			fs->print_uuid(uuid, shown);
		else if (rouse_streq(s[i].type, "crypto_LUKS"))
			disks_uuid_print(uuid, shown);
		else
			continue;
		if (rouse_streq(s[i].uuid, shown) && !rouse_streq(s[i].label, DISKS_PENDING_LABEL))
			return true;
	}
	return false;
}

static int refuse_spent(struct planner *p, const struct disks_disk *d, const char *what,
			const char *content)
{
	return rouse_fail(p->e, ROUSE_DOCUMENT, 0,
			  "disks.%s: %s holds %s that rouse made for this name: \"replace\" is "
			  "spent, and is no "
			  "consent to destroy what was written since; blank it by hand or give it "
			  "another name",
			  d->key, what, content);
}

/* May all of the disk be given up? */
static int consent_to_disk(struct planner *p, const struct disks_disk *d,
			   const struct disks_fact *f)
{
	const struct disks_entry *entry = f->partitions.items;
	struct rouse_arena *arena = &p->plan->arena;
	enum disks_class class = disks_class_of(f);

	if (f->content && f->content->busy)
		return refuse_busy(p, d, f->device, f->content->busy);
	for (size_t i = 0; i < f->partitions.n; i++)
		if (entry[i].content && entry[i].content->busy)
			return refuse_busy(p, d, entry[i].device ? entry[i].device : f->device,
					   entry[i].content->busy);
	if (class == DISKS_OPAQUE || class == DISKS_AMBIGUOUS || class == DISKS_GPT_DAMAGED)
		return rouse_fail(p->e, ROUSE_DOCUMENT, 0,
				  "disks.%s: '%s' holds %s%s%s%s: rouse never overwrites what it "
				  "cannot tell; if it "
				  "is worthless, blank the disk (blkdiscard or wipefs -a)",
				  d->key, f->device, disks_describe(f, arena),
				  f->damage ? " (" : "", f->damage ? f->damage : "",
				  f->damage ? ")" : "");
	if (disks_is_ours(p->conf, d, f) || is_spent(p, d, "", f->content))
		return refuse_spent(p, d, f->device, disks_describe(f, arena));
	if (!disks_consents_disk(d, f))
		return rouse_fail(p->e, ROUSE_DOCUMENT, 0,
				  "disks.%s: '%s' holds %s, which the document does not account "
				  "for; if it may be "
				  "destroyed, add \"replace\": [%s] to disks.%s",
				  d->key, f->device, disks_describe(f, arena),
				  disks_consent_for_disk(f, arena), d->key);
	return 0;
}

/* ---- one filesystem -------------------------------------------------------------------------- */

/* Made on a device of its own, not by offset on a disk. */
static bool has_node(const struct place *w)
{
	return w->volume || w->node;
}

void disks_uuid_of(const struct planner *p, const struct place *w, uint8_t ret[static 16])
{
	/* A member that begins where its array begins shows the array's mark. */
	if (!w->raid && !w->lvm && !w->luks && w->conf && w->conf->mkfs && w->conf->mkfs->uuid &&
	    disks_parse_uuid(w->conf->mkfs->uuid, ret))
		return; /* somebody says it */
	if (w->raid)
		disks_uuid(disks_seed(p->conf), w->raid, "", "filesystem", ret);
	else if (w->volume)
		disks_uuid(disks_seed(p->conf), w->group, w->volume,
			   w->inside ? "inside" : "volume", ret);
	else
		disks_uuid(disks_seed(p->conf), w->d->key, w->key,
			   w->inside ? "inside" : "filesystem", ret);
}

bool disks_is_pending(const struct planner *p, const struct place *w)
{
	const struct disks_signature *s = w->content ? w->content->signatures.items : NULL;
	char mark[DISKS_GUID_LEN], shown[DISKS_GUID_LEN];
	uint8_t uuid[16];

	disks_uuid_of(p, w, uuid);
	disks_pending_guid(uuid, mark);
	disks_uuid_print(uuid, shown);
	for (size_t i = 0; s && i < w->content->signatures.n; i++) {
		bool own = rouse_streq(s[i].uuid, shown);

		/* The mark; or a LUKS volume that was never finished. */
		if ((rouse_streq(s[i].label, DISKS_PENDING_LABEL) &&
		     (rouse_streq(s[i].uuid, mark) || own)) ||
		    (s[i].torn && own))
			return true;
	}
	return false;
}

static void uuids_of(const struct planner *p, const struct place *w,
		     const struct disks_filesystem *fs, uint8_t uuid[static 16],
		     char shown[static DISKS_GUID_LEN])
{
	disks_uuid_of(p, w, uuid);
	fs->print_uuid(uuid, shown);
}

/* What is wanted there, for messages. */
static const char *wanted(struct planner *p, const struct place *w)
{
	if (w->raid)
		return rouse_arena_printf(&p->plan->arena, "a member of array '%s'", w->raid);
	if (w->luks)
		return "a LUKS volume";
	if (w->number && w->conf && w->conf->image)
		return "an image";
	return w->lvm ? "an LVM physical volume" : w->filesystem;
}

const char *disks_name_of(struct planner *p, const struct place *w)
{
	if (w->title)
		return w->title;
	if (w->volume)
		return rouse_arena_printf(&p->plan->arena, "%s/%s", w->group, w->volume);
	if (!w->number)
		return w->f->device;
	return rouse_arena_printf(&p->plan->arena, "partition %u of %s", w->number, w->f->device);
}

static int refuse_content(struct planner *p, const struct place *w)
{
	struct rouse_arena *arena = &p->plan->arena;
	const struct disks_content *c = w->content;

	if (w->published && c->busy)
		return refuse_busy(p, w->d, disks_name_of(p, w), c->busy);
	if (w->published && c->signatures.n == 0)
		return rouse_fail(p->e, ROUSE_DOCUMENT, 0,
				  "disks.%s: %s%s%s holds data without a signature, where %s is "
				  "wanted: rouse never "
				  "overwrites what it cannot tell",
				  w->d->key, w->title ? "" : "'", disks_name_of(p, w),
				  w->title ? "" : "'", wanted(p, w));
	return rouse_fail(p->e, ROUSE_DOCUMENT, 0,
			  "disks.%s: %s holds %s, where %s is wanted; if it may be destroyed, add "
			  "\"replace\": [%s] to disks.%s",
			  w->d->key, w->published ? disks_name_of(p, w) : "the free space for it",
			  disks_describe_content(c, arena), wanted(p, w),
			  disks_consent_for(c, arena), w->d->key);
}

/* Ours is known by its UUID. A filesystem of the wanted type on a partition that was there before
 * us is kept, whoever made it; in free space nothing is kept but our own unpublished work. */
static int judge_content(struct planner *p, const struct place *w,
			 const struct disks_filesystem *fs, enum verdict *ret)
{
	const struct disks_content *c = w->content;
	const struct disks_signature *s = c ? c->signatures.items : NULL;
	char shown[DISKS_GUID_LEN];
	uint8_t uuid[16];

	uuids_of(p, w, fs, uuid, shown);
	*ret = MAKE;
	if (!c || (c->signatures.n == 0 && (c->zero || !w->published)) || disks_is_pending(p, w)) {
		if (c && c->busy && w->published)
			return refuse_content(p, w);
		return 0;
	}
	if (c->signatures.n == 1 && rouse_streq(s[0].type, fs->name) &&
	    (w->published || rouse_streq(s[0].uuid, shown))) {
		*ret = KEEP;
		return 0;
	}
	if (c->signatures.n == 0 || c->busy || !disks_consents_content(w->d, c))
		return refuse_content(p, w);
	if (w->published && is_spent(p, w->d, w->key, c))
		return refuse_spent(p, w->d, disks_name_of(p, w),
				    disks_describe_content(c, &p->plan->arena));
	*ret = REPLACE;
	return 0;
}

/* What has a table, or several signatures, is given up as a whole or not at all. */
int disks_judge(struct planner *p, const struct place *w, const struct disks_filesystem *fs,
		enum verdict *ret)
{
	enum disks_class class = disks_class_of(w->f);

	if (w->number || !w->published || has_node(w) || class == DISKS_SIGNED ||
	    class == DISKS_BLANK || disks_is_pending(p, w))
		return judge_content(p, w, fs, ret);
	*ret = REPLACE;
	return consent_to_disk(p, w->d, w->f);
}

int disks_needs_program(struct planner *p, const struct place *w, const char *program)
{
	for (size_t i = 0; program && i < p->facts->missing.n; i++)
		if (rouse_streq(((const char *const *)p->facts->missing.items)[i], program))
			return rouse_fail(p->e, ROUSE_SYSTEM, 0,
					  "disks.%s: making %s takes the program '%s', which is "
					  "not installed",
					  w->d->key, wanted(p, w), program);
	return 0;
}

/* Made when the table has published it; until then the pending mark lies there. */
static bool is_late(const struct place *w)
{
	const struct disks_filesystem *fs = w->filesystem ? disks_filesystem_find(w->filesystem)
							  : NULL;

	return w->lvm || w->raid || w->luks || (fs && fs->late && !w->f->file);
}

void disks_add_mark(struct planner *p, const struct place *w, const uint8_t uuid[static 16])
{
	struct disks_mark *m = &p->table->marks[p->table->n_marks++];

	*m = (struct disks_mark){ .start = w->start, .size = w->size };
	memcpy(m->uuid, uuid, sizeof(m->uuid));
}

void disks_add_erase(struct planner *p, const struct place *w, enum verdict v)
{
	struct disks_action *a = new_action(p, w->d, w->f);
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
			       disks_size_text(p, w->size), wanted(p, w));
	p->last = a;
}

int disks_claim(struct planner *p, const struct place *w, enum verdict v)
{
	uint8_t uuid[16];

	if (disks_refuse_writes(p, w->d, w->f) < 0)
		return -1;
	disks_uuid_of(p, w, uuid);
	if (has_node(w))
		return 0; /* its own step marks it */
	if (!w->published)
		disks_add_mark(p, w, uuid);
	else if (v == REPLACE || !disks_is_pending(p, w))
		disks_add_erase(p, w, v);
	return 0;
}

/* `lost`: what is destroyed for it, in words; NULL: nothing. */
struct disks_action *disks_add_make(struct planner *p, const struct place *w,
				    const struct disks_filesystem *fs, const char *lost)
{
	struct disks_action *a = new_action(p, w->d, w->f);
	const char *label = strlen(w->label) <= fs->max_label ? w->label : "";
	const char *name = rouse_arena_printf(
		&p->plan->arena, "%s%s%s%s", fs->name, *label ? " '" : "",
		disks_printable(label, &p->plan->arena), *label ? "'" : "");

	char shown[DISKS_GUID_LEN];

	uuids_of(p, w, fs, a->uuid, shown);
	a->volume = w->volume && !w->inside ? disks_name_of(p, w) : NULL;
	a->source = has_node(w) ? disks_node_of(p, w) : NULL;
	a->fs = fs;
	a->mkfs = w->conf ? w->conf->mkfs : NULL;
	a->label = rouse_arena_strdup(&p->plan->arena, label);
	a->number = w->number;
	a->published = w->published || is_late(w);
	a->start = w->start;
	a->length = w->size;
	rouse_plan_add(p->plan, lost ? ROUSE_DESTROY : ROUSE_CREATE,
		       has_node(w) ? DISKS_OP_MAKE_VOLUME : DISKS_OP_MAKE, a,
		       "make %s on %s (%s)%s%s%s%s", name, disks_name_of(p, w),
		       disks_size_text(p, w->size), w->mount ? " for " : "",
		       w->mount ? w->mount : "", lost ? ", in place of " : "", lost ? lost : "");
	if (has_node(w))
		return a;
	p->last = a;
	if (!w->published && is_late(w))
		disks_add_mark(p, w, a->uuid);
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
				     : w->number || has_node(w)
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

/* ---- partitions ------------------------------------------------------------------------------ */

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

		uuids_of(p, &w, fs, uuid, shown);
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
	struct disks_action *a = new_action(p, d, f);
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
	struct disks_action *a = new_action(p, d, f);

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

/* First what a table will publish, then the table, then what stands on partitions that are there. */
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

static int plan_places(struct planner *p, const struct disks_disk *d, const struct disks_fact *f,
		       const struct disks_layout *l, bool claimed, bool after)
{
	for (size_t i = 0; i < l->n; i++) {
		struct place w = place_of(p, d, f, &l->slots[i], claimed);

		note_node(p, &w, after);
		if (after && w.conf->image && !w.published)
			disks_finish_image(p, &w);
		if ((w.published || is_late(&w)) != after)
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
static int plan_partitions(struct planner *p, const struct disks_disk *d,
			   const struct disks_fact *f)
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
	if (consent_to_disk(p, d, f) < 0)
		return -1;
	return plan_fresh(p, d, f, true);
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

int disks_plan(const void *conf_, const void *facts, const struct rouse_context *c,
	       struct rouse_plan *plan, struct rouse_err *e)
{
	const struct disks_conf *conf = conf_;
	const struct disks_disk *d = conf->disks.items;
	struct disks_found found[ROUSE_MAX_DISKS];
	auto_free struct planner *p = rouse_calloc(1, sizeof(*p));

	if (!conf->disks.n || !has_disks(facts, c))
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
		if ((d[i].partitions.n ? plan_partitions(p, &d[i], found[i].f)
				       : plan_whole(p, &d[i], found[i].f)) < 0)
			return -1;
		if (p->last)
			p->last->last = true;
	}
	if (disks_plan_arrays(p) < 0 || disks_plan_groups(p) < 0 || disks_plan_verity(p) < 0)
		return -1;
	disks_plan_mounts(p);
	disks_plan_fstab(p);
	return 0;
}
