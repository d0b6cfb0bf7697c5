/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#pragma once

#include <rouse/source.h>

extern const struct rouse_source source_cmdline, source_ec2, source_nocloud, source_nocloud_net;

/* Is `text` (len bytes, blanks around it are ignored) one line "URL" or "URL#sha256=…"? Then 1,
 * and the pointer is in `f`; 0 when it is something else, -1 when it is a wrong one. */
must_check int source_pointer(struct rouse_found *f, const char *text, size_t len,
			      struct rouse_err *e);

/* Copies `value` when it is printable UTF-8 without control characters, else NULL: it will stand in
 * documents, logs and reports. */
const char *source_keep(struct rouse_found *f, const char *value, size_t len);

/* Takes the instance's name and host name out of NoCloud's meta-data (lines "key: value", or a JSON
 * object); the text is used up. */
must_check int source_meta_data(struct rouse_found *f, struct rouse_buf *text, struct rouse_err *e);
