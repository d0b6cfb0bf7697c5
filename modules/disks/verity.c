/* SPDX-License-Identifier: Apache-2.0 */
/* Partitions that are read through dm-verity, by veritysetup(8): planned when all disks are, for the
 * hashes are in another partition. */
#include "planner.h"

#include <string.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/init.h>
#include <rouse/proc.h>
#include <rouse/text.h>

static const struct node *node_of_key(const struct planner *p, const struct disks_disk *d,
				      const char *key)
{
	for (size_t i = 0; i < p->n_nodes; i++)
		if (p->nodes[i].d == d && strcmp(p->nodes[i].key, key) == 0)
			return &p->nodes[i];
	return NULL;
}

static bool is_open(const struct planner *p, const char *node)
{
	const struct disks_mapping *m = p->facts->mappings.items;

	for (size_t i = 0; i < p->facts->mappings.n; i++)
		if (rouse_streq(m[i].device, node))
			return true;
	return false;
}

int disks_plan_verity(struct planner *p)
{
	for (size_t i = 0; i < p->n_nodes; i++) {
		const struct node *n = &p->nodes[i], *hash;
		struct disks_action *a;
		char name[256];

		if (!n->conf->verity || p->c->image)
			continue;
		hash = node_of_key(p, n->d, n->conf->verity->hash);
		if (!hash)
			return rouse_fail(p->e, ROUSE_BUG, 0, "no partition '%s'",
					  n->conf->verity->hash);
		(void)disks_volume_name(n->key, name, sizeof(name));
		a = rouse_arena_alloc(&p->plan->arena, sizeof(*a));
		a->name = rouse_arena_strdup(&p->plan->arena, name);
		a->device = n->node;
		a->source = hash->node;
		a->root_hash = n->conf->verity->root_hash;
		if (is_open(p, rouse_arena_printf(&p->plan->arena, "%s%s", DISKS_MAPPER_DIR, name)))
			continue;
		rouse_plan_add(p->plan, ROUSE_USE, DISKS_OP_VERITY, a,
			       "open %s as '%s' by its root hash", n->node, name);
		if (n->complete && hash->complete)
			disks_hoist(p);
	}
	return 0;
}

int disks_verity_open(const struct disks_action *a, const struct rouse_context *c,
		      struct rouse_err *e)
{
	static const char *const with[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C", NULL };
	static const char *const without[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C",
					       "DM_DISABLE_UDEV=1", NULL };
	static const char *const modules[] = { "dm-mod", "dm-verity", "sha256", NULL };
	const char *const argv[] = { "veritysetup", "open",       a->device, a->name,
				     a->source,     a->root_hash, NULL };
	uint64_t deadline = rouse_clock_ms() + ROUSE_DEADLINE_CRYPTSETUP;
	const struct rouse_proc proc = {
		.argv = argv,
		.env = access("/run/udev/control", F_OK) == 0 ? with : without,
		.deadline = c->deadline && c->deadline < deadline ? c->deadline : deadline,
	};

	if (c->initramfs && rouse_kmod_load_all(modules, e) < 0)
		return -1;
	if (disks_wait_for_node(a->device, deadline, e) < 0 ||
	    disks_wait_for_node(a->source, deadline, e) < 0)
		return -1;
	return rouse_proc_check(&proc, e);
}
