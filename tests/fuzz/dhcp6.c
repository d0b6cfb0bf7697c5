/* SPDX-License-Identifier: Apache-2.0 */
/* Router advertisements and DHCPv6 messages: names that come out can stand in a file of lines. */
#include "fuzz.h"

#include <rouse/dhcp6.h>

static void check(const struct rouse_resolvers6 *r)
{
	HOLDS(r->n_dns <= ROUSE_DHCP6_MAX_DNS);
	HOLDS(fuzz_is_one_line(r->domain) && !strchr(r->domain, ' ') && strlen(r->domain) < 254);
}

FUZZ(dhcp6)
{
	/* The client's MAC comes first, so that messages for it can be made up. */
	static const uint8_t none[6];
	const uint8_t *mac = size >= 6 ? data : none;
	struct rouse_dhcp6_lease l;
	struct rouse_ra ra;

	if (rouse_ra_parse(data, size, &ra) == 0)
		check(&ra.resolvers);
	if (size >= 6 && rouse_dhcp6_parse(data + 6, size - 6, mac, &l) == 0) {
		check(&l.resolvers);
		HOLDS(l.server_len && l.server_len <= sizeof(l.server));
	}
	return 0;
}
