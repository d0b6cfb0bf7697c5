/* SPDX-License-Identifier: Apache-2.0 */
/* What tables cannot say of arrays. */
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
