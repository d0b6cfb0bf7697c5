/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of one volume of a group: it is made or grown, and gets what it holds. Pure. */
#include "planner.h"

#include <rouse/text.h>

static bool has_tag(const struct rouse_list *tags, const char *tag)
{
	for (size_t i = 0; i < tags->n; i++)
		if (rouse_streq(((const char *const *)tags->items)[i], tag))
			return true;
	return false;
}

static const char *volume_name(struct work *w, size_t i)
{
	char name[256];

	return rouse_arena_strdup(&w->p->plan->arena, disks_volume_name(w->g->volumes[i].conf->key,
									name, sizeof(name)));
}

static const char *text_of(struct work *w, uint64_t n)
{
	return rouse_arena_printf(&w->p->plan->arena, "%llu", (unsigned long long)n);
}

/* What lvcreate has to know beside name and size. */
static const char *const *arguments_of(struct work *w, const struct disks_partition *v)
{
	const struct spread s = disks_spread_of(w, v);
	const char **list = rouse_arena_alloc(&w->p->plan->arena, 12 * sizeof(*list));
	size_t n = 0;

	if (v->pool) {
		list[n++] = "--type";
		list[n++] = "thin-pool";
		return list;
	}
	list[n++] = "-Wn";
	list[n++] = "-Zn";
	list[n++] = "--addtag";
	list[n++] = DISKS_PENDING_TAG;
	if (!v->spread)
		return list;
	list[n++] = "--type";
	list[n++] = v->spread->level ? rouse_arena_printf(&w->p->plan->arena, "raid%lld",
							  (long long)v->spread->level)
				     : "striped";
	if (v->spread->level != 1) {
		list[n++] = "--stripes";
		list[n++] = text_of(w, s.data);
	}
	if (v->spread->level == 1 || v->spread->level == 10) {
		list[n++] = "--mirrors";
		list[n++] = text_of(w, v->spread->level == 1 ? s.images - 1 : 1);
	}
	return list;
}

/* " as RAID 1", " for thin volumes" */
static const char *kind_of(struct work *w, const struct disks_partition *v)
{
	const struct spread s = disks_spread_of(w, v);

	if (v->pool)
		return ", a pool for thin volumes";
	if (v->thin)
		return rouse_arena_printf(&w->p->plan->arena, ", thin, in the pool '%s'", v->thin);
	if (!v->spread)
		return "";
	if (!v->spread->level)
		return rouse_arena_printf(&w->p->plan->arena, ", %llu stripes",
					  (unsigned long long)s.images);
	return rouse_arena_printf(&w->p->plan->arena, ", RAID %lld on %llu",
				  (long long)v->spread->level, (unsigned long long)s.images);
}

static void add_volume_step(struct work *w, size_t i, const char *name,
			    const struct disks_volume *there, uint64_t extents)
{
	const struct disks_partition *v = w->g->volumes[i].conf;
	bool rest = !v->size.bytes && !v->size.percent;
	struct disks_action *a = disks_group_action(w);

	a->volume = rouse_arena_printf(&w->p->plan->arena, "%s/%s", w->g->name, name);
	a->extents = rest && !(there && v->spread) ? 0 : extents;
	a->extends = there != NULL;
	a->length = extents * w->extent;
	a->pool = v->thin;
	a->arguments = arguments_of(w, v);
	if (there)
		rouse_plan_add(w->p->plan, ROUSE_CHANGE, DISKS_OP_VOLUME, a,
			       "grow volume '%s' in '%s' from %s to %s", name, w->g->name,
			       disks_size_text(w->p, (uint64_t)there->size),
			       disks_size_text(w->p, extents * w->extent));
	else
		rouse_plan_add(w->p->plan, ROUSE_CREATE, DISKS_OP_VOLUME, a,
			       "make volume '%s' (%s%s) in '%s'", name,
			       disks_size_text(w->p, extents * w->extent), kind_of(w, v),
			       w->g->name);
}

static struct place place_of(struct work *w, size_t i, const char *name,
			     const struct disks_volume *there, uint64_t extents)
{
	const struct disks_partition *v = w->g->volumes[i].conf;
	bool pending = there && has_tag(&there->tags, DISKS_PENDING_TAG);
	char label[256];

	return (struct place){
		.d = w->g->volumes[i].d,
		.f = w->g->volumes[i].f,
		.key = v->key,
		.conf = v,
		.filesystem = v->filesystem,
		.luks = v->luks,
		.mount = disks_is_mount_point(v->key) ? v->key : NULL,
		.label = rouse_arena_strdup(&w->p->plan->arena,
					    disks_partition_label(v, label, sizeof(label))),
		.options = &v->mount_options,
		.group = w->g->name,
		.volume = name,
		.behind = w->behind,
		.published = true,
		.size = extents * w->extent,
		/* What is there while it is pending was there before. */
		.content = there && (!pending || there->content) ? there->content : NULL,
	};
}

