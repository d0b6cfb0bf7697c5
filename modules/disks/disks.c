/* SPDX-License-Identifier: Apache-2.0 */
#include "disks.h"

const struct rouse_module rouse_module_disks = {
	.name = "disks",
	.fields = disks_conf_fields,
	.n_fields = ARRAY_SIZE(disks_conf_fields),
	.conf_size = sizeof(struct disks_conf),
	.facts = disks_facts_fields,
	.n_facts = DISKS_N_FACTS,
	.facts_size = sizeof(struct disks_facts),
	.check = disks_conf_check,
	.observe = disks_observe,
	.plan = disks_plan,
	.draw = disks_draw,
	.prepare = disks_prepare,
	.apply = disks_apply,
	.state_free = disks_state_free,
};
