/* SPDX-License-Identifier: Apache-2.0 */
/* Alibaba Cloud: EC2's protocol at another address and with other names. */
#include "services.h"
#include "sources.h"

static const struct service_item items[] = {
	{ "meta-data/instance-id", NULL, FACT_ID, 0 },
	{ "meta-data/instance/instance-type", NULL, FACT_TYPE, 0 },
	{ "meta-data/region-id", NULL, FACT_REGION, 0 },
	{ "meta-data/zone-id", NULL, FACT_ZONE, 0 },
	{ "meta-data/hostname", NULL, FACT_HOSTNAME, 0 },
	{ "user-data", NULL, FACT_USER_DATA, 0 },
	{ "meta-data/public-keys/0/openssh-key", NULL, FACT_KEYS, 0 },
	{ "meta-data/tags/instance", NULL, FACT_TAG_NAMES, 0 },
};
static const struct rouse_imds_api api = {
	.bases = { "http://100.100.100.200" },
	.root = "/latest/",
	.token_path = "/latest/api/token",
	.token_request = "X-aliyun-ecs-metadata-token-ttl-seconds: 600",
	.token_header = "X-aliyun-ecs-metadata-token: ",
};
const struct service service_aliyun = {
	.cloud = "aliyun", .api = &api, .items = items, .n_items = ARRAY_SIZE(items)
};

const struct rouse_source source_aliyun = { .name = "aliyun",
					    .network = true,
					    .detect = source_by_dmi,
					    .fetch = service_ask,
					    .service = &service_aliyun,
					    .dmi = { { "product_name", "Alibaba Cloud ECS" } } };
