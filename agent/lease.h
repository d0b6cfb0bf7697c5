/* SPDX-License-Identifier: Apache-2.0 */
/* What a lease means for this machine: address, routes, MTU, resolver, and the facts of it. */
#pragma once

#include <net/if.h>
#include <stdint.h>

#include <rouse/dhcp.h>
#include <rouse/err.h>

struct lease_card {
	unsigned index;
	char name[IF_NAMESIZE];
	uint8_t mac[6];
};

/* `control` is a socket of netlink_open(). */
must_check int lease_apply(int control, const struct lease_card *c,
			   const struct rouse_dhcp_lease *l, struct rouse_err *e);
