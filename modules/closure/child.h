/* SPDX-License-Identifier: Apache-2.0 */
/* Between a pull and its child: messages over a pair of sockets. The parent believes none to be sane. */
#pragma once

#include "pull.h"

enum said_what {
	SAID_PROGRESS, /* bytes unpacked */
	SAID_COMPLETE, /* path, took: its archive is right, and it is in the staging directory */
	SAID_FAILED,   /* path, err: its cache could not deliver, or err ends everything */
	SAID_END,      /* requests, bytes of all transfers; err: what ended everything, if not OK */
};

struct said {
	uint32_t what;
	uint32_t path; /* of pull.queue */
	uint64_t bytes, requests, took;
	struct rouse_err err; /* left out where none is said */
};

/* In the parent: has a child work off the queue once. p->failed holds what another cache may have. */
must_check int child_work(struct pull *p, uint64_t total, struct rouse_err *e);
/* In the child: works off the queue and ends. */
_Noreturn void child_run(struct pull *p);
/* In the child; what cannot be said ends it. */
void child_say(const struct pull *p, const struct said *what);
