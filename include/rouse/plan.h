/* SPDX-License-Identifier: Apache-2.0 */
/* The plan: the ordered steps between what is (facts) and what should be (document). */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/err.h>
#include <rouse/mem.h>

struct rouse_module;

enum rouse_effect {
	ROUSE_CREATE,  /* "+": something new */
	ROUSE_CHANGE,  /* "~": something is changed in place, nothing is lost */
	ROUSE_DESTROY, /* "!": data is destroyed, with the document's consent */
	ROUSE_USE,     /* ">": a thing of this boot only: a mount, the hand-off; does not count
	                *      against "an applied plan plans to nothing" */
	ROUSE_EFFECTS_
};

struct rouse_step {
	const struct rouse_module *module; /* set by rouse_plan_add */
	enum rouse_effect effect;
	unsigned op; /* the module's own enum */
	/* Something is opened (an array, an encrypted volume): what it holds is seen only then, and
	 * is planned then. Such steps come first. */
	bool opens;
	const char
		*what; /* one line for people, owned by the plan: "make ext4 'root' on /dev/vda2" */
	const void *arg; /* the module's own; owned by the plan's arena, const once planned */
};

/* Room that a module's steps will make: where the closure will fit, known before disks change. */
struct rouse_room {
	const char *mount; /* "/", "/nix"… */
	uint64_t bytes;    /* free bytes at the end of the disk steps */
	uint64_t inodes;   /* free inodes, 0 when the filesystem has no such bound */
};

/* What stands for a plan: so many hexadecimal digits. */
#define ROUSE_PLAN_ID 32

struct rouse_picture;
struct rouse_plan_account;

struct rouse_plan {
	struct rouse_arena arena;
	struct rouse_plan_account *accounts; /* that will be there when the steps are done */
	const struct rouse_module *module;   /* whose plan() runs now */
	struct rouse_picture *pictures;      /* in the arena; NULL: none were asked for */
	size_t n_steps, size_steps;
	struct rouse_step *steps;
	size_t n_rooms, size_rooms;
	struct rouse_room *rooms;
	char basis[65]; /* SHA-256 of all that rouse_plan_basis() was told; "" before */
	char id[ROUSE_PLAN_ID + 1];
};

void rouse_plan_done(struct rouse_plan *p);
static inline void plan_auto(struct rouse_plan *p)
{
	rouse_plan_done(p);
}
#define auto_plan __attribute__((cleanup(plan_auto)))

/* Appends a step of the module that is being planned. `arg` comes from the plan's arena. */
void rouse_plan_add(struct rouse_plan *p, enum rouse_effect effect, unsigned op, const void *arg,
		    const char *what, ...) like_printf(5, 6);
/* Says what the plan rests on beside its steps, such as the fingerprint of a disk. */
void rouse_plan_basis(struct rouse_plan *p, const char *text);
/* Gives the plan its id: of the document (its digest), of all steps, and of what they rest on. Two
 * plans with the same id do the same to the same. */
void rouse_plan_identify(struct rouse_plan *p, const char *document_sha256);
/* Says how much room `mount` will have. */
void rouse_plan_room(struct rouse_plan *p, const char *mount, uint64_t bytes, uint64_t inodes);
/* The room of the filesystem that will hold `path`; NULL when no module said. */
const struct rouse_room *rouse_plan_find_room(const struct rouse_plan *p, const char *path);
/* Says that the planned steps will see to it that there is an account; and asks for it. What needs one
 * that nobody brings must be refused in the plan: the first step may destroy a disk. */
void rouse_plan_account(struct rouse_plan *p, bool group, const char *name);
bool rouse_plan_has_account(const struct rouse_plan *p, bool group, const char *name);
/* Steps that change something that lasts (all but ROUSE_USE). */
size_t rouse_plan_changes(const struct rouse_plan *p);
/* The text of `rouse plan`, and of `rouse plan --json`. */
void rouse_plan_print(const struct rouse_plan *p, struct rouse_buf *out, bool colour);
json_t *rouse_plan_json(const struct rouse_plan *p);
