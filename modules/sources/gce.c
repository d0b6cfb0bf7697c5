/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Google Compute Engine. The service is asked by its address, not by its name: no resolver is needed,
 * and none can lie. The instance's id has up to 20 digits, more than a number of JSON holds, so that it
 * is asked for as text. Attributes are what others call tags; an absent one is 404.
 */
#include "services.h"
#include "sources.h"

static const struct service_item items[] = {
	{ "instance/id", NULL, FACT_ID, 0 },
	{ "instance/machine-type", NULL, FACT_TYPE, ITEM_LAST },
	{ "instance/zone", NULL, FACT_ZONE, ITEM_LAST },
	{ NULL, NULL, FACT_REGION, ITEM_LAST | ITEM_OF_ZONE },
	{ "instance/hostname", NULL, FACT_HOSTNAME, 0 },
	{ "instance/attributes/user-data", NULL, FACT_USER_DATA, 0 },
	{ "instance/attributes/ssh-keys", NULL, FACT_KEYS, ITEM_USERS },
	{ "project/attributes/ssh-keys", NULL, FACT_KEYS, ITEM_USERS },
	{ "instance/attributes/?recursive=true", NULL, FACT_TAGS, 0 },
};
static const struct rouse_imds_api api = {
	.bases = { "http://169.254.169.254", "http://[fd20:ce::254]" },
	.root = "/computeMetadata/v1/",
	.headers = { "Metadata-Flavor: Google" },
};
const struct service service_gce = {
	.cloud = "gce", .api = &api, .items = items, .n_items = ARRAY_SIZE(items)
};

const struct rouse_source source_gce = { .name = "gce",
					 .network = true,
					 .detect = source_by_dmi,
					 .fetch = service_ask,
					 .service = &service_gce,
					 .dmi = { { "product_name", "Google Compute Engine" },
						  { "product_serial", "GoogleCloud-*" } } };
