/* SPDX-License-Identifier: Apache-2.0 */
/* Which disk a name of the document means. Pure; never by order, never by kernel name alone. */
#include "disks.h"

#include <string.h>
#include <strings.h>

#include <rouse/text.h>

struct matcher {
	const struct disks_conf *conf;
	const struct disks_facts *facts;
	const struct rouse_context *c;
	const struct disks_fact **ret;
	bool *guessed;
	struct rouse_err *e;
};

static bool by_path(const struct disks_fact *f, const char *want)
{
	for (size_t i = 0; i < f->names.n; i++)
		if (rouse_streq(((const char *const *)f->names.items)[i], want))
			return true;
	return rouse_streq(f->device, want);
}

/* virtio-blk cuts a serial number to 20 bytes (VIRTIO_BLK_ID_BYTES); EBS shows "vol0abc" for
 * "vol-0abc". */
static bool by_serial(const struct disks_fact *f, const char *want)
{
	const char *volume = rouse_strip_prefix(want, "vol-");
	const char *shown = f->serial ? rouse_strip_prefix(f->serial, "vol") : NULL;

	if (!f->serial)
		return false;
	if (strcmp(f->serial, want) == 0 || (volume && rouse_streq(shown, volume)))
		return true;
	return strlen(f->serial) == 20 && strlen(want) > 20 && strncmp(f->serial, want, 20) == 0;
}

/* "0x5000…", "naa.5000…", "eui.…", "5000…" */
static const char *bare_wwn(const char *s)
{
	static const char *const prefixes[] = {
		"0x", "naa.", "eui.", "uuid.", "nvme.", "t10.", NULL
	};

	for (const char *const *p = prefixes; *p; p++)
		if (strncasecmp(s, *p, strlen(*p)) == 0)
			return s + strlen(*p);
	return s;
}

static bool by_wwn(const struct disks_fact *f, const char *want)
{
	return f->wwn && strcasecmp(bare_wwn(f->wwn), bare_wwn(want)) == 0;
}

static bool content_has_label(const struct disks_content *c, const char *want)
{
	const struct disks_signature *s = c ? c->signatures.items : NULL;

	for (size_t i = 0; s && i < c->signatures.n; i++)
		if (rouse_streq(s[i].label, want))
			return true;
	return false;
}

static bool by_label(const struct disks_fact *f, const char *want)
{
	const struct disks_entry *entry = f->partitions.items;

	for (size_t i = 0; i < f->partitions.n; i++)
		if (rouse_streq(entry[i].label, want) || content_has_label(entry[i].content, want))
			return true;
	return content_has_label(f->content, want);
}

/* "/dev/sdf", "sdf" and "xvdf" are one name: images differ in what Xen made of it. */
static const char *bare_ebs(const char *s)
{
	const char *rest = rouse_strip_prefix(s, "/dev/");

	s = rest ? rest : s;
	if ((rest = rouse_strip_prefix(s, "xvd")) || (rest = rouse_strip_prefix(s, "sd")))
		return rest;
	return s;
}

static bool by_ebs(const struct disks_fact *f, const char *want)
{
	const char *xen = rouse_strip_prefix(f->device ? f->device : "", "/dev/xvd");

	return (f->ebs && strcmp(bare_ebs(f->ebs), bare_ebs(want)) == 0) ||
	       (xen && strcmp(xen, bare_ebs(want)) == 0);
}

static bool by_kind(const struct disks_fact *f, const char *want unused_arg)
{
	return f->model && strstr(f->model, "Amazon EC2 NVMe Instance Storage");
}

static const struct {
	const char *name;
	size_t offset;
	bool (*is)(const struct disks_fact *f, const char *want);
} matchers[] = {
	{ "path", offsetof(struct disks_device, path), by_path },
	{ "serial", offsetof(struct disks_device, serial), by_serial },
	{ "wwn", offsetof(struct disks_device, wwn), by_wwn },
	{ "label", offsetof(struct disks_device, label), by_label },
	{ "ebs", offsetof(struct disks_device, ebs), by_ebs },
	{ "kind", offsetof(struct disks_device, kind), by_kind },
};

/* The row that the document uses, and its value. */
static size_t matcher_of(const struct disks_device *d, const char **ret_want)
{
	for (size_t i = 0; i < ARRAY_SIZE(matchers); i++) {
		*ret_want = *(const char *const *)(const void *)((const char *)d +
								 matchers[i].offset);
		if (*ret_want)
			return i;
	}
	return 0; /* check() has refused such a document */
}

static bool is_root(const struct disks_disk *d)
{
	return rouse_streq(d->device->path, "root");
}

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

static int several(const struct matcher *m, const struct disks_disk *d, const char *what,
		   const char *list)
{
	return rouse_fail(m->e, ROUSE_DOCUMENT, 0,
			  "disks.%s: %s: %s; name one by path, serial or wwn", d->key, what, list);
}

