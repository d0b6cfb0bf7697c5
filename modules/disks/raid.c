/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrays (md), planned when all disks are: from the partitions and disks that are to be their members,
 * and from what the kernel knows, to steps. Pure.
 *
 * An array is known by its UUID, which rouse derives; one that somebody else made is adopted when all
 * members agree on it. As soon as one member bears it, the array is assembled and never made again:
 * what is blank beside it is added where a device is lacking. While an array is being made, its
 * members bear the pending mark, which goes when the array is complete.
 */
#include "planner.h"

#include <string.h>

#include <rouse/text.h>

#include "describe.h"

#define CHUNK (512 * KIB)
/* Where the data begins: room for the superblock, the bitmap and, on what is large, a reshape. */
#define OFFSET_SMALL MIB
#define OFFSET_LARGE (16 * MIB)
#define LARGE GIB
/* What version 1.0 keeps at the end: superblock, bitmap and their alignment. */
#define TAIL MIB

static const struct disks_filesystem member_kind = { .name = "linux_raid_member",
						     .print_uuid = disks_uuid_print };

const char *disks_array_metadata(const struct disks_disk *d)
{
	bool boots = rouse_streq(d->mount, "/boot") || rouse_streq(d->mount, "/boot/efi") ||
		     rouse_streq(d->mount, "/efi") || rouse_streq(d->filesystem, "vfat");

	if (d->raid->metadata)
		return d->raid->metadata;
	/* Firmware and boot loaders see a member as the filesystem that begins where it begins. */
	return d->raid->level == 1 && boots ? "1.0" : "1.2";
}

static bool ends_with_superblock(const struct disks_disk *d)
{
	return strcmp(disks_array_metadata(d), "1.0") == 0;
}

static uint64_t offset_of(const struct disks_disk *d, uint64_t size)
{
	if (ends_with_superblock(d))
		return 0;
	return size < LARGE ? OFFSET_SMALL : OFFSET_LARGE;
}

static uint64_t chunk_of(const struct disks_disk *d)
{
	return d->raid->chunk.bytes ? d->raid->chunk.bytes : CHUNK;
}

static uint64_t size_of(const struct disks_disk *d, size_t devices, uint64_t component)
{
	uint64_t whole = d->raid->level == 1 ? component : component / chunk_of(d) * chunk_of(d);

	switch (d->raid->level) {
	case 0:
		return whole * devices;
	case 5:
		return whole * (devices - 1);
	case 6:
		return whole * (devices - 2);
	case 10:
		return whole * devices / 2 / chunk_of(d) * chunk_of(d);
	default:
		return whole;
	}
}

static const char *own_uuid(const struct planner *p, const struct disks_disk *d,
			    char ret[static DISKS_GUID_LEN])
{
	disks_guid(disks_seed(p->conf), d->key, "", "array", ret);
	return ret;
}

/* ---- members --------------------------------------------------------------------------------- */

static struct array *array_named(struct planner *p, const char *name)
{
	const struct disks_disk *d = p->conf->disks.items;

	for (size_t i = 0; i < p->n_arrays; i++)
		if (strcmp(p->arrays[i].d->key, name) == 0)
			return &p->arrays[i];
	for (size_t i = 0; i < p->conf->disks.n; i++)
		if (strcmp(d[i].key, name) == 0 && d[i].raid) {
			p->arrays[p->n_arrays].d = &d[i];
			return &p->arrays[p->n_arrays++];
		}
	return NULL; /* check() has refused such a document */
}

static const char *array_on(const struct disks_content *c)
{
	const struct disks_signature *s = c ? c->signatures.items : NULL;

	for (size_t i = 0; s && i < c->signatures.n; i++)
		if (rouse_streq(s[i].type, member_kind.name))
			return s[i].uuid ? s[i].uuid : "";
	return NULL;
}

/* A member of some array stays one, unless it is somebody else's and the document gives it up, or our
 * own was never finished. */
static int judge_member(struct planner *p, const struct array *r, struct array_member *m,
			enum verdict *ret)
{
	const char *uuid = array_on(m->w.content);
	char ours[DISKS_GUID_LEN];

	*ret = KEEP;
	if (!uuid)
		return disks_judge(p, &m->w, &member_kind, ret);
	if (disks_is_pending(p, &m->w)) {
		m->unfinished = uuid;
		*ret = MAKE;
		return 0;
	}
	if (!rouse_streq(uuid, own_uuid(p, r->d, ours)) && !m->w.content->busy &&
	    disks_consents_content(m->w.d, m->w.content))
		*ret = REPLACE;
	else
		m->uuid = uuid;
	return 0;
}

