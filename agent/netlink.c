/* SPDX-License-Identifier: Apache-2.0 */
#include "netlink.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

struct request {
	struct nlmsghdr head;
	union {
		struct ifinfomsg link;
		struct ifaddrmsg address;
		struct rtmsg route;
	};
	char attributes[128]; /* six of at most 8 bytes each, or three of at most 20 */
};

static void begin(struct request *q, uint16_t type, uint16_t flags, size_t body)
{
	*q = (struct request){ .head = {
				       .nlmsg_type = type,
				       .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags),
				       .nlmsg_len = (uint32_t)NLMSG_LENGTH(body) } };
}

static void add(struct request *q, uint16_t type, const void *data, size_t n)
{
	size_t at = NLMSG_ALIGN(q->head.nlmsg_len);
	struct rtattr a = { .rta_type = type, .rta_len = (uint16_t)RTA_LENGTH(n) };

	memcpy((char *)q + at, &a, sizeof(a));
	memcpy((char *)q + at + RTA_LENGTH(0), data, n);
	q->head.nlmsg_len = (uint32_t)(at + RTA_ALIGN(a.rta_len));
}

int netlink_open(bool events, struct rouse_err *e)
{
	struct sockaddr_nl here = { .nl_family = AF_NETLINK,
				    .nl_groups = events ? RTMGRP_LINK : 0 };
	struct timeval limit = { .tv_sec =
					 5 }; /* the kernel answers at once; never wait for ever */
	auto_fd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | (events ? SOCK_NONBLOCK : 0),
				NETLINK_ROUTE);

	if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof(here)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot talk to the kernel's network");
	return take(fd, -1);
}

/* Sends a request and reads its answer: 0, or -1 with errno. */
static int ask(int fd, struct request *q)
{
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		char rest[512];
	} answer = { 0 };
	ssize_t n;

	if (send(fd, q, q->head.nlmsg_len, 0) < 0)
		return -1;
	n = recv(fd, &answer, sizeof(answer), 0);
	if (n < 0)
		return -1;
	if ((size_t)n < sizeof(answer.head) + sizeof(answer.error) ||
	    answer.head.nlmsg_type != NLMSG_ERROR)
		return errno = EPROTO, -1;
	if (answer.error.error)
		return errno = -answer.error.error, -1;
	return 0;
}

static const char *name_of(unsigned index, char buf[static IF_NAMESIZE])
{
	return if_indextoname(index, buf) ? buf : "?";
}

int netlink_link_up(int fd, unsigned index, uint32_t mtu, struct rouse_err *e)
{
	char name[IF_NAMESIZE];
	struct request q;

	begin(&q, RTM_NEWLINK, 0, sizeof(q.link));
	q.link.ifi_index = (int)index;
	q.link.ifi_flags = q.link.ifi_change = IFF_UP;
	if (mtu)
		add(&q, IFLA_MTU, &mtu, sizeof(mtu));
	if (ask(fd, &q) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot bring up the interface '%s'",
				  name_of(index, name));
	return 0;
}

int netlink_add_address(int fd, unsigned index, struct in_addr address, unsigned prefix,
			struct rouse_err *e)
{
	struct in_addr broadcast = { .s_addr = address.s_addr |
					       (prefix < 32 ? htonl(~0U >> prefix) : 0) };
	char name[IF_NAMESIZE];
	struct request q;

	begin(&q, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, sizeof(q.address));
	q.address.ifa_family = AF_INET;
	q.address.ifa_prefixlen = (uint8_t)prefix;
	q.address.ifa_index = index;
	add(&q, IFA_LOCAL, &address, sizeof(address));
	add(&q, IFA_ADDRESS, &address, sizeof(address));
	if (prefix < 31)
		add(&q, IFA_BROADCAST, &broadcast, sizeof(broadcast));
	if (ask(fd, &q) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot give '%s' its address",
				  name_of(index, name));
	return 0;
}

int netlink_remove_address(int fd, unsigned index, struct in_addr address, unsigned prefix,
			   struct rouse_err *e)
{
	char name[IF_NAMESIZE];
	struct request q;

