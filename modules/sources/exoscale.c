/* SPDX-License-Identifier: Apache-2.0 */
/* Exoscale: the oldest protocol of EC2, value by value. */
#include "services.h"
#include "sources.h"

static const struct service_item items[] = {
	{ "meta-data/instance-id", NULL, FACT_ID, 0 },
	{ "meta-data/service-offering", NULL, FACT_TYPE, 0 },
	{ "meta-data/availability-zone", NULL, FACT_ZONE, 0 },
	{ NULL, NULL, FACT_REGION, 0 },
	{ "meta-data/local-hostname", NULL, FACT_HOSTNAME, 0 },
	{ "meta-data/public-keys", NULL, FACT_KEYS, 0 },
	{ "user-data", NULL, FACT_USER_DATA, 0 },
};
static const struct rouse_imds_api api = { .bases = { "http://169.254.169.254" }, .root = "/1.0/" };
const struct service service_exoscale = {
	.cloud = "exoscale", .api = &api, .items = items, .n_items = ARRAY_SIZE(items)
};

const struct rouse_source source_exoscale = { .name = "exoscale",
					      .network = true,
					      .detect = source_by_dmi,
					      .fetch = service_ask,
					      .identity = source_uuid,
					      .service = &service_exoscale,
					      .dmi = { { "product_name", "Exoscale*" } } };
