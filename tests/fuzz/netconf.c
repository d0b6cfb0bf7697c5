/* SPDX-License-Identifier: Apache-2.0 */
/* Network configurations, and with them YAML: bounded, and errors hold one line. */
#include "fuzz.h"

#include <rouse/netconf.h>
#include <rouse/text.h>

FUZZ(netconf)
{
	static struct rouse_netconf c;
	static const uint8_t mac[6];
	struct rouse_err e = { 0 };

	if (rouse_netconf_parse("f", (const char *)data, size, &c, &e) < 0) {
		HOLDS(e.kind == ROUSE_DOCUMENT && fuzz_is_one_line(e.text));
		return 0;
	}
	HOLDS(c.n_cards <= ROUSE_NETCONF_MAX_CARDS && c.n_dns <= ROUSE_NETCONF_MAX_DNS);
	HOLDS(fuzz_is_one_line(c.domain));
	for (size_t i = 0; i < c.n_cards; i++)
		for (size_t k = 0; k < c.cards[i].n_addresses; k++)
			HOLDS(c.cards[i].addresses[k].prefix <= 128);
	(void)rouse_netconf_find(&c, "eth0", mac);
	return 0;
}
