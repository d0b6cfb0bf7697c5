/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/dhcp6.h>

#include <arpa/inet.h>

#include "../lib/tap.h"

static const uint8_t mac[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };

/* --- router advertisements -------------------------------------------------------------------- */

/* Header: hop limit 64, managed, lifetime 1800. */
#define RA_HEAD 134, 0, 0, 0, 64, 0x80, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0
#define RA_PREFIX                                                                                  \
	3, 4, 64, 0xc0, 0, 1, 0x51, 0x80, 0, 0, 0x0e, 0x10, 0, 0, 0, 0, 0x20, 0x01, 0x0d, 0xb8, 0, \
		7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
#define RA_RDNSS                                                                                   \
	25, 3, 0, 0, 0, 0, 2, 0x58, 0x20, 0x01, 0x0d, 0xb8, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53
#define RA_DNSSL                                                                                   \
	31, 3, 0, 0, 0, 0, 2, 0x58, 4, 't', 'e', 's', 't', 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e',   \
		0, 0, 0

static void an_advertisement_is_read_whole(struct t *t)
{
	static const uint8_t ra[] = { RA_HEAD, RA_PREFIX, RA_RDNSS, RA_DNSSL };
	struct rouse_ra r = { 0 };
	char a[INET6_ADDRSTRLEN];

	T_CHECK(t, rouse_ra_parse(ra, sizeof(ra), &r) == 0);
	T_CHECK(t, r.managed && !r.other && r.autonomous && r.lifetime == 1800);
	T_CHECK(t, r.resolvers.n_dns == 1);
	T_STR(t, inet_ntop(AF_INET6, &r.resolvers.dns[0], a, sizeof(a)), "2001:db8:7::53");
	T_STR(t, r.resolvers.domain, "test.example");
}

static void every_cut_of_an_advertisement_is_refused_or_shorter(struct t *t)
{
	static const uint8_t ra[] = { RA_HEAD, RA_PREFIX, RA_RDNSS, RA_DNSSL };

	for (size_t n = 0; n < sizeof(ra); n++) {
		struct rouse_ra r = { 0 };
		bool whole = n == 16 || n == 48 || n == 72;

		T_CHECK(t, (rouse_ra_parse(ra, n, &r) == 0) == whole);
	}
}