int disks_plan_array_member(struct planner *p, const struct place *w, const char *name)
{
	struct array *r = array_named(p, name);
	struct array_member *m;
	enum verdict v = KEEP;

	if (!r)
		return rouse_fail(p->e, ROUSE_BUG, 0, "no array '%s'", name);
	if (r->n == ARRAY_SIZE(r->members))
		return rouse_fail(p->e, ROUSE_DOCUMENT, 0,
				  "disks.%s: more than %d devices in one array", name,
				  ROUSE_MAX_ARRAY);
	if (w->f->file)
		return rouse_fail(
			p->e, ROUSE_DOCUMENT, 0,
			"disks.%s: an array takes a kernel: make it on devices, not in the "
			"image file '%s'",
			w->d->key, w->f->device);
	m = &r->members[r->n++];
	*m = (struct array_member){ .w = *w, .node = disks_node_of(p, w) };
	if (judge_member(p, r, m, &v) < 0 || disks_needs_program(p, &m->w, "mdadm") < 0)
		return -1;
	return v == KEEP ? 0 : disks_claim(p, &m->w, v);
}

void disks_plan_lacking(struct planner *p, const struct disks_disk *d)
{
	const struct disks_partition *part = d->partitions.items;

	for (size_t i = 0; i < d->partitions.n; i++) {
		struct array *r = part[i].raid ? array_named(p, part[i].raid) : NULL;

		if (r)
			r->lacks++;
	}
}

int disks_plan_set(struct planner *p, const struct disks_disk *d, const struct disks_found *found)
{
	if (p->c->image)
		return rouse_fail(
			p->e, ROUSE_DOCUMENT, 0,
			"disks.%s: an array takes a kernel: it cannot be made in an image", d->key);
	for (size_t i = 0; i < found->n; i++) {
		const struct place w = { .d = d,
					 .f = found->all[i],
					 .key = "",
					 .raid = d->key,
					 .label = d->key,
					 .published = true,
					 .size = (uint64_t)found->all[i]->size,
					 .content = found->all[i]->content };

		p->last = NULL;
		if (disks_plan_array_member(p, &w, d->key) < 0)
			return -1;
		if (p->last)
			p->last->last = true;
	}
	return 0;
}

/* ---- one array ------------------------------------------------------------------------------- */

static struct disks_action *new_action(struct planner *p, const struct array *r)
{
	struct disks_action *a = rouse_arena_alloc(&p->plan->arena, sizeof(*a));

	*a = (struct disks_action){ .name = r->d->key,
				    .source = rouse_arena_printf(&p->plan->arena, "%s%s",
								 DISKS_ARRAY_DIR, r->d->key),
				    .level = (unsigned)r->d->raid->level };
	return a;
}

/* The nodes of members that are in the array, or of all. */
static const char *const *list_nodes(struct planner *p, const struct array *r, const char *uuid)
{
	const char **list = rouse_arena_alloc(&p->plan->arena, (r->n + 1) * sizeof(*list));
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++)
		if (!uuid || rouse_streq(r->members[i].uuid, uuid))
			list[n++] = r->members[i].node;
	return list;
}

static const char *list_names(struct planner *p, const struct array *r)
{
	auto_buf struct rouse_buf out = { 0 };

	for (size_t i = 0; i < r->n; i++)
		rouse_buf_printf(&out, "%s%s", i ? ", " : "", disks_name_of(p, &r->members[i].w));
	return rouse_arena_strdup(&p->plan->arena, out.data ? out.data : "");
}

static const struct disks_array *array_with(const struct planner *p, const char *uuid)
{
	const struct disks_array *a = p->facts->arrays.items;

	for (size_t i = 0; i < p->facts->arrays.n; i++)
		if (rouse_streq(a[i].uuid, uuid))
			return &a[i];
	return NULL;
}

static struct place inside(struct planner *p, const struct array *r, const char *node,
			   uint64_t size, const struct disks_content *content)
{
	const struct disks_disk *d = r->d;

	return (struct place){
		.d = d,
		.f = r->members[0].w.f,
		.key = "",
		.conf = disks_conf_of(p, d),
		.filesystem = d->filesystem,
		.mount = d->lvm ? NULL : d->mount,
		.lvm = d->lvm,
		.luks = d->luks,
		.label = d->label ? d->label : d->key,
		.options = &d->mount_options,
		.node = node,
		.title = rouse_arena_printf(&p->plan->arena, "array '%s'", d->key),
		.ours = true,
		.published = true,
		.size = size,
		.content = content,
	};
}

