/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies in a range of a disk (libblkid), the pending mark, and erasing.
 *
 * The pending mark is an ext2 superblock of 1 KiB at byte 1024 with the UUID that we derive for
 * what is being made, but for one bit (mkfs.btrfs refuses an UUID that any device has), and a label
 * of its own. Every prober knows it, no filesystem can be mounted
 * from it, and whatever kills us between the first and the last write of a mkfs, the next run
 * finds its own unfinished work there, and never a stranger's.
 */
#include "write.h"

#include <blkid.h>
#include <string.h>
#include <unistd.h>

#include <rouse/json.h>
#include <rouse/text.h>

#define CHUNK (64 * KIB)
/* The sector of a superblock of ext2 that a prober looks at. */
#define MARK_OFFSET 1024
#define MARK_SIZE 512

AUTO_DEFINE(blkid_probe, probe, blkid_free_probe, NULL)

static int probe_open(int fd, uint64_t offset, uint64_t size, uint64_t sector, blkid_probe *ret,
		      struct rouse_err *e)
{
	auto_of(probe) blkid_probe pr = blkid_new_probe();

	if (!pr || blkid_probe_set_device(pr, fd, (blkid_loff_t)offset, (blkid_loff_t)size) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot probe %llu bytes at %llu",
				  (unsigned long long)size, (unsigned long long)offset);
	(void)blkid_probe_set_sectorsize(pr, (unsigned)sector); /* matters for images only */
	(void)blkid_probe_enable_superblocks(pr, 1); /* these four only fail for an unknown chain */
	(void)blkid_probe_set_superblocks_flags(
		pr, BLKID_SUBLKS_MAGIC | BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE |
			    BLKID_SUBLKS_UUID | BLKID_SUBLKS_LABEL | BLKID_SUBLKS_BADCSUM);
	(void)blkid_probe_enable_partitions(pr, 1);
	(void)blkid_probe_set_partitions_flags(pr, BLKID_PARTS_MAGIC | BLKID_PARTS_FORCE_GPT);
	*ret = take(pr, NULL);
	return 0;
}

static const char *value_of(blkid_probe pr, const char *name)
{
	const char *value = NULL;

	return blkid_probe_lookup_value(pr, name, &value, NULL) == 0 ? value : NULL;
}

