/* SPDX-License-Identifier: Apache-2.0 */
/* Oracle Cloud: version 2 of its service, which wants a header; version 1 is never asked. */
#include "services.h"
#include "sources.h"

static const struct service_item items[] = {
	{ "instance/", "id", FACT_ID, 0 },
	{ NULL, "shape", FACT_TYPE, 0 },
	{ NULL, "canonicalRegionName", FACT_REGION, 0 },
	{ NULL, "region", FACT_REGION, ITEM_IF_UNKNOWN },
	{ NULL, "availabilityDomain", FACT_ZONE, 0 },
	{ NULL, "hostname", FACT_HOSTNAME, 0 },
	{ NULL, "metadata.user_data", FACT_USER_DATA, 0 },
	{ NULL, "metadata.ssh_authorized_keys", FACT_KEYS, 0 },
	{ NULL, "freeformTags", FACT_TAGS, 0 },
};
static const struct rouse_imds_api api = {
	.bases = { "http://169.254.169.254", "http://[fd00:c1::a9fe:a9fe]" },
	.root = "/opc/v2/",
	.headers = { "Authorization: Bearer Oracle" },
};
const struct service service_oracle = {
	.cloud = "oracle", .api = &api, .items = items, .n_items = ARRAY_SIZE(items)
};

const struct rouse_source source_oracle = { .name = "oracle",
					    .network = true,
					    .detect = source_by_dmi,
					    .fetch = service_ask,
					    .service = &service_oracle,
					    .dmi = { { "chassis_asset_tag", "OracleCloud.com" } } };
