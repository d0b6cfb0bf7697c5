/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this module share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The path of systemctl, wherever this system keeps it; false when there is none. */
bool health_find_systemctl(char *buf, size_t size);
