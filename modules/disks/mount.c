/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts, and who uses a device (libmount for mountinfo and for options). */
#include "write.h"

#include <dirent.h>
#include <fcntl.h>
#include <libmount.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/swap.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/init.h>
#include <rouse/json.h>
#include <rouse/log.h>
#include <rouse/mount.h>
#include <rouse/text.h>

AUTO_DEFINE(struct libmnt_table *, table, mnt_unref_table, NULL)
AUTO_DEFINE(DIR *, dir, (void)closedir, NULL)

static bool devno_of(const char *sys_name, dev_t *ret)
{
	char path[160], line[32], *end = NULL;
	unsigned long maj, min;

	(void)snprintf(path, sizeof(path), "/sys/class/block/%s/dev", sys_name);
	if (!rouse_read_line(path, line, sizeof(line)))
		return false;
	maj = strtoul(line, &end, 10);
	if (*end != ':')
		return false;
	min = strtoul(end + 1, &end, 10);
	*ret = makedev((unsigned)maj, (unsigned)min);
	return *end == '\0';
}

/* What the kernel has, where the superblock that was read lags behind it. */
static void add_size(const char *type, const char *target, json_t *content)
{
	const struct disks_filesystem *fs = type ? disks_filesystem_find(type) : NULL;
	auto_fd int fd = fs && fs->mounted_size ? open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
						: -1;
	uint64_t size = fd >= 0 ? fs->mounted_size(fd) : 0;

	if (size)
		rouse_json_set_int(content, "size", size);
}

static void add_mount(struct libmnt_fs *fs, json_t *content, json_t *mounts)
{
	const char *target = mnt_fs_get_target(fs), *root = mnt_fs_get_root(fs);
	struct statvfs v;

	if (!target)
		return;
	if (!json_object_get(content, "busy")) {
		auto_free char *busy = rouse_asprintf("it is mounted at '%s'", target);

		rouse_json_set_string(content, "busy", busy);
	}
	if (!rouse_streq(root, "/") && !rouse_streq(mnt_fs_get_fstype(fs), "btrfs"))
		return; /* a part of it, elsewhere; of btrfs, a subvolume */
	if (json_array_size(mounts) == 0 && statvfs(target, &v) == 0) {
		rouse_json_set_bool(content, "readOnly", (v.f_flag & ST_RDONLY) != 0);
		rouse_json_set_int(content, "free", (uint64_t)v.f_bavail * v.f_frsize);
		rouse_json_set_int(content, "inodes", v.f_favail);
		add_size(mnt_fs_get_fstype(fs), target, content);
	}
	rouse_json_append_string(mounts, target);
}

/* btrfs shows a number of its own (0:N) for the device that is mounted. */
static bool is_mount_of(struct libmnt_fs *fs, dev_t dev)
{
	const char *source = mnt_fs_get_source(fs);
	struct stat st;

	if (mnt_fs_get_devno(fs) == dev)
		return true;
	return major(mnt_fs_get_devno(fs)) == 0 && rouse_streq(mnt_fs_get_fstype(fs), "btrfs") &&
	       source && stat(source, &st) == 0 && S_ISBLK(st.st_mode) && st.st_rdev == dev;
}

static void add_mounts(dev_t dev, json_t *content)
{
	auto_of(table) struct libmnt_table *table = mnt_new_table_from_file("/proc/self/mountinfo");
	struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
	json_t *mounts = json_array();
	struct libmnt_fs *fs = NULL;

	while (table && iter && mnt_table_next_fs(table, iter, &fs) == 0)
		if (is_mount_of(fs, dev))
			add_mount(fs, content, mounts);
	mnt_free_iter(iter);
	if (json_array_size(mounts))
		rouse_json_set(content, "mounts", mounts);
	else
		json_decref(mounts);
}

static void add_holder(const char *sys_name, json_t *content)
{
	auto_free char *path = rouse_asprintf("/sys/class/block/%s/holders", sys_name);
	auto_of(dir) DIR *dir = opendir(path);
	struct dirent *d;

	while (dir && (d = readdir(dir)))
		if (d->d_name[0] != '.') {
			auto_free char *busy = rouse_asprintf("'%s' stands on it", d->d_name);

			rouse_json_set_string(content, "busy", busy);
			return;
		}
}

static void add_swap(dev_t dev, json_t *content)
{
	auto_of(table) struct libmnt_table *table = mnt_new_table();
	struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
	struct libmnt_fs *fs = NULL;
	struct stat st;

	if (table && mnt_table_parse_swaps(table, NULL) < 0)
		mnt_reset_table(table); /* a kernel without swap */
	while (table && iter && mnt_table_next_fs(table, iter, &fs) == 0)
		if (stat(mnt_fs_get_source(fs) ? mnt_fs_get_source(fs) : "", &st) == 0 &&
		    S_ISBLK(st.st_mode) && st.st_rdev == dev) {
			rouse_json_set_string(content, "busy", "it is used as swap");
			rouse_json_set_bool(content, "swapped", true);
		}
	mnt_free_iter(iter);
}

/* A loop device holds what it shows open, and is not listed among its holders. */
static void add_loop(dev_t dev, json_t *content)
{
	auto_of(dir) DIR *dir = opendir("/sys/block");
	char backing[512];
	struct dirent *d;
	struct stat st;

	while (dir && (d = readdir(dir))) {
		auto_free char *path = rouse_asprintf("/sys/block/%s/loop/backing_file", d->d_name);

		if (strncmp(d->d_name, "loop", 4) == 0 &&
		    rouse_read_line(path, backing, sizeof(backing)) && stat(backing, &st) == 0 &&
		    S_ISBLK(st.st_mode) && st.st_rdev == dev) {
			auto_free char *busy = rouse_asprintf("'%s' stands on it", d->d_name);

			rouse_json_set_string(content, "busy", busy);
		}
	}
}

