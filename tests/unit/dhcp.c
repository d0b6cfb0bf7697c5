/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include <rouse/dhcp.h>

static const uint8_t mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

/* A message as a server sends it; options are appended by put(). */
struct message {
	uint8_t data[1500];
	size_t n;
};

static void put(struct message *m, uint8_t code, const void *data, size_t n)
{
	m->data[m->n++] = code;
	m->data[m->n++] = (uint8_t)n;
	memcpy(m->data + m->n, data, n);
	m->n += n;
}
#define PUT(m, code, ...)                                                                          \
	put(m, code, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static struct message reply(uint8_t type)
{
	static const uint8_t cookie[] = { 0x63, 0x82, 0x53, 0x63 };
	struct message m = { .data = { 2, 1, 6 }, .n = 240 };

	memcpy(m.data + 4, "\x12\x34\x56\x78", 4);
	memcpy(m.data + 16, "\x0a\x00\x00\x05", 4);
	memcpy(m.data + 28, mac, 6);
	memcpy(m.data + 236, cookie, 4);
	PUT(&m, 53, type);
	PUT(&m, 54, 10, 0, 0, 1);
	return m;
}

static const char *text(struct in_addr a)
{
	return inet_ntoa(a);
}

static void parse_reads_a_whole_lease(struct t *t)
{
	struct message m = reply(5);
	struct rouse_dhcp_lease l;

	PUT(&m, 0);
	m.n -= 2; /* a pad is a single byte */
	m.data[m.n++] = 0;
	PUT(&m, 1, 255, 255, 240, 0);
	PUT(&m, 3, 10, 0, 0, 1, 10, 0, 0, 2);
	PUT(&m, 6, 10, 0, 0, 2, 8, 8, 8, 8);
	put(&m, 12, "ip-10-0-0-5", 11);
	put(&m, 15, "eu-west-1.compute.internal", 27); /* with its NUL */
	PUT(&m, 26, 0x23, 0x29);
	PUT(&m, 51, 0, 0, 14, 16);
	PUT(&m, 255);
	T_CHECK(t, rouse_dhcp_parse(m.data, m.n, &l) == 0);
	T_CHECK(t, l.type == ROUSE_DHCP_ACK && l.xid == 0x12345678 && memcmp(l.mac, mac, 6) == 0);
	T_STR(t, text(l.address), "10.0.0.5");
	T_STR(t, text(l.server), "10.0.0.1");
	T_CHECK(t, l.prefix == 20 && l.mtu == 9001 && l.seconds == 3600);
	T_CHECK(t, l.n_routes == 1 && l.routes[0].prefix == 0 && l.n_dns == 2);
	T_STR(t, text(l.routes[0].gateway), "10.0.0.1");
	T_STR(t, text(l.dns[1]), "8.8.8.8");
	T_STR(t, l.hostname, "ip-10-0-0-5");
	T_STR(t, l.domain, "eu-west-1.compute.internal");
}

static void classless_routes_replace_the_router(struct t *t)
{
	struct message m = reply(5);
	struct rouse_dhcp_lease l;

	PUT(&m, 1, 255, 255, 255, 255);
	PUT(&m, 3, 10, 9, 9, 9);
	/* a host on the link, a network with bits behind its prefix, and the default */
	PUT(&m, 121, 32, 10, 132, 0, 1, 0, 0, 0, 0, 12, 172, 31, 10, 132, 0, 1, 0, 10, 132, 0, 1);
	T_CHECK(t, rouse_dhcp_parse(m.data, m.n, &l) == 0);
	T_CHECK(t, l.prefix == 32 && l.n_routes == 3);
	T_STR(t, text(l.routes[0].destination), "10.132.0.1");
	T_CHECK(t, l.routes[0].prefix == 32 && l.routes[0].gateway.s_addr == 0);
	T_STR(t, text(l.routes[1].destination), "172.16.0.0");
	T_CHECK(t, l.routes[2].prefix == 0 && l.routes[2].destination.s_addr == 0);
	T_STR(t, text(l.routes[2].gateway), "10.132.0.1");
}

static void split_options_are_joined(struct t *t)
{
	struct message m = reply(5);
	struct rouse_dhcp_lease l;

	PUT(&m, 121, 16, 192, 168, 10);
	PUT(&m, 6, 9, 9, 9, 9);
	PUT(&m, 121, 0, 0, 1, 0, 10, 0, 0, 1);
	T_CHECK(t, rouse_dhcp_parse(m.data, m.n, &l) == 0);
	T_CHECK(t, l.n_routes == 2 && l.routes[0].prefix == 16);
	T_STR(t, text(l.routes[0].gateway), "10.0.0.1");
}

static void overloaded_fields_hold_options(struct t *t)
{
	struct message m = reply(5);
	struct rouse_dhcp_lease l;

	PUT(&m, 52, 3);
	memcpy(m.data + 108, (uint8_t[]){ 6, 4, 1, 1, 1, 1, 255 }, 7);
	memcpy(m.data + 44, (uint8_t[]){ 51, 4, 0, 0, 0, 60, 255 }, 7);
	T_CHECK(t, rouse_dhcp_parse(m.data, m.n, &l) == 0);
	T_CHECK(t, l.n_dns == 1 && l.seconds == 60);
}

static void overloaded_field_without_end_stops_at_its_edge(struct t *t)
{
	struct message m = reply(5);
	struct rouse_dhcp_lease l;

	PUT(&m, 52, 1);
	m.data[235] = 6; /* an option whose length would be the cookie's first byte */
	T_CHECK(t, rouse_dhcp_parse(m.data, m.n, &l) < 0);
}

static void without_a_mask_the_class_counts(struct t *t)
{
	struct message m = reply(5);
	struct rouse_dhcp_lease l;

	T_CHECK(t, rouse_dhcp_parse(m.data, m.n, &l) == 0 && l.prefix == 8);
}

static void names_that_would_write_lines_are_dropped(struct t *t)
{
	static const char *const bad[] = {
		"a\nnameserver 6.6.6.6", "a b", "-x", ".", "a;b", "\xc3\xa9", "a\\b"
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct message m = reply(5);
		struct rouse_dhcp_lease l;

		put(&m, 12, bad[i], strlen(bad[i]));
		put(&m, 15, bad[i], strlen(bad[i]));
		T_CHECK(t, rouse_dhcp_parse(m.data, m.n, &l) == 0);
		T_STR(t, l.hostname, "");
		T_STR(t, l.domain, "");
	}
}

static void refuses_an_address_no_machine_can_have(struct t *t)
{
	static const uint8_t bad[][4] = {
		{ 0, 0, 0, 0 }, { 127, 0, 0, 1 }, { 224, 0, 0, 1 }, { 255, 255, 255, 255 }
	};

	for (size_t i = 0; i < 4; i++) {
		struct message m = reply(2);
		struct rouse_dhcp_lease l;

		memcpy(m.data + 16, bad[i], 4);
		T_CHECK(t, rouse_dhcp_parse(m.data, m.n, &l) < 0);
	}
}

static void refuses_damage(struct t *t)
{
	struct message good = reply(5), m;
	struct rouse_dhcp_lease l;

	T_CHECK(t, rouse_dhcp_parse(good.data, good.n, &l) == 0);
	T_CHECK(t, rouse_dhcp_parse(good.data, 239, &l) < 0);
	T_CHECK(t, rouse_dhcp_parse(good.data, 0, &l) < 0);
	T_CHECK(t, rouse_dhcp_parse(good.data, good.n - 1, &l) < 0); /* the last option is cut */
	m = good, m.data[0] = 1;                                     /* a request */
	T_CHECK(t, rouse_dhcp_parse(m.data, m.n, &l) < 0);
	m = good, m.data[2] = 16;
	T_CHECK(t, rouse_dhcp_parse(m.data, m.n, &l) < 0);
	m = good, m.data[236] = 0;
	T_CHECK(t, rouse_dhcp_parse(m.data, m.n, &l) < 0);
	m = good, m.data[242] = 1; /* a DISCOVER from a server */
	T_CHECK(t, rouse_dhcp_parse(m.data, m.n, &l) < 0);
	m = good, PUT(&m, 1, 255, 0, 255, 0); /* a mask with a hole */
	T_CHECK(t, rouse_dhcp_parse(m.data, m.n, &l) < 0);
	m = good, PUT(&m, 121, 33, 1, 2, 3, 4, 5, 10, 0, 0, 1);
	T_CHECK(t, rouse_dhcp_parse(m.data, m.n, &l) < 0);
	m = good, PUT(&m, 121, 24, 1, 2, 3, 10, 0, 0);
	T_CHECK(t, rouse_dhcp_parse(m.data, m.n, &l) < 0);
}

static void an_offer_needs_its_server(struct t *t)
{
	struct message m = reply(2);
	struct rouse_dhcp_lease l;

	T_CHECK(t, rouse_dhcp_parse(m.data, m.n, &l) == 0);
	m.n -= 6;
	T_CHECK(t, rouse_dhcp_parse(m.data, m.n, &l) < 0);
}

static void a_refusal_needs_no_address(struct t *t)
{
	struct message m = reply(6);
	struct rouse_dhcp_lease l;

	memset(m.data + 16, 0, 4);
	T_CHECK(t, rouse_dhcp_parse(m.data, m.n, &l) == 0 && l.type == ROUSE_DHCP_NAK);
}

static void counts_are_bounded(struct t *t)
{
	struct message m = reply(5);
	struct rouse_dhcp_lease l;

	for (int i = 0; i < 40; i++)
		PUT(&m, 121, 8, 10, 10, 0, 0, 1);
	for (int i = 0; i < 40; i++)
		PUT(&m, 6, 8, 8, 8, 8);
	PUT(&m, 26, 0, 68); /* an MTU that would break the machine is not taken over */
	T_CHECK(t, rouse_dhcp_parse(m.data, m.n, &l) == 0);
	T_CHECK(t,
		l.n_routes == ROUSE_DHCP_MAX_ROUTES && l.n_dns == ROUSE_DHCP_MAX_DNS && l.mtu == 0);
}

/* Every byte changed to a few values, and every length: no answer matters, only that none of them
 * reads or writes where it must not (run with SAN=1). */
static void any_bytes_are_survived(struct t *t)
{
	struct message m = reply(5);

	PUT(&m, 52, 3);
	PUT(&m, 121, 16, 192, 168, 10, 0, 0, 1, 0, 10, 0, 0, 1);
	put(&m, 12, "name", 4);
	for (size_t n = 0; n <= m.n; n++) {
		uint8_t *exact = malloc(n ? n : 1);
		struct rouse_dhcp_lease l;

		memcpy(exact, m.data, n);
		(void)!rouse_dhcp_parse(exact, n, &l);
		for (size_t i = 0; i < n; i++)
			for (int v = 0; v < 4; v++) {
				uint8_t old = exact[i];

				exact[i] = (uint8_t[]){ 0, 1, 0x7f, 0xff }[v];
				(void)!rouse_dhcp_parse(exact, n, &l);
				exact[i] = old;
			}
		free(exact);
	}
	T_CHECK(t, true);
}

static void requests_are_well_formed_packets(struct t *t)
{
	uint8_t p[ROUSE_DHCP_MAX_FRAME];
	struct rouse_dhcp_lease offer = { .address.s_addr = htonl(0x0a000005),
					  .server.s_addr = htonl(0x0a000001) };
	size_t n = rouse_dhcp_build(p, 0x01020304, 7, true, mac, NULL), len = 0;

	T_CHECK(t, n == 328 && p[0] == 0x45 && p[28] == 1 && p[38] == 0x80);
	T_CHECK(t, memcmp(p + 28 + 4, "\1\2\3\4", 4) == 0 && memcmp(p + 28 + 28, mac, 6) == 0);
	T_CHECK(t, memcmp(p + 28 + 240, "\x35\1\1", 3) == 0);
	n = rouse_dhcp_build(p, 1, 0, false, mac, &offer);
	T_CHECK(t, memcmp(p + 28 + 240, "\x35\1\3\x32\4\x0a\0\0\5\x36\4\x0a\0\0\1", 15) == 0);
	/* from the client's port to the server's: not for us */
	T_CHECK(t, !rouse_dhcp_payload(p, n, &len));
	p[21] = 67, p[23] = 68;
	T_CHECK(t, rouse_dhcp_payload(p, n, &len) == p + 28 && len == 300);
	T_CHECK(t, rouse_dhcp_payload(p, sizeof(p), &len) && len == 300); /* padding */
}

static void packets_that_lie_are_dropped(struct t *t)
{
	uint8_t good[ROUSE_DHCP_MAX_FRAME], p[ROUSE_DHCP_MAX_FRAME];
	size_t n = rouse_dhcp_build(good, 1, 0, false, mac, NULL), len = 0;

	good[21] = 67, good[23] = 68;
	T_CHECK(t, rouse_dhcp_payload(good, n, &len));
	T_CHECK(t, !rouse_dhcp_payload(good, n - 1, &len));
	T_CHECK(t, !rouse_dhcp_payload(good, 19, &len) && !rouse_dhcp_payload(good, 0, &len));
	memcpy(p, good, sizeof(p)), p[0] = 0x44; /* a header that is too short */
	T_CHECK(t, !rouse_dhcp_payload(p, n, &len));
	memcpy(p, good, sizeof(p)), p[12] ^= 1; /* its checksum is wrong */
	T_CHECK(t, !rouse_dhcp_payload(p, n, &len));
	memcpy(p, good, sizeof(p)), p[24] = 0xff; /* UDP says it is longer than the packet */
	T_CHECK(t, !rouse_dhcp_payload(p, n, &len));
	memcpy(p, good, sizeof(p)), p[24] = 0, p[25] = 7;
	T_CHECK(t, !rouse_dhcp_payload(p, n, &len));
}

T_MAIN(T(parse_reads_a_whole_lease), T(classless_routes_replace_the_router),
       T(split_options_are_joined), T(overloaded_fields_hold_options),
       T(overloaded_field_without_end_stops_at_its_edge), T(without_a_mask_the_class_counts),
       T(names_that_would_write_lines_are_dropped), T(refuses_an_address_no_machine_can_have),
       T(refuses_damage), T(an_offer_needs_its_server), T(a_refusal_needs_no_address),
       T(counts_are_bounded), T(any_bytes_are_survived), T(requests_are_well_formed_packets),
       T(packets_that_lie_are_dropped))
