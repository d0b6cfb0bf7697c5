/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NoCloud: a small filesystem labelled "cidata" (vfat or iso9660) with the files user-data and
 * meta-data; or the same two below a URL that the firmware (SMBIOS serial number) or the kernel
 * command line names: "ds=nocloud;s=URL". What the answers mean:
 *
 *   disk   no such label                           another source is asked; but when "ds=nocloud" says
 *                                                  that there is one, it is waited for, then unavailable
 *          two of them                             failed: which one was meant?
 *          it cannot be mounted or read            failed
 *          no file user-data                       none: this is an answer
 *          no file meta-data                       an instance without a name
 *   URL    user-data 200                           the user-data
 *          user-data 404, 410                      none
 *          meta-data 404, 410                      an instance without a name
 *          408, 429, 5xx, no answer                retry to the deadline, then unavailable
 *          anything else                           failed
 */
#include "sources.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/mount.h>

#include <blkid.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/fs.h>
#include <rouse/init.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/schema.h>
#include <rouse/text.h>

/* How often the list of block devices is read while a disk that must come has not come. */
#define LOOK_AGAIN 200

struct seed {
	char device[64]; /* "/dev/vdb" */
	char type[16];   /* "vfat", "iso9660" */
	unsigned found;  /* devices with the label; the first is above */
};

static void probe_release(blkid_probe p)
{
	blkid_free_probe(p);
}
AUTO_DEFINE(blkid_probe, probe, probe_release, NULL)

static void dir_release(DIR *d)
{
	(void)closedir(d);
}
AUTO_DEFINE(DIR *, dir, dir_release, NULL)

/* --- the line "ds=nocloud;s=…" ------------------------------------------------------------------ */

/* Does `text` ask for NoCloud? *ret_url (caller frees) is the value of s=, or NULL. */
static bool asks_for_nocloud(const char *text, char **ret_url)
{
	const char *p = strstr(text, "ds=nocloud");

	*ret_url = NULL;
	if (!p)
		return false;
	p += strlen("ds=nocloud");
	p += rouse_strip_prefix(p, "-net") ? strlen("-net") : 0;
	if (*p && !strchr("; \t\n\"", *p))
		return false;
	while (*p == ';') {
		size_t n = strcspn(++p, "; \t\n\"");
		const char *value = rouse_strip_prefix(p, "seedfrom=");

		value = value ? value : rouse_strip_prefix(p, "s=");
		if (value && !*ret_url && value < p + n)
			*ret_url = rouse_strndup(value, (size_t)(p + n - value));
		p += n;
	}
	return true;
}

/* What the firmware says, or else the kernel command line. */
static bool is_asked_for(const struct rouse_machine *m, char **ret_url, const char **ret_who)
{
	char serial[512];

	*ret_who = "the firmware's serial number";
	if (rouse_machine_dmi(m, "product_serial", serial, sizeof(serial)) &&
	    asks_for_nocloud(serial, ret_url))
		return true;
	*ret_who = "the kernel command line";
	return asks_for_nocloud(m->cmdline, ret_url);
}

/* --- meta-data ---------------------------------------------------------------------------------- */

static void set_value(struct rouse_found *f, const char *key, const char *value, size_t len)
{
	const char **member = NULL;

	if (rouse_streq(key, "instance-id"))
		member = &f->instance.id;
	else if (rouse_streq(key, "local-hostname") ||
		 (rouse_streq(key, "hostname") && !f->instance.hostname))
		member = &f->instance.hostname;
	if (member)
		*member = source_keep(f, value, len);
}

/* "key: value" lines; of what YAML adds, quotes around the value are understood, the rest ignored. */
static void read_line(struct rouse_found *f, char *line)
{
	char *value = strchr(line, ':');
	size_t n;

	if (!value || strchr(" \t#", *line))
		return;
	*value++ = '\0';
	value += strspn(value, " \t");
	for (n = strlen(value); n && strchr(" \t\r", value[n - 1]);)
		n--;
	if (n >= 2 && (*value == '"' || *value == '\'') && value[n - 1] == *value)
		value++, n -= 2;
	set_value(f, line, value, n);
}

