/* SPDX-License-Identifier: Apache-2.0 */
/* The mounts of an image that lives by its fstab are there, too: a later boot that cannot reach its
 * document then mounts them without the agent. */
#include <rouse/fstab.h>

#include "planner.h"

#include <string.h>

#include <rouse/json.h>
#include <rouse/text.h>

/* An initramfs mounts by itself, also on its fallback; and what is not booted yet will do it then. */
void disks_fstab_observe(const struct rouse_context *c, json_t *facts)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	struct rouse_err e = { 0 };
	json_t *fstab;

	if (c->initramfs || c->image || rouse_root_open(&root, c->root, &e) < 0)
		return;
	fstab = rouse_fstab_read(&root, "disks", &e);
	if (fstab)
		rouse_json_set(facts, "fstab", fstab);
}

static size_t add_line(const struct planner *p, const struct mount *m, struct rouse_buf *lines)
{
	const struct disks_filesystem *fs = m->type ? disks_filesystem_find(m->type) : NULL;
	auto_buf struct rouse_buf source = { 0 };
	struct rouse_fstab_line line = { .owner = "disks",
					 .target = fs && fs->swap ? NULL : m->mount,
					 .type = m->type,
					 .options = m->options,
					 .check = fs && fs->check };

	if (!fs || !m->uuid || (!line.target && !fs->swap) || rouse_streq(m->mount, "/"))
		return 0;
	if (rouse_strip_prefix(m->source, "/dev/mapper/"))
		return 0; /* encrypted: only the agent has the key */
	if (line.target && rouse_list_has(&p->facts->fstab->others, line.target))
		return 0; /* the image says how */
	rouse_buf_printf(&source, "UUID=%s", m->uuid);
	line.source = source.data;
	rouse_fstab_print(lines, &line);
	return 1;
}

void disks_plan_fstab(struct planner *p)
{
	auto_buf struct rouse_buf lines = { 0 };
	struct disks_action *a;
	size_t n = 0;

	if (!p->facts->fstab)
		return;
	for (size_t i = 0; i < p->n_mounts; i++)
		n += add_line(p, &p->mounts[i], &lines);
	if (rouse_fstab_is(&p->facts->fstab->own, lines.data ? lines.data : ""))
		return;
	a = rouse_arena_alloc(&p->plan->arena, sizeof(*a));
	a->options = rouse_arena_strdup(&p->plan->arena, lines.data ? lines.data : "");
	rouse_plan_add(p->plan, ROUSE_CHANGE, DISKS_OP_FSTAB, a,
		       "keep %zu mount%s of this document in " ROUSE_FSTAB, n, n == 1 ? "" : "s");
}

int disks_fstab_apply(const struct disks_action *a, const struct rouse_context *c,
		      struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;

	if (rouse_root_open(&root, c->root, e) < 0)
		return -1;
	return rouse_fstab_write(&root, "disks", a->options, e);
}
