/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done with filesystems that are, or will be, there: mounted, swapped to, grown; and how much
 * room they have. Pure.
 */
#include "planner.h"

#include <string.h>

#include <rouse/fstab.h>
#include <rouse/limits.h>
#include <rouse/mountunits.h>
#include <rouse/text.h>

#include "describe.h"

const char *disks_node_of(struct planner *p, const struct place *w)
{
	char buf[256];

	if (w->node)
		return w->node;
	if (w->volume)
		return rouse_arena_printf(&p->plan->arena, "/dev/%s/%s", w->group, w->volume);
	if (!w->number || w->f->file)
		return w->f->device;
	return rouse_arena_strdup(&p->plan->arena,
				  disks_node(w->f->device, w->number, buf, sizeof(buf)));
}

/* The type of a filesystem that is kept without the document naming one. */
static const char *kept_type(const struct place *w)
{
	const struct disks_signature *s = w->content ? w->content->signatures.items : NULL;

	if (w->filesystem)
		return w->filesystem;
	if (w->number && w->conf && w->conf->image)
		return w->conf->image->type;
	return w->content && w->content->signatures.n == 1 ? s[0].type : NULL;
}

/* Of what is kept, as it was read; of what is made, as it will be. */
static const char *uuid_of(struct planner *p, const struct place *w, bool kept,
			   const struct disks_filesystem *fs)
{
	const struct disks_signature *s = kept && w->content ? w->content->signatures.items : NULL;
	char shown[DISKS_GUID_LEN];
	uint8_t uuid[16];

	if (kept)
		return s && w->content->signatures.n == 1 ? s[0].uuid : NULL;
	if (!fs)
		return NULL;
	disks_uuid_of(p, w, uuid);
	fs->print_uuid(uuid, shown);
	return rouse_arena_strdup(&p->plan->arena, shown);
}

/* What an image holds is what its digest says, and stays so. */
static const char *options_of(struct planner *p, const struct place *w)
{
	const char *own = rouse_list_join(&p->plan->arena, w->options, ",");

	if (!w->number || !w->conf || !(w->conf->image || w->conf->verity) ||
	    rouse_list_has(w->options, "ro"))
		return own;
	return own && *own ? rouse_arena_printf(&p->plan->arena, "ro,%s", own) : "ro";
}

/* Where it is read through dm-verity; NULL: it is not. */
static const char *verity_node(struct planner *p, const struct place *w)
{
	char name[256];

	if (!w->number || !w->conf || !w->conf->verity || !w->mount)
		return NULL;
	return rouse_arena_printf(&p->plan->arena, "%s%s", DISKS_MAPPER_DIR,
				  disks_volume_name(w->key, name, sizeof(name)));
}

static const struct disks_content *content_of(const struct planner *p, const char *node)
{
	const struct disks_mapping *m = p->facts->mappings.items;

	for (size_t i = 0; i < p->facts->mappings.n; i++)
		if (rouse_streq(m[i].device, node))
			return m[i].content;
	return NULL;
}

/* Ours, with a wrong checksum, and nobody who writes it: NULL when it is not so. */
static struct disks_action *plan_reseal(struct planner *p, const struct place *w,
					const struct disks_filesystem *fs)
{
	const struct disks_content *c = w->content;
	const struct disks_signature *s = c ? c->signatures.items : NULL;
	char shown[DISKS_GUID_LEN];
	struct disks_action *a;
	uint8_t uuid[16];

	if (!fs || !fs->reseal || !s || c->signatures.n != 1 || !s[0].damaged || c->busy)
		return NULL;
	disks_uuids_of(p, w, fs, uuid, shown);
	if (!rouse_streq(s[0].uuid, shown))
		return NULL;
	a = rouse_arena_alloc(&p->plan->arena, sizeof(*a));
	*a = (struct disks_action){ .source = disks_node_of(p, w),
				    .fs = fs,
				    .label = strlen(w->label) <= fs->max_label
						     ? rouse_arena_strdup(&p->plan->arena, w->label)
						     : "",
				    .mkfs = w->conf ? w->conf->mkfs : NULL,
				    .file = w->f->file && !disks_has_node(w),
				    .start = w->start,
				    .length = w->size };
	memcpy(a->uuid, uuid, sizeof(a->uuid));
	return a;
}

