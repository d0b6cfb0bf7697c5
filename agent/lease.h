/* SPDX-License-Identifier: Apache-2.0 */
/* What a lease means for this machine: address, routes, MTU, resolver, and the facts of it. */
#pragma once

#include <net/if.h>
#include <stdint.h>

#include <rouse/dhcp.h>
#include <rouse/dhcp6.h>
#include <rouse/err.h>
#include <rouse/netconf.h>

struct lease_card {
	unsigned index;
	char name[IF_NAMESIZE];
	uint8_t mac[6];
};

/* `control` is a socket of netlink_open(). */
must_check int lease_apply(int control, const struct lease_card *c,
			   const struct rouse_dhcp_lease *l, struct rouse_err *e);
/* Of a network that has IPv6 only: the facts of it and the resolver. `l` is what DHCPv6 said, NULL when
 * nothing was asked; the routes, and addresses of a prefix, are the kernel's. */
must_check int lease_apply6(const struct lease_card *c, const struct rouse_resolvers6 *router,
			    const struct rouse_dhcp6_lease *l, struct rouse_err *e);
/* What somebody has written down for this card: addresses, routes, MTU, and the resolvers of all. */
must_check int lease_apply_written(int control, const struct lease_card *c,
				   const struct rouse_netconf_card *card,
				   const struct rouse_netconf *all, struct rouse_err *e);
