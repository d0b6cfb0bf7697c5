/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The account files of a root (/etc/passwd, group, shadow, gshadow) as lines of colon-separated
 * fields. What is not touched keeps its bytes and its place: comments, NIS entries, lines that
 * make no sense. Nothing here asks the running system's name service.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/auto.h>
#include <rouse/err.h>
#include <rouse/fs.h>
#include <rouse/mem.h>

struct rouse_lines {
	size_t n, size;
	char **items; /* without newlines; owned */
	bool exists;  /* the file was there */
	bool changed;
};

enum rouse_account_file {
	ROUSE_PASSWD,
	ROUSE_GROUP,
	ROUSE_SHADOW,
	ROUSE_GSHADOW,
	ROUSE_ACCOUNT_FILES_
};

/* Fields, counted from 0. */
enum { ROUSE_PW_UID = 2, ROUSE_PW_GID, ROUSE_PW_GECOS, ROUSE_PW_HOME, ROUSE_PW_SHELL, ROUSE_PW_N };
enum { ROUSE_GR_GID = 2, ROUSE_GR_MEMBERS, ROUSE_GR_N };
enum { ROUSE_SP_HASH = 1, ROUSE_SP_N = 9 };

struct rouse_accounts {
	struct rouse_lines files[ROUSE_ACCOUNT_FILES_];
};

void rouse_accounts_done(struct rouse_accounts *a);
static inline void accounts_auto(struct rouse_accounts *a)
{
	rouse_accounts_done(a);
}
#define auto_accounts __attribute__((cleanup(accounts_auto)))

/* "/etc/passwd"…; static storage. */
const char *rouse_account_path(enum rouse_account_file f);
/* Reads /etc/passwd and /etc/group, and with `secrets` the other two. A missing file is empty. */
must_check int rouse_accounts_load(struct rouse_accounts *ret, const struct rouse_root *r,
				   bool secrets, struct rouse_err *e);

/* Appends a text's lines; false (and nothing is added) when it holds a NUL. */
must_check bool rouse_lines_parse(struct rouse_lines *l, const char *text, size_t len);
/* All lines, each with a newline, appended. */
void rouse_lines_print(const struct rouse_lines *l, struct rouse_buf *out);
void rouse_lines_done(struct rouse_lines *l);

/* The first line whose first field is `name`, or NULL; borrowed until the next change. */
const char *rouse_lines_find(const struct rouse_lines *l, const char *name);
/* A field of that line; NULL when there is no such line or field. Caller frees. */
char *rouse_lines_get(const struct rouse_lines *l, const char *name, unsigned field);
/* … as an id; false when absent or not a number. */
bool rouse_lines_id(const struct rouse_lines *l, const char *name, unsigned field, uint32_t *ret);
/* The name (caller frees) of the first line with this id, or NULL. */
char *rouse_lines_name_of(const struct rouse_lines *l, unsigned field, uint32_t id);
/* Is `member` in the comma-separated field? */
bool rouse_lines_has_member(const struct rouse_lines *l, const char *name, unsigned field,
			    const char *member);

/* Sets a field of an existing line; missing fields before it become empty. */
void rouse_lines_set(struct rouse_lines *l, const char *name, unsigned field, const char *value);
void rouse_lines_add_member(struct rouse_lines *l, const char *name, unsigned field,
			    const char *member);
/* Adds a line behind the others, but before NIS entries ("+…"), which end some readers' search. */
void rouse_lines_add(struct rouse_lines *l, const char *line);

/* A user (or group) given as a name or a number. false when the name is not in `l`. */
bool rouse_account_resolve(const struct rouse_lines *l, const char *name, uint32_t *ret);
/* A name for a user or group: a letter or "_", then letters, digits, "_", "-", "."; ≤ 31 bytes. */
bool rouse_is_account_name(const char *s);
/* … or a number below 2^32 - 1. */
bool rouse_is_account(const char *s);
