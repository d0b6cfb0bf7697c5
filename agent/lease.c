/* SPDX-License-Identifier: Apache-2.0 */
#include "lease.h"

#include <arpa/inet.h>
#include <string.h>

#include <rouse/fs.h>
#include <rouse/init.h>
#include <rouse/json.h>
#include <rouse/log.h>
#include <rouse/text.h>

#include "netlink.h"
#include "resolv.h"

static void print_address(char buf[static INET_ADDRSTRLEN], struct in_addr a)
{
	(void)inet_ntop(AF_INET, &a, buf, INET_ADDRSTRLEN); /* the buffer is large enough */
}

static void add_card(json_t *j, const struct lease_card *c)
{
	char mac[32];

	rouse_json_set_string(j, "interface", c->name);
	(void)snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", c->mac[0], c->mac[1],
		       c->mac[2], c->mac[3], c->mac[4], c->mac[5]);
	rouse_json_set_string(j, "mac", mac);
}

static int keep(const struct rouse_root *root, const json_t *j, struct rouse_err *e)
{
	auto_free char *text = rouse_json_print(j);

	if (rouse_fs_mkdirs(root, ROUSE_NETWORK_FILE, false, e) < 0)
		return -1;
	return rouse_fs_replace(root, ROUSE_NETWORK_FILE, text, strlen(text), 0644, (uid_t)-1,
				(gid_t)-1, e);
}

static int write_facts(const struct rouse_root *root, const struct lease_card *c,
		       const struct rouse_dhcp_lease *l, struct rouse_err *e)
{
	auto_json json_t *j = json_object();
	json_t *routes = json_array(), *dns = json_array();
	char a[INET_ADDRSTRLEN], line[64];

	add_card(j, c);
	print_address(a, l->address);
	(void)snprintf(line, sizeof(line), "%s/%u", a, l->prefix);
	rouse_json_set_string(j, "address", line);
	for (size_t i = 0; i < l->n_routes; i++) {
		json_t *r = json_object();

		print_address(a, l->routes[i].destination);
		(void)snprintf(line, sizeof(line), "%s/%u", a, l->routes[i].prefix);
		rouse_json_set_string(r, "destination", line);
		print_address(a, l->routes[i].gateway);
		rouse_json_set_string(r, "gateway", l->routes[i].gateway.s_addr ? a : NULL);
		rouse_json_append(routes, r);
	}
	rouse_json_set(j, "routes", routes);
	for (size_t i = 0; i < l->n_dns; i++) {
		print_address(a, l->dns[i]);
		rouse_json_append(dns, json_string(a));
	}
	rouse_json_set(j, "dns", dns);
	rouse_json_set_string(j, "domain", l->domain[0] ? l->domain : NULL);
	rouse_json_set_string(j, "hostname", l->hostname[0] ? l->hostname : NULL);
	if (l->mtu)
		rouse_json_set_int(j, "mtu", l->mtu);
	print_address(a, l->server);
	rouse_json_set_string(j, "server", a);
	rouse_json_set_int(j, "leaseSeconds", l->seconds);
	return keep(root, j, e);
}

int lease_apply(int control, const struct lease_card *c, const struct rouse_dhcp_lease *l,
		struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	char addresses[ROUSE_DHCP_MAX_DNS][INET_ADDRSTRLEN];
	const char *servers[ROUSE_DHCP_MAX_DNS];

	for (size_t i = 0; i < l->n_dns; i++) {
		print_address(addresses[i], l->dns[i]);
		servers[i] = addresses[i];
	}
	if (l->mtu && netlink_link_up(control, c->index, l->mtu, e) < 0)
		rouse_log(ROUSE_LOG_WARNING, "net", "MTU %u: %s, ignoring", l->mtu, e->text);
	if (netlink_add_address(control, c->index, l->address, l->prefix, e) < 0)
		return -1;
	/* Routes on the link first: gateways of others may be behind them. */
	for (int on_link = 1; on_link >= 0; on_link--)
		for (size_t i = 0; i < l->n_routes; i++)
			if ((l->routes[i].gateway.s_addr == 0) == (on_link == 1) &&
			    netlink_add_route(control, c->index, &l->routes[i], l->address, e) < 0)
				return -1;
	if (rouse_root_open(&root, "/", e) < 0 || write_facts(&root, c, l, e) < 0)
		return -1;
	return resolv_write(&root, l->domain, servers, l->n_dns, e);
}

