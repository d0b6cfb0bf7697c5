/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/init.h>

#include <string.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/proc.h>
#include <rouse/text.h>

bool rouse_udev_runs(void)
{
	return rouse_started_by_init() && access("/run/udev/control", F_OK) == 0;
}

/* It is there as long as udevd has events in its queue. */
bool rouse_udev_busy(void)
{
	return rouse_udev_runs() && access("/run/udev/queue", F_OK) == 0;
}

bool rouse_udev_named(const char *record)
{
	auto_buf struct rouse_buf text = { 0 };
	struct rouse_err e = { 0 };
	char *rest, *line;

	if (rouse_read_file(record, ROUSE_MAX_UDEV_RECORD, &text, &e) < 0)
		return false; /* udev has not looked at it yet */
	for (rest = text.data; (line = strsep(&rest, "\n"));)
		if (rouse_streq(line, "E:ID_RENAMING=1") || rouse_streq(line, "E:ID_PROCESSING=1"))
			return false;
	return true;
}

/* The file alone would not do: a udevd that has just started has not read its first event yet, and
 * how it is asked whether it has, only udevadm knows. */
void rouse_udev_settle(uint64_t deadline)
{
	char timeout[48];
	const char *const argv[] = { "udevadm", "settle", timeout, NULL };
	const struct rouse_proc p = { .argv = argv, .deadline = deadline };
	struct rouse_err e = { 0 };

	(void)snprintf(timeout, sizeof(timeout), "--timeout=%d", rouse_clock_left(deadline) / 1000);
	if (rouse_proc_check(&p, &e) < 0)
		rouse_log(ROUSE_LOG_WARNING, "udev", "%s, ignoring", e.text);
}
