/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files and symbolic links of equal content, stored once: hard links to one in /nix/store/.links, which is
 * named by the nix32 of the SHA-256 of its archive, as `nix-store --optimise` does it and goes on with
 * (NixOS/nix, src/libstore/optimise-store.cc).
 */
#pragma once

#include <stdint.h>

#include <rouse/err.h>

#include "store.h"

struct rouse_dedup {
	uint64_t files, bytes; /* that need no room of their own */
};

/* Of staging/NAME, which is complete. Only what has the same bytes becomes a link. */
must_check int rouse_dedup_path(struct rouse_dedup *d, const struct rouse_store *s,
				const char *name, struct rouse_err *e);
/* Removes what no path needs any more; a store without links is well. */
must_check int rouse_dedup_prune(const struct rouse_store *s, struct rouse_err *e);