/* Until its filesystem is complete, what a pending volume holds is nobody's. */
static bool is_finished(struct planner *p, const struct place *w, const struct disks_filesystem *fs)
{
	const struct disks_signature *s = w->content ? w->content->signatures.items : NULL;
	char shown[DISKS_GUID_LEN];
	uint8_t uuid[16];

	disks_uuid(disks_seed(p->conf), w->group, w->volume, "volume", uuid);
	fs->print_uuid(uuid, shown);
	return s && w->content->signatures.n == 1 && rouse_streq(s[0].type, fs->name) &&
	       rouse_streq(s[0].uuid, shown);
}

static void add_finish(struct work *w, const char *name)
{
	struct disks_action *a = disks_group_action(w);

	a->volume = rouse_arena_printf(&w->p->plan->arena, "%s/%s", w->g->name, name);
	rouse_plan_add(w->p->plan, ROUSE_CHANGE, DISKS_OP_FINISH, a, "finish volume '%s' in '%s'",
		       name, w->g->name);
}

/* The tag has done its work when the encrypted volume, which is pending itself, is there. */
static int plan_encrypted(struct work *w, struct place *at, const struct disks_volume *there)
{
	const struct disks_signature *s = at->content ? at->content->signatures.items : NULL;
	bool pending = there && has_tag(&there->tags, DISKS_PENDING_TAG), made = false;
	bool ours = s && at->content->signatures.n == 1 && rouse_streq(s[0].type, "crypto_LUKS") &&
		    !disks_is_pending(w->p, at);

	if (pending && !ours)
		at->content = NULL;
	if (there && !pending && !there->content && !there->active && !w->p->c->image)
		return 0; /* when it is active */
	if (there && !pending && !there->content)
		return rouse_fail(w->p->e, ROUSE_SYSTEM, 0,
				  "disks.%s: nobody can tell what volume '%s' of '%s' holds while "
				  "it is not active: activate it",
				  at->d->key, at->volume, at->group);
	if (disks_plan_luks(w->p, at, !there || pending, &made) < 0)
		return -1;
	if (!there || pending)
		add_finish(w, at->volume);
	return 0;
}

static int plan_content(struct work *w, struct place *at, const struct disks_volume *there)
{
	struct planner *p = w->p;
	const struct disks_filesystem *fs = at->filesystem ? disks_filesystem_find(at->filesystem)
							   : NULL;
	bool pending = there && has_tag(&there->tags, DISKS_PENDING_TAG);
	enum verdict v = KEEP;

	if (fs && pending && !is_finished(p, at, fs))
		at->content = NULL;
	if (there && !pending && !there->content && !there->active && !p->c->image)
		return 0; /* when it is active */
	if (there && !pending && !there->content && at->filesystem)
		return rouse_fail(p->e, ROUSE_SYSTEM, 0,
				  "disks.%s: nobody can tell what volume '%s' of '%s' holds while "
				  "it is not active: "
				  "activate it",
				  at->d->key, at->volume, at->group);
	if (fs && at->size < fs->min)
		return rouse_fail(p->e, ROUSE_DOCUMENT, 0,
				  "disks.%s: volume '%s' of '%s' is too small for %s", at->d->key,
				  at->volume, at->group, fs->name);
	if (fs && disks_judge(p, at, fs, &v) < 0)
		return -1;
	if (v == REPLACE)
		return rouse_fail(p->e, ROUSE_DOCUMENT, 0,
				  "disks.%s: volume '%s' of '%s' holds %s, where %s is wanted: "
				  "\"replace\" does not "
				  "count for volumes; remove it by hand",
				  at->d->key, at->volume, at->group,
				  disks_describe_content(at->content, &p->plan->arena), fs->name);
	if (v == MAKE && disks_needs_program(p, at, fs->program) < 0)
		return -1;
	if (v == MAKE) {
		struct disks_action *a = disks_add_make(p, at, fs, NULL);

		a->devices = !there || pending ? w->devices : NULL; /* the tag goes with it */
	} else if (pending) {
		add_finish(w, at->volume);
	}
	return disks_plan_use(p, at, v == KEEP && there);
}

int disks_plan_volume(struct work *w, size_t i)
{
	const char *name = volume_name(w, i);
	const struct disks_volume *there = disks_volume_named(w, name);
	uint64_t extents = 0;
	struct place at;

	if (disks_size_volume(w, i, there, &extents) < 0)
		return -1;
	if (!there || extents * w->extent > (uint64_t)there->size)
		add_volume_step(w, i, name, there, extents);
	if (w->g->volumes[i].conf->pool)
		return 0;
	at = place_of(w, i, name, there, extents);
	return at.luks ? plan_encrypted(w, &at, there) : plan_content(w, &at, there);
}
