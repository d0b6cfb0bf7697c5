/* SPDX-License-Identifier: Apache-2.0 */
/* Transfers from S3: how a try is signed, and what an answer means. Private to agent/fetch.c and
 * agent/transfer.c. */
#pragma once

#include <rouse/err.h>

#include "transfer.h"

struct bucket; /* of one transfer */

must_check int bucket_open(struct bucket **ret, const struct rouse_fetch *t, struct rouse_err *e);
void bucket_free(struct bucket *b); /* accepts NULL */
/* Finds credentials and region, which may ask the metadata service, and makes the request for a try. */
must_check int bucket_prepare(struct transfer *tr, struct rouse_err *e);
const char *bucket_url(const struct bucket *b);
must_check int bucket_add_headers(struct transfer *tr, struct rouse_err *e);
/* Judges a complete answer: as transfer_judge. */
enum outcome bucket_judge(struct transfer *tr, struct rouse_err *e);
