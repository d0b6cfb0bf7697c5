/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NoCloud: a small filesystem labelled "cidata" (vfat or iso9660) with the files user-data and
 * meta-data; or the same two below a URL that the firmware (SMBIOS serial number) or the kernel
 * command line names: "ds=nocloud;s=URL"; or in a directory of the image. What the answers mean:
 *
 *   disk   no such label                           another source is asked; but when "ds=nocloud" says
 *                                                  that there is one, it is waited for, then unavailable
 *          two of them                             failed: which one was meant?
 *          it cannot be mounted or read            failed
 *          no file user-data                       none: this is an answer
 *          no file meta-data                       an instance without a name
 *          no file network-config                  addresses are asked for
 *   URL    user-data 200                           the user-data
 *          user-data 404, 410                      none
 *          meta-data 404, 410                      an instance without a name
 *          408, 429, 5xx, no answer                retry to the deadline, then unavailable
 *          anything else                           failed
 */
#include "sources.h"

#include <string.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/limits.h>
#include <rouse/netconf.h>
#include <rouse/schema.h>
#include <rouse/text.h>

#include "service.h"

/* How often the list of block devices is read while a disk that must come has not come. */
#define LOOK_AGAIN 200

/* --- the line "ds=nocloud;s=…" ------------------------------------------------------------------ */

struct asked {
	char *url, *id, *hostname; /* s=, i=, h=; owned */
	const char *who;           /* says so */
};

static void asked_done(struct asked *a)
{
	free(a->url);
	free(a->id);
	free(a->hostname);
}
#define auto_asked __attribute__((cleanup(asked_done)))

static void take_option(struct asked *a, const char *text, size_t n)
{
	const struct {
		const char *name;
		char **value;
	} options[] = { { "seedfrom=", &a->url },
			{ "s=", &a->url },
			{ "instance-id=", &a->id },
			{ "i=", &a->id },
			{ "local-hostname=", &a->hostname },
			{ "h=", &a->hostname } };

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		size_t name = strlen(options[i].name);

		if (n > name && strncmp(text, options[i].name, name) == 0 && !*options[i].value)
			*options[i].value = rouse_strndup(text + name, n - name);
	}
}

/* Does `text` ask for NoCloud? */
static bool asks_for_nocloud(const char *text, struct asked *ret)
{
	const char *p = strstr(text, "ds=nocloud");

	if (!p)
		return false;
	p += strlen("ds=nocloud");
	p += rouse_strip_prefix(p, "-net") ? strlen("-net") : 0;
	if (*p && !strchr("; \t\n\"", *p))
		return false;
	while (*p == ';') {
		size_t n = strcspn(++p, "; \t\n\"");

		take_option(ret, p, n);
		p += n;
	}
	return true;
}

/* What the firmware says, or else the kernel command line. */
static bool is_asked_for(const struct rouse_machine *m, struct asked *ret)
{
	char serial[512];

	ret->who = "the firmware's serial number";
	if (rouse_machine_dmi(m, "product_serial", serial, sizeof(serial)) &&
	    asks_for_nocloud(serial, ret))
		return true;
	ret->who = "the kernel command line";
	return asks_for_nocloud(m->cmdline, ret);
}

/* What the line itself says counts where the meta-data does not. */
static void use_line(struct rouse_found *f, const struct asked *a)
{
	if (a->id && !f->instance.id)
		f->instance.id = source_keep(f, a->id, strlen(a->id));
	if (a->hostname && !f->instance.hostname)
		f->instance.hostname = source_keep(f, a->hostname, strlen(a->hostname));
}

/* --- meta-data ---------------------------------------------------------------------------------- */

