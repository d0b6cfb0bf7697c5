/* SPDX-License-Identifier: Apache-2.0 */
/* What must stay in a store: the roots of its collector, found as Nix finds them and then some. */
#pragma once

#include <stddef.h>

#include <rouse/err.h>
#include <rouse/fs.h>

#include "table.h"

/* Notes the hash parts (32 characters, as names in `roots`) of all store paths that a text mentions,
 * wherever the store is mounted. */
void rouse_roots_scan(struct rouse_paths *roots, const char *text, size_t n);

/* Notes what profiles, gcroots (both recursively), temproots, the running and the booted system, the
 * last document, and all processes need. The numbered links of the system profile do not count: their
 * fate is the caller's to decide. */
must_check int rouse_roots_read(struct rouse_paths *roots, const struct rouse_root *root,
				const struct rouse_paths *skip, struct rouse_err *e);
