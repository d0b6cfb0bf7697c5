/* SPDX-License-Identifier: Apache-2.0 */
#include "progress.h"

#include <stdio.h>
#include <string.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/text.h>

/* A rate of less than this time is a guess. */
#define SHORTEST 500

void progress_begin(struct progress *p, bool terminal, uint64_t now)
{
	*p = (struct progress){ .terminal = terminal, .pause = ROUSE_PROGRESS_FIRST };
	p->next = now + p->pause;
	p->start = now;
}

bool progress_due(struct progress *p, uint64_t done, uint64_t total, uint64_t now)
{
	if (total != p->total || done < p->done) { /* other work */
		p->start = now;
		p->first = done;
	}
	p->done = done;
	p->total = total;
	if (now < p->next)
		return false;
	if (p->terminal)
		p->pause = ROUSE_PROGRESS_TERMINAL;
	else if (p->pause < ROUSE_PROGRESS_MOST)
		p->pause = 2 * p->pause < ROUSE_PROGRESS_MOST ? 2 * p->pause : ROUSE_PROGRESS_MOST;
	p->next = now + p->pause;
	return true;
}

const char *progress_text(const struct progress *p, char *buf, size_t size, const char *what,
			  uint64_t now)
{
	uint64_t took = now - p->start, bytes = p->done - p->first, rate = 0;
	char have[16], all[16], per_second[16], left[24];
	size_t n;

	if (!p->done && !p->total) {
		(void)snprintf(buf, size, "%s", what);
		return buf;
	}
	(void)snprintf(buf, size, "%s: %s", what, rouse_print_size(have, p->done));
	n = strlen(buf);
	if (p->total)
		(void)snprintf(buf + n, size - n, " of %s (%u %%)", rouse_print_size(all, p->total),
			       (unsigned)(p->done >= p->total ? 100 : p->done * 100 / p->total));
	n = strlen(buf);
	if (took >= SHORTEST && bytes < UINT64_MAX / 1000)
		rate = bytes * 1000 / took;
	if (rate)
		(void)snprintf(buf + n, size - n, ", %s/s", rouse_print_size(per_second, rate));
	n = strlen(buf);
	if (rate && p->total > p->done && p->total - p->done < UINT64_MAX / 1000)
		(void)snprintf(buf + n, size - n, ", %s left",
			       rouse_print_duration(left, (p->total - p->done) * 1000 / rate /
								  1000 * 1000));
	return buf;
}

void progress_show(void *arg, const char *what, uint64_t done, uint64_t total)
{
	struct progress *p = arg;
	uint64_t now = rouse_clock_ms();
	char text[256];

	if (!progress_due(p, done, total, now))
		return;
	(void)fprintf(stderr, "\r\033[K%s", progress_text(p, text, sizeof(text), what, now));
	rouse_log_set_unfinished(true);
}

void progress_clear(void)
{
	(void)fputs("\r\033[K", stderr);
	rouse_log_set_unfinished(false);
}

/* "tty0 ttyS0": the last is /dev/console. */
bool progress_on_screen(void)
{
	char line[256];
	const char *last;

	if (!rouse_read_line("/sys/class/tty/console/active", line, sizeof(line)))
		return false;
	last = strrchr(line, ' ') ? strrchr(line, ' ') + 1 : line;
	return strncmp(last, "tty", 3) == 0 && last[3] >= '0' && last[3] <= '9';
}
