/* SPDX-License-Identifier: Apache-2.0 */
/* UpCloud: one JSON answer has everything; the firmware's UUID is the server's id. */
#include "services.h"
#include "sources.h"

static const struct service_item items[] = {
	{ "v1.json", "instance_id", FACT_ID, 0 }, { NULL, "region", FACT_REGION, 0 },
	{ NULL, "region", FACT_ZONE, 0 },         { NULL, "hostname", FACT_HOSTNAME, 0 },
	{ NULL, "user_data", FACT_USER_DATA, 0 }, { NULL, "tags", FACT_TAGS, 0 },
	{ NULL, "public_keys", FACT_KEYS, 0 },
};
static const struct rouse_imds_api api = { .bases = { "http://169.254.169.254" },
					   .root = "/metadata/" };
const struct service service_upcloud = {
	.cloud = "upcloud", .api = &api, .items = items, .n_items = ARRAY_SIZE(items)
};

const struct rouse_source source_upcloud = { .name = "upcloud",
					     .network = true,
					     .detect = source_by_dmi,
					     .fetch = service_ask,
					     .identity = source_uuid,
					     .service = &service_upcloud,
					     .dmi = { { "sys_vendor", "UpCloud" } } };