int lease_apply6(const struct lease_card *c, const struct rouse_resolvers6 *router,
		 const struct rouse_dhcp6_lease *l, struct rouse_err *e)
{
	/* Who answers a question knows better than who tells everybody. */
	const struct rouse_resolvers6 *r = l && l->resolvers.n_dns ? &l->resolvers : router;
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	char addresses[ROUSE_DHCP6_MAX_DNS][INET6_ADDRSTRLEN], a[INET6_ADDRSTRLEN];
	const char *servers[ROUSE_DHCP6_MAX_DNS];
	auto_json json_t *j = json_object();
	json_t *dns = json_array();

	add_card(j, c);
	if (l && l->has_address) {
		(void)inet_ntop(AF_INET6, &l->address, a,
				sizeof(a)); /* the buffer is large enough */
		rouse_json_set_string(j, "address6", a);
		rouse_json_set_int(j, "leaseSeconds", l->valid);
	}
	for (size_t i = 0; i < r->n_dns; i++) {
		(void)inet_ntop(AF_INET6, &r->dns[i], addresses[i], INET6_ADDRSTRLEN); /* … too */
		servers[i] = addresses[i];
		rouse_json_append_string(dns, addresses[i]);
	}
	rouse_json_set(j, "dns", dns);
	rouse_json_set_string(j, "domain", r->domain[0] ? r->domain : NULL);
	if (rouse_root_open(&root, "/", e) < 0 || keep(&root, j, e) < 0)
		return -1;
	return resolv_write(&root, r->domain, servers, r->n_dns, e);
}

/* --- what was written down -------------------------------------------------------------------- */

static bool is_zero(const uint8_t address[static 16])
{
	static const uint8_t zero[16];

	return memcmp(address, zero, sizeof(zero)) == 0;
}

static int add_written_address(int control, const struct lease_card *c,
			       const struct rouse_netconf_net *net, struct rouse_err *e)
{
	struct in6_addr six;
	struct in_addr four;

	memcpy(&six, net->address, sizeof(six));
	memcpy(&four, net->address, sizeof(four));
	return net->family == AF_INET ? netlink_add_address(control, c->index, four, net->prefix, e)
				      : netlink_add_address6(control, c->index, &six, net->prefix,
							     UINT32_MAX, UINT32_MAX, e);
}

static int add_written_route(int control, const struct lease_card *c,
			     const struct rouse_netconf_card *card,
			     const struct rouse_netconf_net *net, struct rouse_err *e)
{
	struct rouse_dhcp_route four = { .prefix = net->prefix };
	struct in6_addr six, gateway;
	struct in_addr source = { 0 };

	memcpy(&six, net->address, sizeof(six));
	memcpy(&gateway, net->gateway, sizeof(gateway));
	if (net->family == AF_INET6)
		return netlink_add_route6(control, c->index, &six, net->prefix, &gateway, e);
	memcpy(&four.destination, net->address, sizeof(four.destination));
	memcpy(&four.gateway, net->gateway, sizeof(four.gateway));
	for (size_t i = card->n_addresses; i-- > 0;)
		if (card->addresses[i].family == AF_INET)
			memcpy(&source, card->addresses[i].address, sizeof(source));
	return netlink_add_route(control, c->index, &four, source, e);
}

static json_t *print_written(const struct lease_card *c, const struct rouse_netconf_card *card,
			     const struct rouse_netconf *all)
{
	json_t *j = json_object(), *addresses = json_array(), *dns = json_array();
	char a[INET6_ADDRSTRLEN], line[INET6_ADDRSTRLEN + 8];

	add_card(j, c);
	for (size_t i = 0; i < card->n_addresses; i++) {
		const struct rouse_netconf_net *net = &card->addresses[i];

		(void)inet_ntop(net->family, net->address, a, sizeof(a)); /* it is large enough */
		(void)snprintf(line, sizeof(line), "%s/%u", a, net->prefix);
		rouse_json_append_string(addresses, line);
	}
	rouse_json_set(j, "addresses", addresses);
	for (size_t i = 0; i < all->n_dns; i++)
		rouse_json_append_string(dns, all->dns[i]);
	rouse_json_set(j, "dns", dns);
	rouse_json_set_string(j, "domain", all->domain[0] ? all->domain : NULL);
	return j;
}

int lease_apply_written(int control, const struct lease_card *c,
			const struct rouse_netconf_card *card, const struct rouse_netconf *all,
			struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_json json_t *j = print_written(c, card, all);
	const char *servers[ROUSE_NETCONF_MAX_DNS];

	for (size_t i = 0; i < all->n_dns; i++)
		servers[i] = all->dns[i];
	if (card->mtu && netlink_link_up(control, c->index, card->mtu, e) < 0)
		rouse_log(ROUSE_LOG_WARNING, "net", "MTU %u: %s, ignoring", card->mtu, e->text);
	for (size_t i = 0; i < card->n_addresses; i++)
		if (add_written_address(control, c, &card->addresses[i], e) < 0)
			return -1;
	/* Routes on the link first: gateways of others may be behind them. */
	for (int on_link = 1; on_link >= 0; on_link--)
		for (size_t i = 0; i < card->n_routes; i++)
			if (is_zero(card->routes[i].gateway) == (on_link == 1) &&
			    add_written_route(control, c, card, &card->routes[i], e) < 0)
				return -1;
	if (rouse_root_open(&root, "/", e) < 0 || keep(&root, j, e) < 0)
		return -1;
	return resolv_write(&root, all->domain, servers, all->n_dns, e);
}
