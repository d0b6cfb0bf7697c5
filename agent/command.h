/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of `rouse`; each is one file, cmd_NAME.c. A command gets its own argv (argv[0] is its
 * name), prints what it has to say, and returns 0, or -1 with *e, whose kind is the exit status. */
#pragma once

#include <stdbool.h>

#include <rouse/document.h>
#include <rouse/err.h>
#include <rouse/mem.h>

struct rouse_command {
	const char *name;
	int (*run)(int argc, char **argv, struct rouse_err *e);
	const char *args;    /* synopsis behind the name */
	const char *help;    /* one sentence */
	const char *options; /* lines of the option list, may be NULL */
};

int rouse_cmd_analyze(int argc, char **argv, struct rouse_err *e);
int rouse_cmd_apply(int argc, char **argv, struct rouse_err *e);
int rouse_cmd_boot(int argc, char **argv, struct rouse_err *e);
int rouse_cmd_check(int argc, char **argv, struct rouse_err *e);
int rouse_cmd_edit(int argc, char **argv, struct rouse_err *e);
int rouse_cmd_facts(int argc, char **argv, struct rouse_err *e);
int rouse_cmd_gc(int argc, char **argv, struct rouse_err *e);
int rouse_cmd_generations(int argc, char **argv, struct rouse_err *e);
int rouse_cmd_health(int argc, char **argv, struct rouse_err *e);
int rouse_cmd_keygen(int argc, char **argv, struct rouse_err *e);
int rouse_cmd_lock(int argc, char **argv, struct rouse_err *e);
int rouse_cmd_manifest(int argc, char **argv, struct rouse_err *e);
int rouse_cmd_plan(int argc, char **argv, struct rouse_err *e);
int rouse_cmd_pull(int argc, char **argv, struct rouse_err *e);
int rouse_cmd_rollback(int argc, char **argv, struct rouse_err *e);
int rouse_cmd_schema(int argc, char **argv, struct rouse_err *e);
int rouse_cmd_sign(int argc, char **argv, struct rouse_err *e);
int rouse_cmd_status(int argc, char **argv, struct rouse_err *e);

/* getopt_long(3) met something it does not know: fills *e (ROUSE_USAGE). */
int rouse_usage(struct rouse_err *e, const char *fmt, ...) like_printf(2, 3);
/* Demands exactly one argument behind the options. */
int rouse_one_argument(int argc, char **argv, const char *what, const char **ret,
		       struct rouse_err *e);
/* --root DIR of a command for which a root that is not there would be one with nothing in it. */
must_check int rouse_take_root(const char **ret, const char *path, struct rouse_err *e);
/* Colour on stdout? A terminal, and neither NO_COLOR nor TERM=dumb. */
bool rouse_use_colour(void);
/* Columns of the terminal at stdout; 0 when it is none, or does not say. */
size_t rouse_columns(void);
