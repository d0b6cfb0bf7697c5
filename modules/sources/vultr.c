/* SPDX-License-Identifier: Apache-2.0 */
/* Vultr: one JSON answer; user-data apart, 404 or empty when there is none. */
#include "services.h"
#include "sources.h"

static const struct service_item items[] = {
	{ "v1.json", "instance-v2-id", FACT_ID, 0 },
	{ NULL, "instanceid", FACT_ID, ITEM_IF_UNKNOWN },
	{ NULL, "region.regioncode", FACT_REGION, 0 },
	{ NULL, "hostname", FACT_HOSTNAME, 0 },
	{ NULL, "public-keys", FACT_KEYS, 0 },
	{ NULL, "tags", FACT_TAGS, 0 },
	{ NULL, "user-data", FACT_USER_DATA, 0 },
	{ "latest/user-data", NULL, FACT_USER_DATA, ITEM_IF_UNKNOWN },
};
static const struct rouse_imds_api api = {
	.bases = { "http://169.254.169.254" },
	.root = "/",
	.headers = { "Metadata-Token: cloudinit" },
};
const struct service service_vultr = {
	.cloud = "vultr", .api = &api, .items = items, .n_items = ARRAY_SIZE(items)
};

const struct rouse_source source_vultr = { .name = "vultr",
					   .network = true,
					   .detect = source_by_dmi,
					   .fetch = service_ask,
					   .service = &service_vultr,
					   .dmi = { { "sys_vendor", "Vultr" } } };
