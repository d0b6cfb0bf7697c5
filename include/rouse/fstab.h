/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lines of /etc/fstab that are rouse's, fstab(5): those with the option "x-rouse.OWNER", which
 * mount(8) and systemd pass over; OWNER is a module. With them a machine that cannot reach its document still mounts what it
 * mounted before; without, its services would start on empty directories.
 */
#pragma once

#include <jansson.h>

#include <rouse/err.h>
#include <rouse/fs.h>
#include <rouse/mem.h>
#include <rouse/schema.h>

#define ROUSE_FSTAB "/etc/fstab"

struct rouse_fstab_line {
	const char *owner;
	const char *source, *target, *type; /* target NULL: swap */
	const char *options;                /* comma-separated; NULL: none */
	bool check;                         /* fsck(8) looks at it */
};

/* What rouse itself needs is mounted before it runs; all else waits until it has had its say, or both
 * it and systemd would mount it. */
bool rouse_fstab_is_early(const char *target);
/* Appends the line as it stands in the file, with its newline. Blanks and the like are octal there. */
void rouse_fstab_print(struct rouse_buf *out, const struct rouse_fstab_line *line);
/* What stands there: { "own": [LINE…], "others": [TARGET…] }, lines as printed above, without their
 * newlines. NULL without an error (e->sys is ENOENT) when the root has no fstab. A new reference. */
must_check json_t *rouse_fstab_read(const struct rouse_root *root, const char *owner,
				    struct rouse_err *e);
/* Are these (facts: the list "own") the lines? */
bool rouse_fstab_is(const struct rouse_list *own, const char *lines);
/* Puts `lines` (each with its newline) in place of the owner's; all other lines stay as they are. */
must_check int rouse_fstab_write(const struct rouse_root *root, const char *owner,
				 const char *lines, struct rouse_err *e);