static void damaged_advertisements_are_refused(struct t *t)
{
	static const uint8_t zero[] = { RA_HEAD, 25, 0, 0, 0, 0, 0, 0, 0 },
			     long_one[] = { RA_HEAD, 25, 2, 0, 0, 0, 0, 0, 0 },
			     other[] = { 133, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
	struct rouse_ra r = { 0 };

	T_CHECK(t, rouse_ra_parse(zero, sizeof(zero), &r) < 0);
	T_CHECK(t, rouse_ra_parse(long_one, sizeof(long_one), &r) < 0);
	T_CHECK(t, rouse_ra_parse(other, sizeof(other), &r) < 0);
}

static void names_that_are_unfit_for_a_file_are_left_out(struct t *t)
{
	static const uint8_t newline[] = { RA_HEAD, 31,  2,    0,   0, 0, 0, 2, 0x58,
					   3,       'a', '\n', 'b', 0, 0, 0, 0 },
			     dash[] = { RA_HEAD, 31,  2,   0,   0, 0, 0, 2, 0x58,
					3,       '-', 'a', 'b', 0, 0, 0, 0 },
			     endless[] = { RA_HEAD, 31,  2,   0,   0,   0,   0,   2,  0x58,
					   7,       'a', 'b', 'c', 'd', 'e', 'f', 'g' };
	struct rouse_ra r = { 0 };

	T_CHECK(t, rouse_ra_parse(newline, sizeof(newline), &r) == 0);
	T_STR(t, r.resolvers.domain, "");
	T_CHECK(t, rouse_ra_parse(dash, sizeof(dash), &r) == 0);
	T_STR(t, r.resolvers.domain, "");
	T_CHECK(t, rouse_ra_parse(endless, sizeof(endless), &r) == 0);
	T_STR(t, r.resolvers.domain, "");
}

/* --- DHCPv6 ----------------------------------------------------------------------------------- */

#define CLIENT 0, 1, 0, 10, 0, 3, 0, 1, 0x52, 0x54, 0x00, 0x12, 0x34, 0x56
#define SERVER 0, 2, 0, 4, 0, 3, 0, 9
#define ADDRESS                                                                                    \
	0, 5, 0, 24, 0x20, 0x01, 0x0d, 0xb8, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x77, 0, 0, 7, 8, 0, \
		0, 14, 16
#define IA(len) 0, 3, 0, len, 0, 0x12, 0x34, 0x56, 0, 0, 0, 0, 0, 0, 0, 0
#define DNS 0, 23, 0, 16, 0x20, 0x01, 0x0d, 0xb8, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53
#define REPLY_HEAD 7, 0xab, 0xcd, 0xef

static void a_reply_is_read_whole(struct t *t)
{
	static const uint8_t m[] = { REPLY_HEAD, CLIENT, SERVER, IA(40), ADDRESS, DNS };
	struct rouse_dhcp6_lease l = { 0 };
	char a[INET6_ADDRSTRLEN];

	T_CHECK(t, rouse_dhcp6_parse(m, sizeof(m), mac, &l) == 0);
	T_CHECK(t, l.type == ROUSE_DHCP6_REPLY && l.xid == 0xabcdef && l.server_len == 4);
	T_CHECK(t, l.has_address && l.preferred == 1800 && l.valid == 3600);
	T_STR(t, inet_ntop(AF_INET6, &l.address, a, sizeof(a)), "2001:db8:7::77");
	T_CHECK(t, l.resolvers.n_dns == 1);
}

static void every_cut_of_a_reply_is_refused_or_shorter(struct t *t)
{
	static const uint8_t m[] = { REPLY_HEAD, CLIENT, SERVER, IA(40), ADDRESS, DNS };

	for (size_t n = 0; n < sizeof(m); n++) {
		struct rouse_dhcp6_lease l = { 0 };
		bool whole = n == 26 || n == 70; /* behind SERVER, behind the association */

		T_CHECK(t, (rouse_dhcp6_parse(m, n, mac, &l) == 0) == whole);
	}
}

static void what_is_not_for_us_or_refuses_is_no_lease(struct t *t)
{
	static const uint8_t other_mac[6] = { 2, 0, 0, 0, 0, 1 };
	static const uint8_t whole[] = { REPLY_HEAD, CLIENT, SERVER, IA(40), ADDRESS },
			     anonymous[] = { REPLY_HEAD, CLIENT, IA(40), ADDRESS },
			     for_all[] = { REPLY_HEAD, SERVER, IA(40), ADDRESS },
			     status[] = { REPLY_HEAD, CLIENT, SERVER, 0, 13, 0, 2, 0, 1 },
			     none[] = { REPLY_HEAD, CLIENT, SERVER, IA(18), 0, 13, 0, 2, 0, 2 },
			     solicit[] = { 1, 0, 0, 0, CLIENT, SERVER };
	struct rouse_dhcp6_lease l = { 0 };

	T_CHECK(t, rouse_dhcp6_parse(whole, sizeof(whole), mac, &l) == 0);
	T_CHECK(t, rouse_dhcp6_parse(whole, sizeof(whole), other_mac, &l) < 0);
	T_CHECK(t, rouse_dhcp6_parse(anonymous, sizeof(anonymous), mac, &l) < 0);
	T_CHECK(t, rouse_dhcp6_parse(for_all, sizeof(for_all), mac, &l) < 0);
	T_CHECK(t, rouse_dhcp6_parse(status, sizeof(status), mac, &l) < 0);
	T_CHECK(t, rouse_dhcp6_parse(none, sizeof(none), mac, &l) < 0);
	T_CHECK(t, rouse_dhcp6_parse(solicit, sizeof(solicit), mac, &l) < 0);
}

static void addresses_that_no_machine_can_have_are_passed_over(struct t *t)
{
	static const uint8_t first[] = { 0xff, 0xfe, 0x00 };
	uint8_t m[] = { REPLY_HEAD, CLIENT, SERVER, IA(40), ADDRESS };
	struct rouse_dhcp6_lease l = { 0 };

	for (size_t i = 0; i < sizeof(first); i++) {
		memset(m + 46, 0, 16);
		m[46] = first[i];
		m[47] = first[i] == 0xfe ? 0x80 : 0;
		T_CHECK(t, rouse_dhcp6_parse(m, sizeof(m), mac, &l) == 0 && !l.has_address);
	}
}

static void a_servers_identifier_has_a_limit(struct t *t)
{
	for (unsigned n = 130; n <= 131; n++) {
		uint8_t m[256] = { REPLY_HEAD, CLIENT, 0, 2, 0, (uint8_t)n };
		struct rouse_dhcp6_lease l = { 0 };

		T_CHECK(t, (rouse_dhcp6_parse(m, 22 + n, mac, &l) == 0) == (n == 130));
	}
}

static void requests_say_what_the_server_needs(struct t *t)
{
	static const uint8_t solicit[] = { 1,   0xab, 0xcd, 0xef, CLIENT, 0, 8,  0, 2,  0,
					   100, 0,    6,    0,    4,      0, 23, 0, 24, IA(12) },
			     information[] = { 11,  0xab, 0xcd, 0xef, CLIENT, 0, 8,  0, 2, 0,
					       100, 0,    6,    0,    4,      0, 23, 0, 24 };
	struct rouse_dhcp6_lease offer = { .server_len = 4, .server = { 0, 3, 0, 9 } };
	uint8_t buf[ROUSE_DHCP6_MAX];
	size_t n;

	n = rouse_dhcp6_build(buf, ROUSE_DHCP6_SOLICIT, 0xabcdef, 100, mac, NULL);
	T_CHECK(t, n == sizeof(solicit) && memcmp(buf, solicit, n) == 0);
	n = rouse_dhcp6_build(buf, ROUSE_DHCP6_INFORMATION, 0xabcdef, 100, mac, NULL);
	T_CHECK(t, n == sizeof(information) && memcmp(buf, information, n) == 0);
	n = rouse_dhcp6_build(buf, ROUSE_DHCP6_REQUEST, 0xabcdef, 100, mac, &offer);
	T_CHECK(t, n == sizeof(solicit) + 8 + 28);
	T_CHECK(t, memcmp(buf + 18, (uint8_t[]){ SERVER }, 8) == 0);
}

T_MAIN(T(an_advertisement_is_read_whole), T(every_cut_of_an_advertisement_is_refused_or_shorter),
       T(damaged_advertisements_are_refused), T(names_that_are_unfit_for_a_file_are_left_out),
       T(a_reply_is_read_whole), T(every_cut_of_a_reply_is_refused_or_shorter),
       T(what_is_not_for_us_or_refuses_is_no_lease),
       T(addresses_that_no_machine_can_have_are_passed_over), T(a_servers_identifier_has_a_limit),
       T(requests_say_what_the_server_needs))
