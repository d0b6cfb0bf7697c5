/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a text, as it is collected; what becomes of it is in rouse/schema.h. */
#pragma once

#include <rouse/schema.h>

/* Adds a problem at the path of n_keys keys, which are copied; takes `message`, of which control
 * characters are replaced. Beyond ROUSE_MAX_PROBLEMS it is only counted. */
void problems_add(struct rouse_problems *p, const char *const *keys, size_t n_keys, bool at_key,
		  char *message);
