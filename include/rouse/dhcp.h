/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DHCPv4 messages (RFC 2131, 2132, 3396, 3442) as bytes: pure functions. agent/net.c sends and
 * receives them. Everything received is hostile until it is parsed.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/err.h>

enum rouse_dhcp_type {
	ROUSE_DHCP_DISCOVER = 1,
	ROUSE_DHCP_OFFER = 2,
	ROUSE_DHCP_REQUEST = 3,
	ROUSE_DHCP_ACK = 5,
	ROUSE_DHCP_NAK = 6,
};

#define ROUSE_DHCP_MAX_ROUTES 32 /* a cloud sends two or three */
#define ROUSE_DHCP_MAX_DNS 3     /* resolv.conf has no room for more (MAXNS) */
/* An IPv4 and a UDP header and the largest message that is read; clouds stay below 576. */
#define ROUSE_DHCP_MAX_FRAME 1500

struct rouse_dhcp_route {
	struct in_addr destination;
	unsigned prefix;
	struct in_addr gateway; /* 0.0.0.0: on the link itself */
};

/* What a server says. Addresses are in network order. */
struct rouse_dhcp_lease {
	enum rouse_dhcp_type type;
	uint32_t xid;
	uint8_t mac[6];
	struct in_addr address, server;
	unsigned prefix;
	uint32_t seconds; /* 0: not said */
	uint16_t mtu;     /* 0: not said */
	size_t n_routes;
	struct rouse_dhcp_route
		routes[ROUSE_DHCP_MAX_ROUTES]; /* option 121, else the router's default */
	size_t n_dns;
	struct in_addr dns[ROUSE_DHCP_MAX_DNS];
	char hostname[256], domain[256]; /* "" when absent or unfit for a file */
};

/* Parses a server's message (what UDP carries). -1 when it is not one that can be used: damaged,
 * no reply, of an unknown type, or an offer of an address that no machine can have. */
must_check int rouse_dhcp_parse(const uint8_t *data, size_t n, struct rouse_dhcp_lease *ret);

/* Builds the IPv4 packet of a DISCOVER, or of the REQUEST for `offer`; returns its size. */
size_t rouse_dhcp_build(uint8_t buf[static ROUSE_DHCP_MAX_FRAME], uint32_t xid, uint16_t seconds,
			bool broadcast, const uint8_t mac[static 6],
			const struct rouse_dhcp_lease *offer);
/* Finds the message in an IPv4 packet to the client's port; NULL when it is none. */
const uint8_t *rouse_dhcp_payload(const uint8_t *packet, size_t n, size_t *ret_len);
