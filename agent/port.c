/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/port.h>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/mem.h>
#include <rouse/text.h>

#define PORT_CLASS "/sys/class/virtio-ports"

/* The device node of the port that the host named `name`: udev's symlink is not needed. */
static char *port_path(const char *name)
{
	DIR *dir = opendir(PORT_CLASS);
	char *path = NULL;

	while (dir && !path) {
		const struct dirent *entry = readdir(dir);
		auto_free char *file = NULL;
		char found[128];

		if (!entry)
			break;
		if (entry->d_name[0] == '.')
			continue;
		file = rouse_asprintf(PORT_CLASS "/%s/name", entry->d_name);
		if (rouse_read_line(file, found, sizeof(found)) && rouse_streq(found, name))
			path = rouse_asprintf("/dev/%s", entry->d_name);
	}
	if (dir)
		(void)closedir(dir);
	return path;
}

bool rouse_port_present(const char *name)
{
	auto_free char *path = port_path(name);

	return path && access(path, F_OK) == 0;
}

bool rouse_port_write(int fd, const void *data, size_t n, uint64_t deadline)
{
	const char *p = data;

	while (n > 0) {
		ssize_t done = write(fd, p, n);
		struct pollfd ready = { .fd = fd, .events = POLLOUT };
		int r;

		if (done > 0) {
			p += done;
			n -= (size_t)done;
			continue;
		}
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && errno != EAGAIN)
			return false;
		/* POLLHUP: the host has the port, but nobody has it open. */
		r = poll(&ready, 1, rouse_clock_left(deadline));
		if (r == 0 || (r < 0 && errno != EINTR) || (r > 0 && !(ready.revents & POLLOUT)))
			return false;
	}
	return true;
}

static bool send_event(const char *name, json_t *event, uint64_t most)
{
	auto_json json_t *owned = event;
	auto_free char *path = port_path(name);
	auto_free char *line = NULL;
	auto_buf struct rouse_buf text = { 0 };
	auto_fd int fd = -1;

	if (!path)
		return false;
	/* The device is exclusive: a second writer gets EBUSY, and loses its event. */
	fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return false;
	line = json_dumps(owned, JSON_COMPACT);
	if (!line)
		return false;
	rouse_buf_printf(&text, "%s\n", line);
	return rouse_port_write(fd, text.data, text.len, rouse_clock_ms() + most);
}

bool rouse_port_send(const char *name, json_t *event)
{
	return send_event(name, event, ROUSE_PORT_TIMEOUT);
}

void rouse_port_progress(const char *name, const char *what, uint64_t done, uint64_t total)
{
	json_t *event = json_object();

	rouse_json_set_string(event, "event", "progress");
	rouse_json_set_string(event, "what", what);
	rouse_json_set_int(event, "done", done);
	rouse_json_set_int(event, "total", total);
	rouse_json_set_int(event, "up", rouse_clock_ms());
	/* A line this short is taken whole or not at all. */
	(void)send_event(name, event, 0);
}
