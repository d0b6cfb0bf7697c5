/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judges what is there: is it what is wanted, is it ours, and may it be destroyed? Pure. Consent is what
 * the document says (describe.c), and never covers what rouse itself has made or cannot tell.
 */
#include "describe.h"

#include <rouse/text.h>

#include "planner.h"

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

/* Whose it is, nobody knows then: it may be ours. */
static bool is_damaged(const struct disks_content *c)
{
	const struct disks_signature *s = c ? c->signatures.items : NULL;

	for (size_t i = 0; s && i < c->signatures.n; i++)
		if (s[i].damaged)
			return true;
	return false;
}

static int refuse_damaged(struct planner *p, const struct disks_disk *d, const char *what,
			  const char *content)
{
	return rouse_fail(
		p->e, ROUSE_DOCUMENT, 0,
		"disks.%s: %s holds %s with a wrong checksum: rouse never overwrites what "
		"it cannot tell; if it is worthless, blank it (wipefs -a)",
		d->key, what, content);
}

/* May all of the disk be given up? */
int disks_consent_to_disk(struct planner *p, const struct disks_disk *d, const struct disks_fact *f)
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
	if (is_damaged(f->content))
		return refuse_damaged(p, d, f->device, disks_describe(f, arena));
	for (size_t i = 0; i < f->partitions.n; i++)
		if (is_damaged(entry[i].content))
			return refuse_damaged(p, d, f->device,
					      disks_describe_content(entry[i].content, arena));
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

void disks_uuids_of(const struct planner *p, const struct place *w,
		    const struct disks_filesystem *fs, uint8_t uuid[static 16],
		    char shown[static DISKS_GUID_LEN])
{
	disks_uuid_of(p, w, uuid);
	fs->print_uuid(uuid, shown);
}

/* What is wanted there, for messages. */
const char *disks_what_is_wanted(struct planner *p, const struct place *w)
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
				  w->title ? "" : "'", disks_what_is_wanted(p, w));
	return rouse_fail(p->e, ROUSE_DOCUMENT, 0,
			  "disks.%s: %s holds %s, where %s is wanted; if it may be destroyed, add "
			  "\"replace\": [%s] to disks.%s",
			  w->d->key, w->published ? disks_name_of(p, w) : "the free space for it",
			  disks_describe_content(c, arena), disks_what_is_wanted(p, w),
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

	disks_uuids_of(p, w, fs, uuid, shown);
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
	if (is_damaged(c))
		return refuse_damaged(p, w->d, disks_name_of(p, w),
				      disks_describe_content(c, &p->plan->arena));
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

	if (w->number || !w->published || disks_has_node(w) || class == DISKS_SIGNED ||
	    class == DISKS_BLANK || disks_is_pending(p, w))
		return judge_content(p, w, fs, ret);
	*ret = REPLACE;
	return disks_consent_to_disk(p, w->d, w->f);
}

int disks_needs_program(struct planner *p, const struct place *w, const char *program)
{
	for (size_t i = 0; program && i < p->facts->missing.n; i++)
		if (rouse_streq(((const char *const *)p->facts->missing.items)[i], program))
			return rouse_fail(p->e, ROUSE_SYSTEM, 0,
					  "disks.%s: making %s takes the program '%s', which is "
					  "not installed",
					  w->d->key, disks_what_is_wanted(p, w), program);
	return 0;
}
