/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths that another store of this machine has: what lies under the same name there is copied into the
 * staging directory instead of fetched. On one filesystem that can (btrfs, XFS) the copy shares the
 * blocks, see ioctl_ficlone(2). Nothing is believed of that store: what counts is the hash of the copy's
 * archive, in Nix's canonical form.
 */
#pragma once

#include "pull.h"

/* Takes what can be copied out of p->queue, and notes it as complete. Whatever cannot stays in the queue,
 * with the reason in the log (debug). -1 with ROUSE_SYSTEM: the journal cannot be written. */
must_check int copy_from_other_store(struct pull *p, struct rouse_err *e);
