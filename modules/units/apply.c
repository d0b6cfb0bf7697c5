/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>

#include <rouse/made.h>
#include <rouse/parent.h>
#include <rouse/text.h>

#include "units.h"

static int write_one(const struct rouse_root *root, const struct unit_item *item,
		     struct rouse_err *e)
{
	auto_root struct rouse_root parent = ROUSE_ROOT_INIT;
	const char *name = NULL;
	bool ours = geteuid() == 0;

	if (rouse_open_parent(root, item->path, true, &parent, &name, e) < 0)
		return -1;
	if (item->data)
		return rouse_fs_replace(&parent, name, item->data, strlen(item->data), 0644,
					ours ? 0 : (uid_t)-1, ours ? 0 : (gid_t)-1, e);
	if (item->target)
		return rouse_fs_symlink(&parent, item->target, name, e);
	if (unlinkat(parent.fd, name + 1, 0) < 0 && errno != ENOENT)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot remove '%s'", item->path);
	return 0;
}

static int undo_former(const struct rouse_root *root, const struct units_facts *facts,
		       struct rouse_err *e)
{
	const struct unit_former *f = facts->former.items;

	for (size_t i = 0; i < facts->former.n; i++)
		if (rouse_made_undo(root, UNITS_SECTION, f[i].path, e) < 0)
			return -1;
	return 0;
}

int units_apply(const struct units_conf *conf, const struct rouse_context *c, struct rouse_err *e)
{
	auto_arena struct rouse_arena arena = { 0 };
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	struct units_facts facts = { 0 };
	struct rouse_made_change *changes;
	struct unit_item *items = NULL;
	size_t n = 0, n_changes = 0;

	if (units_look(conf, c, &arena, &facts, e) < 0)
		return -1;
	if (facts.why && conf->units.n)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "%s", facts.why);
	if (units_list(conf, &facts, &arena, &items, &n, e) < 0 ||
	    rouse_root_open(&root, units_root(c, facts.dir), e) < 0 ||
	    undo_former(&root, &facts, e) < 0)
		return -1;
	changes = rouse_arena_alloc(&arena, (n + 1) * sizeof(*changes));
	for (size_t i = 0; i < n; i++)
		if (!units_is_right(&items[i], units_state(&facts, items[i].path)))
			changes[n_changes++] = (struct rouse_made_change){ items[i].path,
									   items[i].state };
	/* What is made in an initramfs for the system that it boots lasts as long as that runs. */
	if (!(c->initramfs && rouse_streq(root.path, "/")) &&
	    rouse_made_record(&root, UNITS_SECTION, changes, n_changes, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (!units_is_right(&items[i], units_state(&facts, items[i].path)) &&
		    write_one(&root, &items[i], e) < 0)
			return -1;
	return 0;
}
