/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/log.h>

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>

#include <rouse/clock.h>
#include <rouse/text.h>

/* The log sink is one of the two mutable globals of the program (the other: main.c's options). */
static struct {
	enum rouse_level most;
	int kmsg, console;
} sink = { .most = ROUSE_LOG_INFO, .kmsg = -1, .console = -1 };

void rouse_log_set_level(enum rouse_level most)
{
	sink.most = most;
}

bool rouse_log_enabled(enum rouse_level level)
{
	return level <= sink.most;
}

void rouse_log_open_kmsg(void)
{
	if (sink.kmsg < 0)
		sink.kmsg = open("/dev/kmsg", O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

void rouse_log_open_console(const char *path)
{
	if (sink.console >= 0)
		(void)close(sink.console);
	sink.console = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

static void emit(int fd, const char *line, size_t n)
{
	/* Losing a line to a full pipe or a dead port is better than waiting for it. */
	if (fd >= 0 && write(fd, line, n) < 0)
		errno = 0;
}

void rouse_log(enum rouse_level level, const char *component, const char *fmt, ...)
{
	char text[1024], line[1200];
	va_list ap;
	int n, saved = errno;

	if (level > sink.most)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	rouse_one_line(text);

	/* The kernel shows warnings on the same console: there they would stand twice. */
	if (sink.console >= 0 && level < ROUSE_LOG_NOTICE)
		level = ROUSE_LOG_NOTICE;
	n = snprintf(line, sizeof(line), "<%d>rouse: %s: %s\n", (int)level, component, text);
	emit(sink.kmsg, line, (size_t)n);
	if (sink.console >= 0) {
		uint64_t now = rouse_clock_ms();

		n = snprintf(line, sizeof(line), "[%6llu.%03llu] rouse: %s: %s\r\n",
			     (unsigned long long)(now / 1000), (unsigned long long)(now % 1000),
			     component, text);
		emit(sink.console, line, (size_t)n);
	} else {
		n = snprintf(line, sizeof(line), "rouse: %s: %s\n", component, text);
		emit(STDERR_FILENO, line, (size_t)n);
	}
	errno = saved;
}