static size_t fewest(int64_t level)
{
	switch (level) {
	case 0:
		return 1; /* an instance type that has one disk */
	case 5:
		return 3;
	case 6:
		return 4;
	default:
		return 2;
	}
}

static int create(struct planner *p, const struct array *r)
{
	const struct disks_disk *d = r->d;
	char uuid[DISKS_GUID_LEN];
	const struct disks_array *half = array_with(p, own_uuid(p, d, uuid));
	struct disks_action *a = new_action(p, r);
	uint64_t least = UINT64_MAX;
	struct place w;

	if (r->lacks)
		return rouse_fail(p->e, ROUSE_UNAVAILABLE, 0,
				  "disks.%s: the array is to be made, and %zu of its %zu devices "
				  "%s on disks that are missing",
				  d->key, r->lacks, r->n + r->lacks, r->lacks == 1 ? "is" : "are");
	if (r->n < fewest(d->raid->level))
		return rouse_fail(p->e, ROUSE_DOCUMENT, 0,
				  "disks.%s: RAID %lld takes %zu devices at least, there %s %zu",
				  d->key, (long long)d->raid->level, fewest(d->raid->level),
				  r->n == 1 ? "is" : "are", r->n);
	for (size_t i = 0; i < r->n; i++)
		least = r->members[i].w.size < least ? r->members[i].w.size : least;
	a->offset = offset_of(d, least);
	if (least <= 2 * MIB + a->offset)
		return rouse_fail(p->e, ROUSE_DOCUMENT, 0,
				  "disks.%s: a member of an array cannot be that small", d->key);
	least -= a->offset + (ends_with_superblock(d) ? TAIL : 0);
	a->devices = list_nodes(p, r, NULL);
	a->array_uuid = rouse_arena_strdup(&p->plan->arena, uuid);
	a->device = half ? half->device : NULL; /* from a run that was cut off */
	a->metadata = disks_array_metadata(d);
	a->chunk = d->raid->level == 1 ? 0 : chunk_of(d);
	a->holds = d->filesystem || d->lvm || d->luks;
	w = inside(p, r, a->source, size_of(d, r->n, least), NULL);
	disks_uuid_of(p, &w, a->uuid);
	rouse_plan_add(p->plan, ROUSE_CREATE, DISKS_OP_ARRAY, a,
		       "make array '%s' (RAID %u, %s) of %s", d->key, a->level,
		       disks_size_text(p, w.size), list_names(p, r));
	return disks_plan_place(p, &w);
}

static int assemble(struct planner *p, const struct array *r, const char *uuid, size_t have)
{
	const struct disks_array *half = array_with(p, uuid);
	struct disks_action *a = new_action(p, r);
	size_t wanted = r->n + r->lacks;

	if (have < wanted && r->d->raid->level == 0)
		return rouse_fail(
			p->e, ROUSE_SYSTEM, 0,
			"disks.%s: the array lacks %zu of its %zu devices, and RAID 0 is "
			"nothing without them: attach them; if what it held is worthless, "
			"blank the others (wipefs -a)",
			r->d->key, wanted - have, wanted);
	a->devices = list_nodes(p, r, uuid);
	a->array_uuid = rouse_arena_strdup(&p->plan->arena, uuid);
	a->degraded = have < wanted;
	a->device = half ? half->device : NULL; /* what udev began, and could not end */
	if (a->degraded)
		rouse_plan_add(p->plan, ROUSE_USE, DISKS_OP_ASSEMBLE, a,
			       "assemble array '%s', degraded: %zu of %zu devices", r->d->key, have,
			       wanted);
	else
		rouse_plan_add(p->plan, ROUSE_USE, DISKS_OP_ASSEMBLE, a, "assemble array '%s'",
			       r->d->key);
	p->plan->steps[p->plan->n_steps - 1].opens = true;
	disks_hoist(p);
	return 0;
}

/* What was blank (and is claimed by now) takes the place of what is lost. */
static int add_members(struct planner *p, const struct array *r, const struct disks_array *fact)
{
	int64_t lacks = fact->degraded;

	for (size_t i = 0; i < r->n; i++) {
		struct disks_action *a;

		if (r->members[i].uuid)
			continue;
		if (lacks-- <= 0)
			return rouse_fail(
				p->e, ROUSE_DOCUMENT, 0,
				"disks.%s: the array has its %lld devices, and the document "
				"names %zu: rouse does not reshape arrays; leave %s out",
				r->d->key, (long long)fact->devices, r->n,
				disks_name_of(p, &r->members[i].w));
		a = new_action(p, r);
		a->device = fact->device;
		a->source = r->members[i].node;
		disks_uuid_of(p, &r->members[i].w, a->uuid);
		rouse_plan_add(p->plan, ROUSE_CREATE, DISKS_OP_ADD, a,
			       "add %s to array '%s', which lacks a device",
			       disks_name_of(p, &r->members[i].w), r->d->key);
	}
	return 0;
}

