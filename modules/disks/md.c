/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays, as sysfs shows them, and by mdadm(8). */
#include "write.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/init.h>
#include <rouse/json.h>
#include <rouse/log.h>
#include <rouse/proc.h>
#include <rouse/text.h>

#define MAX_ARGS (ROUSE_MAX_ARRAY + 24)

AUTO_DEFINE(DIR *, dir, (void)closedir, NULL)

/* ---- observing ------------------------------------------------------------------------------- */

static bool line_of(const char *md, const char *file, char *buf, size_t size)
{
	auto_free char *path = rouse_asprintf("/sys/block/%s/%s", md, file);

	return rouse_read_line(path, buf, size);
}

static uint64_t number_of(const char *md, const char *file, uint64_t unit)
{
	char line[64];
	uint64_t n = 0;

	return line_of(md, file, line, sizeof(line)) && rouse_parse_u64(line, INT64_MAX / unit, &n)
		       ? n * unit
		       : 0;
}

static const char *uuid_in(const json_t *content)
{
	const json_t *s;
	size_t i;

	json_array_foreach (json_object_get(content, "signatures"), i, s)
		if (rouse_streq(json_string_value(json_object_get(s, "type")), "linux_raid_member"))
			return json_string_value(json_object_get(s, "uuid"));
	return NULL;
}

/* Of the array that this device is a member of, as its superblock says. */
static const char *uuid_on(const json_t *disks, const char *node)
{
	const json_t *disk, *entry;
	size_t i, k;

	json_array_foreach ((json_t *)disks, i, disk) {
		if (rouse_streq(json_string_value(json_object_get(disk, "device")), node))
			return uuid_in(json_object_get(disk, "content"));
		json_array_foreach (json_object_get(disk, "partitions"), k, entry)
			if (rouse_streq(json_string_value(json_object_get(entry, "device")), node))
				return uuid_in(json_object_get(entry, "content"));
	}
	return NULL;
}

static void add_members(const char *md, const json_t *disks, json_t *array)
{
	auto_free char *path = rouse_asprintf("/sys/block/%s/slaves", md);
	auto_of(dir) DIR *dir = opendir(path);
	json_t *list = json_array();
	struct dirent *d;

	while (dir && (d = readdir(dir))) {
		auto_free char *node = rouse_asprintf("/dev/%s", d->d_name);
		auto_free char *offset = rouse_asprintf("md/dev-%s/offset", d->d_name);
		json_t *member;

		if (d->d_name[0] == '.')
			continue;
		member = json_object();
		rouse_json_set_string(member, "device", node);
		rouse_json_set_int(member, "offset", number_of(md, offset, 512));
		rouse_json_append(list, member);
		if (!json_object_get(array, "uuid"))
			rouse_json_set_string(array, "uuid", uuid_on(disks, node));
	}
	rouse_json_set(array, "members", list);
}

static json_t *read_array(const char *md, const json_t *disks)
{
	auto_free char *node = rouse_asprintf("/dev/%s", md);
	json_t *array = json_object(), *content = NULL;
	auto_fd int fd = open(node, O_RDONLY | O_CLOEXEC);
	uint64_t size = 0;
	char line[64] = "";
	struct rouse_err e = { 0 };
	int sector = 512;
	bool active;

	rouse_json_set_string(array, "device", node);
	if (line_of(md, "md/level", line, sizeof(line)))
		rouse_json_set_string(array, "level", line);
	rouse_json_set_int(array, "devices", number_of(md, "md/raid_disks", 1));
	rouse_json_set_int(array, "degraded", number_of(md, "md/degraded", 1));
	rouse_json_set_int(array, "component", number_of(md, "md/component_size", KIB));
	add_members(md, disks, array);
	active = line_of(md, "md/array_state", line, sizeof(line)) && strcmp(line, "inactive") != 0;
	rouse_json_set_bool(array, "active", active);
	if (active && fd >= 0 && ioctl(fd, BLKGETSIZE64, &size) == 0 &&
	    ioctl(fd, BLKSSZGET, &sector) == 0 &&
	    disks_content_read(fd, 0, size, (uint64_t)sector, &content, &e) == 0) {
		disks_usage_of(md, content);
		rouse_json_set(array, "content", content);
	}
	rouse_json_set_int(array, "size", size);
	return array;
}

/* What is left of an array that was stopped: no devices, no size, no level. */
static bool is_clear(const char *md)
{
	char line[64];

	return line_of(md, "md/array_state", line, sizeof(line)) && strcmp(line, "clear") == 0;
}

