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

static int write_facts(const struct rouse_root *root, const struct lease_card *c,
		       const struct rouse_dhcp_lease *l, struct rouse_err *e)
{
	auto_json json_t *j = json_object();
	json_t *routes = json_array(), *dns = json_array();
	auto_free char *text = NULL;
	char a[INET_ADDRSTRLEN], line[64];

	rouse_json_set_string(j, "interface", c->name);
	(void)snprintf(line, sizeof(line), "%02x:%02x:%02x:%02x:%02x:%02x", c->mac[0], c->mac[1],
		       c->mac[2], c->mac[3], c->mac[4], c->mac[5]);
	rouse_json_set_string(j, "mac", line);
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
	text = rouse_json_print(j);
	if (rouse_fs_mkdirs(root, ROUSE_NETWORK_FILE, false, e) < 0)
		return -1;
	return rouse_fs_replace(root, ROUSE_NETWORK_FILE, text, strlen(text), 0644, (uid_t)-1,
				(gid_t)-1, e);
}

int lease_apply(int control, const struct lease_card *c, const struct rouse_dhcp_lease *l,
		struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;

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
	return resolv_write(&root, l, e);
}
