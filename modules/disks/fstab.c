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
	if (fstab || c->initramfs || e.sys == ENOENT)
		units = rouse_units_observe(c, "disks", &e);
	if (fstab && access(ROUSE_UNITS_RUN, F_OK) == 0)
		rouse_json_set_bool(fstab, "systemd", true);
	if (fstab)
		rouse_json_set(facts, "fstab", fstab);
	if (units)
		rouse_json_set(facts, "units", units);
}

/* The file that opens it without the agent: not a key that the document holds, or that is fetched, nor
 * one that the next boot no longer has. */
static const char *key_at_hand(const struct disks_luks *l)
{
	static const char *const passing[] = { "/run/", "/tmp/", "/dev/" };
	const struct disks_key *k = l->escrow ? l->escrow : l->key;

	for (size_t i = 0; k && k->file && i < ARRAY_SIZE(passing); i++)
		if (rouse_strip_prefix(k->file, passing[i]))
			return NULL;
	return k ? k->file : NULL;
}

/* Will what it stands on be there in a boot without the agent? */
static bool is_opened(const struct planner *p, const struct mount *m)
{
	const struct opened *o = m->behind;

	if (p->c->initramfs)
		return true;
	if (!o)
		return !rouse_strip_prefix(m->source, DISKS_MAPPER_DIR); /* verity */
	for (; o && (o->luks->tpm2 || key_at_hand(o->luks)); o = o->next)
		;
	return !o && p->facts->units;
}

/* With the units that open what it stands on. */
static const char *options_of(struct planner *p, const struct mount *m)
{
	const char *all = m->options;

	for (const struct opened *o = p->c->initramfs ? NULL : m->behind; o; o = o->next)
		all = rouse_arena_printf(&p->plan->arena, "%s%sx-systemd.requires=%s",
					 all ? all : "", all ? "," : "",
					 rouse_unit_that_opens(o->name, &p->plan->arena));
	return all;
}

/* The line that would say it; false when nobody but the agent could mount it. */
static bool line_of(struct planner *p, const struct mount *m, struct rouse_fstab_line *ret)
{
	const struct disks_filesystem *fs = m->type ? disks_filesystem_find(m->type) : NULL;
	bool swap = fs && fs->swap;

	*ret = (struct rouse_fstab_line){ .owner = "disks",
					  .target = swap ? NULL : m->mount,
					  .type = m->type,
					  .options = swap ? m->options : options_of(p, m),
					  .check = fs && fs->check };
	if (!m->type || (!m->mount && !swap) || rouse_streq(m->mount, "/") || !is_opened(p, m))
		return false;
	if (rouse_strip_prefix(m->source, DISKS_MAPPER_DIR)) {
		ret->source = m->source;
		return true;
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

static bool stands_on(const struct mount *m, const struct opened *volume)
{
	for (const struct opened *o = m->behind; o; o = o->next)
		if (strcmp(o->name, volume->name) == 0)
			return true;
	return false;
}

static bool open_one(struct planner *p, struct rouse_units *units, const struct opened *o)
{
	struct rouse_opening opening = { .name = o->name,
					 .uuid = o->uuid,
					 .key = key_at_hand(o->luks),
					 .discard = o->luks->discard };

	for (size_t i = 0; i < p->n_mounts; i++) {
		const struct mount *m = &p->mounts[i];

		if (!stands_on(m, o))
			continue;
		opening.early |= m->mount && rouse_fstab_is_early(m->mount);
		opening.swap |= rouse_streq(m->type, "swap");
	}
	return rouse_units_open(units, &opening);
}

/* What opens the volumes that a mount stands on, in a boot without the agent. Returns how many there
 * are that nothing has opened so far. */
static size_t open_all(struct planner *p, struct rouse_units *units, const struct mount *m)
{
	size_t n = 0;

	for (const struct opened *o = p->c->initramfs ? NULL : m->behind; o; o = o->next)
		n += open_one(p, units, o);
	return n;
}

void disks_plan_units(struct planner *p)
{
	const struct rouse_units_fact *there = p->facts->units;
	struct rouse_units units = { .fact = there,
				     .owner = "disks",
				     .arena = &p->plan->arena,
				     .mounted = p->c->initramfs };
	struct rouse_fstab_line line;
	struct disks_action *a;
	size_t n = 0, opening = 0;

	if (!there)
		return;
	for (size_t i = 0; i < p->n_mounts; i++) {
		const struct mount *m = &p->mounts[i];

		if (!line_of(p, m, &line))
			continue;
		opening += open_all(p, &units, m);
		n += !p->facts->fstab && rouse_units_add(&units, &line, m->late);
	}
	a = rouse_arena_alloc(&p->plan->arena, sizeof(*a));
	a->units = rouse_units_end(&units);
	if (rouse_units_are(&there->own, &a->units))
		return;
	a->there = there;
	if (p->facts->fstab)
		rouse_plan_add(p->plan, ROUSE_CHANGE, DISKS_OP_UNITS, a,
			       "keep what opens %zu volume%s of this document in %s", opening,
			       opening == 1 ? "" : "s", there->directory);
	else
		rouse_plan_add(p->plan, p->c->initramfs ? ROUSE_USE : ROUSE_CHANGE, DISKS_OP_UNITS,
			       a, "%s %zu mount%s of this document in %s",
			       p->c->initramfs ? "leave" : "keep", n, n == 1 ? "" : "s",
			       there->directory);
}

int disks_units_apply(const struct disks_action *a, const struct rouse_context *c,
		      struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;

	if (rouse_root_open(&root, c->initramfs ? "/" : c->root, e) < 0)
		return -1;
	return rouse_units_write(&root, a->there->directory, &a->there->own, &a->units, e);
}
