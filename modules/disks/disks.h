/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The module `disks`, inside. The document's section (conf), what the machine has (facts), what a
 * step carries (action), and the tables of filesystems and partition types.
 *
 *   conf.c device.c types.c names.c  tables of the section
 *   rules.c check.c places.c  checks of it
 *   facts.c         table of the facts
 *   match.c         which disk a name means (pure)
 *   layout.c shares.c entries.c  where partitions go (pure)
 *   plan.c judge.c partitions.c raid.c uses.c  steps and refusals (pure)
 *   groups.c volumes.c extents.c  … of volume groups (pure)
 *   observe.c inspect.c content.c gpt.c nvme.c  read the machine
 *   apply.c table.c mount.c node.c and one file for each filesystem  write it
 *   md.c lvm.c crypt.c  do both for arrays, volumes and encryption
 *   fallback.c unlock.c  find a root when there is no document
 *
 * Lengths and places are bytes everywhere; only table.c and gpt.c know sectors.
 */
#pragma once

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include <rouse/err.h>
#include <rouse/limits.h>
#include <rouse/mem.h>
#include <rouse/module.h>
#include <rouse/mountunits.h>
#include <rouse/schema.h>

/* Partitions begin and end on whole MiB: every device's stripe and erase block divides it. */
#define DISKS_GRAIN MIB
/* A filesystem grows when its partition is larger by this much: the kernel leaves a tail unused
 * that is too short for the inode table of one more group, and a plan must come to an end. */
#define DISKS_GROW_MIN (16 * MIB)
#define DISKS_GUID_LEN 37 /* text with its NUL */
/* Label of the pending mark; see content.c. */
#define DISKS_PENDING_LABEL "rouse-pending"

/* ---- the document ---------------------------------------------------------------------------- */

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

extern const struct rouse_field disks_conf_fields[];
extern const size_t disks_n_conf_fields;
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
void disks_check_image(const struct disks_disk *d, const struct disks_partition *p,
		       const char *const *at, struct rouse_problems *problems);
void disks_check_pools(const struct disks_conf *conf, struct rouse_problems *problems);
const char *disks_seed(const struct disks_conf *conf);
/* … of one disk: numbers, starts, shares (places.c). */
void disks_places_check(const struct disks_disk *d, struct rouse_problems *problems);
static inline bool disks_is_mount_point(const char *key)
{
	return key[0] == '/';
}

/* ---- the facts ------------------------------------------------------------------------------- */

struct disks_signature {
	const char *type, *label, *uuid;
	bool torn; /* its mkfs was cut off before it was done */
};

/* What lies in a range: a whole disk, a partition, or free space. */
struct disks_content {
	struct rouse_list signatures; /* struct disks_signature: every one, each type once */
	bool zero;                    /* first and last MiB hold only zeros */
	int64_t size, free, inodes;   /* of the filesystem, where known */
	struct rouse_list mounts;     /* const char *: where it is mounted */
	bool read_only;               /* … so */
	bool swapped;                 /* the kernel swaps to it */
	const char *busy;             /* why it must not be written, NULL when nothing uses it */
};

struct disks_entry {
	int64_t number;
	const char *guid, *type, *label, *device; /* GUIDs in lower case */
	const char *attributes;                   /* "0x8000000000000000"; NULL: none */
	bool unseen; /* the kernel does not have it, or with another size */
	int64_t start, size;
	const struct disks_content *content;
};

/* Free space in which this document would make a partition. */
struct disks_range {
	int64_t start, size;
	const struct disks_content *content;
};

enum disks_class {
	DISKS_BLANK,
	DISKS_OPAQUE, /* no signature, but not zero: plain dm-crypt, Ceph, Oracle… */
	DISKS_GPT,
	DISKS_GPT_GROWN,   /* the backup is not at the end of the disk */
	DISKS_GPT_REPAIR,  /* one of the two headers is lost: the other one tells */
	DISKS_GPT_DAMAGED, /* more is wrong than that */
	DISKS_OTHER_TABLE,
	DISKS_SIGNED,    /* a filesystem, a volume… directly on the disk */
	DISKS_AMBIGUOUS, /* signatures that contradict each other */
	DISKS_CLASSES_
};
extern const char *const disks_class_words[]; /* NULL-ended, in the order of the enum */

