/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network that somebody wrote down: cloud-init's network configuration, versions 1 and 2, as far as the
 * agent needs it to reach its document: addresses, routes and resolvers of cards. Bonds, bridges and
 * VLANs are for the system's own network, and passed over.
 */
#pragma once

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/err.h>

/* Of one machine: far more than a boot needs. */
#define ROUSE_NETCONF_MAX_CARDS 16
#define ROUSE_NETCONF_MAX_ADDRESSES 8
#define ROUSE_NETCONF_MAX_ROUTES 16
#define ROUSE_NETCONF_MAX_DNS 3

struct rouse_netconf_net {
	int family; /* AF_INET, AF_INET6 */
	uint8_t address[16];
	unsigned prefix;
	uint8_t gateway[16]; /* of a route; zero: none */
};

struct rouse_netconf_card {
	char name[IF_NAMESIZE]; /* "" when any name will do */
	bool has_mac;
	uint8_t mac[6];
	uint32_t mtu; /* 0: not said */
	size_t n_addresses, n_routes;
	struct rouse_netconf_net addresses[ROUSE_NETCONF_MAX_ADDRESSES];
	struct rouse_netconf_net routes[ROUSE_NETCONF_MAX_ROUTES];
};

struct rouse_netconf {
	size_t n_cards, n_dns;
	struct rouse_netconf_card cards[ROUSE_NETCONF_MAX_CARDS];
	char dns[ROUSE_NETCONF_MAX_DNS][INET6_ADDRSTRLEN];
	char domain[256]; /* the first to search; "" when there is none */
};

/* Reads a configuration in YAML or JSON. ROUSE_DOCUMENT when it is malformed; `name` is for messages. */
must_check int rouse_netconf_parse(const char *name, const char *text, size_t len,
				   struct rouse_netconf *ret, struct rouse_err *e);
/* The card's configuration, when it has addresses of its own; NULL when it asks for them, or nothing is
 * said about it. */
const struct rouse_netconf_card *rouse_netconf_find(const struct rouse_netconf *c, const char *name,
						    const uint8_t mac[static 6]);

/* What a source has found, for rouse_net_up(). */
#define ROUSE_NETCONF_FILE "/run/rouse/network-config"