/* Of some types it is made of bytes as they stand there, and it becomes part of a path. */
static bool is_name(const char *uuid)
{
	return strspn(uuid, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_:") ==
	       strlen(uuid);
}

static void add_signature(json_t *list, const char *type, const char *label, const char *uuid,
			  bool damaged)
{
	auto_json json_t *s = json_object();
	size_t i;
	json_t *known;

	json_array_foreach (list, i, known)
		if (rouse_streq(json_string_value(json_object_get(known, "type")), type))
			return; /* one more magic of the same thing */
	rouse_json_set_string(s, "type", type);
	if (label && *label && rouse_utf8_valid(label, strlen(label)))
		rouse_json_set_string(s, "label", label);
	if (uuid && *uuid && is_name(uuid))
		rouse_json_set_string(s, "uuid", uuid);
	if (damaged)
		rouse_json_set_bool(s, "damaged", true);
	rouse_json_append(list, take(s, NULL));
}

/* A filesystem of a kind that may be ours. Of ext4 and btrfs a prober says so from libblkid 2.39 on. */
static bool is_damaged(blkid_probe pr, const char *type, int fd, uint64_t offset)
{
	const struct disks_filesystem *fs = disks_filesystem_find(type);

	return fs && (value_of(pr, "SBBADCSUM") || (fs->damaged && fs->damaged(fd, offset)));
}

static bool read_all(int fd, void *buf, size_t n, uint64_t offset)
{
	return pread(fd, buf, n, (off_t)offset) == (ssize_t)n;
}

/* A mkfs of xfs says in its superblock (sb_inprogress, byte 126) that it is not done. The superblock of
 * ext4 has two sectors, of which the first one alone replaces the pending mark, and nobody has mounted
 * it then (s_mtime and s_mnt_count, bytes 44 and 52); the second one of a finished filesystem is never
 * zero: it ends with a checksum. For LVM, see marks.c. */
static bool is_torn(int fd, uint64_t offset, const char *type)
{
	static const uint8_t zeros[MARK_SIZE];
	uint8_t sector[MARK_SIZE], super[2 * MARK_SIZE];
	char mark[DISKS_GUID_LEN];

	if (rouse_streq(type, "ext4"))
		return read_all(fd, super, sizeof(super), offset + MARK_OFFSET) &&
		       memcmp(super + MARK_SIZE, zeros, MARK_SIZE) == 0 &&
		       memcmp(super + 44, zeros, 4) == 0 && memcmp(super + 52, zeros, 2) == 0;
	if (rouse_streq(type, "LVM2_member"))
		return disks_marked_again(fd, offset + DISKS_MARK_OF_LVM, mark);
	return rouse_streq(type, "xfs") && read_all(fd, sector, sizeof(sector), offset) &&
	       sector[126] != 0;
}

/* A mkfs of btrfs works behind a magic of its own until it is done: struct btrfs_super_block at 64 KiB,
 * its UUID at 32, its magic at 64. No prober knows it. */
static void find_unfinished_btrfs(int fd, uint64_t offset, uint64_t size, json_t *list)
{
	char uuid[DISKS_GUID_LEN];
	uint8_t sb[72];

	if (size < 64 * KIB + sizeof(sb) || !read_all(fd, sb, sizeof(sb), offset + 64 * KIB) ||
	    memcmp(sb + 64, "!BHRfS_M", 8) != 0)
		return;
	disks_uuid_print(sb + 32, uuid);
	add_signature(list, "btrfs", NULL, uuid, false);
	rouse_json_set_bool(json_array_get(list, json_array_size(list) - 1), "torn", true);
}

static void note_torn(int fd, uint64_t offset, uint64_t size, json_t *list)
{
	json_t *s = json_array_get(list, json_array_size(list) - 1);
	char mark[DISKS_GUID_LEN];

	if (!s && (disks_marked_again(fd, offset + DISKS_MARK_OF_LVM, mark) ||
		   (size > DISKS_MARK_OF_LUKS &&
		    disks_marked_again(fd, offset + DISKS_MARK_OF_LUKS, mark)) ||
		   (size > DISKS_MARK_OF_MKFS &&
		    disks_marked_again(fd, offset + size - DISKS_MARK_OF_MKFS, mark))))
		add_signature(list, "rouse", DISKS_PENDING_LABEL, mark, false);
	else if (!s)
		find_unfinished_btrfs(fd, offset, size, list);
	else if (is_torn(fd, offset, json_string_value(json_object_get(s, "type"))))
		rouse_json_set_bool(s, "torn", true);
}

/* The boot sectors of these end like an MBR; hidden as what they are, they would be seen as one. */
static bool has_boot_sector(const json_t *list)
{
	static const char *const types[] = { "vfat", "ntfs", "exfat", NULL };
	const json_t *s;
	size_t i;

	json_array_foreach ((json_t *)list, i, s)
		for (const char *const *t = types; *t; t++)
			if (rouse_streq(json_string_value(json_object_get(s, "type")), *t))
				return true;
	return false;
}

/* Lists every signature, not only the first: each hit is hidden in the prober's own buffers (a
 * dry wipe) and the next one is looked for. Nothing is written. */
static int list_signatures(int fd, uint64_t offset, uint64_t size, uint64_t sector, json_t *list,
			   struct rouse_err *e)
{
	auto_of(probe) blkid_probe pr = NULL;

	if (probe_open(fd, offset, size, sector, &pr, e) < 0)
		return -1;
	for (int n = 0; n < ROUSE_MAX_DISK_SIGNATURES; n++) {
		const char *type;
		int r = blkid_do_probe(pr);

		if (r < 0)
			return rouse_fail(e, ROUSE_SYSTEM, errno ? errno : EIO,
					  "cannot probe for signatures");
		if (r == 1)
			return 0;
		type = value_of(pr, "TYPE");
		if (type)
			add_signature(list, type, value_of(pr, "LABEL"), value_of(pr, "UUID"),
				      is_damaged(pr, type, fd, offset));
		else if (value_of(pr, "PTTYPE") &&
			 !(rouse_streq(value_of(pr, "PTTYPE"), "dos") && has_boot_sector(list)))
			add_signature(list, value_of(pr, "PTTYPE"), NULL, NULL, false);
		if (blkid_do_wipe(pr, 1) < 0)
			return 0; /* cannot be hidden: what follows is not seen, what was found counts */
	}
	return 0;
}

static int is_zero(int fd, uint64_t offset, uint64_t size, bool *ret, struct rouse_err *e)
{
	auto_free char *buf = rouse_calloc(1, CHUNK);

	for (uint64_t done = 0; done < size;) {
		size_t n = size - done < CHUNK ? (size_t)(size - done) : CHUNK;
		ssize_t r = pread(fd, buf, n, (off_t)(offset + done));

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return rouse_fail(e, ROUSE_SYSTEM, r < 0 ? errno : EIO,
					  "cannot read at %llu",
					  (unsigned long long)(offset + done));
		/* the first is zero, and each is like the one before it */
		if (buf[0] != 0 || memcmp(buf, buf + 1, (size_t)r - 1) != 0) {
			*ret = false;
			return 0;
		}
		done += (uint64_t)r;
	}
	*ret = true;
	return 0;
}

static int ends_are_zero(int fd, uint64_t offset, uint64_t size, bool *ret, struct rouse_err *e)
{
	uint64_t n = size < MIB ? size : MIB;
	bool head = false, tail = false;

	if (is_zero(fd, offset, n, &head, e) < 0 ||
	    (head && is_zero(fd, offset + size - n, n, &tail, e) < 0))
		return -1;
	*ret = head && tail;
	return 0;
}

static void add_usage(int fd, uint64_t offset, json_t *content, const char *type)
{
	const struct disks_filesystem *fs = type ? disks_filesystem_find(type) : NULL;
	struct disks_content usage = { 0 };

	if (!fs || !fs->usage || !fs->usage(fd, offset, &usage))
		return;
	rouse_json_set_int(content, "size", (uint64_t)usage.size);
	rouse_json_set_int(content, "free", (uint64_t)usage.free);
	rouse_json_set_int(content, "inodes", (uint64_t)usage.inodes);
}

int disks_content_read(int fd, uint64_t offset, uint64_t size, uint64_t sector, json_t **ret,
		       struct rouse_err *e)
{
	auto_json json_t *content = json_object();
	json_t *list = json_array();
	bool zero = false;

	rouse_json_set(content, "signatures", list);
	if (list_signatures(fd, offset, size, sector, list, e) < 0)
		return -1;
	note_torn(fd, offset, size, list);
	if (json_array_size(list) == 0 && ends_are_zero(fd, offset, size, &zero, e) < 0)
		return -1;
	rouse_json_set_bool(content, "zero", zero);
	if (json_array_size(list) == 1)
		add_usage(fd, offset, content,
			  json_string_value(json_object_get(json_array_get(list, 0), "type")));
	*ret = take(content, NULL);
	return 0;
}

bool disks_content_is(const json_t *content, const struct disks_content *c)
{
	const json_t *list = json_object_get(content, "signatures"), *s;
	const struct disks_signature *want = c->signatures.items;
	size_t i;

	if (json_array_size(list) != c->signatures.n ||
	    json_is_true(json_object_get(content, "zero")) != c->zero)
		return false;
	json_array_foreach ((json_t *)list, i, s)
		if (!rouse_streq(json_string_value(json_object_get(s, "type")), want[i].type) ||
		    !rouse_streq(json_string_value(json_object_get(s, "label")), want[i].label) ||
		    !rouse_streq(json_string_value(json_object_get(s, "uuid")), want[i].uuid))
			return false;
	return true;
}

int disks_table_list(int fd, uint64_t size, uint64_t sector, json_t **ret, struct rouse_err *e)
{
	auto_of(probe) blkid_probe pr = NULL;
	auto_json json_t *list = json_array();
	blkid_partlist partitions;

	if (probe_open(fd, 0, size, sector, &pr, e) < 0)
		return -1;
	(void)blkid_probe_enable_superblocks(pr, 0);
	if (blkid_do_probe(pr) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno ? errno : EIO,
				  "cannot read the partition table");
	partitions = blkid_probe_get_partitions(pr);
	for (int i = 0; partitions && i < blkid_partlist_numof_partitions(partitions); i++) {
		blkid_partition p = blkid_partlist_get_partition(partitions, i);
		uint64_t start = (uint64_t)blkid_partition_get_start(p) * 512;
		uint64_t length = (uint64_t)blkid_partition_get_size(p) * 512;
		int number = blkid_partition_get_partno(p);
		json_t *entry;

		if (number < 1 || number > ROUSE_MAX_PARTITIONS || blkid_partition_is_extended(p) ||
		    !length || start >= size || length > size - start)
			continue;
		entry = json_object();
		rouse_json_set_int(entry, "number", (uint64_t)number);
		rouse_json_set_int(entry, "start", start);
		rouse_json_set_int(entry, "size", length);
		rouse_json_append(list, entry);
	}
	*ret = take(list, NULL);
	return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

int disks_pwrite(int fd, const void *data, size_t n, uint64_t offset, const char *what,
		 struct rouse_err *e)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = pwrite(fd, (const char *)data + done, n - done, (off_t)(offset + done));

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return rouse_fail(e, ROUSE_SYSTEM, r < 0 ? errno : EIO,
					  "cannot write %s at %llu", what,
					  (unsigned long long)(offset + done));
		done += (size_t)r;
	}
	return 0;
}

