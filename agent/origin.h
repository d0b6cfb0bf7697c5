/* SPDX-License-Identifier: Apache-2.0 */
/* Which layer said this: every value of a merged document with the place that it comes from. */
#pragma once

#include <stdbool.h>

#include <rouse/document.h>

/* One value that holds no others. Borrowed from the document and the walk. */
struct rouse_origin {
	const char *path; /* as people write it */
	const json_t *value;
	bool secret;       /* not to be printed */
	const char *layer; /* name, NULL: no layer says it */
	unsigned line, column;
};

/* Calls `each` for every value of d->merged, in its order; d is valid (rouse_document_finish). */
void rouse_document_origins(const struct rouse_document *d,
			    void (*each)(void *arg, const struct rouse_origin *o), void *arg);
