/* SPDX-License-Identifier: Apache-2.0 */
/* What `rouse pull` and `rouse manifest` are told on the command line: caches, keys, paths. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rouse/closure.h>
#include <rouse/err.h>
#include <rouse/mem.h>

#define PULL_MOST 32 /* of each option, and of paths */

struct pull_options {
	struct rouse_closure_spec spec; /* into what follows */
	uint64_t timeout;               /* ms */
	const char *netrc;              /* a file, or NULL */
	char *headers[PULL_MOST][2];    /* for private caches; secret */

	struct rouse_cache caches[PULL_MOST];
	struct rouse_key keys[PULL_MOST];
	struct rouse_pin roots[PULL_MOST];
	struct rouse_arena arena;
};

void pull_options_done(struct pull_options *o);
#define auto_pull_options __attribute__((cleanup(pull_options_done)))

/* Options for getopt_long(3) that pull_options_take() understands. */
#define PULL_OPTIONS                                                                               \
	{ "cache", required_argument, NULL, 'c' }, { "key", required_argument, NULL, 'k' },        \
		{ "netrc", required_argument, NULL, 'N' },                                         \
	{                                                                                          \
		"timeout", required_argument, NULL, 't'                                            \
	}
must_check int pull_options_take(struct pull_options *o, int c, const char *arg,
				 struct rouse_err *e);
/* The paths, from argv[0] on; makes o->spec. */
must_check int pull_options_paths(struct pull_options *o, int argc, char **argv,
				  struct rouse_err *e);
/* --manifest: URL#sha256=HEX, or a file of this machine, which pins itself. Of all paths. */
must_check int pull_options_manifest(struct pull_options *o, const char *text, struct rouse_err *e);
