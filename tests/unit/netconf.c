/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/netconf.h>

#include <arpa/inet.h>

#include <rouse/mem.h>

#include "../lib/tap.h"

static struct rouse_netconf conf;
static struct rouse_err error;

static int parse(const char *text)
{
	error = (struct rouse_err){ 0 };
	return rouse_netconf_parse("network-config", text, strlen(text), &conf, &error);
}

static const uint8_t mac[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 },
		     other_mac[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x57 };

static bool is_net(const struct rouse_netconf_net *n, const char *address, unsigned prefix,
		   const char *gateway)
{
	char a[INET6_ADDRSTRLEN], g[INET6_ADDRSTRLEN];

	return strcmp(inet_ntop(n->family, n->address, a, sizeof(a)), address) == 0 &&
	       n->prefix == prefix &&
	       strcmp(inet_ntop(n->family, n->gateway, g, sizeof(g)), gateway) == 0;
}

static void version_2_is_read(struct t *t)
{
	const struct rouse_netconf_card *c;

	T_CHECK(t, parse("network:\n"
			 "  version: 2\n"
			 "  ethernets:\n"
			 "    id0:\n"
			 "      match: {macaddress: \"52:54:00:12:34:56\"}\n"
			 "      set-name: lan\n"
			 "      addresses: [10.0.0.5/24, '2001:db8::5/64']\n"
			 "      gateway4: 10.0.0.1\n"
			 "      routes:\n"
			 "      - {to: ::/0, via: fe80::1}\n"
			 "      - to: 10.9.9.9/16\n"
			 "        via: 10.0.0.2\n"
			 "      nameservers:\n"
			 "        addresses: [10.0.0.53, 2001:db8::53]\n"
			 "        search: [test.example, other.example]\n"
			 "      mtu: 9000\n"
			 "    eth1:\n"
			 "      dhcp4: true\n") == 0);
	T_CHECK(t, conf.n_cards == 2);
	c = rouse_netconf_find(&conf, "ens3", mac);
	T_CHECK(t, c && c->mtu == 9000 && c->n_addresses == 2 && c->n_routes == 3);
	T_CHECK(t, is_net(&c->addresses[0], "10.0.0.5", 24, "0.0.0.0"));
	T_CHECK(t, is_net(&c->addresses[1], "2001:db8::5", 64, "::"));
	T_CHECK(t, is_net(&c->routes[0], "0.0.0.0", 0, "10.0.0.1"));
	T_CHECK(t, is_net(&c->routes[1], "::", 0, "fe80::1"));
	T_CHECK(t, is_net(&c->routes[2], "10.9.0.0", 16, "10.0.0.2"));
	T_CHECK(t, conf.n_dns == 2);
	T_STR(t, conf.dns[1], "2001:db8::53");
	T_STR(t, conf.domain, "test.example");
	T_CHECK(t, !rouse_netconf_find(&conf, "ens3", other_mac));
	T_CHECK(t, !rouse_netconf_find(&conf, "eth1", other_mac)); /* it asks for a lease */
}

static void version_1_is_read(struct t *t)
{
	const struct rouse_netconf_card *c;

	T_CHECK(t, parse("version: 1\n"
			 "config:\n"
			 "  - type: physical\n"
			 "    name: eth0\n"
			 "    mac_address: '52:54:00:12:34:56'\n"
			 "    subnets:\n"
			 "      - type: static\n"
			 "        address: 192.168.1.10\n"
			 "        netmask: 255.255.255.0\n"
			 "        gateway: 192.168.1.1\n"
			 "        dns_nameservers: [192.168.1.2]\n"
			 "        routes:\n"
			 "          - network: 10.0.0.0\n"
			 "            netmask: 255.0.0.0\n"
			 "            gateway: 192.168.1.254\n"
			 "      - type: dhcp6\n"
			 "  - type: nameserver\n"
			 "    address: [192.168.1.3]\n"
			 "    search: test.example\n"
			 "  - type: vlan\n"
			 "    name: eth0.7\n") == 0);
	c = rouse_netconf_find(&conf, "eth0", mac);
	T_CHECK(t, c && c->n_addresses == 1 && c->n_routes == 2);
	T_CHECK(t, is_net(&c->addresses[0], "192.168.1.10", 24, "0.0.0.0"));
	T_CHECK(t, is_net(&c->routes[1], "10.0.0.0", 8, "192.168.1.254"));
	T_CHECK(t, conf.n_dns == 2);
	T_STR(t, conf.domain, "test.example");
}

