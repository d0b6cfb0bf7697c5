/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/dhcp6.h>

#include <ctype.h>
#include <string.h>

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static uint8_t *put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
	return p + 2;
}

static uint8_t *put32(uint8_t *p, uint32_t v)
{
	return put16(put16(p, v >> 16), v & 0xffff);
}

/* Can a machine have this address, or a resolver be there? */
static bool is_unicast(const struct in6_addr *a)
{
	return !IN6_IS_ADDR_MULTICAST(a) && !IN6_IS_ADDR_UNSPECIFIED(a) &&
	       !IN6_IS_ADDR_LOOPBACK(a) && !IN6_IS_ADDR_V4MAPPED(a);
}

static void get_dns(const uint8_t *p, size_t n, struct rouse_resolvers6 *r)
{
	for (; n >= 16 && r->n_dns < ROUSE_DHCP6_MAX_DNS; p += 16, n -= 16) {
		struct in6_addr a;

		memcpy(&a, p, sizeof(a));
		/* A link-local one would need the link's name, for which resolv.conf has no agreed form. */
		if (is_unicast(&a) && !IN6_IS_ADDR_LINKLOCAL(&a))
			r->dns[r->n_dns++] = a;
	}
}

/* The first name of a list in DNS's encoding (RFC 1035 section 3.1; nothing is compressed here). Names go
 * into files that are read by lines: nothing but letters, digits and "-_" may be in a label. */
static void get_domain(const uint8_t *p, size_t n, struct rouse_resolvers6 *r)
{
	char name[256] = "";
	size_t len = 0;

	while (n && *p) {
		size_t label = *p;

		if (label > 63 || label >= n || len + label + 1 >= sizeof(name) - 2 || p[1] == '-')
			return;
		for (size_t i = 1; i <= label; i++)
			if (p[i] >= 0x80 || (!isalnum(p[i]) && p[i] != '-' && p[i] != '_'))
				return;
		if (len)
			name[len++] = '.';
		memcpy(name + len, p + 1, label);
		len += label;
		name[len] = '\0';
		p += 1 + label;
		n -= 1 + label;
	}
	if (n && len && !r->domain[0])
		memcpy(r->domain, name, len + 1);
}

/* --- router advertisements -------------------------------------------------------------------- */

enum { RA_TYPE = 134, RA_HEADER = 16 };
enum { RA_PREFIX = 3, RA_RDNSS = 25, RA_DNSSL = 31 };

static void get_ra_option(const uint8_t *p, size_t n, struct rouse_ra *ra)
{
	if (p[0] == RA_PREFIX && n >= 32 && p[2] <= 128)
		ra->autonomous |= (p[3] & 0x40) && get32(p + 4) != 0;
	else if (p[0] == RA_RDNSS && n >= 24 && get32(p + 4) != 0)
		get_dns(p + 8, n - 8, &ra->resolvers);
	else if (p[0] == RA_DNSSL && n >= 16 && get32(p + 4) != 0)
		get_domain(p + 8, n - 8, &ra->resolvers);
}

int rouse_ra_parse(const uint8_t *data, size_t n, struct rouse_ra *ret)
{
	struct rouse_ra ra = { 0 };

	if (n < RA_HEADER || data[0] != RA_TYPE || data[1] != 0)
		return -1;
	ra.managed = data[5] & 0x80;
	ra.other = data[5] & 0x40;
	ra.lifetime = get16(data + 6);
	for (size_t i = RA_HEADER; i < n;) {
		size_t len;

		/* Lengths are in units of eight bytes; 0 would be for ever (RFC 4861 section 4.6). */
		if (n - i < 2 || !data[i + 1])
			return -1;
		len = (size_t)data[i + 1] * 8;
		if (len > n - i)
			return -1;
		get_ra_option(data + i, len, &ra);
		i += len;
	}
	*ret = ra;
	return 0;
}

/* --- DHCPv6 ----------------------------------------------------------------------------------- */

enum option {
	OPT_CLIENT = 1,
	OPT_SERVER = 2,
	OPT_IA_NA = 3,
	OPT_IA_ADDRESS = 5,
	OPT_WANTED = 6,
	OPT_ELAPSED = 8,
	OPT_STATUS = 13,
	OPT_DNS = 23,
	OPT_DOMAINS = 24,
};

static void client_id(uint8_t ret[static ROUSE_DHCP6_CLIENT_ID], const uint8_t mac[static 6])
{
	memcpy(put16(put16(ret, 3), 1), mac, 6);
}

/* Calls `each` for every option. -1 when the area is damaged, or when `each` says so. */
static int walk(const uint8_t *p, size_t n,
		int (*each)(void *arg, unsigned code, const uint8_t *data, size_t len), void *arg)
{
	while (n) {
		size_t len;

		if (n < 4)
			return -1;
		len = get16(p + 2);
		if (len > n - 4 || each(arg, get16(p), p + 4, len) < 0)
			return -1;
		p += 4 + len;
		n -= 4 + len;
	}
	return 0;
}

