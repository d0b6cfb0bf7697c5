/* SPDX-License-Identifier: Apache-2.0 */
/* What an initramfs boots when its document could not be used. */
#pragma once

#include <stdint.h>

#include <rouse/err.h>

/* Finds the one partition of type root-x86-64 (Discoverable Partitions) whose filesystem was
 * provisioned by rouse before (it holds /var/lib/rouse/document.json and
 * /nix/var/nix/profiles/system) or holds the store path `baked` (may be NULL), and mounts it at
 * `root`, read-write. None, or several, is an error. A root that is mounted there already is taken
 * when it holds the same. Disks that hold nothing of the kind are looked at again until `deadline`:
 * others may be on their way. */
must_check int rouse_fallback_mount(const char *root, const char *baked, uint64_t deadline,
				    struct rouse_err *e);
