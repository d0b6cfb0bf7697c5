/* SPDX-License-Identifier: Apache-2.0 */
/* What an initramfs boots when its document could not be used. */
#pragma once

#include <rouse/err.h>

/* Finds the one partition of type root-x86-64 (Discoverable Partitions) whose filesystem was
 * provisioned by rouse before (it holds /var/lib/rouse/document.json and
 * /nix/var/nix/profiles/system) and mounts it at `root`, read-write. None, or several, is an
 * error. A root that is mounted there already is taken when it holds the same. */
must_check int rouse_fallback_mount(const char *root, struct rouse_err *e);
