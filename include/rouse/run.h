/* SPDX-License-Identifier: Apache-2.0 */
/* The phases between a finished document and an applied plan, as `rouse plan`, `rouse apply` and
 * the boot share them. */
#pragma once

#include <jansson.h>

#include <rouse/document.h>
#include <rouse/err.h>
#include <rouse/module.h>
#include <rouse/plan.h>
#include <rouse/report.h>

struct rouse_run {
	const struct rouse_document *document;
	struct rouse_context context;
	const char *only; /* one module's name; NULL: all */
	bool draw;        /* pictures, too */
	json_t *facts;    /* one object per module, by its name */
	struct rouse_plan plan;
	void *state[ROUSE_MAX_MODULES];
	struct rouse_report *report; /* may be NULL: then nobody is told */
};
void rouse_run_done(struct rouse_run *r);
static inline void run_auto(struct rouse_run *r)
{
	rouse_run_done(r);
}
#define auto_run __attribute__((cleanup(run_auto)))

/* Fills r->facts from the machine. */
must_check int rouse_run_observe(struct rouse_run *r, struct rouse_err *e);
/* Facts (r->facts) and document to r->plan; pure. */
must_check int rouse_run_plan(struct rouse_run *r, struct rouse_err *e);
/* Applies what the plan begins with and what changes nothing that lasts, observes and plans the rest
 * anew, until nothing is opened any more: arrays and encrypted volumes show what they hold only when
 * they are open. In an initramfs, the mounts of what is there already are among those steps: what is
 * on the root (files, users, the store) is seen only then; without this a second boot would plan all
 * of it again. */
must_check int rouse_run_enter(struct rouse_run *r, struct rouse_err *e);
/* Network and memory only. */
must_check int rouse_run_prepare(struct rouse_run *r, struct rouse_err *e);
/* Every step in order; stops at the first failure. */
must_check int rouse_run_apply(struct rouse_run *r, struct rouse_err *e);
