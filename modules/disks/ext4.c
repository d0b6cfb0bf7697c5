/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ext4 by libext2fs, in process: no mke2fs.conf that a distribution patched, no partition node
 * needed. The primary superblock is the last block that is written (ext2fs_close), so the
 * filesystem is there complete, or there is only our pending mark.
 */
#include "write.h"

#include <et/com_err.h>
#include <ext2fs/ext2fs.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

#define BLOCK 4096u
#define INODE 256u
#define INODE_RATIO 16384u /* bytes per inode, the default of mke2fs */
#define RESERVED 5u        /* percent for root, ditto */
#define RESIZE_FS _IOW('f', 16, uint64_t)

AUTO_DEFINE(ext2_filsys, filsys, ext2fs_free, NULL)

static int failed(struct rouse_err *e, const struct disks_target *t, const char *what,
		  errcode_t code)
{
	initialize_ext2_error_table();
	return rouse_fail(e, ROUSE_SYSTEM, 0, "cannot make ext4 on %s: %s: %s", t->what, what,
			  error_message(code));
}

static void fill_params(const struct disks_target *t, struct ext2_super_block *p)
{
	const int64_t *reserved = t->mkfs ? t->mkfs->reserved.items : NULL;
	uint64_t blocks = t->size / BLOCK, ratio = INODE_RATIO, share = RESERVED, inodes;

	if (t->mkfs && t->mkfs->inode_ratio.bytes)
		ratio = t->mkfs->inode_ratio.bytes;
	if (t->mkfs && t->mkfs->reserved.n)
		share = (uint64_t)reserved[0];
	inodes = t->size / ratio > 64 ? t->size / ratio : 64;
	p->s_rev_level = EXT2_DYNAMIC_REV;
	p->s_log_block_size = 2;
	p->s_log_cluster_size = 2;
	p->s_inode_size = INODE;
	ext2fs_blocks_count_set(p, blocks);
	ext2fs_r_blocks_count_set(p, blocks * share / 100);
	p->s_inodes_count = (__u32)(inodes < UINT32_MAX ? inodes : UINT32_MAX);
	p->s_log_groups_per_flex = 4;
	p->s_desc_size = 64; /* with 64BIT: it may grow beyond 16 TiB */
	p->s_min_extra_isize = 32;
	p->s_want_extra_isize = 32;
	p->s_default_mount_opts = EXT2_DEFM_XATTR_USER | EXT2_DEFM_ACL;
	p->s_feature_compat = EXT3_FEATURE_COMPAT_HAS_JOURNAL | EXT2_FEATURE_COMPAT_RESIZE_INODE |
			      EXT2_FEATURE_COMPAT_DIR_INDEX | EXT2_FEATURE_COMPAT_EXT_ATTR;
	/* metadata_csum_seed and orphan_file are left out: GRUB before 2.12 and Linux before 5.15
	 * do not read them. */
	p->s_feature_incompat = EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS |
				EXT4_FEATURE_INCOMPAT_64BIT | EXT4_FEATURE_INCOMPAT_FLEX_BG;
	p->s_feature_ro_compat = EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER |
				 EXT2_FEATURE_RO_COMPAT_LARGE_FILE |
				 EXT4_FEATURE_RO_COMPAT_HUGE_FILE |
				 EXT4_FEATURE_RO_COMPAT_DIR_NLINK |
				 EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE |
				 EXT4_FEATURE_RO_COMPAT_METADATA_CSUM;
}

