/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Router advertisements (RFC 4861, 8106) and DHCPv6 messages (RFC 8415, 3646) as bytes: pure functions.
 * agent/net6.c sends and receives them. Everything received is hostile until it is parsed.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/err.h>

#define ROUSE_DHCP6_MAX_DNS 3 /* resolv.conf has no room for more (MAXNS) */
/* The largest message that is read: what every link carries (RFC 8200 section 5). */
#define ROUSE_DHCP6_MAX 1280
#define ROUSE_DHCP6_CLIENT_ID 10 /* DUID-LL: type, Ethernet, MAC */

/* Resolvers, as either says. */
struct rouse_resolvers6 {
	size_t n_dns;
	struct in6_addr dns[ROUSE_DHCP6_MAX_DNS];
	char domain[256]; /* the first to search; "" when absent or unfit for a file */
};

struct rouse_ra {
	bool managed;      /* addresses are given by DHCPv6 */
	bool other;        /* resolvers are */
	bool autonomous;   /* a prefix is there from which the kernel makes an address */
	uint16_t lifetime; /* s, as a default router; 0: it is none */
	struct rouse_resolvers6 resolvers;
};
/* Parses an advertisement, from its ICMPv6 header on. -1 when it is damaged or something else. */
must_check int rouse_ra_parse(const uint8_t *data, size_t n, struct rouse_ra *ret);

enum rouse_dhcp6_type {
	ROUSE_DHCP6_SOLICIT = 1,
	ROUSE_DHCP6_ADVERTISE = 2,
	ROUSE_DHCP6_REQUEST = 3,
	ROUSE_DHCP6_REPLY = 7,
	ROUSE_DHCP6_INFORMATION = 11,
};

struct rouse_dhcp6_lease {
	enum rouse_dhcp6_type type;
	uint32_t xid; /* 24 bits */
	size_t server_len;
	uint8_t server[130]; /* its identifier (DUID, at most 2 + 128 bytes) */
	bool has_address;
	struct in6_addr address;
	uint32_t preferred, valid; /* s */
	struct rouse_resolvers6 resolvers;
};
/* Parses a server's message to the client with this MAC. -1 when it is not one that can be used:
 * damaged, of another type, for another client, without its server's identifier, or a refusal. */
must_check int rouse_dhcp6_parse(const uint8_t *data, size_t n, const uint8_t mac[static 6],
				 struct rouse_dhcp6_lease *ret);
/* Builds a message; `offer` is what a REQUEST asks for, else NULL. Returns its size. */
size_t rouse_dhcp6_build(uint8_t buf[static ROUSE_DHCP6_MAX], enum rouse_dhcp6_type type,
			 uint32_t xid, uint16_t centiseconds, const uint8_t mac[static 6],
			 const struct rouse_dhcp6_lease *offer);
