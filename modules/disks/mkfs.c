/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xfs and btrfs by their mkfs. On a device it works on the node of what was published with the
 * pending mark before; for an image it writes into memory (a sparse memfd), and what it made is
 * copied with the superblock last. It is told to force only because the mark is ours.
 */
#include "write.h"

#include <endian.h>
#include <linux/btrfs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/proc.h>

#define MAX_ARGS 80

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

static int run_mkfs(const struct disks_target *t, const char **argv, size_t n, uint64_t head,
		    struct rouse_err *e)
{
	int r;

	for (size_t i = 0; t->mkfs && i < t->mkfs->options.n && n + 2 < MAX_ARGS; i++)
		argv[n++] = ((const char *const *)t->mkfs->options.items)[i];

	argv[n] = t->node;
	argv[n + 1] = NULL;
	r = t->node ? run(argv, t, e) : make_in_memory(t, argv, n, head, e);
	return r < 0 ? rouse_wrap(e, "cannot make a filesystem on %s", t->what) : 0;
}

/* Devices are not discarded: a large one takes minutes, and a cloud's volume is blank. */
static int make_xfs(const struct disks_target *t, struct rouse_err *e)
{
	const char *argv[MAX_ARGS] = { "mkfs.xfs", "-q", "-f", "-K" };
	char option[64], uuid[DISKS_GUID_LEN], sector[32];
	size_t n = 4;

	disks_uuid_print(t->uuid, uuid);
	(void)snprintf(option, sizeof(option), "uuid=%s", uuid);
	(void)snprintf(sector, sizeof(sector), "size=%llu", (unsigned long long)t->sector);
	argv[n++] = "-m";
	argv[n++] = option;
	if (!t->node) { /* a device tells itself */
		argv[n++] = "-s";
		argv[n++] = sector;
	}
	if (*t->label) {
		argv[n++] = "-L";
		argv[n++] = t->label;
	}
	return run_mkfs(t, argv, n, 64 * KIB, e);
}

static bool has_subvolumes(const struct disks_target *t)
{
	return t->mkfs && t->mkfs->subvolumes.n;
}

/* With subvolumes it is pending until all of them are there. */
static int make_btrfs(const struct disks_target *t, struct rouse_err *e)
{
	const char *argv[MAX_ARGS] = { "mkfs.btrfs", "-q", "-f", "-K", "-U" };
	char uuid[DISKS_GUID_LEN];
	size_t n = 5;

	disks_uuid_print(t->uuid, uuid);
	argv[n++] = uuid;
	if (has_subvolumes(t) || *t->label) {
		argv[n++] = "-L";
		argv[n++] = has_subvolumes(t) ? DISKS_PENDING_LABEL : t->label;
	}
	if (run_mkfs(t, argv, n, 68 * KIB, e) < 0) /* its superblock is at 64 KiB */
		return -1;
	return has_subvolumes(t) ? disks_make_subvolumes(t, e) : 0;
}

/* ---- xfs: the ioctls of xfs_fs.h, which no header of the kernel brings ------------------------- */

struct xfs_geometry { /* struct xfs_fsop_geom_v1 */
	uint32_t block, rt_extent, ag_blocks, ag_count, log_blocks, sector, inode, imaxpct;
	uint64_t blocks, rt_blocks, rt_extents, log_start;
	uint8_t uuid[16];
	uint32_t unit, width, version, flags, log_sector, rt_sector, dir_block;
	uint32_t pad;
};
_Static_assert(sizeof(struct xfs_geometry) == 112, "XFS_IOC_FSGEOMETRY_V1 has 112 bytes");
struct xfs_growfs { /* struct xfs_growfs_data */
	uint64_t blocks;
	uint32_t imaxpct;
	uint32_t pad;
};
#define XFS_GEOMETRY _IOR('X', 100, struct xfs_geometry)
#define XFS_GROWFS _IOW('X', 110, struct xfs_growfs)

