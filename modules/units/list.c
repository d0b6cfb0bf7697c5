/* SPDX-License-Identifier: Apache-2.0 */
/* What the document wants of units, as files and links. Pure. */
#include <string.h>

#include <rouse/limits.h>
#include <rouse/text.h>
#include <rouse/trust.h>

#include "units.h"

struct list {
	const struct units_conf *conf;
	const struct units_facts *facts;
	struct rouse_arena *arena;
	struct unit_item *items;
	size_t n, size;
};

static void add(struct list *l, const struct unit_item *item)
{
	for (size_t i = 0; i < l->n; i++)
		if (rouse_streq(l->items[i].path, item->path))
			return;
	if (l->n == l->size) {
		struct unit_item *items;

		l->size = l->size ? 2 * l->size : 32;
		items = rouse_arena_alloc(l->arena, l->size * sizeof(*items));
		if (l->n)
			memcpy(items, l->items, l->n * sizeof(*items));
		l->items = items;
	}
	l->items[l->n++] = *item;
}

static void add_file(struct list *l, const struct unit *u, const char *path, const char *data)
{
	char sha256[65];

	rouse_sha256_hex(data, strlen(data), sha256);
	add(l, &(struct unit_item){
		       .unit = u->name,
		       .path = path,
		       .data = data,
		       .state = rouse_arena_printf(l->arena, "file:%s", sha256),
		       .what = "write",
	       });
}

static void add_link(struct list *l, const char *unit, const char *path, const char *target,
		     const char *what)
{
	add(l, &(struct unit_item){
		       .unit = unit,
		       .path = path,
		       .target = target,
		       .state = rouse_arena_printf(l->arena, "link:%s", target),
		       .what = what,
		       .any_link = strcmp(what, "enable") == 0,
	       });
}

static void add_files(struct list *l, const struct unit *u)
{
	const struct rouse_pair *d = u->drop_ins.items;
	const char *path = rouse_arena_printf(l->arena, "%s/%s", l->facts->dir, u->name);

	if (u->mask)
		add_link(l, u->name, path, "/dev/null", "mask");
	if (u->contents)
		add_file(l, u, path, u->contents);
	for (size_t i = 0; i < u->drop_ins.n; i++)
		add_file(l, u, rouse_arena_printf(l->arena, "%s.d/%s", path, d[i].key), d[i].value);
}

static const struct unit_known *find_known(const struct units_facts *facts, const char *name)
{
	const struct unit_known *k = facts->known.items;

	for (size_t i = 0; i < facts->known.n; i++)
		if (rouse_streq(k[i].name, name))
			return &k[i];
	return NULL;
}

/* The name under which a unit is enabled: of a template, its default instance. NULL with *e. */
static const char *name_to_enable(struct list *l, const struct unit_known *k, struct rouse_err *e)
{
	const char *at = strchr(k->name, '@');

	if (!unit_is_template(k->name))
		return k->name;
	if (!k->install.default_instance) {
		(void)rouse_fail(e, ROUSE_DOCUMENT, 0,
				 "'%s' is a template without a DefaultInstance: enable an instance "
				 "of it, such as '%.*s@NAME%s'",
				 k->name, (int)(at - k->name), k->name, at + 1);
		return NULL;
	}
	return rouse_arena_printf(l->arena, "%.*s@%s%s", (int)(at - k->name), k->name,
				  k->install.default_instance, at + 1);
}

static int add_wants(struct list *l, const struct unit_known *k, const char *name,
		     const struct rouse_list *targets, const char *kind, struct rouse_err *e)
{
	const char *const *t = targets->items;

	for (size_t i = 0; i < targets->n; i++) {
		const char *target = unit_expand(t[i], name, l->arena);

		if (!target || !unit_is_name(target))
			return rouse_fail(
				e, ROUSE_DOCUMENT, 0,
				"'%s' is to be enabled for '%s', which is no unit's name, or "
				"uses a specifier that rouse does not know",
				k->name, t[i]);
		add_link(l, name,
			 rouse_arena_printf(l->arena, "%s/%s.%s/%s", l->facts->dir, target, kind,
					    name),
			 k->fragment, "enable");
	}
	return 0;
}

static int add_aliases(struct list *l, const struct unit_known *k, const char *name,
		       struct rouse_err *e)
{
	const char *const *a = k->install.alias.items;

