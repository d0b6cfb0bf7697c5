/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LVM, by lvm(8): what it reports (JSON), and its commands. Every command is told its devices, is
 * asked nothing ("-y" is never said), and ends by a deadline. Volumes that are not active are read
 * through what they stand on, so that observing changes nothing, not even in the kernel.
 */
#include "write.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/init.h>
#include <rouse/json.h>
#include <rouse/log.h>
#include <rouse/proc.h>
#include <rouse/text.h>

#define MAX_ARGS 40

/* No devices but those that are named, nothing written below /etc, no daemons; and where no udev
 * runs, lvm makes its nodes itself. */
static const char config[] =
	"devices{obtain_device_list_from_udev=0 external_device_info_source=\"none\" "
	"data_alignment_detection=0 md_chunk_alignment=0} "
	"activation{monitoring=0} backup{backup=0 archive=0} "
	"global{use_lvmpolld=0 event_activation=0 locking_dir=\"/run/lock/lvm\"}";
static const char config_without_udev[] = " activation{udev_sync=0 udev_rules=0}";

struct command {
	const char *argv[MAX_ARGS];
	size_t n;
	struct rouse_arena arena;
};

static void add(struct command *c, const char *arg)
{
	if (c->n + 1 < MAX_ARGS)
		c->argv[c->n++] = arg;
}

static void begin(struct command *c, const char *verb, const char *devices)
{
	bool udev = access("/run/udev/control", F_OK) == 0;

	*c = (struct command){ 0 };
	add(c, "lvm");
	add(c, verb);
	add(c, "--devices");
	add(c, devices);
	add(c, "--config");
	add(c, rouse_arena_printf(&c->arena, "%s%s", config, udev ? "" : config_without_udev));
}

static int run(struct command *c, uint64_t limit, struct rouse_buf *out, int *status,
	       struct rouse_err *e)
{
	static const char *const env[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C",
					   "LVM_SUPPRESS_FD_WARNINGS=1", NULL };
	uint64_t deadline = rouse_clock_ms() + ROUSE_DEADLINE_LVM;
	const struct rouse_proc proc = { .argv = c->argv,
					 .env = env,
					 .deadline = limit && limit < deadline ? limit : deadline };
	int r;

	(void)mkdir("/run/lock", 0755); /* lvm makes the last one itself; what fails shows there */
	(void)mkdir("/run/lock/lvm", 0700);
	r = rouse_proc_run(&proc, status, out, e);
	rouse_arena_done(&c->arena);
	return r;
}

static int check(struct command *c, uint64_t limit, struct rouse_err *e)
{
	auto_buf struct rouse_buf out = { 0 };
	const char *verb = c->argv[1], *line;
	int status = 0;

	if (run(c, limit, &out, &status, e) < 0)
		return -1;
	if (status == 0)
		return 0;
	while (out.len && (out.data[out.len - 1] == '\n' || out.data[out.len - 1] == ' '))
		out.data[--out.len] = '\0';
	line = out.len ? strrchr(out.data, '\n') : NULL;
	line = line ? line + 1 : out.len ? out.data : "it said nothing";
	return rouse_fail(e, ROUSE_SYSTEM, 0, "'lvm %s' ended with status %d: %s", verb, status,
			  line + strspn(line, " "));
}

/* ---- observing ------------------------------------------------------------------------------- */

static bool is_physical(const json_t *content)
{
	const json_t *list = json_object_get(content, "signatures");

	return json_array_size(list) == 1 &&
	       rouse_streq(json_string_value(json_object_get(json_array_get(list, 0), "type")),
			   "LVM2_member");
}

static void list_physical(const json_t *disks, struct rouse_buf *out)
{
	const json_t *disk, *entry;
	size_t i, k;

	json_array_foreach ((json_t *)disks, i, disk) {
		const char *node = json_string_value(json_object_get(disk, "device"));

		if (is_physical(json_object_get(disk, "content")) &&
		    !json_is_true(json_object_get(disk, "file")))
			rouse_buf_printf(out, "%s%s", out->len ? "," : "", node);
		json_array_foreach (json_object_get(disk, "partitions"), k, entry) {
			node = json_string_value(json_object_get(entry, "device"));
			if (node && is_physical(json_object_get(entry, "content")))
				rouse_buf_printf(out, "%s%s", out->len ? "," : "", node);
		}
	}
}

