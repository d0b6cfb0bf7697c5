/* SPDX-License-Identifier: Apache-2.0 */
/* What tables cannot say of disks, their partitions and volumes, and of what all of them share. */
#include "disks.h"

#include <string.h>

#include <rouse/text.h>

static void check_label(const char *filesystem, const char *label, const char *const *keys,
			struct rouse_problems *problems)
{
	const struct disks_filesystem *fs = filesystem ? disks_filesystem_find(filesystem) : NULL;

	if (fs && label && strlen(label) > fs->max_label)
		rouse_problem(problems, keys,
			      "\"%.64s\" has %zu bytes, a label of %s has at most %zu", label,
			      strlen(label), fs->name, fs->max_label);
}

/* It says of what bears it that nobody has finished it, and that it may be made again. */
static void check_reserved(const char *label, const char *const *at,
			   struct rouse_problems *problems)
{
	if (strcmp(label, DISKS_PENDING_LABEL) == 0)
		rouse_problem(
			problems, at,
			"\"%s\" is what rouse names unfinished work: give it another \"label\"",
			label);
}

/* Volume names are what lvm(8) takes, and what is left when a mount point loses its slashes. */
static bool is_volume_name(const char *s)
{
	return rouse_is_label(s) && strncmp(s, "snapshot", 8) != 0 && strncmp(s, "pvmove", 6) != 0;
}

static void check_volume(const struct disks_partition *v, const char *const *at,
			 struct rouse_problems *problems)
{
	char name[256];

	if (!is_volume_name(disks_volume_name(v->key, name, sizeof(name))))
		rouse_problem(problems, at, "\"%.64s\" cannot be the name of a volume", name);
	if (rouse_streq(v->filesystem, "swap") && disks_is_mount_point(v->key))
		rouse_problem(problems, at, "swap is not mounted: give the volume a plain name");
	check_reserved(v->label ? v->label : name, at, problems);
	disks_check_spread(v, at, problems);
	disks_check_mkfs(v, at, problems);
}

/* `at`: "disks", its name, "partitions", its key; without the last two for a whole disk. */
static void check_lvm(const char *const *at, const struct disks_partition *p,
		      struct rouse_problems *problems)
{
	const struct disks_partition *v = p->lvm->volumes.items;
	const char *deep[DISKS_MAX_AT], **key = disks_at(deep, at, "lvm", "volumes");

	if (p->type && strcmp(p->type, "linux-lvm") != 0)
		rouse_problem(problems, at, "a physical volume has the type \"linux-lvm\"");
	if (!p->lvm->volumes.n && (p->filesystem || disks_is_mount_point(p->key)))
		check_volume(p, at, problems);
	if (p->lvm->volumes.n &&
	    (p->filesystem || p->mount_options.n || disks_is_mount_point(p->key)))
		rouse_problem(problems, at,
			      "lists \"volumes\": mount points, filesystems and options belong "
			      "into them, and the partition has a plain name");
	for (size_t i = 0; i < p->lvm->volumes.n; i++) {
		key[0] = v[i].key;
		check_volume(&v[i], deep, problems);
		key[1] = "label";
		check_label(v[i].filesystem, v[i].label, deep, problems);
		key[1] = NULL;
		if (v[i].mount_options.n && !disks_is_mount_point(v[i].key))
			rouse_problem(problems, deep, "\"mountOptions\" without a mount point");
	}
}

static void check_raid_member(const char *const *at, const struct disks_partition *p,
			      struct rouse_problems *problems)
{
	if (p->filesystem || p->mount_options.n || disks_is_mount_point(p->key))
		rouse_problem(problems, at,
			      "is a member of array \"%s\": mount point, filesystem and options "
			      "belong to disks.%s, and the partition has a plain name",
			      p->raid, p->raid);
}

static void check_partition(const struct disks_disk *d, const struct disks_partition *p,
			    struct rouse_problems *problems)
{
	const char *const at[] = { "disks", d->key, "partitions", p->key, NULL };
	const char *const at_label[] = { "disks", d->key, "partitions", p->key, "label", NULL };
	char buf[256];

	if (disks_utf16_units(disks_partition_label(p, buf, sizeof(buf))) > 36)
		rouse_problem(problems, p->label ? at_label : at,
			      "the name of a GPT partition has at most 36 UTF-16 units%s",
			      p->label ? "" : ": give it a shorter \"label\"");
	check_label(p->filesystem, p->label, at_label, problems);
	check_reserved(buf, at, problems);
	disks_check_mkfs(p, at, problems);
	disks_check_image(d, p, at, problems);
	if (p->lvm && p->raid)
		rouse_problem(problems, at,
			      "\"lvm\" and \"raid\" exclude each other: put \"lvm\" "
			      "into disks.%s",
			      p->raid);
	if (p->lvm)
		check_lvm(at, p, problems);
	else if (p->raid)
		check_raid_member(at, p, problems);
	else if (rouse_streq(p->filesystem, "swap") && disks_is_mount_point(p->key))
		rouse_problem(problems, at, "swap is not mounted: give the partition a plain name");
	if (p->mount_options.n && !disks_is_mount_point(p->key))
		rouse_problem(problems, at,
			      "\"mountOptions\" without a mount point: the key of a mounted "
			      "partition is its path");
}

