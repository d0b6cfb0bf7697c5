/* SPDX-License-Identifier: Apache-2.0 */
/* The document's section of the module `disks`, and what checks it. Sizes are bytes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/limits.h>
#include <rouse/schema.h>

/* Partitions begin and end on whole MiB: every device's stripe and erase block divides it. */
#define DISKS_GRAIN MIB
/* A filesystem grows when its partition is larger by this much: the kernel leaves a tail unused
 * that is too short for the inode table of one more group, and a plan must come to an end. */
#define DISKS_GROW_MIN (16 * MIB)
#define DISKS_GUID_LEN 37 /* text with its NUL */
/* Label of the pending mark; see content.c. */
#define DISKS_PENDING_LABEL "rouse-undone"

struct disks_filesystem;

struct disks_span { /* of bytes; 0: unbounded. `about` is a size within one percent */
	struct rouse_size about, min, max;
};

struct disks_device {
	const char *path; /* "root", or a path */
	const char *serial, *wwn, *model, *label, *ebs, *gce, *pci, *kind, *largest;
	struct rouse_list lun; /* int64_t: one at most; a list, for 0 is one */
	/* What narrows a matcher that may mean several disks. */
	const struct disks_span *size;
	int64_t count; /* 0: one, or as many as there are where the section takes several */
};

struct disks_raid {
	int64_t level;        /* 0, 1, 5, 6, 10 */
	const char *metadata; /* NULL: "1.2", or "1.0" where firmware or a boot loader reads it */
	struct rouse_size chunk;
};

/* Where a key is; one of them. */
struct disks_key {
	const char *file, *url, *text, *base64;
};

struct disks_tpm2 {
	struct rouse_list pcrs; /* int64_t; empty: 7 */
};

struct disks_luks {
	const char *name; /* below /dev/mapper; NULL: that of a volume for the same mount point */
	const struct disks_key *key;
	const struct disks_key *escrow; /* file or url: a key is made and kept there */
	const struct disks_tpm2 *tpm2;
	bool discard;
};

struct disks_image {
	const char *url, *sha256, *type; /* type: as what it is mounted; NULL: not */
};

struct disks_verity {
	const char *hash, *root_hash; /* hash: key of the partition with the tree */
};

/* How a filesystem is made. */
struct disks_mkfs {
	const char *uuid;
	struct rouse_list reserved; /* int64_t: percent, one at most; a list, for 0 is one */
	struct rouse_size inode_ratio;
	struct rouse_list options;    /* const char *: arguments of its program */
	struct rouse_list subvolumes; /* struct rouse_pair: mount point or name, and its path */
};

/* A volume that is spread over several physical volumes. */
struct disks_spread {
	int64_t level, devices; /* 0 (stripes), 1, 5, 6, 10; 0: as many as there are, or two */
};

struct disks_lvm {
	const char *group;
	struct rouse_list volumes; /* struct disks_partition: a volume has no type and no lvm */
};

struct disks_partition {
	const char *key; /* where it is mounted, or a plain name */
	struct rouse_size size;
	const char *filesystem, *label, *type, *guid; /* type: a word or a GUID */
	struct rouse_size min, max, start; /* min, max: of what takes a share of the rest */
	int64_t number, weight;            /* 0: the next one; 1 */
	struct rouse_list attributes;      /* const char *: words, or numbers of bits */
	const struct disks_lvm *lvm;       /* it is a physical volume */
	const char *raid;                  /* it is a member of this array */
	const struct disks_luks *luks;     /* what it holds is encrypted */
	const struct disks_mkfs *mkfs;     /* how what is there is made; NULL: as usual */
	const struct disks_image *image;   /* … or it is written from there */
	const struct disks_verity *verity; /* it is read through dm-verity */
	const struct disks_spread *spread; /* of a volume */
	bool pool;                         /* … which is a pool for thin ones */
	const char *thin;                  /* … which is in this pool */
	struct rouse_list mount_options;   /* const char * */
};

struct disks_disk {
	const char *key;
	const struct disks_device *device; /* NULL: an array over the partitions that name it */
	const struct disks_raid *raid;     /* an array over all disks that match */
	struct rouse_list partitions;      /* struct disks_partition */
	const char *filesystem, *mount, *label;
	const struct disks_lvm *lvm;
	const struct disks_luks *luks;
	const struct disks_mkfs *mkfs;
	struct rouse_list mount_options; /* const char * */
	struct rouse_list replace;       /* const char *: "ext4", "ntfs:Label", "anything" */
	const char *missing;             /* "fail", "skip"; NULL: fail */
	uint64_t wait;                   /* ms; 0: as long as such a disk may take */
	int64_t sector_size;             /* of an image; 0: 512, or what its table says */
	const char *hybrid;              /* "keep", "refuse"; NULL: refuse */
};

struct disks_conf {
	const char *seed;
	struct rouse_list disks; /* struct disks_disk */
};

extern const struct rouse_field disks_conf_fields[2];
void disks_conf_check(const void *conf, struct rouse_problems *problems);
/* Where in the document a check is: `at`, then two names. Returns where the key of what is in there
 * goes, and the name of a member of that; both are NULL. */
#define DISKS_MAX_AT 14
const char **disks_at(const char *deep[static DISKS_MAX_AT], const char *const *at, const char *a,
		      const char *b);
void disks_check_arrays(const struct disks_conf *conf, struct rouse_problems *problems);
void disks_check_spread(const struct disks_partition *v, const char *const *at,
			struct rouse_problems *problems);
void disks_check_mkfs(const struct disks_partition *p, const char *const *at,
		      struct rouse_problems *problems);
/* … of arguments for its program (options.c). */
void disks_check_options(const struct disks_mkfs *m, const struct disks_filesystem *fs,
			 const char *const *at, struct rouse_problems *problems);
void disks_check_image(const struct disks_disk *d, const struct disks_partition *p,
		       const char *const *at, struct rouse_problems *problems);
void disks_check_pools(const struct disks_conf *conf, struct rouse_problems *problems);
void disks_check_luks(const struct disks_conf *conf, struct rouse_problems *problems);
const char *disks_seed(const struct disks_conf *conf);
/* … of one disk: numbers, starts, shares (places.c). */
void disks_places_check(const struct disks_disk *d, struct rouse_problems *problems);
static inline bool disks_is_mount_point(const char *key)
{
	return key[0] == '/';
}
