/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report of a boot: phases, steps, durations, counters and, at the end, exactly one verdict.
 * Lives as JSON in /run/rouse/report.json, with the short live state in /run/rouse/status.json;
 * both are replaced atomically. Times are milliseconds on CLOCK_BOOTTIME.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include <rouse/err.h>

struct rouse_step;
struct rouse_instance;

/* MESSAGE_ID of the verdict in the journal: `journalctl MESSAGE_ID=…` finds it on any machine. */
#define ROUSE_VERDICT_MESSAGE "8b0f8a3d6c1e4c7f9a52d1b4e6730c95"

enum rouse_verdict {
	ROUSE_PENDING, /* the boot is not over */
	ROUSE_READY,
	ROUSE_FALLBACK, /* "degraded" */
	ROUSE_FAILED,
	ROUSE_VERDICTS_
};
const char *rouse_verdict_word(enum rouse_verdict v); /* "pending", "ready", "degraded", "failed" */

struct rouse_report {
	json_t *json;       /* the whole report */
	json_t *phase;      /* the open phase, borrowed from json */
	json_t *step;       /* the open step, borrowed */
	uint64_t phase_cpu; /* CPU ms of this process that phases have accounted for: the time to
	                      * start counts for the first one */
	uint64_t step_cpu;  /* CPU ms at the begin of the open step */
	unsigned moves; /* grows with each phase, step and progress of a step; others may read it */
	char *now;      /* what happens now, for the live state only; owned, may be NULL */
	const char *dir; /* "/run/rouse" or what tests say; NULL: nothing is written */
};

/* Begins an empty report (or reads the one in dir, for the health unit). */
must_check int rouse_report_begin(struct rouse_report *r, const char *dir, struct rouse_err *e);
must_check int rouse_report_load(struct rouse_report *r, const char *dir, struct rouse_err *e);
/* As load, for going on where a run that crashed was: its open phase is the open one again. */
must_check int rouse_report_resume(struct rouse_report *r, const char *dir, struct rouse_err *e);
/* The phase that a run which has ended left open is the open one again: its name, borrowed; NULL for none. */
const char *rouse_report_reenter(struct rouse_report *r);
void rouse_report_done(struct rouse_report *r);

/* Begins a phase, and ends the open one, if any; to be seen after the next write. */
void rouse_report_phase(struct rouse_report *r, const char *name);
void rouse_report_phase_end(struct rouse_report *r, const struct rouse_err *e); /* NULL: well */
/* Adds a phase that was over before the report began, on which this process spent `cpu` ms. */
void rouse_report_past(struct rouse_report *r, const char *name, uint64_t start, uint64_t end,
		       uint64_t cpu);
/* Begins a step, and says so in status.json. */
void rouse_report_step(struct rouse_report *r, const struct rouse_step *step);
void rouse_report_step_end(struct rouse_report *r, const struct rouse_err *e); /* NULL: well */
/* Says what happens now inside the open step or phase ("12 of 80 paths"); for the live state only. */
void rouse_report_now(struct rouse_report *r, const char *what);
/* The open step has moved on by some bytes. */
void rouse_report_moved(struct rouse_report *r);
bool rouse_report_is_final(const struct rouse_report *r); /* has it a verdict? */
void rouse_report_set(struct rouse_report *r, const char *key, json_t *value); /* steals value */
/* Sets the verdict (once: a later call is ignored), its reason (NULL when ready) and exit status. */
void rouse_report_verdict(struct rouse_report *r, enum rouse_verdict v, enum rouse_kind kind,
			  const char *reason);
/* A machine that was held is tried again: its verdict is pending once more. */
void rouse_report_reopen(struct rouse_report *r);
/* Writes report.json and status.json. A failure to write never fails a boot: it is logged. */
void rouse_report_write(const struct rouse_report *r);

/* "ROUSE-STATE v=1 state=ready up=12.3 id=i-… reason=…": the one greppable console line. */
char *rouse_report_console_line(const struct rouse_report *r); /* caller frees */