/* Notes what is left to do when all disks are written: mount, grow. */
static int add_mount(struct planner *p, const struct place *w, bool kept)
{
	const struct disks_content *c = kept ? w->content : NULL;
	const char *type = kept_type(w);
	const struct disks_filesystem *fs = type ? disks_filesystem_find(type) : NULL;
	const char *verity = verity_node(p, w);
	bool mounted = w->mount && disks_mounted_at(verity ? content_of(p, verity) : c,
						    disks_mount_root(p->c), w->mount);
	struct mount *m = &p->mounts[p->n_mounts];
	bool offline = fs && fs->grow_offline && !w->f->file && !(c && c->mounts.n);
	bool may_grow = fs && (fs->grow || offline) && c && c->size > 0 &&
			(uint64_t)c->size + DISKS_GROW_MIN <= w->size;

	if (p->n_mounts == ARRAY_SIZE(p->mounts))
		return rouse_fail(p->e, ROUSE_BUG, 0, "too many mounts");
	*m = (struct mount){ .mount = w->mount,
			     .source = verity ? verity : disks_node_of(p, w),
			     .type = type,
			     .behind = w->behind,
			     .disk = w->d->key,
			     .uuid = uuid_of(p, w, kept, fs),
			     .options = options_of(p, w),
			     .start = w->start,
			     .file = w->f->file };
	/* A running system has its root already, and an image has no kernel. */
	m->wanted = w->mount && !p->c->image && !mounted &&
		    (p->c->initramfs || strcmp(w->mount, "/") != 0);
	m->kept = kept && w->published;
	m->reseal = kept ? plan_reseal(p, w, fs) : NULL;
	m->where = c && c->mounts.n ? ((const char *const *)c->mounts.items)[0] : NULL;
	/* In an image that we cannot mount, the filesystem grows when it boots. */
	if (may_grow && !(m->where ? c->read_only : rouse_list_has(w->options, "ro")) &&
	    (!p->c->image || p->facts->can_mount)) {
		m->from = (uint64_t)c->size;
		m->size = w->size;
	}
	if (m->wanted && !type)
		return rouse_fail(p->e, ROUSE_DOCUMENT, 0,
				  "disks.%s: %s shall be mounted at \"%s\" but holds %s: give it a "
				  "\"filesystem\"",
				  w->d->key, disks_name_of(p, w), w->mount,
				  disks_describe_content(w->content, &p->plan->arena));
	m->swap = fs && fs->swap && !p->c->image && !(c && c->swapped);
	if (m->mount || m->size || m->reseal || (fs && fs->swap))
		p->n_mounts++;
	return 0;
}

static void add_room(struct planner *p, const struct place *w, bool kept)
{
	const char *type = kept_type(w);
	const struct disks_filesystem *fs = type ? disks_filesystem_find(type) : NULL;
	uint64_t bytes = 0, inodes = 0, fresh;

	if (!w->mount)
		return;
	if (kept && w->content) {
		uint64_t grown = w->content->size > 0 && fs && fs->grow &&
						 w->size > (uint64_t)w->content->size
					 ? w->size - (uint64_t)w->content->size
					 : 0;

		bytes = (uint64_t)w->content->free +
			grown / 100 * 95; /* 5 % for inode tables and reserve */
		if (fs)
			fs->room(w->size, &fresh, &inodes);
		if (inodes) /* else it makes them as they are needed */
			inodes = (uint64_t)w->content->inodes + grown / (16 * KIB);
	} else if (fs) {
		fs->room(w->size, &bytes, &inodes);
	}
	if (bytes)
		rouse_plan_room(p->plan, w->mount, bytes, inodes);
}

/* Subvolumes of btrfs that have a mount point: the same device, with one option more. */
static int add_subvolumes(struct planner *p, const struct place *w, bool kept)
{
	const struct disks_mkfs *mkfs = w->conf ? w->conf->mkfs : NULL;
	const struct rouse_pair *s = mkfs ? mkfs->subvolumes.items : NULL;

	for (size_t i = 0; s && i < mkfs->subvolumes.n; i++) {
		struct place sub = *w;
		size_t before = p->n_mounts;
		struct mount *m;

		if (!disks_is_mount_point(s[i].key))
			continue;
		sub.mount = s[i].key;
		if (add_mount(p, &sub, kept) < 0)
			return -1;
		if (p->n_mounts == before)
			continue;
		m = &p->mounts[before];
		m->options = rouse_arena_printf(&p->plan->arena, "%s%ssubvol=%s",
						m->options ? m->options : "", m->options ? "," : "",
						s[i].value);
		m->size = 0; /* the whole of it grows once */
	}
	return 0;
}

int disks_plan_use(struct planner *p, const struct place *w, bool kept)
{
	add_room(p, w, kept);
	return add_mount(p, w, kept) < 0 ? -1 : add_subvolumes(p, w, kept);
}

static int by_path(const void *a, const void *b)
{
	const struct mount *x = a, *y = b;

	return strcmp(x->mount ? x->mount : "~",
		      y->mount ? y->mount : "~"); /* unmounted ones last */
}