static int match_bound(const struct matcher *m, size_t i)
{
	const struct disks_disk *d = (const struct disks_disk *)m->conf->disks.items + i;
	const struct disks_fact *f = m->facts->disks.items;

	for (size_t k = 0; k < m->facts->disks.n; k++)
		if (rouse_streq(f[k].bound, d->key)) {
			m->ret[i] = &f[k];
			return 0;
		}
	return rouse_fail(m->e, ROUSE_USAGE, 0,
			  "disks.%s: which file or device is it? say --disk %s=FILE", d->key,
			  d->key);
}

static int match_one(const struct matcher *m, size_t i)
{
	const struct disks_disk *d = (const struct disks_disk *)m->conf->disks.items + i;
	const struct disks_fact *f = m->facts->disks.items;
	auto_buf struct rouse_buf list = { 0 };
	const char *want = NULL;
	size_t row = matcher_of(d->device, &want), found = 0;

	for (size_t k = 0; k < m->facts->disks.n; k++) {
		if (f[k].size <= 0 || !matchers[row].is(&f[k], want))
			continue;
		m->ret[i] = &f[k];
		list_disk(&list, &f[k]);
		found++;
	}
	if (found == 1)
		return 0;
	if (found > 1)
		return several(m, d, "several disks match", list.data);
	for (size_t k = 0; k < m->facts->disks.n; k++)
		list_disk(&list, &f[k]);
	return rouse_fail(m->e, ROUSE_UNAVAILABLE, 0, "disks.%s: no disk has %s '%s'; there are %s",
			  d->key, matchers[row].name, want, list.len ? list.data : "none");
}

static bool is_claimed(const struct matcher *m, const struct disks_fact *f)
{
	for (size_t i = 0; i < m->conf->disks.n; i++)
		if (m->ret[i] == f)
			return true;
	return false;
}

static bool holds_root(const struct matcher *m, const struct disks_disk *d unused_arg,
		       const struct disks_fact *f)
{
	return f->root && !m->c->initramfs;
}

static bool bears_our_guid(const struct matcher *m, const struct disks_disk *d,
			   const struct disks_fact *f)
{
	return m->c->initramfs && disks_is_ours(m->conf, d, f);
}

static bool could_be_root(const struct matcher *m, const struct disks_disk *d unused_arg,
			  const struct disks_fact *f)
{
	return m->c->initramfs && f->size > 0 && !f->removable && !f->read_only && !f->config_drive;
}

/* In the initramfs a disk with our GUID is the root disk again, however many others came since;
 * only without one may the single candidate be taken. */
static int match_root(const struct matcher *m, size_t i)
{
	static bool (*const ways[])(const struct matcher *, const struct disks_disk *,
				    const struct disks_fact *) = { holds_root, bears_our_guid,
								   could_be_root };
	const struct disks_disk *d = (const struct disks_disk *)m->conf->disks.items + i;
	const struct disks_fact *f = m->facts->disks.items;

	for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
		auto_buf struct rouse_buf list = { 0 };
		size_t found = 0;

		for (size_t k = 0; k < m->facts->disks.n; k++) {
			if (is_claimed(m, &f[k]) || !ways[way](m, d, &f[k]))
				continue;
			m->ret[i] = &f[k];
			list_disk(&list, &f[k]);
			found++;
		}
		*m->guessed |= found && ways[way] == could_be_root;
		if (found > 1) {
			m->ret[i] = NULL;
			return several(m, d, "which one is the root disk? candidates", list.data);
		}
		if (found)
			return 0;
	}
	return rouse_fail(m->e, ROUSE_UNAVAILABLE, 0, "disks.%s: no disk can be the root disk",
			  d->key);
}

static int check_distinct(const struct matcher *m)
{
	const struct disks_disk *d = m->conf->disks.items;

	for (size_t i = 0; i < m->conf->disks.n; i++)
		for (size_t k = 0; k < i; k++)
			if (m->ret[i] == m->ret[k])
				return rouse_fail(m->e, ROUSE_DOCUMENT, 0,
						  "disks.%s and disks.%s are the same disk, '%s'",
						  d[k].key, d[i].key, m->ret[i]->device);
	return 0;
}

int disks_match(const struct disks_conf *conf, const struct disks_facts *facts,
		const struct rouse_context *c, const struct disks_fact **ret, bool *ret_guessed,
		struct rouse_err *e)
{
	const struct matcher m = {
		.conf = conf, .facts = facts, .c = c, .ret = ret, .guessed = ret_guessed, .e = e
	};
	const struct disks_disk *d = conf->disks.items;

	*ret_guessed = false;
	for (size_t i = 0; i < conf->disks.n; i++)
		ret[i] = NULL;
	/* "root" comes last: what has a name of its own is no candidate. */
	for (int roots = 0; roots < 2; roots++)
		for (size_t i = 0; i < conf->disks.n; i++) {
			if (is_root(&d[i]) != roots)
				continue;
			if (c->image ? match_bound(&m, i) < 0
			    : roots  ? match_root(&m, i) < 0
				     : match_one(&m, i) < 0)
				return -1;
		}
	return check_distinct(&m);
}