/* Percentages must fit. Labels tell partitions apart. */
static void check_partitions(const struct disks_disk *d, struct rouse_problems *problems)
{
	const struct disks_partition *p = d->partitions.items;
	unsigned percent = 0;

	for (size_t i = 0; i < d->partitions.n; i++) {
		const char *const at[] = { "disks", d->key, "partitions", p[i].key, NULL };
		char mine[256], other[256];

		check_partition(d, &p[i], problems);
		percent += p[i].size.percent;
		for (size_t k = 0; k < i; k++)
			if (strcmp(disks_partition_label(&p[i], mine, sizeof(mine)),
				   disks_partition_label(&p[k], other, sizeof(other))) == 0)
				rouse_problem(problems, at,
					      "would be named '%s' like \"%s\": give it another "
					      "\"label\"",
					      mine, p[k].key);
	}
	if (percent > 100) {
		const char *const at[] = { "disks", d->key, "partitions", NULL };

		rouse_problem(problems, at, "the sizes add up to %u%%", percent);
	}
}

/* What is wanted of a whole disk, or an array, as it would be said of a partition. */
static struct disks_partition whole_of(const struct disks_disk *d)
{
	return (struct disks_partition){ .key = d->mount ? d->mount : d->key,
					 .filesystem = d->filesystem,
					 .label = d->label,
					 .lvm = d->lvm,
					 .luks = d->luks,
					 .mkfs = d->mkfs,
					 .mount_options = d->mount_options };
}

static void check_whole(const struct disks_disk *d, struct rouse_problems *problems)
{
	const char *const at[] = { "disks", d->key, NULL };
	const char *const at_label[] = { "disks", d->key, "label", NULL };
	const struct disks_partition whole = whole_of(d);
	const char *also = d->filesystem ? "filesystem"
			   : d->mount    ? "mount"
			   : d->lvm      ? "lvm"
					 : NULL;

	if (d->lvm)
		check_lvm(at, &whole, problems);
	else if (rouse_streq(d->filesystem, "swap") && d->mount)
		rouse_problem(problems, at, "swap is not mounted: leave \"mount\" out");
	if (d->partitions.n && also)
		rouse_problem(problems, at,
			      "has \"partitions\" and \"%s\": a disk has partitions, or one "
			      "filesystem on all of it",
			      also);
	else if (!d->partitions.n && !also && !d->raid)
		rouse_problem(problems, at,
			      "neither \"partitions\" nor \"filesystem\": nothing is wanted of it");
	else if (d->partitions.n && (d->label || d->mount_options.n || d->luks))
		rouse_problem(problems, at, "\"%s\" belongs into a partition here",
			      d->luks    ? "luks"
			      : d->label ? "label"
					 : "mountOptions");
	check_label(d->filesystem, d->label, at_label, problems);
	check_reserved(d->label ? d->label : d->key, at, problems);
	disks_check_mkfs(&whole, at, problems);
}

struct mounts {
	size_t n;
	const char *paths[ROUSE_MAX_DISKS * ROUSE_MAX_PARTITIONS];
};

static void check_mount(struct mounts *m, const char *mount, const char *const *at,
			struct rouse_problems *problems)
{
	for (size_t i = 0; i < m->n && i < ARRAY_SIZE(m->paths); i++)
		if (strcmp(m->paths[i], mount) == 0)
			rouse_problem(problems, at, "\"%s\" is mounted twice", mount);
	if (m->n < ARRAY_SIZE(m->paths))
		m->paths[m->n] = mount;
	if (m->n++ == ARRAY_SIZE(m->paths)) /* said once */
		rouse_problem(problems, at, "more than %zu mount points", ARRAY_SIZE(m->paths));
}

/* `at` is where the filesystem is; those of its subvolumes that are mounted. */
static void check_mounts_of_subvolumes(struct mounts *m, const char *const *at,
				       const struct disks_mkfs *mkfs,
				       struct rouse_problems *problems)
{
	const struct rouse_pair *s = mkfs ? mkfs->subvolumes.items : NULL;
	const char *deep[DISKS_MAX_AT], **key = disks_at(deep, at, "mkfs", "subvolumes");

	for (size_t i = 0; s && i < mkfs->subvolumes.n; i++) {
		key[0] = s[i].key;
		if (disks_is_mount_point(s[i].key))
			check_mount(m, s[i].key, deep, problems);
	}
}

static void check_mounts_of_volumes(struct mounts *m, const char *const *at,
				    const struct disks_lvm *lvm, struct rouse_problems *problems)
{
	const struct disks_partition *v = lvm ? lvm->volumes.items : NULL;
	const char *deep[DISKS_MAX_AT], **key = disks_at(deep, at, "lvm", "volumes");

	for (size_t i = 0; v && i < lvm->volumes.n; i++) {
		key[0] = v[i].key;
		if (disks_is_mount_point(v[i].key))
			check_mount(m, v[i].key, deep, problems);
		check_mounts_of_subvolumes(m, deep, v[i].mkfs, problems);
	}
}

