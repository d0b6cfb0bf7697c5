/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xfs by its mkfs, which writes the superblock that says "finished" without a flush before it: on a device,
 * that may be there when the rest is not. So it is made with the pending label, and gets its own when all of it
 * is on the disk. The superblock is struct xfs_dsb of fs/xfs/libxfs/xfs_format.h, all of it big-endian but the
 * checksum, which is little-endian.
 */
#include "write.h"

#include <endian.h>
#include <ext2fs/ext2fs.h> /* for its CRC32C */
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define SB_BLOCKSIZE 4
#define SB_DBLOCKS 8
#define SB_AGBLOCKS 84
#define SB_AGCOUNT 88
#define SB_VERSION 100
#define SB_SECTOR 102
#define SB_LABEL 108
#define SB_FDBLOCKS 144
#define SB_CHECKSUM 224
#define LABEL 12
#define MAX_SECTOR (32 * KIB)

static uint64_t big(const uint8_t *p)
{
	uint64_t n;

	memcpy(&n, p, sizeof(n));
	return be64toh(n);
}

static uint64_t big4(const uint8_t *p)
{
	return big(p) >> 32;
}

static uint64_t big2(const uint8_t *p)
{
	return big(p) >> 48;
}

/* ---- the label ----------------------------------------------------------------------------------- */

/* In one of the superblocks: every allocation group has one. */
static int label_group(int fd, uint64_t at, uint8_t *sb, size_t sector,
		       const struct disks_target *t, struct rouse_err *e)
{
	uint32_t sum;

	if (pread(fd, sb, sector, (off_t)at) != (ssize_t)sector || memcmp(sb, "XFSB", 4) != 0)
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "mkfs.xfs has left no superblock at byte %llu of %s",
				  (unsigned long long)at, t->what);
	memset(sb + SB_LABEL, 0, LABEL);
	memcpy(sb + SB_LABEL, t->label, strnlen(t->label, LABEL));
	if ((big2(sb + SB_VERSION) & 0xf) == 5) {
		memset(sb + SB_CHECKSUM, 0, sizeof(sum));
		sum = htole32(~ext2fs_crc32c_le(~0u, sb, sector));
		memcpy(sb + SB_CHECKSUM, &sum, sizeof(sum));
	}
	return disks_pwrite(fd, sb, sector, at, t->what, e);
}

/* The first one last: it tells that there is nothing more to do. */
static int set_label(int fd, const struct disks_target *t, struct rouse_err *e)
{
	auto_free uint8_t *sb = rouse_calloc(1, MAX_SECTOR);
	uint64_t group, n;
	size_t sector;

	if (pread(fd, sb, 512, 0) != 512)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot read '%s'", t->node);
	group = big4(sb + SB_AGBLOCKS) * big4(sb + SB_BLOCKSIZE);
	n = big4(sb + SB_AGCOUNT);
	sector = big2(sb + SB_SECTOR);
	if (memcmp(sb, "XFSB", 4) != 0 || sector < 512 || sector > MAX_SECTOR || !group ||
	    n > t->size / group + 1)
		return rouse_fail(e, ROUSE_SYSTEM, 0, "mkfs.xfs has left no xfs on %s", t->what);
	while (n > 1)
		if (label_group(fd, --n * group, sb, sector, t, e) < 0)
			return -1;
	if (disks_sync(fd, t->what, e) < 0)
		return -1;
	return label_group(fd, 0, sb, sector, t, e);
}

/* Devices are not discarded: a large one takes minutes, and a cloud's volume is blank. */
static int make_xfs(const struct disks_target *t, struct rouse_err *e)
{
	const char *argv[DISKS_MKFS_ARGS] = { "mkfs.xfs", "-q", "-f", "-K" };
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
	if (t->node || *t->label) {
		argv[n++] = "-L";
		argv[n++] = t->node ? DISKS_PENDING_LABEL : t->label;
	}
	return disks_run_mkfs_pending(t, argv, n, 64 * KIB, set_label, e);
}

/* ---- the ioctls of xfs_fs.h, which no header of the kernel brings -------------------------------- */

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

/* Inodes have no bound. */
static bool usage_of_xfs(int fd, uint64_t offset, struct disks_content *ret)
{
	uint8_t sb[512];
	uint64_t block;

	if (pread(fd, sb, sizeof(sb), (off_t)offset) != (ssize_t)sizeof(sb) ||
	    memcmp(sb, "XFSB", 4) != 0)
		return false;
	block = big4(sb + SB_BLOCKSIZE);
	if (block < 512 || block > 64 * KIB || big(sb + SB_DBLOCKS) > INT64_MAX / block ||
	    big(sb + SB_FDBLOCKS) > big(sb + SB_DBLOCKS))
		return false;
	ret->size = (int64_t)(big(sb + SB_DBLOCKS) * block);
	ret->free = (int64_t)(big(sb + SB_FDBLOCKS) * block);
	return true;
}

/* The log has 64 MiB, or more where there is plenty; trees of each group take a little. */
static void room_of_xfs(uint64_t size, uint64_t *bytes, uint64_t *inodes)
{
	uint64_t log = size / 2048 > 64 * MIB ? size / 2048 : 64 * MIB, taken = log + size / 50;

	*bytes = size > taken ? size - taken : 0;
	*inodes = 0;
}

static const struct disks_mkfs_options xfs_options = {
	.letters = "b:d:i:l:m:n:s:",
	.denied = "file name logdev uuid",
};

static const char *const xfs_modules[] = { "xfs", NULL };

const struct disks_filesystem disks_xfs = {
	.name = "xfs",
	.modules = xfs_modules,
	.program = "mkfs.xfs",
	.min = 300 * MIB, /* what mkfs.xfs demands */
	.max_label = 12,
	.options = &xfs_options,
	.late = true,
	.checker = "xfs_repair",
	.room = room_of_xfs,
	.print_uuid = disks_uuid_print,
	.make = make_xfs,
	.usage = usage_of_xfs,
	.mounted_size = mounted_size_of_xfs,
	.grow = grow_xfs,
};