int source_meta_data(struct rouse_found *f, struct rouse_buf *text, struct rouse_err *e)
{
	static const struct service_item items[] = {
		{ NULL, "instance-id", FACT_ID, ITEM_LINES },
		{ NULL, "local-hostname", FACT_HOSTNAME, ITEM_LINES },
		{ NULL, "hostname", FACT_HOSTNAME, ITEM_LINES | ITEM_IF_UNKNOWN },
		{ NULL, "region", FACT_REGION, ITEM_LINES },
		{ NULL, "availability-zone", FACT_ZONE, ITEM_LINES },
		{ NULL, "public-keys", FACT_KEYS, ITEM_LINES },
		{ NULL, "public-keys-data", FACT_KEYS, ITEM_LINES | ITEM_IF_UNKNOWN },
	};

	return service_read(f, items, ARRAY_SIZE(items), "meta-data", text, e);
}

/* --- the disk ----------------------------------------------------------------------------------- */

/* The network that this disk says the machine has, for when the agent needs one. */
static int keep_network(const struct rouse_root *root, struct rouse_err *e)
{
	auto_root struct rouse_root here = ROUSE_ROOT_INIT;
	auto_buf struct rouse_buf text = { 0 };
	struct rouse_netconf ignored;

	if (source_read_file(root, "/network-config", ROUSE_MAX_METADATA, &text, e) < 0)
		return -1;
	if (!text.len)
		return 0;
	if (rouse_netconf_parse("network-config", text.data, text.len, &ignored, e) < 0 ||
	    rouse_root_open(&here, "/", e) < 0 ||
	    rouse_fs_mkdirs(&here, ROUSE_NETCONF_FILE, false, e) < 0)
		return -1;
	return rouse_fs_replace(&here, ROUSE_NETCONF_FILE, text.data, text.len, 0600, (uid_t)-1,
				(gid_t)-1, e);
}

static int read_seed(const struct rouse_root *root, struct rouse_found *f, struct rouse_err *e)
{
	auto_buf struct rouse_buf user = { 0 }, meta = { 0 };

	if (source_read_file(root, "/meta-data", ROUSE_MAX_METADATA, &meta, e) < 0 ||
	    source_meta_data(f, &meta, e) < 0 ||
	    source_read_file(root, "/user-data", ROUSE_MAX_USERDATA, &user, e) < 0)
		return -1;
	source_set_user_data(f, &user);
	return keep_network(root, e);
}

static bool asked_detect(unused_arg const struct rouse_source *s, struct rouse_machine *m,
			 char *why, size_t why_size)
{
	auto_asked struct asked a = { 0 };

	if (!is_asked_for(m, &a) || a.url)
		return false;
	(void)snprintf(why, why_size, "%s has ds=nocloud", a.who);
	return true;
}

static bool disk_detect(unused_arg const struct rouse_source *s, struct rouse_machine *m, char *why,
			size_t why_size)
{
	const struct rouse_seed *seed = rouse_machine_seed(m, "cidata", false, NULL);

	if (!seed)
		return false;
	(void)snprintf(why, why_size, "'%s' is labelled cidata (%s)", seed->device, seed->type);
	return true;
}

static int disk_fetch(unused_arg const struct rouse_source *s, struct rouse_machine *m,
		      unused_arg struct rouse_fetcher *f, uint64_t deadline,
		      struct rouse_found *ret, struct rouse_err *e)
{
	auto_asked struct asked a = { 0 };
	unsigned n = 0;
	const struct rouse_seed *seed = rouse_machine_seed(m, "cidata", false, &n);

	ret->instance.cloud = "nocloud";
	while (!seed && rouse_clock_left(deadline) > LOOK_AGAIN) {
		rouse_clock_sleep_until(rouse_clock_ms() + LOOK_AGAIN);
		seed = rouse_machine_seed(m, "cidata", true, &n);
	}
	if (!seed)
		return rouse_fail(
			e, ROUSE_UNAVAILABLE, 0,
			"no disk labelled cidata has appeared, which ds=nocloud promises");
	if (n > 1)
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "%u disks are labelled cidata ('%s' is one): detach all but the "
				  "one that is meant",
				  n, seed->device);
	if (source_read_disk(seed, ret, read_seed, e) < 0)
		return -1;
	if (is_asked_for(m, &a))
		use_line(ret, &a);
	return 0;
}

/* --- the directory ------------------------------------------------------------------------------ */