	begin(&q, RTM_DELADDR, 0, sizeof(q.address));
	q.address.ifa_family = AF_INET;
	q.address.ifa_prefixlen = (uint8_t)prefix;
	q.address.ifa_index = index;
	add(&q, IFA_LOCAL, &address, sizeof(address));
	if (ask(fd, &q) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot take the address of '%s' back",
				  name_of(index, name));
	return 0;
}

int netlink_add_address6(int fd, unsigned index, const struct in6_addr *address, unsigned prefix,
			 uint32_t preferred, uint32_t valid, struct rouse_err *e)
{
	struct ifa_cacheinfo life = { .ifa_prefered = preferred, .ifa_valid = valid };
	char name[IF_NAMESIZE];
	struct request q;

	begin(&q, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, sizeof(q.address));
	q.address.ifa_family = AF_INET6;
	q.address.ifa_prefixlen = (uint8_t)prefix;
	q.address.ifa_index = index;
	add(&q, IFA_LOCAL, address, sizeof(*address));
	add(&q, IFA_ADDRESS, address, sizeof(*address));
	add(&q, IFA_CACHEINFO, &life, sizeof(life));
	if (ask(fd, &q) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot give '%s' its IPv6 address",
				  name_of(index, name));
	return 0;
}

int netlink_add_route6(int fd, unsigned index, const struct in6_addr *destination, unsigned prefix,
		       const struct in6_addr *gateway, struct rouse_err *e)
{
	bool direct = IN6_IS_ADDR_UNSPECIFIED(gateway);
	char name[IF_NAMESIZE];
	struct request q;

	begin(&q, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, sizeof(q.route));
	q.route.rtm_family = AF_INET6;
	q.route.rtm_dst_len = (uint8_t)prefix;
	q.route.rtm_table = RT_TABLE_MAIN;
	q.route.rtm_protocol = RTPROT_STATIC;
	q.route.rtm_type = RTN_UNICAST;
	q.route.rtm_scope = RT_SCOPE_UNIVERSE;
	if (prefix)
		add(&q, RTA_DST, destination, sizeof(*destination));
	if (!direct) {
		q.route.rtm_flags = RTNH_F_ONLINK;
		add(&q, RTA_GATEWAY, gateway, sizeof(*gateway));
	}
	add(&q, RTA_OIF, &index, sizeof(index));
	if (ask(fd, &q) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot add an IPv6 route on '%s'",
				  name_of(index, name));
	return 0;
}

int netlink_remove_address6(int fd, unsigned index, const struct in6_addr *address, unsigned prefix,
			    struct rouse_err *e)
{
	char name[IF_NAMESIZE];
	struct request q;

	begin(&q, RTM_DELADDR, 0, sizeof(q.address));
	q.address.ifa_family = AF_INET6;
	q.address.ifa_prefixlen = (uint8_t)prefix;
	q.address.ifa_index = index;
	add(&q, IFA_LOCAL, address, sizeof(*address));
	if (ask(fd, &q) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno,
				  "cannot take the IPv6 address of '%s' back",
				  name_of(index, name));
	return 0;
}

int netlink_add_route(int fd, unsigned index, const struct rouse_dhcp_route *r,
		      struct in_addr source, struct rouse_err *e)
{
	char name[IF_NAMESIZE];
	struct request q;

	begin(&q, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, sizeof(q.route));
	q.route.rtm_family = AF_INET;
	q.route.rtm_dst_len = (uint8_t)r->prefix;
	q.route.rtm_table = RT_TABLE_MAIN;
	q.route.rtm_protocol = RTPROT_DHCP;
	q.route.rtm_type = RTN_UNICAST;
	q.route.rtm_scope = r->gateway.s_addr ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
	if (r->prefix)
		add(&q, RTA_DST, &r->destination, sizeof(r->destination));
	if (r->gateway.s_addr) {
		/* Where a machine has a /32, its gateway is on the link without looking so. */
		q.route.rtm_flags = RTNH_F_ONLINK;
		add(&q, RTA_GATEWAY, &r->gateway, sizeof(r->gateway));
	}
	add(&q, RTA_PREFSRC, &source, sizeof(source));
	add(&q, RTA_OIF, &index, sizeof(index));
	if (ask(fd, &q) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot add a route on '%s'",
				  name_of(index, name));
	return 0;
}
