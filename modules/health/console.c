/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a machine says on its consoles: the verdict, and the host keys of its SSH server, so that whoever connects for
 * the first time can compare them with what the cloud shows of the console. The lines around them are those of
 * cloud-init, for which tools look; the fingerprints those of ssh-keygen(1) -l.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/health.h>
#include <rouse/limits.h>
#include <rouse/port.h>
#include <rouse/report.h>
#include <rouse/sshkey.h>
#include <rouse/text.h>

#include "console.h"

static bool write_console(const char *path, const char *line)
{
	/* O_NONBLOCK: a serial port whose other end is gone must not hold up the verdict. */
	auto_fd int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	return fd >= 0 &&
	       rouse_port_write(fd, line, strlen(line), rouse_clock_ms() + ROUSE_PORT_TIMEOUT);
}

/* /proc/consoles: "ttyS0                -W- (EC p a)    4:64" */
static bool write_consoles(const char *line)
{
	auto_file FILE *consoles = fopen("/proc/consoles", "re");
	char entry[256];
	bool any = false;

	while (consoles && fgets(entry, sizeof(entry), consoles)) {
		auto_free char *path = NULL;

		entry[strcspn(entry, " \t\n")] = '\0';
		path = rouse_asprintf("/dev/%s", entry);
		any |= write_console(path, line);
	}
	return any;
}

bool rouse_health_console(const struct rouse_report *r)
{
	auto_free char *state = rouse_report_console_line(r);
	auto_free char *line = rouse_asprintf("\r\n%s\r\n", state);
	auto_free char *record = rouse_asprintf("<7>%s\n", state);

	/* Level 7 reaches the log but no console: there it stands already, whatever `quiet` says. */
	(void)write_console("/dev/kmsg", record);
	return write_consoles(line) || write_console("/dev/console", line);
}

/* --- host keys -------------------------------------------------------------------------------- */

static int is_public_host_key(const struct dirent *entry)
{
	const char *rest = rouse_strip_prefix(entry->d_name, "ssh_host_");
	size_t n = rest ? strlen(rest) : 0;

	return n > 8 && rouse_streq(rest + n - 8, "_key.pub");
}

int console_each_host_key(const char *dir,
			  int (*each)(void *arg, const char *line, struct rouse_err *e), void *arg,
			  struct rouse_err *e)
{
	struct dirent **entries = NULL;
	int n = scandir(dir, &entries, is_public_host_key, alphasort), r = 0;

	for (int i = 0; i < n; i++) {
		auto_free char *path = rouse_asprintf("%s/%s", dir, entries[i]->d_name);
		auto_free char *print = NULL;
		char line[2048];

		if (r == 0 && rouse_read_line(path, line, sizeof(line)) &&
		    rouse_utf8_valid(line, strlen(line))) {
			rouse_one_line(line);
			print = rouse_ssh_fingerprint(line);
		}
		if (print)
			r = each(arg, line, e);
		free(entries[i]);
	}
	free(entries);
	return r;
}

struct texts {
	struct rouse_buf prints, keys;
};

static int add_texts(void *arg, const char *line, struct rouse_err *e unused_arg)
{
	auto_free char *print = rouse_ssh_fingerprint(line);
	struct texts *t = arg;

	rouse_buf_printf(&t->prints, "%s\r\n", print);
	rouse_buf_printf(&t->keys, "%s\r\n", line);
	return 0;
}

char *console_host_keys(const char *dir)
{
	struct texts t = { 0 };
	struct rouse_err never;
	char *ret = NULL;

	(void)console_each_host_key(dir, add_texts, &t, &never);
	if (t.prints.len)
		ret = rouse_asprintf("\r\n-----BEGIN SSH HOST KEY FINGERPRINTS-----\r\n%s"
				     "-----END SSH HOST KEY FINGERPRINTS-----\r\n"
				     "-----BEGIN SSH HOST KEY KEYS-----\r\n%s"
				     "-----END SSH HOST KEY KEYS-----\r\n",
				     t.prints.data, t.keys.data);
	rouse_buf_done(&t.prints);
	rouse_buf_done(&t.keys);
	return ret;
}

void rouse_health_host_keys(void)
{
	auto_free char *text = console_host_keys("/etc/ssh");

	if (text && !write_consoles(text))
		(void)write_console("/dev/console", text);
}
