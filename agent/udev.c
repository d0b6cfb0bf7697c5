/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/init.h>

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <rouse/auto.h>
#include <rouse/clock.h>
#include <rouse/log.h>

/* It is there as long as udevd has events in its queue. */
#define QUEUE_DIR "/run/udev"
#define QUEUE QUEUE_DIR "/queue"

bool rouse_udev_runs(void)
{
	return getppid() == 1 && access(QUEUE_DIR "/control", F_OK) == 0;
}

bool rouse_udev_busy(void)
{
	return rouse_udev_runs() && access(QUEUE, F_OK) == 0;
}

void rouse_udev_settle(uint64_t deadline)
{
	auto_fd int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char events[4096];

	if (fd < 0 || inotify_add_watch(fd, QUEUE_DIR, IN_DELETE) < 0)
		return; /* no udev */
	while (rouse_udev_busy() && rouse_clock_left(deadline))
		if (poll(&p, 1, rouse_clock_left(deadline)) > 0)
			while (read(fd, events, sizeof(events)) > 0)
				;
	if (rouse_udev_busy())
		rouse_log(ROUSE_LOG_WARNING, "udev",
			  "still busy with devices, going on without them");
}
