/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversations with an instance metadata service. What its answers mean is data: the table of the
 * service comes first, then the one that all share. Nothing that is not listed as "none" is ever
 * taken for it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/err.h>
#include <rouse/mem.h>

struct rouse_fetcher;
struct rouse_machine;

enum rouse_means {
	ROUSE_MEANS_VALUE,
	ROUSE_MEANS_NONE,  /* this is an answer: there is none */
	ROUSE_MEANS_RETRY, /* not known yet: asked again to the deadline, then unavailable */
	ROUSE_MEANS_RENEW, /* the token has expired, or is not known yet: another one, then again */
	ROUSE_MEANS_FAILED, /* for good */
};
struct rouse_answer {
	int first, last; /* HTTP statuses */
	enum rouse_means means;
	enum rouse_kind kind; /* of a failure; 0: this machine's, ROUSE_SYSTEM */
	const char *why; /* … for people, with one %ld for the status; NULL: HTTP's own word */
};

#define ROUSE_IMDS_MAX_TOKEN 1024 /* real ones have 56 to 400 bytes */
#define ROUSE_IMDS_MAX_BASES 6
#define ROUSE_IMDS_MAX_HEADERS 3

/* A kind of service. */
struct rouse_imds_api {
	/* Where it is, without a slash at the end, in order of preference; "%s" is the name of each
	 * network interface in turn. The first that gives an answer is the service from then on. */
	const char *bases[ROUSE_IMDS_MAX_BASES];
	const char *root; /* what stands before every path: "/latest/" */
	const char
		*socket; /* path of a socket of this machine that is asked instead of an address */
	const char *headers[ROUSE_IMDS_MAX_HEADERS]; /* of every request, "Name: value" */
	/* Tokens: what is PUT where, and the header (with ": ") that bears what came. NULL: none. */
	const char *token_path, *token_request, *token_header;
	bool low_port; /* it answers requests from ports of root only */
	/* What its answers mean, beyond the general table; the second is of the request for a token. */
	const struct rouse_answer *answers, *token_answers;
	size_t n_answers, n_token_answers;
};
/* Amazon EC2's, version 2 only. */
extern const struct rouse_imds_api rouse_imds_ec2;

/* One conversation: the token belongs to the address that gave it. */
struct rouse_imds {
	const struct rouse_imds_api *api; /* NULL: EC2's */
	const char *base;                 /* NULL: the first of the API's that answers */
	struct rouse_fetcher *f;
	uint64_t deadline;
	/* Of this module. */
	char chosen[128];                       /* the base that has answered */
	char header[64 + ROUSE_IMDS_MAX_TOKEN]; /* empty: no token yet */
};
void rouse_imds_done(struct rouse_imds *i); /* wipes the token */

/* Does the firmware say that this is an EC2 instance? Only then is the service what it seems. `why`
 * gets one line for people. */
bool rouse_imds_expected(const struct rouse_machine *m, char *why, size_t why_size);

/* What a status means to a request of this API. */
enum rouse_means rouse_imds_means(const struct rouse_imds_api *api, bool token, long status);

/* GET <base><root><path>: 0 and the body; or -1, with e->sys == ENOENT when the service says that
 * there is none. A path that begins with "/" has no root before it. */
must_check int rouse_imds_get(struct rouse_imds *i, const char *path, uint64_t max,
			      struct rouse_buf *ret, struct rouse_err *e);
