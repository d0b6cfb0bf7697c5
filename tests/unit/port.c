/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include <fcntl.h>
#include <signal.h>

#include <rouse/auto.h>
#include <rouse/clock.h>
#include <rouse/mem.h>
#include <rouse/port.h>

static void absent_port_is_no_error(struct t *t)
{
	T_CHECK(t, !rouse_port_present("org.example.absent"));
	T_CHECK(t, !rouse_port_send("org.example.absent", json_pack("{s:s}", "event", "x")));
}

static void port_that_is_read_gets_every_byte(struct t *t)
{
	static const char text[] = "{\"event\":\"report\"}\n";
	char got[sizeof(text)] = "";
	int p[2];

	T_CHECK(t, pipe2(p, O_CLOEXEC | O_NONBLOCK) == 0);
	auto_fd int in = p[0], out = p[1];
	T_CHECK(t, rouse_port_write(out, text, sizeof(text) - 1, rouse_clock_ms() + 5000));
	T_CHECK(t, read(in, got, sizeof(got)) == sizeof(text) - 1);
	T_STR(t, got, text);
}

static void port_that_nobody_reads_never_hangs(struct t *t)
{
	const size_t n = 4u << 20; /* more than any pipe holds */
	auto_free char *data = rouse_calloc(n, 1);
	uint64_t deadline = rouse_clock_ms() + 50;
	int p[2];

	T_CHECK(t, pipe2(p, O_CLOEXEC | O_NONBLOCK) == 0);
	auto_fd int in = p[0], out = p[1];
	T_CHECK(t, in >= 0);
	T_CHECK(t,
		!rouse_port_write(out, data, n, deadline)); /* or the suite's time-out ends this */
	T_CHECK(t, rouse_clock_ms() >= deadline);
}

static void port_whose_reader_went_away_fails_at_once(struct t *t)
{
	int p[2];

	T_CHECK(t, pipe2(p, O_CLOEXEC | O_NONBLOCK) == 0);
	auto_fd int out = p[1];
	T_CHECK(t, close(p[0]) == 0);
	T_CHECK(t, !rouse_port_write(out, "x", 1, rouse_clock_ms() + 60000));
}

int main(void)
{
	static const struct t_test tests[] = {
		T(absent_port_is_no_error),
		T(port_that_is_read_gets_every_byte),
		T(port_that_nobody_reads_never_hangs),
		T(port_whose_reader_went_away_fails_at_once),
	};

	(void)signal(SIGPIPE, SIG_IGN); /* as main() of the agent does */
	return t_run(tests, ARRAY_SIZE(tests));
}
