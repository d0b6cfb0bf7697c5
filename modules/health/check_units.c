/* SPDX-License-Identifier: Apache-2.0 */
/* What systemd says of a unit, and of all of them. */
#include "tools.h"

#include <errno.h>
#include <string.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/limits.h>
#include <rouse/mem.h>
#include <rouse/proc.h>
#include <rouse/text.h>

/* A closure keeps its tools elsewhere than a distribution does. */
bool health_find_systemctl(char *buf, size_t size)
{
	static const char *const more[] = {
		"/run/booted-system/sw/bin/systemctl",
		"/nix/var/nix/profiles/system/sw/bin/systemctl",
		"/nix/var/nix/profiles/system/systemd/bin/systemctl",
		"/nix/var/nix/profiles/system/bin/systemctl",
	};

	if (rouse_proc_find("systemctl", NULL, buf, size))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(more); i++)
		if (rouse_proc_find(more[i], NULL, buf, size))
			return true;
	return false;
}

/* The value of a line "KEY=value" of `systemctl show`; buf is returned. */
static const char *property(char *buf, size_t size, const char *text, const char *key)
{
	size_t n = strlen(key);

	*buf = '\0';
	for (const char *line = text; line && *line;) {
		const char *end = strchrnul(line, '\n');

		if (strncmp(line, key, n) == 0 && line[n] == '=') {
			(void)snprintf(buf, size, "%.*s", (int)(end - line - (ssize_t)n - 1),
				       line + n + 1);
			break;
		}
		line = *end ? end + 1 : NULL;
	}
	return buf;
}

static int judge_unit(const char *unit, const struct health_unit *is, const char *result,
		      struct rouse_err *e)
{
	if (rouse_streq(is->active, "active") || rouse_streq(is->active, "reloading"))
		return 0;
	if (rouse_streq(is->load, "not-found"))
		return rouse_fail(e, ROUSE_SYSTEM, 0, "unit '%s' does not exist on this machine",
				  unit);
	if (rouse_streq(is->active, "failed"))
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "unit '%s' has failed (%s): look at `journalctl -u %s`", unit,
				  *result ? result : "no result", unit);
	return rouse_fail(e, ROUSE_SYSTEM, 0, "unit '%s' is %s (%s), not active", unit,
			  *is->active ? is->active : "in no known state",
			  *is->sub ? is->sub : "unknown");
}

static int judge_shown(const char *unit, const char *shown, struct rouse_err *e)
{
	struct health_unit is;
	char result[64];

	(void)property(is.load, sizeof(is.load), shown, "LoadState");
	(void)property(is.active, sizeof(is.active), shown, "ActiveState");
	(void)property(is.sub, sizeof(is.sub), shown, "SubState");
	return judge_unit(unit, &is, property(result, sizeof(result), shown, "Result"), e);
}

/* Without systemctl: does the control group of the unit hold processes? */
static int try_cgroup(const char *unit, char **ret_note, struct rouse_err *e)
{
	static const char *const slices[] = { "/sys/fs/cgroup/system.slice",
					      "/sys/fs/cgroup/systemd/system.slice",
					      "/sys/fs/cgroup/unified/system.slice" };

	for (size_t i = 0; i < ARRAY_SIZE(slices); i++) {
		auto_free char *path = rouse_asprintf("%s/%s/cgroup.procs", slices[i], unit);
		char line[32];

		if (!rouse_read_line(path, line, sizeof(line)) || !*line)
			continue;
		*ret_note = rouse_strdup("systemctl is missing: its control group has processes");
		return 0;
	}
	return rouse_fail(e, ROUSE_SYSTEM, 0,
			  "unit '%s' has no processes in its control group (systemctl is missing)",
			  unit);
}

static int try_unit(const struct rouse_health_check *c, uint64_t deadline, char **ret_note,
		    struct rouse_err *e)
{
	char systemctl[256];
	const char *const argv[] = {
		systemctl,    "show",
		"--no-pager", "--property=LoadState,ActiveState,SubState,Result",
		"--",         c->unit,
		NULL
	};
	struct rouse_proc p = { .argv = argv, .deadline = deadline };
	auto_buf struct rouse_buf out = { 0 };
	struct health_unit is;
	int status = 0;

