/* SPDX-License-Identifier: Apache-2.0 */
/* Where a boot's time went: the spans of a report, in order, with the gaps between them. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/err.h>
#include <rouse/mem.h>

enum rouse_span_kind {
	ROUSE_SPAN_GAP, /* the kernel before the agent, init between hand-off and health */
	ROUSE_SPAN_PHASE,
	ROUSE_SPAN_STEP, /* of the phase before it */
	ROUSE_SPAN_CHECK,
};

struct rouse_span {
	enum rouse_span_kind kind;
	const char *name;    /* borrowed from the report */
	const char *label;   /* the same without the hashes of store paths; in the arena */
	const char *module;  /* of a step, else NULL */
	uint64_t start, end; /* ms since the kernel started */
	int64_t cpu;         /* ms, -1: not known */
	bool failed;
};

struct rouse_analysis {
	size_t n;
	struct rouse_span *spans; /* in the arena */
	uint64_t total;           /* the end of the last span, ms since the kernel started */
	uint64_t before;          /* until the agent's first phase */
	uint64_t cpu;             /* of all phases */
	const char *verdict;
	uint64_t verdict_at; /* 0: there is none yet */
};

/* `report` must outlive the analysis. */
void rouse_analyze(struct rouse_analysis *ret, const json_t *report, struct rouse_arena *arena);
/* Bytes or things per second of a counter "MODULE.NAME", over the time in which steps of that module
 * ran; 0 when none did. */
uint64_t rouse_analysis_rate(const struct rouse_analysis *a, const char *counter, uint64_t value);
/* The timeline as a self-contained SVG; caller frees the buffer. */
void rouse_analysis_svg(const struct rouse_analysis *a, const json_t *report,
			struct rouse_buf *out);
