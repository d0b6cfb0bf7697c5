/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/fstab.h>

#include <string.h>
#include <unistd.h>

#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/text.h>

#include "../lib/run.h"
#include "../lib/tap.h"

static void line_is_one_that_mount_reads(struct t *t)
{
	auto_buf struct rouse_buf out = { 0 };

	rouse_fstab_print(&out, &(struct rouse_fstab_line){ .owner = "disks",
							    .source = "UUID=ab-cd",
							    .target = "/srv/my data#1",
							    .type = "ext4",
							    .options = "noatime,nofail",
							    .check = true });
	T_STR(t, out.data,
	      "UUID=ab-cd /srv/my\\040data\\0431 ext4 "
	      "noatime,nofail,x-systemd.after=rouse.service,x-rouse.disks 0 2\n");
}

/* rouse.service waits for these: they must not wait for it. */
static void what_rouse_needs_does_not_wait_for_it(struct t *t)
{
	static const char *const needed[] = { "/var", "/var/lib", "/var/lib/rouse", "/nix",
					      "/etc" };

	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		auto_buf struct rouse_buf out = { 0 };

		rouse_fstab_print(&out, &(struct rouse_fstab_line){ .owner = "disks",
								    .source = "UUID=1",
								    .target = needed[i],
								    .type = "xfs" });
		T_CHECK(t, !strstr(out.data, "rouse.service"));
	}
}

static void swap_has_no_mount_point(struct t *t)
{
	auto_buf struct rouse_buf out = { 0 };

	rouse_fstab_print(&out, &(struct rouse_fstab_line){
					.owner = "disks", .source = "UUID=1", .type = "swap" });
	T_STR(t, out.data, "UUID=1 none swap x-rouse.disks 0 0\n");
}

/* Writes an fstab, replaces our lines by `lines`, and reads what is there. */
static int replace(const struct t_root *r, const char *text, const char *lines,
		   struct rouse_buf *ret, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;

	t_root_write(r, ROUSE_FSTAB, text, 0644);
	if (rouse_root_open(&root, r->path, e) < 0 ||
	    rouse_fstab_write(&root, "disks", lines, e) < 0)
		return -1;
	return rouse_fs_read(&root, ROUSE_FSTAB, ROUSE_MAX_FSTAB, ret, e);
}

static void lines_of_others_stay_to_the_byte(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	auto_buf struct rouse_buf got = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, replace(&r,
			   "# x-rouse is for rouse\n\n  LABEL=root\t/ ext4 errors=remount-ro 0 1\n"
			   "UUID=9 /old ext4 noatime,x-rouse.disks 0 2\n"
			   "tmpfs /t tmpfs x-rouse.mounts 0 0\n"
			   "UUID=8 /mine xfs x-rouse-not,noatime 0 0\n"
			   "tmpfs /x-rouse tmpfs defaults",
			   "UUID=1 /new xfs x-rouse.disks 0 0\n", &got, &e) == 0);
	T_STR(t, got.data,
	      "# x-rouse is for rouse\n\n  LABEL=root\t/ ext4 errors=remount-ro 0 1\n"
	      "tmpfs /t tmpfs x-rouse.mounts 0 0\n"
	      "UUID=8 /mine xfs x-rouse-not,noatime 0 0\n"
	      "tmpfs /x-rouse tmpfs defaults\nUUID=1 /new xfs x-rouse.disks 0 0\n");
}

static void own_lines_and_mount_points_of_others_are_told_apart(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_buf struct rouse_buf got = { 0 };
	auto_json json_t *fstab = NULL;
	struct rouse_err e = { 0 };

	T_CHECK(t, replace(&r, "LABEL=root / ext4\nlonely\n", "UUID=1 /new xfs x-rouse.disks 0 0\n",
			   &got, &e) == 0);
	T_CHECK(t, rouse_root_open(&root, r.path, &e) == 0);
	fstab = rouse_fstab_read(&root, "disks", &e);
	T_CHECK(t, fstab);
	T_STR(t, json_string_value(json_array_get(json_object_get(fstab, "own"), 0)),
	      "UUID=1 /new xfs x-rouse.disks 0 0");
	T_CHECK(t, json_array_size(json_object_get(fstab, "own")) == 1);
	T_STR(t, json_string_value(json_array_get(json_object_get(fstab, "others"), 0)), "/");
	T_CHECK(t, json_array_size(json_object_get(fstab, "others")) == 1);
}

static void root_without_one_has_none(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	struct rouse_err e = { 0 };

	T_CHECK(t, rouse_root_open(&root, r.path, &e) == 0);
	T_CHECK(t, !rouse_fstab_read(&root, "disks", &e) && e.sys == ENOENT);
}

int main(void)
{
	static const struct t_test tests[] = {
		T(line_is_one_that_mount_reads),
		T(what_rouse_needs_does_not_wait_for_it),
		T(swap_has_no_mount_point),
		T(lines_of_others_stay_to_the_byte),
		T(own_lines_and_mount_points_of_others_are_told_apart),
		T(root_without_one_has_none),
	};

	return t_run(tests, ARRAY_SIZE(tests));
}
