/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging: one line, "component: text", to stderr, and as pid 1 (or with rouse_log_open_kmsg) to
 * the kernel log as well. Writes never block for a port that nobody reads. A function that
 * returns an error does not log it; main() and the phases do.
 */
#pragma once

#include <stdbool.h>

#include <rouse/auto.h>

enum rouse_level {
	ROUSE_LOG_ERROR = 3, /* the numbers of syslog(3), as in "<3>" for kmsg and the journal */
	ROUSE_LOG_WARNING = 4,
	ROUSE_LOG_NOTICE = 5,
	ROUSE_LOG_INFO = 6,
	ROUSE_LOG_DEBUG = 7,
};

void rouse_log_set_level(enum rouse_level most); /* default ROUSE_LOG_INFO */
/* Also writes to /dev/kmsg from now on; silently does nothing where it cannot be opened. */
void rouse_log_open_kmsg(void);
/* Also writes to these consoles (/dev/console as pid 1); non-blocking. */
void rouse_log_open_console(const char *path);
/* Where stderr is the journal: sends there with fields (ROUSE_COMPONENT and those of rouse_log_context) by
 * its native protocol from now on. False, and nothing changes, elsewhere. */
bool rouse_log_open_journal(void);
bool rouse_log_has_journal(void); /* did that work? */
/* Whether the terminal at stderr has an unfinished line, of progress: a log line wipes it. */
void rouse_log_set_unfinished(bool unfinished);
/* Leaves whatever was opened alone: lines go to stderr from now on. For a child that closes it all. */
void rouse_log_forget(void);
/* A field of all that follows, in the journal: ROUSE_PHASE, ROUSE_INSTANCE…; NULL or "" removes it. At most
 * ROUSE_LOG_CONTEXT names. `name` must be static. */
#define ROUSE_LOG_CONTEXT 8
void rouse_log_context(const char *name, const char *value);
void rouse_log(enum rouse_level level, const char *component, const char *fmt, ...)
	like_printf(3, 4);