/* A superblock that the kernel writes while it is read has the wrong checksum for a moment. */
static void forget_damage(const json_t *content)
{
	json_t *s;
	size_t i;

	json_array_foreach (json_object_get(content, "signatures"), i, s)
		(void)json_object_del(s, "damaged"); /* fails where there is none */
}

void disks_usage_of(const char *sys_name, json_t *content)
{
	dev_t dev;

	if (!devno_of(sys_name, &dev))
		return;
	add_mounts(dev, content);
	if (json_object_get(content, "busy"))
		forget_damage(content);
	add_holder(sys_name, content);
	add_loop(dev, content);
	add_swap(dev, content);
}

/* ---- mounting -------------------------------------------------------------------------------- */

int disks_wait_for_node(const char *node, uint64_t deadline, struct rouse_err *e)
{
	struct stat st;

	while (stat(node, &st) < 0) {
		if (errno != ENOENT || rouse_clock_left(deadline) == 0)
			return rouse_fail(e, ROUSE_SYSTEM, errno, "no node '%s' for the partition",
					  node);
		rouse_clock_sleep_until(rouse_clock_ms() +
					10); /* devtmpfs has no event to wait for */
	}
	return 0;
}

int disks_swap_on(const struct disks_action *a, const struct rouse_context *c, struct rouse_err *e)
{
	uint64_t wait = rouse_clock_ms() + ROUSE_DEVICES_NODE;

	if (disks_wait_for_node(a->source, wait < c->deadline ? wait : c->deadline, e) < 0)
		return -1;
	if (swapon(a->source, 0) < 0 && errno != EBUSY) /* busy: the kernel has it already */
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot use '%s' as swap", a->source);
	return 0;
}

/* Each module takes the kernel some milliseconds to check: those that few need come when it has said so. */
static int mount_with(const struct disks_filesystem *fs, const char *source, const char *target,
		      const char *type, unsigned long flags, const char *data)
{
	struct rouse_err ignored;

	if (mount(source, target, type, flags, data) == 0)
		return 0;
	if (errno != EINVAL || !fs || !fs->more_modules)
		return -1;
	if (rouse_kmod_load_all(fs->more_modules, &ignored) < 0)
		return errno = EINVAL, -1;
	return mount(source, target, type, flags, data);
}

/* Some say so, of others the prober knows it. */
static bool is_damaged(const char *source, int why)
{
	auto_fd int fd = why == EINVAL ? open(source, O_RDONLY | O_CLOEXEC) : -1;
	auto_json json_t *content = NULL;
	struct rouse_err ignored;
	uint64_t size = 0;

	if (why == EBADMSG || why == EUCLEAN)
		return true;
	return fd >= 0 && ioctl(fd, BLKGETSIZE64, &size) == 0 &&
	       disks_content_read(fd, 0, size, 512, &content, &ignored) == 0 &&
	       json_is_true(json_object_get(
		       json_array_get(json_object_get(content, "signatures"), 0), "damaged"));
}

static int refuse_mount(const struct disks_action *a, const struct disks_filesystem *fs, int why,
			struct rouse_err *e)
{
	if (fs && fs->checker && is_damaged(a->source, why))
		return rouse_fail(e, ROUSE_SYSTEM, why,
				  "cannot mount '%s' (%s) at '%s': it is damaged, run '%s' on it",
				  a->source, a->type, a->mount, fs->checker);
	return rouse_fail(e, ROUSE_SYSTEM, why, "cannot mount '%s' (%s) at '%s'", a->source,
			  a->type, a->mount);
}

static int mount_one(const struct disks_action *a, const struct rouse_context *c,
		     struct rouse_err *e)
{
	const struct disks_filesystem *fs = disks_filesystem_find(a->type);
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_free char *data = NULL;
	unsigned long flags = 0;
	uint64_t wait = rouse_clock_ms() + ROUSE_DEVICES_NODE;
	auto_fd int at = -1;
	char target[64];

	if (a->options && rouse_mount_options(a->options, &flags, &data, e) < 0)
		return -1;
	if ((fs && fs->modules && rouse_kmod_load_all(fs->modules, e) < 0) ||
	    disks_wait_for_node(a->source, wait < c->deadline ? wait : c->deadline, e) < 0)
		return -1;
	if (c->initramfs && mkdir(c->root, 0755) < 0 && errno != EEXIST)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make '%s'", c->root);
	if (rouse_root_open(&root, c->root, e) < 0 ||
	    (strcmp(a->mount, "/") != 0 && rouse_fs_mkdirs(&root, a->mount, true, e) < 0))
		return -1;
	/* Through a descriptor: a symlink in the target's tree cannot lead the mount elsewhere. */
	at = rouse_fs_open(&root, a->mount, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	if (at < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s' for mounting",
				  a->mount);
	(void)snprintf(target, sizeof(target), "/proc/self/fd/%d", at);
	if (mount_with(fs, a->source, target, a->type, flags, data) < 0)
		return refuse_mount(a, fs, errno, e);
	return 0;
}

int disks_mount(const struct disks_action *a, const struct rouse_context *c, struct rouse_err *e)
{
	if (mount_one(a, c, e) == 0)
		return 0;
	if (!a->options || !rouse_mount_has_option(a->options, "nofail"))
		return -1;
	rouse_log(ROUSE_LOG_WARNING, "disks", "%s, ignoring: its options say \"nofail\"", e->text);
	return 0;
}