static void add_grow(struct planner *p, const struct mount *m)
{
	struct disks_action *a = rouse_arena_alloc(&p->plan->arena, sizeof(*a));
	char buf[512];
	const char *at = m->where;

	if (!at && m->wanted)
		at = rouse_arena_strdup(&p->plan->arena,
					disks_below(p->c->root, m->mount, buf, sizeof(buf)));
	*a = (struct disks_action){ .source = m->source,
				    .mount = at,
				    .type = m->type,
				    .length = m->size,
				    .fs = disks_filesystem_find(m->type),
				    .file = m->file,
				    .start = m->start };
	rouse_plan_add(p->plan, ROUSE_CHANGE, DISKS_OP_GROW, a, "grow %s on %s from %s to %s",
		       m->type, m->mount ? m->mount : m->source, disks_size_text(p, m->from),
		       disks_size_text(p, m->size));
}

static void add_swap(struct planner *p, const struct mount *m)
{
	struct disks_action *a = rouse_arena_alloc(&p->plan->arena, sizeof(*a));

	*a = (struct disks_action){ .source = m->source };
	rouse_plan_add(p->plan, ROUSE_USE, DISKS_OP_SWAP, a, "use %s as swap", m->source);
}

/* May it be mounted before any table is written? What it is mounted in must be there, too. */
static bool is_early(const struct planner *p, const struct mount *m)
{
	if (!p->c->initramfs || !m->wanted || !m->kept)
		return false;
	for (size_t i = 0; i < p->n_mounts; i++) {
		const struct mount *above = &p->mounts[i];
		const char *rest = above->mount ? rouse_strip_prefix(m->mount, above->mount) : NULL;

		if (above != m && above->wanted && !above->kept && rest &&
		    (*rest == '/' || rouse_streq(above->mount, "/")))
			return false;
	}
	return true;
}

/* Is it left to systemd, as its options ask? Not what the agent itself needs, nor what something else
 * is mounted in; and a systemd that runs knows it only from its next boot on. */
static bool is_late(struct planner *p, const struct mount *m)
{
	if (!m->mount || !rouse_mount_is_late(m->options) || rouse_fstab_is_early(m->mount) ||
	    !(p->c->initramfs ? p->facts->units != NULL : disks_is_kept(p, m)))
		return false;
	for (size_t i = 0; i < p->n_mounts; i++) {
		const char *rest = p->mounts[i].mount
					   ? rouse_strip_prefix(p->mounts[i].mount, m->mount)
					   : NULL;

		if (rest && *rest == '/')
			return false;
	}
	return true;
}

void disks_hoist(struct planner *p)
{
	struct rouse_plan *plan = p->plan;
	size_t at = p->first++;
	struct rouse_step step = plan->steps[plan->n_steps - 1];

	memmove(plan->steps + at + 1, plan->steps + at,
		(plan->n_steps - 1 - at) * sizeof(plan->steps[0]));
	plan->steps[at] = step;
}

/* In an initramfs, what is there already is mounted first of all, so that the other sections are
 * planned by what it holds; it then grows while it is mounted. */
void disks_plan_mounts(struct planner *p)
{
	qsort(p->mounts, p->n_mounts, sizeof(p->mounts[0]), by_path);
	for (size_t i = 0; i < p->n_mounts; i++) {
		p->mounts[i].late = is_late(p, &p->mounts[i]);
		p->mounts[i].wanted &= !p->mounts[i].late;
	}
	for (size_t i = 0; i < p->n_mounts; i++) {
		const struct mount *m = &p->mounts[i];

		bool offline = m->size && disks_filesystem_find(m->type)->grow_offline;
		bool early = is_early(p, m) && !offline;

		if (m->reseal) {
			/* Early, it is a part of the mount, as the journal is that the kernel replays. */
			rouse_plan_add(p->plan, early ? ROUSE_USE : ROUSE_CHANGE, DISKS_OP_RESEAL,
				       m->reseal, "restore the superblock of %s on %s", m->type,
				       m->source);
			if (early)
				disks_hoist(p);
		}
		if (offline)
			add_grow(p, m);
		if (m->wanted) {
			struct disks_action *a = rouse_arena_alloc(&p->plan->arena, sizeof(*a));

			*a = (struct disks_action){ .source = m->source,
						    .mount = m->mount,
						    .type = m->type,
						    .options = m->options };
			rouse_plan_add(p->plan, ROUSE_USE, DISKS_OP_MOUNT, a, "mount %s (%s) at %s",
				       m->source, m->type, m->mount);
			if (early)
				disks_hoist(p);
		}
		if (m->size && !offline)
			add_grow(p, m);
		if (m->swap)
			add_swap(p, m);
	}
}
