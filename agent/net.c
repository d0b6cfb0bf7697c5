/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network of an early boot: every Ethernet interface is brought up and asks for a lease at the
 * same time, the first lease wins. Addresses stay until someone takes over; nothing is renewed,
 * a boot is shorter than any lease.
 */
#include <rouse/init.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <rouse/clock.h>
#include <rouse/dhcp.h>
#include <rouse/fs.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/text.h>

#include "lease.h"
#include "net6.h"
#include "netlink.h"

/* Interfaces that are asked at once; machines with more have their first ones on the metadata's
 * network. */
#define MAX_PORTS 16
/* How long an answer with IPv4 is waited for before a router is asked for IPv6; and, from the link on,
 * before IPv6 alone is good enough; and when the kernel alone has heard of a router. */
#define IPV6_AFTER 1000
#define IPV6_PATIENCE 5000
#define IPV6_UNHEARD 10000
/* How long a lease that leads nowhere waits for another card's that does. */
#define ROUTE_PATIENCE 5000

struct port {
	struct lease_card card;
	int fd; /* packet socket, -1 until the link is there */
	uint32_t xid;
	unsigned tries;
	uint64_t next; /* when to send again */
	uint64_t begin;
	bool offered, bound; /* bound: it has a lease, and asks no more */
	struct rouse_dhcp_lease offer;
	struct net6 six;
};

struct net {
	int control, events;
	size_t n;
	struct port ports[MAX_PORTS];
	uint64_t begin;
	struct rouse_netconf written; /* what somebody has written down, of some cards */
};

static void net_done(struct net *n)
{
	for (size_t i = 0; i < n->n; i++) {
		if (n->ports[i].fd >= 0)
			(void)close(n->ports[i].fd);
		net6_done(&n->ports[i].six);
	}
	if (n->control >= 0)
		(void)close(n->control);
	if (n->events >= 0)
		(void)close(n->events);
}
#define auto_net __attribute__((cleanup(net_done)))

/* Splits a line of /proc at its blanks, in place. */
static size_t split(char *line, char **words, size_t max)
{
	size_t n = 0;

	for (char *p = line + strspn(line, " \t\n"); *p && n < max; p += strspn(p, " \t\n")) {
		words[n++] = p;
		p += strcspn(p, " \t\n");
		if (*p)
			*p++ = '\0';
	}
	return n;
}

/* A default route through a gateway, of either family? */
static bool has_route(const char *file, bool six)
{
	auto_file FILE *f = fopen(file, "re");
	char line[512], *w[10];

	while (f && fgets(line, sizeof(line), f)) {
		size_t n = split(line, w, ARRAY_SIZE(w));

		/* interface, destination, gateway, four counters, mask */
		if (!six && n > 7 && rouse_streq(w[1], "00000000") && rouse_streq(w[7], "00000000"))
			return true;
		/* destination, its length, source, its length, next hop, …, interface */
		if (six && n == 10 && strspn(w[0], "0") == 32 && rouse_streq(w[1], "00") &&
		    strspn(w[4], "0") != 32 && !rouse_streq(w[9], "lo"))
			return true;
	}
	return false;
}

static bool has_route4(void)
{
	return has_route("/proc/net/route", false);
}

static bool has_route6(void)
{
	return has_route("/proc/net/ipv6_route", true);
}

static bool sys_has(const char *name, const char *what)
{
	auto_free char *path = rouse_asprintf("/sys/class/net/%s/%s", name, what);

	return access(path, F_OK) == 0;
}

/* Is it a card, or as good as one? Bridges and bonds are made by later configuration, and a card
 * with a master (the fast half of a Hyper-V or failover pair) is used through it. */
static bool is_port(int fd, const char *name, uint8_t mac[static 6])
{
	struct ifreq q = { 0 };

	(void)snprintf(q.ifr_name, sizeof(q.ifr_name), "%s", name);
	if (ioctl(fd, SIOCGIFHWADDR, &q) < 0 || q.ifr_hwaddr.sa_family != ARPHRD_ETHER ||
	    sys_has(name, "bridge") || sys_has(name, "bonding") || sys_has(name, "master") ||
	    sys_has(name, "tun_flags") || sys_has(name, "wireless"))
		return false;
	memcpy(mac, q.ifr_hwaddr.sa_data, 6);
	return true;
}

