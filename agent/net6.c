/* SPDX-License-Identifier: Apache-2.0 */
#include "net6.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <netinet/icmp6.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <rouse/clock.h>
#include <rouse/log.h>
#include <rouse/text.h>

enum { CLIENT_PORT = 546, SERVER_PORT = 547 };
/* While the link-local address is not confirmed, nothing can be sent. */
#define AGAIN_SOON 100

static int open_router(const struct lease_card *c)
{
	auto_fd int fd = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMPV6);
	struct icmp6_filter filter;
	int hops = 255, on = 1, index = (int)c->index;

	ICMP6_FILTER_SETBLOCKALL(&filter);
	ICMP6_FILTER_SETPASS(ND_ROUTER_ADVERT, &filter);
	if (fd < 0 || setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof(filter)) < 0 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof(hops)) < 0 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof(index)) < 0 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, c->name, (socklen_t)strlen(c->name) + 1) <
		    0)
		return -1;
	return take(fd, -1);
}

static int open_server(const struct lease_card *c)
{
	struct sockaddr_in6 here = { .sin6_family = AF_INET6, .sin6_port = htons(CLIENT_PORT) };
	auto_fd int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1;

	if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, c->name, (socklen_t)strlen(c->name) + 1) <
		    0 ||
	    bind(fd, (struct sockaddr *)&here, sizeof(here)) < 0)
		return -1;
	return take(fd, -1);
}

bool net6_open(struct net6 *n, const struct lease_card *c)
{
	auto_fd int router = open_router(c);
	auto_fd int server = router < 0 ? -1 : open_server(c);

	if (server < 0)
		return false;
	n->router = take(router, -1);
	n->server = take(server, -1);
	n->begin = n->next = rouse_clock_ms();
	n->xid = (uint32_t)rouse_jitter(0xffffff);
	return true;
}

void net6_done(struct net6 *n)
{
	if (n->router >= 0)
		(void)close(n->router);
	if (n->server >= 0)
		(void)close(n->server);
	n->router = n->server = -1;
}

/* What is still to be asked of a server. */
static bool wants_server(const struct net6 *n)
{
	return n->heard && !n->bound && (n->ra.managed || (n->ra.other && !n->ra.resolvers.n_dns));
}

static bool ask_router(const struct net6 *n, const struct lease_card *c)
{
	struct {
		struct nd_router_solicit head;
		struct nd_opt_hdr option;
		uint8_t mac[6];
	} packet = { .head.nd_rs_type = ND_ROUTER_SOLICIT,
		     .option = { .nd_opt_type = ND_OPT_SOURCE_LINKADDR, .nd_opt_len = 1 } };
	struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_scope_id = c->index };

	memcpy(packet.mac, c->mac, sizeof(packet.mac));
	(void)inet_pton(AF_INET6, "ff02::2", &to.sin6_addr); /* all routers; it is an address */
	return sendto(n->router, &packet, sizeof(packet), 0, (struct sockaddr *)&to, sizeof(to)) >=
	       0;
}

static bool ask_server(struct net6 *n, const struct lease_card *c)
{
	struct sockaddr_in6 to = { .sin6_family = AF_INET6,
				   .sin6_port = htons(SERVER_PORT),
				   .sin6_scope_id = c->index };
	uint64_t elapsed = (rouse_clock_ms() - n->begin) / 10;
	enum rouse_dhcp6_type type = !n->ra.managed ? ROUSE_DHCP6_INFORMATION
				     : n->offered   ? ROUSE_DHCP6_REQUEST
						    : ROUSE_DHCP6_SOLICIT;
	uint8_t packet[ROUSE_DHCP6_MAX];
	size_t len = rouse_dhcp6_build(packet, type, n->xid,
				       (uint16_t)(elapsed < UINT16_MAX ? elapsed : UINT16_MAX),
				       c->mac, n->offered ? &n->lease : NULL);

	(void)inet_pton(AF_INET6, "ff02::1:2", &to.sin6_addr); /* all servers and relays */
	return sendto(n->server, packet, len, 0, (struct sockaddr *)&to, sizeof(to)) >= 0;
}