int disks_sync(int fd, const char *what, struct rouse_err *e)
{
	return fsync(fd) < 0 ? rouse_fail(e, ROUSE_SYSTEM, errno, "cannot sync %s", what) : 0;
}

/* Only what is not zero yet is written: images stay sparse and thin volumes thin. */
int disks_zero(int fd, uint64_t offset, uint64_t n, const char *what, struct rouse_err *e)
{
	/* no constant: the binary would carry it */
	auto_free char *zeros = rouse_calloc(1, CHUNK);

	for (uint64_t done = 0; done < n;) {
		size_t step = n - done < CHUNK ? (size_t)(n - done) : CHUNK;
		bool zero = false;

		if (is_zero(fd, offset + done, step, &zero, e) < 0)
			return -1;
		if (!zero && disks_pwrite(fd, zeros, step, offset + done, what, e) < 0)
			return -1;
		done += step;
	}
	return 0;
}

int disks_copy_data(const struct disks_target *t, int fd, uint64_t from, uint64_t to,
		    struct rouse_err *e)
{
	const size_t step = 256 * KIB;
	auto_free char *buf = rouse_calloc(1, step);

	while (from < to) {
		off_t data = lseek(fd, (off_t)from, SEEK_DATA);
		ssize_t n;

		if (data < 0 && errno == ENXIO)
			return 0;
		if (data < 0)
			return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot read the new filesystem");
		from = (uint64_t)data > from ? (uint64_t)data : from;
		if (from >= to)
			return 0;
		n = pread(fd, buf, to - from < step ? (size_t)(to - from) : step, (off_t)from);
		if (n <= 0)
			return rouse_fail(e, ROUSE_SYSTEM, n < 0 ? errno : EIO,
					  "cannot read the new filesystem");
		if (disks_pwrite(t->fd, buf, (size_t)n, t->offset + from, t->what, e) < 0)
			return -1;
		from += (uint64_t)n;
	}
	return 0;
}