/* Arrays, and other devices that hold only one thing. */
static void list_nodes(const json_t *nodes, struct rouse_buf *out)
{
	const json_t *node;
	size_t i;

	json_array_foreach ((json_t *)nodes, i, node)
		if (is_physical(json_object_get(node, "content")))
			rouse_buf_printf(out, "%s%s", out->len ? "," : "",
					 json_string_value(json_object_get(node, "device")));
}

/* Warnings stand between the lines of a report: those that cannot be its own are left out. */
static json_t *parse_report(const struct rouse_buf *out)
{
	auto_buf struct rouse_buf text = { 0 };

	for (const char *s = out->len ? out->data : ""; *s;) {
		size_t n = strcspn(s, "\n"), blanks = strspn(s, " ");

		if (blanks < n && strchr("{}[],\"", s[blanks]))
			rouse_buf_printf(&text, "%.*s\n", (int)n, s);
		s += n + (s[n] == '\n');
	}
	return text.len ? json_loads(text.data, 0, NULL) : NULL;
}

static int report(const char *devices, uint64_t deadline, json_t **ret, struct rouse_err *e)
{
	static const char *const columns[][2] = {
		{ "vg", "vg_name,vg_uuid,vg_extent_size,vg_missing_pv_count,vg_tags" },
		{ "pv", "pv_name,pe_start,pv_pe_count,pv_pe_alloc_count" },
		{ "lv", "lv_name,lv_size,lv_active,lv_tags,lv_layout" },
		{ "seg", "lv_name,seg_start_pe,seg_pe_ranges,seg_size_pe" },
		{ "pvseg", "pvseg_start" },
	};
	auto_buf struct rouse_buf out = { 0 };
	struct command c;
	int status = 0;

	begin(&c, "fullreport", devices);
	add(&c, "--reportformat");
	add(&c, "json");
	add(&c, "--units");
	add(&c, "b");
	add(&c, "--nosuffix");
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
		add(&c, "--configreport");
		add(&c, columns[i][0]);
		add(&c, "-o");
		add(&c, columns[i][1]);
	}
	if (run(&c, deadline, &out, &status, e) < 0)
		return -1;
	*ret = parse_report(&out); /* what is missing makes the status differ from 0 */
	if (!*ret)
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "lvm reports nothing that can be read: %.200s",
				  out.len ? out.data : "");
	return 0;
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static uint64_t number_of(const json_t *o, const char *key)
{
	uint64_t n = 0;

	return rouse_parse_u64(text_of(o, key), INT64_MAX, &n) ? n : 0;
}

static void set_tags(json_t *to, const char *tags)
{
	json_t *list = json_array();

	while (*tags) {
		size_t n = strcspn(tags, ",");

		rouse_json_append(list, json_stringn(tags, n));
		tags += n + (tags[n] == ',');
	}
	rouse_json_set(to, "tags", list);
}

static json_t *read_range(const char *node, uint64_t offset, uint64_t size, const char *sys_name)
{
	auto_fd int fd = open(node, O_RDONLY | O_CLOEXEC);
	struct rouse_err e = { 0 };
	json_t *content = NULL;
	int sector = 512;

	if (fd < 0 || ioctl(fd, BLKSSZGET, &sector) < 0 ||
	    (!size && ioctl(fd, BLKGETSIZE64, &size) < 0) ||
	    disks_content_read(fd, offset, size, (uint64_t)sector, &content, &e) < 0)
		return NULL;
	if (sys_name)
		disks_usage_of(sys_name, content);
	return content;
}

/* The first segment holds what tells a filesystem: "/dev/vda2:0-9". */
static json_t *read_inactive(const json_t *group, const char *volume, uint64_t extent)
{
	const json_t *seg, *pv;
	size_t i, k;

	json_array_foreach (json_object_get(group, "seg"), i, seg) {
		const char *range = text_of(seg, "seg_pe_ranges"), *colon = strrchr(range, ':');
		uint64_t first = colon ? strtoull(colon + 1, NULL, 10) : 0;

		if (!colon || strchr(range, ' ') || !rouse_streq(text_of(seg, "lv_name"), volume) ||
		    number_of(seg, "seg_start_pe"))
			continue;
		json_array_foreach (json_object_get(group, "pv"), k, pv) {
			const char *node = text_of(pv, "pv_name");

			if (strlen(node) == (size_t)(colon - range) &&
			    strncmp(node, range, strlen(node)) == 0)
				return read_range(node, number_of(pv, "pe_start") + first * extent,
						  number_of(seg, "seg_size_pe") * extent, NULL);
		}
	}
	return NULL;
}

