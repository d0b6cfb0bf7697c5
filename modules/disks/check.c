/* SPDX-License-Identifier: Apache-2.0 */
/* What tables cannot say of arrays, volumes and encryption. */
#include "disks.h"

#include <string.h>

#include <rouse/text.h>

static const struct disks_disk *array_named(const struct disks_conf *conf, const char *name)
{
	const struct disks_disk *d = conf->disks.items;

	for (size_t i = 0; i < conf->disks.n; i++)
		if (strcmp(d[i].key, name) == 0)
			return &d[i];
	return NULL;
}

static size_t count_members(const struct disks_conf *conf, const char *name)
{
	const struct disks_disk *d = conf->disks.items;
	size_t count = 0;

	for (size_t i = 0; i < conf->disks.n; i++) {
		const struct disks_partition *p = d[i].partitions.items;

		for (size_t k = 0; k < d[i].partitions.n; k++)
			count += rouse_streq(p[k].raid, name);
	}
	return count;
}

/* mdadm keeps 32 bytes of a name, and takes a power of two for the chunk. */
static void check_array(const struct disks_conf *conf, const struct disks_disk *d,
			struct rouse_problems *problems)
{
	static const int64_t levels[] = { 0, 1, 5, 6, 10 };
	const char *const at[] = { "disks", d->key, NULL };
	const char *const at_raid[] = { "disks", d->key, "raid", NULL };
	uint64_t chunk = d->raid->chunk.bytes;
	bool known = false;

	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		known |= d->raid->level == levels[i];
	if (!known)
		rouse_problem(problems, at_raid, "expected level 0, 1, 5, 6 or 10, found %lld",
			      (long long)d->raid->level);
	if (strlen(d->key) > 32)
		rouse_problem(problems, at, "the name of an array has at most 32 bytes");
	if (chunk &&
	    (d->raid->level == 1 || chunk < 4 * KIB || chunk > 64 * MIB || (chunk & (chunk - 1))))
		rouse_problem(problems, at_raid,
			      d->raid->level == 1 ? "RAID 1 has no chunks"
						  : "expected a chunk of 4KiB to 64MiB, a power of "
						    "two");
	if (d->partitions.n)
		rouse_problem(problems, at,
			      "an array has no partitions: make arrays of partitions, "
			      "or volumes in it (\"lvm\")");
	if (d->device && rouse_streq(d->device->path, "root"))
		rouse_problem(problems, at, "\"root\" is one disk: make an array of partitions");
	if (d->device && count_members(conf, d->key))
		rouse_problem(problems, at, "has a \"device\", and partitions name it as well");
	if (!d->device && !count_members(conf, d->key))
		rouse_problem(problems, at,
			      "an array without a \"device\" is made of the partitions that say "
			      "\"raid\": \"%s\", and none does",
			      d->key);
}

/* A superblock at the end would be lost if the partition grew before the array did. */
static void check_membership(const struct disks_conf *conf, const struct disks_disk *d,
			     const struct disks_partition *p, struct rouse_problems *problems)
{
	const char *const at[] = { "disks", d->key, "partitions", p->key, "raid", NULL };
	const struct disks_disk *array = array_named(conf, p->raid);

	if (!array || !array->raid)
		rouse_problem(problems, at, "there is no array disks.%s with a \"raid\" level",
			      p->raid);
	else if (!p->size.bytes && strcmp(disks_array_metadata(array), "1.0") == 0)
		rouse_problem(problems, at,
			      "the superblock of this array is at the end: give the partition a "
			      "\"size\" in bytes, so that it stays as it is");
}

void disks_check_arrays(const struct disks_conf *conf, struct rouse_problems *problems)
{
	const struct disks_disk *d = conf->disks.items;

	for (size_t i = 0; i < conf->disks.n; i++) {
		const char *const at[] = { "disks", d[i].key, NULL };
		const struct disks_partition *p = d[i].partitions.items;

		if (d[i].raid)
			check_array(conf, &d[i], problems);
		else if (!d[i].device)
			rouse_problem(problems, at,
				      "\"device\" is missing (an object or a string)");
		for (size_t k = 0; k < d[i].partitions.n; k++)
			if (p[k].raid)
				check_membership(conf, &d[i], &p[k], problems);
	}
}

const char **disks_at(const char *deep[static DISKS_MAX_AT], const char *const *at, const char *a,
		      const char *b)
{
	size_t n = 0;

	for (; at[n] && n < DISKS_MAX_AT - 5; n++)
		deep[n] = at[n];
	deep[n++] = a;
	deep[n++] = b;
	deep[n] = deep[n + 1] = deep[n + 2] = NULL;
	return &deep[n];
}

/* ---- filesystems ----------------------------------------------------------------------------- */

static void check_subvolumes(const struct disks_mkfs *m, const char *const *at,
			     struct rouse_problems *problems)
{
	const char *deep[DISKS_MAX_AT], **key = disks_at(deep, at, "mkfs", "subvolumes");
	const struct rouse_pair *s = m->subvolumes.items;

