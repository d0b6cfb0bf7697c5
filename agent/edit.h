/* SPDX-License-Identifier: Apache-2.0 */
/* The text that `rouse edit` puts before a person, and what becomes of it. */
#pragma once

#include <stdbool.h>

#include <jansson.h>

#include <rouse/err.h>
#include <rouse/mem.h>

/* The override as text, with a header that explains it and the document's own section behind a marker
 * line. `below` is the document without the override. Caller frees. */
char *rouse_edit_offer(const char *section, const char *path, bool full, const char *text,
		       const json_t *below);
/* Undoes that: lines that begin with "//" or "#" become blank, what is behind the marker goes. Lines and
 * columns of the rest stay, for messages. */
void rouse_edit_strip(struct rouse_buf *text);
bool rouse_edit_is_blank(const struct rouse_buf *text);
/* The patch that makes `section` of `below` what `whole` says ("full"); {} when it says so already. */
json_t *rouse_edit_patch(const char *section, const json_t *below, const json_t *whole);
/* Does a patch of `section` say nothing? */
bool rouse_edit_is_empty(const char *section, const json_t *below, const json_t *patch);

/* Opens `path` in $VISUAL, $EDITOR or the first of editor, nano and vi that is there; waits. */
must_check int rouse_edit_run(const char *path, struct rouse_err *e);
