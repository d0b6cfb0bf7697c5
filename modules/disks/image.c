/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Partitions that are written from an image behind a URL. The image is streamed behind its first
 * blocks, and its digest is checked, before the table publishes the partition; the first blocks, which
 * make it something that can be mounted, replace the pending mark last of all. Which image a partition
 * holds is said by its GUID, which is derived from the digest.
 */
#include "planner.h"

#include <string.h>
#include <unistd.h>

#include <rouse/fetch.h>
#include <rouse/text.h>
#include <rouse/trust.h>

/* ---- planning: pure -------------------------------------------------------------------------- */

static const struct disks_filesystem image_kind = { .name = "image",
						    .print_uuid = disks_uuid_print };

static void add_step(struct planner *p, const struct place *w, enum disks_op op)
{
	struct disks_action *a = disks_action_on(p, w);
	char url[256];

	disks_uuid_of(p, w, a->uuid);
	a->image = w->conf->image;
	a->number = w->number;
	a->published = w->published || op == DISKS_OP_FINISH_IMAGE;
	a->finishes = w->published;
	a->start = w->start;
	a->length = w->size;
	rouse_plan_add(p->plan, ROUSE_CREATE, op, a,
		       op == DISKS_OP_IMAGE ? "write the image %s to %s (%s)"
					    : "finish the image %s on %s (%s)",
		       rouse_print_url(url, sizeof(url), a->image->url), disks_name_of(p, w),
		       disks_size_text(p, w->size));
}

int disks_plan_image(struct planner *p, const struct place *w)
{
	enum verdict v = MAKE;

	if (w->published && w->ours && !disks_is_pending(p, w))
		return disks_plan_use(p, w, true);
	if (w->published && !w->ours)
		return rouse_fail(
			p->e, ROUSE_DOCUMENT, 0,
			"disks.%s: %s is there, and is not of the image that is wanted: "
			"rouse does not write over it; give the partition another name, or "
			"remove the old one by hand",
			w->d->key, disks_name_of(p, w));
	if (disks_judge(p, w, &image_kind, &v) < 0 || disks_refuse_writes(p, w->d, w->f) < 0)
		return -1;
	add_step(p, w, DISKS_OP_IMAGE);
	return disks_plan_use(p, w, false);
}

void disks_finish_image(struct planner *p, const struct place *w)
{
	add_step(p, w, DISKS_OP_FINISH_IMAGE);
}

/* ---- applying -------------------------------------------------------------------------------- */

struct stream {
	const struct disks_target *t;
	struct disks_head *head;
	struct rouse_sha256 *sha;
	uint64_t done;
};

static int receive(void *arg, const void *data, size_t n, struct rouse_err *e)
{
	struct stream *s = arg;
	size_t keep = s->done < DISKS_HEAD ? DISKS_HEAD - (size_t)s->done : 0;

	keep = keep < n ? keep : n;
	rouse_sha256_update(s->sha, data, n);
	if (keep) {
		memcpy(s->head->bytes + s->done, data, keep);
		s->head->n = (size_t)s->done + keep;
		s->done += keep;
	}
	if (n > keep && disks_pwrite(s->t->fd, (const char *)data + keep, n - keep,
				     s->t->offset + s->done, s->t->what, e) < 0)
		return -1;
	s->done += n - keep;
	return 0;
}

static int restart(void *arg, struct rouse_err *e unused_arg)
{
	struct stream *s = arg;

	rouse_sha256_free(s->sha);
	s->sha = rouse_sha256_new();
	s->done = 0;
	return 0;
}

int disks_image_fetch(const struct disks_target *t, const struct disks_image *image,
		      const struct rouse_context *c, struct disks_head *head, struct rouse_err *e)
{
	struct stream s = { .t = t, .head = head, .sha = rouse_sha256_new() };
	struct rouse_fetch f = { .url = image->url,
				 .max_bytes = t->size,
				 .deadline = t->deadline,
				 .sink = receive,
				 .restart = restart,
				 .arg = &s };
	uint8_t digest[ROUSE_SHA256_LEN];
	char hex[65];
	int r = 0;

	if (c->network && c->network(c->network_arg, f.deadline, e) < 0)
		r = -1;
	if (r == 0)
		r = rouse_fetch(c->fetcher, &f, e);
	rouse_buf_done(&f.body_out);
	rouse_sha256_final(s.sha, digest);
	rouse_sha256_free(s.sha);
	if (r < 0)
		return rouse_wrap(e, "%s", t->what);
	rouse_hex(hex, digest, sizeof(digest));
	if (strcmp(hex, image->sha256) != 0)
		return rouse_fail(e, ROUSE_UNTRUSTED, 0,
				  "the image for %s has the digest %s, and the document says %s",
				  t->what, hex, image->sha256);
	return disks_sync(t->fd, t->what, e);
}

int disks_image_finish(const struct disks_target *t, const struct disks_head *head,
		       struct rouse_err *e)
{
	if (disks_pwrite(t->fd, head->bytes, head->n, t->offset, t->what, e) < 0)
		return -1;
	return disks_sync(t->fd, t->what, e);
}