static json_t *read_active(const char *group, const char *volume)
{
	auto_free char *node = rouse_asprintf("/dev/%s/%s", group, volume);
	auto_free char *link = NULL, *real = NULL;
	struct stat st;

	if (strchr(volume, '/') || stat(node, &st) < 0) /* lvm shows what its metadata says */
		return NULL;
	/* Without udev the node has the volume's name, and not the kernel's. */
	link = rouse_asprintf("/sys/dev/block/%u:%u", major(st.st_rdev), minor(st.st_rdev));
	real = realpath(link, NULL);
	return real ? read_range(node, 0, 0, strrchr(real, '/') + 1) : NULL;
}

static json_t *volume_of(const json_t *group, const char *name, const json_t *lv, uint64_t extent)
{
	bool active = rouse_streq(text_of(lv, "lv_active"), "active");
	const char *volume = text_of(lv, "lv_name");
	json_t *v = json_object();
	json_t *content = active ? read_active(name, volume) : read_inactive(group, volume, extent);

	rouse_json_set_string(v, "name", volume);
	rouse_json_set_string(v, "layout", text_of(lv, "lv_layout"));
	rouse_json_set_int(v, "size", number_of(lv, "lv_size"));
	rouse_json_set_bool(v, "active", active);
	set_tags(v, text_of(lv, "lv_tags"));
	if (content)
		rouse_json_set(v, "content", content);
	return v;
}

static json_t *group_of(const json_t *report_)
{
	const json_t *vg = json_array_get(json_object_get(report_, "vg"), 0), *item;
	json_t *g = json_object(), *physical = json_array(), *volumes = json_array();
	uint64_t extent = number_of(vg, "vg_extent_size");
	size_t i;

	rouse_json_set_string(g, "name", text_of(vg, "vg_name"));
	rouse_json_set_string(g, "uuid", text_of(vg, "vg_uuid"));
	rouse_json_set_int(g, "extent", extent);
	rouse_json_set_int(g, "missing", number_of(vg, "vg_missing_pv_count"));
	set_tags(g, text_of(vg, "vg_tags"));
	json_array_foreach (json_object_get(report_, "pv"), i, item) {
		json_t *p = json_object();

		rouse_json_set_string(p, "device", text_of(item, "pv_name"));
		rouse_json_set_int(p, "start", number_of(item, "pe_start"));
		rouse_json_set_int(p, "extents", number_of(item, "pv_pe_count"));
		rouse_json_set_int(p, "allocated", number_of(item, "pv_pe_alloc_count"));
		rouse_json_append(physical, p);
	}
	json_array_foreach (json_object_get(report_, "lv"), i, item)
		rouse_json_append(volumes,
				  volume_of(report_, text_of(vg, "vg_name"), item, extent));
	rouse_json_set(g, "physical", physical);
	rouse_json_set(g, "volumes", volumes);
	return g;
}

void disks_lvm_observe(const struct rouse_context *c, json_t *facts)
{
	json_t *groups = json_array(), *orphans = json_array();
	auto_buf struct rouse_buf devices = { 0 };
	auto_json json_t *all = NULL;
	struct rouse_err e = { 0 };
	const json_t *r, *pv;
	size_t i, k;

	rouse_json_set(facts, "groups", groups);
	rouse_json_set(facts, "orphans", orphans);
	list_physical(json_object_get(facts, "disks"), &devices);
	list_nodes(json_object_get(facts, "arrays"), &devices);
	list_nodes(json_object_get(facts, "mappings"), &devices);
	if (!devices.len)
		return;
	/* Without it, nobody knows which volumes are active. */
	if (access("/dev/mapper/control", F_OK) < 0 && rouse_kmod_load("dm-mod", &e) < 0)
		rouse_log(ROUSE_LOG_DEBUG, "disks", "%s", e.text);
	if (report(devices.data, c->deadline, &all, &e) < 0) {
		rouse_log(ROUSE_LOG_WARNING, "disks", "%s, ignoring", e.text);
		return; /* plan() refuses what it knows no group of */
	}
	json_array_foreach (json_object_get(all, "report"), i, r) {
		if (json_array_size(json_object_get(r, "vg"))) {
			rouse_json_append(groups, group_of(r));
			continue;
		}
		json_array_foreach (json_object_get(r, "pv"), k, pv)
			rouse_json_append(orphans, json_string(text_of(pv, "pv_name")));
	}
}

/* ---- applying -------------------------------------------------------------------------------- */

static const char *join(struct rouse_arena *arena, const char *const *devices)
{
	const char *s = "";

	for (; *devices; devices++)
		s = rouse_arena_printf(arena, "%s%s%s", s, *s ? "," : "", *devices);
	return s;
}

