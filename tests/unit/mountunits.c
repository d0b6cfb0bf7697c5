/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/mountunits.h>

#include <string.h>
#include <unistd.h>

#include <rouse/json.h>
#include <rouse/text.h>

#include "../lib/run.h"
#include "../lib/tap.h"

/* As systemd-escape(1) --path has them. */
static void names_are_those_of_systemd_escape(struct t *t)
{
	static const char *const names[][2] = {
		{ "/", "-.mount" },
		{ "/srv/data", "srv-data.mount" },
		{ "//srv///data/", "srv-data.mount" },
		{ "/srv/my data", "srv-my\\x20data.mount" },
		{ "/a-b/c", "a\\x2db-c.mount" },
		{ "/.hidden/.x", "\\x2ehidden-.x.mount" },
		{ "/a\\b", "a\\x5cb.mount" },
		{ "/caf\xc3\xa9:_", "caf\\xc3\\xa9:_.mount" },
	};
	auto_arena struct rouse_arena arena = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		T_STR(t, rouse_unit_of_path(names[i][0], ".mount", &arena), names[i][1]);
}

static const char *text_of(const struct rouse_list *list, const char *name)
{
	const struct rouse_pair *f = list->items;

	for (size_t i = 0; i < list->n; i++)
		if (rouse_streq(f[i].key, name))
			return f[i].value;
	return NULL;
}

static const struct rouse_units_fact none = { .directory = "/etc/systemd/system" };
#define MARKED(owner)                                                                              \
	"# x-rouse." owner ": rouse writes this file, and removes it when no document wants it\n"

static void what_is_encrypted_is_opened_after_the_agent(struct t *t)
{
	static const char *const others[] = { "rouse-open-taken.service" };
	const struct rouse_units_fact fact = { .directory = "/etc/systemd/system",
					       .others = { .n = 1, .items = (void *)others } };
	auto_arena struct rouse_arena arena = { 0 };
	struct rouse_units u = { .fact = &fact, .owner = "disks", .arena = &arena };
	const struct rouse_opening file = { .name = "x",
					    .uuid = "ab-cd",
					    .key = "/keys/\"50%",
					    .discard = true },
				   tpm = { .name = "y", .uuid = "1", .early = true, .swap = true };
	struct rouse_list all;

	T_CHECK(t, rouse_units_open(&u, &file));
	T_CHECK(t, !rouse_units_open(&u, &file)); /* once */
	T_CHECK(t, rouse_units_open(&u, &tpm));
	T_CHECK(t, !rouse_units_open(&u, &(struct rouse_opening){ .name = "taken", .uuid = "1" }));
	T_CHECK(t, !rouse_units_open(&u, &(struct rouse_opening){
						 .name = "z", .uuid = "1", .key = "/a\nb" }));
	all = rouse_units_end(&u);
	T_CHECK(t, all.n == 3);
	T_STR(t, text_of(&all, "rouse-open-x.service"),
	      MARKED("disks") "[Unit]\nDocumentation=man:rouse(8)\n"
			      "Description=Open the encrypted volume 'x'\nDefaultDependencies=no\n"
			      "ConditionPathExists=!/dev/mapper/x\n"
			      "Requires=dev-disk-by\\x2duuid-ab\\x2dcd.device\n"
			      "After=dev-disk-by\\x2duuid-ab\\x2dcd.device\n"
			      "After=rouse.service\nRequiresMountsFor=\"/keys/\\\"50%%\"\n"
			      "\n[Service]\nType=oneshot\nRemainAfterExit=yes\nTimeoutSec=120\n"
			      "StandardInput=file:/keys/\"50%%\n"
			      "ExecStart=cryptsetup open --type luks --key-file - --allow-discards "
			      "/dev/disk/by-uuid/ab-cd x\n");
	T_CHECK(t, strstr(text_of(&all, "rouse-open-y.service"),
			  "ExecStart=cryptsetup open --type luks2 --token-only --token-type "
			  "systemd-tpm2 /dev/disk/by-uuid/1 y\n"));
	T_CHECK(t, !strstr(text_of(&all, "rouse-open-y.service"), "rouse.service"));
	T_STR(t, text_of(&all, "swap.target.d/50-rouse-disks.conf"),
	      MARKED("disks") "[Unit]\nRequires=rouse-open-y.service\n");
}

