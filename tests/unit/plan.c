/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/plan.h>

#include <string.h>

#include <rouse/module.h>

#include "../lib/tap.h"

static const struct rouse_module module = { .name = "disks" };

static void plan_prints_in_order_and_counts_what_lasts(struct t *t)
{
	auto_plan struct rouse_plan p = { .module = &module };
	auto_buf struct rouse_buf out = { 0 };

	rouse_plan_add(&p, ROUSE_CREATE, 1, NULL, "write a GPT on %s", "/dev/vda");
	rouse_plan_add(&p, ROUSE_DESTROY, 2, NULL, "destroy ntfs");
	rouse_plan_add(&p, ROUSE_USE, 3, NULL, "mount");
	rouse_plan_print(&p, &out, false);
	T_STR(t, out.data,
	      "  + disks     write a GPT on /dev/vda\n"
	      "  ! disks     destroy ntfs\n"
	      "  > disks     mount\n"
	      "plan: 2 changes\n");
	T_CHECK(t, rouse_plan_changes(&p) == 2);
}

static void plan_of_this_boot_only_changes_nothing(struct t *t)
{
	auto_plan struct rouse_plan p = { .module = &module };
	auto_buf struct rouse_buf out = { 0 };

	rouse_plan_add(&p, ROUSE_USE, 3, NULL, "mount");
	rouse_plan_print(&p, &out, false);
	T_HAS(t, out.data, "plan: nothing to change\n");
}

static void room_is_that_of_the_nearest_mount(struct t *t)
{
	auto_plan struct rouse_plan p = { 0 };

	T_CHECK(t, !rouse_plan_find_room(&p, "/nix/store"));
	rouse_plan_room(&p, "/", 1, 0);
	rouse_plan_room(&p, "/nix", 2, 0);
	rouse_plan_room(&p, "/ni", 3, 0);
	T_CHECK(t, rouse_plan_find_room(&p, "/nix/store")->bytes == 2);
	T_CHECK(t, rouse_plan_find_room(&p, "/nixos")->bytes == 1);
	T_CHECK(t, rouse_plan_find_room(&p, "/ni")->bytes == 3);
}

static void room_of_every_mount_is_kept(struct t *t)
{
	auto_plan struct rouse_plan p = { 0 };
	char path[32];

	for (unsigned i = 0; i < 1000; i++) {
		(void)snprintf(path, sizeof(path), "/m%u", i);
		rouse_plan_room(&p, path, i + 1, 0);
	}
	T_CHECK(t, rouse_plan_find_room(&p, "/m999/x")->bytes == 1000);
	T_CHECK(t, rouse_plan_find_room(&p, "/m64")->bytes == 65);
}

static void id_is_of_document_steps_and_basis(struct t *t)
{
	auto_plan struct rouse_plan a = { .module = &module }, b = { .module = &module };
	char first[ROUSE_PLAN_ID + 1];

	rouse_plan_add(&a, ROUSE_CREATE, 1, NULL, "one");
	rouse_plan_add(&b, ROUSE_CREATE, 1, NULL, "one");
	rouse_plan_identify(&a, "d");
	rouse_plan_identify(&b, "d");
	T_STR(t, a.id, b.id);
	T_CHECK(t, strlen(a.id) == ROUSE_PLAN_ID);
	rouse_plan_identify(&b, "e");
	T_CHECK(t, strcmp(a.id, b.id) != 0);
	rouse_plan_basis(&b, "disk");
	rouse_plan_identify(&b, "d");
	T_CHECK(t, strcmp(a.id, b.id) != 0);
	memcpy(first, b.id, sizeof(first));
	rouse_plan_add(&b, ROUSE_USE, 1, NULL, "two");
	rouse_plan_identify(&b, "d");
	T_CHECK(t, strcmp(first, b.id) != 0);
}

static void many_steps_fit(struct t *t)
{
	auto_plan struct rouse_plan p = { .module = &module };

	for (int i = 0; i < 1000; i++)
		rouse_plan_add(&p, ROUSE_CREATE, 0, NULL, "step %d", i);
	T_CHECK(t, p.n_steps == 1000);
	T_STR(t, p.steps[999].what, "step 999");
}

T_MAIN(T(plan_prints_in_order_and_counts_what_lasts), T(plan_of_this_boot_only_changes_nothing),
       T(room_is_that_of_the_nearest_mount), T(room_of_every_mount_is_kept),
       T(id_is_of_document_steps_and_basis), T(many_steps_fit))
