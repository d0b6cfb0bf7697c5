/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What documents made of the files of a machine, so that it can be undone when no document asks for it
 * any more: /var/lib/rouse/made.json says, by section and path, what rouse left there and what was
 * there before; the bytes that were are in /var/lib/rouse/originals, by their digest.
 *
 * The record is written before the file, so that a power cut leaves nothing of ours unrecorded.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include <rouse/err.h>
#include <rouse/fs.h>

#define ROUSE_MADE_FILE "/var/lib/rouse/made.json"
#define ROUSE_ORIGINALS "/var/lib/rouse/originals"

/* What stands at a path, as text: "absent", "file:SHA256", "link:TARGET", or "other" (directories,
 * devices, and files larger than an original may be). Caller frees; NULL with *e. */
must_check char *rouse_made_state(const struct rouse_root *root, const char *path,
				  struct rouse_err *e);

/* What was at a path before, for facts and plans. */
enum rouse_made_was { ROUSE_WAS_ABSENT, ROUSE_WAS_KEPT, ROUSE_WAS_LOST, ROUSE_WAS_ };
extern const char *const rouse_made_was_words[]; /* "absent", "kept", "lost", NULL */

/* The record of one section: { PATH: { "is": [STATE…], "was": WORD } }, {} when there is none. A new
 * reference; NULL with *e. "is": what rouse left there, or was about to when the power failed. */
must_check json_t *rouse_made_read(const struct rouse_root *root, const char *section,
				   struct rouse_err *e);

/* One change that is about to be made: `state` as above. */
struct rouse_made_change {
	const char *path, *state;
};
/* Records them, and keeps what is there now, unless that is recorded already. */
must_check int rouse_made_record(const struct rouse_root *root, const char *section,
				 const struct rouse_made_change *changes, size_t n,
				 struct rouse_err *e);
/* Undoes one: what was there before is put back, or the path removed, and it is no longer recorded. What
 * somebody has changed since stays, as does what was not kept. */
must_check int rouse_made_undo(const struct rouse_root *root, const char *section, const char *path,
			       struct rouse_err *e);
