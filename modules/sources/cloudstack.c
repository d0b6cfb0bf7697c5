/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CloudStack: the virtual router that gave the lease also answers for metadata, so that its address is
 * where the lease came from: known to the agent when it asked for that itself, or else kept by
 * systemd-networkd.
 */
#include "services.h"

#include <dirent.h>
#include <string.h>

#include <arpa/inet.h>

#include <rouse/init.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/text.h>

#include "sources.h"

static const struct service_item items[] = {
	{ "meta-data/instance-id", NULL, FACT_ID, 0 },
	{ "meta-data/service-offering", NULL, FACT_TYPE, 0 },
	{ "meta-data/availability-zone", NULL, FACT_ZONE, 0 },
	{ "meta-data/local-hostname", NULL, FACT_HOSTNAME, 0 },
	{ "meta-data/public-keys", NULL, FACT_KEYS, 0 },
	{ "user-data", NULL, FACT_USER_DATA, 0 },
};
static const struct rouse_imds_api api = { .bases = { "" }, .root = "/latest/" };
const struct service service_cloudstack = {
	.cloud = "cloudstack", .api = &api, .items = items, .n_items = ARRAY_SIZE(items)
};

static void dir_release(DIR *d)
{
	(void)closedir(d);
}
AUTO_DEFINE(DIR *, dir, dir_release, NULL)

static bool take_address(char *buf, size_t size, const char *text)
{
	struct in_addr a;

	if (!text || inet_pton(AF_INET, text, &a) != 1)
		return false;
	(void)snprintf(buf, size, "http://%s", text);
	return true;
}

/* Ours says "server", networkd's SERVER_ADDRESS=. */
static bool find_router(const struct rouse_machine *m, char *buf, size_t size)
{
	auto_free char *ours = rouse_asprintf("%s%s", m->sysroot, ROUSE_NETWORK_FILE),
		       *dir = rouse_asprintf("%s/run/systemd/netif/leases", m->sysroot);
	auto_buf struct rouse_buf text = { 0 };
	DIR *d auto_of(dir) = opendir(dir);
	auto_json json_t *lease = NULL;
	struct dirent *entry;
	struct rouse_err e;

	if (rouse_read_file(ours, ROUSE_MAX_METADATA, &text, &e) == 0)
		lease = rouse_json_parse(ours, text.data, text.len, &e);
	if (take_address(buf, size, json_string_value(json_object_get(lease, "server"))))
		return true;
	while (d && (entry = readdir(d))) {
		auto_free char *path = rouse_asprintf("%s/%s", dir, entry->d_name);
		auto_buf struct rouse_buf file = { 0 };
		char *line;

		if (*entry->d_name == '.' ||
		    rouse_read_file(path, ROUSE_MAX_METADATA, &file, &e) < 0 || !file.data)
			continue;
		line = strstr(file.data, "SERVER_ADDRESS=");
		if (line && (line == file.data || line[-1] == '\n')) {
			line += strlen("SERVER_ADDRESS=");
			line[strcspn(line, "\r\n")] = '\0';
			if (take_address(buf, size, line))
				return true;
		}
	}
	return false;
}

static int cloudstack_fetch(const struct rouse_source *s, struct rouse_machine *m,
			    struct rouse_fetcher *f, uint64_t deadline, struct rouse_found *ret,
			    struct rouse_err *e)
{
	char base[64];

	ret->instance.cloud = s->name;
	if (!find_router(m, base, sizeof(base)))
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "nothing here says which DHCP server gave this machine its "
				  "address, which is where CloudStack's metadata is");
	return service_fetch(s->service, base, NULL, f, deadline, ret, e);
}

const struct rouse_source source_cloudstack = { .name = "cloudstack",
						.network = true,
						.detect = source_by_dmi,
						.fetch = cloudstack_fetch,
						.service = &service_cloudstack,
						.dmi = { { "product_name", "CloudStack*" } } };
