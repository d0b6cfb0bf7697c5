/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which disk a name of the document means. Pure; never by order, never by kernel name alone.
 *
 * What names a disk comes first, then what selects one by what it is (a kind, a model, the largest
 * blank one), the root last. A disk that bears the identity that rouse gave to it under this name
 * wins over its equals, and is no candidate for any other name.
 */
#include "disks.h"

#include <stdlib.h>
#include <string.h>

#include <rouse/text.h>

struct matcher {
	const struct disks_conf *conf;
	const struct disks_facts *facts;
	const struct rouse_context *c;
	struct rouse_arena *arena;
	struct disks_found *ret;
	struct rouse_err *e;
};

/* Disks that may be meant. */
struct candidates {
	size_t n;
	const struct disks_fact *items[ROUSE_MAX_MACHINE_DISKS];
};

static const struct disks_disk *disk_at(const struct matcher *m, size_t i)
{
	return (const struct disks_disk *)m->conf->disks.items + i;
}

static bool is_root(const struct disks_disk *d)
{
	return d->device && rouse_streq(d->device->path, "root");
}

/* ---- messages -------------------------------------------------------------------------------- */

/* "'/dev/vda' (8.0 GiB, serial …), '/dev/vdb' (…)" */
static void list_disk(struct rouse_buf *out, const struct disks_fact *f)
{
	struct rouse_arena arena = { 0 };
	char size[16];

	rouse_buf_printf(out, "%s'%s' (%s", out->len ? ", " : "", f->device,
			 rouse_print_size(size, (uint64_t)f->size));
	if (f->serial)
		rouse_buf_printf(out, ", serial %s", disks_printable(f->serial, &arena));
	rouse_buf_printf(out, ")");
	rouse_arena_done(&arena);
}

static int several(const struct matcher *m, size_t i, const char *what, const struct candidates *c)
{
	auto_buf struct rouse_buf list = { 0 };

	for (size_t k = 0; k < c->n; k++)
		list_disk(&list, c->items[k]);
	m->ret[i] = (struct disks_found){ 0 };
	return rouse_fail(m->e, ROUSE_DOCUMENT, 0,
			  "disks.%s: %s: %s; name one by path, serial or wwn", disk_at(m, i)->key,
			  what, list.data);
}

/* "serial 'abc'", "lun '3'": what the document asks for */
static const char *wanted(const struct matcher *m, const struct disks_device *d)
{
	const struct disks_matcher *row = disks_matcher_of(d);
	const char *const texts[] = { d->path, d->serial, d->wwn, d->model, d->label,
				      d->ebs,  d->gce,    d->pci, d->kind,  d->largest };

	if (d->lun.n)
		return rouse_arena_printf(m->arena, "%s '%lld'", row->name,
					  (long long)((const int64_t *)d->lun.items)[0]);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (texts[i])
			return rouse_arena_printf(m->arena, "%s '%s'%s", row->name, texts[i],
						  d->size ? " and the size that is asked for" : "");
	return row->name;
}

/* Kept until all names have been looked up: what is missing may come, what contradicts stays. */
static int missing(const struct matcher *m, size_t i)
{
	m->ret[i] = (struct disks_found){ .missing = true };
	return 0;
}

static int fail_missing(const struct matcher *m, size_t i)
{
	const struct disks_disk *d = disk_at(m, i);
	const struct disks_fact *f = m->facts->disks.items;
	auto_buf struct rouse_buf list = { 0 };

	if (is_root(d))
		return rouse_fail(m->e, ROUSE_UNAVAILABLE, 0,
				  "disks.%s: no disk can be the root disk", d->key);
	for (size_t k = 0; k < m->facts->disks.n; k++)
		list_disk(&list, &f[k]);
	if (d->device->count > 1)
		return rouse_fail(m->e, ROUSE_UNAVAILABLE, 0,
				  "disks.%s: fewer than %lld disks have %s; there are %s", d->key,
				  (long long)d->device->count, wanted(m, d->device),
				  list.len ? list.data : "none");
	return rouse_fail(m->e, ROUSE_UNAVAILABLE, 0, "disks.%s: no disk has %s; there are %s",
			  d->key, wanted(m, d->device), list.len ? list.data : "none");
}

/* ---- identity -------------------------------------------------------------------------------- */

/* Of a filesystem on the whole disk: finished, or half-made. */
static bool bears_filesystem(const struct disks_conf *conf, const struct disks_disk *d,
			     const struct disks_fact *f)
{
	const struct disks_signature *s = f->content ? f->content->signatures.items : NULL;
	char shown[DISKS_GUID_LEN];
	uint8_t uuid[16];

	disks_uuid(disks_seed(conf), d->key, "", "filesystem", uuid);
	for (size_t i = 0; s && i < f->content->signatures.n; i++) {
		const struct disks_filesystem *fs = s[i].type ? disks_filesystem_find(s[i].type)
							      : NULL;

		if (rouse_streq(s[i].label, DISKS_PENDING_LABEL)) {
			disks_pending_guid(uuid, shown);
			if (rouse_streq(s[i].uuid, shown))
				return true;
		}
		if (!fs)
			continue;
		fs->print_uuid(uuid, shown);
		if (rouse_streq(s[i].uuid, shown))
			return true;
	}
	return false;
}