int source_meta_data(struct rouse_found *f, struct rouse_buf *text, struct rouse_err *e)
{
	size_t blanks = text->data ? strspn(text->data, " \t\r\n") : 0;
	auto_json json_t *json = NULL;
	const char *key;
	json_t *value;
	char *rest = text->data, *line;

	if (text->len <= blanks)
		return 0;
	if (text->data[blanks] != '{') {
		while ((line = strsep(&rest, "\n")))
			read_line(f, line);
		return 0;
	}
	json = rouse_json_parse("meta-data", text->data, text->len, e);
	if (!json)
		return -1;
	json_object_foreach (json, key, value)
		if (json_is_string(value))
			set_value(f, key, json_string_value(value), json_string_length(value));
	return 0;
}

static void set_user_data(struct rouse_found *f, struct rouse_buf *text)
{
	if (!text->len)
		return;
	f->user_data_len = text->len;
	f->user_data = take(text->data, NULL);
}

/* --- the disk ----------------------------------------------------------------------------------- */

static bool has_label(blkid_probe p)
{
	static const char *const names[] = { "LABEL", "LABEL_FATBOOT" };
	const char *label;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (blkid_probe_lookup_value(p, names[i], &label, NULL) == 0 &&
		    strcasecmp(label, "cidata") == 0)
			return true;
	return false;
}

static void probe_device(struct seed *seed, const char *path)
{
	static char vfat[] = "vfat", iso9660[] = "iso9660";
	char *types[] = { vfat, iso9660, NULL };
	auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	blkid_probe p auto_of(probe) = fd < 0 ? NULL : blkid_new_probe();
	const char *type;

	/* An empty drive or a device without a node is simply not the one; a read error is neither. */
	if (!p || blkid_probe_set_device(p, fd, 0, 0) < 0 || blkid_probe_get_size(p) <= 0 ||
	    blkid_probe_filter_superblocks_type(p, BLKID_FLTR_ONLYIN, types) < 0 ||
	    blkid_probe_set_superblocks_flags(p, BLKID_SUBLKS_LABEL | BLKID_SUBLKS_TYPE) < 0 ||
	    blkid_do_safeprobe(p) != 0 || !has_label(p) ||
	    blkid_probe_lookup_value(p, "TYPE", &type, NULL) < 0)
		return;
	if (seed->found++)
		return;
	(void)snprintf(seed->device, sizeof(seed->device), "%s", path);
	(void)snprintf(seed->type, sizeof(seed->type), "%s", type);
}

/* Memory disks hold nothing that was there before us; floppies take seconds to say that they are not. */
static bool is_candidate(const char *name)
{
	static const char *const not [] = { "ram", "zram", "fd", "nbd" };

	if (*name == '.' || strlen(name) > 50)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(not ); i++) {
		const char *rest = rouse_strip_prefix(name, not [i]);

		if (rest && *rest >= '0' && *rest <= '9')
			return false;
	}
	return true;
}

static struct seed find_seed(const struct rouse_machine *m)
{
	auto_free char *dir = rouse_asprintf("%s/sys/class/block", m->sysroot);
	DIR *d auto_of(dir) = opendir(dir);
	struct seed seed = { 0 };
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		auto_free char *path = rouse_asprintf("%s/dev/%s", m->sysroot, entry->d_name);

		if (is_candidate(entry->d_name))
			probe_device(&seed, path);
	}
	return seed;
}

static void load_filesystem(const char *type)
{
	/* Debian's vfat wants these two tables; where a kernel has none of them, mount says so. */
	static const char *const vfat[] = { "vfat", "nls_cp437", "nls_ascii" };
	struct rouse_err ignored;

	if (rouse_streq(type, "iso9660")) {
		if (rouse_kmod_load("isofs", &ignored) < 0)
			return; /* built in, or mount fails and says why */
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(vfat); i++)
		if (rouse_kmod_load(vfat[i], &ignored) < 0)
			continue;
}

static int read_file(const struct rouse_root *root, const char *name, size_t max,
		     struct rouse_buf *ret, struct rouse_err *e)
{
	if (rouse_fs_read(root, name, max, ret, e) == 0)
		return 0;
	return e->sys == ENOENT ? 0 : -1;
}

