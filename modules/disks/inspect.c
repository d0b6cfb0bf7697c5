/* SPDX-License-Identifier: Apache-2.0 */
/* One disk: what sysfs, its table and its contents say, as JSON of struct disks_fact. */
#include "disks.h"

#include <ctype.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/text.h>
#include <rouse/trust.h>

struct disk {
	int fd;
	const char *path;
	bool file;
	uint64_t size, sector;
	char sys[64]; /* "vda"; "" for files */
	json_t *json;
};

static void trim(char *s)
{
	size_t n = strlen(s), blanks = strspn(s, " ");

	while (n > blanks && s[n - 1] == ' ')
		s[--n] = '\0';
	memmove(s, s + blanks, n - blanks + 1);
}

static bool sys_line(const char *sys, const char *file, char *buf, size_t size)
{
	char path[192];

	(void)snprintf(path, sizeof(path), "/sys/class/block/%s/%s", sys, file);
	if (!rouse_read_line(path, buf, size))
		return false;
	trim(buf);
	return *buf != '\0';
}

/* The first of several sysfs files that says anything readable. */
static void sys_string(const struct disk *d, const char *key, const char *const *files)
{
	char buf[160];

	for (; *files; files++) {
		if (!sys_line(d->sys, *files, buf, sizeof(buf)))
			continue;
		for (char *p = buf; *p; p++)
			if (!isprint((unsigned char)*p))
				*p = '?';
		rouse_json_set_string(d->json, key, buf);
		return;
	}
}

/* SCSI: the unit serial number page: 4 bytes of head, then the number. */
static void scsi_serial(const struct disk *d)
{
	auto_buf struct rouse_buf page = { 0 };
	char path[192], serial[160] = "";
	struct rouse_err e;
	size_t n;

	(void)snprintf(path, sizeof(path), "/sys/class/block/%s/device/vpd_pg80", d->sys);
	if (json_object_get(d->json, "serial") || rouse_read_file(path, 1024, &page, &e) < 0 ||
	    page.len <= 4)
		return;
	n = page.len - 4 < sizeof(serial) - 1 ? page.len - 4 : sizeof(serial) - 1;
	memcpy(serial, page.data + 4, n);
	trim(serial);
	for (char *p = serial; *p; p++)
		if (!isprint((unsigned char)*p))
			*p = '?';
	if (*serial)
		rouse_json_set_string(d->json, "serial", serial);
}

/* The number of a GCE disk that is seen as SCSI: "t10.Google  PersistentDisk  NAME". */
static void scsi_gce(const struct disk *d)
{
	static const char *const products[] = { "PersistentDisk", "EphemeralDisk", NULL };
	const char *wwn = json_string_value(json_object_get(d->json, "wwn"));
	const char *rest = wwn ? rouse_strip_prefix(wwn, "t10.Google") : NULL;

	for (const char *const *p = products; rest && *p; p++) {
		const char *name = rouse_strip_prefix(rest + strspn(rest, " _"), *p);

		if (name && rouse_is_label(name + strspn(name, " _")))
			rouse_json_set_string(d->json, "gce", name + strspn(name, " _"));
	}
}

/* By the path of the device in sysfs: the innermost PCI function, the Hyper-V controller, and the LUN
 * of host:channel:target:lun. */
static void read_place(const struct disk *d)
{
	auto_free char *link = rouse_asprintf("/sys/class/block/%s/device", d->sys);
	auto_free char *path = realpath(link, NULL);
	char *save = NULL, *last = NULL;
	uint64_t lun;

	for (char *s = path ? strtok_r(path, "/", &save) : NULL; s;
	     s = strtok_r(NULL, "/", &save)) {
		if (disks_is_pci_address(s))
			rouse_json_set_string(d->json, "pci", s);
		if (disks_is_guid(s)) /* as Hyper-V names what it attaches */
			rouse_json_set_string(d->json, "vmbus", s);
		last = s;
	}
	last = last ? strrchr(last, ':') : NULL;
	if (last && rouse_parse_u64(last + 1, 16383, &lun) && json_object_get(d->json, "vmbus"))
		rouse_json_set_int(d->json, "lun", lun);
}

static void read_identity(const struct disk *d)
{
	static const char *const serial[] = { "serial", "device/serial", NULL };
	static const char *const wwn[] = { "wwid", "device/wwid", NULL };
	static const char *const model[] = { "device/model", NULL };
	char buf[64];
	uint64_t n;

	sys_string(d, "serial", serial);
	sys_string(d, "wwn", wwn);
	sys_string(d, "model", model);
	scsi_serial(d);
	scsi_gce(d);
	read_place(d);
	if (strncmp(d->sys, "nvme", 4) == 0)
		disks_nvme_read(d->fd, json_string_value(json_object_get(d->json, "model")),
				d->json);
	if (sys_line(d->sys, "removable", buf, sizeof(buf)) && strcmp(buf, "1") == 0)
		rouse_json_set_bool(d->json, "removable", true);
	if (sys_line(d->sys, "ro", buf, sizeof(buf)) && strcmp(buf, "1") == 0)
		rouse_json_set_bool(d->json, "readOnly", true);
	if (sys_line(d->sys, "diskseq", buf, sizeof(buf)) && rouse_parse_u64(buf, INT64_MAX, &n))
		rouse_json_set_int(d->json, "diskseq", n);
}

