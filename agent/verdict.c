/* SPDX-License-Identifier: Apache-2.0 */
#include "verdict.h"

#include <poll.h>
#include <string.h>
#include <sys/inotify.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/report.h>
#include <rouse/text.h>

static const char *string_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

json_t *verdict_load(const char *run, struct rouse_err *e)
{
	auto_free char *path = rouse_asprintf("%s/status.json", run);
	auto_buf struct rouse_buf text = { 0 };

	if (rouse_read_file(path, ROUSE_MAX_FACTS, &text, e) < 0)
		return NULL;
	return rouse_json_parse(path, text.data ? text.data : "", text.len, e);
}

bool verdict_is_pending(const json_t *status)
{
	const char *verdict = string_at(status, "verdict");

	return !verdict || strcmp(verdict, rouse_verdict_word(ROUSE_PENDING)) == 0;
}

/* Watches the run directory, or what will hold it; both watches may be there already. */
static int watch(int fd, const char *run, struct rouse_err *e)
{
	auto_free char *parent = rouse_strdup(run);
	char *slash = strrchr(parent, '/');

	if (inotify_add_watch(fd, run, IN_MOVED_TO | IN_DELETE_SELF) >= 0)
		return 0;
	if (errno != ENOENT)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot watch '%s'", run);
	if (slash)
		slash[slash == parent] = '\0';
	if (inotify_add_watch(fd, slash ? parent : ".", IN_CREATE | IN_MOVED_TO) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot watch '%s'", parent);
	/* It may have come between the two. */
	(void)inotify_add_watch(fd, run, IN_MOVED_TO | IN_DELETE_SELF);
	return 0;
}

/* Waits until something changed there; -1 when the time is over. */
static int wait_change(int fd, uint64_t deadline)
{
	char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int r;

	do
		r = poll(&p, 1, rouse_clock_left(deadline));
	while (r < 0 && errno == EINTR);
	if (r <= 0)
		return -1;
	while (read(fd, events, sizeof(events)) > 0)
		; /* what happened does not matter: the file is read again */
	return 0;
}

static int say_late(uint64_t timeout, const json_t *status, struct rouse_err *e)
{
	const char *phase = string_at(status, "phase");
	char took[24];

	(void)rouse_print_duration(took, timeout);
	if (!status)
		return rouse_fail(e, ROUSE_UNAVAILABLE, 0, "no boot of rouse within %s", took);
	return rouse_fail(e, ROUSE_UNAVAILABLE, 0, "no verdict within %s, still in phase '%s'",
			  took, phase ? phase : "none");
}

int verdict_wait(const char *run, uint64_t timeout, json_t **ret, struct rouse_err *e)
{
	uint64_t deadline = rouse_clock_ms() + timeout;
	auto_fd int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (fd < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot watch '%s'", run);
	for (;;) {
		auto_json json_t *status = NULL;

		/* First the watch, then the look: nothing is missed between them. */
		if (watch(fd, run, e) < 0)
			return -1;
		status = verdict_load(run, e);
		if (!status && e->sys != ENOENT)
			return -1;
		if (status && !verdict_is_pending(status)) {
			*ret = take(status, NULL);
			return 0;
		}
		if (wait_change(fd, deadline) < 0)
			return say_late(timeout, status, e);
	}
}
