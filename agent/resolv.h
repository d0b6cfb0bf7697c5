/* SPDX-License-Identifier: Apache-2.0 */
/* The resolver's file, while the agent uses the network before the system does. */
#pragma once

#include <rouse/err.h>
#include <rouse/fs.h>

/* Makes /etc/resolv.conf name these servers and search this domain ("": none); without a server it
 * stays as it is. An image's own file is only covered. */
must_check int resolv_write(const struct rouse_root *root, const char *domain,
			    const char *const *servers, size_t n, struct rouse_err *e);
/* Uncovers what was covered. */
void resolv_restore(void);
