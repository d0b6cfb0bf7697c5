/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes partition tables (libfdisk), and tells the kernel (BLKPG). libfdisk writes a GPT in the
 * order of the UEFI specification: backup, primary, protective MBR; whatever is cut off in between,
 * one header is right, and gpt.c reads it.
 */
#include "write.h"

#include <inttypes.h>
#include <libfdisk.h>
#include <linux/blkpg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/text.h>

AUTO_DEFINE(struct fdisk_context *, context, fdisk_unref_context, NULL)
AUTO_DEFINE(struct fdisk_partition *, partition, fdisk_unref_partition, NULL)
AUTO_DEFINE(struct fdisk_script *, script, fdisk_unref_script, NULL)
AUTO_DEFINE(struct fdisk_parttype *, parttype, fdisk_unref_parttype, NULL)

static int failed(struct rouse_err *e, const struct disks_action *a, const char *what, int r)
{
	return rouse_fail(e, ROUSE_SYSTEM, r < 0 ? -r : EIO, "cannot %s on '%s'", what, a->device);
}

/* Nobody is there to answer: notes pass, questions fail. */
static int answer(struct fdisk_context *cxt unused_arg, struct fdisk_ask *ask,
		  void *data unused_arg)
{
	switch (fdisk_ask_get_type(ask)) {
	case FDISK_ASKTYPE_INFO:
	case FDISK_ASKTYPE_WARN:
	case FDISK_ASKTYPE_WARNX:
		return 0;
	default:
		return -EINVAL;
	}
}

static int open_context(int fd, const struct disks_action *a, struct fdisk_context **ret,
			struct rouse_err *e)
{
	auto_of(context) struct fdisk_context *c = fdisk_new_context();
	int r;

	if (!c)
		return failed(e, a, "edit the partition table", -ENOMEM);
	(void)fdisk_set_ask(c, answer, NULL);
	(void)fdisk_disable_dialogs(c, 1);
	if (a->file) /* an image does not know its sectors */
		(void)fdisk_save_user_sector_size(c, (unsigned)a->sector, (unsigned)a->sector);
	r = fdisk_assign_device_by_fd(c, fd, a->device, 0);
	if (r < 0)
		return failed(e, a, "read the partition table", r);
	*ret = take(c, NULL);
	return 0;
}

static int set_type(struct fdisk_partition *pa, const char *guid)
{
	auto_of(parttype) struct fdisk_parttype *type = fdisk_new_parttype();
	int r = type ? fdisk_parttype_set_typestr(type, guid) : -ENOMEM;

	return r < 0 ? r : fdisk_partition_set_type(pa, type);
}

static int set_attributes(struct fdisk_context *c, size_t number, const char *attributes)
{
	return fdisk_gpt_set_partition_attrs(c, number, strtoull(attributes, NULL, 16));
}

static int add_row(struct fdisk_context *c, const struct disks_action *a,
		   const struct disks_row *row)
{
	auto_of(partition) struct fdisk_partition *pa = fdisk_new_partition();
	size_t number = 0;
	int r = pa ? 0 : -ENOMEM;

	r = r ?: fdisk_partition_set_partno(pa, row->number - 1);
	r = r ?: fdisk_partition_set_start(pa, row->start / a->sector);
	r = r ?: fdisk_partition_set_size(pa, row->size / a->sector);
	r = r ?: fdisk_partition_size_explicit(pa, 1);
	r = r ?: set_type(pa, row->type);
	r = r ?: fdisk_partition_set_uuid(pa, row->guid);
	r = r ?: fdisk_partition_set_name(pa, row->label ? row->label : "");
	r = r ?: fdisk_add_partition(c, pa, &number);
	if (r == 0 && row->attributes)
		r = set_attributes(c, number, row->attributes);
	return r;
}

static int change_row(struct fdisk_context *c, const struct disks_action *a,
		      const struct disks_row *row)
{
	auto_of(partition) struct fdisk_partition *pa = fdisk_new_partition();
	int r = pa ? 0 : -ENOMEM;

	if (row->size != row->old_size) {
		r = r ?: fdisk_partition_set_size(pa, row->size / a->sector);
		r = r ?: fdisk_partition_size_explicit(pa, 1);
	}
	if (row->edits) {
		r = r ?: set_type(pa, row->type);
		r = r ?: fdisk_partition_set_name(pa, row->label ? row->label : "");
	}
	r = r ?: fdisk_set_partition(c, row->number - 1, pa);
	if (r == 0 && row->edits)
		r = set_attributes(c, row->number - 1, row->attributes ? row->attributes : "0");
	return r;
}

