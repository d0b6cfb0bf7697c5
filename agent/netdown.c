/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of the network that rouse_net_up() has made: in an image it was borrowed. Who finds an
 * address on a card may take the card for someone else's, and never renew the lease.
 */
#include <rouse/init.h>

#include <arpa/inet.h>
#include <net/if.h>
#include <string.h>

#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/text.h>

#include "netlink.h"
#include "resolv.h"

/* "10.0.0.7/24" */
static bool parse_address(const char *text, struct in_addr *ret, unsigned *ret_prefix)
{
	char address[INET_ADDRSTRLEN] = "";
	const char *slash = strchr(text, '/');
	uint64_t prefix = 0;

	if (!slash || (size_t)(slash - text) >= sizeof(address) ||
	    !rouse_parse_u64(slash + 1, 32, &prefix))
		return false;
	memcpy(address, text, (size_t)(slash - text));
	*ret_prefix = (unsigned)prefix;
	return inet_pton(AF_INET, address, ret) == 1;
}

/* One of those that somebody had written down. */
static int take_written(int fd, unsigned index, const char *text, struct rouse_err *e)
{
	struct in6_addr six;
	struct in_addr four;
	char address[INET6_ADDRSTRLEN] = "";
	size_t n = text ? strcspn(text, "/") : 0;
	uint64_t prefix = 0;

	if (!n || n >= sizeof(address) || !text[n] || !rouse_parse_u64(text + n + 1, 128, &prefix))
		return rouse_fail(e, ROUSE_SYSTEM, 0, "'%s' has an address that is none",
				  ROUSE_NETWORK_FILE);
	memcpy(address, text, n);
	if (inet_pton(AF_INET, address, &four) == 1)
		return netlink_remove_address(fd, index, four, (unsigned)prefix, e);
	if (inet_pton(AF_INET6, address, &six) == 1)
		return netlink_remove_address6(fd, index, &six, (unsigned)prefix, e);
	return rouse_fail(e, ROUSE_SYSTEM, 0, "'%s' has an address that is none",
			  ROUSE_NETWORK_FILE);
}

static int take_addresses(const json_t *lease, struct rouse_err *e)
{
	const char *name = json_string_value(json_object_get(lease, "interface"));
	const char *text = json_string_value(json_object_get(lease, "address"));
	const char *six = json_string_value(json_object_get(lease, "address6"));
	unsigned index = name ? if_nametoindex(name) : 0, prefix = 0;
	struct in_addr address = { 0 };
	struct in6_addr address6;
	auto_fd int fd = -1;
	const json_t *item;
	size_t i;

	if (!index || (text && !parse_address(text, &address, &prefix)) ||
	    (six && inet_pton(AF_INET6, six, &address6) != 1))
		return rouse_fail(e, ROUSE_SYSTEM, 0, "'%s' is about no interface of this machine",
				  ROUSE_NETWORK_FILE);
	fd = netlink_open(false, e);
	if (fd < 0 || (text && netlink_remove_address(fd, index, address, prefix, e) < 0) ||
	    (six && netlink_remove_address6(fd, index, &address6, 128, e) < 0))
		return -1;
	json_array_foreach (json_object_get(lease, "addresses"), i, item)
		if (take_written(fd, index, json_string_value(item), e) < 0)
			return -1;
	return 0;
}

void rouse_net_down(void)
{
	auto_buf struct rouse_buf text = { 0 };
	auto_json json_t *lease = NULL;
	struct rouse_err e = { 0 };

	resolv_restore();
	if (rouse_read_file(ROUSE_NETWORK_FILE, ROUSE_MAX_METADATA, &text, &e) < 0)
		return; /* there never was one */
	lease = rouse_json_parse(ROUSE_NETWORK_FILE, text.data, text.len, &e);
	if (!lease || take_addresses(lease, &e) < 0)
		rouse_log(ROUSE_LOG_WARNING, "net", "%s, ignoring", e.text);
}
