/* SPDX-License-Identifier: Apache-2.0 */
/* What writes disks, or makes the kernel show what is on them: the steps, and who does each. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include <rouse/err.h>
#include <rouse/mem.h>
#include <rouse/module.h>

#include "disks.h"

enum disks_op {
	/* Through a session on the disk (session.c): */
	DISKS_OP_CLAIM, /* an empty table of ours over what the document gives up */
	DISKS_OP_MAKE,  /* a filesystem */
	DISKS_OP_TABLE, /* the partition table, and the kernel's view of it */
	DISKS_OP_SHOW,  /* the kernel's view alone */
	DISKS_OP_ERASE,
	DISKS_OP_IMAGE,
	DISKS_OP_FINISH_IMAGE, /* … whose partition is published now */

	/* On what has a node of its own: */
	DISKS_OP_MOUNT,
	DISKS_OP_RESEAL, /* a superblock that was cut off gets its checksum */
	DISKS_OP_GROW,   /* a filesystem */
	DISKS_OP_SWAP,   /* use it */
	DISKS_OP_ACTIVATE,
	DISKS_OP_GROUP,    /* make it, or with `extends` give it more physical volumes */
	DISKS_OP_PHYSICAL, /* grow one */
	DISKS_OP_FINISH_PHYSICAL,
	DISKS_OP_VOLUME, /* make one, or with `extends` grow it */
	DISKS_OP_MAKE_VOLUME,
	DISKS_OP_FINISH, /* a volume is no longer pending */
	DISKS_OP_FSTAB,
	DISKS_OP_UNITS,
	DISKS_OP_SKIP, /* a disk that may be missing */
	DISKS_OP_ASSEMBLE,
	DISKS_OP_ARRAY,      /* make one */
	DISKS_OP_ADD,        /* a device to an array that lacks one */
	DISKS_OP_GROW_ARRAY, /* its members have become larger */
	DISKS_OP_FINISH_ARRAY,
	DISKS_OP_ENCRYPT, /* make a LUKS volume, and open it */
	DISKS_OP_OPEN,
	DISKS_OP_GROW_LUKS,
	DISKS_OP_VERITY,
};

/* Where a filesystem is made: `size` bytes at `offset` of fd. */
struct disks_target {
	int fd;
	uint64_t offset, size, sector;
	uint64_t head; /* of a disk with a table: where its first partition begins */
	const uint8_t *uuid;
	const char *label;
	const char *what;              /* for messages */
	const char *node;              /* of a device that is all of it; NULL: work through fd */
	const struct disks_mkfs *mkfs; /* NULL: as usual */
	uint64_t deadline;
};

/* A range that gets the pending mark before the table publishes it. */
struct disks_mark {
	uint64_t start, size;
	uint8_t uuid[16];
};

/* One partition of a table that is written. */
struct disks_row {
	unsigned number;
	uint64_t start, size, old_size; /* old_size 0: new */
	const char *guid, *type, *label, *attributes;
	bool edits; /* type, label and attributes change, too */
};

struct disks_action {
	const char *device; /* the disk */
	const char *fingerprint;
	const struct rouse_list
		*pending; /* struct disks_range: what the plan found in free space */
	bool file;
	bool last; /* the last step that writes this disk: let go of it */
	uint64_t size, sector;
	const char *guid; /* of the table */
	const char *const *ours;
	bool create; /* TABLE: from nothing, else changed in place */
	/* A blank disk gets an empty table of ours before anything else: whatever is cut off then, the
	 * next run knows whose it is. */
	const struct disks_action *begin;
	bool hybrid; /* … and the MBR is kept in step */
	size_t n_rows, n_shown;
	const struct disks_row *rows;
	const struct disks_row *shown; /* what the kernel is to have then */
	size_t n_marks;
	struct disks_mark *marks; /* TABLE */
	unsigned number;          /* MAKE, GROW: of the partition; 0: the whole disk */
	bool published;           /* MAKE: the partition exists already */
	uint64_t start, length;
	const struct disks_filesystem *fs;
	uint8_t uuid[16];
	const char *label;
	const struct disks_mkfs *mkfs;
	const struct disks_image *image;
	bool finishes; /* IMAGE: nothing follows, its first blocks are written as well */
	const char *root_hash;
	const char *source, *mount, *type, *options; /* MOUNT, GROW */
	const char *group, *volume;                  /* "system"; "system/root" */
	bool extends;
	uint64_t extents;           /* VOLUME; 0: all that is free */
	const char *const *devices; /* of the group, NULL-ended */
	size_t n_new;               /* … of which the last ones are new */
	const uint8_t (*marks_of_new)[16];
	const char *name, *array_uuid, *metadata; /* ARRAY, ASSEMBLE */
	unsigned level;
	uint64_t offset, chunk;
	bool degraded; /* ASSEMBLE: start it without all of its devices */
	bool holds; /* ARRAY, ENCRYPT: something is made in it, so it gets the pending mark (uuid) */
	const struct disks_luks *luks; /* ENCRYPT, OPEN, GROW_LUKS */
	const char *luks_uuid;
	bool fresh;                           /* ENCRYPT: what a new volume holds is nobody's */
	const char *const *arguments;         /* VOLUME: for lvcreate, NULL-ended; may be NULL */
	const char *pool;                     /* VOLUME: a thin one of `extents` in there */
	const struct rouse_units_fact *there; /* UNITS: what is there, and what shall be */
	struct rouse_list units;              /* struct rouse_pair */
};

