/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The module `disks`, inside: the tables of filesystems and partition types, which disk a name means,
 * and what is read from disks. conf.h has the document's section, facts.h what the machine has, write.h
 * what a step carries and who does it.
 *
 *   conf.c device.c types.c names.c  tables of the section
 *   rules.c check.c options.c places.c  checks of it
 *   facts.c         table of the facts
 *   match.c         which disk a name means (pure)
 *   layout.c shares.c entries.c  where partitions go (pure)
 *   plan.c judge.c partitions.c raid.c uses.c  steps and refusals (pure)
 *   groups.c volumes.c extents.c  … of volume groups (pure)
 *   observe.c inspect.c content.c gpt.c nvme.c  read the machine
 *   apply.c table.c mount.c node.c and one file for each filesystem  write it
 *   reseal.c        makes a superblock of ext4 whole that was cut off
 *   md.c lvm.c crypt.c  do both for arrays, volumes and encryption
 *   fallback.c unlock.c  find a root when there is no document
 *
 * Lengths and places are bytes everywhere; only table.c and gpt.c know sectors.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include <rouse/err.h>
#include <rouse/mem.h>
#include <rouse/module.h>

#include "conf.h"
#include "facts.h"

/* ---- tables ---------------------------------------------------------------------------------- */

struct disks_target; /* where a filesystem is made; below */

/* Arguments that a document may add, and no others: what names a device, a file or another identity would
 * be written to, or believed, without being planned. */
struct disks_mkfs_options {
	const char *letters; /* as for getopt(3) */
	const char *words;   /* "data: mixed": with "--" before them; NULL: none */
	const char *
		denied; /* keys in lists of "key=value" that are not taken, as words; NULL: all are */
};

struct disks_filesystem {
	const char *name;
	const char *const *modules;      /* of the kernel, for mounting; NULL-terminated */
	const char *const *more_modules; /* … and when that fails; or NULL */
	const char *program;             /* that make() runs; NULL: none */
	uint64_t min;                    /* bytes below which it cannot be made */
	size_t max_label;                /* bytes */
	bool check;                      /* by fsck(8), before it is mounted */
	bool swap;                       /* used by swapon(2), never mounted */
	const struct disks_mkfs_options
		*options; /* that a document may give to its program; or NULL */
	bool tunable;     /* it has a share for root, and a number of inodes */
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
	/* Has the superblock at `offset` of fd another checksum than it says? NULL: the prober knows. */
	bool (*damaged)(int fd, uint64_t offset);
	/* What a person runs on one that is damaged. NULL: nothing. */
	const char *checker;
	/* Its superblock bears our UUID and a wrong checksum: makes it whole, where that is safe. May be NULL. */
	int (*reseal)(const struct disks_target *t, struct rouse_err *e);
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
/* Of a LUKS volume, below DISKS_MAPPER_DIR. */
const char *disks_luks_name(const struct disks_partition *p, char *buf, size_t size);
/* The version of the superblock of an array. */
const char *disks_array_metadata(const struct disks_disk *d);
/* What a mount point or a name becomes as a volume. */
const char *disks_volume_name(const char *key, char *buf, size_t size);
/* The UUID that the pending mark of what gets this UUID has. */
void disks_pending_guid(const uint8_t uuid[static 16], char ret[static DISKS_GUID_LEN]);

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
/* Adds "mappings". */
void disks_crypt_observe(json_t *facts);
/* Adds "arrays": what runs, or waits for more of its members. */
void disks_md_observe(const struct rouse_context *c, json_t *facts);
/* Adds "groups" and "orphans" as far as disks in the facts hold physical volumes. */
void disks_lvm_observe(const struct rouse_context *c, json_t *facts);
/* Adds "fstab" and "units": where the mounts are kept for systemd, or for a boot without the agent. */
void disks_fstab_observe(const struct rouse_context *c, json_t *facts);
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

/* ---- the module ------------------------------------------------------------------------------ */

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
