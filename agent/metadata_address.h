/* SPDX-License-Identifier: Apache-2.0 */
/* The addresses at which clouds give out metadata and credentials. */
#pragma once

#include <stdbool.h>

/* Is it one of them, however it is written? `address` is of `family` (AF_INET: 4 bytes, AF_INET6: 16), in the
 * order of the network; addresses that are translated to another one count as that one. */
bool metadata_address_is(int family, const void *address);