	for (size_t i = 0; i < k->install.alias.n; i++) {
		const char *alias = unit_expand(a[i], name, l->arena);

		if (!alias || !unit_is_name(alias))
			return rouse_fail(e, ROUSE_DOCUMENT, 0,
					  "'%s' has the alias '%s', which is no unit's name",
					  k->name, a[i]);
		if (strcmp(alias, name) != 0)
			add_link(l, name,
				 rouse_arena_printf(l->arena, "%s/%s", l->facts->dir, alias),
				 k->fragment, "enable");
	}
	return 0;
}

static int add_enabled(struct list *l, const struct unit_known *k, bool also, struct rouse_err *e)
{
	const struct unit_install *i = &k->install;
	const char *name;

	if (!k->fragment)
		return rouse_fail(
			e, ROUSE_DOCUMENT, 0,
			"'%s' is to be enabled, and this machine has no such unit; give its "
			"\"contents\", or the system or package that has it",
			k->name);
	if (!i->wanted_by.n && !i->required_by.n && !i->upheld_by.n && !i->alias.n && !i->also.n &&
	    !also)
		return rouse_fail(
			e, ROUSE_DOCUMENT, 0,
			"'%s' cannot be enabled: its [Install] section names nothing that "
			"would start it; add WantedBy= there, or by a drop-in",
			k->name);
	name = name_to_enable(l, k, e);
	if (!name || add_wants(l, k, name, &i->wanted_by, "wants", e) < 0 ||
	    add_wants(l, k, name, &i->required_by, "requires", e) < 0 ||
	    add_wants(l, k, name, &i->upheld_by, "upholds", e) < 0)
		return -1;
	return add_aliases(l, k, name, e);
}

static int add_disabled(struct list *l, const struct unit_known *k, struct rouse_err *e)
{
	const char *const *links = k->links.items;

	for (size_t i = 0; i < k->links.n; i++) {
		if (strncmp(links[i], l->facts->dir, strlen(l->facts->dir)) != 0)
			return rouse_fail(e, ROUSE_DOCUMENT, 0,
					  "'%s' is enabled by '%s', which is the system closure's: "
					  "say \"mask\": true, or change the system",
					  k->name, links[i]);
		add(l, &(struct unit_item){ .unit = k->name,
					    .path = links[i],
					    .state = "absent",
					    .what = "disable" });
	}
	return 0;
}

/* Of a unit, and (whose names stand behind it in the facts) of those that "Also=" leads to. */
static int add_choice(struct list *l, const struct unit *u, struct rouse_err *e)
{
	const char *names[ROUSE_MAX_INSTALL + 1] = { u->name };
	size_t n = 1;

	for (size_t i = 0; i < n; i++) {
		const struct unit_known *k = find_known(l->facts, names[i]);

		if (!k)
			continue;
		if ((u->enable == ROUSE_YES ? add_enabled(l, k, i > 0, e) : add_disabled(l, k, e)) <
		    0)
			return -1;
		for (size_t a = 0; a < k->install.also.n && n < ARRAY_SIZE(names); a++) {
			const char *name = ((const char *const *)k->install.also.items)[a];
			bool there = false;

			for (size_t m = 0; m < n; m++)
				there |= strcmp(names[m], name) == 0;
			if (!there)
				names[n++] = name;
		}
	}
	return 0;
}

int units_list(const struct units_conf *conf, const struct units_facts *facts,
	       struct rouse_arena *arena, struct unit_item **ret, size_t *ret_n,
	       struct rouse_err *e)
{
	struct list l = { .conf = conf, .facts = facts, .arena = arena };
	const struct unit *u = conf->units.items;

	for (size_t i = 0; i < conf->units.n; i++)
		add_files(&l, &u[i]);
	for (size_t i = 0; i < conf->units.n; i++)
		if (u[i].enable != ROUSE_UNSAID && add_choice(&l, &u[i], e) < 0)
			return -1;
	*ret = l.items;
	*ret_n = l.n;
	return 0;
}

const char *units_state(const struct units_facts *facts, const char *path)
{
	const struct rouse_pair *p = facts->now.items;

	for (size_t i = 0; i < facts->now.n; i++)
		if (rouse_streq(p[i].key, path))
			return p[i].value;
	return "absent";
}

bool units_is_right(const struct unit_item *item, const char *state)
{
	return rouse_streq(item->state, state) ||
	       (item->any_link && rouse_strip_prefix(state, "link:") &&
		!rouse_streq(state, "link:/dev/null"));
}