	/* Why a unit has failed is a matter of its kind, which systemctl knows better. */
	if (health_ask_systemd(HEALTH_SYSTEMD_SOCKET, c->unit, deadline, &is) &&
	    !rouse_streq(is.active, "failed"))
		return judge_unit(c->unit, &is, "", e);
	if (!health_find_systemctl(systemctl, sizeof(systemctl)))
		return try_cgroup(c->unit, ret_note, e);
	if (rouse_proc_run(&p, &status, &out, e) < 0)
		return -1;
	if (status != 0) /* "System has not been booted with systemd", "Failed to connect to bus" */
		return rouse_fail(e, ROUSE_SYSTEM, 0, "cannot ask systemd about unit '%s': %.*s",
				  c->unit, (int)strcspn(out.data ? out.data : "", "\n"),
				  out.data ? out.data : "");
	return judge_shown(c->unit, out.data ? out.data : "", e);
}

static bool is_unit(const struct rouse_health_check *c)
{
	return c->unit;
}

static char *describe_unit(const struct rouse_health_check *c)
{
	return rouse_asprintf("unit %s", c->unit);
}

const struct health_kind health_kind_unit = { .name = "unit",
					      .is = is_unit,
					      .describe = describe_unit,
					      .timeout = ROUSE_CHECK_TIMEOUT,
					      .interval = ROUSE_CHECK_INTERVAL_UNIT,
					      .try = try_unit };

/* --- the system ------------------------------------------------------------------------------- */

#define DEFAULT_TARGET "default.target"

static bool is_system(const struct rouse_health_check *c)
{
	return c->system;
}

static char *describe_system(const struct rouse_health_check *c)
{
	return rouse_asprintf("system %s", c->system);
}

/* The first word of what systemctl prints of the failed units; "" for none. */
static int ask_systemctl(uint64_t deadline, char *buf, size_t size, struct rouse_err *e)
{
	char systemctl[256];
	const char *const argv[] = { systemctl,     "list-units",     "--no-pager", "--plain",
				     "--no-legend", "--state=failed", NULL };
	struct rouse_proc p = { .argv = argv, .deadline = deadline };
	auto_buf struct rouse_buf out = { 0 };
	const char *text;
	int status = 0;

	if (!health_find_systemctl(systemctl, sizeof(systemctl)))
		return rouse_fail(e, ROUSE_SYSTEM, 0, "this system has no systemd to ask");
	if (rouse_proc_run(&p, &status, &out, e) < 0)
		return -1;
	text = out.data ? out.data : "";
	if (status != 0)
		return rouse_fail(e, ROUSE_SYSTEM, 0, "cannot ask systemd about failed units: %.*s",
				  (int)strcspn(text, "\n"), text);
	text += strspn(text, " ");
	(void)snprintf(buf, size, "%.*s", (int)strcspn(text, " \n"), text);
	return 0;
}

/* `systemctl is-system-running` would wait for this very command, which is a job like the others. What it
 * says when it is over is asked instead: the default target is reached, and no unit has failed. */
static int try_system(const struct rouse_health_check *c, uint64_t deadline, char **ret_note,
		      struct rouse_err *e)
{
	const struct rouse_health_check target = { .key = c->key, .unit = DEFAULT_TARGET };
	struct health_unit failed = { 0 };
	int found;

	if (try_unit(&target, deadline, ret_note, e) < 0)
		return -1;
	if (rouse_streq(c->system, "degraded"))
		return 0;
	found = health_ask_failed(HEALTH_SYSTEMD_SOCKET, deadline, &failed);
	if (found < 0 && ask_systemctl(deadline, failed.name, sizeof(failed.name), e) < 0)
		return -1;
	if (!failed.name[0])
		return 0;
	rouse_one_line(failed.name);
	return rouse_fail(e, ROUSE_SYSTEM, 0,
			  "the system is degraded: unit '%s' has failed: look at `journalctl -u "
			  "%s`",
			  failed.name, failed.name);
}

const struct health_kind health_kind_system = { .name = "system",
						.is = is_system,
						.describe = describe_system,
						.timeout = ROUSE_CHECK_TIMEOUT,
						.interval = ROUSE_CHECK_INTERVAL_UNIT,
						.try = try_system };