/* Does anything on it (a table, a filesystem, a half-made one) bear the identity of this name? */
static bool bears_identity(const struct disks_conf *conf, const struct disks_disk *d,
			   const struct disks_fact *f)
{
	return disks_is_ours(conf, d, f) || bears_filesystem(conf, d, f);
}

static bool is_another_ones(const struct matcher *m, size_t i, const struct disks_fact *f)
{
	for (size_t k = 0; k < m->conf->disks.n; k++) {
		const struct disks_found *found = &m->ret[k];

		for (size_t j = 0; k != i && j < found->n; j++)
			if (found->all[j] == f)
				return true;
		if (k != i && bears_identity(m->conf, disk_at(m, k), f))
			return true;
	}
	return false;
}

/* ---- names ----------------------------------------------------------------------------------- */

static int take_all(const struct matcher *m, size_t i, const struct candidates *c)
{
	const struct disks_fact **all = rouse_arena_alloc(m->arena, c->n * sizeof(*all));

	memcpy(all, c->items, c->n * sizeof(*all));
	m->ret[i] = (struct disks_found){ .f = all[0], .n = c->n, .all = all };
	return 0;
}

static int take_one(const struct matcher *m, size_t i, const struct disks_fact *f)
{
	struct candidates one = { .n = 1 };

	one.items[0] = f;
	return take_all(m, i, &one);
}

static void add(struct candidates *c, const struct disks_fact *f)
{
	if (c->n < ARRAY_SIZE(c->items))
		c->items[c->n++] = f;
}

static int match_bound(const struct matcher *m, size_t i)
{
	const struct disks_disk *d = disk_at(m, i);
	const struct disks_fact *f = m->facts->disks.items;

	for (size_t k = 0; k < m->facts->disks.n; k++)
		if (rouse_streq(f[k].bound, d->key))
			return take_one(m, i, &f[k]);
	return rouse_fail(m->e, ROUSE_USAGE, 0,
			  "disks.%s: which file or device is it? say --disk %s=FILE", d->key,
			  d->key);
}

static int match_named(const struct matcher *m, size_t i)
{
	const struct disks_device *d = disk_at(m, i)->device;
	const struct disks_matcher *row = disks_matcher_of(d);
	const struct disks_fact *f = m->facts->disks.items;
	struct candidates c = { 0 };

	for (size_t k = 0; k < m->facts->disks.n; k++)
		if (f[k].size > 0 && row->is(&f[k], d))
			add(&c, &f[k]);
	if (c.n == 0)
		return missing(m, i);
	return c.n == 1 ? take_all(m, i, &c) : several(m, i, "several disks match", &c);
}

/* ---- selections ------------------------------------------------------------------------------ */

static bool is_usable(const struct matcher *m, size_t i, const struct disks_fact *f)
{
	return f->size > 0 && !f->root && !f->removable && !f->read_only && !f->config_drive &&
	       !is_another_ones(m, i, f);
}

/* An order that stays when the kernel numbers its disks in another way: by slot, then namespace. */
static int by_place(const void *a_, const void *b_)
{
	const struct disks_fact *a = *(const struct disks_fact *const *)a_;
	const struct disks_fact *b = *(const struct disks_fact *const *)b_;
	int r = strcmp(a->pci ? a->pci : "~", b->pci ? b->pci : "~");

	if (r == 0)
		r = (a->nsid > b->nsid) - (a->nsid < b->nsid);
	if (r == 0)
		r = (a->lun > b->lun) - (a->lun < b->lun);
	return r ? r : strcmp(a->device, b->device);
}

static void select_candidates(const struct matcher *m, size_t i, bool own, struct candidates *ret)
{
	const struct disks_disk *d = disk_at(m, i);
	const struct disks_matcher *row = disks_matcher_of(d->device);
	const struct disks_fact *f = m->facts->disks.items;

	for (size_t k = 0; k < m->facts->disks.n; k++) {
		if (!is_usable(m, i, &f[k]))
			continue;
		if (own ? bears_identity(m->conf, d, &f[k]) &&
				    (d->device->largest || row->is(&f[k], d->device))
			: row->is(&f[k], d->device) && disks_has_size(&f[k], d->device->size))
			add(ret, &f[k]);
	}
	qsort(ret->items, ret->n, sizeof(ret->items[0]), by_place);
}

/* Leaves the largest ones: those within one percent of the largest. */
static void keep_largest(struct candidates *c)
{
	int64_t most = 0;
	size_t n = 0;

	for (size_t k = 0; k < c->n; k++)
		most = c->items[k]->size > most ? c->items[k]->size : most;
	for (size_t k = 0; k < c->n; k++)
		if (c->items[k]->size >= most - most / 100)
			c->items[n++] = c->items[k];
	c->n = n;
}