static void an_image_gets_what_local_fs_waits_for(struct t *t)
{
	auto_arena struct rouse_arena arena = { 0 };
	struct rouse_units u = { .fact = &none, .owner = "disks", .arena = &arena };
	struct rouse_list all;

	T_CHECK(t, rouse_units_add(
			   &u,
			   &(struct rouse_fstab_line){
				   .source = "UUID=ab-cd",
				   .target = "/srv/100%",
				   .type = "ext4",
				   .options = "noatime,x-systemd.requires=rouse-open-x.service",
				   .check = true },
			   false));
	T_CHECK(t, rouse_units_add(&u,
				   &(struct rouse_fstab_line){ .source = "UUID=1",
							       .target = "/var",
							       .type = "xfs",
							       .options = "nofail" },
				   false));
	T_CHECK(t, rouse_units_add(&u,
				   &(struct rouse_fstab_line){ .source = "UUID=2", .type = "swap" },
				   false));
	all = rouse_units_end(&u);
	T_CHECK(t, all.n == 5);
	T_STR(t, text_of(&all, "srv-100\\x25.mount"),
	      MARKED("disks") "[Unit]\nDocumentation=man:rouse(8)\nAfter=rouse.service\n"
			      "Requires=systemd-fsck@dev-disk-by\\x2duuid-ab\\x2dcd.service\n"
			      "After=systemd-fsck@dev-disk-by\\x2duuid-ab\\x2dcd.service\n"
			      "Requires=rouse-open-x.service\nAfter=rouse-open-x.service\n"
			      "\n[Mount]\nWhat=/dev/disk/by-uuid/ab-cd\nWhere=/srv/100%%\n"
			      "Type=ext4\nOptions=noatime,x-systemd.requires=rouse-open-x."
			      "service\n");
	T_CHECK(t, !strstr(text_of(&all, "var.mount"), "rouse.service"));
	T_STR(t, text_of(&all, "local-fs.target.d/50-rouse-disks.conf"),
	      MARKED("disks") "[Unit]\nRequires=srv-100\\x25.mount\nWants=var.mount\n");
	T_STR(t, text_of(&all, "swap.target.d/50-rouse-disks.conf"),
	      MARKED("disks") "[Unit]\nRequires=dev-disk-by\\x2duuid-2.swap\n");
}

/* What an initramfs has mounted stays, and no target waits for devices that were made without udev. */
static void an_initramfs_has_only_automounts_pulled_in(struct t *t)
{
	auto_arena struct rouse_arena arena = { 0 };
	struct rouse_units u = {
		.fact = &none, .owner = "disks", .arena = &arena, .mounted = true
	};
	struct rouse_list all;

	T_CHECK(t, rouse_units_add(&u,
				   &(struct rouse_fstab_line){ .source = "/dev/mapper/data",
							       .target = "/data",
							       .type = "ext4",
							       .check = true },
				   false));
	T_CHECK(t,
		rouse_units_add(&u,
				&(struct rouse_fstab_line){
					.source = "UUID=2",
					.target = "/late",
					.type = "ext4",
					.options = "x-systemd.automount,x-systemd.idle-timeout=9,"
						   "x-systemd.requires=/dev/vdb,x-systemd.mount-"
						   "timeout=7" },
				true));
	all = rouse_units_end(&u);
	T_CHECK(t, all.n == 4);
	T_STR(t, text_of(&all, "data.mount"),
	      MARKED("disks") "[Unit]\nDocumentation=man:rouse(8)\n"
			      "ConditionPathExists=!/etc/initrd-release\n"
			      "\n[Mount]\nWhat=/dev/mapper/data\nWhere=/data\nType=ext4\n");
	T_STR(t, text_of(&all, "late.automount"),
	      MARKED("disks") "[Unit]\nDocumentation=man:rouse(8)\n"
			      "ConditionPathExists=!/etc/initrd-release\n"
			      "\n[Automount]\nWhere=/late\nTimeoutIdleSec=9\n");
	T_CHECK(t, strstr(text_of(&all, "late.mount"),
			  "Requires=dev-vdb.device\nAfter=dev-vdb.device\n"));
	T_CHECK(t, strstr(text_of(&all, "late.mount"), "\nTimeoutSec=7\n"));
	T_STR(t, text_of(&all, "local-fs.target.d/50-rouse-disks.conf"),
	      MARKED("disks") "[Unit]\nRequires=late.automount\n");
}

static void layers_of_an_overlay_are_waited_for(struct t *t)
{
	auto_arena struct rouse_arena arena = { 0 };
	struct rouse_units u = { .fact = &none, .owner = "mounts", .arena = &arena };
	struct rouse_list all;

	T_CHECK(t, rouse_units_add(&u,
				   &(struct rouse_fstab_line){
					   .source = "overlay",
					   .target = "/o",
					   .type = "overlay",
					   .options = "lowerdir=/a b:/c,upperdir=/u,workdir=/w" },
				   false));
	all = rouse_units_end(&u);
	T_CHECK(t, strstr(text_of(&all, "o.mount"),
			  "RequiresMountsFor=\"/a b\"\nRequiresMountsFor=\"/c\"\n"
			  "RequiresMountsFor=\"/u\"\nRequiresMountsFor=\"/w\"\n"));
}

