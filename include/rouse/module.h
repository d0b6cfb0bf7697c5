/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A module owns one or a few top-level keys of the document. It is data (tables) and functions;
 * rouse_modules[] in agent/modules.c is the only list, in the order in which they run.
 *
 *   observe   reads the machine, as far as this document needs it, into a JSON object (facts)
 *   plan      pure: conf and facts to steps; no I/O, no clock
 *   prepare   network and memory only: whatever must be known before the first disk changes
 *   apply     one step
 *
 * Modules never include each other; what two need is in agent/ behind a header.
 */
#pragma once

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>

#include <rouse/err.h>
#include <rouse/fs.h>
#include <rouse/plan.h>
#include <rouse/schema.h>

#define ROUSE_MAX_MODULES 16

struct rouse_fetcher;
struct rouse_document;
struct rouse_instance;

/* Where and how a run works; the same for observe, prepare and apply. */
struct rouse_context {
	const char *root; /* where the target's "/" is reached: "/", "/sysroot", --root DIR */
	const char *run;  /* where a boot keeps its state: --run DIR; NULL: /run/rouse */
	bool initramfs;   /* the root filesystem is not mounted yet and is ours to make */
	bool boot;        /* the machine comes up: what is not there yet may still come */
	bool fallback;    /* what was asked for has failed: whatever works is good enough … */
	bool proven_only; /* … but only what was healthy here, or came with the image */
	const char
		*avoid; /* the system that failed, a store path; NULL: not known to be a system */
	const char *baked;       /* the system that came with the image; NULL: none */
	bool image;              /* --root or --disk: the target is not the running machine */
	struct rouse_list disks; /* --disk NAME=FILE|DEVICE: struct rouse_pair */
	const struct rouse_instance *instance;
	struct rouse_fetcher *fetcher;
	uint64_t deadline; /* of the running phase, absolute */
	/* Brings the network up where that is the agent's task; to be called before the first request.
	 * NULL: the network is somebody else's. */
	int (*network)(void *arg, uint64_t deadline, struct rouse_err *e);
	void *network_arg;
	/* Called when long work moves on; may be NULL. Bytes; `total` may be 0 for unknown, and both
	 * when `what` says it all. */
	void (*progress)(void *arg, const char *what, uint64_t done, uint64_t total);
	void *progress_arg;
	/* Not 0: somebody wants it to end, in good order; may be NULL. */
	const volatile sig_atomic_t *cancelled;
	json_t *counters; /* object; modules add numbers to the report ("closure.bytes") */
};

struct rouse_module {
	const char *name;                 /* in the plan and the report */
	const struct rouse_field *fields; /* its top-level keys */
	size_t n_fields, conf_size;
	/* It has no keys of its own, and reads those of this one, which runs before it: its conf is
	 * that module's. NULL: its own. */
	const struct rouse_module *reads;
	const struct rouse_field *facts; /* what observe() writes and plan() reads */
	size_t n_facts, facts_size;

	/* What tables cannot say (two partitions without a size…). Adds problems. May be NULL. */
	void (*check)(const void *conf, struct rouse_problems *problems);
	/* Fills the (empty) JSON object `facts`. NULL: the module needs none. */
	int (*observe)(const void *conf, const struct rouse_context *c, json_t *facts,
		       struct rouse_err *e);
	/* `facts` is the struct decoded from what observe() wrote, or was recorded elsewhere. */
	int (*plan)(const void *conf, const void *facts, const struct rouse_context *c,
		    struct rouse_plan *plan, struct rouse_err *e);
	/* Adds pictures of what plan() has planned, for people. May be NULL. */
	void (*draw)(const void *conf, const void *facts, const struct rouse_context *c,
		     struct rouse_plan *plan);
	/* *state (NULL at first) is the module's own and is passed to apply. May be NULL. */
	int (*prepare)(const void *conf, const struct rouse_plan *plan,
		       const struct rouse_context *c, void **state, struct rouse_err *e);
	int (*apply)(const struct rouse_step *step, const struct rouse_context *c, void *state,
		     struct rouse_err *e);
	void (*state_free)(void *state); /* accepts NULL */
};

extern const struct rouse_module *const rouse_modules[];
extern const size_t rouse_n_modules;
