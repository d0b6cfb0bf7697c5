/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors. Every fallible function returns 0, or -1 with *e filled; `e` is its last parameter and
 * is never NULL. The failing call says what failed, on which object (in single quotes) and why;
 * each caller may put one "name: " before it. Nothing is allocated.
 */
#pragma once

#include <rouse/auto.h>

/* What to do about a failure; the values are the exit statuses of the command line. */
enum rouse_kind {
	ROUSE_OK = 0,
	ROUSE_DEGRADED = 3,     /* up, on a fallback: look */
	ROUSE_USAGE = 64,       /* the command line is wrong: fix the call */
	ROUSE_BUG = 70,         /* an invariant of rouse broke: report it */
	ROUSE_SYSTEM = 71,      /* this machine refused (I/O, space, kernel): look at the machine */
	ROUSE_UNAVAILABLE = 75, /* not reachable in time: try again */
	ROUSE_UNTRUSTED = 77,   /* signature, digest or key is wrong: never retry */
	ROUSE_DOCUMENT = 78,    /* the document is wrong, or asks for what is refused: fix it */
};

/* Whose fault it is, and so what a group of machines should do about it (DESIGN, section 6). */
enum rouse_fault {
	ROUSE_FAULT_NONE,
	ROUSE_LOCAL,     /* this machine: a replacement helps */
	ROUSE_FLEET,     /* what all are told: a replacement meets the same end */
	ROUSE_TRANSIENT, /* it may pass: retried in the phase's budget, and then one of the others */
	ROUSE_FAULTS_
};

struct rouse_err {
	enum rouse_kind kind;
	enum rouse_fault fault; /* set with the kind; rouse_blame() where that is not right */
	int sys;                /* errno of the failing call, 0 when it was none */
	char text[768];         /* "outer: inner: cause", one line, no trailing full stop */
};

/* Both return -1, so that a failure is one statement: return rouse_fail(e, …). When `sys` is not
 * 0, ": " and its strerror() text are appended. */
int rouse_fail(struct rouse_err *e, enum rouse_kind kind, int sys, const char *fmt, ...)
	like_printf(4, 5);
/* Prefixes e->text with the formatted text and ": ". */
int rouse_wrap(struct rouse_err *e, const char *fmt, ...) like_printf(2, 3);

/* The failing call knows better whose fault it is than the kind says (no lease is "unavailable", but
 * no other machine's business). Returns -1, as rouse_fail() does. */
int rouse_blame(struct rouse_err *e, enum rouse_fault fault);
/* "none", "local", "fleet", "transient"; static storage. */
const char *rouse_fault_word(enum rouse_fault fault);

/* The word of a kind in reports: "ok", "degraded", "usage", "bug", "system", "unavailable",
 * "untrusted", "document"; static storage. */
const char *rouse_kind_word(enum rouse_kind kind);
/* What a person should do, e.g. "fix the document"; "" for ROUSE_OK; static storage. */
const char *rouse_kind_advice(enum rouse_kind kind);
