/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The module `closure`, inside: what it knows of a machine, and what its parts share.
 *
 *   closure.c  the tables of the document and of the facts, and checks
 *   plan.c     what is wanted, what is there, and the plan
 *   apply.c    prepare and apply, by the functions of rouse/closure.h
 */
#pragma once

#include <rouse/closure.h>
#include <rouse/generations.h>
#include <rouse/module.h>

#include "conf.h"

struct profile_fact {
	const char *key; /* below /nix/var/nix/profiles */
	int64_t number, highest;
	const char *path, *last;
};

struct system_fact {
	int64_t number, time, healthy;
	const char *path;
	bool current, booted, there;
};

struct facts {
	bool unseen;             /* the root filesystem is not mounted yet */
	struct rouse_list valid; /* const char *: wanted paths that are there with all they need */
	struct rouse_list profiles; /* struct profile_fact */
	struct rouse_list systems;  /* struct system_fact: where the document says how many stay */
	int64_t now;                /* s since the epoch */
	bool untold;                /* a Nix has come that does not know yet what is valid */
	const char *rolled_back;    /* the system that somebody went back from, or NULL */
};

enum { OP_PULL, OP_GENERATION, OP_KEEP, OP_FORGET, OP_TELL, OP_COLLECT };

struct want {
	struct rouse_pin pin;
	const struct closure_manifest *manifest;
	bool system; /* else of a profile, which others make of it */
};

extern const struct rouse_module rouse_module_closure;

/* Every closure of the document, the system first; from `arena`. */
struct want *closure_list_wants(const struct closure_conf *conf, struct rouse_arena *arena,
				size_t *ret_n);
/* Is the root filesystem there? In an initramfs it may be yet to come. */
bool closure_is_mounted(const struct rouse_context *c);
int closure_observe(const void *conf, const struct rouse_context *c, json_t *facts,
		    struct rouse_err *e);
int closure_plan(const void *conf, const void *facts, const struct rouse_context *c,
		 struct rouse_plan *p, struct rouse_err *e);
int closure_prepare(const void *conf, const struct rouse_plan *p, const struct rouse_context *c,
		    void **ret_state, struct rouse_err *e);
int closure_apply(const struct rouse_step *step, const struct rouse_context *c, void *state,
		  struct rouse_err *e);
void closure_state_free(void *state); /* accepts NULL */