static uint64_t grown_component(const struct array *r, const struct disks_array *fact)
{
	const struct disks_array_member *m = fact->members.items;
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < fact->members.n; i++)
		for (size_t k = 0; k < r->n; k++) {
			const struct place *w = &r->members[k].w;

			if (rouse_streq(r->members[k].node, m[i].device) &&
			    w->size - (uint64_t)m[i].offset < least)
				least = w->size - (uint64_t)m[i].offset;
		}
	if (least == UINT64_MAX || least < (uint64_t)fact->component)
		return (uint64_t)fact->component;
	return least - (ends_with_superblock(r->d) && least > TAIL ? TAIL : 0);
}

/* Returns the size that the array will have. */
static uint64_t grow(struct planner *p, const struct array *r, const struct disks_array *fact)
{
	uint64_t component = grown_component(r, fact), size;
	struct disks_action *a;

	/* Not while a device is missing: what comes back could be too small then. */
	if (r->d->raid->level == 0 || fact->degraded > 0 ||
	    component < (uint64_t)fact->component + DISKS_GROW_MIN)
		return (uint64_t)fact->size;
	size = size_of(r->d, (size_t)fact->devices, component);
	a = new_action(p, r);
	a->device = fact->device;
	rouse_plan_add(p->plan, ROUSE_CHANGE, DISKS_OP_GROW_ARRAY, a,
		       "grow array '%s' from %s to %s", r->d->key,
		       disks_size_text(p, (uint64_t)fact->size), disks_size_text(p, size));
	return size;
}

/* The marks of some members were left when all had been made. */
static void finish(struct planner *p, const struct array *r, const char *uuid)
{
	struct disks_action *a = new_action(p, r);
	const char **list = rouse_arena_alloc(&p->plan->arena, (r->n + 1) * sizeof(*list));
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++)
		if (rouse_streq(r->members[i].unfinished, uuid))
			list[n++] = r->members[i].node;
	a->devices = list;
	a->offset = MIB; /* there is something between the mark and the data */
	if (n && !ends_with_superblock(r->d))
		rouse_plan_add(p->plan, ROUSE_CHANGE, DISKS_OP_FINISH_ARRAY, a, "finish array '%s'",
			       r->d->key);
}

static int use(struct planner *p, const struct array *r, const struct disks_array *fact)
{
	char level[16];
	struct place w;

	(void)snprintf(level, sizeof(level), "raid%lld", (long long)r->d->raid->level);
	if (!rouse_streq(fact->level, level))
		return rouse_fail(
			p->e, ROUSE_DOCUMENT, 0,
			"disks.%s: the array is a %s, the document wants %s: rouse does not "
			"reshape arrays",
			r->d->key, disks_printable(fact->level, &p->plan->arena), level);
	finish(p, r, fact->uuid);
	if (add_members(p, r, fact) < 0)
		return -1;
	w = inside(p, r, fact->device, grow(p, r, fact), fact->content);
	return disks_plan_place(p, &w);
}

static int plan_array(struct planner *p, struct array *r)
{
	const struct disks_array *fact;
	const char *uuid = NULL;
	size_t have = 0;

	if (!r->n)
		return 0;
	for (size_t i = 0; i < r->n; i++) {
		const struct array_member *m = &r->members[i];

		if (!m->uuid)
			continue;
		if (uuid && strcmp(uuid, m->uuid) != 0)
			return rouse_fail(
				p->e, ROUSE_DOCUMENT, 0,
				"disks.%s: %s is a member of another array than the others: "
				"take it out of there by hand, or blank it (mdadm "
				"--zero-superblock)",
				r->d->key, disks_name_of(p, &m->w));
		uuid = m->uuid;
		have++;
	}
	if (!uuid)
		return create(p, r);
	for (size_t i = 0; i < r->n; i++)
		if (rouse_streq(r->members[i].unfinished, uuid)) {
			r->members[i].uuid = uuid;
			have++;
		}
	fact = array_with(p, uuid);
	return fact && fact->active ? use(p, r, fact) : assemble(p, r, uuid, have);
}

int disks_plan_arrays(struct planner *p)
{
	for (size_t i = 0; i < p->n_arrays; i++)
		if (plan_array(p, &p->arrays[i]) < 0)
			return -1;
	return 0;
}
