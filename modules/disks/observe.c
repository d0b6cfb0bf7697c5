/* SPDX-License-Identifier: Apache-2.0 */
/* Which disks there are, and what is on them. Reads only. */
#include "disks.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/proc.h>
#include <rouse/text.h>

struct observer {
	const struct disks_conf *conf;
	const struct rouse_context *c;
	const char *const *ours;
	struct rouse_arena *arena;
	json_t *disks; /* array */
};

/* What the document says about the image that is bound to this name. */
static uint64_t sector_of(const struct observer *o, const char *bound)
{
	const struct disks_disk *d = o->conf->disks.items;

	for (size_t i = 0; bound && i < o->conf->disks.n; i++)
		if (strcmp(d[i].key, bound) == 0)
			return (uint64_t)d[i].sector_size;
	return 0;
}

/* A disk that cannot be read is a fact too: it is refused when the document means it. */
static void add_disk(const struct observer *o, const char *path, const char *bound)
{
	auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t sector = sector_of(o, bound);
	struct rouse_err e = { 0 };
	json_t *disk = NULL;

	if (fd < 0 && errno == ENOENT && bound && !rouse_strip_prefix(path, "/dev/"))
		(void)rouse_fail(&e, ROUSE_SYSTEM, 0,
				 "'%s' is not there; `truncate -s 20G %s` makes an empty image",
				 path, path);
	else if (fd < 0)
		(void)rouse_fail(&e, ROUSE_SYSTEM, errno, "cannot open '%s'", path);
	if (fd < 0 || disks_inspect(fd, path, o->ours, sector, &disk, &e) < 0) {
		disk = json_object();
		rouse_json_set_string(disk, "device", path);
		rouse_json_set_string(disk, "class", disks_class_words[DISKS_OPAQUE]);
		rouse_json_set_string(disk, "damage", e.text);
		rouse_json_set_int(disk, "sector", 512);
	}
	rouse_json_set_string(disk, "bound", bound);
	rouse_json_append(o->disks, disk);
}

/* Disks of hardware have a device behind them: loop, ram, zram, dm and md have none. */
static bool is_hardware(const char *name)
{
	auto_free char *path = rouse_asprintf("/sys/block/%s/device", name);
	auto_free char *size = rouse_asprintf("/sys/block/%s/size", name);
	char line[32];

	if (strncmp(name, "sr", 2) == 0 || strncmp(name, "fd", 2) == 0 || access(path, F_OK) < 0)
		return false;
	return rouse_read_line(size, line, sizeof(line)) && strcmp(line, "0") != 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void add_hardware(const struct observer *o)
{
	struct dirent **names = NULL;
	int n = scandir("/sys/block", &names, NULL, by_name);

	for (int i = 0; i < n; i++) {
		if (names[i]->d_name[0] != '.' && is_hardware(names[i]->d_name) &&
		    json_array_size(o->disks) < ROUSE_MAX_MACHINE_DISKS) {
			auto_free char *path = rouse_asprintf("/dev/%s", names[i]->d_name);

			for (char *p = path; *p; p++)
				if (*p == '!')
					*p = '/'; /* cciss!c0d0 */
			add_disk(o, path, NULL);
		}
		free(names[i]);
	}
	free(names);
}

static json_t *find_disk(const struct observer *o, dev_t dev)
{
	json_t *disk;
	struct stat st;
	size_t i;

	json_array_foreach (o->disks, i, disk)
		if (stat(json_string_value(json_object_get(disk, "device")), &st) == 0 &&
		    st.st_rdev == dev)
			return disk;
	return NULL;
}

/* A path of the document may be a link to a disk, or a disk that is no hardware (a loop device). */
static void add_path(const struct observer *o, const char *path)
{
	auto_free char *real = realpath(path, NULL);
	struct stat st;
	json_t *disk, *names;

	if (!real || stat(real, &st) < 0 || !S_ISBLK(st.st_mode))
		return;
	disk = find_disk(o, st.st_rdev);
	if (!disk) {
		add_disk(o, real, NULL);
		disk = json_array_get(o->disks, json_array_size(o->disks) - 1);
	}
	names = json_object_get(disk, "names");
	if (!names) {
		names = json_array();
		rouse_json_set(disk, "names", names);
	}
	rouse_json_append(names, json_string(path));
}

static void mark_root(const struct observer *o, const char *root)
{
	char names[ROUSE_MAX_MEMBERS][64];
	size_t n = disks_holding(root, names, ARRAY_SIZE(names)), i;
	json_t *disk;

	for (size_t k = 0; k < n; k++) {
		auto_free char *path = rouse_asprintf("/dev/%s", names[k]);

		json_array_foreach (o->disks, i, disk)
			if (rouse_streq(json_string_value(json_object_get(disk, "device")), path))
				rouse_json_set_bool(disk, "root", true);
	}
}

static bool is_mounted(const char *root)
{
	auto_free char *above = rouse_asprintf("%s/..", root);
	struct stat st, up;

	return stat(root, &st) == 0 && stat(above, &up) == 0 && st.st_dev != up.st_dev;
}

static void scan(struct observer *o)
{
	const struct rouse_pair *bound = o->c->disks.items;
	const struct disks_disk *d = o->conf->disks.items;

	json_array_clear(o->disks);
	if (o->c->disks.n) {
		for (size_t i = 0; i < o->c->disks.n; i++)
			add_disk(o, bound[i].value, bound[i].key);
		return;
	}
	add_hardware(o);
	for (size_t i = 0; i < o->conf->disks.n; i++)
		if (d[i].device && d[i].device->path && strcmp(d[i].device->path, "root") != 0)
			add_path(o, d[i].device->path);
	if (!o->c->initramfs)
		mark_root(o, "/");
	else if (is_mounted(o->c->root)) /* by an initramfs that is not only ours */
		mark_root(o, o->c->root);
	else
		disks_mark_boots(o->disks);
}

/* ---- waiting for disks that the document means ----------------------------------------------- */

static int open_uevents(void)
{
	const struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	auto_fd int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
				NETLINK_KOBJECT_UEVENT);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -1;
	return take(fd, -1);
}