struct parser {
	const uint8_t *mac;
	bool for_us, refused;
	struct rouse_dhcp6_lease l;
};

static int in_ia(void *arg, unsigned code, const uint8_t *data, size_t len)
{
	struct parser *p = arg;
	struct in6_addr a;

	if (code == OPT_STATUS && len >= 2 && get16(data) != 0)
		p->refused = true;
	if (code != OPT_IA_ADDRESS)
		return 0;
	if (len < 24)
		return -1;
	memcpy(&a, data, sizeof(a));
	if (p->l.has_address || !is_unicast(&a) || IN6_IS_ADDR_LINKLOCAL(&a) || !get32(data + 20))
		return 0;
	p->l.has_address = true;
	p->l.address = a;
	p->l.preferred = get32(data + 16);
	p->l.valid = get32(data + 20);
	return 0;
}

static int in_message(void *arg, unsigned code, const uint8_t *data, size_t len)
{
	uint8_t id[ROUSE_DHCP6_CLIENT_ID];
	struct parser *p = arg;

	switch (code) {
	case OPT_CLIENT:
		client_id(id, p->mac);
		p->for_us = len == sizeof(id) && memcmp(data, id, len) == 0;
		return 0;
	case OPT_SERVER:
		if (!len || len > sizeof(p->l.server))
			return -1;
		memcpy(p->l.server, data, len);
		p->l.server_len = len;
		return 0;
	case OPT_IA_NA:
		return len < 12 ? -1 : walk(data + 12, len - 12, in_ia, p);
	case OPT_STATUS:
		p->refused |= len >= 2 && get16(data) != 0;
		return 0;
	case OPT_DNS:
		get_dns(data, len, &p->l.resolvers);
		return 0;
	case OPT_DOMAINS:
		get_domain(data, len, &p->l.resolvers);
		return 0;
	default:
		return 0;
	}
}

int rouse_dhcp6_parse(const uint8_t *data, size_t n, const uint8_t mac[static 6],
		      struct rouse_dhcp6_lease *ret)
{
	struct parser p = { .mac = mac };

	if (n < 4 || (data[0] != ROUSE_DHCP6_ADVERTISE && data[0] != ROUSE_DHCP6_REPLY))
		return -1;
	p.l.type = (enum rouse_dhcp6_type)data[0];
	p.l.xid = get32(data) & 0xffffff;
	if (walk(data + 4, n - 4, in_message, &p) < 0 || !p.for_us || p.refused || !p.l.server_len)
		return -1;
	*ret = p.l;
	return 0;
}

static uint8_t *put_option(uint8_t *p, unsigned code, const void *data, size_t len)
{
	p = put16(put16(p, code), (unsigned)len);
	memcpy(p, data, len);
	return p + len;
}

/* The association is named by the card: its MAC's last four bytes. */
static uint8_t *put_association(uint8_t *p, const uint8_t mac[static 6],
				const struct rouse_dhcp6_lease *offer)
{
	uint8_t *begin = p;

	p = put16(p, OPT_IA_NA);
	p = put16(p, 12);
	memcpy(p, mac + 2, 4);
	p = put32(put32(p + 4, 0), 0); /* T1, T2: the server's choice */
	if (offer) {
		p = put16(put16(p, OPT_IA_ADDRESS), 24);
		memcpy(p, &offer->address, 16);
		p = put32(put32(p + 16, 0), 0);
		(void)put16(begin + 2, 12 + 28);
	}
	return p;
}

size_t rouse_dhcp6_build(uint8_t buf[static ROUSE_DHCP6_MAX], enum rouse_dhcp6_type type,
			 uint32_t xid, uint16_t centiseconds, const uint8_t mac[static 6],
			 const struct rouse_dhcp6_lease *offer)
{
	static const uint8_t wanted[] = { 0, OPT_DNS, 0, OPT_DOMAINS };
	uint8_t id[ROUSE_DHCP6_CLIENT_ID], *p = buf;

	client_id(id, mac);
	p = put32(p, (uint32_t)type << 24 | (xid & 0xffffff));
	p = put_option(p, OPT_CLIENT, id, sizeof(id));
	if (offer)
		p = put_option(p, OPT_SERVER, offer->server, offer->server_len);
	p = put16(put16(put16(p, OPT_ELAPSED), 2), centiseconds);
	p = put_option(p, OPT_WANTED, wanted, sizeof(wanted));
	if (type != ROUSE_DHCP6_INFORMATION)
		p = put_association(p, mac, offer);
	return (size_t)(p - buf);
}