static void what_a_unit_cannot_say_has_none(struct t *t)
{
	static const char *const bad[] = { "/ends with a backslash\\", "/ends with a blank ",
					   "/two\nlines" };
	static const char *const taken[] = { "taken.mount", "auto.automount" };
	const struct rouse_units_fact fact = { .others = { .n = 2, .items = (void *)taken } };
	auto_arena struct rouse_arena arena = { 0 };
	struct rouse_units u = { .fact = &fact, .owner = "disks", .arena = &arena };
	struct rouse_fstab_line line = { .source = "UUID=1", .type = "ext4" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		line.target = bad[i];
		T_CHECK(t, !rouse_units_add(&u, &line, false));
	}
	line.target = "/taken";
	T_CHECK(t, !rouse_units_add(&u, &line, false));
	line.target = "/auto";
	T_CHECK(t, !rouse_units_add(&u, &line, false));
	T_CHECK(t, rouse_units_end(&u).n == 0);
}

/* The facts below a root, as plan() gets them; their text is borrowed from *json. */
static bool read_facts(const struct rouse_root *root, struct rouse_arena *arena, json_t **json,
		       struct rouse_units_fact *ret, struct rouse_err *e)
{
	static const struct rouse_shape shape = { .type = ROUSE_OBJECT,
						  .fields = rouse_units_fact_fields,
						  .n_fields = ROUSE_N_UNITS_FACT_FIELDS,
						  .size = sizeof(struct rouse_units_fact) };
	struct rouse_problems problems = { 0 };

	json_decref(*json);
	*json = rouse_units_read(root, ROUSE_UNITS_ETC, "disks", e);
	*ret = (struct rouse_units_fact){ 0 };
	return *json && rouse_schema_read(&shape, *json, NULL, ret, arena, &problems) == 0;
}

static void what_is_not_wanted_any_more_is_removed(struct t *t)
{
	auto_arena struct rouse_arena arena = { 0 };
	auto_json json_t *before = NULL, *json = NULL;
	struct rouse_list all, nothing = { 0 };
	struct rouse_units_fact fact = { 0 }, after = { 0 };
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_t_root struct t_root r = t_root_new();
	struct rouse_err e = { 0 };
	struct rouse_units u = { .fact = &fact, .owner = "disks", .arena = &arena };

	T_CHECK(t, rouse_root_open(&root, r.path, &e) == 0);
	T_CHECK(t, read_facts(&root, &arena, &before, &fact, &e));
	T_CHECK(t, fact.own.n == 0 && fact.others.n == 0);
	T_CHECK(t, rouse_fs_mkdirs(&root, ROUSE_UNITS_ETC, true, &e) == 0);
	T_CHECK(t, rouse_fs_replace(&root, ROUSE_UNITS_ETC "/x.mount", "[Mount]\n", 8, 0644,
				    (uid_t)-1, (gid_t)-1, &e) == 0);
	T_CHECK(t, rouse_units_add(&u,
				   &(struct rouse_fstab_line){
					   .source = "UUID=1", .target = "/srv", .type = "ext4" },
				   false));
	all = rouse_units_end(&u);
	T_CHECK(t, rouse_units_write(&root, ROUSE_UNITS_ETC, &fact.own, &all, &e) == 0);
	T_CHECK(t, read_facts(&root, &arena, &json, &after, &e));
	T_CHECK(t, after.own.n == 2);
	T_CHECK(t, rouse_units_are(&after.own, &all));
	T_CHECK(t, after.others.n == 1 && rouse_list_has(&after.others, "x.mount"));
	T_CHECK(t, rouse_units_write(&root, ROUSE_UNITS_ETC, &after.own, &nothing, &e) == 0);
	T_CHECK(t, read_facts(&root, &arena, &json, &after, &e));
	T_CHECK(t, after.own.n == 0 && rouse_list_has(&after.others, "x.mount"));
}

int main(void)
{
	static const struct t_test tests[] = {
		T(names_are_those_of_systemd_escape),
		T(an_image_gets_what_local_fs_waits_for),
		T(what_is_encrypted_is_opened_after_the_agent),
		T(an_initramfs_has_only_automounts_pulled_in),
		T(layers_of_an_overlay_are_waited_for),
		T(what_a_unit_cannot_say_has_none),
		T(what_is_not_wanted_any_more_is_removed),
	};

	return t_run(tests, ARRAY_SIZE(tests));
}
