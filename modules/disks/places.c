/* SPDX-License-Identifier: Apache-2.0 */
/* What a document says about places in a partition table: checks beyond the tables of conf.c. */
#include "disks.h"

#include <string.h>

/* Begins and ends of partitions are whole sectors, of any disk. */
#define SECTOR (4 * KIB)

static bool has_size(const struct disks_partition *p)
{
	return p->size.bytes || p->size.percent;
}

static bool has_share(const struct disks_partition *p)
{
	return p->min.bytes || p->max.bytes || p->weight;
}

static void check_place(const struct disks_disk *d, const struct disks_partition *p,
			struct rouse_problems *problems)
{
	const char *const at[] = { "disks", d->key, "partitions", p->key, NULL };
	const char *const at_start[] = { "disks", d->key, "partitions", p->key, "start", NULL };

	if (has_size(p) && has_share(p))
		rouse_problem(problems, at,
			      "has a \"size\", so it takes no share of what is left: \"min\", "
			      "\"max\" and \"weight\" contradict that");
	if (p->min.bytes && p->max.bytes && p->min.bytes > p->max.bytes)
		rouse_problem(problems, at, "its \"min\" is above its \"max\"");
	if (p->start.bytes % SECTOR)
		rouse_problem(problems, at_start, "expected whole 4 KiB");
}

static void check_pair(const struct disks_disk *d, const struct disks_partition *p,
		       const struct disks_partition *other, struct rouse_problems *problems)
{
	const char *const at[] = { "disks", d->key, "partitions", p->key, NULL };

	if (p->number && p->number == other->number)
		rouse_problem(problems, at, "has number %lld like \"%s\"", (long long)p->number,
			      other->key);
	if (disks_same_guid(p->guid, other->guid))
		rouse_problem(problems, at, "has the same \"guid\" as \"%s\"", other->key);
	if (p->start.bytes && p->start.bytes == other->start.bytes)
		rouse_problem(problems, at, "begins where \"%s\" begins", other->key);
}

/* One partition may take what is left without saying how much of it. */
static void check_rest(const struct disks_disk *d, struct rouse_problems *problems)
{
	const struct disks_partition *p = d->partitions.items;
	const char *rest = NULL;

	for (size_t i = 0; i < d->partitions.n; i++) {
		const char *const at[] = { "disks", d->key, "partitions", p[i].key, NULL };

		if (has_size(&p[i]) || has_share(&p[i]))
			continue;
		if (rest)
			rouse_problem(problems, at,
				      "no \"size\", and \"%s\" has none either: only one partition "
				      "can take what is left; or give them a \"weight\"",
				      rest);
		rest = p[i].key;
	}
}

void disks_places_check(const struct disks_disk *d, struct rouse_problems *problems)
{
	const struct disks_partition *p = d->partitions.items;
	const char *const at[] = { "disks", d->key, "sectorSize", NULL };

	for (size_t i = 0; i < d->partitions.n; i++) {
		check_place(d, &p[i], problems);
		for (size_t k = 0; k < i; k++)
			check_pair(d, &p[i], &p[k], problems);
	}
	check_rest(d, problems);
	if (d->sector_size & (d->sector_size - 1))
		rouse_problem(problems, at, "expected 512, 1024, 2048 or 4096");
}
