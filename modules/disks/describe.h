/* SPDX-License-Identifier: Apache-2.0 */
/* Consent: what `replace` of a disk allows to destroy, and how to write it. */
#pragma once

#include "disks.h"

/* Is everything in this range (on this disk) covered by the disk's `replace`? */
bool disks_consents_content(const struct disks_disk *d, const struct disks_content *c);
bool disks_consents_disk(const struct disks_disk *d, const struct disks_fact *f);
/* The items of `replace` that would cover it: "\"ext4:data\"", for messages. */
const char *disks_consent_for(const struct disks_content *c, struct rouse_arena *arena);
const char *disks_consent_for_disk(const struct disks_fact *f, struct rouse_arena *arena);
