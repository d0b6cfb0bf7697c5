/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/log.h>

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <rouse/clock.h>
#include <rouse/text.h>

/* The log sink is one of the two mutable globals of the program (the other: main.c's options). */
static struct {
	enum rouse_level most;
	int kmsg, console, journal;
	bool unfinished;
	struct {
		const char *name;
		char value[512];
	} context[ROUSE_LOG_CONTEXT];
} sink = { .most = ROUSE_LOG_INFO, .kmsg = -1, .console = -1, .journal = -1 };

void rouse_log_set_level(enum rouse_level most)
{
	sink.most = most;
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

/* systemd.exec(5): "device:inode" of the stream that it gave us; who redirected us since has another. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char own[64];
	struct stat st;

	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return false;
	(void)snprintf(own, sizeof(own), "%llu:%llu", (unsigned long long)st.st_dev,
		       (unsigned long long)st.st_ino);
	return rouse_streq(stream, own);
}

bool rouse_log_open_journal(void)
{
	static const struct sockaddr_un journal = { .sun_family = AF_UNIX,
						    .sun_path = "/run/systemd/journal/socket" };
	int fd;

	if (!stderr_is_journal())
		return false;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&journal, sizeof(journal)) < 0) {
		if (fd >= 0)
			(void)close(fd);
		return false;
	}
	sink.journal = fd;
	return true;
}

bool rouse_log_has_journal(void)
{
	return sink.journal >= 0;
}

void rouse_log_set_unfinished(bool unfinished)
{
	sink.unfinished = unfinished;
}

void rouse_log_forget(void)
{
	sink.kmsg = sink.console = sink.journal = -1;
}

void rouse_log_context(const char *name, const char *value)
{
	size_t at = ROUSE_LOG_CONTEXT;

	for (size_t i = ROUSE_LOG_CONTEXT; i-- > 0;)
		if (rouse_streq(sink.context[i].name, name) ||
		    (!sink.context[i].name && (at == ROUSE_LOG_CONTEXT || !sink.context[at].name)))
			at = i;
	if (at == ROUSE_LOG_CONTEXT)
		return;
	sink.context[at].name = value && *value ? name : NULL;
	(void)snprintf(sink.context[at].value, sizeof(sink.context[at].value), "%s",
		       value ? value : "");
	rouse_one_line(sink.context[at].value);
}

/* systemd's journal-native-protocol: lines "FIELD=value", of which none has an end of line within. */
static bool emit_journal(enum rouse_level level, const char *component, const char *text)
{
	char record[8192];
	int n;

	if (sink.journal < 0)
		return false;
	n = snprintf(
		record, sizeof(record),
		"PRIORITY=%d\nSYSLOG_IDENTIFIER=rouse\nROUSE_COMPONENT=%.64s\nMESSAGE=%s: %s\n",
		(int)level, component, component, text);
	for (size_t i = 0; i < ROUSE_LOG_CONTEXT; i++)
		if (sink.context[i].name && n > 0 && (size_t)n < sizeof(record))
			n += snprintf(record + n, sizeof(record) - (size_t)n, "%s=%s\n",
				      sink.context[i].name, sink.context[i].value);
	return n > 0 && (size_t)n < sizeof(record) &&
	       send(sink.journal, record, (size_t)n, MSG_NOSIGNAL) == n;
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
	bool journalled;

	if (level > sink.most)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	rouse_one_line(text);

	journalled = emit_journal(level, component, text);
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
	} else if (!journalled) {
		n = snprintf(line, sizeof(line), "%srouse: %s: %s\n",
			     sink.unfinished ? "\r\033[K" : "", component, text);
		sink.unfinished = false;
		emit(STDERR_FILENO, line, (size_t)n);
	}
	errno = saved;
}
