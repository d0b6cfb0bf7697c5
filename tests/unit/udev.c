/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rouse/init.h>
#include <rouse/limits.h>
#include <rouse/text.h>

#include "../lib/tap.h"

/* Writes a record and asks; -1 when it cannot be written. */
static int named(const char *text, size_t n)
{
	char path[] = "/tmp/rouse-udev-XXXXXX";
	int fd = mkstemp(path), r = -1;

	if (fd >= 0 && write(fd, text, n) == (ssize_t)n)
		r = rouse_udev_named(path);
	if (fd >= 0) {
		(void)close(fd);
		(void)unlink(path);
	}
	return r;
}

static int named_text(const char *text)
{
	return named(text, strlen(text));
}

/* As udevd of systemd 252 writes them for one card, one after the other. */
static void card_keeps_its_name_when_udev_is_done_with_it(struct t *t)
{
	T_CHECK(t, !rouse_udev_named("/nonexistent/run/udev/data/n2"));
	T_CHECK(t,
		named_text("I:16711000\nE:ID_NET_NAME_PATH=enp0s3\nE:ID_RENAMING=1\nG:systemd\n") ==
			0);
	T_CHECK(t, named_text("E:ID_RENAMING=1\nV:1\n") == 0);
	T_CHECK(t, named_text("I:16711000\nE:ID_PROCESSING=1\nE:ID_NET_NAME=enp0s3\n") == 0);
	T_CHECK(t, named_text("I:16711000\nE:ID_NET_NAME_PATH=enp0s3\nG:systemd\n") == 1);
}

/* What a card is called, or says of itself, may look like anything. */
static void only_whole_properties_count(struct t *t)
{
	T_CHECK(t, named_text("I:1\nE:ID_MODEL=E:ID_RENAMING=1\nE:ID_RENAMING=10\n") == 1);
	T_CHECK(t, named_text("I:1\nE:ID_RENAMING=\n") == 1);
}

static void record_that_is_too_large_is_none(struct t *t)
{
	size_t n = ROUSE_MAX_UDEV_RECORD;
	auto_free char *text = rouse_asprintf("%*s", (int)n + 1, "");

	memset(text, 'x', n + 1);
	T_CHECK(t, named(text, n) == 1);
	T_CHECK(t, named(text, n + 1) == 0);
}

int main(void)
{
	static const struct t_test tests[] = {
		T(card_keeps_its_name_when_udev_is_done_with_it),
		T(only_whole_properties_count),
		T(record_that_is_too_large_is_none),
	};

	return t_run(tests, ARRAY_SIZE(tests));
}