/* True when something about devices happened before the deadline. Without a socket it looks again
 * every now and then. */
static bool wait_for_event(int fd, uint64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int left = rouse_clock_left(deadline);
	char buf[4096];

	if (left <= 0)
		return false;
	if (fd < 0) {
		(void)poll(NULL, 0, left < 250 ? left : 250);
		return rouse_clock_left(deadline) > 0;
	}
	if (poll(&p, 1, left) <= 0)
		return false;
	while (recv(fd, buf, sizeof(buf), 0) > 0)
		; /* all of a burst at once: what it says is read from sysfs */
	return true;
}

static void decode(const struct observer *o, struct disks_fact *ret, size_t i)
{
	struct rouse_problems problems = { 0 };

	(void)rouse_schema_read(&disks_fact_shape, json_array_get(o->disks, i), NULL, ret, o->arena,
				&problems);
	rouse_problems_done(
		&problems); /* what we wrote ourselves; plan() reads it again and would tell */
}

static struct disks_facts decode_all(const struct observer *o)
{
	size_t n = json_array_size(o->disks);
	struct disks_fact *facts = rouse_arena_alloc(o->arena, (n + 1) * sizeof(*facts));

	for (size_t i = 0; i < n; i++)
		decode(o, &facts[i], i);
	return (struct disks_facts){ .disks = { .n = n, .items = facts } };
}

/* How long a disk may take to appear: what may be missing is not waited for unless somebody says so. */
static uint64_t patience(const struct disks_disk *d)
{
	if (d->wait)
		return d->wait;
	return rouse_streq(d->missing, "skip") ? 0 : ROUSE_DEADLINE_DEVICES;
}

/* When to look no longer for what is not there yet; 0: nothing is worth waiting for. */
static uint64_t wait_until(const struct observer *o, const struct disks_found *found,
			   uint64_t begin)
{
	const struct disks_disk *d = o->conf->disks.items;
	uint64_t until = 0, end;

	for (size_t i = 0; i < o->conf->disks.n; i++)
		if (found[i].missing && begin + patience(&d[i]) > until)
			until = begin + patience(&d[i]);
	for (size_t i = 0; !until && i < o->conf->disks.n; i++)
		if (found[i].open) /* one more may come, but not for long */
			until = rouse_clock_ms() + ROUSE_DEVICES_QUIET;
	end = o->c->deadline > 2000 ? o->c->deadline - 2000 : 0;
	return o->c->deadline && until > end ? end : until;
}

/* Scans until every disk of the document is there. While a machine boots disks still arrive; and the
 * only disk may be taken for the root only when no other one came for a while. */
static bool scan_until_found(struct observer *o, struct disks_facts *facts,
			     struct disks_found *found)
{
	auto_fd int events = o->c->boot ? open_uevents() : -1;
	uint64_t begin = rouse_clock_ms(), until;

	for (;;) {
		struct rouse_err e = { 0 };
		bool matched;

		scan(o);
		*facts = decode_all(o);
		matched = disks_match(o->conf, facts, o->c, o->arena, found, &e) == 0;
		if (!o->c->boot || o->c->disks.n || (!matched && e.kind != ROUSE_UNAVAILABLE))
			return matched;
		until = wait_until(o, found, begin);
		if (!until || !wait_for_event(events, until))
			return matched;
	}
}

