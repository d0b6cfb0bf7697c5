/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversations with the EC2 instance metadata service, version 2 only. What its answers mean:
 *
 *   request             answer                       means
 *   PUT token           200 and a token              go on
 *                       400                          bug: our request is wrong
 *                       403                          failed: metadata is switched off for this instance
 *                       404, 405                     failed: no IMDSv2 here, and v1 is not used
 *                       408, 429, 5xx, no answer     retry to the deadline, then unavailable
 *   GET (any)           401                          the token has expired, or is not known yet (seen for
 *                                                    seconds on fresh instances): another PUT, then retry
 *                       404                          there is none: this is an answer
 *                       408, 429, 5xx, no answer     retry to the deadline, then unavailable
 *                       403, 3xx, other 4xx          failed
 *
 * Nothing that is not listed as "none" is ever taken for it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/err.h>
#include <rouse/mem.h>

struct rouse_fetcher;
struct rouse_machine;

#define ROUSE_IMDS_BASE "http://169.254.169.254"
#define ROUSE_IMDS_TOKEN_HEADER "X-aws-ec2-metadata-token: "
#define ROUSE_IMDS_MAX_TOKEN 1024 /* real ones have 56 bytes */

/* One conversation: the token belongs to the address that gave it. */
struct rouse_imds {
	const char *base;
	struct rouse_fetcher *f;
	uint64_t deadline;
	/* Of this module; empty: no token yet. */
	char header[sizeof(ROUSE_IMDS_TOKEN_HEADER) + ROUSE_IMDS_MAX_TOKEN];
};
void rouse_imds_done(struct rouse_imds *i); /* wipes the token */

/* Does the firmware say that this is an EC2 instance? Only then is the service what it seems. `why`
 * gets one line for people. */
bool rouse_imds_expected(const struct rouse_machine *m, char *why, size_t why_size);

/* GET <base>/latest/<path>: 0 and the body; or -1, with e->sys == ENOENT when the service says that
 * there is none. */
must_check int rouse_imds_get(struct rouse_imds *i, const char *path, uint64_t max,
			      struct rouse_buf *ret, struct rouse_err *e);
