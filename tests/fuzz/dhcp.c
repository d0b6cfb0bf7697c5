/* SPDX-License-Identifier: Apache-2.0 */
/* A packet from the wire: what is accepted can be written to files and asked for again. */
#include "fuzz.h"

#include <rouse/dhcp.h>

static void check(const uint8_t *message, size_t n)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 1 };
	uint8_t frame[ROUSE_DHCP_MAX_FRAME];
	struct rouse_dhcp_lease lease;
	size_t len = 0;

	if (rouse_dhcp_parse(message, n, &lease) < 0)
		return;
	HOLDS(lease.n_routes <= ROUSE_DHCP_MAX_ROUTES && lease.n_dns <= ROUSE_DHCP_MAX_DNS &&
	      lease.prefix <= 32);
	for (size_t i = 0; i < lease.n_routes; i++)
		HOLDS(lease.routes[i].prefix <= 32);
	HOLDS(memchr(lease.hostname, 0, sizeof(lease.hostname)) &&
	      fuzz_is_one_line(lease.hostname));
	HOLDS(memchr(lease.domain, 0, sizeof(lease.domain)) && fuzz_is_one_line(lease.domain));
	if (lease.type != ROUSE_DHCP_OFFER)
		return;
	len = rouse_dhcp_build(frame, 1, 2, false, mac, &lease);
	HOLDS(len && len <= sizeof(frame));
}

FUZZ(dhcp)
{
	size_t n = 0;
	const uint8_t *message = rouse_dhcp_payload(data, size, &n);

	if (message) {
		HOLDS(message >= data && n <= size && message + n <= data + size);
		check(message, n);
	}
	check(data, size);
	return 0;
}
