/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenStack: a disk labelled "config-2", or else the metadata service, have the same files. What the
 * disk's answers mean:
 *
 *   no such label                     the metadata service is asked, where the firmware names OpenStack
 *   two of them                       failed: which one was meant?
 *   it cannot be mounted or read      failed
 *   no meta_data.json                 failed: then it is no such disk
 *   no user_data                      none
 */
#include "services.h"

#include <rouse/limits.h>

#include "sources.h"

static const struct service_item items[] = {
	{ "openstack/latest/meta_data.json", "uuid", FACT_ID, 0 },
	{ NULL, "availability_zone", FACT_ZONE, 0 },
	{ NULL, "hostname", FACT_HOSTNAME, 0 },
	{ NULL, "meta", FACT_TAGS, 0 },
	{ NULL, "public_keys", FACT_KEYS, 0 },
	{ "openstack/latest/user_data", NULL, FACT_USER_DATA, 0 },
	{ "latest/meta-data/instance-type", NULL, FACT_TYPE, 0 },
};
enum { META_DATA_ITEMS = 5 };
static const struct rouse_imds_api api = {
	.bases = { "http://169.254.169.254", "http://[fe80::a9fe:a9fe%25%s]" },
	.root = "/",
};
const struct service service_openstack = {
	.cloud = "openstack", .api = &api, .items = items, .n_items = ARRAY_SIZE(items)
};

const struct rouse_source source_openstack = {
	.name = "openstack",
	.network = true,
	.detect = source_by_dmi,
	.fetch = service_ask,
	.identity = source_uuid,
	.service = &service_openstack,
	.dmi = { { "product_name", "OpenStack Nova" },
		 { "product_name", "OpenStack Compute" },
		 { "chassis_asset_tag", "OpenStack Nova" },
		 { "chassis_asset_tag", "OpenStack Compute" },
		 { "chassis_asset_tag", "OpenTelekomCloud" },
		 { "chassis_asset_tag", "SAP CCloud VM" },
		 { "chassis_asset_tag", "HUAWEICLOUD" },
		 { "chassis_asset_tag", "Samsung Cloud Platform" } }
};

/* --- the disk --------------------------------------------------------------------------------- */

static const struct rouse_seed *find_drive(struct rouse_machine *m, unsigned *ret_n)
{
	return rouse_machine_seed(m, "config-2", false, ret_n);
}

static bool drive_detect(unused_arg const struct rouse_source *s, struct rouse_machine *m,
			 char *why, size_t why_size)
{
	const struct rouse_seed *seed = find_drive(m, NULL);

	if (seed)
		(void)snprintf(why, why_size, "'%s' is labelled config-2 (%s)", seed->device,
			       seed->type);
	return seed != NULL;
}

int openstack_read_drive(const struct rouse_root *root, struct rouse_found *f, struct rouse_err *e)
{
	auto_buf struct rouse_buf meta = { 0 }, user = { 0 };

	if (source_read_file(root, "/openstack/latest/meta_data.json", ROUSE_MAX_METADATA, &meta,
			     e) < 0)
		return -1;
	if (!meta.data)
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "there is no openstack/latest/meta_data.json");
	if (service_read(f, items, META_DATA_ITEMS, "meta_data.json", &meta, e) < 0 ||
	    source_read_file(root, "/openstack/latest/user_data", ROUSE_MAX_USERDATA, &user, e) < 0)
		return -1;
	source_set_user_data(f, &user);
	return 0;
}

static int drive_fetch(unused_arg const struct rouse_source *s, struct rouse_machine *m,
		       unused_arg struct rouse_fetcher *f, unused_arg uint64_t deadline,
		       struct rouse_found *ret, struct rouse_err *e)
{
	unsigned n = 0;
	const struct rouse_seed *seed = find_drive(m, &n);

	ret->instance.cloud = "openstack";
	if (!seed)
		return rouse_fail(e, ROUSE_SYSTEM, 0, "no disk is labelled config-2");
	if (n > 1)
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "%u disks are labelled config-2 ('%s' is one): detach all but "
				  "the one that is meant",
				  n, seed->device);
	return source_read_disk(seed, ret, openstack_read_drive, e);
}

const struct rouse_source source_configdrive = {
	.name = "configdrive", .detect = drive_detect, .fetch = drive_fetch, .identity = source_uuid
};