static bool has_carrier(int fd, const char *name)
{
	auto_free char *path = rouse_asprintf("/sys/class/net/%s/carrier", name);
	struct ifreq q = { 0 };
	char line[8] = "";

	/* Just brought up, an interface is said to be running until somebody has looked: the file
	 * knows at once. */
	if (rouse_read_line(path, line, sizeof(line)))
		return line[0] == '1';
	(void)snprintf(q.ifr_name, sizeof(q.ifr_name), "%s", name);
	return ioctl(fd, SIOCGIFFLAGS, &q) == 0 && (q.ifr_flags & IFF_RUNNING);
}

static bool is_up(int fd, const char *name)
{
	struct ifreq q = { 0 };

	(void)snprintf(q.ifr_name, sizeof(q.ifr_name), "%s", name);
	return ioctl(fd, SIOCGIFFLAGS, &q) == 0 && (q.ifr_flags & IFF_UP);
}

/* udev gives a card its name, which the kernel refuses when the card is up already; the image's
 * own network would wait for the end of that for ever. A card that somebody else has brought up
 * keeps the name it has. */
static bool has_its_name(int fd, const char *name, unsigned index)
{
	auto_free char *record = rouse_asprintf("/run/udev/data/n%u", index);

	return !rouse_udev_runs() || is_up(fd, name) || rouse_udev_named(record);
}

static int open_port(struct port *p)
{
	struct sockaddr_ll here = { .sll_family = AF_PACKET,
				    .sll_protocol = htons(ETH_P_IP),
				    .sll_ifindex = (int)p->card.index };
	auto_fd int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof(here)) < 0)
		return -1;
	p->fd = take(fd, -1);
	return 0;
}

static bool is_known(const struct net *n, unsigned index)
{
	for (size_t i = 0; i < n->n; i++)
		if (n->ports[i].card.index == index)
			return true;
	return false;
}

/* Looks for interfaces that are new, and for links that have come up. */
static void scan(struct net *n)
{
	struct if_nameindex *all = if_nameindex();
	struct rouse_err e;

	for (struct if_nameindex *i = all; i && i->if_index && n->n < MAX_PORTS; i++) {
		struct port p = { .card.index = i->if_index, .fd = -1, .six = NET6_INIT };

		if (is_known(n, i->if_index) || !has_its_name(n->events, i->if_name, i->if_index) ||
		    !is_port(n->events, i->if_name, p.card.mac))
			continue;
		(void)snprintf(p.card.name, sizeof(p.card.name), "%s", i->if_name);
		if (netlink_link_up(n->control, p.card.index, 0, &e) < 0)
			rouse_log(ROUSE_LOG_WARNING, "net", "%s, ignoring", e.text);
		n->ports[n->n++] = p;
	}
	if (all)
		if_freenameindex(all);
	for (size_t i = 0; i < n->n; i++) {
		struct port *p = &n->ports[i];

		if (p->fd >= 0 || !has_carrier(n->events, p->card.name))
			continue;
		if (open_port(p) < 0) {
			rouse_log(ROUSE_LOG_WARNING, "net", "cannot listen on '%s': %s, ignoring",
				  p->card.name, strerror(errno));
			continue;
		}
		p->xid = (uint32_t)rouse_jitter(UINT32_MAX);
		p->begin = p->next = rouse_clock_ms();
		rouse_log(ROUSE_LOG_DEBUG, "net", "link on '%s'", p->card.name);
	}
}

static void send_to_all(struct port *p)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_IP),
				  .sll_ifindex = (int)p->card.index,
				  .sll_halen = 6,
				  .sll_addr = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };
	uint8_t packet[ROUSE_DHCP_MAX_FRAME];
	uint64_t seconds = (rouse_clock_ms() - p->begin) / 1000;
	/* Some networks deliver an answer only to everyone: ask for that when the first is lost. */
	size_t n = rouse_dhcp_build(packet, p->xid, (uint16_t)(seconds & 0xffff), p->tries > 0,
				    p->card.mac, p->offered ? &p->offer : NULL);
	unsigned shift = p->tries < 3 ? p->tries : 3;

	/* A lost packet is tried again; ENETDOWN is one too. */
	(void)sendto(p->fd, packet, n, 0, (struct sockaddr *)&to, sizeof(to));
	/* 1, 2, 4, 8, 8… s, RFC 2131 section 4.1, spread so that a fleet does not ask in step. */
	p->next = rouse_clock_ms() + (1000u << shift) + rouse_jitter(200);
	/* An offer that nobody confirms is forgotten after three requests. */
	if (++p->tries > 3 && p->offered) {
		p->offered = false;
		p->tries = 0;
		p->xid = (uint32_t)rouse_jitter(UINT32_MAX);
	}
}

