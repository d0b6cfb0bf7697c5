/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call of an AWS Query API (Auto Scaling, CloudFormation): a form by POST, signed with the
 * credentials of the instance's role, answered in XML. Throttling, 5xx and a service that does not
 * answer are tried again until the deadline, in turn at the service's two names (the second one is all
 * that a subnet without IPv4 reaches); a clock that is wrong, or an expired key, is put right once.
 */
#pragma once

#include <stdint.h>

#include <rouse/err.h>
#include <rouse/mem.h>

struct rouse_fetcher;

struct rouse_query {
	/* in */
	const char *service;       /* "autoscaling" */
	const char *region;        /* NULL: the instance's */
	const char *endpoint;      /* "https://HOST[:PORT]"; NULL: Amazon's */
	const char *body;          /* "Action=…&Version=…", encoded */
	const char *authorization; /* header line in place of a signature; NULL: sign */
	uint64_t deadline;
	/* out, of the last answer */
	long status;                 /* 0: none */
	char code[64], message[256]; /* of a refusal: one line each, else "" */
	struct rouse_buf answer;     /* caller frees */
};

/* 0 for 200. Refused: -1, ROUSE_DOCUMENT, e->sys == EACCES when it is not allowed to this instance. No
 * complete answer in time: ROUSE_UNAVAILABLE. */
must_check int rouse_query(struct rouse_fetcher *f, struct rouse_query *q, struct rouse_err *e);
/* "&NAME=VALUE", encoded, appended. */
void rouse_query_add(struct rouse_buf *body, const char *name, const char *value);
/* The text of the first <NAME> in `xml`, "" when there is none. */
void rouse_query_element(char *buf, size_t size, const char *xml, const char *name);
