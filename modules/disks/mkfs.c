/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filesystems by somebody else's mkfs, and btrfs by its own. On a device it works on the node of what was
 * published with the pending mark before; for an image it writes into memory (a sparse memfd), and what
 * it made is copied with the superblock last. It is told to force only because the mark is ours.
 */
#include "write.h"

#include <endian.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/proc.h>

static int run(const char *const *argv, const struct disks_target *t, struct rouse_err *e)
{
	uint64_t deadline = rouse_clock_ms() + ROUSE_DEADLINE_MKFS;
	const struct rouse_proc proc = {
		.argv = argv,
		.deadline = t->deadline && t->deadline < deadline ? t->deadline : deadline,
	};

	return rouse_proc_check(&proc, e);
}

/* Runs a mkfs over the memfd that stands for a part of an image, and copies what it wrote. */
static int make_in_memory(const struct disks_target *t, const char **argv, size_t n, uint64_t head,
			  struct rouse_err *e)
{
	auto_fd int fd = memfd_create("mkfs", MFD_CLOEXEC);
	char path[64];

	if (fd < 0 || ftruncate(fd, (off_t)t->size) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot hold a filesystem in memory");
	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
	argv[n] = path;
	if (run(argv, t, e) < 0 || disks_copy_data(t, fd, head, t->size, e) < 0)
		return -1;
	return disks_copy_head(t, fd, head, e);
}

int disks_run_mkfs(const struct disks_target *t, const char **argv, size_t n, uint64_t head,
		   struct rouse_err *e)
{
	int r;

	for (size_t i = 0; t->mkfs && i < t->mkfs->options.n && n + 2 < DISKS_MKFS_ARGS; i++)
		argv[n++] = ((const char *const *)t->mkfs->options.items)[i];

	argv[n] = t->node;
	argv[n + 1] = NULL;
	r = t->node ? run(argv, t, e) : make_in_memory(t, argv, n, head, e);
	return r < 0 ? rouse_wrap(e, "cannot make a filesystem on %s", t->what) : 0;
}

int disks_run_mkfs_pending(const struct disks_target *t, const char **argv, size_t n, uint64_t head,
			   int (*label)(int fd, const struct disks_target *t, struct rouse_err *e),
			   struct rouse_err *e)
{
	auto_fd int fd = t->node ? open(t->node, O_RDWR | O_CLOEXEC) : -1;
	uint64_t at = t->size - DISKS_MARK_OF_MKFS;
	struct disks_target node = *t;

	if (!t->node)
		return disks_run_mkfs(t, argv, n, head, e);
	if (fd < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s'", t->node);
	node.fd = fd;
	node.offset = 0;
	if (disks_mark_again(&node, at, e) < 0 || disks_run_mkfs(t, argv, n, head, e) < 0 ||
	    disks_sync(fd, t->what, e) < 0 || disks_zero(fd, at, 512, t->what, e) < 0 ||
	    disks_sync(fd, t->what, e) < 0 || label(fd, t, e) < 0)
		return -1;
	return disks_sync(fd, t->what, e);
}

static bool has_subvolumes(const struct disks_target *t)
{
	return t->mkfs && t->mkfs->subvolumes.n;
}

/* With subvolumes it is pending until all of them are there. */
static int make_btrfs(const struct disks_target *t, struct rouse_err *e)
{
	const char *argv[DISKS_MKFS_ARGS] = { "mkfs.btrfs", "-q", "-f", "-K", "-U" };
	char uuid[DISKS_GUID_LEN];
	size_t n = 5;

	disks_uuid_print(t->uuid, uuid);
	argv[n++] = uuid;
	if (has_subvolumes(t) || *t->label) {
		argv[n++] = "-L";
		argv[n++] = has_subvolumes(t) ? DISKS_PENDING_LABEL : t->label;
	}
	if (disks_run_mkfs(t, argv, n, 68 * KIB, e) < 0) /* its superblock is at 64 KiB */
		return -1;
	return has_subvolumes(t) ? disks_make_subvolumes(t, e) : 0;
}

static int grow_btrfs(int fd, uint64_t size unused_arg, struct rouse_err *e)
{
	struct btrfs_ioctl_vol_args args = { .name = "max" };

	if (ioctl(fd, BTRFS_IOC_RESIZE, &args) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot grow btrfs");
	return 0;
}

static uint64_t little(const uint8_t *p)
{
	uint64_t n;

	memcpy(&n, p, sizeof(n));
	return le64toh(n);
}

/* struct btrfs_super_block: total_bytes at 112, bytes_used at 120, num_devices at 136. One that
 * stands on several devices does not tell what it has of this one. */
static bool usage_of_btrfs(int fd, uint64_t offset, struct disks_content *ret)
{
	uint8_t sb[512];
	uint64_t total, used;

	if (pread(fd, sb, sizeof(sb), (off_t)(offset + 64 * KIB)) != (ssize_t)sizeof(sb) ||
	    memcmp(sb + 64, "_BHRfS_M", 8) != 0)
		return false;
	total = little(sb + 112);
	used = little(sb + 120);
	if (little(sb + 136) != 1 || total > INT64_MAX || used > total)
		return false;
	ret->size = (int64_t)total;
	ret->free = (int64_t)((total - used) / 100 * 95);
	return true;
}

/* … csum at 0, csum_type at 196: 0 is CRC-32C; of all behind the 32 bytes that a checksum may have. */
static bool is_damaged_btrfs(int fd, uint64_t offset)
{
	uint8_t sb[4 * KIB];

	return pread(fd, sb, sizeof(sb), (off_t)(offset + 64 * KIB)) == (ssize_t)sizeof(sb) &&
	       memcmp(sb + 64, "_BHRfS_M", 8) == 0 && !sb[196] && !sb[197] &&
	       (uint32_t)little(sb) != ~disks_crc32c(sb + 32, sizeof(sb) - 32);
}

/* Metadata is written twice. */
static void room_of_btrfs(uint64_t size, uint64_t *bytes, uint64_t *inodes)
{
	uint64_t taken = size / 20 + 64 * MIB;

	*bytes = size > taken ? size - taken : 0;
	*inodes = 0;
}

static const struct disks_mkfs_options btrfs_options = {
	.letters = "d:m:Mn:s:O:R:",
	.words = "data: metadata: mixed csum: checksum: nodesize: sectorsize: features: "
		 "runtime-features:",
};

static const char *const btrfs_modules[] = { "btrfs", NULL };

const struct disks_filesystem disks_btrfs = {
	.name = "btrfs",
	.modules = btrfs_modules,
	.program = "mkfs.btrfs",
	.min = 128 * MIB, /* mkfs.btrfs demands 109 */
	.max_label = 255,
	.options = &btrfs_options,
	.subvolumes = true,
	.late = true,
	.damaged = is_damaged_btrfs,
	.checker = "btrfs rescue super-recover",
	.room = room_of_btrfs,
	.print_uuid = disks_uuid_print,
	.make = make_btrfs,
	.usage = usage_of_btrfs,
	.grow = grow_btrfs,
};