/* Reads what came; true when it is the lease. */
static bool receive(struct port *p, struct rouse_dhcp_lease *ret)
{
	uint8_t packet[ROUSE_DHCP_MAX_FRAME];
	struct rouse_dhcp_lease l;
	ssize_t n;

	/* A flood must not keep us from looking at the clock. */
	for (int i = 0; i < 64 && (n = recv(p->fd, packet, sizeof(packet), 0)) > 0; i++) {
		size_t len = 0;
		const uint8_t *message = rouse_dhcp_payload(packet, (size_t)n, &len);

		if (!message || rouse_dhcp_parse(message, len, &l) < 0 || l.xid != p->xid ||
		    memcmp(l.mac, p->card.mac, 6) != 0)
			continue;
		if (l.type == ROUSE_DHCP_OFFER && !p->offered) {
			p->offer = l;
			p->offered = true;
			p->tries = 0;
			send_to_all(p);
		} else if (l.type == ROUSE_DHCP_ACK && p->offered &&
			   l.address.s_addr == p->offer.address.s_addr) {
			*ret = l;
			return true;
		} else if (l.type == ROUSE_DHCP_NAK && p->offered) {
			rouse_log(ROUSE_LOG_WARNING, "net",
				  "the server took back its offer on '%s'", p->card.name);
			p->offered = false;
			p->xid = (uint32_t)rouse_jitter(UINT32_MAX);
			p->next = rouse_clock_ms() +
				  1000; /* not at once: two servers may disagree */
		}
	}
	return false;
}

/* What this port has to send over IPv6; when it has to look again. */
static uint64_t send_six(struct port *p, uint64_t now)
{
	struct net6 *six = &p->six;

	if (now < p->begin + IPV6_AFTER)
		return p->begin + IPV6_AFTER;
	if (six->router < 0 && !net6_open(six, &p->card))
		return UINT64_MAX;
	if (six->next <= now)
		net6_send(six, &p->card);
	/* Nothing is said when the kernel has made sure that an address is free. */
	return six->heard && now + 100 < six->next ? now + 100 : six->next;
}

static void receive_six(const struct net *n, struct port *p)
{
	const struct rouse_dhcp6_lease *l = &p->six.lease;
	struct rouse_err e = { 0 };

	if (net6_receive(&p->six, &p->card) &&
	    netlink_add_address6(n->control, p->card.index, &l->address, 128, l->preferred,
				 l->valid, &e) < 0)
		rouse_log(ROUSE_LOG_WARNING, "net", "%s, ignoring", e.text);
}

static void drain(int events)
{
	char buf[4096];

	for (int i = 0; i < 64 && recv(events, buf, sizeof(buf), 0) > 0; i++)
		;
}

/* One turn: sends what is due, waits for what happens first. The port that has a lease, or NULL. */
static struct port *turn(struct net *n, uint64_t until, struct rouse_dhcp_lease *ret)
{
	struct pollfd fds[3 * MAX_PORTS + 1] = { { .fd = n->events, .events = POLLIN } };
	uint64_t now = rouse_clock_ms(), next;

	for (size_t i = 0; i < n->n; i++) {
		struct port *p = &n->ports[i];
		struct pollfd *own = &fds[3 * i + 1];

		own[0] = own[1] = own[2] = (struct pollfd){ .fd = -1, .events = POLLIN };
		if (p->fd < 0 || p->bound)
			continue;
		if (p->next <= now)
			send_to_all(p);
		next = send_six(p, now);
		next = p->next < next ? p->next : next;
		until = next < until ? next : until;
		own[0].fd = p->fd;
		own[1].fd = p->six.router;
		own[2].fd = p->six.server;
	}
	if (poll(fds, 3 * n->n + 1, rouse_clock_left(until)) <= 0)
		return NULL;
	if (fds[0].revents)
		drain(n->events);
	for (size_t i = 0; i < n->n; i++) {
		const struct pollfd *own = &fds[3 * i + 1];

		if ((own[1].revents | own[2].revents) & POLLIN)
			receive_six(n, &n->ports[i]);
		if ((own[0].revents & POLLIN) && receive(&n->ports[i], ret))
			return &n->ports[i];
	}
	return NULL;
}

