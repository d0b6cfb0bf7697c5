/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of planning share: plan.c (disks, filesystems), judge.c (consent), partitions.c
 * (tables), groups.c, volumes.c and extents.c (LVM), uses.c (mounts and growth). */
#pragma once

#include "write.h"

/* LUKS volumes that something stands on. */
struct opened {
	const char *name, *uuid;
	const struct disks_luks *luks;
	const struct opened *next;
};

/* What is mounted (and grown) when all disks are written. */
struct mount {
	const char *mount, *source, *type, *options, *disk;
	const struct opened *behind;
	const char *uuid;    /* of the filesystem; NULL: not known */
	bool wanted;         /* mount it; else it is mounted, or never is */
	bool kept;           /* it is there already */
	uint64_t from, size; /* of the filesystem, when it shall grow; else 0 */
	uint64_t start;      /* of the partition, for images */
	const char *where;   /* mounted already: here */
	/* Its superblock was cut off, and is made whole before that; NULL: it was not. */
	struct disks_action *reseal;
	bool file, swap;
	bool late; /* systemd mounts it, when somebody needs it */
};

struct place { /* where a filesystem is wanted */
	const struct disks_disk *d;
	const struct disks_fact *f;
	const char *key, *filesystem, *label, *mount; /* mount: NULL when it is not mounted */
	const struct rouse_list *options;
	const char *group; /* on a volume of this group, which is named `volume` */
	const char *volume;
	const char *node;  /* a device of its own (an array); then it has no number, start… */
	const char *title; /* … called so */
	const struct disks_partition *conf; /* what the document wants there */
	const struct disks_lvm *lvm;        /* no filesystem, but a physical volume */
	const char *raid;                   /* …, but a member of this array */
	const struct disks_luks *luks;      /* what is wanted stands there encrypted */
	bool inside;                        /* … and this is it, decrypted */
	const struct opened *behind;        /* what must be open for it to be there */
	bool ours;                          /* what it is in is known for ours by its identity */
	unsigned number;                    /* 0: the whole disk */
	bool published;                     /* the partition is there (a whole disk always is) */
	uint64_t start, size;
	const struct disks_content *content; /* what is there now; NULL: not known, nothing */
};

struct member {
	struct place w;
	const char *node;
	bool kept;
};

struct array {
	const struct disks_disk *d;
	size_t lacks; /* members on disks that are missing, and may be */
	size_t n;
	struct array_member {
		struct place w;
		const char *node, *uuid; /* uuid: of the array that it is in; NULL: of none */
		const char *unfinished;  /* … that was being made of it */
	} members[ROUSE_MAX_ARRAY];
};

/* Where a partition of the document is found. */
struct node {
	const struct disks_disk *d;
	const struct disks_partition *conf;
	const char *key, *node;
	bool complete; /* what is wanted there is there */
};

struct group {
	const char *name;
	bool unknown; /* in an image file: nobody can look into it */
	size_t n_members, n_volumes;
	struct member members[ROUSE_MAX_MEMBERS];
	struct {
		const struct disks_partition *conf;
		const struct disks_disk *d;
		const struct disks_fact *f;
		uint64_t extents; /* as they will be */
	} volumes[ROUSE_MAX_VOLUMES];
};

struct planner {
	const struct disks_conf *conf;
	const struct disks_facts *facts;
	const struct rouse_context *c;
	struct rouse_plan *plan;
	const char *const *ours;
	size_t n_mounts, n_groups, n_arrays, n_nodes;
	struct node nodes[ROUSE_MAX_DISKS * ROUSE_MAX_PARTITIONS];
	struct mount mounts[ROUSE_MAX_DISKS * ROUSE_MAX_PARTITIONS];
	struct group groups[ROUSE_MAX_GROUPS];
	struct array arrays[ROUSE_MAX_DISKS];
	struct disks_action *last, *table; /* of the disk that is being planned */
	const struct disks_action *begin;  /* what its first step has to do before */
	size_t first;                      /* steps of this kind come before all others */
	struct rouse_err *e;
};

enum verdict { KEEP, MAKE, REPLACE };

/* Where the machine's "/" is mounted: what is mounted below it is mounted already. */
const char *disks_mount_root(const struct rouse_context *c);
const char *disks_size_text(struct planner *p, uint64_t bytes);
const char *disks_name_of(struct planner *p, const struct place *w);
const char *disks_node_of(struct planner *p, const struct place *w);
/* What the document wants of a whole disk, or of an array, as it would say it of a partition. */
const struct disks_partition *disks_conf_of(struct planner *p, const struct disks_disk *d);
/* The UUID that what is made there gets. */
void disks_uuid_of(const struct planner *p, const struct place *w, uint8_t ret[static 16]);
/* … and as this filesystem shows it. */
void disks_uuids_of(const struct planner *p, const struct place *w,
		    const struct disks_filesystem *fs, uint8_t uuid[static 16],
		    char shown[static DISKS_GUID_LEN]);