/* libext2fs takes the descriptor as text, and closes it in the end: it gets one of its own. */
static int begin(const struct disks_target *t, ext2_filsys *ret, struct rouse_err *e)
{
	struct ext2_super_block p = { 0 };
	auto_of(filsys) ext2_filsys fs = NULL;
	char name[16], offset[40];
	auto_fd int fd = fcntl(t->fd, F_DUPFD_CLOEXEC, 3);
	errcode_t r;

	if (fd < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open %s again", t->what);
	fill_params(t, &p);
	(void)snprintf(name, sizeof(name), "%d", fd);
	r = ext2fs_initialize(name, EXT2_FLAG_64BITS, &p, unixfd_io_manager, &fs);
	if (r)
		return failed(e, t, "initialize", r);
	(void)take(fd, -1); /* it is the io channel's now */
	(void)snprintf(offset, sizeof(offset), "offset=%llu", (unsigned long long)t->offset);
	r = io_channel_set_options(fs->io, offset);
	if (r)
		return failed(e, t, "seek", r);
	*ret = take(fs, NULL);
	return 0;
}

/* The identity; everything in it follows from the UUID, so that images are reproducible. */
static void fill_super(const struct disks_target *t, ext2_filsys fs)
{
	struct ext2_super_block *s = fs->super;

	memcpy(s->s_uuid, t->uuid, sizeof(s->s_uuid));
	ext2fs_init_csum_seed(fs); /* only now: it is made from the UUID */
	s->s_def_hash_version = EXT2_HASH_HALF_MD4;
	for (size_t i = 0; i < sizeof(s->s_hash_seed); i++)
		((uint8_t *)s->s_hash_seed)[i] = (uint8_t)(t->uuid[i % 16] ^ 0x5a);
	s->s_max_mnt_count = -1;
	s->s_checkinterval = 0;
	s->s_checksum_type = EXT2_CRC32C_CHKSUM;
	s->s_kbytes_written = 1;
	s->s_errors = EXT2_ERRORS_DEFAULT;
	memset(s->s_volume_name, 0, sizeof(s->s_volume_name));
	memcpy(s->s_volume_name, t->label, strnlen(t->label, sizeof(s->s_volume_name)));
}

int disks_ext4_as_made(const struct disks_target *t, void *ret, struct rouse_err *e)
{
	auto_of(filsys) ext2_filsys fs = NULL;

	if (begin(t, &fs, e) < 0)
		return -1;
	fill_super(t, fs);
#ifdef WORDS_BIGENDIAN
	ext2fs_swap_super(fs->super);
#endif
	memcpy(ret, fs->super, SUPERBLOCK_SIZE);
	return 0;
}

/* Only the used part of the inode tables is zeroed; the checksums tell the kernel which part that
 * is, and it zeroes the rest in the background. */
static errcode_t write_inode_tables(ext2_filsys fs)
{
	for (dgrp_t g = 0; g < fs->group_desc_count; g++) {
		uint64_t used = (uint64_t)(fs->super->s_inodes_per_group -
					   ext2fs_bg_itable_unused(fs, g)) *
				INODE;
		int n = (int)((used + BLOCK - 1) / BLOCK);
		errcode_t r = n ? ext2fs_zero_blocks2(fs, ext2fs_inode_table_loc(fs, g), n, NULL,
						      NULL)
				: 0;

		if (r)
			return r;
		ext2fs_group_desc_csum_set(fs, g);
	}
	return ext2fs_zero_blocks2(NULL, 0, 0, NULL, NULL); /* frees its buffer */
}

static errcode_t make_lost_found(ext2_filsys fs)
{
	ext2_ino_t ino = 0;
	errcode_t r;

	fs->umask = 077;
	r = ext2fs_mkdir(fs, EXT2_ROOT_INO, 0, "lost+found");
	if (!r)
		r = ext2fs_lookup(fs, EXT2_ROOT_INO, "lost+found", 10, NULL, &ino);
	for (int i = 0; !r && i < 3; i++)
		r = ext2fs_expand_dir(fs, ino); /* 16 KiB, so that fsck need not allocate */
	return r;
}

static errcode_t reserve_inodes(ext2_filsys fs)
{
	ext2fs_inode_alloc_stats2(fs, EXT2_BAD_INO, +1, 0);
	for (ext2_ino_t i = EXT2_ROOT_INO + 1; i < EXT2_FIRST_INODE(fs->super); i++)
		ext2fs_inode_alloc_stats2(fs, i, +1, 0);
	ext2fs_mark_ib_dirty(fs);
	return ext2fs_update_bb_inode(fs, NULL);
}

static errcode_t make_journal(ext2_filsys fs)
{
	struct ext2fs_journal_params jp = { 0 };
	errcode_t r = ext2fs_get_journal_params(&jp, fs);

	return r ? r : ext2fs_add_journal_inode3(fs, &jp, ~0ULL, EXT2_MKJOURNAL_LAZYINIT);
}

/* What is metadata from the start, as the kernel would compute it at mount: df subtracts it. */
static void set_overhead(ext2_filsys fs)
{
	uint64_t overhead = fs->super->s_first_data_block;

	for (dgrp_t g = 0; g < fs->group_desc_count; g++) {
		blk_t used = 0;

		(void)ext2fs_super_and_bgd_loc2(fs, g, NULL, NULL, NULL, &used);
		overhead += used + fs->inode_blocks_per_group + 2;
	}
	fs->super->s_overhead_clusters = (__u32)(overhead < UINT32_MAX ? overhead : 0);
}

static const struct {
	const char *name;
	errcode_t (*run)(ext2_filsys fs);
} stages[] = {
	{ "allocate tables", ext2fs_allocate_tables },
	{ "write inode tables", write_inode_tables },
	{ "make the root directory", NULL },
	{ "make lost+found", make_lost_found },
	{ "reserve inodes", reserve_inodes },
	{ "make the resize inode", ext2fs_create_resize_inode },
	{ "make the journal", make_journal },
};

static errcode_t make_root(ext2_filsys fs)
{
	return ext2fs_mkdir(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, 0);
}

static int make_ext4(const struct disks_target *t, struct rouse_err *e)
{
	auto_of(filsys) ext2_filsys fs = NULL;
	errcode_t r;

	if (begin(t, &fs, e) < 0)
		return -1;
	fill_super(t, fs);
	for (size_t i = 0; i < ARRAY_SIZE(stages); i++) {
		r = stages[i].run ? stages[i].run(fs) : make_root(fs);
		if (r)
			return failed(e, t, stages[i].name, r);
	}
	set_overhead(fs);
	/* The data of the whole filesystem first, then the superblock that makes it one. */
	r = io_channel_flush(fs->io);
	if (!r)
		r = ext2fs_close_free(&fs);
	if (r)
		return failed(e, t, "write", r);
	return disks_sync(t->fd, t->what, e);
}

/* Rounded down: inode tables, bitmaps, descriptors with room to grow, journal, reserve. */
static void room_of_ext4(uint64_t size, uint64_t *bytes, uint64_t *inodes)
{
	uint64_t n = size / INODE_RATIO, groups = size / (128 * MIB) + 1, blocks = size / BLOCK;
	uint64_t journal = (uint64_t)ext2fs_default_journal_size(blocks < INT64_MAX ? blocks : 0) *
			   BLOCK;
	uint64_t taken = n * INODE + groups * 2 * BLOCK + size / 100 * (RESERVED + 1) + journal +
			 4 * MIB;

	*bytes = size > taken ? size - taken : 0;
	*inodes = n > 16 ? n - 16 : 0;
}

static bool usage_of_ext4(int fd, uint64_t offset, struct disks_content *ret)
{
	struct ext2_super_block s;
	uint64_t block, free_blocks;

	if (pread(fd, &s, sizeof(s), (off_t)(offset + SUPERBLOCK_OFFSET)) != (ssize_t)sizeof(s))
		return false;
#ifdef WORDS_BIGENDIAN
	ext2fs_swap_super(&s);
#endif
	if (s.s_magic != EXT2_SUPER_MAGIC || s.s_log_block_size > 6)
		return false;
	block = UINT64_C(1024) << s.s_log_block_size;
	if (ext2fs_blocks_count(&s) > INT64_MAX / block)
		return false;
	free_blocks = ext2fs_free_blocks_count(&s);
	free_blocks = free_blocks > ext2fs_r_blocks_count(&s)
			      ? free_blocks - ext2fs_r_blocks_count(&s)
			      : 0;
	ret->size = (int64_t)(ext2fs_blocks_count(&s) * block);
	ret->free = free_blocks < ext2fs_blocks_count(&s) ? (int64_t)(free_blocks * block) : 0;
	ret->inodes = s.s_free_inodes_count;
	return true;
}

/* The kernel grows it, mounted: new groups, backup superblocks and all. Asking for the size that it
 * has is no error, so that this can be repeated. */
static int grow_ext4(int fd, uint64_t size, struct rouse_err *e)
{
	struct statfs v;
	uint64_t blocks;

	if (fstatfs(fd, &v) < 0 || v.f_bsize <= 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot stat the filesystem");
	blocks = size / (uint64_t)v.f_bsize;
	if (ioctl(fd, RESIZE_FS, &blocks) < 0)
		return rouse_fail(
			e, ROUSE_SYSTEM, errno, "cannot grow ext4 to %llu blocks%s",
			(unsigned long long)blocks,
			errno == EPERM
				? " (it takes CAP_SYS_RESOURCE and a filesystem without errors)"
				: "");
	return 0;
}

static const char *const modules[] = { "ext4", NULL };

const struct disks_filesystem disks_ext4 = {
	.name = "ext4",
	.modules = modules,
	.min = 16 * MIB, /* below that a journal hardly fits */
	.max_label = 16,
	.tunable = true,
	.check = true,
	.checker = "e2fsck -f",
	.damaged = disks_ext4_damaged,
	.reseal = disks_reseal_ext4,
	.room = room_of_ext4,
	.print_uuid = disks_uuid_print,
	.make = make_ext4,
	.usage = usage_of_ext4,
	.grow = grow_ext4,
};