void disks_md_observe(const struct rouse_context *c, json_t *facts)
{
	auto_of(dir) DIR *dir = opendir("/sys/block");
	json_t *arrays = json_array(), *array;
	uint64_t degraded = 0;
	struct dirent *d;
	size_t i;

	rouse_json_set(facts, "arrays", arrays);
	while (dir && (d = readdir(dir)))
		if (strncmp(d->d_name, "md", 2) == 0 && !is_clear(d->d_name) &&
		    json_array_size(arrays) < ROUSE_MAX_MACHINE_DISKS)
			rouse_json_append(arrays,
					  read_array(d->d_name, json_object_get(facts, "disks")));
	json_array_foreach (arrays, i, array) {
		if (!json_integer_value(json_object_get(array, "degraded")))
			continue;
		degraded++;
		rouse_log(ROUSE_LOG_WARNING, "disks",
			  "the array '%s' lacks %lld of its %lld devices, ignoring",
			  json_string_value(json_object_get(array, "device")),
			  (long long)json_integer_value(json_object_get(array, "degraded")),
			  (long long)json_integer_value(json_object_get(array, "devices")));
	}
	if (degraded && c->counters)
		rouse_json_set_int(c->counters, "degradedArrays", degraded);
}

/* ---- applying -------------------------------------------------------------------------------- */

struct command {
	const char *argv[MAX_ARGS];
	size_t n;
};

static void add(struct command *c, const char *arg)
{
	if (c->n + 1 < ARRAY_SIZE(c->argv))
		c->argv[c->n++] = arg;
}

/* Where no udev runs, mdadm makes the names below /dev/md itself. */
static int run(const struct command *c, uint64_t limit, struct rouse_err *e)
{
	static const char *const with[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C", NULL };
	static const char *const without[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C",
					       "MDADM_NO_UDEV=1", NULL };
	bool udev = access("/run/udev/control", F_OK) == 0;
	uint64_t deadline = rouse_clock_ms() + ROUSE_DEADLINE_MDADM;
	const struct rouse_proc proc = {
		.argv = c->argv,
		.env = udev ? with : without,
		.deadline = limit && limit < deadline ? limit : deadline,
	};

	return rouse_proc_check(&proc, e);
}

/* "01234567:89ab…", as mdadm takes a UUID. */
static void print_uuid(const char *guid, char ret[static 40])
{
	size_t n = 0, digits = 0;

	for (; *guid && n < 38; guid++) {
		if (*guid == '-')
			continue;
		if (digits && digits % 8 == 0)
			ret[n++] = ':';
		ret[n++] = *guid;
		digits++;
	}
	ret[n] = '\0';
}

static int stop(const char *device, uint64_t deadline, struct rouse_err *e)
{
	const struct command c = { .argv = { "mdadm", "--stop", device } };

	return run(&c, deadline, e);
}

static int assemble(const struct disks_action *a, uint64_t deadline, struct rouse_err *e)
{
	struct command c = { .argv = { "mdadm", "--assemble", a->source }, .n = 3 };
	auto_free char *by = NULL;
	char uuid[40];

	if (a->device && stop(a->device, deadline, e) < 0)
		return -1;
	print_uuid(a->array_uuid, uuid);
	by = rouse_asprintf("--uuid=%s", uuid);
	add(&c, by);
	if (a->degraded) /* else mdadm does not start what has lost a device since it last ran */
		add(&c, "--run");
	for (size_t i = 0; a->devices[i]; i++)
		add(&c, a->devices[i]);
	return run(&c, deadline, e);
}

/* A member is what the plan took it for: it bears our mark, whatever else was left there by a run
 * that was cut off. Its mark is kept until the array is complete. */
static int check_member(const char *node, uint64_t deadline, bool *ret_stale, struct rouse_err *e)
{
	struct disks_target t = { .fd = -1 };
	auto_json json_t *content = NULL;
	auto_fd int fd = -1;
	const json_t *s;
	bool marked = false;
	size_t i;

	if (disks_open_node(node, deadline, &t, e) < 0)
		return -1;
	fd = t.fd;
	if (disks_content_read(fd, 0, t.size, t.sector, &content, e) < 0)
		return -1;
	json_array_foreach (json_object_get(content, "signatures"), i, s)
		marked |= rouse_streq(json_string_value(json_object_get(s, "label")),
				      DISKS_PENDING_LABEL);
	*ret_stale |= uuid_in(content) != NULL;
	if (!marked)
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "'%s' has changed since the plan was made: plan again", node);
	return 0;
}

static int check_members(const struct disks_action *a, uint64_t deadline, struct rouse_err *e)
{
	struct command zero = { .argv = { "mdadm", "--zero-superblock" }, .n = 2 };
	bool stale = false;

	for (size_t i = 0; a->devices[i]; i++) {
		if (check_member(a->devices[i], deadline, &stale, e) < 0)
			return -1;
		add(&zero, a->devices[i]);
	}
	return stale ? run(&zero, deadline, e) : 0;
}