static int configure(const struct net *n, const struct port *p, const struct rouse_dhcp_lease *l,
		     struct rouse_err *e)
{
	char a[INET_ADDRSTRLEN] = "";

	if (lease_apply(n->control, &p->card, l, e) < 0)
		return -1;
	(void)inet_ntop(AF_INET, &l->address, a, sizeof(a)); /* the buffer is large enough */
	rouse_log(ROUSE_LOG_INFO, "net", "'%s' has %s/%u after %llu ms", p->card.name, a, l->prefix,
		  (unsigned long long)(rouse_clock_ms() - n->begin));
	return 0;
}

/* A card that has all that IPv6 needs, or NULL. */
static const struct port *ready_six(const struct net *n)
{
	for (size_t i = 0; i < n->n; i++)
		if (net6_is_ready(&n->ports[i].six, &n->ports[i].card) && has_route6())
			return &n->ports[i];
	return NULL;
}

static int configure_six(const struct net *n, const struct port *p, struct rouse_err *e)
{
	const struct net6 *six = &p->six;

	rouse_log(ROUSE_LOG_INFO, "net", "'%s' has IPv6, and no IPv4, after %llu ms", p->card.name,
		  (unsigned long long)(rouse_clock_ms() - n->begin));
	return lease_apply6(&p->card, &six->ra.resolvers, six->bound ? &six->lease : NULL, e);
}

/* Why was there no lease? */
static int explain(const struct net *n, struct rouse_err *e)
{
	char names[128] = "";
	bool link = false;

	for (size_t i = 0; i < n->n; i++) {
		size_t len = strlen(names);

		link |= n->ports[i].fd >= 0;
		(void)snprintf(names + len, sizeof(names) - len, "%s'%s'", i ? ", " : "",
			       n->ports[i].card.name);
	}
	if (!n->n)
		return rouse_fail(e, ROUSE_SYSTEM, 0, "this machine has no network interface");
	if (!link)
		return rouse_fail(e, ROUSE_SYSTEM, 0, "there is no link on %s", names);
	(void)rouse_fail(e, ROUSE_UNAVAILABLE, 0,
			 "no DHCP server answered on %s, and no router for IPv6", names);
	return rouse_blame(e, ROUSE_LOCAL);
}

static bool has_link(const struct net *n)
{
	for (size_t i = 0; i < n->n; i++)
		if (n->ports[i].fd >= 0)
			return true;
	return false;
}

/* May another card still get a lease? Links come up at their own pace. */
static bool has_pending(const struct net *n)
{
	for (size_t i = 0; i < n->n; i++)
		if (!n->ports[i].bound)
			return true;
	return false;
}

static bool leads_out(const struct rouse_dhcp_lease *l)
{
	for (size_t i = 0; i < l->n_routes; i++)
		if (l->routes[i].prefix == 0)
			return true;
	return false;
}

static bool is_default(const struct rouse_netconf_net *net)
{
	static const uint8_t zero[16];

	return net->prefix == 0 && memcmp(net->gateway, zero, sizeof(zero)) != 0;
}

/* What an acquisition waits for. */
struct quest {
	uint64_t deadline; /* of who wants a network */
	uint64_t limit;    /* our own: of the first link, then of the lease behind it */
	uint64_t link_at;  /* 0: no card has had one */
	uint64_t settled;  /* when what there is must do; 0: there is nothing */
};

/* Sets up the cards that nobody need be asked about; *ret_up when one of them leads out. */
static int use_written(struct net *n, struct quest *q, uint64_t now, bool *ret_up,
		       struct rouse_err *e)
{
	for (size_t i = 0; i < n->n; i++) {
		struct port *p = &n->ports[i];
		const struct rouse_netconf_card *card =
			p->fd >= 0 && !p->bound
				? rouse_netconf_find(&n->written, p->card.name, p->card.mac)
				: NULL;

		if (!card)
			continue;
		if (lease_apply_written(n->control, &p->card, card, &n->written, e) < 0)
			return -1;
		rouse_log(ROUSE_LOG_INFO, "net", "'%s' has the addresses that were written down",
			  p->card.name);
		p->bound = true;
		q->settled = q->settled ? q->settled : now + ROUTE_PATIENCE;
		for (size_t k = 0; k < card->n_routes; k++)
			*ret_up |= is_default(&card->routes[k]);
	}
	return 0;
}