/* ---- encryption ------------------------------------------------------------------------------- */

#define DISKS_MAPPER_DIR "/dev/mapper/"
#define DISKS_LUKS_HEAD (16 * MIB) /* what cryptsetup leaves before the data */
/* The key of a volume, wiped by the caller. With `make`, one that has none yet is made, and stored at
 * its escrow, synced and read again, before this returns. */
must_check int disks_key_get(const struct disks_luks *l, bool make, const struct rouse_context *c,
			     struct rouse_buf *ret, struct rouse_err *e);
void disks_key_wipe(struct rouse_buf *key);
/* The token in a header that says where the file with the key is: { "type", "keyslots", "file" }. */
#define DISKS_KEY_TOKEN "rouse-key"
/* Opens what no document speaks of, by its header: with the TPM, or a file with the key. */
must_check int disks_unlock(const char *node, const char *name, struct rouse_err *e);
void disks_lock(const char *name); /* … when nothing stands on it */
/* `key`: what was fetched before, or NULL. */
must_check int disks_crypt_apply(unsigned op, const struct disks_action *a,
				 const struct rouse_buf *key, const struct rouse_context *c,
				 struct rouse_err *e);

/* ---- arrays ----------------------------------------------------------------------------------- */

/* Where the array `name` is found when it runs. */
#define DISKS_ARRAY_DIR "/dev/md/"
#define DISKS_ANY_LEVEL UINT_MAX /* ASSEMBLE: the members know */
must_check int disks_md_apply(unsigned op, const struct disks_action *a,
			      const struct rouse_context *c, struct rouse_err *e);
/* Opens what fills a node of its own, and waits for it; t->fd is the caller's. */
must_check int disks_open_node(const char *node, uint64_t deadline, struct disks_target *t,
			       struct rouse_err *e);

/* ---- images, filesystems on nodes ------------------------------------------------------------ */

/* The first blocks of an image, which are written last. */
#define DISKS_HEAD (64 * KIB)
struct disks_head {
	size_t n;
	uint8_t bytes[DISKS_HEAD];
};
/* All behind the first blocks, and its digest checked. ROUSE_UNTRUSTED when it is another one. */
must_check int disks_image_fetch(const struct disks_target *t, const struct disks_image *image,
				 const struct rouse_context *c, struct disks_head *head,
				 struct rouse_err *e);
must_check int disks_image_finish(const struct disks_target *t, const struct disks_head *head,
				  struct rouse_err *e);
must_check int disks_verity_open(const struct disks_action *a, const struct rouse_context *c,
				 struct rouse_err *e);
/* On the btrfs at t->node; its label is the last thing that is written. */
must_check int disks_make_subvolumes(const struct disks_target *t, struct rouse_err *e);
/* On the node of an array or a LUKS volume that is new: what will be made in it finds its pending mark, and
 * nothing of what was there before. */
must_check int disks_mark_inside(const struct disks_action *a, const char *node, uint64_t deadline,
				 struct rouse_err *e);
/* The filesystem of an action on all of a->source. */
must_check int disks_make_on_node(const struct disks_action *a, uint64_t deadline,
				  struct rouse_err *e);

/* ---- volumes --------------------------------------------------------------------------------- */

/* The tag of a volume whose filesystem is not finished, and of groups that rouse made. */
#define DISKS_PENDING_TAG "rouse.pending"
#define DISKS_GROUP_TAG "rouse.group"
#define DISKS_EXTENT (4 * MIB)
/* Makes a node blank for lvm but for a mark that says whose unfinished work it is, and takes that away
 * when its group is made. `uuid`: of what is to be there. Refuses what is neither blank nor ours. */
must_check int disks_physical_prepare(const char *node, const uint8_t uuid[static 16],
				      uint64_t deadline, struct rouse_err *e);
must_check int disks_physical_finish(const char *node, struct rouse_err *e);
must_check int disks_lvm_apply(unsigned op, const struct disks_action *a,
			       const struct rouse_context *c, struct rouse_err *e);

/* ---- bytes, tables, mounts ------------------------------------------------------------------- */

