/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `mounts`: memory, a directory in a second place, a writable layer over a read-only tree. They are of
 * this boot only; in an image that lives by its fstab they are kept there, as the disks' mounts are,
 * and else in units of systemd.
 */
#include "mounts.h"

#include <string.h>

#include <rouse/fstab.h>
#include <rouse/limits.h>
#include <rouse/text.h>

static const char *const types[] = { "tmpfs", "virtiofs", "9p", NULL };

static bool is_target(const char *s)
{
	static const char *const kernels[] = { "/proc", "/sys", "/dev" };

	for (size_t i = 0; i < ARRAY_SIZE(kernels); i++) {
		const char *rest = rouse_strip_prefix(s, kernels[i]);

		if (rest && (!*rest || *rest == '/'))
			return false;
	}
	return rouse_is_absolute_path(s) && s[1];
}

/* The kernel reads these out of one text, in which "," ":" and "\" mean something. */
static bool is_layer(const char *s)
{
	return rouse_is_absolute_path(s) && !strpbrk(s, ",:\\");
}

static bool is_option(const char *s)
{
	return *s && !strpbrk(s, ", \t\n");
}

static const struct rouse_shape layer_shape = { .type = ROUSE_STRING,
						.format = "an absolute path without \",\", \":\" "
							  "and \"\\\"",
						.valid = is_layer };
static const struct rouse_shape option_shape = { .type = ROUSE_STRING,
						 .format = "one mount option",
						 .valid = is_option };

static const struct rouse_field overlay_fields[] = {
	ROUSE_REQUIRED(struct mounts_overlay, lower, "lower",
		       "Trees that are seen through it, the uppermost first.", .type = ROUSE_LIST,
		       .item = &layer_shape, .min = 1, .max = ROUSE_MAX_OVERLAY_LAYERS,
		       .shorthand = "lower"),
	ROUSE_FIELD(struct mounts_overlay, upper, "upper",
		    "Where changes go; without it, the mount is read-only.", .type = ROUSE_STRING,
		    .format = "an absolute path without \",\", \":\" and \"\\\"",
		    .valid = is_layer),
	ROUSE_FIELD(struct mounts_overlay, work, "work",
		    "An empty directory on the filesystem of \"upper\", for the kernel.",
		    .type = ROUSE_STRING,
		    .format = "an absolute path without \",\", \":\" and \"\\\"",
		    .valid = is_layer),
};

static const struct rouse_field one_fields[] = {
	ROUSE_FIELD(struct mounts_one, type, "type",
		    "A filesystem without a disk: \"tmpfs\", \"virtiofs\", \"9p\".",
		    .type = ROUSE_STRING, .words = types),
	ROUSE_FIELD(struct mounts_one, source, "source", "The tag of a virtiofs or 9p.",
		    .type = ROUSE_STRING, .min = 1, .max = 255),
	ROUSE_FIELD(struct mounts_one, bind, "bind", "A directory that is to be seen here, too.",
		    .type = ROUSE_STRING, .format = "an absolute path",
		    .valid = rouse_is_absolute_path),
	ROUSE_FIELD(struct mounts_one, overlay, "overlay", "A writable tree over others.",
		    ROUSE_OBJECT_OF(struct mounts_overlay, overlay_fields)),
	ROUSE_FIELD(struct mounts_one, options, "options", "Mount options, mount(8).",
		    .type = ROUSE_LIST, .item = &option_shape),
};

static const struct rouse_shape one_shape = { ROUSE_OBJECT_OF(struct mounts_one, one_fields) };

static const struct rouse_field fields[] = {
	ROUSE_FIELD(struct mounts_conf, mounts, "mounts",
		    "Mount points without a disk, by absolute path.", .type = ROUSE_MAP,
		    .format = "an absolute path outside /proc, /sys and /dev", .valid = is_target,
		    .item = &one_shape, .max = ROUSE_MAX_MOUNTS),
};

static const struct rouse_shape text_shape = { .type = ROUSE_STRING };

static const struct rouse_field found_fields[] = {
	ROUSE_FIELD(struct mounts_found, type, "type", "The filesystem that is mounted.",
		    .type = ROUSE_STRING),
	ROUSE_FIELD(struct mounts_found, same, "same", "It is what shall be bound there.",
		    .type = ROUSE_BOOL),
};

static const struct rouse_shape found_shape = {
	ROUSE_OBJECT_OF(struct mounts_found, found_fields),
	.open = true,
};

static const struct rouse_field fstab_fields[] = {
	ROUSE_FIELD(struct mounts_fstab, own, "own", "Its lines that are of this section.",
		    .type = ROUSE_LIST, .item = &text_shape),
	ROUSE_FIELD(struct mounts_fstab, others, "others", "What the other lines mount.",
		    .type = ROUSE_LIST, .item = &text_shape),
};

