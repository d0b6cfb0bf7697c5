/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LXD and Incus: HTTP on a socket of this machine. In a virtual machine an agent makes it, which may
 * start after us: that there will be one is told by a port.
 */
#include "services.h"

#include <dirent.h>
#include <string.h>

#include <rouse/clock.h>
#include <rouse/text.h>

#include "sources.h"

#define LOOK_AGAIN 200

static const struct service_item items[] = {
	{ "meta-data", "instance-id", FACT_ID, ITEM_LINES },
	{ NULL, "local-hostname", FACT_HOSTNAME, ITEM_LINES },
	{ "config/cloud-init.user-data", NULL, FACT_USER_DATA, 0 },
	{ "config/user.user-data", NULL, FACT_USER_DATA, ITEM_IF_UNKNOWN },
};
/* The agent of a virtual machine answers 500 until it has reached its host. */
static const struct rouse_imds_api apis[] = {
	{ .bases = { "http://lxd" }, .root = "/1.0/", .socket = "/dev/lxd/sock" },
	{ .bases = { "http://incus" }, .root = "/1.0/", .socket = "/dev/incus/sock" },
};
static const struct service services[] = {
	{ .cloud = "lxd", .api = &apis[0], .items = items, .n_items = ARRAY_SIZE(items) },
	{ .cloud = "lxd", .api = &apis[1], .items = items, .n_items = ARRAY_SIZE(items) },
};
static void dir_release(DIR *d)
{
	(void)closedir(d);
}
AUTO_DEFINE(DIR *, dir, dir_release, NULL)

static const struct service *find_socket(const struct rouse_machine *m)
{
	for (size_t i = 0; i < ARRAY_SIZE(services); i++)
		if (rouse_machine_has(m, services[i].api->socket))
			return &services[i];
	return NULL;
}

/* A port of the host's that has this name. */
static bool has_port(const struct rouse_machine *m, char *name, size_t size)
{
	static const char *const names[] = { "com.canonical.lxd", "org.linuxcontainers.lxd",
					     "org.linuxcontainers.incus" };
	auto_free char *dir = rouse_asprintf("%s/sys/class/virtio-ports", m->sysroot);
	DIR *d auto_of(dir) = m->container ? NULL : opendir(dir);
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		auto_free char *path = rouse_asprintf("%s/%s/name", dir, entry->d_name);

		if (*entry->d_name == '.' || !rouse_read_line(path, name, size))
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(names); i++)
			if (rouse_streq(name, names[i]))
				return true;
	}
	return false;
}

static bool lxd_detect(unused_arg const struct rouse_source *s, struct rouse_machine *m, char *why,
		       size_t why_size)
{
	const struct service *found = find_socket(m);
	char name[64];

	if (found)
		(void)snprintf(why, why_size, "there is '%s'", found->api->socket);
	else if (has_port(m, name, sizeof(name)))
		(void)snprintf(why, why_size, "the host has a port '%s'", name);
	else
		return false;
	return true;
}

static int lxd_fetch(unused_arg const struct rouse_source *s, struct rouse_machine *m,
		     struct rouse_fetcher *f, uint64_t deadline, struct rouse_found *ret,
		     struct rouse_err *e)
{
	const struct service *found = find_socket(m);

	ret->instance.cloud = "lxd";
	while (!found && rouse_clock_left(deadline) > LOOK_AGAIN) {
		rouse_clock_sleep_until(rouse_clock_ms() + LOOK_AGAIN);
		found = find_socket(m);
	}
	if (!found)
		return rouse_fail(e, ROUSE_UNAVAILABLE, 0,
				  "the agent of LXD or Incus has not made its socket '%s': is it "
				  "in the image?",
				  apis[0].socket);
	return service_fetch(found, NULL, NULL, f, deadline, ret, e);
}

const struct rouse_source source_lxd = { .name = "lxd", .detect = lxd_detect, .fetch = lxd_fetch };
