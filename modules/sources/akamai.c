/* SPDX-License-Identifier: Apache-2.0 */
/* Akamai Cloud (Linode): tokens as with EC2, under names of its own; user-data in base64. */
#include "services.h"
#include "sources.h"

static const struct service_item items[] = {
	{ "instance", "id", FACT_ID, 0 },
	{ NULL, "type", FACT_TYPE, 0 },
	{ NULL, "region", FACT_REGION, 0 },
	{ NULL, "label", FACT_HOSTNAME, 0 },
	{ NULL, "tags", FACT_TAGS, 0 },
	{ "user-data", NULL, FACT_USER_DATA, 0 },
	{ "ssh-keys", "users.root", FACT_KEYS, 0 },
};
static const struct rouse_imds_api api = {
	.bases = { "http://169.254.169.254", "http://[fd00:a9fe:a9fe::1]" },
	.root = "/v1/",
	.headers = { "Accept: application/json" },
	.token_path = "/v1/token",
	.token_request = "Metadata-Token-Expiry-Seconds: 600",
	.token_header = "Metadata-Token: ",
};
const struct service service_akamai = {
	.cloud = "akamai", .api = &api, .items = items, .n_items = ARRAY_SIZE(items)
};

const struct rouse_source source_akamai = { .name = "akamai",
					    .network = true,
					    .detect = source_by_dmi,
					    .fetch = service_ask,
					    .identity = source_serial,
					    .service = &service_akamai,
					    .dmi = { { "sys_vendor", "Linode" },
						     { "sys_vendor", "Akamai" } } };
