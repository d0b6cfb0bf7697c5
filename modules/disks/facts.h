/* SPDX-License-Identifier: Apache-2.0 */
/* What the module `disks` knows of a machine: observed, or recorded elsewhere. Sizes and places are bytes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rouse/mountunits.h>
#include <rouse/schema.h>

struct disks_signature {
	const char *type, *label, *uuid;
	bool torn;    /* what makes it was cut off before it was done */
	bool damaged; /* its checksum is wrong */
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
