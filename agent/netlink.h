/* SPDX-License-Identifier: Apache-2.0 */
/* The few things that are asked of rtnetlink(7). */
#pragma once

#include <rouse/dhcp.h>
#include <rouse/err.h>

/* A socket for the calls below; with `events`, one that reports links coming and going. */
must_check int netlink_open(bool events, struct rouse_err *e);
must_check int netlink_link_up(int fd, unsigned index, uint32_t mtu /* 0: as it is */,
			       struct rouse_err *e);
must_check int netlink_add_address(int fd, unsigned index, struct in_addr address, unsigned prefix,
				   struct rouse_err *e);
/* The kernel drops it when it is no longer `valid` (s; UINT32_MAX: for ever). */
must_check int netlink_add_address6(int fd, unsigned index, const struct in6_addr *address,
				    unsigned prefix, uint32_t preferred, uint32_t valid,
				    struct rouse_err *e);
/* A gateway of :: is none: the destination is on the link. */
must_check int netlink_add_route6(int fd, unsigned index, const struct in6_addr *destination,
				  unsigned prefix, const struct in6_addr *gateway,
				  struct rouse_err *e);
must_check int netlink_remove_address6(int fd, unsigned index, const struct in6_addr *address,
				       unsigned prefix, struct rouse_err *e);
must_check int netlink_add_route(int fd, unsigned index, const struct rouse_dhcp_route *r,
				 struct in_addr source, struct rouse_err *e);
/* Removes it, and with it the routes that begin there. */
must_check int netlink_remove_address(int fd, unsigned index, struct in_addr address,
				      unsigned prefix, struct rouse_err *e);