/* libfdisk lets partitions begin at 1 MiB, unless a script says otherwise. */
static int begin_at(struct fdisk_context *c, uint64_t lba)
{
	auto_of(script) struct fdisk_script *script = fdisk_new_script(c);
	auto_free char *text = rouse_asprintf("%" PRIu64, lba);
	int r = script ? fdisk_script_set_header(script, "first-lba", text) : -ENOMEM;

	return r ?: fdisk_set_script(c, script);
}

static int create_label(struct fdisk_context *c, const struct disks_action *a)
{
	uint64_t first = DISKS_GRAIN;
	int r = 0;

	for (size_t i = 0; i < a->n_rows; i++)
		first = a->rows[i].start < first ? a->rows[i].start : first;
	if (first < DISKS_GRAIN)
		r = begin_at(c, first / a->sector);
	r = r ?: fdisk_create_disklabel(c, "gpt");
	return r ?: fdisk_set_disklabel_id_from_string(c, a->guid);
}

/* Reads back what the disk has now: the same parser that plans the next run. */
static int verify(int fd, const struct disks_action *a, struct rouse_err *e)
{
	auto_json json_t *disk = json_object();
	enum disks_class class = DISKS_BLANK;
	const json_t *list, *entry;

	if (disks_gpt_read(fd, a->size, a->sector, a->ours, disk, &class, e) < 0)
		return -1;
	list = json_object_get(disk, "partitions");
	if (class != DISKS_GPT ||
	    !rouse_streq(json_string_value(json_object_get(disk, "guid")), a->guid))
		return rouse_fail(e, ROUSE_SYSTEM, 0, "the GPT on '%s' is not what was written",
				  a->device);
	for (size_t i = 0; i < a->n_rows; i++) {
		bool found = false;
		size_t k;

		json_array_foreach ((json_t *)list, k, entry)
			found |= json_integer_value(json_object_get(entry, "number")) ==
					 a->rows[i].number &&
				 (uint64_t)json_integer_value(json_object_get(entry, "start")) ==
					 a->rows[i].start &&
				 (uint64_t)json_integer_value(json_object_get(entry, "size")) ==
					 a->rows[i].size;
		if (!found)
			return rouse_fail(e, ROUSE_SYSTEM, 0,
					  "partition %u of '%s' is not what was written",
					  a->rows[i].number, a->device);
	}
	return 0;
}

static uint32_t le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Entries of a hybrid MBR that stand for a partition which has another size now: begin at byte 446,
 * 16 bytes each, first sector at 8, count at 12. */
static int step_mbr(int fd, const struct disks_action *a, struct rouse_err *e)
{
	uint8_t mbr[512];

	if (pread(fd, mbr, sizeof(mbr), 0) != (ssize_t)sizeof(mbr))
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot read the MBR of '%s'", a->device);
	for (uint8_t *p = mbr + 446; p < mbr + 510; p += 16)
		for (size_t i = 0; i < a->n_rows; i++) {
			uint64_t sectors = a->rows[i].size / a->sector;

			if (p[4] == 0 || p[4] == 0xee ||
			    le32(p + 8) != a->rows[i].start / a->sector)
				continue;
			sectors = sectors < UINT32_MAX ? sectors : UINT32_MAX;
			for (int k = 0; k < 4; k++)
				p[12 + k] = (uint8_t)(sectors >> 8 * k);
		}
	return disks_pwrite(fd, mbr, sizeof(mbr), 0, "the MBR", e);
}