struct disks_fact {
	const char *device, *bound; /* bound: the document's name, by --disk */
	bool file, root, boots, removable, read_only, config_drive, hybrid;
	int64_t size, sector, first, end; /* first, end: of the space that partitions may use */
	const char *serial, *wwn, *model;
	const char *ebs, *volume, *gce; /* names that EC2 and GCE give to it, and its EBS volume */
	const char *pci, *vmbus;        /* "0000:00:1f.0"; GUID of the Hyper-V controller */
	int64_t lun, nsid;
	struct rouse_list names; /* const char *: other paths of it that the document mentions */
	const char *class_word, *guid, *damage;
	const char *unusual; /* why its table is not one to edit, though it is right */
	int64_t entries;     /* for which its table has room; 0: as usual */
	int64_t diskseq;
	struct rouse_list partitions; /* struct disks_entry */
	const struct disks_content *content;
	struct rouse_list pending; /* struct disks_range */
	const char *fingerprint;   /* of all that a plan is built on */
};

struct disks_physical {
	const char *device;
	int64_t start, extents; /* bytes before the first extent; how many there are */
	int64_t allocated;      /* … of which volumes have so many */
};

struct disks_volume {
	const char *name, *layout;
	int64_t size;
	bool active;
	struct rouse_list tags;              /* const char * */
	const struct disks_content *content; /* NULL: nobody can tell while it is not active */
};

struct disks_group {
	const char *name, *uuid;
	int64_t extent, missing;
	struct rouse_list tags;     /* const char * */
	struct rouse_list physical; /* struct disks_physical */
	struct rouse_list volumes;  /* struct disks_volume */
};

struct disks_array_member {
	const char *device;
	int64_t offset; /* bytes before its data */
};

/* An array that the kernel knows. */
struct disks_array {
	const char *device, *uuid, *level;
	int64_t devices, degraded;
	int64_t size, component; /* bytes, of all of it and of each member */
	bool active;
	struct rouse_list members;           /* struct disks_array_member */
	const struct disks_content *content; /* NULL while it is not active */
};

/* A device that the kernel makes of another one, by its key or its root hash. */
struct disks_mapping {
	const char *device, *name, *uuid;
	int64_t size;
	const struct disks_content *content;
};

struct disks_fstab {                   /* of an image that lives by it */
	struct rouse_list own, others; /* const char *: lines; mount points */
	bool systemd;                  /* … which makes units of it */
};

struct disks_facts {
	const struct disks_fstab *fstab;      /* NULL: not ours to keep */
	const struct rouse_units_fact *units; /* of a systemd without one; NULL: there is none */
	struct rouse_list mappings;           /* struct disks_mapping */
	struct rouse_list disks;              /* struct disks_fact */
	struct rouse_list arrays;             /* struct disks_array */
	struct rouse_list groups;             /* struct disks_group */
	struct rouse_list orphans; /* const char *: devices of physical volumes in no group */
	struct rouse_list missing; /* const char *: programs that are not there */
	bool can_mount;            /* as root, with a kernel that mounts what is in an image */
};

/* The module's own table has to know its length. */
#define DISKS_N_FACTS 9
extern const struct rouse_field disks_facts_fields[];
extern const struct rouse_shape disks_fact_shape;
enum disks_class disks_class_of(const struct disks_fact *f);

/* ---- tables ---------------------------------------------------------------------------------- */

struct disks_target; /* where a filesystem is made; below */

struct disks_filesystem {
	const char *name;
	const char *const *modules;      /* of the kernel, for mounting; NULL-terminated */
	const char *const *more_modules; /* … and when that fails; or NULL */
	const char *program;             /* that make() runs; NULL: none */
	uint64_t min;                    /* bytes below which it cannot be made */
	size_t max_label;                /* bytes */
	bool check;                      /* by fsck(8), before it is mounted */
	bool swap;                       /* used by swapon(2), never mounted */
	bool options;                    /* its program takes those of the document */
	bool tunable;                    /* it has a share for root, and a number of inodes */
	bool subvolumes;
	/* Its program works on the node of a device, so the partition is published first, with the
	 * pending mark in it. */
	bool late;
	/* Room in a fresh one of that many bytes, a little less than there will be; no inodes: it
	 * makes them as they are needed. */
	void (*room)(uint64_t size, uint64_t *bytes, uint64_t *inodes);
	/* The UUID as blkid prints it that make() will give to it. */
	void (*print_uuid)(const uint8_t uuid[static 16], char ret[static DISKS_GUID_LEN]);
	int (*make)(const struct disks_target *t, struct rouse_err *e);
	/* Size, free bytes and inodes from the superblock at `offset` of fd; false when unknown. */
	bool (*usage)(int fd, uint64_t offset, struct disks_content *ret);
	/* … of one that is mounted, with its root at fd, where the superblock on the disk lags behind
	 * what the kernel has; 0: unknown. May be NULL. */
	uint64_t (*mounted_size)(int fd);
	/* Mounted, with its root at fd. NULL: it never grows, or only so: */
	int (*grow)(int fd, uint64_t size, struct rouse_err *e);
	/* Not mounted, on all of this node, which it fills then. */
	int (*grow_offline)(const char *node, uint64_t deadline, struct rouse_err *e);
};
const struct disks_filesystem *disks_filesystem_find(const char *name); /* NULL: unknown */
extern const char *const disks_filesystem_words[];
extern const struct disks_filesystem disks_ext4, disks_vfat, disks_xfs, disks_btrfs, disks_f2fs,
	disks_swap;

