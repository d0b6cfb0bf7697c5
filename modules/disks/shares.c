/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How large partitions become: what the document asks for, and how those without a size share what is
 * left, by weight and within their bounds. Pure.
 */
#include "layout.h"

#include <rouse/text.h>

/* The size that the document asks for; a percentage is one of all usable space. */
uint64_t disks_size_wanted(const struct layouter *l, const struct disks_partition *p)
{
	uint64_t usable = l->end > DISKS_GRAIN ? l->end - DISKS_GRAIN : 0, n;

	if (p->size.bytes)
		return round_up(p->size.bytes, p->start.bytes ? EXACT : DISKS_GRAIN);
	n = down(usable / 100 * p->size.percent);
	return n ? n : DISKS_GRAIN;
}

int disks_no_room(const struct layouter *l, const struct disks_partition *p, uint64_t need,
		  uint64_t have)
{
	char a[16], b[16];

	return rouse_fail(l->e, ROUSE_DOCUMENT, 0,
			  "disks.%s: no room on '%s' for \"%s\": it needs %s, %s are free there",
			  l->d->key, l->f->device, p->key, rouse_print_size(a, need),
			  rouse_print_size(b, have));
}

/* What its filesystem takes; what holds none may be as small as anybody says. */
uint64_t disks_smallest(const struct disks_partition *p)
{
	const struct disks_filesystem *fs = p->filesystem ? disks_filesystem_find(p->filesystem)
							  : NULL;

	return fs ? up(fs->min) : EXACT;
}

/* Without a size: at least, and at most, this. */
uint64_t disks_least_size(const struct disks_partition *p)
{
	uint64_t n = disks_smallest(p) > DISKS_GRAIN ? disks_smallest(p) : DISKS_GRAIN;

	return up(p->min.bytes) > n ? up(p->min.bytes) : n;
}

uint64_t disks_most_size(const struct disks_partition *p)
{
	uint64_t n = down(p->max.bytes);

	return !n || n < disks_least_size(p) ? (p->max.bytes ? disks_least_size(p) : UINT64_MAX)
					     : n;
}

static uint64_t weight(const struct disks_partition *p)
{
	return p->weight ? (uint64_t)p->weight : 1;
}

/* ---- shares ---------------------------------------------------------------------------------- */

/* The first claim whose share breaks its bound gets that bound, and the others share anew. Minima come
 * first: what a maximum frees must not go to somebody who had to give. */
static bool fix_one(struct claim *claims, size_t n, uint64_t left, uint64_t weights, bool minima)
{
	for (size_t i = 0; i < n; i++) {
		struct claim *c = &claims[i];
		uint64_t share = weights ? left / weights * weight(c->p) +
						   left % weights * weight(c->p) / weights
					 : 0;

		if (c->fixed || (minima ? share >= c->min : share <= c->max))
			continue;
		c->size = minima ? c->min : c->max;
		c->fixed = true;
		return true;
	}
	return false;
}

/* Shares `total` bytes, whole MiB, by weight within the bounds; false when the minima exceed it. What
 * rounding leaves goes to the last one that may have it, or a second plan would grow it. */
bool disks_share_out(struct claim *claims, size_t n, uint64_t total)
{
	uint64_t left, weights;
	struct claim *last = NULL;

	do {
		left = total;
		weights = 0;
		for (size_t i = 0; i < n; i++) {
			if (claims[i].fixed && claims[i].size > left)
				return false;
			left -= claims[i].fixed ? claims[i].size : 0;
			weights += claims[i].fixed ? 0 : weight(claims[i].p);
		}
	} while (fix_one(claims, n, left, weights, true) ||
		 fix_one(claims, n, left, weights, false));
	for (size_t i = 0; i < n; i++) {
		struct claim *c = &claims[i];

		if (c->fixed)
			continue;
		c->size = down(left / weights * weight(c->p) +
			       left % weights * weight(c->p) / weights);
		last = c;
	}
	for (size_t i = 0; last && i < n; i++)
		left -= claims[i].fixed ? 0 : claims[i].size;
	if (last)
		last->size = left < last->max - last->size ? last->size + left : last->max;
	return true;
}

struct claim disks_claim_of(const struct disks_partition *p, struct disks_slot *s)
{
	struct claim c = {
		.p = p, .slot = s, .min = disks_least_size(p), .max = disks_most_size(p)
	};

	if (s->entry && s->size > c.min)
		c.min = s->size;
	if (c.max < c.min)
		c.max = c.min;
	return c;
}

int disks_no_share(const struct layouter *l, const struct claim *claims, size_t n, uint64_t total)
{
	uint64_t need = 0;

	for (size_t i = 0; i < n; i++)
		need += claims[i].min;
	return disks_no_room(l, claims[n - 1].p, n == 1 ? need : claims[n - 1].min,
			     n == 1 || need - claims[n - 1].min > total
				     ? total
				     : total - (need - claims[n - 1].min));
}
