/* SPDX-License-Identifier: Apache-2.0 */
/* f2fs by its own programs: the kernel cannot grow it while it is mounted. */
#include "write.h"

#include <endian.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/proc.h>

#define MAX_ARGS 48
#define SUPER 1024
#define MAGIC 0xf2f52010u

static int run(const char *const *argv, uint64_t limit, struct rouse_err *e)
{
	uint64_t deadline = rouse_clock_ms() + ROUSE_DEADLINE_MKFS;
	const struct rouse_proc proc = {
		.argv = argv,
		.deadline = limit && limit < deadline ? limit : deadline,
	};

	return rouse_proc_check(&proc, e);
}

/* It writes its superblock where our pending mark is. In an image, it works in memory, and what it
 * made is copied with the superblock last. */
static int make_in_memory(const struct disks_target *t, const char **argv, size_t n,
			  struct rouse_err *e)
{
	auto_fd int fd = memfd_create("mkfs", MFD_CLOEXEC);
	char path[64];

	if (fd < 0 || ftruncate(fd, (off_t)t->size) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot hold a filesystem in memory");
	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
	argv[n] = path;
	if (run(argv, t->deadline, e) < 0 || disks_copy_data(t, fd, 4 * KIB, t->size, e) < 0)
		return -1;
	if (fsync(t->fd) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot sync %s", t->what);
	if (disks_copy_data(t, fd, 0, 4 * KIB, e) < 0)
		return -1;
	return fsync(t->fd) < 0 ? rouse_fail(e, ROUSE_SYSTEM, errno, "cannot sync %s", t->what) : 0;
}

static int make_f2fs(const struct disks_target *t, struct rouse_err *e)
{
	const char *argv[MAX_ARGS] = { "mkfs.f2fs", "-q", "-f", "-t", "0", "-U" };
	char uuid[DISKS_GUID_LEN];
	size_t n = 6;
	int r;

	disks_uuid_print(t->uuid, uuid);
	argv[n++] = uuid;
	if (*t->label) {
		argv[n++] = "-l";
		argv[n++] = t->label;
	}
	for (size_t i = 0; t->mkfs && i < t->mkfs->options.n && n + 2 < MAX_ARGS; i++)
		argv[n++] = ((const char *const *)t->mkfs->options.items)[i];
	argv[n] = t->node;
	argv[n + 1] = NULL;
	r = t->node ? run(argv, t->deadline, e) : make_in_memory(t, argv, n, e);
	return r < 0 ? rouse_wrap(e, "cannot make f2fs on %s", t->what) : 0;
}

static int grow_offline(const char *node, uint64_t deadline, struct rouse_err *e)
{
	const char *const argv[] = { "resize.f2fs", node, NULL };

	return run(argv, deadline, e);
}

/* struct f2fs_super_block: magic at 0, log_blocksize at 16, block_count (64 bits) at 36. What is free
 * is in a checkpoint elsewhere. */
static bool usage_of_f2fs(int fd, uint64_t offset, struct disks_content *ret)
{
	uint8_t sb[64];
	uint32_t magic, log_block;
	uint64_t blocks;

	if (pread(fd, sb, sizeof(sb), (off_t)(offset + SUPER)) != (ssize_t)sizeof(sb))
		return false;
	memcpy(&magic, sb, sizeof(magic));
	memcpy(&log_block, sb + 16, sizeof(log_block));
	memcpy(&blocks, sb + 36, sizeof(blocks));
	log_block = le32toh(log_block);
	blocks = le64toh(blocks);
	if (le32toh(magic) != MAGIC || log_block < 12 || log_block > 16 ||
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

static const struct disks_mkfs_options options = { .letters = "a:C:d:e:E:g:io:O:rR:s:St:T:w:z:" };

static const char *const modules[] = { "f2fs", NULL };

const struct disks_filesystem disks_f2fs = {
	.name = "f2fs",
	.modules = modules,
	.program = "mkfs.f2fs",
	.min = 100 * MIB, /* below that hardly anything is left */
	.max_label = 255,
	.options = &options,
	.late = true,
	.room = room_of_f2fs,
	.print_uuid = disks_uuid_print,
	.make = make_f2fs,
	.usage = usage_of_f2fs,
	.grow_offline = grow_offline,
};
