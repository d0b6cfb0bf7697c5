/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The superblock of ext4 has two sectors, and a checksum over both in the second one. When the power
 * goes while the kernel writes it, at each mount, one sector may be new and the other one old: the
 * kernel refuses such a filesystem before it looks at the journal.
 *
 * Each of the two sectors is as the kernel wrote it. All that changes while a filesystem is in use, and
 * counts (whether there is a journal to replay, which inodes are to be deleted, what is free), is in the
 * first one, and a backup has none of it. So the sectors stay what they are, and get a checksum, once
 * all that never changes is confirmed: by a backup that has the right checksum, or on a filesystem of
 * one group, which has no backup, by what make_ext4() would write there.
 */
#include "write.h"

#include <et/com_err.h>
#include <ext2fs/ext2fs.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define SECTOR 512
#define CHECKSUM offsetof(struct ext2_super_block, s_checksum)
#define FIELD(name)                                                                                \
	{                                                                                          \
		offsetof(struct ext2_super_block, name),                                           \
			sizeof(((struct ext2_super_block *)0)->name)                               \
	}

AUTO_DEFINE(ext2_filsys, filsys, ext2fs_free, NULL)

struct field {
	size_t at, n;
};

/* What the kernel writes into the primary superblock alone. */
static const struct field moving[] = {
	FIELD(s_free_blocks_count),
	FIELD(s_free_blocks_hi),
	FIELD(s_free_inodes_count),
	FIELD(s_mtime),
	FIELD(s_mtime_hi),
	FIELD(s_wtime),
	FIELD(s_wtime_hi),
	FIELD(s_mnt_count),
	FIELD(s_state),
	FIELD(s_lastcheck),
	FIELD(s_lastcheck_hi),
	FIELD(s_block_group_nr),
	FIELD(s_last_mounted),
	FIELD(s_last_orphan),
	FIELD(s_flags),
	FIELD(s_kbytes_written),
	{ offsetof(struct ext2_super_block, s_error_count),
	  offsetof(struct ext2_super_block, s_mount_opts) -
		  offsetof(struct ext2_super_block, s_error_count) },
	FIELD(s_first_error_time_hi),
	FIELD(s_last_error_time_hi),
	FIELD(s_first_error_errcode),
	FIELD(s_last_error_errcode),
	FIELD(s_overhead_clusters),
	FIELD(s_encrypt_pw_salt),
	FIELD(s_checksum),
};

/* … and before the backups when it grows. */
static const struct field growing[] = {
	FIELD(s_inodes_count),   FIELD(s_blocks_count),      FIELD(s_blocks_count_hi),
	FIELD(s_r_blocks_count), FIELD(s_r_blocks_count_hi),
};

/* What making it in memory leaves out. */
static const struct field late[] = {
	FIELD(s_journal_inum), FIELD(s_jnl_backup_type), FIELD(s_jnl_blocks),
	FIELD(s_mkfs_time),    FIELD(s_mkfs_time_hi),
};

static void blank(struct ext2_super_block *s, const struct field *f, size_t n)
{
	for (size_t i = 0; i < n; i++)
		memset((uint8_t *)s + f[i].at, 0, f[i].n);
}

uint32_t disks_crc32c(const void *data, size_t n)
{
	return ext2fs_crc32c_le(~0u, data, n);
}

/* All in the order of the disk. */
static uint32_t checksum_of(const struct ext2_super_block *s)
{
	return ext2fs_cpu_to_le32(disks_crc32c(s, CHECKSUM));
}

static bool has_checksum(const struct ext2_super_block *s)
{
	return (s->s_feature_ro_compat &
		ext2fs_cpu_to_le32(EXT4_FEATURE_RO_COMPAT_METADATA_CSUM)) &&
	       s->s_checksum_type == EXT2_CRC32C_CHKSUM;
}

static uint64_t blocks_of(const struct ext2_super_block *s)
{
	return ext2fs_le32_to_cpu(s->s_blocks_count) |
	       (uint64_t)ext2fs_le32_to_cpu(s->s_blocks_count_hi) << 32;
}

static uint64_t groups_of(const struct ext2_super_block *s)
{
	uint64_t first = ext2fs_le32_to_cpu(s->s_first_data_block), all = blocks_of(s);
	uint32_t each = ext2fs_le32_to_cpu(s->s_blocks_per_group);

	return each && all > first ? (all - first + each - 1) / each : 0;
}

