/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this module share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where systemd listens for root. */
#define HEALTH_SYSTEMD_SOCKET "/run/systemd/private"

/* What systemd says of a unit: "loaded", "active", "running". */
struct health_unit {
	char load[32], active[32], sub[32];
};

/* The path of systemctl, wherever this system keeps it; false when there is none. */
bool health_find_systemctl(char *buf, size_t size);

/* False when nobody at the socket `path` gave an answer that can be used; *ret is then undefined. */
bool health_ask_systemd(const char *path, const char *unit, uint64_t deadline,
			struct health_unit *ret);
/* The first unit in the body of the answer to ListUnitsByNames. */
bool health_read_unit(const void *body, size_t n, struct health_unit *ret);
