/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is open while steps run. Before the first one, every disk that will be written is locked, and
 * read once more: when one of them is not what the plan was made from, none is touched. A disk stays
 * locked until its last step, by flock on a read-only descriptor, and is written through a second one
 * that is closed first: udevd then sees no writer go away outside the lock, and does not tear the
 * partitions down to read them anew.
 */
#pragma once

#include "write.h"

struct disks_session {
	char device[256];
	int lock, fd;
};

struct disks_state {
	const struct rouse_plan *plan;
	bool begun; /* all sessions are open, or were */
	size_t n, n_keys, n_heads;
	struct {
		char device[256];
		unsigned number;
		struct disks_head *head;
	} heads[ROUSE_MAX_PARTITIONS]; /* of images that are not finished */
	struct disks_session sessions[ROUSE_MAX_DISKS];
	struct {
		const struct disks_luks *luks;
		struct rouse_buf key;
	} * keys; /* that were fetched before the first disk changes */
};

/* The key that was fetched for it, NULL: none was. It stays the state's. */
const struct rouse_buf *disks_key_of(const struct disks_state *state,
				     const struct disks_luks *luks);
/* Opens a session for every disk that the plan writes, once. */
must_check int disks_open_all(struct disks_state *state, const struct rouse_context *c,
			      struct rouse_err *e);
/* The session of an action's disk, opened where it is not; it stays the state's. */
must_check int disks_session_of(struct disks_state *state, const struct disks_action *a,
				const struct rouse_context *c, struct disks_session **ret,
				struct rouse_err *e);
/* Gives the disk back; nothing happens to one that is closed. */
void disks_session_close(struct disks_session *s);