void net6_send(struct net6 *n, const struct lease_card *c)
{
	unsigned shift = n->tries < 2 ? n->tries : 2;
	bool sent;

	if (n->heard && !wants_server(n)) {
		n->next = UINT64_MAX;
		return;
	}
	sent = n->heard ? ask_server(n, c) : ask_router(n, c);
	if (!sent) {
		n->next = rouse_clock_ms() + AGAIN_SOON;
		return;
	}
	/* 1, 2, 4, 4… s (RFC 8415 section 15 begins so, RFC 4861 with 4), spread over a fleet. */
	n->next = rouse_clock_ms() + (1000u << shift) + rouse_jitter(200);
	/* An offer that nobody confirms is forgotten after three requests. */
	if (++n->tries > 3 && n->offered) {
		n->offered = false;
		n->tries = 0;
		n->xid = (uint32_t)rouse_jitter(0xffffff);
	}
}

/* Only a router on this link can send with the full hop limit, RFC 4861 section 6.1.2. */
static bool is_from_link(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
		if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT) {
			int hops;

			memcpy(&hops, CMSG_DATA(c), sizeof(hops));
			return hops == 255;
		}
	return false;
}

static void hear_router(struct net6 *n, const struct lease_card *c)
{
	uint8_t packet[ROUSE_DHCP6_MAX];
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int)) + 64];
	} control;
	struct sockaddr_in6 from = { 0 };
	struct iovec v = { .iov_base = packet, .iov_len = sizeof(packet) };
	ssize_t len;

	/* A flood must not keep us from looking at the clock. */
	for (int i = 0; i < 64; i++) {
		struct msghdr m = { .msg_name = &from,
				    .msg_namelen = sizeof(from),
				    .msg_iov = &v,
				    .msg_iovlen = 1,
				    .msg_control = &control,
				    .msg_controllen = sizeof(control) };

		len = recvmsg(n->router, &m, 0);
		if (len <= 0)
			return;
		if (n->heard || !is_from_link(&m) || !IN6_IS_ADDR_LINKLOCAL(&from.sin6_addr) ||
		    rouse_ra_parse(packet, (size_t)len, &n->ra) < 0 || !n->ra.lifetime)
			continue;
		n->heard = true;
		n->tries = 0;
		n->next = rouse_clock_ms();
		rouse_log(ROUSE_LOG_DEBUG, "net", "a router on '%s' gives addresses by %s", c->name,
			  n->ra.managed ? "DHCPv6" : "prefix");
	}
}

static bool hear_server(struct net6 *n, const struct lease_card *c)
{
	uint8_t packet[ROUSE_DHCP6_MAX];
	struct rouse_dhcp6_lease l;
	ssize_t len;

	for (int i = 0; i < 64 && (len = recv(n->server, packet, sizeof(packet), 0)) > 0; i++) {
		if (!wants_server(n) || rouse_dhcp6_parse(packet, (size_t)len, c->mac, &l) < 0 ||
		    l.xid != n->xid || (n->ra.managed && !l.has_address))
			continue;
		if (l.type == ROUSE_DHCP6_ADVERTISE && n->ra.managed && !n->offered) {
			n->lease = l;
			n->offered = true;
			n->tries = 0;
			n->next = rouse_clock_ms();
		} else if (l.type == ROUSE_DHCP6_REPLY && (n->offered || !n->ra.managed)) {
			n->lease = l;
			n->bound = true;
			return l.has_address;
		}
	}
	return false;
}

bool net6_receive(struct net6 *n, const struct lease_card *c)
{
	if (n->router < 0)
		return false;
	hear_router(n, c);
	return hear_server(n, c);
}

/* Has the card an address beyond the link that is confirmed? */
static bool has_address(const struct lease_card *c)
{
	auto_file FILE *f = fopen("/proc/net/if_inet6", "re");
	char line[128];

	while (f && fgets(line, sizeof(line), f)) {
		/* address, index, length, scope, flags, name */
		char *rest = line, *words[6] = { 0 };
		uint64_t scope = 1, flags = 0;
		size_t n = 0;

		for (char *w; n < 6 && (w = strsep(&rest, " \n"));)
			if (*w)
				words[n++] = w;
		if (n < 6 || !rouse_streq(words[5], c->name))
			continue;
		scope = strtoul(words[3], NULL, 16);
		flags = strtoul(words[4], NULL, 16);
		if (scope == 0 && !(flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)))
			return true;
	}
	return false;
}

bool net6_is_ready(const struct net6 *n, const struct lease_card *c)
{
	return n->heard && (n->bound || !n->ra.managed) && has_address(c);
}