	for (size_t i = 0; i < m->subvolumes.n; i++)
		for (size_t k = 0; k < i; k++)
			if (strcmp(s[i].value, s[k].value) == 0) {
				key[0] = s[i].key;
				rouse_problem(
					problems, deep,
					"is the subvolume of \"%s\": each has a path of its own",
					s[k].key);
				break;
			}
}

void disks_check_mkfs(const struct disks_partition *p, const char *const *at,
		      struct rouse_problems *problems)
{
	const struct disks_mkfs *m = p->mkfs;
	const struct disks_filesystem *fs = p->filesystem ? disks_filesystem_find(p->filesystem)
							  : NULL;

	if (!m)
		return;
	if (!fs) {
		rouse_problem(problems, at, "\"mkfs\" without a \"filesystem\"");
		return;
	}
	disks_check_options(m, fs, at, problems);
	if (!fs->tunable && (m->reserved.n || m->inode_ratio.bytes))
		rouse_problem(problems, at, "%s has neither \"reserved\" nor \"inodeRatio\"",
			      fs->name);
	if (m->inode_ratio.bytes && (m->inode_ratio.bytes < KIB || m->inode_ratio.bytes > 64 * MIB))
		rouse_problem(problems, at, "expected an \"inodeRatio\" of 1KiB to 64MiB");
	if (!fs->subvolumes && m->subvolumes.n)
		rouse_problem(problems, at, "%s has no subvolumes", fs->name);
	check_subvolumes(m, at, problems);
}

/* An image says itself what it is; the size of its partition is known before it is. */
void disks_check_image(const struct disks_disk *d, const struct disks_partition *p,
		       const char *const *at, struct rouse_problems *problems)
{
	const struct disks_partition *other = d->partitions.items;
	bool found = false;

	if (p->image && (p->filesystem || p->lvm || p->raid || p->luks || p->guid))
		rouse_problem(problems, at,
			      "an image stands alone: no \"filesystem\", \"lvm\", \"raid\", "
			      "\"luks\" or \"guid\" beside it");
	if (p->image && !p->size.bytes)
		rouse_problem(problems, at, "a partition with an image has a \"size\" in bytes");
	if (p->image && disks_is_mount_point(p->key) && !p->image->type)
		rouse_problem(problems, at, "as what is the image mounted? give it a \"type\"");
	if (!p->verity)
		return;
	for (size_t i = 0; i < d->partitions.n; i++)
		found |= &other[i] != p && strcmp(other[i].key, p->verity->hash) == 0;
	if (!found)
		rouse_problem(problems, at, "there is no partition \"%s\" with hashes on this disk",
			      p->verity->hash);
	if (p->luks || p->lvm || p->raid)
		rouse_problem(problems, at,
			      "\"verity\" is for a partition with an image or a "
			      "filesystem");
}

/* ---- volumes --------------------------------------------------------------------------------- */

void disks_check_spread(const struct disks_partition *v, const char *const *at,
			struct rouse_problems *problems)
{
	static const int64_t levels[] = { 0, 1, 5, 6, 10 };
	const struct disks_spread *s = v->spread;
	bool known = !s;

	for (size_t i = 0; s && i < ARRAY_SIZE(levels); i++)
		known |= s->level == levels[i];
	if (!known)
		rouse_problem(problems, at, "expected level 0, 1, 5, 6 or 10, found %lld",
			      (long long)s->level);
	if (s && s->level == 10 && s->devices % 2)
		rouse_problem(problems, at, "RAID 10 takes an even number of devices");
	if (v->pool && (v->thin || s || v->luks || v->filesystem || disks_is_mount_point(v->key)))
		rouse_problem(
			problems, at,
			"a pool holds thin volumes and nothing else: give it a plain name, and "
			"no filesystem, \"raid\", \"thin\" or \"luks\"");
	if (v->thin && s)
		rouse_problem(problems, at, "a thin volume lies where its pool does: no \"raid\"");
	if (v->thin && !v->size.bytes && !v->size.percent)
		rouse_problem(problems, at, "a thin volume has a \"size\"");
}

static bool has_pool(const struct disks_lvm *lvm, const char *group, const char *name)
{
	const struct disks_partition *v = lvm ? lvm->volumes.items : NULL;

	for (size_t i = 0; v && strcmp(lvm->group, group) == 0 && i < lvm->volumes.n; i++)
		if (v[i].pool && strcmp(v[i].key, name) == 0)
			return true;
	return false;
}

/* Any partition of the group may declare the pool. */
static bool is_declared(const struct disks_conf *conf, const char *group, const char *name)
{
	const struct disks_disk *d = conf->disks.items;

	for (size_t i = 0; i < conf->disks.n; i++) {
		const struct disks_partition *p = d[i].partitions.items;

		if (has_pool(d[i].lvm, group, name))
			return true;
		for (size_t k = 0; k < d[i].partitions.n; k++)
			if (has_pool(p[k].lvm, group, name))
				return true;
	}
	return false;
}

