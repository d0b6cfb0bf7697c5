/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which source a machine has, by what its firmware, disks, ports and files say (tests/cloud/machines.json).
 * Most of the machines are those that cloud-init's own detector is tested with (ds-identify; they were
 * written anew); where rouse finds something else for one of them, the row says why.
 */
#include <rouse/source.h>

#include <rouse/json.h>

#include "../lib/run.h"
#include "../lib/tap.h"

#define THEIR_MACHINES 106

static const json_t *guest; /* guestinfo of the machine that is looked at */

static int guestinfo(const char *key, struct rouse_buf *ret, struct rouse_err *e)
{
	const char *value = json_string_value(json_object_get(guest, key));

	if (!value)
		return 0;
	if (rouse_buf_add(ret, value, strlen(value), 4096) < 0)
		return rouse_fail(e, ROUSE_BUG, 0, "too long");
	return 1;
}

static void copy(char *buf, size_t size, const json_t *from, const char *name)
{
	const char *value = json_string_value(json_object_get(from, name));

	(void)snprintf(buf, size, "%s", value ? value : "");
}

static bool build(const struct t_root *root, const json_t *machine, struct rouse_machine *m)
{
	const char *cmdline = json_string_value(json_object_get(machine, "cmdline")), *path;
	bool container = json_is_true(json_object_get(machine, "container"));
	struct rouse_err e = { 0 };
	const json_t *seed;
	json_t *text;
	size_t i;

	json_object_foreach (json_object_get(machine, "files"), path, text)
		t_root_write(root, path, json_string_value(text), 0644);
	t_root_write(root, container ? "/proc/1/cmdline" : "/proc/cmdline", cmdline ? cmdline : "",
		     0644);
	if (container)
		t_root_write(root, "/run/systemd/container", "lxc\n", 0644);
	if (rouse_machine_open(m, root->path, &e) < 0)
		return false;
	m->told = true;
	json_array_foreach (json_object_get(machine, "seeds"), i, seed) {
		struct rouse_seed *s = &m->seeds[m->n_seeds++];

		copy(s->device, sizeof(s->device), seed, "device");
		copy(s->type, sizeof(s->type), seed, "type");
		copy(s->label, sizeof(s->label), seed, "label");
		copy(s->uuid, sizeof(s->uuid), seed, "uuid");
	}
	guest = json_object_get(machine, "guestinfo");
	m->guestinfo = guestinfo;
	return true;
}

/* Prints what is wrong with a row. */
static bool is_right(const json_t *machine)
{
	const char *name = json_string_value(json_object_get(machine, "name"));
	const char *want = json_string_value(json_object_get(machine, "expect"));
	auto_t_root struct t_root root = t_root_new();
	struct rouse_machine m = { 0 };
	const struct rouse_source *found;
	char why[256] = "";
	bool right;

	if (!build(&root, machine, &m))
		return false;
	found = rouse_source_detect(&m, why, sizeof(why));
	right = want ? found && strcmp(found->name, want) == 0 && *why : !found;
	if (!right)
		printf("# %s: found %s (%s), want %s\n", name, found ? found->name : "nothing", why,
		       want ? want : "nothing");
	rouse_machine_done(&m);
	return right;
}

static json_t *load(void)
{
	auto_buf struct rouse_buf text = { 0 };
	struct rouse_err e = { 0 };

	if (rouse_read_file("tests/cloud/machines.json", 1 << 20, &text, &e) < 0)
		return NULL;
	return rouse_json_parse("machines.json", text.data, text.len, &e);
}

static void every_machine_finds_its_source(struct t *t)
{
	auto_json json_t *machines = load();
	const json_t *machine;
	unsigned wrong = 0;
	size_t i;

	T_CHECK(t, machines);
	json_array_foreach (machines, i, machine)
		wrong += !is_right(machine);
	T_CHECK(t, i > THEIR_MACHINES && wrong == 0);
}

/* Does our name mean the same as theirs? */
static bool is_same(const char *theirs, const char *ours)
{
	static const char *const pairs[][2] = { { "Ec2", "ec2-compatible" } };

	if (!theirs || !ours)
		return !theirs == !ours;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
		if (strcmp(theirs, pairs[i][0]) == 0 && strcmp(ours, pairs[i][1]) == 0)
			return true;
	return strcasecmp(theirs, ours) == 0;
}

static void every_difference_to_cloud_init_has_a_reason(struct t *t)
{
	auto_json json_t *machines = load();
	const json_t *machine;
	unsigned theirs = 0;
	size_t i;

	T_CHECK(t, machines);
	json_array_foreach (machines, i, machine) {
		const json_t *other = json_object_get(machine, "theirs");
		bool same = is_same(json_string_value(other),
				    json_string_value(json_object_get(machine, "expect")));

		if (!other)
			continue;
		theirs++;
		if (same == (json_object_get(machine, "differs") != NULL)) {
			t->failed = true;
			printf("# %s\n", json_string_value(json_object_get(machine, "name")));
		}
	}
	T_CHECK(t, theirs == THEIR_MACHINES);
}

T_MAIN(T(every_machine_finds_its_source), T(every_difference_to_cloud_init_has_a_reason))
