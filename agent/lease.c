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

static void print_address(char buf[static INET_ADDRSTRLEN], struct in_addr a)
{
	(void)inet_ntop(AF_INET, &a, buf, INET_ADDRSTRLEN); /* the buffer is large enough */
}

/* Where the resolver's file is: a symlink into /run is the resolver's of later, which is not there
 * yet and will replace what stands there now. */
static int write_resolv_conf(const struct rouse_root *root, const struct rouse_dhcp_lease *l,
			     struct rouse_err *e)
{
	auto_buf struct rouse_buf text = { 0 };
	char target[256] = "", path[300] = "/etc/resolv.conf";
	ssize_t n = readlink(path, target, sizeof(target) - 1);

	if (n > 0 && *target == '/')
		(void)snprintf(path, sizeof(path), "%s", target);
	else if (n > 0 && rouse_strip_prefix(target, "../run/"))
		(void)snprintf(path, sizeof(path), "%s", target + 2);
	if (l->domain[0])
		rouse_buf_printf(&text, "search %s\n", l->domain);
	for (size_t i = 0; i < l->n_dns; i++) {
		char a[INET_ADDRSTRLEN];

		print_address(a, l->dns[i]);
		rouse_buf_printf(&text, "nameserver %s\n", a);
	}
	if (!l->n_dns)
		return 0;
	if (rouse_fs_mkdirs(root, path, false, e) < 0)
		return -1;
	return rouse_fs_replace(root, path, text.data, text.len, 0644, (uid_t)-1, (gid_t)-1, e);
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
	if (rouse_root_open(&root, "/", e) < 0 || write_resolv_conf(&root, l, e) < 0)
		return -1;
	return write_facts(&root, c, l, e);
}