/* ---- free space that the document would use -------------------------------------------------- */

static void add_pending(json_t *disk, const struct disks_layout *l)
{
	json_t *list = json_array();
	const char *device = json_string_value(json_object_get(disk, "device"));
	uint64_t sector = (uint64_t)json_integer_value(json_object_get(disk, "sector"));
	auto_fd int fd = open(device, O_RDONLY | O_CLOEXEC);

	for (size_t i = 0; fd >= 0 && i < l->n; i++) {
		const struct disks_slot *s = &l->slots[i];
		struct rouse_err e = { 0 };
		json_t *content = NULL, *range;

		if (s->entry || disks_content_read(fd, s->start, s->size, sector, &content, &e) < 0)
			continue; /* what cannot be read will not be written either */
		range = json_object();
		rouse_json_set_int(range, "start", s->start);
		rouse_json_set_int(range, "size", s->size);
		rouse_json_set(range, "content", content);
		rouse_json_append(list, range);
	}
	rouse_json_set(disk, "pending", list);
}

static void look_at_free_space(const struct observer *o, const struct disks_disk *d,
			       const struct disks_fact *f, json_t *disk)
{
	const char *root = o->c->initramfs ? o->c->root : "/";
	enum disks_class class = disks_class_of(f);
	bool fresh = class == DISKS_BLANK || class == DISKS_SIGNED || class == DISKS_OTHER_TABLE;
	struct disks_layout l = { 0 };
	struct rouse_err e = { 0 };

	if (!d->partitions.n || f->size <= 0 ||
	    disks_layout(o->conf, d, f, fresh, root, o->arena, &l, &e) < 0)
		return; /* plan() says why */
	if (!fresh && !disks_is_ours(o->conf, d, f) && l.n_matched == 0 &&
	    disks_layout(o->conf, d, f, true, root, o->arena, &l, &e) < 0)
		return;
	add_pending(disk, &l);
}

/* Mounting takes CAP_SYS_ADMIN, growing ext4 CAP_SYS_RESOURCE: containers often have one of them. */
static bool may_grow(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	return syscall(SYS_capget, &header, data) == 0 &&
	       (data[0].effective & 1u << CAP_SYS_ADMIN) &&
	       (data[0].effective & 1u << CAP_SYS_RESOURCE);
}

static void add_missing(json_t *facts)
{
	static const char *const tools[] = {
		"lvm", "mdadm", "cryptsetup", "veritysetup", "systemd-cryptenroll", NULL
	};
	json_t *list = json_array();
	char path[256];

	for (const char *const *w = disks_filesystem_words; *w; w++) {
		const char *program = disks_filesystem_find(*w)->program;

		if (program && !rouse_proc_find(program, NULL, path, sizeof(path)))
			rouse_json_append(list, json_string(program));
	}
	for (const char *const *tool = tools; *tool; tool++)
		if (!rouse_proc_find(*tool, NULL, path, sizeof(path)))
			rouse_json_append(list, json_string(*tool));
	rouse_json_set(facts, "missing", list);
	rouse_json_set_bool(facts, "canMount",
			    access("/dev/loop-control", W_OK) == 0 && may_grow());
}

int disks_observe(const void *conf_, const struct rouse_context *c, json_t *facts,
		  struct rouse_err *e unused_arg)
{
	const struct disks_conf *conf = conf_;
	auto_arena struct rouse_arena arena = { 0 };
	struct observer o = { .conf = conf, .c = c, .arena = &arena, .disks = json_array() };
	struct disks_found found[ROUSE_MAX_DISKS] = { { 0 } };
	const struct disks_disk *d = conf->disks.items;
	struct disks_facts all;

	rouse_json_set(facts, "disks", o.disks);
	add_missing(facts);
	disks_fstab_observe(c, facts);
	if (c->image && !c->disks.n)
		return 0;
	o.ours = disks_our_guids(conf, &arena);
	if (!scan_until_found(&o, &all, found))
		return 0; /* plan() refuses, and says which */
	disks_md_observe(c, facts);
	disks_crypt_observe(facts);
	disks_lvm_observe(c, facts);
	for (size_t i = 0; i < conf->disks.n; i++)
		for (size_t k = 0; k < found[i].n; k++)
			look_at_free_space(
				&o, &d[i], found[i].all[k],
				json_array_get(
					o.disks,
					(size_t)(found[i].all[k] -
						 (const struct disks_fact *)all.disks.items)));
	return 0;
}
