/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On which disks a path lies: a set, for below it there may be partitions, device-mapper, md, btrfs on
 * several devices, loop devices and overlays. And, before anything is mounted, of which disk the
 * kernel's command line or the boot loader speaks.
 */
#include "disks.h"

#include <dirent.h>
#include <fcntl.h>
#include <libmount.h>
#include <linux/btrfs.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/text.h>

/* Levels below a path: an overlay on a loop device on LVM on md on a partition is six. */
#define MAX_DEPTH 12
/* Devices of one btrfs that are looked for: ids have gaps when devices were removed. */
#define MAX_BTRFS_ID 1024

AUTO_DEFINE(struct libmnt_table *, table, mnt_unref_table, NULL)
AUTO_DEFINE(DIR *, dir, (void)closedir, NULL)

struct set {
	char (*names)[64];
	size_t n, max;
	int depth;
};

static void add_path(struct set *s, const char *path);

static void add_name(struct set *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->names[i], name) == 0)
			return;
	if (s->n < s->max)
		(void)snprintf(s->names[s->n++], sizeof(s->names[0]), "%s", name);
}

static bool add_slaves(struct set *s, const char *dir);

/* A partition's parent directory is its disk; dm and md have slaves, a loop device has a file. */
static void add_device(struct set *s, const char *link)
{
	auto_free char *dir = realpath(link, NULL);
	auto_free char *partition = NULL, *file = NULL;
	char backing[512];

	if (!dir || s->depth >= MAX_DEPTH)
		return;
	s->depth++;
	partition = rouse_asprintf("%s/partition", dir);
	if (access(partition, F_OK) == 0)
		*strrchr(dir, '/') = '\0';
	file = rouse_asprintf("%s/loop/backing_file", dir);
	if (rouse_read_line(file, backing, sizeof(backing)))
		add_path(s, backing);
	else if (!add_slaves(s, dir))
		add_name(s, strrchr(dir, '/') + 1);
	s->depth--;
}

static bool add_slaves(struct set *s, const char *dir)
{
	auto_free char *path = rouse_asprintf("%s/slaves", dir);
	auto_of(dir) DIR *d = opendir(path);
	struct dirent *entry;
	bool any = false;

	while (d && (entry = readdir(d)))
		if (entry->d_name[0] != '.') {
			auto_free char *link = rouse_asprintf("/sys/class/block/%s", entry->d_name);

			add_device(s, link);
			any = true;
		}
	return any;
}

static void add_number(struct set *s, dev_t dev)
{
	auto_free char *link = rouse_asprintf("/sys/dev/block/%u:%u", major(dev), minor(dev));

	add_device(s, link);
}

static bool add_node(struct set *s, const char *node)
{
	struct stat st;

	if (stat(node, &st) < 0 || !S_ISBLK(st.st_mode))
		return false;
	add_number(s, st.st_rdev);
	return true;
}

/* All devices of a btrfs; false when it is none. */
static bool add_btrfs(struct set *s, const char *path)
{
	auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct btrfs_ioctl_fs_info_args all = { 0 };
	bool any = false;

	if (fd < 0 || ioctl(fd, BTRFS_IOC_FS_INFO, &all) < 0)
		return false;
	for (uint64_t id = 1; id <= all.max_id && id <= MAX_BTRFS_ID; id++) {
		struct btrfs_ioctl_dev_info_args one = { .devid = id };

		if (ioctl(fd, BTRFS_IOC_DEV_INFO, &one) == 0)
			any |= add_node(s, (const char *)one.path);
	}
	return any;
}

/* The layers of an overlay: where it is written to, and the lowest one. */
static void add_overlay(struct set *s, struct libmnt_fs *fs)
{
	char *value = NULL;
	size_t n = 0;

	if (mnt_fs_get_option(fs, "upperdir", &value, &n) == 0 && value) {
		auto_free char *path = rouse_asprintf("%.*s", (int)n, value);

		add_path(s, path);
	}
	if (mnt_fs_get_option(fs, "lowerdir", &value, &n) == 0 && value) {
		auto_free char *paths = rouse_asprintf("%.*s", (int)n, value);
		char *last = strrchr(paths, ':');

		add_path(s, last ? last + 1 : paths);
	}
}

/* A filesystem that shows a device number of its own (0:N). */
static void add_mounted(struct set *s, const char *path)
{
	auto_of(table) struct libmnt_table *table = mnt_new_table_from_file("/proc/self/mountinfo");
	struct libmnt_fs *fs = table ? mnt_table_find_mountpoint(table, path, MNT_ITER_BACKWARD)
				     : NULL;

	if (fs && rouse_streq(mnt_fs_get_fstype(fs), "overlay"))
		add_overlay(s, fs);
	else if (!add_btrfs(s, path) && fs && mnt_fs_get_source(fs))
		(void)add_node(s, mnt_fs_get_source(fs));
}

