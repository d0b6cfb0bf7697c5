/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scaleway: user-data is given to ports below 1024 only, which are root's; the service is at an address
 * of its own. 404: there is none.
 */
#include "services.h"
#include "sources.h"

static const struct service_item items[] = {
	{ "conf?format=json", "id", FACT_ID, 0 },
	{ NULL, "commercial_type", FACT_TYPE, 0 },
	{ NULL, "location.zone_id", FACT_ZONE, 0 },
	{ NULL, "location.zone_id", FACT_REGION, ITEM_OF_ZONE },
	{ NULL, "hostname", FACT_HOSTNAME, 0 },
	{ NULL, "tags", FACT_TAGS, 0 },
	{ NULL, "ssh_public_keys.0.key", FACT_KEYS, 0 },
	{ NULL, "ssh_public_keys.1.key", FACT_KEYS, 0 },
	{ NULL, "ssh_public_keys.2.key", FACT_KEYS, 0 },
	{ NULL, "ssh_public_keys.3.key", FACT_KEYS, 0 },
	{ "user_data/cloud-init", NULL, FACT_USER_DATA, 0 },
};
static const struct rouse_imds_api api = {
	.bases = { "http://169.254.42.42", "http://[fd00:42::42]" },
	.root = "/",
	.low_port = true,
};
const struct service service_scaleway = {
	.cloud = "scaleway", .api = &api, .items = items, .n_items = ARRAY_SIZE(items)
};

/* Old machines have it on the command line only. */
static bool scaleway_detect(const struct rouse_source *s, struct rouse_machine *m, char *why,
			    size_t why_size)
{
	auto_free char *word = NULL;

	if (source_by_dmi(s, m, why, why_size))
		return true;
	word = rouse_machine_cmdline(m, "scaleway");
	if (word)
		(void)snprintf(why, why_size, "the kernel command line has 'scaleway'");
	return word != NULL;
}

const struct rouse_source source_scaleway = { .name = "scaleway",
					      .network = true,
					      .detect = scaleway_detect,
					      .fetch = service_ask,
					      .service = &service_scaleway,
					      .dmi = { { "sys_vendor", "Scaleway" } } };