/* As long as the mark is there, all beside it is unfinished work, in whichever order it arrived. */
int disks_copy_head(const struct disks_target *t, int fd, uint64_t head, struct rouse_err *e)
{
	char sector[MARK_SIZE];

	if (disks_copy_data(t, fd, 0, MARK_OFFSET, e) < 0 ||
	    disks_copy_data(t, fd, MARK_OFFSET + MARK_SIZE, head, e) < 0 ||
	    disks_sync(t->fd, t->what, e) < 0)
		return -1;
	if (pread(fd, sector, sizeof(sector), MARK_OFFSET) != (ssize_t)sizeof(sector))
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot read the new filesystem");
	if (disks_pwrite(t->fd, sector, sizeof(sector), t->offset + MARK_OFFSET, t->what, e) < 0)
		return -1;
	return disks_sync(t->fd, t->what, e);
}

void disks_pending_guid(const uint8_t uuid[static 16], char ret[static DISKS_GUID_LEN])
{
	uint8_t mark[16];

	memcpy(mark, uuid, sizeof(mark));
	mark[15] ^= 1;
	disks_uuid_print(mark, ret);
}

/* The ext2 superblock as far as a prober reads it; little-endian, offsets of ext2_fs.h. */
int disks_mark_pending(const struct disks_target *t, struct rouse_err *e)
{
	uint8_t sb[1024] = { 0 };

	sb[0] = 16;       /* s_inodes_count */
	sb[4] = 64;       /* s_blocks_count */
	sb[24] = 2;       /* s_log_block_size: 4 KiB */
	sb[32 + 1] = 128; /* s_blocks_per_group: 32768 */
	sb[40] = 16;      /* s_inodes_per_group */
	sb[56] = 0x53;    /* s_magic */
	sb[57] = 0xef;
	sb[58] = 2; /* s_state: with errors, so that nobody mounts it */
	sb[76] = 1; /* s_rev_level */
	sb[89] = 1; /* s_inode_size: 256 */
	memcpy(sb + 104, t->uuid, 16);
	sb[104 + 15] ^= 1;
	memcpy(sb + 120, DISKS_PENDING_LABEL, sizeof(DISKS_PENDING_LABEL) - 1);
	if (disks_pwrite(t->fd, sb, sizeof(sb), t->offset + 1024, t->what, e) < 0)
		return -1;
	return disks_sync(t->fd, t->what, e);
}

