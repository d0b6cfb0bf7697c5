/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/dhcp.h>

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

/* Offsets of the fixed part, RFC 2131 section 2. */
enum {
	OP = 0,
	HTYPE = 1,
	HLEN = 2,
	XID = 4,
	SECS = 8,
	FLAGS = 10,
	YIADDR = 16,
	CHADDR = 28,
	SNAME = 44,
	FILE_ = 108,
	COOKIE = 236,
	OPTIONS = 240
};
enum { IP_HEADER = 20, UDP_HEADER = 8, SERVER_PORT = 67, CLIENT_PORT = 68 };
/* BOOTP relays drop shorter messages, RFC 1542 section 2.1. */
enum { MIN_MESSAGE = 300 };

enum option {
	OPT_PAD = 0,
	OPT_MASK = 1,
	OPT_ROUTER = 3,
	OPT_DNS = 6,
	OPT_HOSTNAME = 12,
	OPT_DOMAIN = 15,
	OPT_MTU = 26,
	OPT_ADDRESS = 50,
	OPT_SECONDS = 51,
	OPT_OVERLOAD = 52,
	OPT_TYPE = 53,
	OPT_SERVER = 54,
	OPT_WANTED = 55,
	OPT_MAX_SIZE = 57,
	OPT_ROUTES = 121,
	OPT_END = 255,
};

static const uint8_t cookie[] = { 0x63, 0x82, 0x53, 0x63 };

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

static struct in_addr get_address(const uint8_t *p)
{
	struct in_addr a;

	memcpy(&a, p, sizeof(a));
	return a;
}

/* An option's value: all of its parts joined (RFC 3396). */
struct value {
	size_t len;
	uint8_t data[1024];
};

/* Walks one area of options and appends those of `code`. -1 when the area is damaged. */
static int gather_from(const uint8_t *p, size_t n, unsigned code, struct value *v)
{
	for (size_t i = 0; i < n && p[i] != OPT_END;) {
		size_t len;

		if (p[i] == OPT_PAD) {
			i++;
			continue;
		}
		if (n - i < 2 || n - i - 2 < p[i + 1])
			return -1;
		len = p[i + 1];
		if (p[i] == code) {
			if (len > sizeof(v->data) - v->len)
				return -1;
			memcpy(v->data + v->len, p + i + 2, len);
			v->len += len;
		}
		i += 2 + len;
	}
	return 0;
}

/* The value of `code` in the whole message; empty when it is absent. */
static int gather(const uint8_t *data, size_t n, unsigned code, struct value *v)
{
	struct value overload = { 0 };

	v->len = 0;
	if (gather_from(data + OPTIONS, n - OPTIONS, code, v) < 0 ||
	    gather_from(data + OPTIONS, n - OPTIONS, OPT_OVERLOAD, &overload) < 0)
		return -1;
	/* The server may use the fields of the boot file (1) and of its name (2) for options. */
	if (overload.len == 1 && (overload.data[0] & 1) &&
	    gather_from(data + FILE_, COOKIE - FILE_, code, v) < 0)
		return -1;
	if (overload.len == 1 && (overload.data[0] & 2) &&
	    gather_from(data + SNAME, FILE_ - SNAME, code, v) < 0)
		return -1;
	return 0;
}

/* Can a machine have this address? */
static bool is_unicast(struct in_addr a)
{
	uint32_t h = ntohl(a.s_addr);

	return h >> 24 != 0 && h >> 24 != 127 && h >> 28 < 0xe;
}

/* The length of a netmask; -1 when it has holes. */
static int mask_length(uint32_t mask)
{
	int n = 0;

	for (; n < 32 && mask & 0x80000000; n++)
		mask <<= 1;
	return mask ? -1 : n;
}

static unsigned class_length(struct in_addr a)
{
	uint32_t h = ntohl(a.s_addr);

	return h >> 31 == 0 ? 8 : h >> 30 == 2 ? 16 : 24;
}

/* Names go into files that are read by lines: nothing but letters, digits and "-._" may. */
static void get_name(const struct value *v, char ret[static 256])
{
	size_t len = v->len;

	ret[0] = '\0';
	while (len && !v->data[len - 1]) /* some servers count the NUL */
		len--;
	if (!len || len > 253 || v->data[0] == '-' || v->data[0] == '.')
		return;
	for (size_t i = 0; i < len; i++)
		if (v->data[i] >= 0x80 || (!isalnum(v->data[i]) && !strchr("-._", v->data[i])) ||
		    !v->data[i])
			return;
	memcpy(ret, v->data, len);
	ret[len] = '\0';
}

/* Option 121: a prefix length, as many bytes of the destination as it needs, a gateway; repeated.
 * RFC 3442. -1 when damaged. */