/* By word or GUID; NULL: unknown. As the document has it, so GUIDs may be of either case. */
const char *disks_type_guid(const char *word);
const char *disks_type_word(const char *guid); /* … and back; the GUID itself where there is none */
bool disks_is_type(const char *s);
bool disks_is_guid(const char *s); /* but not the zero one */
bool disks_same_guid(const char *a, const char *b);
bool disks_is_attribute(const char *s);
uint64_t disks_attributes(const struct disks_partition *p); /* bits */

/* ---- identity: HMAC-SHA256(seed, "disk/name/kind"), shaped as a version 4 UUID ---------------- */

void disks_uuid(const char *seed, const char *disk, const char *name, const char *kind,
		uint8_t ret[static 16]);
bool disks_parse_uuid(const char *s, uint8_t ret[static 16]); /* with or without dashes */
void disks_uuid_print(const uint8_t uuid[static 16], char ret[static DISKS_GUID_LEN]);
void disks_guid(const char *seed, const char *disk, const char *name, const char *kind,
		char ret[static DISKS_GUID_LEN]);
/* The unique GUID that a partition gets: the document's, or the derived one. */
void disks_guid_of(const struct disks_conf *conf, const struct disks_disk *d,
		   const struct disks_partition *p, char ret[static DISKS_GUID_LEN]);
/* What a partition is called: its label, or what its mount point suggests. */
const char *disks_partition_label(const struct disks_partition *p, char *buf, size_t size);
const char *disks_partition_type(const struct disks_partition *p); /* a word */
size_t disks_utf16_units(const char *s);

/* ---- layout ---------------------------------------------------------------------------------- */

struct disks_slot {
	const struct disks_partition *conf;
	const struct disks_entry *entry; /* NULL: to be made */
	unsigned number;
	uint64_t start, size;             /* as they will be */
	bool retype, rename, reattribute; /* of an entry that is there */
};

struct disks_layout {
	size_t n, n_matched;
	struct disks_slot *slots; /* in the order of the document; in the arena */
};

/* Places the partitions of `d` on `f`. `fresh` disregards the table that is there. `root` is where
 * mount points of this document are reached now. */
must_check int disks_layout(const struct disks_conf *conf, const struct disks_disk *d,
			    const struct disks_fact *f, bool fresh, const char *root,
			    struct rouse_arena *arena, struct disks_layout *ret,
			    struct rouse_err *e);
/* Does the table on it bear the GUID that we derive for this name? */
bool disks_is_ours(const struct disks_conf *conf, const struct disks_disk *d,
		   const struct disks_fact *f);
/* The end of usable space on a disk of this size with a GPT of 128 entries. */
uint64_t disks_usable_end(uint64_t size, uint64_t sector);
const struct disks_content *disks_pending_at(const struct disks_fact *f, uint64_t start);
/* Is it mounted where `mount` is reached below `root`? */
bool disks_mounted_at(const struct disks_content *c, const char *root, const char *mount);

/* ---- which disks ------------------------------------------------------------------------------ */

/* The table of `device`, whose length a table that holds it has to know. */
#define DISKS_N_DEVICE_FIELDS 13
extern const struct rouse_field disks_device_fields[];
bool disks_is_pci_address(const char *s);
void disks_device_check(const struct disks_disk *d, struct rouse_problems *problems);
bool disks_same_device(const struct disks_device *a, const struct disks_device *b);
/* What a matcher is called, and whether it selects: what it means may change when disks come and go,
 * so what bears our identity wins, and what holds the root or has another name is no candidate. */
struct disks_matcher {
	const char *name;
	bool selects;
	bool (*is)(const struct disks_fact *f, const struct disks_device *d);
};
const struct disks_matcher *disks_matcher_of(const struct disks_device *d);
bool disks_has_size(const struct disks_fact *f, const struct disks_span *span);
/* Several disks make what this section describes. */
bool disks_takes_several(const struct disks_disk *d);

