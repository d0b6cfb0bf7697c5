/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bearer tokens of the machine's own identity: the service account of a Google instance, the managed
 * identity of an Azure one. Shared by the fetchers of one process, and safe among threads: whoever needs
 * a token first asks the metadata service, the others wait for the answer.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rouse/err.h>

enum token_kind { TOKEN_GOOGLE, TOKEN_AZURE, TOKEN_KINDS_ };
/* "service account", "managed identity" */
const char *token_kind_word(enum token_kind k);

/* Azure's are JSON Web Tokens of 1 to 3 KB; a request's header ends at 8 to 16 KB. */
#define TOKEN_SIZE 8193

struct tokens;
/* `imds` is the address of metadata services for tests; NULL: the real ones, of clouds that the firmware
 * names. Holds one reference. */
struct tokens *tokens_new(const char *imds);
struct tokens *tokens_ref(struct tokens *t);
void tokens_unref(struct tokens *t); /* accepts NULL */
/* In a child that was forked: the parent's connections are not used. */
void tokens_forget(struct tokens *t);

struct token {
	char text[TOKEN_SIZE]; /* "": the machine has no identity of this kind */
	bool instance;         /* it is a machine of this cloud, and could have one */
	unsigned generation;
};
/* Asks where needed, until the deadline. `client_id` says which of several identities, or NULL. The caller
 * wipes *ret. */
must_check int tokens_get(struct tokens *t, enum token_kind kind, const char *client_id,
			  uint64_t deadline, struct token *ret, struct rouse_err *e);
/* The service refused this generation: the next tokens_get gets another. */
void tokens_refused(struct tokens *t, enum token_kind kind, unsigned generation);
