/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is this the machine that the document describes? What it mounts is mounted, with the filesystem that it
 * says, and its system is the one that runs. The document is the merged one that the boot left in /run.
 */
#include "tools.h"

#include <string.h>

#include <rouse/fs.h>
#include <rouse/generations.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/mem.h>
#include <rouse/text.h>

#define DOCUMENT "/run/rouse/document.json"
#define REPORT "/run/rouse/report.json"
#define MOUNTS "/proc/self/mountinfo"

static json_t *load(const char *path, size_t max, struct rouse_err *e)
{
	auto_buf struct rouse_buf text = { 0 };

	if (rouse_read_file(path, max, &text, e) < 0)
		return NULL;
	return rouse_json_parse(path, text.data ? text.data : "", text.len, e);
}

/* A path as mountinfo spells it: blanks, tabs, ends of line and backslashes are octal (proc(5)). */
static char *spell(const char *path)
{
	struct rouse_buf out = { 0 };

	for (const char *p = path; *p; p++)
		rouse_buf_printf(&out, strchr(" \t\n\\", *p) ? "\\%03o" : "%c", (unsigned char)*p);
	return out.data ? out.data : rouse_strdup("");
}

/* Behind the n-th blank of a line that ends at `end`; NULL when there are fewer. */
static const char *field(const char *line, const char *end, unsigned n)
{
	for (; n && line; n--) {
		line = memchr(line, ' ', (size_t)(end - line));
		line = line ? line + 1 : NULL;
	}
	return line;
}

/* "36 35 98:0 /root /mount options optional… - type source options"; the last mount on a place counts. Into
 * `type`, "" when nothing is mounted there. */
static void find_mount(const char *mountinfo, const char *path, char *type, size_t size)
{
	auto_free char *spelled = spell(path);
	size_t n = strlen(spelled);

	*type = '\0';
	for (const char *line = mountinfo; line && *line;) {
		const char *end = strchrnul(line, '\n');
		const char *at = field(line, end, 4);
		const char *dash = at ? memmem(at, (size_t)(end - at), " - ", 3) : NULL;

		if (dash && strncmp(at, spelled, n) == 0 && at[n] == ' ')
			(void)snprintf(type, size, "%.*s", (int)strcspn(dash + 3, " \n"), dash + 3);
		line = *end ? end + 1 : NULL;
	}
}

static bool has_option(const json_t *of, const char *option)
{
	const json_t *options = json_object_get(of, "mountOptions"), *one;
	size_t i;

	json_array_foreach (options, i, one)
		if (rouse_streq(json_string_value(one), option))
			return true;
	return rouse_streq(json_string_value(options), option);
}

static int check_mount(const char *mountinfo, const char *path, const json_t *of,
		       struct rouse_err *e)
{
	const char *wanted = json_string_value(json_object_get(of, "filesystem"));
	char type[64];

	find_mount(mountinfo, path, type, sizeof(type));
	/* Mounted when somebody comes: systemd waits there. */
	if (rouse_streq(type, "autofs") && has_option(of, "x-systemd.automount"))
		return 0;
	if (!*type && has_option(of, "noauto"))
		return 0;
	if (!*type)
		return rouse_fail(e, ROUSE_SYSTEM, 0, "nothing is mounted at '%s'", path);
	if (wanted && !rouse_streq(wanted, type) && !rouse_streq(wanted, "swap"))
		return rouse_fail(e, ROUSE_SYSTEM, 0, "'%s' is mounted as %s, the document says %s",
				  path, type, wanted);
	return 0;
}

/* Everything below "disks" that says where it is mounted: by "mount", or by its name among partitions and
 * volumes. `depth` is bounded by the document's. */
static int check_mounts(const char *mountinfo, const json_t *of, struct rouse_err *e)
{
	const char *mount = json_string_value(json_object_get(of, "mount")), *key;
	json_t *value;

	if (mount && *mount == '/' && check_mount(mountinfo, mount, of, e) < 0)
		return -1;
	json_object_foreach ((json_t *)of, key, value) {
		if (!json_is_object(value))
			continue;
		if (*key == '/' && check_mount(mountinfo, key, value, e) < 0)
			return -1;
		if (check_mounts(mountinfo, value, e) < 0)
			return -1;
	}
	return 0;
}

/* A fallback runs another system, and says so in the verdict. */
static int check_system(const json_t *document, struct rouse_err *e)
{
	const char *wanted = json_string_value(
		json_object_get(json_object_get(document, "system"), "path"));
	char booted[ROUSE_SYSTEM_PATH_SIZE];
	struct rouse_err ignored;
	auto_json json_t *report = load(REPORT, ROUSE_MAX_FACTS, &ignored);
	const json_t *fallback = json_object_get(report, "fallback");

	if (!wanted || (fallback && !json_is_null(fallback) && !json_is_false(fallback)))
		return 0;
	if (!rouse_booted_system(booted))
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "no generation says that it runs; the document's system is '%s'",
				  wanted);
	if (!rouse_streq(booted, wanted))
		return rouse_fail(e, ROUSE_SYSTEM, 0, "'%s' runs, the document's system is '%s'",
				  booted, wanted);
	return 0;
}

static bool is_planned(const struct rouse_health_check *c)
{
	return c->planned;
}

static char *describe_planned(unused_arg const struct rouse_health_check *c)
{
	return rouse_strdup("mounts and system as planned");
}

static int try_planned(unused_arg const struct rouse_health_check *c, unused_arg uint64_t deadline,
		       unused_arg char **ret_note, struct rouse_err *e)
{
	auto_json json_t *document = load(DOCUMENT, ROUSE_MAX_FACTS, e);
	auto_buf struct rouse_buf mountinfo = { 0 };

	if (!document || rouse_read_file(MOUNTS, ROUSE_MAX_FACTS, &mountinfo, e) < 0 ||
	    check_mounts(mountinfo.data ? mountinfo.data : "", json_object_get(document, "disks"),
			 e) < 0)
		return -1;
	return check_system(document, e);
}

const struct health_kind health_kind_planned = { .name = "planned",
						 .is = is_planned,
						 .describe = describe_planned,
						 .timeout = ROUSE_CHECK_TIMEOUT,
						 .interval = ROUSE_CHECK_INTERVAL_UNIT,
						 .try = try_planned };