static bool read_super(const struct disks_target *t, uint64_t at, struct ext2_super_block *ret)
{
	return at + sizeof(*ret) <= t->size &&
	       pread(t->fd, ret, sizeof(*ret), (off_t)(t->offset + at)) == (ssize_t)sizeof(*ret);
}

/* ---- confirmed by another superblock ---------------------------------------------------------- */

static bool is_same(const struct ext2_super_block *a, const struct ext2_super_block *b,
		    const struct field *but, size_t n)
{
	struct ext2_super_block x = *a, y = *b;

	blank(&x, moving, ARRAY_SIZE(moving));
	blank(&y, moving, ARRAY_SIZE(moving));
	blank(&x, but, n);
	blank(&y, but, n);
	x.s_feature_incompat &= ext2fs_cpu_to_le32(~(uint32_t)EXT3_FEATURE_INCOMPAT_RECOVER);
	y.s_feature_incompat &= ext2fs_cpu_to_le32(~(uint32_t)EXT3_FEATURE_INCOMPAT_RECOVER);
	return memcmp(&x, &y, sizeof(x)) == 0;
}

static bool may_have_grown(const struct disks_target *t, const struct ext2_super_block *s,
			   const struct ext2_super_block *backup)
{
	uint64_t block = UINT64_C(1024) << ext2fs_le32_to_cpu(backup->s_log_block_size);

	return blocks_of(s) >= blocks_of(backup) && blocks_of(s) <= t->size / block &&
	       ext2fs_le32_to_cpu(s->s_inodes_count) ==
		       groups_of(s) * ext2fs_le32_to_cpu(s->s_inodes_per_group);
}

/* Where it is, the primary one says: is there one, it was right. */
static bool read_backup(const struct disks_target *t, const struct ext2_super_block *s,
			struct ext2_super_block *ret)
{
	static const uint8_t groups[] = { 1, 3, 5, 7, 9, 25, 27, 49 };
	uint32_t shift = ext2fs_le32_to_cpu(s->s_log_block_size);

	for (size_t i = 0; shift <= 6 && i < ARRAY_SIZE(groups); i++) {
		uint64_t block = (uint64_t)groups[i] * ext2fs_le32_to_cpu(s->s_blocks_per_group) +
				 ext2fs_le32_to_cpu(s->s_first_data_block);

		if (read_super(t, block << (10 + shift), ret) &&
		    ret->s_magic == ext2fs_cpu_to_le16(EXT2_SUPER_MAGIC) &&
		    ret->s_log_block_size == s->s_log_block_size && has_checksum(ret) &&
		    ret->s_checksum == checksum_of(ret) &&
		    memcmp(ret->s_uuid, t->uuid, sizeof(ret->s_uuid)) == 0)
			return true;
	}
	return false;
}

/* *s becomes what may be written, but for its checksum. When its second sector is not of this
 * filesystem, it gets the one of the other superblock. */
static const char *confirm(const struct disks_target *t, struct ext2_super_block *s)
{
	struct ext2_super_block other;
	struct rouse_err e;
	bool single = groups_of(s) == 1;
	const struct field *but = single ? late : growing;
	size_t n = single ? ARRAY_SIZE(late) : ARRAY_SIZE(growing);

	if (single && disks_ext4_as_made(t, &other, &e) < 0)
		return "it has no backup, and nothing to compare it with";
	if (!single && !read_backup(t, s, &other))
		return "no backup of it is whole";
	if (!is_same(s, &other, but, n))
		memcpy((uint8_t *)s + SECTOR, (uint8_t *)&other + SECTOR, sizeof(*s) - SECTOR);
	if (!is_same(s, &other, but, n) || !(single || may_have_grown(t, s, &other)))
		return single ? "it has no backup, and is not as rouse makes it there"
			      : "it differs from its backup";
	return NULL;
}