/* Where images keep what their maker gave them. */
static const char *const dirs[] = { "/var/lib/cloud/seed/nocloud",
				    "/var/lib/cloud/seed/nocloud-net",
				    "/writable/system-data/var/lib/cloud/seed/nocloud-net" };

static const char *find_dir(const struct rouse_machine *m)
{
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		auto_free char *file = rouse_asprintf("%s/user-data", dirs[i]);

		if (rouse_machine_has(m, file))
			return dirs[i];
	}
	return NULL;
}

static bool dir_detect(unused_arg const struct rouse_source *s, struct rouse_machine *m, char *why,
		       size_t why_size)
{
	const char *dir = find_dir(m);

	if (!dir)
		return false;
	(void)snprintf(why, why_size, "the image has '%s/user-data'", dir);
	return true;
}

static int dir_fetch(unused_arg const struct rouse_source *s, struct rouse_machine *m,
		     unused_arg struct rouse_fetcher *f, unused_arg uint64_t deadline,
		     struct rouse_found *ret, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	const char *dir = find_dir(m);
	auto_free char *path = rouse_asprintf("%s%s", m->sysroot, dir ? dir : "");

	ret->instance.cloud = "nocloud";
	return rouse_root_open(&root, path, e) < 0 ? -1 : read_seed(&root, ret, e);
}

/* --- the URL ------------------------------------------------------------------------------------ */

static bool net_detect(unused_arg const struct rouse_source *s, struct rouse_machine *m, char *why,
		       size_t why_size)
{
	auto_asked struct asked a = { 0 };
	char shown[160];

	if (!is_asked_for(m, &a) || !a.url)
		return false;
	(void)snprintf(why, why_size, "%s has ds=nocloud;s=%s", a.who,
		       rouse_print_url(shown, sizeof(shown), a.url));
	return true;
}

static int get(struct rouse_fetcher *f, uint64_t deadline, const char *base, const char *name,
	       uint64_t max, struct rouse_buf *ret, struct rouse_err *e)
{
	size_t n = strlen(base);
	auto_free char *url = rouse_asprintf("%s%s%s", base, n && base[n - 1] == '/' ? "" : "/",
					     name);
	struct rouse_fetch t = { .url = url, .max_bytes = max, .deadline = deadline };
	int r = rouse_fetch(f, &t, e);

	if (r == 0)
		*ret = t.body_out;
	else
		rouse_buf_done(&t.body_out);
	return r < 0 && e->sys == ENOENT ? 0 : r;
}

static int net_fetch(unused_arg const struct rouse_source *s, struct rouse_machine *m,
		     struct rouse_fetcher *f, uint64_t deadline, struct rouse_found *ret,
		     struct rouse_err *e)
{
	auto_buf struct rouse_buf user = { 0 }, meta = { 0 };
	auto_asked struct asked a = { 0 };

	ret->instance.cloud = "nocloud";
	if (!is_asked_for(m, &a) || !a.url || !rouse_is_url(a.url))
		return rouse_fail(e, ROUSE_SYSTEM, 0, "%s: what follows ds=nocloud;s= is not a URL",
				  a.who);
	if (get(f, deadline, a.url, "meta-data", ROUSE_MAX_METADATA, &meta, e) < 0 ||
	    source_meta_data(ret, &meta, e) < 0 ||
	    get(f, deadline, a.url, "user-data", ROUSE_MAX_USERDATA, &user, e) < 0)
		return -1;
	source_set_user_data(ret, &user);
	use_line(ret, &a);
	return 0;
}

const struct rouse_source source_nocloud = { .name = "nocloud",
					     .detect = asked_detect,
					     .fetch = disk_fetch };
const struct rouse_source source_nocloud_disk = { .name = "nocloud",
						  .detect = disk_detect,
						  .fetch = disk_fetch };
const struct rouse_source source_nocloud_dir = { .name = "nocloud",
						 .detect = dir_detect,
						 .fetch = dir_fetch };
const struct rouse_source source_nocloud_net = {
	.name = "nocloud-net", .network = true, .detect = net_detect, .fetch = net_fetch
};