static int match_selected(const struct matcher *m, size_t i)
{
	const struct disks_disk *d = disk_at(m, i);
	struct candidates own = { 0 }, all = { 0 };
	size_t count = (size_t)d->device->count;

	select_candidates(m, i, true, &own);
	if (!disks_takes_several(d) && own.n == 1)
		return take_all(m, i, &own);
	if (!disks_takes_several(d) && own.n > 1)
		return several(m, i, "several disks bear the identity that rouse gave to it", &own);
	select_candidates(m, i, false, &all);
	if (d->device->largest)
		keep_largest(&all);
	if (all.n == 0 || all.n < count)
		return missing(m, i);
	if (disks_takes_several(d) ? count && all.n > count : all.n > 1)
		return several(m, i,
			       d->device->largest ? "which one is the largest? candidates"
						  : "several disks match",
			       &all);
	(void)take_all(m, i, &all);
	m->ret[i].open = d->device->largest || (disks_takes_several(d) && !count);
	return 0;
}

/* ---- the root -------------------------------------------------------------------------------- */

static bool holds_root(const struct matcher *m unused_arg, size_t i unused_arg,
		       const struct disks_fact *f)
{
	return f->root;
}

static bool bears_our_guid(const struct matcher *m, size_t i, const struct disks_fact *f)
{
	return m->c->initramfs && disks_is_ours(m->conf, disk_at(m, i), f);
}

/* By the kernel's command line, or the boot loader. */
static bool is_told(const struct matcher *m, size_t i, const struct disks_fact *f)
{
	return m->c->initramfs && f->boots && f->size > 0 && !is_another_ones(m, i, f);
}

static bool could_be_root(const struct matcher *m, size_t i, const struct disks_fact *f)
{
	return m->c->initramfs && is_usable(m, i, f);
}

/* In the initramfs a disk with our GUID is the root disk again, however many others came since;
 * only without one may the single candidate be taken. */
static int match_root(const struct matcher *m, size_t i)
{
	static bool (*const ways[])(const struct matcher *, size_t,
				    const struct disks_fact *) = { holds_root, bears_our_guid,
								   is_told, could_be_root };
	const struct disks_fact *f = m->facts->disks.items;

	for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
		struct candidates c = { 0 };

		for (size_t k = 0; k < m->facts->disks.n; k++)
			if (ways[way](m, i, &f[k]))
				add(&c, &f[k]);
		if (c.n > 1)
			return several(m, i, "which one is the root disk? candidates", &c);
		if (c.n) {
			(void)take_all(m, i, &c);
			m->ret[i].open = ways[way] == could_be_root;
			return 0;
		}
	}
	return missing(m, i);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static int check_distinct(const struct matcher *m)
{
	for (size_t i = 0; i < m->conf->disks.n; i++)
		for (size_t k = 0; k < i; k++)
			for (size_t j = 0; j < m->ret[i].n * m->ret[k].n; j++) {
				const struct disks_fact *f = m->ret[i].all[j % m->ret[i].n];

				if (f == m->ret[k].all[j / m->ret[i].n])
					return rouse_fail(
						m->e, ROUSE_DOCUMENT, 0,
						"disks.%s and disks.%s are the same disk, '%s'",
						disk_at(m, k)->key, disk_at(m, i)->key, f->device);
			}
	return 0;
}

static int match_pass(const struct matcher *m, int (*match)(const struct matcher *m, size_t i),
		      bool (*is)(const struct disks_disk *d))
{
	for (size_t i = 0; i < m->conf->disks.n; i++)
		if (is(disk_at(m, i)) && match(m, i) < 0)
			return -1;
	return 0;
}

/* An array of partitions is no disk, and in an image there are none. */
static bool is_bound(const struct disks_disk *d)
{
	return !d->raid;
}

static bool is_selected(const struct disks_disk *d)
{
	return d->device && disks_matcher_of(d->device)->selects;
}

static bool is_named(const struct disks_disk *d)
{
	return d->device && !is_selected(d) && !is_root(d);
}

int disks_match(const struct disks_conf *conf, const struct disks_facts *facts,
		const struct rouse_context *c, struct rouse_arena *arena, struct disks_found *ret,
		struct rouse_err *e)
{
	const struct matcher m = {
		.conf = conf, .facts = facts, .c = c, .arena = arena, .ret = ret, .e = e
	};

	memset(ret, 0, conf->disks.n * sizeof(*ret));
	if (c->image ? match_pass(&m, match_bound, is_bound) < 0
		     : match_pass(&m, match_named, is_named) < 0 ||
			       match_pass(&m, match_selected, is_selected) < 0 ||
			       match_pass(&m, match_root, is_root) < 0)
		return -1;
	for (size_t i = 0; i < conf->disks.n; i++)
		if (ret[i].missing && !rouse_streq(disk_at(&m, i)->missing, "skip")) {
			(void)fail_missing(&m, i);
			return rouse_blame(e, ROUSE_LOCAL); /* elsewhere it is attached */
		}
	return check_distinct(&m);
}
