/* SPDX-License-Identifier: Apache-2.0 */
/* Whole texts that came compressed: the indexes of channels, lists of store paths. */
#pragma once

#include <stddef.h>

#include <rouse/err.h>
#include <rouse/mem.h>

/* Undoes what the end of `name` (a file's or a URL's, which is also for messages) says: ".xz", ".zst",
 * ".br"; with any other it is a copy. Appended to `ret`, at most `max` bytes; more, and damaged or
 * truncated data, are ROUSE_DOCUMENT. */
must_check int rouse_decompress(const char *name, const void *data, size_t n, size_t max,
				struct rouse_buf *ret, struct rouse_err *e);