static void check_thin(const struct disks_conf *conf, const struct disks_lvm *lvm,
		       const char *const *at, struct rouse_problems *problems)
{
	const struct disks_partition *v = lvm ? lvm->volumes.items : NULL;

	for (size_t i = 0; v && i < lvm->volumes.n; i++)
		if (v[i].thin && !is_declared(conf, lvm->group, v[i].thin))
			rouse_problem(problems, at,
				      "\"%s\" is in the pool '%s', and no volume of '%s' is that "
				      "pool: add \"%s\": { \"pool\": true }",
				      v[i].key, v[i].thin, lvm->group, v[i].thin);
}

void disks_check_pools(const struct disks_conf *conf, struct rouse_problems *problems)
{
	const struct disks_disk *d = conf->disks.items;

	for (size_t i = 0; i < conf->disks.n; i++) {
		const struct disks_partition *p = d[i].partitions.items;
		const char *const at[] = { "disks", d[i].key, "lvm", NULL };

		check_thin(conf, d[i].lvm, at, problems);
		for (size_t k = 0; k < d[i].partitions.n; k++) {
			const char *const deep[] = { "disks",  d[i].key, "partitions",
						     p[k].key, "lvm",    NULL };

			check_thin(conf, p[k].lvm, deep, problems);
		}
	}
}

/* ---- encrypted volumes ----------------------------------------------------------------------- */

struct names {
	size_t n;
	char items[ROUSE_MAX_DISKS * 4][128];
};

static bool is_base64(const char *text)
{
	size_t n = strlen(text);
	auto_free uint8_t *bytes = rouse_calloc(1, n + 1);

	return rouse_unbase64(bytes, n, text, n) > 0;
}

static size_t count_places(const struct disks_key *k)
{
	return !!k->file + !!k->url + !!k->text + !!k->base64;
}

static void check_key(const struct disks_luks *l, const char *const *at,
		      struct rouse_problems *problems)
{
	const struct disks_key *k = l->escrow ? l->escrow : l->key;

	if (!k && !l->tpm2)
		rouse_problem(problems, at,
			      "expected \"key\", \"escrow\" or \"tpm2\": what opens it?");
	if (l->key && l->escrow)
		rouse_problem(
			problems, at,
			"\"key\" is one that is there, \"escrow\" is for one that is made: one "
			"of them");
	if (k && count_places(k) != 1)
		rouse_problem(problems, at, "a key is in one place: file, url, text or base64");
	if (k && k->base64 && !is_base64(k->base64))
		rouse_problem(problems, at,
			      "expected a key in base64 (RFC 4648, padded, without blanks)");
}

static void check_one(struct names *names, const struct disks_partition *p, const char *const *at,
		      struct rouse_problems *problems)
{
	char name[256];

	if (!p->luks)
		return;
	check_key(p->luks, at, problems);
	if (p->raid)
		rouse_problem(
			problems, at,
			"a member of an array is not encrypted, the array is: put \"luks\" into "
			"disks.%s",
			p->raid);
	(void)disks_luks_name(p, name, sizeof(name));
	if (!rouse_is_label(name))
		rouse_problem(problems, at,
			      "\"%.64s\" cannot be the name of a LUKS volume: give "
			      "it a \"name\"",
			      name);
	for (size_t i = 0; i < names->n; i++)
		if (strcmp(names->items[i], name) == 0) {
			rouse_problem(problems, at,
				      "there are two LUKS volumes '%s': give one another \"name\"",
				      name);
			return;
		}
	if (names->n < ARRAY_SIZE(names->items))
		(void)snprintf(names->items[names->n++], sizeof(names->items[0]), "%.127s", name);
}

static void check_volumes(struct names *names, const struct disks_lvm *lvm, const char *const *at,
			  struct rouse_problems *problems)
{
	const struct disks_partition *v = lvm ? lvm->volumes.items : NULL;
	const char *deep[DISKS_MAX_AT], **key = disks_at(deep, at, "lvm", "volumes");

	for (size_t i = 0; v && i < lvm->volumes.n; i++) {
		key[0] = v[i].key;
		check_one(names, &v[i], deep, problems);
	}
}

void disks_check_luks(const struct disks_conf *conf, struct rouse_problems *problems)
{
	const struct disks_disk *d = conf->disks.items;
	auto_free struct names *names = rouse_calloc(1, sizeof(*names));

	for (size_t i = 0; i < conf->disks.n; i++) {
		const char *const at[] = { "disks", d[i].key, NULL };
		const struct disks_partition *p = d[i].partitions.items;
		const struct disks_partition whole = { .key = d[i].mount ? d[i].mount : d[i].key,
						       .luks = p ? NULL : d[i].luks };

		check_one(names, &whole, at, problems);
		check_volumes(names, d[i].lvm, at, problems);
		for (size_t k = 0; k < d[i].partitions.n; k++) {
			const char *const deep[] = { "disks", d[i].key, "partitions", p[k].key,
						     NULL };

			check_one(names, &p[k], deep, problems);
			check_volumes(names, p[k].lvm, deep, problems);
		}
	}
}