/* The pending mark says: what is here is ours, and unfinished. Written and synced first. */
must_check int disks_mark_pending(const struct disks_target *t, struct rouse_err *e);
/* The second mark, `at` bytes into the range, written and synced: where lvm writes nothing, between its
 * label, which is in one of the first four sectors, and its metadata, which begins at 4 KiB; where
 * cryptsetup, which overwrites all of its header with zeros and random bytes before it writes it, has the
 * data, of which the first block is written when the volume is open. */
#define DISKS_MARK_OF_LVM 2048
#define DISKS_MARK_OF_LUKS DISKS_LUKS_HEAD
/* … and that far from the end for a mkfs: none of them writes there, and erasing does. */
#define DISKS_MARK_OF_MKFS MIB
must_check int disks_mark_again(const struct disks_target *t, uint64_t at, struct rouse_err *e);
/* Is it at this byte? Then ret is what disks_pending_guid() makes of the UUID. */
bool disks_marked_again(int fd, uint64_t at, char ret[static DISKS_GUID_LEN]);
/* Erases all signatures of the range but the pending mark, and zeroes its ends. Without a UUID the
 * range is a whole disk with a GPT, which stays. */
must_check int disks_erase(const struct disks_target *t, struct rouse_err *e);
must_check int disks_pwrite(int fd, const void *data, size_t n, uint64_t offset, const char *what,
			    struct rouse_err *e);
must_check int disks_sync(int fd, const char *what, struct rouse_err *e);
must_check int disks_zero(int fd, uint64_t offset, uint64_t n, const char *what,
			  struct rouse_err *e);
/* Copies what is data in [from, to) of a sparse memory file; its holes have never been written. */
must_check int disks_copy_data(const struct disks_target *t, int fd, uint64_t from, uint64_t to,
			       struct rouse_err *e);
/* … and what is before `head`, the sector with the pending mark after all others are synced. */
must_check int disks_copy_head(const struct disks_target *t, int fd, uint64_t head,
			       struct rouse_err *e);
/* Runs argv[0..n), with the document's options behind it, over the node of what is made, or in memory for an image,
 * of which the first `head` bytes are copied last. On a node, nothing is synced. */
#define DISKS_MKFS_ARGS 80
must_check int disks_run_mkfs(const struct disks_target *t, const char **argv, size_t n,
			      uint64_t head, struct rouse_err *e);
/* The same for a program that writes over the pending mark before the rest is on the disk. On a node, argv says
 * DISKS_PENDING_LABEL, the second mark is there until all is synced, and then label() gives it its own. */
must_check int disks_run_mkfs_pending(const struct disks_target *t, const char **argv, size_t n,
				      uint64_t head,
				      int (*label)(int fd, const struct disks_target *t,
						   struct rouse_err *e),
				      struct rouse_err *e);
/* The superblock of ext4, in ext4.c as it would be made (1 KiB), and in reseal.c: one that the power has left half
 * old and half new gets its checksum, when all else in it is confirmed. */
must_check int disks_ext4_as_made(const struct disks_target *t, void *ret, struct rouse_err *e);
/* CRC-32C as ext4 has it: begun with ones, and not inverted in the end. */
uint32_t disks_crc32c(const void *data, size_t n);
bool disks_ext4_damaged(int fd, uint64_t offset);
must_check int disks_reseal_ext4(const struct disks_target *t, struct rouse_err *e);
/* The superblock of what an action names, by its filesystem. */
must_check int disks_reseal(const struct disks_action *a, uint64_t deadline, struct rouse_err *e);
/* Grows a filesystem that nobody has mounted: on a mount that has no place in any tree, for an
 * image through a loop device. */
must_check int disks_grow_detached(const struct disks_action *a, struct rouse_err *e);
/* Writes the table of an action (rows, guid, create), and syncs it. */
must_check int disks_table_write(int fd, const struct disks_action *a, struct rouse_err *e);
/* Makes the kernel see it: BLKPG per partition, checked in sysfs. Nothing for regular files. */
must_check int disks_table_publish(int fd, const struct disks_action *a, struct rouse_err *e);
/* Makes the kernel forget all partitions of the disk. Nothing for regular files. */
must_check int disks_table_forget(int fd, const struct disks_action *a, struct rouse_err *e);
must_check int disks_wait_for_node(const char *node, uint64_t deadline, struct rouse_err *e);
must_check int disks_swap_on(const struct disks_action *a, const struct rouse_context *c,
			     struct rouse_err *e);
must_check int disks_mount(const struct disks_action *a, const struct rouse_context *c,
			   struct rouse_err *e);

must_check int disks_fstab_apply(const struct disks_action *a, const struct rouse_context *c,
				 struct rouse_err *e);
must_check int disks_units_apply(const struct disks_action *a, const struct rouse_context *c,
				 struct rouse_err *e);
