/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mounts of an image that lives by its fstab are there, too: a later boot that cannot reach its
 * document then mounts them without the agent. Where there is no fstab, systemd gets units: in /etc
 * for that same boot; of an initramfs, in /run for the system that it hands over to.
 */
#include <rouse/fstab.h>

#include "planner.h"

#include <string.h>
#include <unistd.h>

#include <rouse/json.h>
#include <rouse/mount.h>
#include <rouse/mountunits.h>
#include <rouse/text.h>

/* What is not booted yet will mount it then. */
void disks_fstab_observe(const struct rouse_context *c, json_t *facts)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	struct rouse_err e = { 0 };
	json_t *fstab = NULL, *units = NULL;

	if (c->image || (!c->initramfs && rouse_root_open(&root, c->root, &e) < 0))
		return;
	if (!c->initramfs)
		fstab = rouse_fstab_read(&root, "disks", &e);
	if (!fstab && (c->initramfs || e.sys == ENOENT))
		units = rouse_units_observe(c, "disks", &e);
	if (fstab && access(ROUSE_UNITS_RUN, F_OK) == 0)
		rouse_json_set_bool(fstab, "systemd", true);
	if (fstab)
		rouse_json_set(facts, "fstab", fstab);
	if (units)
		rouse_json_set(facts, "units", units);
}

/* The line that would say it; false when nobody but the agent could mount it. */
static bool line_of(struct planner *p, const struct mount *m, struct rouse_fstab_line *ret)
{
	const struct disks_filesystem *fs = m->type ? disks_filesystem_find(m->type) : NULL;
	bool swap = fs && fs->swap;

	*ret = (struct rouse_fstab_line){ .owner = "disks",
					  .target = swap ? NULL : m->mount,
					  .type = m->type,
					  .options = m->options,
					  .check = fs && fs->check };
	if (!m->type || (!m->mount && !swap) || rouse_streq(m->mount, "/"))
		return false;
	if (rouse_strip_prefix(m->source, DISKS_MAPPER_DIR)) { /* only the agent has the key */
		ret->source = m->source;
		return p->c->initramfs;
	}
	if (!fs || !m->uuid)
		return false;
	ret->source = rouse_arena_printf(&p->plan->arena, "UUID=%s", m->uuid);
	return true;
}

bool disks_is_kept(struct planner *p, const struct mount *m)
{
	const struct disks_fstab *fstab = p->facts->fstab;
	const struct rouse_pair *own = p->facts->units ? p->facts->units->own.items : NULL;
	const char *name = rouse_unit_of_path(m->mount, ".mount", &p->plan->arena);
	auto_buf struct rouse_buf text = { 0 };
	struct rouse_fstab_line line;

	for (size_t i = 0; own && i < p->facts->units->own.n; i++)
		if (strcmp(own[i].key, name) == 0)
			return true;
	if (!fstab || !fstab->systemd || !line_of(p, m, &line))
		return false;
	rouse_fstab_print(&text, &line);
	text.data[text.len - 1] = '\0'; /* its newline */
	return rouse_list_has(&fstab->own, text.data);
}

void disks_plan_fstab(struct planner *p)
{
	auto_buf struct rouse_buf lines = { 0 };
	struct rouse_fstab_line line;
	struct disks_action *a;
	size_t n = 0;

	if (!p->facts->fstab)
		return;
	for (size_t i = 0; i < p->n_mounts; i++) {
		if (!line_of(p, &p->mounts[i], &line) ||
		    (line.target && rouse_list_has(&p->facts->fstab->others, line.target)))
			continue; /* the image says how */
		rouse_fstab_print(&lines, &line);
		n++;
	}
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

/* ---- units ----------------------------------------------------------------------------------- */

void disks_plan_units(struct planner *p)
{
	const struct rouse_units_fact *there = p->facts->units;
	struct rouse_units units = { .fact = there,
				     .owner = "disks",
				     .arena = &p->plan->arena,
				     .mounted = p->c->initramfs };
	struct rouse_fstab_line line;
	struct disks_action *a;
	size_t n = 0;

	if (!there)
		return;
	for (size_t i = 0; i < p->n_mounts; i++)
		n += line_of(p, &p->mounts[i], &line) &&
		     rouse_units_add(&units, &line, p->mounts[i].late, NULL);
	a = rouse_arena_alloc(&p->plan->arena, sizeof(*a));
	a->units = rouse_units_end(&units);
	if (rouse_units_are(&there->own, &a->units))
		return;
	a->there = there;
	rouse_plan_add(p->plan, p->c->initramfs ? ROUSE_USE : ROUSE_CHANGE, DISKS_OP_UNITS, a,
		       "%s %zu mount%s of this document in %s", p->c->initramfs ? "leave" : "keep",
		       n, n == 1 ? "" : "s", there->directory);
}

int disks_units_apply(const struct disks_action *a, const struct rouse_context *c,
		      struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;

	if (rouse_root_open(&root, c->initramfs ? "/" : c->root, e) < 0)
		return -1;
	return rouse_units_write(&root, a->there->directory, &a->there->own, &a->units, e);
}