/* All partitions that name a group speak of the same one. */
struct wanted_volume {
	const char *group, *key;
	const struct rouse_size *size;
};

static void check_against(const struct wanted_volume *all, size_t n, const char *const *at,
			  struct rouse_problems *problems)
{
	const struct wanted_volume *v = &all[n];
	char mine[256], other[256];

	for (size_t i = 0; i < n; i++) {
		if (strcmp(all[i].group, v->group) != 0)
			continue;
		if (strcmp(disks_volume_name(v->key, mine, sizeof(mine)),
			   disks_volume_name(all[i].key, other, sizeof(other))) == 0)
			rouse_problem(problems, at, "volume '%s' of '%s' is there twice", mine,
				      v->group);
		if (!all[i].size->bytes && !all[i].size->percent && !v->size->bytes &&
		    !v->size->percent)
			rouse_problem(problems, at,
				      "no \"size\", and \"%s\" has none either: only one volume of "
				      "'%s' can take what is left",
				      all[i].key, v->group);
	}
}

struct wanted_volumes {
	size_t n;
	struct wanted_volume items[ROUSE_MAX_GROUPS * ROUSE_MAX_VOLUMES];
};

static void check_volumes(struct wanted_volumes *all, const struct disks_partition *p,
			  const char *const *at, struct rouse_problems *problems)
{
	static const struct rouse_size rest;
	size_t volumes = p->lvm ? p->lvm->volumes.n : 0;
	const struct disks_partition *v = volumes ? p->lvm->volumes.items : p;

	if (!p->lvm || (!volumes && !p->filesystem && !disks_is_mount_point(p->key)))
		return;
	for (size_t j = 0; j < (volumes ? volumes : 1) && all->n < ARRAY_SIZE(all->items); j++) {
		all->items[all->n] = (struct wanted_volume){ p->lvm->group, v[j].key,
							     volumes ? &v[j].size : &rest };
		check_against(all->items, all->n++, at, problems);
	}
}

static void check_groups(const struct disks_conf *conf, struct rouse_problems *problems)
{
	const struct disks_disk *d = conf->disks.items;
	struct disks_partition whole[ROUSE_MAX_DISKS];
	struct wanted_volumes all = { 0 };

	for (size_t i = 0; i < conf->disks.n; i++) {
		const struct disks_partition *p = d[i].partitions.items;
		const char *const at_whole[] = { "disks", d[i].key, NULL };

		for (size_t k = 0; k < d[i].partitions.n; k++) {
			const char *const at[] = { "disks", d[i].key, "partitions", p[k].key,
						   NULL };

			check_volumes(&all, &p[k], at, problems);
		}
		whole[i] = whole_of(&d[i]);
		check_volumes(&all, &whole[i], at_whole, problems);
	}
}

static void check_mounts(const struct disks_conf *conf, struct rouse_problems *problems)
{
	const struct disks_disk *d = conf->disks.items;
	auto_free struct mounts *m = rouse_calloc(1, sizeof(*m));

	for (size_t i = 0; i < conf->disks.n; i++) {
		const struct disks_partition *p = d[i].partitions.items;
		const char *const at_disk[] = { "disks", d[i].key, "mount", NULL };
		const char *const at_whole[] = { "disks", d[i].key, NULL };

		if (d[i].mount)
			check_mount(m, d[i].mount, at_disk, problems);
		check_mounts_of_volumes(m, at_whole, d[i].lvm, problems);
		check_mounts_of_subvolumes(m, at_whole, d[i].mkfs, problems);
		for (size_t k = 0; k < d[i].partitions.n; k++) {
			const char *const at[] = { "disks", d[i].key, "partitions", p[k].key,
						   NULL };

			if (disks_is_mount_point(p[k].key))
				check_mount(m, p[k].key, at, problems);
			check_mounts_of_volumes(m, at, p[k].lvm, problems);
			check_mounts_of_subvolumes(m, at, p[k].mkfs, problems);
		}
	}
}

void disks_conf_check(const void *conf_, struct rouse_problems *problems)
{
	const struct disks_conf *conf = conf_;
	const struct disks_disk *d = conf->disks.items;

	disks_check_arrays(conf, problems);
	for (size_t i = 0; i < conf->disks.n; i++) {
		const char *const at[] = { "disks", d[i].key, "device", NULL };

		if (d[i].device)
			disks_device_check(&d[i], problems);
		for (size_t k = 0; k < i; k++)
			if (d[i].device && d[k].device &&
			    disks_same_device(d[i].device, d[k].device))
				rouse_problem(problems, at, "is the same device as disks.%s",
					      d[k].key);
		check_whole(&d[i], problems);
		check_partitions(&d[i], problems);
		disks_places_check(&d[i], problems);
	}
	check_mounts(conf, problems);
	check_groups(conf, problems);
	disks_check_pools(conf, problems);
	disks_check_luks(conf, problems);
}
