/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LUKS volumes, planned: pure. A volume bears the UUID that rouse derives for its place, and the
 * pending label until what is made in it has the pending mark; a volume that somebody else made is
 * opened and kept like any content of the wanted kind. What is inside is a place of its own.
 */
#include "planner.h"

#include <string.h>

#include <rouse/text.h>

#define MAX_LABEL 47 /* of the header's 48 bytes, one is NUL */

static const struct disks_filesystem luks_kind = { .name = "crypto_LUKS",
						   .print_uuid = disks_uuid_print };

const char *disks_luks_name(const struct disks_partition *p, char *buf, size_t size)
{
	if (p->luks->name)
		(void)snprintf(buf, size, "%s", p->luks->name);
	else
		(void)disks_volume_name(p->key, buf, size);
	return buf;
}

const struct opened *disks_opened(struct planner *p, const struct opened *all,
				  const struct opened *rest)
{
	for (; all; all = all->next) {
		struct opened *o = rouse_arena_alloc(&p->plan->arena, sizeof(*o));

		*o = *all;
		o->next = rest;
		rest = o;
	}
	return rest;
}

static struct place inside(struct planner *p, const struct place *w, const char *uuid,
			   uint64_t size)
{
	struct opened self = { .uuid = uuid, .luks = w->luks };
	struct place in = *w;
	char name[256];

	(void)disks_luks_name(w->conf, name, sizeof(name));
	in.luks = NULL;
	in.inside = true;
	in.ours = true;
	in.published = true;
	in.number = 0;
	in.start = 0;
	in.size = size;
	in.content = NULL;
	in.node = rouse_arena_printf(&p->plan->arena, "%s%s", DISKS_MAPPER_DIR, name);
	in.title = rouse_arena_printf(&p->plan->arena, "LUKS volume '%s'", name);
	self.name = in.node + strlen(DISKS_MAPPER_DIR);
	in.behind = disks_opened(p, &self, w->behind);
	return in;
}

static struct disks_action *new_action(struct planner *p, const struct place *w,
				       const struct place *in)
{
	struct disks_action *a = rouse_arena_alloc(&p->plan->arena, sizeof(*a));

	*a = (struct disks_action){ .source = disks_node_of(p, w),
				    .name = in->node + strlen(DISKS_MAPPER_DIR),
				    .luks = w->luks,
				    .label = strlen(w->label) <= MAX_LABEL ? w->label : "" };
	return a;
}

/* "key at s3://…", "key in the TPM": never the key */
static const char *key_text(struct planner *p, const struct disks_luks *l)
{
	const struct disks_key *k = l->escrow ? l->escrow : l->key;
	const char *tpm = l->tpm2 ? "the TPM" : "";
	char url[256];

	if (!k)
		return tpm;
	return rouse_arena_printf(&p->plan->arena, "%s%s%s%s", tpm, *tpm ? " and " : "",
				  l->escrow ? "a new one at " : "",
				  k->url    ? rouse_print_url(url, sizeof(url), k->url)
				  : k->file ? k->file
					    : "the document");
}

static int make(struct planner *p, const struct place *w, enum verdict v, bool fresh)
{
	char shown[DISKS_GUID_LEN];
	struct disks_action *a;
	uint8_t uuid[16];
	struct place in;

	if (w->size <= DISKS_LUKS_HEAD + MIB)
		return rouse_fail(p->e, ROUSE_DOCUMENT, 0,
				  "disks.%s: %s is too small for a LUKS volume, whose header has "
				  "16 MiB",
				  w->d->key, disks_name_of(p, w));
	if (disks_claim(p, w, v) < 0)
		return -1;
	disks_uuid_of(p, w, uuid);
	disks_uuid_print(uuid, shown);
	in = inside(p, w, rouse_arena_strdup(&p->plan->arena, shown), w->size - DISKS_LUKS_HEAD);
	a = new_action(p, w, &in);
	a->luks_uuid = in.behind->uuid;
	disks_uuid_of(p, &in, a->uuid);
	a->holds = w->filesystem || w->lvm;
	a->fresh = fresh;
	rouse_plan_add(p->plan, ROUSE_CREATE, DISKS_OP_ENCRYPT, a,
		       "encrypt %s (%s) as '%s', key: %s", disks_name_of(p, w),
		       disks_size_text(p, w->size), a->name, key_text(p, w->luks));
	return disks_plan_place(p, &in);
}

