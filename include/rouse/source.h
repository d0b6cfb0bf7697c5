/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sources: where a document comes from. `detect` looks at local facts only (DMI, labels, command
 * line): nothing touches the network before something local identifies the cloud.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rouse/document.h>
#include <rouse/err.h>

struct rouse_fetcher;

/* What sources look at; paths are relative to `sysroot` so that tests describe machines as trees. */
struct rouse_machine {
	const char *sysroot; /* "" on a real machine: then /sys, /proc, /dev */
	char *cmdline;       /* /proc/cmdline, owned */
};
must_check int rouse_machine_open(struct rouse_machine *m, const char *sysroot,
				  struct rouse_err *e);
void rouse_machine_done(struct rouse_machine *m);
/* First line of <sysroot>/sys/class/dmi/id/NAME, blanks trimmed; false when absent or empty (all
 * 0xff counts as empty). */
bool rouse_machine_dmi(const struct rouse_machine *m, const char *name, char *buf, size_t size);
/* Value of `name=` on the kernel command line (the last one counts), or NULL; a bare `name` gives "".
 * Caller frees. */
char *rouse_machine_cmdline(const struct rouse_machine *m, const char *name);

/* What a source found out. */
struct rouse_found {
	struct rouse_instance instance; /* strings in arena */
	struct rouse_arena arena;
	char *user_data; /* as delivered; NULL: this source says that there is none */
	size_t user_data_len;
	char *url, *sha256; /* instead of user-data: a pointer to the document */
	const char *source; /* name of the source */
};
void rouse_found_done(struct rouse_found *f);

struct rouse_source {
	const char *name; /* "ec2" */
	bool network;     /* fetch needs the network */
	/* Does something local identify this source? `why` gets one line for people. */
	bool (*detect)(const struct rouse_machine *m, char *why, size_t why_size);
	int (*fetch)(const struct rouse_machine *m, struct rouse_fetcher *f, uint64_t deadline,
		     struct rouse_found *ret, struct rouse_err *e);
};
extern const struct rouse_source *const rouse_sources[]; /* in order of preference; NULL-ended */

/* The first source that detects itself, or NULL. */
const struct rouse_source *rouse_source_detect(const struct rouse_machine *m, char *why,
					       size_t why_size);

/* Undoes gzip and base64 around user-data, recognises a document, a pointer document or one line
 * "URL#sha256=…", and fills ret->url/sha256 or leaves the document in user_data. */
must_check int rouse_userdata_unwrap(struct rouse_found *f, struct rouse_err *e);
