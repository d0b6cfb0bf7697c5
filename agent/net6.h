/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IPv6 on one card: the router is asked to say how addresses are given here. From a prefix the kernel makes
 * its own; where the router says so, DHCPv6 (RFC 8415) is asked for one, or for resolvers only. Routes
 * are the kernel's. Private to agent/net.c, which owns the loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rouse/dhcp6.h>

#include "lease.h"

struct net6 {
	int router, server; /* sockets, -1: not open */
	bool heard;         /* the router has said what `ra` holds */
	bool offered, bound;
	struct rouse_ra ra;
	struct rouse_dhcp6_lease lease; /* the offer, until it is bound */
	uint32_t xid;
	unsigned tries;
	uint64_t begin, next; /* next: when to send again */
};
#define NET6_INIT                                                                                  \
	{                                                                                          \
		.router = -1, .server = -1                                                         \
	}

/* Opens what is asked through; false when this card has no IPv6 (yet). */
bool net6_open(struct net6 *n, const struct lease_card *c);
void net6_done(struct net6 *n);
/* Sends what is due. */
void net6_send(struct net6 *n, const struct lease_card *c);
/* Reads what came; true when it has brought an address that must be set. */
bool net6_receive(struct net6 *n, const struct lease_card *c);
/* Has this card all that the router promises? Then the machine can be used over IPv6. */
bool net6_is_ready(const struct net6 *n, const struct lease_card *c);