/* Made on a device of its own, not by offset on a disk. */
static inline bool disks_has_node(const struct place *w)
{
	return w->volume || w->node;
}
/* Made when the table has published it; until then the pending mark lies there. */
bool disks_is_late(const struct place *w);
/* What is wanted there, for messages. */
const char *disks_what_is_wanted(struct planner *p, const struct place *w);
/* Is our unfinished work there? */
bool disks_is_pending(const struct planner *p, const struct place *w);
/* What shall become of what is there, when `fs` is wanted. */
int disks_judge(struct planner *p, const struct place *w, const struct disks_filesystem *fs,
		enum verdict *ret);
/* May all of the disk be given up? */
int disks_consent_to_disk(struct planner *p, const struct disks_disk *d,
			  const struct disks_fact *f);
/* All of it: judged, made, mounted, grown. */
int disks_plan_place(struct planner *p, const struct place *w);
int disks_needs_program(struct planner *p, const struct place *w, const char *program);
int disks_refuse_writes(struct planner *p, const struct disks_disk *d, const struct disks_fact *f);
/* Mounts, swap, room and growth of what is, or will be, there. */
int disks_plan_use(struct planner *p, const struct place *w, bool kept);
/* The steps for all that disks_plan_use noted, outer mounts first. */
void disks_plan_mounts(struct planner *p);
/* … and the lines of fstab(5), or the units, for all of them. */
void disks_plan_fstab(struct planner *p);
void disks_plan_units(struct planner *p);
/* Is it there already, where a systemd that runs has read it? */
bool disks_is_kept(struct planner *p, const struct mount *m);
/* `lost`: what is destroyed for it, in words; NULL: nothing. */
struct disks_action *disks_add_make(struct planner *p, const struct place *w,
				    const struct disks_filesystem *fs, const char *lost);
/* What becomes a part of something larger: marked, in the table that will publish it or by a step of
 * its own, unless it is marked already. */
int disks_claim(struct planner *p, const struct place *w, enum verdict v);
/* `rest`, and before it what `all` has. */
const struct opened *disks_opened(struct planner *p, const struct opened *all,
				  const struct opened *rest);
/* The step that was added last becomes one of those before all others. */
void disks_hoist(struct planner *p);

/* A partition that is to be a physical volume; then, behind all disks, all groups. */
int disks_plan_member(struct planner *p, const struct place *w);
int disks_plan_groups(struct planner *p);

/* The group that is being planned. */
struct work {
	struct planner *p;
	struct group *g;
	const struct disks_group *fact; /* NULL: to be made */
	const struct opened *behind;    /* what all of its members stand on */
	uint64_t extent, total, used;   /* extents */
	size_t n_room;
	uint64_t room[2 * ROUSE_MAX_MEMBERS]; /* free extents on each physical volume, about */
	const char *const *devices;
};

/* How a volume lies on physical volumes: on so many, of which so many hold what counts. */
struct spread {
	uint64_t images, data;
	bool meta; /* one extent more on each */
};

/* A step on the group. */
struct disks_action *disks_group_action(const struct work *w);
/* As it is there; NULL: to be made. */
const struct disks_volume *disks_volume_named(const struct work *w, const char *name);
struct spread disks_spread_of(const struct work *w, const struct disks_partition *v);
/* How many extents volume i will have; what it takes more is used up. */
int disks_size_volume(struct work *w, size_t i, const struct disks_volume *there, uint64_t *ret);
/* All of volume i: sized, made or grown, and what stands on it. */
int disks_plan_volume(struct work *w, size_t i);

/* A disk with partitions: its table, and all that stands on it. */
int disks_plan_partitions(struct planner *p, const struct disks_disk *d,
			  const struct disks_fact *f);

/* A step on a disk; the second one may be the last of that disk. */
struct disks_action *disks_new_action(struct planner *p, const struct disks_disk *d,
				      const struct disks_fact *f);
struct disks_action *disks_action_on(struct planner *p, const struct place *w);
int disks_plan_image(struct planner *p, const struct place *w);
/* Behind the table that publishes it. */
void disks_finish_image(struct planner *p, const struct place *w);
int disks_plan_verity(struct planner *p);
/* What is wanted there, encrypted. *ret_made: it was not yet. */
int disks_plan_luks(struct planner *p, const struct place *w, bool fresh, bool *ret_made);

/* A partition or a disk that is to be a member of an array; then, behind all disks, all arrays. */
int disks_plan_array_member(struct planner *p, const struct place *w, const char *array);
/* What would have been on a disk that is missing. */
void disks_plan_lacking(struct planner *p, const struct disks_disk *d);
int disks_plan_set(struct planner *p, const struct disks_disk *d, const struct disks_found *found);
int disks_plan_arrays(struct planner *p);