/* ---- the journal ------------------------------------------------------------------------------ */

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static errcode_t open_journal(const struct disks_target *t, ext2_filsys *ret, uint64_t *block)
{
	auto_of(filsys) ext2_filsys fs = NULL;
	auto_fd int fd = fcntl(t->fd, F_DUPFD_CLOEXEC, 3);
	char name[16], offset[40];
	blk64_t at = 0;
	errcode_t r;

	if (fd < 0)
		return EMFILE; /* it fails for nothing else */
	(void)snprintf(name, sizeof(name), "%d", fd);
	(void)snprintf(offset, sizeof(offset), "offset=%llu", (unsigned long long)t->offset);
	r = ext2fs_open2(name, offset, EXT2_FLAG_64BITS | EXT2_FLAG_IGNORE_CSUM_ERRORS, 0, 0,
			 unixfd_io_manager, &fs);
	if (r)
		return r;
	(void)take(fd, -1); /* it is the io channel's now */
	r = fs->super->s_journal_inum
		    ? ext2fs_bmap2(fs, fs->super->s_journal_inum, NULL, NULL, 0, 0, NULL, &at)
		    : EXT2_ET_NO_JOURNAL;
	if (!r && !at)
		r = EXT2_ET_NO_JOURNAL;
	*block = at;
	if (!r)
		*ret = take(fs, NULL);
	return r;
}

/* Without the flag, the kernel throws away what the journal has; so what it has counts, as for e2fsck. */
static errcode_t note_journal(const struct disks_target *t, struct ext2_super_block *s)
{
	const uint32_t recover = ext2fs_cpu_to_le32(EXT3_FEATURE_INCOMPAT_RECOVER);
	auto_of(filsys) ext2_filsys fs = NULL;
	auto_free uint8_t *buf = NULL;
	uint64_t block = 0;
	errcode_t r;

	if ((s->s_feature_incompat & recover) ||
	    !(s->s_feature_compat & ext2fs_cpu_to_le32(EXT3_FEATURE_COMPAT_HAS_JOURNAL)))
		return 0;
	r = open_journal(t, &fs, &block);
	if (r)
		return r;
	buf = rouse_calloc(1, fs->blocksize);
	r = io_channel_read_blk64(fs->io, block, 1, buf);
	if (!r && be32(buf) != 0xc03b3998)
		r = EXT2_ET_CORRUPT_JOURNAL_SB;
	if (!r && be32(buf + 28) != 0) /* s_start */
		s->s_feature_incompat |= recover;
	return r;
}

/* ---- the primary superblock ------------------------------------------------------------------- */

bool disks_ext4_damaged(int fd, uint64_t offset)
{
	struct ext2_super_block s;

	return pread(fd, &s, sizeof(s), (off_t)(offset + SUPERBLOCK_OFFSET)) ==
		       (ssize_t)sizeof(s) &&
	       has_checksum(&s) && s.s_checksum != checksum_of(&s);
}

/* Without a backup, e2fsck does not open it either; debugfs does, and writes it with a checksum. */
static int refuse(const struct disks_target *t, const struct ext2_super_block *s, const char *why,
		  struct rouse_err *e)
{
	return rouse_fail(
		e, ROUSE_SYSTEM, 0,
		"cannot restore the superblock of ext4 on '%s', which has a wrong checksum: "
		"%s: run %s'e2fsck -f' on it",
		t->what, why, groups_of(s) == 1 ? "'debugfs -wn -R dirty' and then " : "");
}

int disks_reseal_ext4(const struct disks_target *t, struct rouse_err *e)
{
	struct ext2_super_block s;
	const char *why;
	errcode_t r;

	if (!read_super(t, SUPERBLOCK_OFFSET, &s))
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot read the superblock of '%s'",
				  t->what);
	if (s.s_magic != ext2fs_cpu_to_le16(EXT2_SUPER_MAGIC) || !has_checksum(&s) ||
	    memcmp(s.s_uuid, t->uuid, sizeof(s.s_uuid)) != 0)
		return refuse(t, &s, "it is not of the filesystem that rouse made", e);
	if (s.s_checksum == checksum_of(&s))
		return 0;
	why = confirm(t, &s);
	if (why)
		return refuse(t, &s, why, e);
	r = note_journal(t, &s);
	if (r) {
		initialize_ext2_error_table();
		return refuse(t, &s, error_message(r), e);
	}
	s.s_checksum = checksum_of(&s);
	if (disks_pwrite(t->fd, &s, sizeof(s), t->offset + SUPERBLOCK_OFFSET, t->what, e) < 0)
		return -1;
	return disks_sync(t->fd, t->what, e);
}
