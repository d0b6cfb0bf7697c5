/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Azure: user-data is in the answer of the metadata service; "custom data", which is older, on a disc
 * that is there while the machine is provisioned. While a machine is young the service answers 404 and
 * 410 for what will be there soon, so that neither means none. What the disc's answers mean:
 *
 *   no disc, no ovf-env.xml, no CustomData in it    none
 *   it cannot be mounted, read or decoded           failed
 */
#include "services.h"

#include <string.h>

#include <rouse/limits.h>
#include <rouse/text.h>

#include "sources.h"

static const struct service_item items[] = {
	{ "instance?api-version=2021-08-01&extended=true", "compute.vmId", FACT_ID, 0 },
	{ NULL, "compute.vmSize", FACT_TYPE, 0 },
	{ NULL, "compute.location", FACT_REGION, 0 },
	{ NULL, "compute.zone", FACT_ZONE, 0 },
	{ NULL, "compute.osProfile.computerName", FACT_HOSTNAME, 0 },
	{ NULL, "compute.name", FACT_HOSTNAME, ITEM_IF_UNKNOWN },
	{ NULL, "compute.tagsList", FACT_TAGS, 0 },
	{ NULL, "compute.publicKeys.0.keyData", FACT_KEYS, 0 },
	{ NULL, "compute.publicKeys.1.keyData", FACT_KEYS, 0 },
	{ NULL, "compute.publicKeys.2.keyData", FACT_KEYS, 0 },
	{ NULL, "compute.userData", FACT_USER_DATA, 0 },
};
static const struct rouse_answer answers[] = {
	{ 404, 404, ROUSE_MEANS_RETRY, 0, NULL },
	{ 410, 410, ROUSE_MEANS_RETRY, 0, NULL },
	{ 400, 400, ROUSE_MEANS_FAILED, ROUSE_BUG,
	  "the metadata service rejects a request (HTTP %ld)" },
};
static const struct rouse_imds_api api = {
	.bases = { "http://169.254.169.254" },
	.root = "/metadata/",
	.headers = { "Metadata: true" },
	.answers = answers,
	.n_answers = ARRAY_SIZE(answers),
};
const struct service service_azure = {
	.cloud = "azure", .api = &api, .items = items, .n_items = ARRAY_SIZE(items)
};

/* --- the disc --------------------------------------------------------------------------------- */

/* The text of the first element of this name, in whatever namespace; NULL when there is none. */
const char *azure_element(const char *xml, const char *name, size_t *ret_len)
{
	size_t n = strlen(name);

	for (const char *p = xml; (p = strchr(p, '<'));) {
		const char *tag = ++p, *end = tag + strcspn(tag, " \t\r\n/>"), *text;
		const char *colon = memchr(tag, ':', (size_t)(end - tag));

		tag = colon ? colon + 1 : tag;
		if ((size_t)(end - tag) != n || memcmp(tag, name, n) != 0)
			continue;
		text = strchr(end, '>');
		if (!text || text[-1] == '/')
			return NULL;
		*ret_len = strcspn(text + 1, "<");
		return text + 1;
	}
	return NULL;
}

int azure_read_disc(const struct rouse_root *root, struct rouse_found *f, struct rouse_err *e)
{
	auto_buf struct rouse_buf xml = { 0 }, text = { 0 };
	const char *data;
	size_t len = 0;

	if (source_read_file(root, "/ovf-env.xml", 2 * ROUSE_MAX_USERDATA, &xml, e) < 0)
		return -1;
	data = xml.data ? azure_element(xml.data, "CustomData", &len) : NULL;
	if (!data || !len)
		return 0;
	if (rouse_buf_add(&text, data, len, 2 * ROUSE_MAX_USERDATA) < 0)
		return rouse_fail(e, ROUSE_DOCUMENT, EFBIG, "custom data");
	explicit_bzero(xml.data, xml.len);
	source_set_user_data(f, &text);
	return 0;
}

static int azure_fetch(const struct rouse_source *s, struct rouse_machine *m,
		       struct rouse_fetcher *f, uint64_t deadline, struct rouse_found *ret,
		       struct rouse_err *e)
{
	if (service_ask(s, m, f, deadline, ret, e) < 0)
		return -1;
	(void)rouse_machine_seed(m, "", false, NULL); /* looks at the disks */
	for (size_t i = 0; i < m->n_seeds && !ret->user_data; i++)
		if (!rouse_streq(m->seeds[i].type, "vfat") &&
		    source_read_disk(&m->seeds[i], ret, azure_read_disc, e) < 0)
			return -1;
	return 0;
}

const struct rouse_source source_azure = { .name = "azure",
					   .network = true,
					   .detect = source_by_dmi,
					   .fetch = azure_fetch,
					   .service = &service_azure,
					   .dmi = { { "chassis_asset_tag",
						      "7783-7084-3265-9085-8269-3286-77" } } };
