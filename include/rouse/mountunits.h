/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts, automounts and swap as units of systemd: systemd.mount(5), systemd.automount(5),
 * systemd.swap(5). For what runs after an initramfs (in /run, which comes along), and for an image
 * without an fstab (in /etc). A file is rouse's when its first line says so, with the OWNER, a module;
 * all others stay as they are. The options that systemd.mount(5) has for fstab mean the same here.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include <rouse/err.h>
#include <rouse/fs.h>
#include <rouse/fstab.h>
#include <rouse/mem.h>
#include <rouse/module.h>
#include <rouse/schema.h>

#define ROUSE_UNITS_RUN "/run/systemd/system"
#define ROUSE_UNITS_ETC "/etc/systemd/system"

/* The facts of one module: where its units are, and which are there. */
struct rouse_units_fact {
	const char *directory;
	struct rouse_list own;    /* struct rouse_pair: "srv-data.mount" and its text */
	struct rouse_list others; /* const char *: names of such units of somebody else */
};
extern const struct rouse_field rouse_units_fact_fields[];
#define ROUSE_N_UNITS_FACT_FIELDS 3

/* Units that are wanted, as they are put together. */
struct rouse_units {
	const struct rouse_units_fact *fact;
	const char *owner;
	struct rouse_arena *arena;
	/* In an initramfs: what is mounted there stays so, and nothing is to wait for it. */
	bool mounted;
	size_t n, size;
	struct rouse_pair *files;               /* in the arena */
	struct rouse_buf requires[2], wants[2]; /* of local-fs.target, of swap.target */
};

/* The path as the name of a unit, systemd-escape(1) --path: "/srv/my data", ".mount" is
 * "srv-my\x20data.mount". In the arena. */
const char *rouse_unit_of_path(const char *path, const char *suffix, struct rouse_arena *arena);
/* Is it mounted when somebody goes there, or only when somebody asks: "x-systemd.automount",
 * "noauto"? Options may be NULL. */
bool rouse_mount_is_late(const char *options);
/* Adds the units of what would be this line of fstab. `late`: it is not mounted yet. False when there
 * are none: a path that a unit cannot say, or a unit of that name that is somebody else's. */
bool rouse_units_add(struct rouse_units *u, const struct rouse_fstab_line *line, bool late);
/* A LUKS volume that is opened by systemd where the agent has not: cryptsetup(8). */
struct rouse_opening {
	const char *name, *uuid; /* below /dev/mapper; of its header */
	const char *key;         /* the path of a file; NULL: the TPM has it */
	bool discard;
	bool early; /* it is needed before the agent runs */
	bool swap;  /* what is swapped to stands on it */
};
/* "rouse-open-NAME.service", in the arena. A mount waits for it by "x-systemd.requires=". */
const char *rouse_unit_that_opens(const char *name, struct rouse_arena *arena);
/* Adds that unit, once. False when it is there already, or somebody else's. */
bool rouse_units_open(struct rouse_units *u, const struct rouse_opening *o);
/* All of them, in the order of their names; frees what was put together. In the arena. */
struct rouse_list rouse_units_end(struct rouse_units *u);
bool rouse_units_are(const struct rouse_list *own, const struct rouse_list *wanted);
/* The facts for `owner`, by observing the directory. A new reference. */
must_check json_t *rouse_units_read(const struct rouse_root *root, const char *directory,
				    const char *owner, struct rouse_err *e);
/* … of the running machine, in /run where /etc has a tree that is not its own to write; NULL: nobody
 * would read them. An initramfs leaves them for what it hands over to. */
json_t *rouse_units_observe(const struct rouse_context *c, const char *owner, struct rouse_err *e);
/* Writes the wanted ones, and removes those of `own` that are not wanted. Synced. */
must_check int rouse_units_write(const struct rouse_root *root, const char *directory,
				 const struct rouse_list *own, const struct rouse_list *wanted,
				 struct rouse_err *e);