static const struct rouse_field fact_fields[] = {
	ROUSE_FIELD(struct mounts_facts, found, "found", "What is mounted there.",
		    .type = ROUSE_MAP, .item = &found_shape),
	ROUSE_FIELD(struct mounts_facts, fstab, "fstab", "What /etc/fstab says.",
		    ROUSE_OBJECT_OF(struct mounts_fstab, fstab_fields), .open = true),
	ROUSE_FIELD(struct mounts_facts, units, "units",
		    "Units of systemd, where there is no fstab.", .type = ROUSE_OBJECT,
		    .fields = rouse_units_fact_fields, .n_fields = ROUSE_N_UNITS_FACT_FIELDS,
		    .size = sizeof(struct rouse_units_fact), .open = true),
};

static void check(const void *conf_, struct rouse_problems *problems)
{
	const struct mounts_conf *conf = conf_;
	const struct mounts_one *m = conf->mounts.items;

	for (size_t i = 0; i < conf->mounts.n; i++) {
		const char *const keys[] = { "mounts", m[i].target, NULL };
		const char *const layers[] = { "mounts", m[i].target, "overlay", NULL };
		bool tagged = m[i].type && strcmp(m[i].type, "tmpfs") != 0;

		if (!!m[i].type + !!m[i].bind + !!m[i].overlay != 1)
			rouse_problem(problems, keys,
				      "expected exactly one of \"type\", \"bind\" and \"overlay\"");
		else if (tagged != !!m[i].source)
			rouse_problem(problems, keys,
				      tagged ? "\"%s\" needs a \"source\": the tag that the host "
					       "gave it"
					     : "\"source\" belongs to \"virtiofs\" and \"9p\"",
				      m[i].type);
		if (m[i].overlay && !!m[i].overlay->upper != !!m[i].overlay->work)
			rouse_problem(problems, layers,
				      "\"upper\" and \"work\" come together, or not at all");
	}
}

/* ---- plan ------------------------------------------------------------------------------------ */

static const char *type_of(const struct mounts_one *m)
{
	return m->overlay ? "overlay" : m->bind ? "none" : m->type;
}

static const char *describe(const struct mounts_one *m, struct rouse_arena *arena)
{
	if (m->bind)
		return rouse_arena_printf(arena, "bind %s to %s", m->bind, m->target);
	if (m->overlay)
		return rouse_arena_printf(arena, "mount an overlay over %s at %s",
					  ((const char *const *)m->overlay->lower.items)[0],
					  m->target);
	return rouse_arena_printf(arena, "mount %s%s%s%s at %s", m->type, m->source ? " '" : "",
				  m->source ? m->source : "", m->source ? "'" : "", m->target);
}

static const struct mounts_found *find(const struct mounts_facts *facts, const char *target)
{
	const struct mounts_found *f = facts->found.items;

	for (size_t i = 0; i < facts->found.n; i++)
		if (strcmp(f[i].target, target) == 0)
			return &f[i];
	return NULL;
}

static bool is_there(const struct mounts_one *m, const struct mounts_found *f)
{
	return m->bind ? f->same : rouse_streq(f->type, type_of(m));
}

static int plan_one(const struct mounts_one *m, const struct mounts_facts *facts,
		    const struct rouse_context *c, struct rouse_plan *p, struct rouse_err *e)
{
	const struct mounts_found *f = find(facts, m->target);
	struct mounts_action *a;

	if (c->image || (f && is_there(m, f)))
		return 0;
	if (f)
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "mounts: %s is mounted at '%s' already; unmount it, or leave it "
				  "to what mounts it",
				  f->type, m->target);
	a = rouse_arena_alloc(&p->arena, sizeof(*a));
	a->m = m;
	a->options = rouse_list_join(&p->arena, &m->options, ",");
	rouse_plan_add(p, ROUSE_USE, MOUNTS_OP_MOUNT, a, "%s", describe(m, &p->arena));
	return 0;
}

static const char *overlay_options(const struct mounts_one *m, struct rouse_arena *arena)
{
	const struct mounts_overlay *o = m->overlay;
	const char *own = rouse_list_join(arena, &m->options, ",");

	return rouse_arena_printf(arena, "%s%slowerdir=%s%s%s%s%s", own ? own : "", own ? "," : "",
				  rouse_list_join(arena, &o->lower, ":"),
				  o->upper ? ",upperdir=" : "", o->upper ? o->upper : "",
				  o->work ? ",workdir=" : "", o->work ? o->work : "");
}

static const char *bind_options(const struct mounts_one *m, struct rouse_arena *arena)
{
	const char *own = rouse_list_join(arena, &m->options, ",");

	return own ? rouse_arena_printf(arena, "bind,%s", own) : "bind";
}

static struct rouse_fstab_line line_of(const struct mounts_one *m, struct rouse_arena *arena)
{
	return (struct rouse_fstab_line){
		.owner = "mounts",
		.source = m->bind     ? m->bind
			  : m->source ? m->source
				      : type_of(m),
		.target = m->target,
		.type = type_of(m),
		.options = m->overlay ? overlay_options(m, arena)
			   : m->bind  ? bind_options(m, arena)
				      : rouse_list_join(arena, &m->options, ","),
	};
}

