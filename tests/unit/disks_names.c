/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include "../../modules/disks/disks.h"

static void uuid_is_of_version_4(struct t *t)
{
	char guid[DISKS_GUID_LEN];

	disks_guid("rouse", "root", "/", "partition", guid);
	T_CHECK(t, strlen(guid) == 36 && guid[14] == '4' && strchr("89ab", guid[19]));
}

/* python3 -c 'import hmac; print(hmac.new(b"rouse", b"root//boot/partition", "sha256").hexdigest())'
 * begins with 2f8a9cebb940bdc1…; a change of this text would orphan every disk of a fleet. */
static void uuid_never_changes_between_releases(struct t *t)
{
	char guid[DISKS_GUID_LEN];

	disks_guid("rouse", "root", "/boot", "partition", guid);
	T_STR(t, guid, "2f8a9ceb-b940-4dc1-a7b2-59b57380379f");
}

static void uuid_depends_on_every_part(struct t *t)
{
	char a[DISKS_GUID_LEN], b[DISKS_GUID_LEN];

	disks_guid("rouse", "root", "/", "partition", a);
	disks_guid("rouse", "data", "/", "partition", b);
	T_CHECK(t, strcmp(a, b) != 0);
	disks_guid("rouse", "root", "/", "filesystem", b);
	T_CHECK(t, strcmp(a, b) != 0);
	disks_guid("other", "root", "/", "partition", b);
	T_CHECK(t, strcmp(a, b) != 0);
}

static void utf16_counts_surrogate_pairs_twice(struct t *t)
{
	T_CHECK(t, disks_utf16_units("abc") == 3);
	T_CHECK(t, disks_utf16_units("\xc3\xa4\xe2\x82\xac") == 2);
	T_CHECK(t, disks_utf16_units("\xf0\x9f\x98\x80") == 2);
}

static void node_gets_a_p_behind_a_digit(struct t *t)
{
	char buf[64];

	T_STR(t, disks_node("/dev/vda", 2, buf, sizeof(buf)), "/dev/vda2");
	T_STR(t, disks_node("/dev/nvme0n1", 12, buf, sizeof(buf)), "/dev/nvme0n1p12");
}

static void vfat_boot_is_an_esp(struct t *t)
{
	const struct disks_partition boot = { .key = "/boot", .filesystem = "vfat" };
	const struct disks_partition ext4 = { .key = "/boot", .filesystem = "ext4" };
	const struct disks_partition lib = { .key = "/var/lib" };
	char buf[64];

	T_STR(t, disks_partition_type(&boot), "esp");
	T_STR(t, disks_partition_type(&ext4), "xbootldr");
	T_STR(t, disks_partition_type(&lib), "linux");
	T_STR(t, disks_partition_label(&lib, buf, sizeof(buf)), "var-lib");
}

static void usable_end_leaves_room_for_the_backup(struct t *t)
{
	T_CHECK(t, disks_usable_end(GIB, 512) == GIB - UINT64_C(33) * 512);
	T_CHECK(t, disks_usable_end(GIB, 4096) == GIB - UINT64_C(5) * 4096);
	T_CHECK(t, disks_usable_end(4096, 512) == 0);
}

static void labels_are_printed_without_control_bytes(struct t *t)
{
	auto_arena struct rouse_arena arena = { 0 };

	T_STR(t, disks_printable("a\033[2J\xc3\xa4", &arena), "a?[2J??");
	T_STR(t, disks_printable(NULL, &arena), "");
}

/* ---- layout ---------------------------------------------------------------------------------- */

struct scene {
	struct disks_partition p[3];
	struct disks_entry entry[2];
	struct disks_disk d;
	struct disks_conf conf;
	struct disks_fact f;
	struct rouse_arena arena;
	struct disks_layout l;
	struct rouse_err e;
};

