/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/fallback.h>

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/init.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/text.h>

#include "write.h"

/* An array, a volume group in it, an encrypted volume of that, and as much again. */
#define MAX_DEPTH 8
#define OPENED "fallback" /* names of volumes that were opened here */

/* A system that was healthy once left these below its root. */
static const char *const traces[] = { "var/lib/rouse/document.json",
				      "nix/var/nix/profiles/system" };

struct candidate {
	const char *baked; /* or this store path; may be NULL */
	size_t n;
	char node[128], type[32];
	char damaged[128]; /* a node on which nobody can look for one */
	const char *checker;
	size_t n_tried, n_opened;                /* UUIDs of what was opened, or could not be */
	char tried[ROUSE_MAX_MACHINE_DISKS][40]; /* those of LVM have 38 characters */
};

static bool is_new(struct candidate *found, const char *uuid)
{
	for (size_t i = 0; i < found->n_tried; i++)
		if (rouse_streq(found->tried[i], uuid))
			return false;
	if (!uuid || strlen(uuid) >= sizeof(found->tried[0]) ||
	    found->n_tried == ARRAY_SIZE(found->tried))
		return false;
	(void)snprintf(found->tried[found->n_tried++], sizeof(found->tried[0]), "%s", uuid);
	return true;
}

/* ---- a filesystem with a system --------------------------------------------------------------- */

/* A mount with no place in any tree; -1 with errno. */
static int mount_at_fd(const char *node, const char *type, bool read_only)
{
	auto_fd int fs = fsopen(type, FSOPEN_CLOEXEC);

	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "source", node, 0) < 0 ||
	    (read_only && fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0) ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -1;
	return fsmount(fs, FSMOUNT_CLOEXEC, read_only ? MOUNT_ATTR_RDONLY : 0);
}