static uint64_t mounted_size_of_xfs(int fd)
{
	struct xfs_geometry g = { 0 };

	return ioctl(fd, XFS_GEOMETRY, &g) == 0 && g.block && g.blocks <= INT64_MAX / g.block
		       ? g.blocks * g.block
		       : 0;
}

static int grow_xfs(int fd, uint64_t size, struct rouse_err *e)
{
	struct xfs_geometry g = { 0 };
	struct xfs_growfs grow = { 0 };

	if (ioctl(fd, XFS_GEOMETRY, &g) < 0 || !g.block)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot read the geometry of xfs");
	grow.blocks = size / g.block;
	grow.imaxpct = g.imaxpct; /* 0 would change it */
	if (ioctl(fd, XFS_GROWFS, &grow) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot grow xfs to %llu blocks",
				  (unsigned long long)grow.blocks);
	return 0;
}

static uint64_t big(const uint8_t *p)
{
	uint64_t n;

	memcpy(&n, p, sizeof(n));
	return be64toh(n);
}

static uint64_t little(const uint8_t *p)
{
	uint64_t n;

	memcpy(&n, p, sizeof(n));
	return le64toh(n);
}

/* struct xfs_dsb: sb_blocksize at 4, sb_dblocks at 8, sb_fdblocks at 144. Inodes have no bound. */
static bool usage_of_xfs(int fd, uint64_t offset, struct disks_content *ret)
{
	uint8_t sb[512];
	uint64_t block;

	if (pread(fd, sb, sizeof(sb), (off_t)offset) != (ssize_t)sizeof(sb) ||
	    memcmp(sb, "XFSB", 4) != 0)
		return false;
	block = big(sb + 4) >> 32;
	if (block < 512 || block > 64 * KIB || big(sb + 8) > INT64_MAX / block ||
	    big(sb + 144) > big(sb + 8))
		return false;
	ret->size = (int64_t)(big(sb + 8) * block);
	ret->free = (int64_t)(big(sb + 144) * block);
	return true;
}

/* The log has 64 MiB, or more where there is plenty; trees of each group take a little. */
static void room_of_xfs(uint64_t size, uint64_t *bytes, uint64_t *inodes)
{
	uint64_t log = size / 2048 > 64 * MIB ? size / 2048 : 64 * MIB, taken = log + size / 50;

	*bytes = size > taken ? size - taken : 0;
	*inodes = 0;
}

static const char *const xfs_modules[] = { "xfs", NULL };

const struct disks_filesystem disks_xfs = {
	.name = "xfs",
	.modules = xfs_modules,
	.program = "mkfs.xfs",
	.min = 300 * MIB, /* what mkfs.xfs demands */
	.max_label = 12,
	.options = true,
	.late = true,
	.room = room_of_xfs,
	.print_uuid = disks_uuid_print,
	.make = make_xfs,
	.usage = usage_of_xfs,
	.mounted_size = mounted_size_of_xfs,
	.grow = grow_xfs,
};

/* ---- btrfs ----------------------------------------------------------------------------------- */

static int grow_btrfs(int fd, uint64_t size unused_arg, struct rouse_err *e)
{
	struct btrfs_ioctl_vol_args args = { .name = "max" };

	if (ioctl(fd, BTRFS_IOC_RESIZE, &args) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot grow btrfs");
	return 0;
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

/* Metadata is written twice. */
static void room_of_btrfs(uint64_t size, uint64_t *bytes, uint64_t *inodes)
{
	uint64_t taken = size / 20 + 64 * MIB;

	*bytes = size > taken ? size - taken : 0;
	*inodes = 0;
}

static const char *const btrfs_modules[] = { "btrfs", NULL };

const struct disks_filesystem disks_btrfs = {
	.name = "btrfs",
	.modules = btrfs_modules,
	.program = "mkfs.btrfs",
	.min = 128 * MIB, /* mkfs.btrfs demands 109 */
	.max_label = 255,
	.options = true,
	.subvolumes = true,
	.late = true,
	.room = room_of_btrfs,
	.print_uuid = disks_uuid_print,
	.make = make_btrfs,
	.usage = usage_of_btrfs,
	.grow = grow_btrfs,
};