static int get_routes(const struct value *v, struct rouse_dhcp_lease *l)
{
	for (size_t i = 0; i < v->len;) {
		struct rouse_dhcp_route r = { .prefix = v->data[i] };
		size_t bytes = (r.prefix + 7) / 8;
		uint32_t h;

		if (r.prefix > 32 || v->len - i < 1 + bytes + 4)
			return -1;
		memcpy(&r.destination, v->data + i + 1, bytes);
		h = ntohl(r.destination.s_addr);
		/* The kernel refuses routes with bits behind the prefix. */
		r.destination.s_addr = r.prefix ? htonl(h & ~0U << (32 - r.prefix)) : 0;
		r.gateway = get_address(v->data + i + 1 + bytes);
		if (l->n_routes < ROUSE_DHCP_MAX_ROUTES &&
		    (r.gateway.s_addr == 0 || is_unicast(r.gateway)))
			l->routes[l->n_routes++] = r;
		i += 1 + bytes + 4;
	}
	return 0;
}

static int parse_network(const uint8_t *data, size_t n, struct rouse_dhcp_lease *l)
{
	struct value v;

	if (gather(data, n, OPT_MASK, &v) < 0)
		return -1;
	l->prefix = class_length(l->address);
	if (v.len == 4) {
		int len = mask_length(get32(v.data));

		if (len <= 0)
			return -1;
		l->prefix = (unsigned)len;
	}
	if (gather(data, n, OPT_ROUTES, &v) < 0 || get_routes(&v, l) < 0)
		return -1;
	if (v.len) /* then the router option must be ignored, RFC 3442 */
		return 0;
	if (gather(data, n, OPT_ROUTER, &v) < 0)
		return -1;
	if (v.len >= 4 && is_unicast(get_address(v.data)))
		l->routes[l->n_routes++] =
			(struct rouse_dhcp_route){ .gateway = get_address(v.data) };
	return 0;
}

static int parse_rest(const uint8_t *data, size_t n, struct rouse_dhcp_lease *l)
{
	struct value v;

	if (gather(data, n, OPT_DNS, &v) < 0)
		return -1;
	for (size_t i = 0; v.len - i >= 4 && l->n_dns < ROUSE_DHCP_MAX_DNS; i += 4)
		if (is_unicast(get_address(v.data + i)))
			l->dns[l->n_dns++] = get_address(v.data + i);
	if (gather(data, n, OPT_HOSTNAME, &v) < 0)
		return -1;
	get_name(&v, l->hostname);
	if (gather(data, n, OPT_DOMAIN, &v) < 0)
		return -1;
	get_name(&v, l->domain);
	if (gather(data, n, OPT_MTU, &v) < 0)
		return -1;
	/* IPv4 needs 576 to carry any datagram that must be accepted (RFC 791); less is an attack. */
	if (v.len == 2 && get16(v.data) >= 576)
		l->mtu = get16(v.data);
	if (gather(data, n, OPT_SECONDS, &v) < 0)
		return -1;
	if (v.len == 4)
		l->seconds = get32(v.data);
	return 0;
}

int rouse_dhcp_parse(const uint8_t *data, size_t n, struct rouse_dhcp_lease *ret)
{
	struct rouse_dhcp_lease l = { 0 };
	struct value v;

	if (n < OPTIONS || data[OP] != 2 || data[HTYPE] != 1 || data[HLEN] != 6 ||
	    memcmp(data + COOKIE, cookie, sizeof(cookie)) != 0)
		return -1;
	if (gather(data, n, OPT_TYPE, &v) < 0 || v.len != 1)
		return -1;
	if (v.data[0] != ROUSE_DHCP_OFFER && v.data[0] != ROUSE_DHCP_ACK &&
	    v.data[0] != ROUSE_DHCP_NAK)
		return -1;
	l.type = (enum rouse_dhcp_type)v.data[0];
	l.xid = get32(data + XID);
	memcpy(l.mac, data + CHADDR, sizeof(l.mac));
	if (gather(data, n, OPT_SERVER, &v) < 0)
		return -1;
	if (v.len == 4)
		l.server = get_address(v.data);
	if (l.type != ROUSE_DHCP_NAK) {
		l.address = get_address(data + YIADDR);
		/* Without its server's name an offer cannot be accepted. */
		if (!is_unicast(l.address) || (l.type == ROUSE_DHCP_OFFER && !l.server.s_addr) ||
		    parse_network(data, n, &l) < 0 || parse_rest(data, n, &l) < 0)
			return -1;
	}
	*ret = l;
	return 0;
}

static uint32_t sum(const uint8_t *p, size_t n, uint32_t s)
{
	for (; n > 1; p += 2, n -= 2)
		s += get16(p);
	return n ? s + ((uint32_t)p[0] << 8) : s;
}