static int make_group(const struct disks_action *a, uint64_t deadline, struct rouse_err *e)
{
	const char *const *new = a->devices;
	struct command c;

	while (*new)
		new ++;
	new -= a->n_new;
	for (size_t i = 0; i < a->n_new; i++)
		if (disks_physical_prepare(new[i], a->marks_of_new[i], deadline, e) < 0)
			return -1;
	begin(&c, a->extends ? "vgextend" : "vgcreate", "");
	c.argv[3] = join(&c.arena, a->devices);
	if (!a->extends) {
		add(&c, "--addtag");
		add(&c, DISKS_GROUP_TAG);
		add(&c, "--physicalextentsize");
		add(&c, "4m");
	}
	add(&c, "--dataalignment");
	add(&c, "1m");
	add(&c, a->group);
	for (size_t i = 0; i < a->n_new; i++)
		add(&c, new[i]);
	if (check(&c, deadline, e) < 0)
		return -1;
	for (size_t i = 0; i < a->n_new; i++)
		if (disks_physical_finish(new[i], e) < 0)
			return -1;
	return 0;
}

static int on_devices(const struct disks_action *a, const char *verb, const char *const *args,
		      uint64_t deadline, struct rouse_err *e)
{
	struct command c;

	begin(&c, verb, "");
	c.argv[3] = join(&c.arena, a->devices);
	for (; *args; args++)
		add(&c, *args);
	return check(&c, deadline, e);
}

/* A new volume is not looked at by lvm: what its extents held before is nobody's, and is erased
 * when its filesystem is made. */
static int make_volume(const struct disks_action *a, uint64_t deadline, struct rouse_err *e)
{
	const char *name = strrchr(a->volume, '/') + 1;
	char extents[32] = "100%FREE", bytes[32];
	const char *grow[] = { "-l", extents, a->volume, NULL };
	const char *thin[] = {
		"--type",     "thin",  "-V", bytes, "-Wn",    "--addtag", DISKS_PENDING_TAG,
		"--thinpool", a->pool, "-n", name,  a->group, NULL
	};
	const char *make[MAX_ARGS] = { "-l", extents, "-n", name, a->group };
	size_t n = 5;

	if (a->extents)
		(void)snprintf(extents, sizeof(extents), "%llu", (unsigned long long)a->extents);
	else if (a->extends)
		(void)snprintf(extents, sizeof(extents), "+100%%FREE");
	(void)snprintf(bytes, sizeof(bytes), "%llub", (unsigned long long)a->length);
	if (a->extends)
		return on_devices(a, "lvextend", grow, deadline, e);
	if (a->pool)
		return on_devices(a, "lvcreate", thin, deadline, e);
	for (size_t i = 0; a->arguments && a->arguments[i] && n + 1 < ARRAY_SIZE(make); i++)
		make[n++] = a->arguments[i];
	return on_devices(a, "lvcreate", make, deadline, e);
}

/* What is built in, what the system loads on its own, and what the initramfs was not given because no
 * volume needs it, cannot be loaded. */
static int load_modules(struct rouse_err *e)
{
	static const char *const modules[] = { "dm-mod", "dm-mirror", "dm-raid", "dm-thin-pool",
					       NULL };

	return rouse_kmod_load_all(modules, e);
}

int disks_lvm_apply(unsigned op, const struct disks_action *a, const struct rouse_context *c,
		    struct rouse_err *e)
{
	const char *const activate[] = { "-ay", a->group, NULL };
	const char *const resize[] = { a->source, NULL };
	const char *const finish[] = { "--deltag", DISKS_PENDING_TAG, a->volume, NULL };

	if (c->initramfs && load_modules(e) < 0)
		return -1;
	switch (op) {
	case DISKS_OP_ACTIVATE:
		return on_devices(a, "vgchange", activate, c->deadline, e);
	case DISKS_OP_GROUP:
		return make_group(a, c->deadline, e);
	case DISKS_OP_FINISH_PHYSICAL:
		return disks_physical_finish(a->source, e);
	case DISKS_OP_PHYSICAL:
		return on_devices(a, "pvresize", resize, c->deadline, e);
	case DISKS_OP_VOLUME:
		return make_volume(a, c->deadline, e);
	case DISKS_OP_FINISH:
		return on_devices(a, "lvchange", finish, c->deadline, e);
	default:
		break;
	}
	return rouse_fail(e, ROUSE_BUG, 0, "step %u is not one of LVM", op);
}