/* The array is complete: its members are no longer pending. With its superblock at the end, the mark
 * was where the array begins, and has gone with what was written there. */
static int unmark_members(const struct disks_action *a, struct rouse_err *e)
{
	for (size_t i = 0; a->offset && a->devices[i]; i++) {
		auto_fd int fd = open(a->devices[i], O_RDWR | O_CLOEXEC);

		if (fd < 0)
			return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s' for writing",
					  a->devices[i]);
		if (disks_zero(fd, 1024, 1024, a->devices[i], e) < 0)
			return -1;
		if (disks_sync(fd, a->devices[i], e) < 0)
			return -1;
	}
	return 0;
}

static int create(const struct disks_action *a, uint64_t deadline, struct rouse_err *e)
{
	struct command c = { .argv = { "mdadm", "--create", a->source, "--run", "--homehost=any" },
			     .n = 5 };
	auto_arena struct rouse_arena arena = { 0 };
	size_t devices = 0;
	char uuid[40];

	if ((a->device && stop(a->device, deadline, e) < 0) || check_members(a, deadline, e) < 0)
		return -1;
	while (a->devices[devices])
		devices++;
	print_uuid(a->array_uuid, uuid);
	add(&c, rouse_arena_printf(&arena, "--name=%s", a->name));
	add(&c, rouse_arena_printf(&arena, "--uuid=%s", uuid));
	add(&c, rouse_arena_printf(&arena, "--level=%u", a->level));
	add(&c, rouse_arena_printf(&arena, "--metadata=%s", a->metadata));
	add(&c, rouse_arena_printf(&arena, "--raid-devices=%zu", devices));
	if (a->offset)
		add(&c, rouse_arena_printf(&arena, "--data-offset=%llu",
					   (unsigned long long)(a->offset / KIB)));
	if (a->chunk)
		add(&c, rouse_arena_printf(&arena, "--chunk=%llu",
					   (unsigned long long)(a->chunk / KIB)));
	if (a->level)
		add(&c, "--bitmap=internal"); /* a crash is followed by a short resync */
	if (devices == 1)
		add(&c, "--force");
	for (size_t i = 0; i < devices; i++)
		add(&c, a->devices[i]);
	if (run(&c, deadline, e) < 0 || disks_mark_inside(a, a->source, deadline, e) < 0)
		return -1;
	return unmark_members(a, e);
}

static int add_member(const struct disks_action *a, uint64_t deadline, struct rouse_err *e)
{
	const struct command c = { .argv = { "mdadm", "--manage", a->device, "--add", a->source } };
	const char *const devices[] = { a->source, NULL };
	const struct disks_action one = { .devices = devices, .offset = 1 };
	bool stale = false;

	/* Without its mark it is blank, and is taken again if this is as far as we come. */
	if (check_member(a->source, deadline, &stale, e) < 0 || unmark_members(&one, e) < 0)
		return -1;
	return run(&c, deadline, e);
}

static int load_modules(unsigned level, struct rouse_err *e)
{
	static const struct {
		unsigned level;
		const char *module;
	} modules[] = {
		{ 0, "raid0" }, { 1, "raid1" }, { 5, "raid456" }, { 6, "raid456" }, { 10, "raid10" }
	};

	if (rouse_kmod_load("md-mod", e) < 0 && e->sys != ENOENT)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(modules); i++)
		if ((modules[i].level == level || level == DISKS_ANY_LEVEL) &&
		    rouse_kmod_load(modules[i].module, e) < 0 && e->sys != ENOENT)
			return -1; /* what a kernel lacks may be built in */
	return 0;
}

int disks_md_apply(unsigned op, const struct disks_action *a, const struct rouse_context *c,
		   struct rouse_err *e)
{
	const struct command grow = { .argv = { "mdadm", "--grow", a->device, "--size=max" } };

	if (c->initramfs && load_modules(a->level, e) < 0)
		return -1;
	switch (op) {
	case DISKS_OP_ASSEMBLE:
		return assemble(a, c->deadline, e);
	case DISKS_OP_ARRAY:
		return create(a, c->deadline, e);
	case DISKS_OP_ADD:
		return add_member(a, c->deadline, e);
	case DISKS_OP_FINISH_ARRAY:
		return unmark_members(a, e);
	case DISKS_OP_GROW_ARRAY:
		return run(&grow, c->deadline, e);
	default:
		return rouse_fail(e, ROUSE_BUG, 0, "step %u is not one of arrays", op);
	}
}
