/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/netconf.h>

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/schema.h>
#include <rouse/text.h>
#include <rouse/yaml.h>

struct reader {
	const char *name;
	struct rouse_netconf c;
	struct rouse_err *e;
};

static int refuse(struct reader *r, const char *what)
{
	return rouse_fail(r->e, ROUSE_DOCUMENT, 0, "%s: %s", r->name, what);
}

static const char *text_of(const json_t *json, const char *name)
{
	return json_string_value(json_object_get(json, name));
}

/* --- addresses -------------------------------------------------------------------------------- */

static int mask_length(const char *mask)
{
	struct in_addr a;
	uint32_t h;
	int n = 0;

	if (inet_pton(AF_INET, mask, &a) != 1)
		return -1;
	for (h = ntohl(a.s_addr); h & 0x80000000; h <<= 1)
		n++;
	return h ? -1 : n;
}

static bool get_address(const char *text, int *ret_family, uint8_t ret[static 16])
{
	memset(ret, 0, 16);
	*ret_family = strchr(text, ':') ? AF_INET6 : AF_INET;
	return inet_pton(*ret_family, text, ret) == 1;
}

/* "10.0.0.5/24", or an address and a netmask (or prefix) beside it; alone it is one host's. */
static bool get_net(const char *text, const char *mask, struct rouse_netconf_net *ret)
{
	char address[INET6_ADDRSTRLEN + 1];
	size_t n = strcspn(text, "/");
	uint64_t prefix, most;
	int length;

	if (n >= sizeof(address))
		return false;
	memcpy(address, text, n);
	address[n] = '\0';
	if (!get_address(address, &ret->family, ret->address))
		return false;
	most = prefix = ret->family == AF_INET ? 32 : 128;
	if (text[n] == '/')
		return rouse_parse_u64(text + n + 1, most, &prefix) &&
		       (ret->prefix = (unsigned)prefix, true);
	if (mask && !rouse_parse_u64(mask, most, &prefix)) {
		length = mask_length(mask);
		if (length < 0)
			return false;
		prefix = (uint64_t)length;
	}
	ret->prefix = (unsigned)prefix;
	return true;
}

static int add_address(struct reader *r, struct rouse_netconf_card *card, const char *text,
		       const char *mask)
{
	struct rouse_netconf_net net = { 0 };

	if (!text || !get_net(text, mask, &net))
		return refuse(r, "an address is none");
	if (card->n_addresses < ROUSE_NETCONF_MAX_ADDRESSES)
		card->addresses[card->n_addresses++] = net;
	return 0;
}