/* The Internet checksum, RFC 1071. */
static uint16_t fold(uint32_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)~s;
}

static uint8_t *put_option(uint8_t *p, uint8_t code, const void *data, uint8_t len)
{
	p[0] = code;
	p[1] = len;
	memcpy(p + 2, data, len);
	return p + 2 + len;
}

static size_t build_message(uint8_t *m, uint32_t xid, uint16_t seconds, bool broadcast,
			    const uint8_t mac[static 6], const struct rouse_dhcp_lease *offer)
{
	/* 121 stands before 3, as RFC 3442 demands. */
	static const uint8_t wanted[] = { OPT_MASK, OPT_ROUTES,   OPT_ROUTER,
					  OPT_DNS,  OPT_HOSTNAME, OPT_DOMAIN,
					  OPT_MTU,  OPT_SECONDS,  OPT_SERVER };
	static const uint8_t max_size[] = { (ROUSE_DHCP_MAX_FRAME - 28) >> 8,
					    (ROUSE_DHCP_MAX_FRAME - 28) & 0xff };
	uint8_t type = offer ? ROUSE_DHCP_REQUEST : ROUSE_DHCP_DISCOVER, *p = m + OPTIONS;

	m[OP] = 1;
	m[HTYPE] = 1;
	m[HLEN] = 6;
	put32(m + XID, xid);
	put16(m + SECS, seconds);
	put16(m + FLAGS, broadcast ? 0x8000 : 0);
	memcpy(m + CHADDR, mac, 6);
	memcpy(m + COOKIE, cookie, sizeof(cookie));
	p = put_option(p, OPT_TYPE, &type, 1);
	if (offer) {
		p = put_option(p, OPT_ADDRESS, &offer->address, 4);
		p = put_option(p, OPT_SERVER, &offer->server, 4);
	}
	p = put_option(p, OPT_MAX_SIZE, max_size, sizeof(max_size));
	p = put_option(p, OPT_WANTED, wanted, sizeof(wanted));
	*p++ = OPT_END;
	return (size_t)(p - m) < MIN_MESSAGE ? MIN_MESSAGE : (size_t)(p - m);
}

size_t rouse_dhcp_build(uint8_t buf[static ROUSE_DHCP_MAX_FRAME], uint32_t xid, uint16_t seconds,
			bool broadcast, const uint8_t mac[static 6],
			const struct rouse_dhcp_lease *offer)
{
	uint8_t *ip = buf, *udp = buf + IP_HEADER;
	size_t n;
	uint16_t check;

	memset(buf, 0, ROUSE_DHCP_MAX_FRAME);
	n = UDP_HEADER + build_message(udp + UDP_HEADER, xid, seconds, broadcast, mac, offer);
	ip[0] = 0x45;
	put16(ip + 2, (unsigned)(IP_HEADER + n));
	ip[8] = 64; /* TTL */
	ip[9] = IPPROTO_UDP;
	memset(ip + 16, 0xff, 4); /* from 0.0.0.0 to everyone */
	put16(ip + 10, fold(sum(ip, IP_HEADER, 0)));
	put16(udp, CLIENT_PORT);
	put16(udp + 2, SERVER_PORT);
	put16(udp + 4, (unsigned)n);
	/* The pseudo header: both addresses, the protocol, the length. */
	check = fold(sum(udp, n, sum(ip + 12, 8, IPPROTO_UDP + (uint32_t)n)));
	put16(udp + 6, check ? check : 0xffff); /* 0 would mean "none", RFC 768 */
	return IP_HEADER + n;
}

const uint8_t *rouse_dhcp_payload(const uint8_t *packet, size_t n, size_t *ret_len)
{
	size_t header, total, len;

	if (n < IP_HEADER || packet[0] >> 4 != 4)
		return NULL;
	header = (size_t)(packet[0] & 0xf) * 4;
	total = get16(packet + 2);
	/* A short frame is padded on the wire: the header says where the packet ends. */
	if (header < IP_HEADER || total > n || total < header + UDP_HEADER ||
	    packet[9] != IPPROTO_UDP || (get16(packet + 6) & 0x3fff) /* a fragment */ ||
	    fold(sum(packet, header, 0)) != 0)
		return NULL;
	/* The UDP checksum is not looked at: virtual cards leave it to be filled in by hardware that
	 * a packet inside one host never meets. */
	len = get16(packet + header + 4);
	if (get16(packet + header) != SERVER_PORT || get16(packet + header + 2) != CLIENT_PORT ||
	    len < UDP_HEADER || len > total - header)
		return NULL;
	*ret_len = len - UDP_HEADER;
	return packet + header + UDP_HEADER;
}