static int read_seed(const char *dir, struct rouse_found *f, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_buf struct rouse_buf user = { 0 }, meta = { 0 };

	if (rouse_root_open(&root, dir, e) < 0 ||
	    read_file(&root, "/meta-data", ROUSE_MAX_METADATA, &meta, e) < 0 ||
	    source_meta_data(f, &meta, e) < 0 ||
	    read_file(&root, "/user-data", ROUSE_MAX_USERDATA, &user, e) < 0)
		return -1;
	set_user_data(f, &user);
	return 0;
}

/* Mounts the disk where nobody else looks, reads it, and leaves no trace of it. */
static int read_disk(const struct seed *seed, struct rouse_found *f, struct rouse_err *e)
{
	const unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
	char dir[] = "/run/rouse-seed-XXXXXX";
	int r;

	if (!mkdtemp(dir))
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make a directory in '/run'");
	load_filesystem(seed->type);
	if (mount(seed->device, dir, seed->type, flags, NULL) < 0) {
		r = rouse_fail(e, ROUSE_SYSTEM, errno, "cannot mount '%s' (%s)", seed->device,
			       seed->type);
	} else {
		r = read_seed(dir, f, e);
		if (r < 0)
			(void)rouse_wrap(e, "the files on '%s'", seed->device);
		(void)umount2(dir, MNT_DETACH); /* read-only: nothing can be lost */
	}
	(void)rmdir(dir);
	return r;
}

static bool nocloud_detect(const struct rouse_machine *m, char *why, size_t why_size)
{
	auto_free char *url = NULL;
	const char *who = NULL;
	struct seed seed;

	if (is_asked_for(m, &url, &who)) {
		(void)snprintf(why, why_size, "%s has ds=nocloud", who);
		return true;
	}
	seed = find_seed(m);
	if (seed.found)
		(void)snprintf(why, why_size, "'%s' is labelled cidata (%s)", seed.device,
			       seed.type);
	return seed.found > 0;
}

static int nocloud_fetch(const struct rouse_machine *m, unused_arg struct rouse_fetcher *f,
			 uint64_t deadline, struct rouse_found *ret, struct rouse_err *e)
{
	struct seed seed = find_seed(m);

	ret->instance.cloud = "nocloud";
	while (!seed.found && rouse_clock_left(deadline) > LOOK_AGAIN) {
		rouse_clock_sleep_until(rouse_clock_ms() + LOOK_AGAIN);
		seed = find_seed(m);
	}
	if (!seed.found)
		return rouse_fail(
			e, ROUSE_UNAVAILABLE, 0,
			"no disk labelled cidata has appeared, which ds=nocloud promises");
	if (seed.found > 1)
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "%u disks are labelled cidata ('%s' is one): detach all but the "
				  "one that is meant",
				  seed.found, seed.device);
	return read_disk(&seed, ret, e);
}

/* --- the URL ------------------------------------------------------------------------------------ */

static bool net_detect(const struct rouse_machine *m, char *why, size_t why_size)
{
	auto_free char *url = NULL;
	const char *who = NULL;
	char shown[160];

	if (!is_asked_for(m, &url, &who) || !url)
		return false;
	(void)snprintf(why, why_size, "%s has ds=nocloud;s=%s", who,
		       rouse_print_url(shown, sizeof(shown), url));
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

static int net_fetch(const struct rouse_machine *m, struct rouse_fetcher *f, uint64_t deadline,
		     struct rouse_found *ret, struct rouse_err *e)
{
	auto_buf struct rouse_buf user = { 0 }, meta = { 0 };
	auto_free char *url = NULL;
	const char *who = NULL;

	ret->instance.cloud = "nocloud";
	if (!is_asked_for(m, &url, &who) || !url || !rouse_is_url(url))
		return rouse_fail(e, ROUSE_SYSTEM, 0, "%s: what follows ds=nocloud;s= is not a URL",
				  who);
	if (get(f, deadline, url, "meta-data", ROUSE_MAX_METADATA, &meta, e) < 0 ||
	    source_meta_data(ret, &meta, e) < 0 ||
	    get(f, deadline, url, "user-data", ROUSE_MAX_USERDATA, &user, e) < 0)
		return -1;
	set_user_data(ret, &user);
	return 0;
}

const struct rouse_source source_nocloud = { .name = "nocloud",
					     .detect = nocloud_detect,
					     .fetch = nocloud_fetch };
const struct rouse_source source_nocloud_net = {
	.name = "nocloud-net", .network = true, .detect = net_detect, .fetch = net_fetch
};
