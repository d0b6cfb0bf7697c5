/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Against old documents that somebody else brings back: a signature stays good for ever. A document may
 * say how long it may be used ("notAfter") and which one it is ("generation"); a machine remembers the
 * highest that it was provisioned with. So does the fleet's control object ("expires", "gen").
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rouse/document.h>
#include <rouse/err.h>

/* "2027-01-31T12:00:00Z", or "2027-01-31", which ends with that day. */
must_check bool rouse_parse_time(const char *text, int64_t *ret);
bool rouse_is_time(const char *text);

/* Refuses (ROUSE_UNTRUSTED) a document with a layer whose time is over at `now`, and one whose
 * generation is below `least`. None counts as 0. */
must_check int rouse_freshness_check(const struct rouse_document *d, int64_t least, int64_t now,
				     struct rouse_err *e);
/* Refuses (ROUSE_UNTRUSTED) a document older than what the machine below `root` was provisioned with. */
must_check int rouse_freshness_check_seen(const struct rouse_document *d, const char *root,
					  struct rouse_err *e);
/* Remembers the document's generation when it is the highest. Writes nothing otherwise. */
must_check int rouse_freshness_remember(const struct rouse_document *d, const char *root,
					struct rouse_err *e);
/* The same of the "gen" of the fleet's control object: the highest that the machine below `root` has followed,
 * 0 for none, and one more to remember. */
int64_t rouse_freshness_control(const char *root);
must_check int rouse_freshness_remember_control(int64_t gen, const char *root, struct rouse_err *e);