/* An image says nothing about its sectors but by where its table is. */
static uint64_t sector_of_file(int fd, uint64_t otherwise)
{
	for (uint64_t n = 512; n <= 4096; n *= 2) {
		char magic[8];

		if (pread(fd, magic, sizeof(magic), (off_t)n) == (ssize_t)sizeof(magic) &&
		    memcmp(magic, "EFI PART", 8) == 0)
			return n;
	}
	return otherwise ? otherwise : 512;
}

static int read_geometry(struct disk *d, struct rouse_err *e)
{
	struct stat st;
	int sector = 0;

	if (fstat(d->fd, &st) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot stat '%s'", d->path);
	if (S_ISREG(st.st_mode)) {
		d->file = true;
		d->size = (uint64_t)st.st_size;
		d->sector = sector_of_file(d->fd, d->sector);
		return 0;
	}
	if (!S_ISBLK(st.st_mode))
		return rouse_fail(e, ROUSE_USAGE, 0, "'%s' is neither a disk nor a regular file",
				  d->path);
	if (ioctl(d->fd, BLKGETSIZE64, &d->size) < 0 || ioctl(d->fd, BLKSSZGET, &sector) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot read the size of '%s'", d->path);
	d->sector = (uint64_t)sector;
	return 0;
}

static int find_sys_name(struct disk *d, struct rouse_err *e)
{
	auto_free char *real = NULL;
	char link[64];
	struct stat st;

	if (d->file)
		return 0;
	if (fstat(d->fd, &st) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot stat '%s'", d->path);
	(void)snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(st.st_rdev),
		       minor(st.st_rdev));
	real = realpath(link, NULL);
	if (!real)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot find '%s' in sysfs", d->path);
	(void)snprintf(d->sys, sizeof(d->sys), "%s", strrchr(real, '/') + 1);
	return 0;
}

/* A partition's node, if it is this partition's: names may lag behind the kernel. */
static int open_partition(const struct disk *d, const char *node, const char *name)
{
	auto_fd int fd = open(node, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char dev[32], want[32];
	struct stat st;

	if (fd < 0 || d->file || fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode) ||
	    !sys_line(name, "dev", dev, sizeof(dev)))
		return -1;
	(void)snprintf(want, sizeof(want), "%u:%u", major(st.st_rdev), minor(st.st_rdev));
	return strcmp(dev, want) == 0 ? take(fd, -1) : -1;
}

/* Through the partition's own node where there is one: a mounted filesystem's superblock is
 * current there, not in the page cache of the whole disk. */
static int read_partition(const struct disk *d, json_t *entry, struct rouse_err *e)
{
	uint64_t start = (uint64_t)json_integer_value(json_object_get(entry, "start"));
	uint64_t size = (uint64_t)json_integer_value(json_object_get(entry, "size")), real = 0;
	unsigned number = (unsigned)json_integer_value(json_object_get(entry, "number"));
	char node[128], name[80];
	json_t *content = NULL;
	auto_fd int fd = -1;
	int r;

	(void)disks_node(d->path, number, node, sizeof(node));
	(void)disks_node(d->sys, number, name, sizeof(name));
	fd = open_partition(d, node, name);
	if (fd >= 0 && ioctl(fd, BLKGETSIZE64, &real) == 0 && real > 0)
		r = disks_content_read(fd, 0, real, d->sector, &content, e);
	else
		r = disks_content_read(d->fd, start, size, d->sector, &content, e);
	if (r < 0)
		return -1;
	if (fd >= 0) {
		rouse_json_set_string(entry, "device", node);
		disks_usage_of(name, content);
	}
	if (!d->file && real != size)
		rouse_json_set_bool(entry, "unseen", true);
	rouse_json_set(entry, "content", content);
	return 0;
}

static bool is_config_label(const json_t *content)
{
	const json_t *s;
	size_t i;

	json_array_foreach (json_object_get(content, "signatures"), i, s) {
		const char *label = json_string_value(json_object_get(s, "label"));

		if (label &&
		    (strcasecmp(label, "cidata") == 0 || strcasecmp(label, "config-2") == 0))
			return true;
	}
	return false;
}

/* Of the whole-disk signatures, those that are tables are in the class already. */
static bool is_table(const char *type)
{
	static const char *const tables[] = { "gpt",     "PMBR",   "dos",   "bsd",   "mac",
					      "sun",     "sgi",    "minix", "atari", "unixware",
					      "solaris", "ultrix", NULL };

	for (const char *const *t = tables; *t; t++)
		if (strcmp(*t, type) == 0)
			return true;
	return false;
}

static enum disks_class class_of_content(const json_t *content)
{
	const json_t *s;
	size_t i, tables = 0, others = 0;

	json_array_foreach (json_object_get(content, "signatures"), i, s)
		*(is_table(json_string_value(json_object_get(s, "type"))) ? &tables : &others) += 1;
	if (tables && !others)
		return DISKS_OTHER_TABLE;
	if (others == 1 && !tables)
		return DISKS_SIGNED;
	if (others || tables)
		return DISKS_AMBIGUOUS;
	return json_is_true(json_object_get(content, "zero")) ? DISKS_BLANK : DISKS_OPAQUE;
}

static int read_class(const struct disk *d, const char *const *ours, struct rouse_err *e)
{
	enum disks_class class = DISKS_BLANK;
	json_t *content = NULL, *entry;
	size_t i;

	if (disks_gpt_read(d->fd, d->size, d->sector, ours, d->json, &class, e) < 0 ||
	    disks_content_read(d->fd, 0, d->size, d->sector, &content, e) < 0)
		return -1;
	rouse_json_set(d->json, "content", content);
	if (d->sys[0])
		disks_usage_of(d->sys, content);
	if (class == DISKS_BLANK)
		class = class_of_content(content);
	if (class == DISKS_OTHER_TABLE) {
		json_t *list = NULL;

		if (disks_table_list(d->fd, d->size, d->sector, &list, e) < 0)
			return -1;
		rouse_json_set(d->json, "partitions", list);
	}
	rouse_json_set_string(d->json, "class", disks_class_words[class]);
	if (is_config_label(content))
		rouse_json_set_bool(d->json, "configDrive", true);
	json_array_foreach (json_object_get(d->json, "partitions"), i, entry) {
		if (read_partition(d, entry, e) < 0)
			return -1;
		if (is_config_label(json_object_get(entry, "content")))
			rouse_json_set_bool(d->json, "configDrive", true);
	}
	return 0;
}

/* Only what a plan is built on and what nobody changes meanwhile: no mounts, no free space. */
static json_t *essence(const json_t *disk)
{
	static const char *const keys[] = { "size", "sector", "class", "guid", "diskseq", NULL };
	static const char *const entry_keys[] = { "number", "guid", "type", "start", "size", NULL };
	json_t *out = json_object(), *list = json_array();
	const json_t *entry;
	size_t i;

	for (const char *const *k = keys; *k; k++)
		if (json_object_get(disk, *k))
			rouse_json_set(out, *k, json_incref(json_object_get(disk, *k)));
	rouse_json_set(
		out, "signatures",
		json_incref(json_object_get(json_object_get(disk, "content"), "signatures")));
	json_array_foreach (json_object_get(disk, "partitions"), i, entry) {
		json_t *e = json_object();

		for (const char *const *k = entry_keys; *k; k++)
			if (json_object_get(entry, *k))
				rouse_json_set(e, *k, json_incref(json_object_get(entry, *k)));
		rouse_json_set(e, "signatures",
			       json_incref(json_object_get(json_object_get(entry, "content"),
							   "signatures")));
		rouse_json_append(list, e);
	}
	rouse_json_set(out, "partitions", list);
	return out;
}

static void add_fingerprint(json_t *disk)
{
	auto_json json_t *all = essence(disk);
	auto_free char *text = json_dumps(all, JSON_SORT_KEYS | JSON_COMPACT);
	char hex[65];

	rouse_sha256_hex(text ? text : "", text ? strlen(text) : 0, hex);
	rouse_json_set_string(disk, "fingerprint", hex);
}

static int has_no_bytes(const struct disk *d, struct rouse_err *e)
{
	return d->file ? rouse_fail(e, ROUSE_SYSTEM, 0,
				    "'%s' is empty; `truncate -s 20G %s` makes it a disk", d->path,
				    d->path)
		       : rouse_fail(e, ROUSE_SYSTEM, ENOMEDIUM, "'%s' has no bytes", d->path);
}

int disks_inspect(int fd, const char *path, const char *const *ours, uint64_t sector, json_t **ret,
		  struct rouse_err *e)
{
	auto_json json_t *json = json_object();
	struct disk d = { .fd = fd, .path = path, .json = json, .sector = sector };

	if (read_geometry(&d, e) < 0 || find_sys_name(&d, e) < 0)
		return -1;
	if (!d.size)
		return has_no_bytes(&d, e);
	rouse_json_set_string(json, "device", path);
	rouse_json_set_bool(json, "file", d.file);
	rouse_json_set_int(json, "size", d.size);
	rouse_json_set_int(json, "sector", d.sector);
	rouse_json_set_int(json, "end", disks_usable_end(d.size, d.sector));
	if (!d.file)
		read_identity(&d);
	if (read_class(&d, ours, e) < 0)
		return rouse_wrap(e, "%s", path);
	add_fingerprint(json);
	*ret = take(json, NULL);
	return 0;
}