/* What erasing leaves: the pending mark, or on a disk that was claimed, its table. */
static bool is_kept(blkid_probe pr, const struct disks_target *t)
{
	char uuid[DISKS_GUID_LEN];

	if (!t->uuid)
		return rouse_streq(value_of(pr, "PTTYPE"), "gpt") ||
		       rouse_streq(value_of(pr, "PTTYPE"), "PMBR");
	disks_pending_guid(t->uuid, uuid);
	return rouse_streq(value_of(pr, "LABEL"), DISKS_PENDING_LABEL) &&
	       rouse_streq(value_of(pr, "UUID"), uuid);
}

int disks_erase(const struct disks_target *t, struct rouse_err *e)
{
	auto_of(probe) blkid_probe pr = NULL;
	uint64_t head = t->size < MIB ? t->size : MIB,
		 tail = t->size - head < MIB ? t->size - head : MIB, table;

	if (probe_open(t->fd, t->offset, t->size, t->sector, &pr, e) < 0)
		return -1;
	for (int n = 0; n < ROUSE_MAX_DISK_SIGNATURES && blkid_do_probe(pr) == 0; n++)
		if (blkid_do_wipe(pr, is_kept(pr, t)) < 0)
			return rouse_fail(e, ROUSE_SYSTEM, errno ? errno : EIO,
					  "cannot erase an old signature of %s", t->what);
	/* What probers do not look for: labels of other systems, boot code, old md superblocks. */
	if (!t->uuid) {
		table = t->size -
			disks_usable_end(t->size,
					 t->sector); /* one sector more than the backup has */
		return disks_zero(t->fd, table + t->sector, t->head - table - t->sector, t->what,
				  e);
	}
	if (disks_zero(t->fd, t->offset, 1024, t->what, e) < 0 ||
	    disks_zero(t->fd, t->offset + 2048, head - 2048, t->what, e) < 0)
		return -1;
	return disks_zero(t->fd, t->offset + t->size - tail, tail, t->what, e);
}
