/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures as minisign(1) makes them: Ed25519 over the text ("Ed"), or over its BLAKE2b-512 ("ED"), and
 * a second one over the first and a comment. Pure.
 */
#pragma once

#include <stdbool.h>

#include <rouse/err.h>
#include <rouse/trust.h>

/* "RWQ…", the second line of a minisign.pub: base64 of "Ed", a key id and 32 bytes. The key's name is
 * "minisign " and the id as minisign prints it, which no key of another kind can have. */
must_check bool rouse_minisign_key(struct rouse_key *ret, const char *text);
/* Either kind of key that may sign documents; for schema tables. */
bool rouse_is_document_key(const char *text);
must_check int rouse_document_key_parse(struct rouse_key *ret, const char *text,
					struct rouse_err *e);
bool rouse_is_minisign_key(const struct rouse_key *key);

/* Does a signature file begin as one of minisign's? */
bool rouse_is_minisign(const char *text);
/* Demands both signatures to be by one of the keys; `text` is changed. *ret_name (may be NULL) is the
 * key's name, borrowed from it. */
must_check int rouse_minisign_check(char *text, const struct rouse_key *keys, size_t n_keys,
				    const void *data, size_t n, const char **ret_name,
				    struct rouse_err *e);