static void plan_units(const struct rouse_list *sorted, const struct rouse_units_fact *there,
		       bool initramfs, struct rouse_plan *p)
{
	const struct mounts_one *const *m = sorted->items;
	struct rouse_units units = {
		.fact = there, .owner = "mounts", .arena = &p->arena, .mounted = initramfs
	};
	struct mounts_action *a = rouse_arena_alloc(&p->arena, sizeof(*a));
	size_t n = 0;

	for (size_t i = 0; i < sorted->n; i++) {
		const struct rouse_fstab_line line = line_of(m[i], &p->arena);

		n += rouse_units_add(&units, &line, false);
	}
	a->units = rouse_units_end(&units);
	a->there = there;
	if (!rouse_units_are(&there->own, &a->units))
		rouse_plan_add(p, initramfs ? ROUSE_USE : ROUSE_CHANGE, MOUNTS_OP_UNITS, a,
			       "%s %zu mount%s without a disk in %s", initramfs ? "leave" : "keep",
			       n, n == 1 ? "" : "s", there->directory);
}

static void plan_fstab(const struct rouse_list *sorted, const struct mounts_fstab *fstab,
		       struct rouse_plan *p)
{
	const struct mounts_one *const *m = sorted->items;
	auto_buf struct rouse_buf lines = { 0 };
	struct mounts_action *a;
	size_t n = 0;

	for (size_t i = 0; i < sorted->n; i++) {
		const struct rouse_fstab_line line = line_of(m[i], &p->arena);

		if (rouse_list_has(&fstab->others, m[i]->target))
			continue; /* the image says how */
		rouse_fstab_print(&lines, &line);
		n++;
	}
	if (rouse_fstab_is(&fstab->own, lines.data ? lines.data : ""))
		return;
	a = rouse_arena_alloc(&p->arena, sizeof(*a));
	a->lines = rouse_arena_strdup(&p->arena, lines.data ? lines.data : "");
	rouse_plan_add(p, ROUSE_CHANGE, MOUNTS_OP_FSTAB, a,
		       "keep %zu mount%s without a disk in " ROUSE_FSTAB, n, n == 1 ? "" : "s");
}

static bool is_below(const char *path, const char *target)
{
	const char *rest = path ? rouse_strip_prefix(path, target) : NULL;

	return rest && (!*rest || *rest == '/');
}

/* Does `m` need what is mounted at `target`: for its own mount point, or for what is seen there? */
static bool needs(const struct mounts_one *m, const char *target)
{
	const char *const *lower = m->overlay ? m->overlay->lower.items : NULL;

	if (is_below(m->target, target) || is_below(m->bind, target))
		return true;
	for (size_t i = 0; lower && i < m->overlay->lower.n; i++)
		if (is_below(lower[i], target))
			return true;
	return m->overlay &&
	       (is_below(m->overlay->upper, target) || is_below(m->overlay->work, target));
}

/* What another one needs comes before it; those that need each other, as they are written. */
static const struct mounts_one **sort(const struct rouse_list *mounts, struct rouse_arena *arena)
{
	const struct mounts_one *m = mounts->items;
	const struct mounts_one **ret = rouse_arena_alloc(arena, mounts->n * sizeof(*ret) + 1);
	bool done[ROUSE_MAX_MOUNTS] = { false };

	for (size_t n = 0; n < mounts->n; n++) {
		size_t first = mounts->n, next = mounts->n;

		for (size_t i = 0; i < mounts->n && next == mounts->n; i++) {
			bool waits = false;

			if (done[i])
				continue;
			first = first == mounts->n ? i : first;
			for (size_t k = 0; k < mounts->n; k++)
				waits |= k != i && !done[k] && needs(&m[i], m[k].target);
			next = waits ? next : i;
		}
		next = next == mounts->n ? first : next;
		done[next] = true;
		ret[n] = &m[next];
	}
	return ret;
}

static int plan(const void *conf_, const void *facts_, const struct rouse_context *c,
		struct rouse_plan *p, struct rouse_err *e)
{
	const struct mounts_conf *conf = conf_;
	const struct mounts_facts *facts = facts_;
	const struct mounts_one **sorted = sort(&conf->mounts, &p->arena);

	for (size_t i = 0; i < conf->mounts.n; i++)
		if (plan_one(sorted[i], facts, c, p, e) < 0)
			return -1;
	if (facts->fstab)
		plan_fstab(&(struct rouse_list){ .n = conf->mounts.n, .items = sorted },
			   facts->fstab, p);
	if (facts->units)
		plan_units(&(struct rouse_list){ .n = conf->mounts.n, .items = sorted },
			   facts->units, c->initramfs, p);
	return 0;
}

const struct rouse_module rouse_module_mounts = {
	.name = "mounts",
	.fields = fields,
	.n_fields = ARRAY_SIZE(fields),
	.conf_size = sizeof(struct mounts_conf),
	.facts = fact_fields,
	.n_facts = ARRAY_SIZE(fact_fields),
	.facts_size = sizeof(struct mounts_facts),
	.check = check,
	.observe = mounts_observe,
	.plan = plan,
	.apply = mounts_apply,
};