static int lay_out(struct scene *s, size_t n, size_t n_entries, bool fresh)
{
	s->d = (struct disks_disk){ .key = "root", .partitions = { .n = n, .items = s->p } };
	s->conf = (struct disks_conf){ .disks = { .n = 1, .items = &s->d } };
	s->f = (struct disks_fact){ .device = "/dev/vda",
				    .size = GIB,
				    .sector = 512,
				    .partitions = { .n = n_entries, .items = s->entry } };
	return disks_layout(&s->conf, &s->d, &s->f, fresh, "/", &s->arena, &s->l, &s->e);
}

static void scene_done(struct scene *s)
{
	rouse_arena_done(&s->arena);
}
#define auto_scene __attribute__((cleanup(scene_done)))

static void layout_gives_the_rest_to_who_names_no_size(struct t *t)
{
	auto_scene struct scene s = {
		.p = { { .key = "a", .size = { .bytes = 100 * MIB } },
		       { .key = "b" },
		       { .key = "c", .size = { .bytes = 1 } } },
	};

	T_CHECK(t, lay_out(&s, 3, 0, true) == 0);
	T_CHECK(t, s.l.slots[0].start == MIB && s.l.slots[0].size == 100 * MIB);
	T_CHECK(t, s.l.slots[1].start == 101 * MIB && s.l.slots[1].size == (1023 - 101 - 1) * MIB);
	T_CHECK(t, s.l.slots[2].start == 1022 * MIB && s.l.slots[2].size == MIB);
}

static void layout_grows_the_last_partition(struct t *t)
{
	auto_scene struct scene s = {
		.p = { { .key = "a", .label = "a" } },
		.entry = { { .number = 4, .label = "a", .start = MIB, .size = 64 * MIB } },
	};

	T_CHECK(t, lay_out(&s, 1, 1, false) == 0);
	T_CHECK(t, s.l.n_matched == 1 && s.l.slots[0].number == 4);
	T_CHECK(t, s.l.slots[0].start == MIB && s.l.slots[0].size == 1022 * MIB);
}

static void layout_puts_new_ones_behind_who_grows(struct t *t)
{
	auto_scene struct scene s = {
		.p = { { .key = "a", .label = "a" },
		       { .key = "b", .size = { .bytes = 100 * MIB } } },
		.entry = { { .number = 1, .label = "a", .start = MIB, .size = 64 * MIB } },
	};

	T_CHECK(t, lay_out(&s, 2, 1, false) == 0);
	T_CHECK(t, s.l.slots[1].start == 923 * MIB && s.l.slots[1].number == 2);
	T_CHECK(t, s.l.slots[0].size == 922 * MIB);
}

static void layout_never_shrinks(struct t *t)
{
	auto_scene struct scene s = {
		.p = { { .key = "a", .label = "a", .size = { .bytes = 10 * MIB } } },
		.entry = { { .number = 1, .label = "a", .start = MIB, .size = 64 * MIB } },
	};

	T_CHECK(t, lay_out(&s, 1, 1, false) < 0);
	T_HAS(t, s.e.text, "does not shrink");
}

static void layout_leaves_a_percentage_that_is_blocked(struct t *t)
{
	auto_scene struct scene s = {
		.p = { { .key = "a", .label = "a", .size = { .percent = 50 } } },
		.entry = { { .number = 1, .label = "a", .start = MIB, .size = 64 * MIB },
			   { .number = 2, .label = "x", .start = 65 * MIB, .size = 64 * MIB } },
	};

	T_CHECK(t, lay_out(&s, 1, 2, false) == 0);
	T_CHECK(t, s.l.slots[0].size == 64 * MIB);
}

T_MAIN(T(uuid_is_of_version_4), T(uuid_never_changes_between_releases),
       T(uuid_depends_on_every_part), T(utf16_counts_surrogate_pairs_twice),
       T(node_gets_a_p_behind_a_digit), T(vfat_boot_is_an_esp),
       T(usable_end_leaves_room_for_the_backup), T(labels_are_printed_without_control_bytes),
       T(layout_gives_the_rest_to_who_names_no_size), T(layout_grows_the_last_partition),
       T(layout_puts_new_ones_behind_who_grows), T(layout_never_shrinks),
       T(layout_leaves_a_percentage_that_is_blocked))