/* The kernel refuses routes with bits behind the prefix. */
static void clear_host_bits(struct rouse_netconf_net *net)
{
	for (unsigned bit = net->prefix; bit < 128; bit++)
		net->address[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
}

static int add_route(struct reader *r, struct rouse_netconf_card *card, const char *to,
		     const char *mask, const char *via)
{
	struct rouse_netconf_net net = { 0 };
	int family = AF_UNSPEC;

	if (via && !get_address(via, &family, net.gateway))
		return refuse(r, "a gateway is no address");
	if (!to || rouse_streq(to, "default"))
		net.family = family == AF_UNSPEC ? AF_INET : family;
	else if (!get_net(to, mask, &net))
		return refuse(r, "the destination of a route is none");
	if (via && family != net.family)
		return refuse(r, "a route and its gateway are not of one family");
	clear_host_bits(&net);
	if (card->n_routes < ROUSE_NETCONF_MAX_ROUTES)
		card->routes[card->n_routes++] = net;
	return 0;
}

static int add_dns(struct reader *r, const json_t *list)
{
	struct rouse_netconf *c = &r->c;
	uint8_t address[16];
	int family;
	size_t i;
	const json_t *item;

	if (json_is_string(list))
		list = json_pack("[O]", list);
	else
		list = json_incref((json_t *)list);
	json_array_foreach (list, i, item) {
		const char *text = json_string_value(item);

		if (!text || !get_address(text, &family, address)) {
			json_decref((json_t *)list);
			return refuse(r, "a resolver is no address");
		}
		if (c->n_dns < ROUSE_NETCONF_MAX_DNS)
			(void)snprintf(c->dns[c->n_dns++], sizeof(c->dns[0]), "%s", text);
	}
	json_decref((json_t *)list);
	return 0;
}

static void add_search(struct reader *r, const json_t *list)
{
	const char *text = json_is_array(list) ? json_string_value(json_array_get(list, 0))
					       : json_string_value(list);

	if (text && rouse_is_hostname(text) && !r->c.domain[0])
		(void)snprintf(r->c.domain, sizeof(r->c.domain), "%s", text);
}

/* YAML has strings only. */
static bool number_of(const json_t *json, uint64_t *ret)
{
	if (json_is_string(json))
		return rouse_parse_u64(json_string_value(json), 65536, ret);
	*ret = (uint64_t)json_integer_value(json);
	return json_is_integer(json) && *ret <= 65536;
}

static struct rouse_netconf_card *new_card(struct reader *r, const char *name, const char *mac,
					   const json_t *mtu)
{
	struct rouse_netconf_card *card;
	uint64_t value = 0;
	char hex[14] = ""; /* with room for a digit too many */
	size_t n = 0;

	if (r->c.n_cards == ROUSE_NETCONF_MAX_CARDS) {
		(void)refuse(r, "too many cards");
		return NULL;
	}
	card = &r->c.cards[r->c.n_cards];
	if (name && strlen(name) >= sizeof(card->name)) {
		(void)refuse(r, "the name of a card is too long");
		return NULL;
	}
	for (size_t i = 0; mac && mac[i] && n < 13; i++)
		if (mac[i] != ':' && mac[i] != '-')
			hex[n++] = mac[i];
	for (size_t i = 0; i < n; i++)
		hex[i] |= 0x20; /* lower case; digits have the bit */
	if ((mac && !rouse_unhex(card->mac, 6, hex)) || (mtu && !number_of(mtu, &value))) {
		(void)refuse(r, "the MAC or the MTU of a card is none");
		return NULL;
	}
	card->has_mac = mac != NULL;
	card->mtu = (uint32_t)value;
	(void)snprintf(card->name, sizeof(card->name), "%s", name ? name : "");
	r->c.n_cards++;
	return card;
}

/* --- version 2 -------------------------------------------------------------------------------- */

static int read_ethernet(struct reader *r, const char *id, const json_t *j)
{
	const json_t *match = json_object_get(j, "match"), *dns = json_object_get(j, "nameservers"),
		     *routes = json_object_get(j, "routes"), *item;
	const char *name = match ? text_of(match, "name") : id, *mac = text_of(match, "macaddress");
	struct rouse_netconf_card *card;
	size_t i;

	/* A pattern of names ("en*") is for systems that have their names already. */
	if (name && strpbrk(name, "*?["))
		name = NULL;
	card = new_card(r, name, mac, json_object_get(j, "mtu"));
	if (!card)
		return -1;
	json_array_foreach (json_object_get(j, "addresses"), i, item)
		if (add_address(r, card, json_string_value(item), NULL) < 0)
			return -1;
	for (size_t k = 0; k < 2; k++) {
		const char *gateway = text_of(j, k ? "gateway6" : "gateway4");

		if (gateway && add_route(r, card, NULL, NULL, gateway) < 0)
			return -1;
	}
	json_array_foreach (routes, i, item)
		if (add_route(r, card, text_of(item, "to"), NULL, text_of(item, "via")) < 0)
			return -1;
	add_search(r, json_object_get(dns, "search"));
	return add_dns(r, json_object_get(dns, "addresses"));
}

static int read_version_2(struct reader *r, const json_t *j)
{
	const char *id;
	json_t *card;

	json_object_foreach (json_object_get(j, "ethernets"), id, card)
		if (read_ethernet(r, id, card) < 0)
			return -1;
	return 0;
}

/* --- version 1 -------------------------------------------------------------------------------- */

static int read_subnet(struct reader *r, struct rouse_netconf_card *card, const json_t *j)
{
	const char *type = text_of(j, "type"), *gateway = text_of(j, "gateway");
	const json_t *item;
	size_t i;

	if (type && rouse_strip_prefix(type, "static") &&
	    add_address(r, card, text_of(j, "address"), text_of(j, "netmask")) < 0)
		return -1;
	if (gateway && add_route(r, card, NULL, NULL, gateway) < 0)
		return -1;
	json_array_foreach (json_object_get(j, "routes"), i, item) {
		const char *to = text_of(item, "destination");

		if (add_route(r, card, to ? to : text_of(item, "network"), text_of(item, "netmask"),
			      text_of(item, "gateway")) < 0)
			return -1;
	}
	add_search(r, json_object_get(j, "dns_search"));
	return add_dns(r, json_object_get(j, "dns_nameservers"));
}

static int read_version_1(struct reader *r, const json_t *j)
{
	const json_t *entry, *subnet;
	size_t i, k;

	json_array_foreach (json_object_get(j, "config"), i, entry) {
		const char *type = text_of(entry, "type");
		struct rouse_netconf_card *card;

		if (type && rouse_streq(type, "nameserver")) {
			add_search(r, json_object_get(entry, "search"));
			if (add_dns(r, json_object_get(entry, "address")) < 0)
				return -1;
		}
		if (!type || !rouse_streq(type, "physical"))
			continue;
		card = new_card(r, text_of(entry, "mac_address") ? NULL : text_of(entry, "name"),
				text_of(entry, "mac_address"), json_object_get(entry, "mtu"));
		if (!card)
			return -1;
		json_array_foreach (json_object_get(entry, "subnets"), k, subnet)
			if (read_subnet(r, card, subnet) < 0)
				return -1;
	}
	return 0;
}

static json_t *parse_text(const char *name, const char *text, size_t len, struct rouse_err *e)
{
	size_t blanks = strspn(text, " \t\r\n");

	return text[blanks] == '{' ? rouse_json_parse(name, text, len, e)
				   : rouse_yaml_parse(name, text, len, e);
}

int rouse_netconf_parse(const char *name, const char *text, size_t len, struct rouse_netconf *ret,
			struct rouse_err *e)
{
	struct reader r = { .name = name, .e = e };
	auto_free char *copy = rouse_strndup(text, len);
	auto_json json_t *whole = parse_text(name, copy, strlen(copy), e);
	const json_t *j = whole;
	uint64_t version = 0;

	if (!whole)
		return -1;
	if (json_object_get(j, "network"))
		j = json_object_get(j, "network");
	if (json_is_null(j)) { /* an empty file says nothing */
		*ret = r.c;
		return 0;
	}
	if (!number_of(json_object_get(j, "version"), &version) || version < 1 || version > 2)
		return refuse(&r, "neither version 1 nor version 2 of a network configuration");
	if ((version == 2 ? read_version_2(&r, j) : read_version_1(&r, j)) < 0)
		return -1;
	*ret = r.c;
	return 0;
}

const struct rouse_netconf_card *rouse_netconf_find(const struct rouse_netconf *c, const char *name,
						    const uint8_t mac[static 6])
{
	for (size_t i = 0; i < c->n_cards; i++) {
		const struct rouse_netconf_card *card = &c->cards[i];

		if (!card->n_addresses || (card->has_mac && memcmp(card->mac, mac, 6) != 0))
			continue;
		/* Before udev has given names, the only card is the one that is meant. */
		if (card->has_mac || !card->name[0] || strcmp(card->name, name) == 0 ||
		    c->n_cards == 1)
			return card;
	}
	return NULL;
}
