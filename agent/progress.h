/* SPDX-License-Identifier: Apache-2.0 */
/* How long work gets on: what is told to people, and how often. Pure: the time is given. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
	bool terminal; /* somebody looks: once a second; else ever more seldom, as a serial line is slow and
	                * kept for the post-mortem */
	uint64_t next, pause;  /* ms: when to tell again */
	uint64_t start, first; /* ms and bytes: of the work that goes on now */
	uint64_t done, total;  /* as last heard */
};

/* Long work may begin; what is over within two seconds is not told at all. */
void progress_begin(struct progress *p, bool terminal, uint64_t now);
/* Takes what has been done so far; true when it is time to tell. */
bool progress_due(struct progress *p, uint64_t done, uint64_t total, uint64_t now);
/* "pulling the closure: 34.3 MiB of 80.0 MiB (42 %), 5.1 MiB/s, 9.0 s left"; buf is returned. */
const char *progress_text(const struct progress *p, char *buf, size_t size, const char *what,
			  uint64_t now);
/* For commands on a terminal, as rouse_context has it: one line on stderr that is written over; `arg` is a struct
 * progress. progress_clear() wipes it. */
void progress_show(void *arg, const char *what, uint64_t done, uint64_t total);
void progress_clear(void);
/* Is the console of this machine a screen, and not a serial line? */
bool progress_on_screen(void);
