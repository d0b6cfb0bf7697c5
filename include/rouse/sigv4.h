/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AWS Signature Version 4, the "Authorization" header of a request to S3 and its siblings. Pure: the
 * time is given, nothing is asked. libcurl's own signer is not used: Debian 12's signs keys with
 * "=", "+" or "(" and queries out of order wrongly, and no version of it can correct a clock.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <rouse/auto.h>

/* Credentials; wiped when they are no longer needed, and never printed. */
struct rouse_aws_key {
	char id[129], secret[129]; /* AWS: at most 128 characters */
	char token[8193]; /* of a role; "": none. AWS names no bound; seen are 400 to 4000 */
};
void rouse_aws_key_wipe(struct rouse_aws_key *k);

struct rouse_sigv4_header {
	const char *name; /* in lower case */
	const char *value;
};

struct rouse_sigv4 {
	const struct rouse_aws_key *key;
	const char *region, *service;
	int64_t time; /* seconds since 1970, also sent as x-amz-date */
	const char *method;
	const char *path;  /* as sent, see rouse_sigv4_encode; S3 signs it as it is */
	const char *query; /* as sent: each part encoded, sorted by name; "" when there is none */
	const struct rouse_sigv4_header *headers; /* those to sign: host and all x-amz-* at least */
	size_t n_headers;    /* 1…16; equal names are joined in their order */
	const char *payload; /* SHA-256 of the body in hex */
};

/* SHA-256 of nothing. */
#define ROUSE_SIGV4_EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* The value of the Authorization header; caller frees. */
char *rouse_sigv4_authorization(const struct rouse_sigv4 *s);
/* "20150830T123600Z" */
#define ROUSE_SIGV4_DATE 17
void rouse_sigv4_date(char ret[static ROUSE_SIGV4_DATE], int64_t time);
/* Percent-encodes all but letters, digits, "-._~" and what is in `also`; caller frees. */
char *rouse_sigv4_encode(const char *bytes, size_t n, const char *also);
/* Undoes percent-encoding; a '%' without two hex digits stands for itself, '+' always does. The
 * result ends with a NUL that *ret_len does not count; caller frees. */
char *rouse_sigv4_decode(const char *text, size_t n, size_t *ret_len);
