/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server is told so that it answers: a bearer token, or a name and a password out of a netrc file
 * (machine, login, password, default; comments, account and macdef are skipped), as curl and Nix
 * read it.
 */
#pragma once

#include <rouse/err.h>

/* The header line for the host of an https URL: "Authorization: Basic …", or NULL when the text has
 * nothing for it. `text` is overwritten. Caller frees with rouse_secret_free. */
char *rouse_netrc_header(char *text, const char *url);
/* "Authorization: Bearer …"; ROUSE_DOCUMENT for a token that is no header value. The same owner. */
must_check int rouse_bearer_header(char **ret, const char *token, struct rouse_err *e);
/* Wipes and frees; accepts NULL. */
void rouse_secret_free(char *secret);
/* What `path` (an absolute path of the running machine) says for the URL; *ret is NULL when nothing. Only
 * https is told secrets. */
must_check int rouse_netrc_read(char **ret, const char *path, const char *url, struct rouse_err *e);
