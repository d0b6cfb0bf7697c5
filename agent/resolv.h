/* SPDX-License-Identifier: Apache-2.0 */
/* The resolver's file, while the agent uses the network before the system does. */
#pragma once

#include <rouse/dhcp.h>
#include <rouse/err.h>
#include <rouse/fs.h>

/* Makes /etc/resolv.conf say what the lease says; an image's own file is only covered. */
must_check int resolv_write(const struct rouse_root *root, const struct rouse_dhcp_lease *l,
			    struct rouse_err *e);
/* Uncovers what was covered. */
void resolv_restore(void);
