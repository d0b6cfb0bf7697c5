/* SPDX-License-Identifier: Apache-2.0 */
/* What services and firmware deliver besides user-data: facts that come out can stand in a document. */
#include "fuzz.h"

#include <rouse/limits.h>
#include <rouse/text.h>

#include "../../modules/sources/services.h"
#include "../../modules/sources/sources.h"

static const struct service_item items[] = {
	{ NULL, "droplet_id", FACT_ID, 0 },
	{ NULL, "region", FACT_REGION, ITEM_OF_ZONE },
	{ NULL, "hostname", FACT_HOSTNAME, ITEM_LAST },
	{ NULL, "nested.list.0", FACT_ZONE, ITEM_IF_UNKNOWN },
	{ NULL, "user_data", FACT_USER_DATA, 0 },
	{ NULL, "tags", FACT_TAGS, 0 },
	{ NULL, "public_keys", FACT_KEYS, ITEM_USERS },
};
static const struct service_item lines[] = {
	{ NULL, "instance-id", FACT_ID, ITEM_LINES },
	{ NULL, "hostname", FACT_HOSTNAME, ITEM_LINES },
	{ NULL, "public-keys", FACT_KEYS, ITEM_LINES },
};

static void check(const char *s)
{
	HOLDS(!s || (fuzz_is_one_line(s) && rouse_utf8_valid(s, strlen(s))));
}

static void read_as(const struct service_item *table, size_t n, const uint8_t *data, size_t size)
{
	auto_buf struct rouse_buf body = { 0 };
	struct rouse_found f = { 0 };
	struct rouse_err e = { 0 };

	HOLDS(rouse_buf_add(&body, data, size, SIZE_MAX / 4) == 0);
	if (service_read(&f, table, n, "answer", &body, &e) < 0)
		HOLDS(e.kind == ROUSE_SYSTEM && fuzz_is_one_line(e.text));
	check(f.instance.id);
	check(f.instance.region);
	check(f.instance.zone);
	check(f.instance.hostname);
	HOLDS(f.instance.tags.n <= ROUSE_MAX_TAGS);
	HOLDS(f.instance.ssh_keys.n <= ROUSE_MAX_INSTANCE_KEYS);
	for (size_t i = 0; i < f.instance.ssh_keys.n; i++)
		check(((const char *const *)f.instance.ssh_keys.items)[i]);
	rouse_found_done(&f);
}

FUZZ(source)
{
	auto_free char *text = rouse_strndup((const char *)data, size);
	const char *prefix, *found;
	size_t len = 0;

	read_as(items, ARRAY_SIZE(items), data, size);
	read_as(lines, ARRAY_SIZE(lines), data, size);
	found = credential_find((const char *)data, size, &prefix, &len);
	HOLDS(!found || (found >= (const char *)data && found + len <= (const char *)data + size));
	found = azure_element(text, "CustomData", &len);
	HOLDS(!found || (found > text && found + len <= text + strlen(text)));
	return 0;
}