static int read_written(struct net *n, struct rouse_err *e)
{
	auto_buf struct rouse_buf text = { 0 };

	if (access(ROUSE_NETCONF_FILE, F_OK) < 0)
		return 0;
	if (rouse_read_file(ROUSE_NETCONF_FILE, ROUSE_MAX_METADATA, &text, e) < 0)
		return -1;
	return rouse_netconf_parse("network-config", text.data ? text.data : "", text.len,
				   &n->written, e);
}

static void note_link(const struct net *n, struct quest *q, uint64_t now)
{
	if (q->link_at || !has_link(n))
		return;
	q->link_at = now;
	q->limit = now + ROUSE_DEADLINE_LEASE;
}

/* What there is leads nowhere, and nothing better has come in time, or can come. */
static bool must_do(const struct net *n, const struct quest *q, uint64_t now)
{
	return q->settled && (now >= q->settled || now >= q->deadline || !has_pending(n));
}

static bool is_over(const struct net *n, const struct quest *q, uint64_t now)
{
	return now >= q->deadline || (now >= q->limit && (n->n || !rouse_udev_busy()));
}

/* Where IPv4 has been silent for a while. */
static int use_six(struct net *n, const struct quest *q, uint64_t now, bool *ret_up,
		   struct rouse_err *e)
{
	uint64_t silence = q->link_at ? now - q->link_at : 0;
	const struct port *six = silence >= IPV6_PATIENCE ? ready_six(n) : NULL;

	*ret_up = true;
	if (six)
		return configure_six(n, six, e);
	/* The kernel configures IPv6 by itself, also where its router has not heard us. */
	*ret_up = silence >= IPV6_UNHEARD && has_route6();
	if (*ret_up)
		rouse_log(ROUSE_LOG_INFO, "net", "no IPv4 address, but a route for IPv6");
	return 0;
}

/* Until a card has a lease, or it is time to look around; *ret_up when the lease leads out. */
static int use_lease(struct net *n, struct quest *q, uint64_t now, bool *ret_up,
		     struct rouse_err *e)
{
	/* Nothing is said when udev is done with a card. */
	uint64_t next = now + (n->n ? 1000 : 100);
	struct rouse_dhcp_lease l;
	struct port *p;

	/* A card may still be on its way, or wait for its module. */
	if (!n->n && rouse_started_by_init() && !rouse_udev_runs())
		(void)rouse_kmod_coldplug();
	p = turn(n, next < q->deadline ? next : q->deadline, &l);
	if (!p)
		return 0;
	p->bound = true;
	if (configure(n, p, &l, e) < 0)
		return -1;
	*ret_up = leads_out(&l);
	q->settled = rouse_clock_ms() + ROUTE_PATIENCE;
	return 0;
}

/* Asks until there is a lease. One without a default route, as private networks give, is good enough only when
 * no other card gets one that has it soon. */
static int acquire(struct net *n, uint64_t deadline, struct rouse_err *e)
{
	struct quest q = { .deadline = deadline, .limit = n->begin + ROUSE_DEADLINE_LINK };
	bool up = false;

	while (!up) {
		uint64_t now = rouse_clock_ms();

		scan(n);
		note_link(n, &q, now);
		if (use_written(n, &q, now, &up, e) < 0)
			return -1;
		if (up || must_do(n, &q, now))
			return 0;
		if (is_over(n, &q, now))
			return explain(n, e);
		if (use_six(n, &q, now, &up, e) < 0)
			return -1;
		if (!up && use_lease(n, &q, now, &up, e) < 0)
			return -1;
	}
	return 0;
}

int rouse_net_up(uint64_t deadline, struct rouse_err *e)
{
	auto_net struct net n = { .control = -1, .events = -1, .begin = rouse_clock_ms() };
	unsigned lo = if_nametoindex("lo");

	/* The second question is for a network that leads nowhere, and was asked in this boot. */
	if (has_route4() || has_route6() || access(ROUSE_NETWORK_FILE, F_OK) == 0)
		return 0;
	if (read_written(&n, e) < 0)
		return -1;
	n.control = netlink_open(false, e);
	if (n.control < 0)
		return -1;
	n.events = netlink_open(true, e);
	if (n.events < 0)
		return -1;
	if (lo && netlink_link_up(n.control, lo, 0, e) < 0)
		return -1;
	return acquire(&n, deadline, e);
}