static void add_path(struct set *s, const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0 || s->depth >= MAX_DEPTH)
		return;
	s->depth++;
	if (major(st.st_dev))
		add_number(s, st.st_dev);
	else
		add_mounted(s, path);
	s->depth--;
}

size_t disks_holding(const char *path, char (*ret)[64], size_t max)
{
	struct set s = { .names = ret, .max = max };

	add_path(&s, path);
	return s.n;
}

/* ---- before the root is mounted -------------------------------------------------------------- */

/* What "root=" says, without quotes; false when it says nothing. */
static bool root_option(char *buf, size_t size)
{
	auto_buf struct rouse_buf text = { 0 };
	struct rouse_err e = { 0 };
	char *save = NULL;
	bool found = false;

	if (rouse_read_file("/proc/cmdline", ROUSE_MAX_CMDLINE, &text, &e) < 0 || !text.data)
		return false;
	for (char *s = strtok_r(text.data, " \n", &save); s; s = strtok_r(NULL, " \n", &save)) {
		const char *value = rouse_strip_prefix(s, "root=");

		if (value && strlen(value) < size) {
			(void)snprintf(buf, size, "%s", value);
			found = true; /* the last one counts */
		}
	}
	return found;
}

/* systemd-boot and unified kernel images leave the GUID of the partition that they came from: 4 bytes of
 * attributes, then UTF-16. */
static bool loader_guid(char ret[static DISKS_GUID_LEN])
{
	auto_buf struct rouse_buf raw = { 0 };
	struct rouse_err e = { 0 };

	if (rouse_read_file("/sys/firmware/efi/efivars/"
			    "LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f",
			    4 + 2 * DISKS_GUID_LEN, &raw, &e) < 0 ||
	    raw.len < 4 + 2 * (DISKS_GUID_LEN - 1))
		return false;
	for (size_t i = 0; i < DISKS_GUID_LEN - 1; i++)
		ret[i] = raw.data[4 + 2 * i];
	ret[DISKS_GUID_LEN - 1] = '\0';
	return disks_is_guid(ret);
}

static bool content_is(const json_t *content, const char *key, const char *want)
{
	const json_t *s;
	size_t i;

	json_array_foreach (json_object_get(content, "signatures"), i, s) {
		const char *value = json_string_value(json_object_get(s, key));

		if (value && strcasecmp(value, want) == 0)
			return true;
	}
	return false;
}

/* Has the disk, or one of its partitions, what `want` names? */
static bool is_named(const json_t *disk, const char *want)
{
	static const struct {
		const char *prefix, *key;
		bool entry; /* of the partition, not of what it holds */
	} forms[] = { { "PARTUUID=", "guid", true },
		      { "PARTLABEL=", "label", true },
		      { "UUID=", "uuid", false },
		      { "LABEL=", "label", false },
		      { "/dev/", "device", true } };
	const json_t *entry;
	size_t i;

	for (size_t k = 0; k < ARRAY_SIZE(forms); k++) {
		const char *value = rouse_strip_prefix(want, forms[k].prefix);

		if (!value)
			continue;
		if (strcmp(forms[k].prefix, "/dev/") == 0)
			value = want;
		else if (!forms[k].entry &&
			 content_is(json_object_get(disk, "content"), forms[k].key, value))
			return true;
		if (rouse_streq(json_string_value(json_object_get(disk, "device")), value))
			return true;
		json_array_foreach (json_object_get(disk, "partitions"), i, entry) {
			const char *s = json_string_value(json_object_get(entry, forms[k].key));

			if (forms[k].entry ? s && strcasecmp(s, value) == 0
					   : content_is(json_object_get(entry, "content"),
							forms[k].key, value))
				return true;
		}
	}
	return false;
}

void disks_mark_boots(json_t *disks)
{
	char want[256], guid[DISKS_GUID_LEN];
	bool told = root_option(want, sizeof(want)), loaded = !told && loader_guid(guid);
	json_t *disk;
	size_t i;

	if (loaded)
		(void)snprintf(want, sizeof(want), "PARTUUID=%s", guid);
	if (!told && !loaded)
		return;
	json_array_foreach (disks, i, disk)
		if (is_named(disk, want))
			rouse_json_set_bool(disk, "boots", true);
}