static void json_is_read_too(struct t *t)
{
	T_CHECK(t, parse("{\n\"version\": 2,\n\"ethernets\": {\n\"eth0\": {\"addresses\": "
			 "[\"10.0.0.5/24\"], \"mtu\": 1400}\n}\n}\n") == 0);
	T_CHECK(t, rouse_netconf_find(&conf, "eth0", mac)->mtu == 1400);
	/* The only card is the one that is meant, whatever it is called now. */
	T_CHECK(t, rouse_netconf_find(&conf, "ens3", mac));
}

static void an_empty_text_says_nothing(struct t *t)
{
	T_CHECK(t, parse("") == 0 && conf.n_cards == 0);
	T_CHECK(t, parse("# nothing\n") == 0 && !rouse_netconf_find(&conf, "eth0", mac));
}

static void what_is_wrong_is_refused(struct t *t)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "version: 3\n", "neither version 1" },
		{ "ethernets: {}\n", "neither version 1" },
		{ "version: 2\nethernets: {e: {addresses: [10.0.0]}}\n", "an address is none" },
		{ "version: 2\nethernets: {e: {addresses: [10.0.0.1/33]}}\n",
		  "an address is none" },
		{ "version: 2\nethernets: {e: {addresses: [{a: b}]}}\n", "an address is none" },
		{ "version: 2\nethernets: {e: {gateway4: x}}\n", "a gateway is no address" },
		{ "version: 2\nethernets: {e: {routes: [{to: ::/0, via: 10.0.0.1}]}}\n",
		  "not of one family" },
		{ "version: 2\nethernets: {e: {match: {macaddress: 1}}}\n", "the MAC or the MTU" },
		{ "version: 2\nethernets: {e: {match: {macaddress: '52:54:00:12:34:56:78'}}}\n",
		  "the MAC or the MTU" },
		{ "version: 2\nethernets: {e: {mtu: 65537}}\n", "the MAC or the MTU" },
		{ "version: 2\nethernets: {abcdefghijklmnop: {}}\n",
		  "the name of a card is too long" },
		{ "version: 2\nethernets: {e: {nameservers: {addresses: [hunter2]}}}\n",
		  "a resolver is no address" },
		{ "version: 1\nconfig: [{type: physical, subnets: [{type: static, address: "
		  "10.0.0.1, "
		  "netmask: 255.0.255.0}]}]\n",
		  "an address is none" },
		{ "version: 2\n\tx: 1\n", "network-config:2: a tab" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		T_CHECK(t, parse(cases[i].text) < 0 && error.kind == ROUSE_DOCUMENT);
		T_HAS(t, error.text, cases[i].why);
		T_CHECK(t, !strstr(error.text, "hunter2"));
	}
}

static void cards_have_a_limit_and_the_rest_is_cut(struct t *t)
{
	for (unsigned n = ROUSE_NETCONF_MAX_CARDS; n <= ROUSE_NETCONF_MAX_CARDS + 1; n++) {
		auto_buf struct rouse_buf text = { 0 };

		rouse_buf_printf(&text, "version: 2\nethernets:\n");
		for (unsigned i = 0; i < n; i++)
			rouse_buf_printf(
				&text,
				"  e%u:\n    addresses: [10.0.0.1/8, 10.0.0.2/8, 10.0.0.3/8, "
				"10.0.0.4/8, "
				"10.0.0.5/8, 10.0.0.6/8, 10.0.0.7/8, 10.0.0.8/8, 10.0.0.9/8]\n",
				i);
		T_CHECK(t, (parse(text.data) == 0) == (n == ROUSE_NETCONF_MAX_CARDS));
	}
	T_CHECK(t, conf.cards[0].n_addresses == ROUSE_NETCONF_MAX_ADDRESSES);
}

T_MAIN(T(version_2_is_read), T(version_1_is_read), T(json_is_read_too),
       T(an_empty_text_says_nothing), T(what_is_wrong_is_refused),
       T(cards_have_a_limit_and_the_rest_is_cut))
