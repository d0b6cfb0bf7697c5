/* SPDX-License-Identifier: Apache-2.0 */
/*
 * f2fs by its own programs: the kernel cannot grow it while it is mounted. On a device, mkfs writes its
 * superblock, where our pending mark is, without a flush before it; so it is made with the pending label,
 * and gets its own when all of it is on the disk. The superblock is struct f2fs_super_block of
 * include/linux/f2fs_fs.h, little-endian, and there twice.
 */
#include "write.h"

#include <endian.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <rouse/clock.h>
#include <rouse/proc.h>

#define SUPER 1024
#define SECOND_SUPER (4096 + 1024)
#define SIZE 3072
#define SB_LOG_BLOCK 16
#define SB_BLOCKS 36
#define SB_LABEL 124
#define SB_FEATURES 2180
#define SB_CHECKSUM 3068
#define MAGIC 0xf2f52010u
#define HAS_CHECKSUM 0x0800u
#define LABEL 512 /* UTF-16 units */

static uint32_t little4(const uint8_t *p)
{
	uint32_t n;

	memcpy(&n, p, sizeof(n));
	return le32toh(n);
}

/* ---- the label ----------------------------------------------------------------------------------- */

static size_t put_unit(uint8_t *to, uint32_t unit)
{
	to[0] = (uint8_t)unit;
	to[1] = (uint8_t)(unit >> 8);
	return 2;
}

/* `s` is valid UTF-8, and its length within max_label. */
static void put_label(uint8_t *to, const char *s)
{
	memset(to, 0, (size_t)LABEL * 2);
	while (*s) {
		uint32_t c = (unsigned char)*s++;
		unsigned more = c < 0xc0 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;

		c = more ? c & 0x3fu >> more : c;
		for (; more; more--)
			c = c << 6 | ((unsigned char)*s++ & 0x3f);
		if (c >= 0x10000) {
			to += put_unit(to, 0xd800 + ((c - 0x10000) >> 10));
			c = 0xdc00 + (c & 0x3ff);
		}
		to += put_unit(to, c);
	}
}

static int label_one(int fd, uint64_t at, const struct disks_target *t, struct rouse_err *e)
{
	uint8_t sb[SIZE];
	uint32_t sum;

	if (pread(fd, sb, sizeof(sb), (off_t)at) != (ssize_t)sizeof(sb) || little4(sb) != MAGIC)
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "mkfs.f2fs has left no superblock at byte %llu of %s",
				  (unsigned long long)at, t->what);
	put_label(sb + SB_LABEL, t->label);
	if (little4(sb + SB_FEATURES) &
	    HAS_CHECKSUM) { /* begins with the magic, and is not inverted */
		sum = htole32(~(uint32_t)crc32_z(~MAGIC, sb, SB_CHECKSUM));
		memcpy(sb + SB_CHECKSUM, &sum, sizeof(sum));
	}
	return disks_pwrite(fd, sb, sizeof(sb), at, t->what, e);
}

/* The first one last: it tells that there is nothing more to do. */
static int set_label(int fd, const struct disks_target *t, struct rouse_err *e)
{
	if (label_one(fd, SECOND_SUPER, t, e) < 0)
		return -1;
	if (disks_sync(fd, t->what, e) < 0)
		return -1;
	return label_one(fd, SUPER, t, e);
}

/* ---- making and growing -------------------------------------------------------------------------- */

static int make_f2fs(const struct disks_target *t, struct rouse_err *e)
{
	const char *argv[DISKS_MKFS_ARGS] = { "mkfs.f2fs", "-q", "-f", "-t", "0", "-U" };
	char uuid[DISKS_GUID_LEN];
	size_t n = 6;

	disks_uuid_print(t->uuid, uuid);
	argv[n++] = uuid;
	if (t->node || *t->label) {
		argv[n++] = "-l";
		argv[n++] = t->node ? DISKS_PENDING_LABEL : t->label;
	}
	return disks_run_mkfs_pending(t, argv, n, 4 * KIB, set_label, e);
}

static int grow_offline(const char *node, uint64_t limit, struct rouse_err *e)
{
	uint64_t deadline = rouse_clock_ms() + ROUSE_DEADLINE_MKFS;
	const struct rouse_proc proc = {
		.argv = (const char *const[]){ "resize.f2fs", node, NULL },
		.deadline = limit && limit < deadline ? limit : deadline,
	};

	return rouse_proc_check(&proc, e);
}

/* What is free is in a checkpoint elsewhere. */
static bool usage_of_f2fs(int fd, uint64_t offset, struct disks_content *ret)
{
	uint8_t sb[64];
	uint32_t log_block;
	uint64_t blocks;

	if (pread(fd, sb, sizeof(sb), (off_t)(offset + SUPER)) != (ssize_t)sizeof(sb))
		return false;
	log_block = little4(sb + SB_LOG_BLOCK);
	blocks = little4(sb + SB_BLOCKS) | (uint64_t)little4(sb + SB_BLOCKS + 4) << 32;
	if (little4(sb) != MAGIC || log_block < 12 || log_block > 16 ||
	    blocks > (uint64_t)INT64_MAX >> log_block)
		return false;
	ret->size = (int64_t)(blocks << log_block);
	ret->free = 0;
	return true;
}

/* Segments in reserve, and tables for every block. */
static void room_of_f2fs(uint64_t size, uint64_t *bytes, uint64_t *inodes)
{
	uint64_t taken = size / 10 + 64 * MIB;

	*bytes = size > taken ? size - taken : 0;
	*inodes = 0;
}

/* Not S, for images of Android: it takes a value, which the program's own text does not say. */
static const struct disks_mkfs_options options = { .letters = "a:C:d:e:E:g:io:O:rR:s:t:T:w:z:" };

static const char *const modules[] = { "f2fs", NULL };

const struct disks_filesystem disks_f2fs = {
	.name = "f2fs",
	.modules = modules,
	.program = "mkfs.f2fs",
	.min = 100 * MIB, /* below that hardly anything is left */
	.max_label = 255,
	.options = &options,
	.late = true,
	.checker = "fsck.f2fs -f",
	.room = room_of_f2fs,
	.print_uuid = disks_uuid_print,
	.make = make_f2fs,
	.usage = usage_of_f2fs,
	.grow_offline = grow_offline,
};