/* What a name of the document means. */
struct disks_found {
	const struct disks_fact *f; /* the first one; NULL: it is missing, and may be */
	size_t n;
	const struct disks_fact *const *all; /* in the arena, in an order that stays */
	bool missing;
	bool open; /* one more disk would make a difference: the root was found by elimination… */
};

/* ret[i] belongs to disk i of the conf. In an image only bound ones count. ROUSE_UNAVAILABLE when a
 * device is not there (yet); then all of ret is filled in as far as it is known. */
must_check int disks_match(const struct disks_conf *conf, const struct disks_facts *facts,
			   const struct rouse_context *c, struct rouse_arena *arena,
			   struct disks_found *ret, struct rouse_err *e);
/* Does anything on it (a table, a filesystem, a half-made one) bear the identity of this name? */
bool disks_bears_identity(const struct disks_conf *conf, const struct disks_disk *d,
			  const struct disks_fact *f);
/* "a GPT with 2 partitions (…)", "ext4 'data'"…: what is on a disk, for messages. */
const char *disks_describe(const struct disks_fact *f, struct rouse_arena *arena);
const char *disks_describe_content(const struct disks_content *c, struct rouse_arena *arena);
/* Text from a disk with all that is not plain printable replaced, in the arena. */
const char *disks_printable(const char *s, struct rouse_arena *arena);
/* Where a mount point is reached below the context's root. */
const char *disks_below(const char *root, const char *mount, char *buf, size_t size);
/* "/dev/vda2", "/dev/nvme0n1p2", "/dev/loop0p2". */
const char *disks_node(const char *device, unsigned number, char *buf, size_t size);

/* ---- reading --------------------------------------------------------------------------------- */

/* Every signature in a range of fd, and whether its ends are zero, as JSON of disks_content. */
must_check int disks_content_read(int fd, uint64_t offset, uint64_t size, uint64_t sector,
				  json_t **ret, struct rouse_err *e);
/* The partitions of a table of any kind that libblkid knows, as JSON of disks_entry. */
must_check int disks_table_list(int fd, uint64_t size, uint64_t sector, json_t **ret,
				struct rouse_err *e);
/* The GPT on fd. Adds "guid", "end", "damage", "partitions" to the disk's facts and says the class:
 * DISKS_BLANK when there is no trace of a GPT. `ours`, NULL-ended: GUIDs of tables that rouse
 * makes, which tell which of two contradicting headers counts. */
must_check int disks_gpt_read(int fd, uint64_t size, uint64_t sector, const char *const *ours,
			      json_t *disk, enum disks_class *ret, struct rouse_err *e);
/* Facts of one disk, without what depends on the document. `sector`: of an image in which no table
 * tells; 0: 512. */
must_check int disks_inspect(int fd, const char *path, const char *const *ours, uint64_t sector,
			     json_t **ret, struct rouse_err *e);
/* Is it what the facts say: the same signatures, or zeros? */
bool disks_content_is(const json_t *content, const struct disks_content *c);
int disks_observe(const void *conf, const struct rouse_context *c, json_t *facts,
		  struct rouse_err *e);
/* GUIDs of the tables that this document makes, NULL-ended, in the arena. */
const char *const *disks_our_guids(const struct disks_conf *conf, struct rouse_arena *arena);
/* What an NVMe namespace says of itself: "nsid", and in clouds "ebs", "volume", "gce". */
void disks_nvme_read(int fd, const char *model, json_t *disk);
/* The same of the two identify pages, of 4096 bytes each; `controller` may be NULL. */
void disks_nvme_parse(const uint8_t *controller, const uint8_t *namespace, const char *model,
		      json_t *disk);
/* Adds "mounts", "readOnly", "busy" and free space of a mounted device to its content. */
void disks_usage_of(const char *sys_name, json_t *content);
/* The whole disks that hold `path` (through partitions, dm, md, btrfs and overlays), in root.c;
 * count, at most max. */
size_t disks_holding(const char *path, char (*ret)[64], size_t max);
/* Sets "boots" on the disk of which "root=" or else the boot loader speaks. */
void disks_mark_boots(json_t *disks);

/* ---- writing --------------------------------------------------------------------------------- */

