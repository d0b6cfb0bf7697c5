/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Amazon EC2: instance metadata service, version 2 only; rouse/imds.h tells what its answers mean. No
 * user-data is an answer of no byte, or 404; an instance without tags in its metadata has 404 there.
 * A clone of EC2 that has no identity document is asked value by value.
 */
#include "services.h"

#include <rouse/text.h>

#include "sources.h"

static const struct service_item items[] = {
	{ "dynamic/instance-identity/document", "instanceId", FACT_ID, 0 },
	{ NULL, "instanceType", FACT_TYPE, 0 },
	{ NULL, "region", FACT_REGION, 0 },
	{ NULL, "availabilityZone", FACT_ZONE, 0 },
	{ "meta-data/instance-id", NULL, FACT_ID, ITEM_IF_UNKNOWN },
	{ "meta-data/instance-type", NULL, FACT_TYPE, ITEM_IF_UNKNOWN },
	{ "meta-data/placement/region", NULL, FACT_REGION, ITEM_IF_UNKNOWN },
	{ "meta-data/placement/availability-zone", NULL, FACT_ZONE, ITEM_IF_UNKNOWN },
	{ "user-data", NULL, FACT_USER_DATA, 0 },
	{ "meta-data/local-hostname", NULL, FACT_HOSTNAME, 0 },
	{ "meta-data/public-keys/0/openssh-key", NULL, FACT_KEYS, 0 },
	{ "meta-data/tags/instance", NULL, FACT_TAG_NAMES, 0 },
};
const struct service service_ec2 = {
	.cloud = "ec2", .api = &rouse_imds_ec2, .items = items, .n_items = ARRAY_SIZE(items)
};

static bool ec2_detect(unused_arg const struct rouse_source *s, struct rouse_machine *m, char *why,
		       size_t why_size)
{
	return rouse_imds_expected(m, why, why_size);
}

/* Nitro: the firmware has the instance's id. */
static bool ec2_identity(const struct rouse_machine *m, char *buf, size_t size)
{
	return rouse_machine_dmi(m, "board_asset_tag", buf, size) && rouse_strip_prefix(buf, "i-");
}

const struct rouse_source source_ec2 = { .name = "ec2",
					 .network = true,
					 .detect = ec2_detect,
					 .fetch = service_ask,
					 .identity = ec2_identity,
					 .same_identity = true,
					 .service = &service_ec2 };

/* --- its clones ------------------------------------------------------------------------------- */

/* They speak the protocol of before there were tokens. */
static const struct rouse_imds_api compatible_api = {
	.bases = { "http://169.254.169.254" },
	.root = "/latest/",
};
const struct service service_ec2_compatible = { .cloud = "ec2-compatible",
						.api = &compatible_api,
						.items = items,
						.n_items = ARRAY_SIZE(items) };

static bool compatible_detect(const struct rouse_source *s, struct rouse_machine *m, char *why,
			      size_t why_size)
{
	return source_by_dmi(s, m, why, why_size) ||
	       (source_dmi_is(m, "product_name", "3DS Outscale VM", why, why_size) &&
		source_dmi_is(m, "sys_vendor", "3DS Outscale", why, why_size));
}

const struct rouse_source source_ec2_compatible = { .name = "ec2-compatible",
						    .network = true,
						    .detect = compatible_detect,
						    .fetch = service_ask,
						    .service = &service_ec2_compatible,
						    .dmi = {
							    { "product_serial", "*.brightbox.com" },
							    { "chassis_asset_tag", "*.zstack.io" },
							    { "sys_vendor", "e24cloud" },
							    { "sys_vendor", "Tilaa" },
						    } };