static const struct disks_mapping *mapping_of(const struct planner *p, const char *uuid)
{
	const struct disks_mapping *m = p->facts->mappings.items;

	for (size_t i = 0; i < p->facts->mappings.n; i++)
		if (rouse_streq(m[i].uuid, uuid))
			return &m[i];
	return NULL;
}

static int open_it(struct planner *p, const struct place *w)
{
	struct place in = inside(p, w, NULL, 0);
	const struct disks_mapping *m = p->facts->mappings.items;

	for (size_t i = 0; i < p->facts->mappings.n; i++)
		if (rouse_streq(m[i].device, in.node))
			return rouse_fail(
				p->e, ROUSE_DOCUMENT, 0,
				"disks.%s: '%s' is open already, and is not %s: give this "
				"one another \"name\"",
				w->d->key, in.node, disks_name_of(p, w));
	rouse_plan_add(p->plan, ROUSE_USE, DISKS_OP_OPEN, new_action(p, w, &in),
		       "open LUKS volume '%s' on %s", in.node + strlen(DISKS_MAPPER_DIR),
		       disks_name_of(p, w));
	p->plan->steps[p->plan->n_steps - 1].opens = true;
	disks_hoist(p);
	return 0;
}

static int keep(struct planner *p, const struct place *w)
{
	const struct disks_signature *s = w->content->signatures.items;
	const struct disks_mapping *m = mapping_of(p, s[0].uuid);
	struct place in;

	if (!m)
		return open_it(p, w);
	in = inside(p, w, m->uuid, (uint64_t)m->size);
	if (strcmp(m->name, in.behind->name) != 0)
		in.behind = w->behind; /* somebody else opens it, and will again */
	in.node = m->device;
	in.content = m->content;
	if ((uint64_t)m->size + DISKS_LUKS_HEAD + DISKS_GROW_MIN <= w->size) {
		struct disks_action *a = new_action(p, w, &in);

		in.size = w->size - DISKS_LUKS_HEAD;
		a->name = m->name;
		rouse_plan_add(p->plan, ROUSE_CHANGE, DISKS_OP_GROW_LUKS, a,
			       "grow LUKS volume '%s' from %s to %s", m->name,
			       disks_size_text(p, (uint64_t)m->size), disks_size_text(p, in.size));
	}
	return disks_plan_place(p, &in);
}

/* Open from a run that was killed before it had finished the volume, and nothing uses what is in it:
 * it is closed when it is made again. */
static bool is_left_open(const struct planner *p, const struct place *w)
{
	char shown[DISKS_GUID_LEN], name[256];
	const struct disks_mapping *m;
	uint8_t uuid[16];

	if (!w->content || !disks_is_pending(p, w))
		return false;
	disks_uuid_of(p, w, uuid);
	disks_uuid_print(uuid, shown);
	m = mapping_of(p, shown);
	return m && rouse_streq(m->name, disks_luks_name(w->conf, name, sizeof(name))) &&
	       !(m->content && m->content->busy);
}

int disks_plan_luks(struct planner *p, const struct place *w, bool fresh, bool *ret_made)
{
	struct disks_content idle;
	struct place seen = *w;
	enum verdict v = MAKE;

	*ret_made = false;
	if (w->f->file)
		return rouse_fail(
			p->e, ROUSE_DOCUMENT, 0,
			"disks.%s: a LUKS volume takes a kernel: make it on a device, not "
			"in the image file '%s'",
			w->d->key, w->f->device);
	if (is_left_open(p, w)) {
		idle = *w->content;
		idle.busy = NULL;
		seen.content = &idle;
	}
	if (disks_judge(p, &seen, &luks_kind, &v) < 0 ||
	    disks_needs_program(p, w, "cryptsetup") < 0)
		return -1;
	if (v == KEEP)
		return keep(p, w);
	if (w->luks->tpm2 && disks_needs_program(p, w, "systemd-cryptenroll") < 0)
		return -1;
	*ret_made = true;
	return make(p, w, v, fresh);
}