int disks_table_write(int fd, const struct disks_action *a, struct rouse_err *e)
{
	auto_of(context) struct fdisk_context *c = NULL;
	int r = 0;

	if (open_context(fd, a, &c, e) < 0)
		return -1;
	if (a->create)
		r = create_label(c, a);
	else if (!fdisk_is_labeltype(c, FDISK_DISKLABEL_GPT))
		return rouse_fail(e, ROUSE_SYSTEM, 0, "libfdisk sees no GPT on '%s'", a->device);
	if (r < 0)
		return failed(e, a, "make a partition table", r);
	for (size_t i = 0; i < a->n_rows; i++) {
		r = a->create || !a->rows[i].old_size ? add_row(c, a, &a->rows[i])
						      : change_row(c, a, &a->rows[i]);
		if (r < 0) {
			auto_free char *what = rouse_asprintf("set partition %u",
							      a->rows[i].number);

			return failed(e, a, what, r);
		}
	}
	r = fdisk_write_disklabel(c);
	if (r < 0)
		return failed(e, a, "write the partition table", r);
	(void)fdisk_deassign_device(
		c, 1); /* 1: no sync(2) of the whole system; the descriptor is ours */
	if (a->hybrid && step_mbr(fd, a, e) < 0)
		return -1;
	if (disks_sync(fd, a->device, e) < 0)
		return -1;
	return verify(fd, a, e);
}

/* ---- the kernel ------------------------------------------------------------------------------ */

static int blkpg(int fd, int op, unsigned number, uint64_t start, uint64_t size)
{
	struct blkpg_partition p = { .start = (long long)start,
				     .length = (long long)size,
				     .pno = (int)number };
	struct blkpg_ioctl_arg arg = { .op = op, .datalen = (int)sizeof(p), .data = &p };

	return ioctl(fd, BLKPG, &arg);
}

/* Of a partition in sysfs; false when the kernel has none of that number. */
static bool kernel_has(int fd, unsigned number, uint64_t *start, uint64_t *size)
{
	char link[64], path[320], line[32], name[96];
	auto_free char *dir = NULL;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return false;
	(void)snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(st.st_rdev),
		       minor(st.st_rdev));
	dir = realpath(link, NULL);
	if (!dir)
		return false;
	(void)disks_node(strrchr(dir, '/') + 1, number, name, sizeof(name));
	(void)snprintf(path, sizeof(path), "%s/%s/start", dir, name);
	if (!rouse_read_line(path, line, sizeof(line)) ||
	    !rouse_parse_u64(line, UINT64_MAX / 512, start))
		return false;
	(void)snprintf(path, sizeof(path), "%s/%s/size", dir, name);
	if (!rouse_read_line(path, line, sizeof(line)) ||
	    !rouse_parse_u64(line, UINT64_MAX / 512, size))
		return false;
	*start *= 512; /* sysfs counts in 512 bytes, whatever the disk does */
	*size *= 512;
	return true;
}

static int publish_row(int fd, const struct disks_action *a, const struct disks_row *row,
		       struct rouse_err *e)
{
	uint64_t start = 0, size = 0;
	bool known = kernel_has(fd, row->number, &start, &size);
	int r = 0;

	if (known && start == row->start && size == row->size)
		return 0; /* udev was faster */
	if (known && start == row->start) {
		r = blkpg(fd, BLKPG_RESIZE_PARTITION, row->number, row->start, row->size);
	} else {
		if (known)
			r = blkpg(fd, BLKPG_DEL_PARTITION, row->number, 0, 0);
		if (r == 0)
			r = blkpg(fd, BLKPG_ADD_PARTITION, row->number, row->start, row->size);
	}
	if (r < 0 && errno != EBUSY)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "the kernel refuses partition %u of '%s'",
				  row->number, a->device);
	if (!kernel_has(fd, row->number, &start, &size) || start != row->start || size != row->size)
		return rouse_fail(e, ROUSE_SYSTEM, EBUSY,
				  "the kernel does not take partition %u of '%s'", row->number,
				  a->device);
	return 0;
}

int disks_table_publish(int fd, const struct disks_action *a, struct rouse_err *e)
{
	for (size_t i = 0; !a->file && i < a->n_shown; i++)
		if (publish_row(fd, a, &a->shown[i], e) < 0)
			return -1;
	return 0;
}

int disks_table_forget(int fd, const struct disks_action *a, struct rouse_err *e)
{
	for (unsigned n = 1; !a->file && n <= ROUSE_MAX_PARTITIONS; n++) {
		uint64_t start, size;

		if (kernel_has(fd, n, &start, &size) && blkpg(fd, BLKPG_DEL_PARTITION, n, 0, 0) < 0)
			return rouse_fail(e, ROUSE_SYSTEM, errno, "partition %u of '%s' is in use",
					  n, a->device);
	}
	return 0;
}