static bool holds_traces(int fd, const char *baked)
{
	struct stat st;

	if (baked && fstatat(fd, baked + 1, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(traces); i++)
		if (fstatat(fd, traces[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
			return false;
	return true;
}

static bool has_traces(const char *node, const char *type, const char *baked)
{
	auto_fd int fd = mount_at_fd(node, type, true);

	return fd >= 0 && holds_traces(fd, baked);
}

static void look_at_node(const char *node, const json_t *content, struct candidate *found)
{
	const json_t *list = json_object_get(content, "signatures");
	const char *type = json_string_value(json_object_get(json_array_get(list, 0), "type"));
	const struct disks_filesystem *fs = type ? disks_filesystem_find(type) : NULL;
	struct rouse_err e = { 0 };

	if (!fs || fs->swap || json_array_size(list) != 1)
		return;
	for (size_t i = 0; fs->modules[i]; i++)
		if (rouse_kmod_load(fs->modules[i], &e) < 0)
			rouse_log(ROUSE_LOG_DEBUG, "fallback", "%s", e.text);
	if (fs->checker && json_is_true(json_object_get(json_array_get(list, 0), "damaged"))) {
		(void)snprintf(found->damaged, sizeof(found->damaged), "%s", node);
		found->checker = fs->checker;
	}
	if (!has_traces(node, type, found->baked))
		return;
	if (found->n++ == 0) {
		(void)snprintf(found->node, sizeof(found->node), "%s", node);
		(void)snprintf(found->type, sizeof(found->type), "%s", type);
	}
}

static void look_at_entry(const char *disk, const json_t *entry, struct candidate *found)
{
	char node[128];

	if (!rouse_streq(json_string_value(json_object_get(entry, "type")),
			 disks_type_guid("root")))
		return;
	(void)disks_node(disk, (unsigned)json_integer_value(json_object_get(entry, "number")), node,
			 sizeof(node));
	look_at_node(node, json_object_get(entry, "content"), found);
}

static bool is_made_by_rouse(const json_t *group)
{
	const json_t *tag;
	size_t i;

	json_array_foreach (json_object_get(group, "tags"), i, tag)
		if (rouse_streq(json_string_value(tag), DISKS_GROUP_TAG))
			return json_integer_value(json_object_get(group, "missing")) == 0;
	return false;
}

static void look_at_group(const json_t *group, struct candidate *found)
{
	const json_t *item;
	size_t i;

	json_array_foreach (json_object_get(group, "volumes"), i, item) {
		auto_free char *node = rouse_asprintf(
			"/dev/%s/%s", json_string_value(json_object_get(group, "name")),
			json_string_value(json_object_get(item, "name")));

		look_at_node(node, json_object_get(item, "content"), found);
	}
}

/* True when its volumes are active now. */
static bool activate(const json_t *group)
{
	const struct rouse_context c = { .initramfs = true };
	const char *devices[ROUSE_MAX_MEMBERS + 1] = { NULL };
	const struct disks_action a = { .group = json_string_value(json_object_get(group, "name")),
					.devices = devices };
	struct rouse_err e = { 0 };
	const json_t *item;
	size_t i;

	json_array_foreach (json_object_get(group, "physical"), i, item)
		if (i < ROUSE_MAX_MEMBERS)
			devices[i] = json_string_value(json_object_get(item, "device"));
	if (disks_lvm_apply(DISKS_OP_ACTIVATE, &a, &c, &e) == 0)
		return true;
	rouse_log(ROUSE_LOG_WARNING, "fallback", "%s, ignoring", e.text);
	return false;
}

static bool activate_all(const json_t *facts, struct candidate *found)
{
	const json_t *group;
	bool more = false;
	size_t i;

	json_array_foreach (json_object_get(facts, "groups"), i, group)
		if (is_made_by_rouse(group) &&
		    is_new(found, json_string_value(json_object_get(group, "uuid"))))
			more |= activate(group);
	return more;
}

/* ---- encrypted volumes ------------------------------------------------------------------------ */

/* The UUID of the LUKS volume that is there, NULL: none. */
static const char *luks_of(const json_t *content)
{
	const json_t *list = json_object_get(content, "signatures");
	const json_t *s = json_array_get(list, 0);

	if (json_array_size(list) != 1 ||
	    !rouse_streq(json_string_value(json_object_get(s, "type")), "crypto_LUKS") ||
	    rouse_streq(json_string_value(json_object_get(s, "label")), DISKS_PENDING_LABEL))
		return NULL;
	return json_string_value(json_object_get(s, "uuid"));
}

static bool is_open(const json_t *facts, const char *uuid)
{
	const json_t *m;
	size_t i;

	json_array_foreach (json_object_get(facts, "mappings"), i, m)
		if (rouse_streq(json_string_value(json_object_get(m, "uuid")), uuid))
			return true;
	return false;
}

static bool unlock(const json_t *facts, const char *node, const json_t *content,
		   struct candidate *found)
{
	const char *uuid = luks_of(content);
	struct rouse_err e = { 0 };
	char name[32];

	if (!node || !uuid || is_open(facts, uuid) || !is_new(found, uuid))
		return false;
	(void)snprintf(name, sizeof(name), OPENED "%zu", found->n_opened);
	if (disks_unlock(node, name, &e) < 0) {
		rouse_log(ROUSE_LOG_WARNING, "fallback", "%s, ignoring", e.text);
		return false;
	}
	found->n_opened++;
	return true;
}

/* True when one more volume is open. */
static bool unlock_all(const json_t *facts, struct candidate *found)
{
	const json_t *one, *part;
	bool more = false;
	size_t i, k;

	json_array_foreach (json_object_get(facts, "disks"), i, one) {
		more |= unlock(facts, json_string_value(json_object_get(one, "device")),
			       json_object_get(one, "content"), found);
		json_array_foreach (json_object_get(one, "partitions"), k, part)
			more |= unlock(facts, json_string_value(json_object_get(part, "device")),
				       json_object_get(part, "content"), found);
	}
	json_array_foreach (json_object_get(facts, "arrays"), i, one)
		more |= unlock(facts, json_string_value(json_object_get(one, "device")),
			       json_object_get(one, "content"), found);
	json_array_foreach (json_object_get(facts, "groups"), i, one)
		json_array_foreach (json_object_get(one, "volumes"), k, part) {
			auto_free char *node = rouse_asprintf(
				"/dev/%s/%s", json_string_value(json_object_get(one, "name")),
				json_string_value(json_object_get(part, "name")));

			if (json_is_true(json_object_get(part, "active")))
				more |= unlock(facts, node, json_object_get(part, "content"),
					       found);
		}
	return more;
}

/* What was opened on the way, and holds nothing of what is booted. */
static void lock_others(const struct candidate *found)
{
	for (size_t i = 0; i < found->n_opened; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), OPENED "%zu", i);
		disks_lock(name);
	}
}

/* ---- where the root is ------------------------------------------------------------------------ */

/* The boot may have mounted it before it failed. */
static bool is_there_already(const char *root, const char *baked)
{
	auto_free char *above = rouse_asprintf("%s/..", root);
	auto_fd int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat st, up;

	if (fd < 0 || fstat(fd, &st) < 0 || stat(above, &up) < 0 || st.st_dev == up.st_dev)
		return false;
	return holds_traces(fd, baked);
}

/* Members of one array, by its UUID. */
struct members {
	const char *uuid, *devices[ROUSE_MAX_ARRAY + 1];
	size_t n;
};

static void add_member(struct members *all, size_t *n, const char *node, const json_t *content)
{
	const json_t *s;
	size_t i, k;

	json_array_foreach (json_object_get(content, "signatures"), i, s) {
		const char *uuid = json_string_value(json_object_get(s, "uuid"));

		if (!node || !uuid ||
		    !rouse_streq(json_string_value(json_object_get(s, "type")),
				 "linux_raid_member"))
			continue;
		for (k = 0; k < *n && strcmp(all[k].uuid, uuid) != 0; k++)
			;
		if (k == ROUSE_MAX_GROUPS)
			return;
		*n += k == *n;
		all[k].uuid = uuid;
		if (all[k].n < ROUSE_MAX_ARRAY)
			all[k].devices[all[k].n++] = node;
	}
}

static bool runs(const json_t *facts, const char *uuid)
{
	const json_t *array;
	size_t i;

	json_array_foreach (json_object_get(facts, "arrays"), i, array)
		if (rouse_streq(json_string_value(json_object_get(array, "uuid")), uuid))
			return true;
	return false;
}

/* Starts arrays that have what they had when they last ran. True when there is one more. */
static bool assemble(const json_t *facts)
{
	const struct rouse_context c = { .initramfs = true };
	struct members all[ROUSE_MAX_GROUPS] = { 0 };
	const json_t *disk, *entry;
	size_t n = 0, i, k;
	bool more = false;

	json_array_foreach (json_object_get(facts, "disks"), i, disk) {
		add_member(all, &n, json_string_value(json_object_get(disk, "device")),
			   json_object_get(disk, "content"));
		json_array_foreach (json_object_get(disk, "partitions"), k, entry)
			add_member(all, &n, json_string_value(json_object_get(entry, "device")),
				   json_object_get(entry, "content"));
	}
	for (i = 0; i < n; i++) {
		auto_free char *node = rouse_asprintf("%sfallback%zu", DISKS_ARRAY_DIR, i);
		const struct disks_action a = { .source = node,
						.array_uuid = all[i].uuid,
						.devices = all[i].devices,
						.level = DISKS_ANY_LEVEL };
		struct rouse_err e = { 0 };

		if (runs(facts, all[i].uuid))
			continue;
		if (disks_md_apply(DISKS_OP_ASSEMBLE, &a, &c, &e) < 0)
			rouse_log(ROUSE_LOG_WARNING, "fallback", "%s, ignoring", e.text);
		else
			more = true;
	}
	return more;
}

static int look(const struct rouse_context *c, struct candidate *found, struct rouse_err *e)
{
	const struct disks_conf none = { 0 };
	auto_json json_t *facts = json_object();
	static const char *const nodes[] = { "arrays", "mappings" };
	const json_t *disk, *entry, *group, *one;
	size_t i, k, depth = 0;

	for (bool more = true; more && depth < MAX_DEPTH; depth++) {
		json_object_clear(facts);
		if (disks_observe(&none, c, facts, e) < 0)
			return -1;
		more = assemble(facts) || activate_all(facts, found) || unlock_all(facts, found);
	}
	for (k = 0; k < ARRAY_SIZE(nodes); k++)
		json_array_foreach (json_object_get(facts, nodes[k]), i, one)
			look_at_node(json_string_value(json_object_get(one, "device")),
				     json_object_get(one, "content"), found);
	json_array_foreach (json_object_get(facts, "disks"), i, disk)
		json_array_foreach (json_object_get(disk, "partitions"), k, entry)
			look_at_entry(json_string_value(json_object_get(disk, "device")), entry,
				      found);
	json_array_foreach (json_object_get(facts, "groups"), i, group)
		if (is_made_by_rouse(group))
			look_at_group(group, found);
	return 0;
}

static int refuse(const struct candidate *found, struct rouse_err *e)
{
	if (!found->n && found->checker)
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "no root partition holds a system that rouse made, but '%s' is "
				  "damaged: run '%s' on it",
				  found->damaged, found->checker);
	return rouse_fail(e, ROUSE_SYSTEM, 0, "%s root partition holds a system that rouse made",
			  found->n ? "more than one" : "no");
}

int rouse_fallback_mount(const char *root, const char *baked, uint64_t deadline,
			 struct rouse_err *e)
{
	const struct rouse_context c = { .root = root };
	struct candidate found = { .baked = baked };
	auto_fd int fd = -1;
	int why = 0;

	if (is_there_already(root, baked))
		return 0;
	if (look(&c, &found, e) < 0)
		return -1;
	while (!found.n && rouse_clock_left(deadline)) {
		rouse_clock_sleep_until(rouse_clock_ms() + ROUSE_DEVICES_QUIET);
		if (look(&c, &found, e) < 0)
			return -1;
	}
	if (found.n == 1)
		fd = mount_at_fd(found.node, found.type, false), why = errno;
	lock_others(&found);
	if (found.n != 1)
		return refuse(&found, e);
	if (fd < 0)
		return rouse_fail(e, ROUSE_SYSTEM, why, "cannot mount '%s' (%s)", found.node,
				  found.type);
	if (mkdir(root, 0755) < 0 && errno != EEXIST)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make '%s'", root);
	if (move_mount(fd, "", AT_FDCWD, root, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot mount '%s' at '%s'", found.node,
				  root);
	return 0;
}