enum disks_op {
	DISKS_OP_CLAIM, /* an empty table of ours over what the document gives up */
	DISKS_OP_MAKE,  /* a filesystem */
	DISKS_OP_TABLE, /* the partition table, and the kernel's view of it */
	DISKS_OP_SHOW,  /* the kernel's view alone */
	DISKS_OP_MOUNT,
	DISKS_OP_GROW, /* a filesystem */
	DISKS_OP_SWAP, /* use it */
	DISKS_OP_ERASE,
	DISKS_OP_ACTIVATE,
	DISKS_OP_GROUP,    /* make it, or with `extends` give it more physical volumes */
	DISKS_OP_PHYSICAL, /* grow one */
	DISKS_OP_VOLUME,   /* make one, or with `extends` grow it */
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
	DISKS_OP_IMAGE,
	DISKS_OP_FINISH_IMAGE, /* … whose partition is published now */
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
const char *disks_luks_name(const struct disks_partition *p, char *buf, size_t size);
void disks_check_luks(const struct disks_conf *conf, struct rouse_problems *problems);
/* Adds "mappings". */
void disks_crypt_observe(json_t *facts);
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

/* The version of its superblock. */
const char *disks_array_metadata(const struct disks_disk *d);
/* Where the array `name` is found when it runs. */
#define DISKS_ARRAY_DIR "/dev/md/"
#define DISKS_ANY_LEVEL UINT_MAX /* ASSEMBLE: the members know */
/* Adds "arrays": what runs, or waits for more of its members. */
void disks_md_observe(const struct rouse_context *c, json_t *facts);
must_check int disks_md_apply(unsigned op, const struct disks_action *a,
			      const struct rouse_context *c, struct rouse_err *e);
/* Opens what fills a node of its own, and waits for it; t->fd is the caller's. */
must_check int disks_open_node(const char *node, uint64_t deadline, struct disks_target *t,
			       struct rouse_err *e);
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
/* The filesystem of an action on all of a->source. */
must_check int disks_make_on_node(const struct disks_action *a, uint64_t deadline,
				  struct rouse_err *e);

/* The tag of a volume whose filesystem is not finished, and of groups that rouse made. */
#define DISKS_PENDING_TAG "rouse.pending"
#define DISKS_GROUP_TAG "rouse.group"
#define DISKS_EXTENT (4 * MIB)
/* What a mount point or a name becomes as a volume. */
const char *disks_volume_name(const char *key, char *buf, size_t size);
/* Adds "groups" and "orphans" as far as disks in the facts hold physical volumes. */
void disks_lvm_observe(const struct rouse_context *c, json_t *facts);
must_check int disks_lvm_apply(unsigned op, const struct disks_action *a,
			       const struct rouse_context *c, struct rouse_err *e);
/* The UUID that the pending mark of what gets this UUID has. */
void disks_pending_guid(const uint8_t uuid[static 16], char ret[static DISKS_GUID_LEN]);
/* The pending mark says: what is here is ours, and unfinished. Written and synced first. */
must_check int disks_mark_pending(const struct disks_target *t, struct rouse_err *e);
/* Erases all signatures of the range but the pending mark, and zeroes its ends. Without a UUID the
 * range is a whole disk with a GPT, which stays. */
must_check int disks_erase(const struct disks_target *t, struct rouse_err *e);
must_check int disks_pwrite(int fd, const void *data, size_t n, uint64_t offset, const char *what,
			    struct rouse_err *e);
must_check int disks_zero(int fd, uint64_t offset, uint64_t n, const char *what,
			  struct rouse_err *e);
/* Copies what is data in [from, to) of a sparse memory file; its holes have never been written. */
must_check int disks_copy_data(const struct disks_target *t, int fd, uint64_t from, uint64_t to,
			       struct rouse_err *e);
/* … and what is before `head`, the sector with the pending mark after all others are synced. */
must_check int disks_copy_head(const struct disks_target *t, int fd, uint64_t head,
			       struct rouse_err *e);
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

/* Adds "fstab" or "units": where the mounts are kept for systemd, or for a boot without the agent. */
void disks_fstab_observe(const struct rouse_context *c, json_t *facts);
must_check int disks_fstab_apply(const struct disks_action *a, const struct rouse_context *c,
				 struct rouse_err *e);
must_check int disks_units_apply(const struct disks_action *a, const struct rouse_context *c,
				 struct rouse_err *e);
void disks_draw(const void *conf, const void *facts, const struct rouse_context *c,
		struct rouse_plan *plan);
int disks_plan(const void *conf, const void *facts, const struct rouse_context *c,
	       struct rouse_plan *plan, struct rouse_err *e);
int disks_prepare(const void *conf, const struct rouse_plan *plan, const struct rouse_context *c,
		  void **state, struct rouse_err *e);
int disks_apply(const struct rouse_step *step, const struct rouse_context *c, void *state,
		struct rouse_err *e);
void disks_state_free(void *state);

extern const struct rouse_module rouse_module_disks;
