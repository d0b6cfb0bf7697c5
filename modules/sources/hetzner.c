/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hetzner Cloud: metadata as lines "key: value", user-data apart (204: none); over IPv6 the service is
 * at a link-local address. The firmware's serial number is the server's id.
 */
#include "services.h"
#include "sources.h"

static const struct service_item items[] = {
	{ "metadata", "instance-id", FACT_ID, ITEM_LINES },
	{ NULL, "region", FACT_REGION, ITEM_LINES },
	{ NULL, "availability-zone", FACT_ZONE, ITEM_LINES },
	{ NULL, "hostname", FACT_HOSTNAME, ITEM_LINES },
	{ NULL, "public-keys", FACT_KEYS, ITEM_LINES },
	{ "userdata", NULL, FACT_USER_DATA, 0 },
};
static const struct rouse_imds_api api = {
	.bases = { "http://169.254.169.254", "http://[fe80::a9fe:a9fe%25%s]" },
	.root = "/hetzner/v1/",
};
const struct service service_hetzner = {
	.cloud = "hetzner", .api = &api, .items = items, .n_items = ARRAY_SIZE(items)
};

const struct rouse_source source_hetzner = { .name = "hetzner",
					     .network = true,
					     .detect = source_by_dmi,
					     .fetch = service_ask,
					     .identity = source_serial,
					     .same_identity = true,
					     .service = &service_hetzner,
					     .dmi = { { "sys_vendor", "Hetzner" } } };
