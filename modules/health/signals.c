/* SPDX-License-Identifier: Apache-2.0 */
/* Who is told the verdict. Each signal is bounded, and its outcome is in the report. */
#include <rouse/health.h>

#include <fcntl.h>
#include <string.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/mem.h>
#include <rouse/port.h>
#include <rouse/text.h>

static void note(struct rouse_report *r, const char *name, const char *to, const char *error)
{
	json_t *j = json_object();

	rouse_json_set_string(j, "name", name);
	rouse_json_set_string(j, "to", to);
	rouse_json_set_bool(j, "ok", !error);
	rouse_json_set_string(j, "error", error);
	rouse_json_set_int(j, "at", rouse_clock_ms());
	rouse_json_append(json_object_get(r->json, "signals"), j);
	if (error)
		rouse_log(ROUSE_LOG_WARNING, "health", "cannot tell %s '%s': %s, ignoring", name,
			  to, error);
}

static void signal_port(struct rouse_report *r, const char *name)
{
	json_t *event = json_object();

	rouse_json_set_string(event, "event", "report");
	rouse_json_set(event, "report", json_incref(r->json));
	if (rouse_port_send(name, event))
		note(r, "virtio", name, NULL);
	else
		note(r, "virtio", name,
		     rouse_port_present(name) ? "the host does not read it"
					      : "this machine has no such port");
}

/* What leaves the machine: the verdict and who speaks, not the whole report. */
static json_t *phone_body(const struct rouse_report *r)
{
	static const char *const keys[] = { "rouse",  "version", "verdict",  "status",  "word",
					    "reason", "since",   "instance", "document" };
	json_t *body = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		json_t *value = json_object_get(r->json, keys[i]);

		if (value)
			rouse_json_set(body, keys[i], json_incref(value));
	}
	return body;
}

static void signal_phone(struct rouse_report *r, const char *url)
{
	static const char *const headers[] = { "Content-Type: application/json", NULL };
	auto_fetcher struct rouse_fetcher *fetcher = rouse_fetcher_new();
	auto_json json_t *json = phone_body(r);
	auto_free char *body = json_dumps(json, JSON_COMPACT);
	struct rouse_fetch t = {
		.url = url,
		.method = "POST",
		.headers = headers,
		.body = body,
		.body_len = body ? strlen(body) : 0,
		.max_bytes = ROUSE_MAX_CHECK_BODY,
		.deadline = rouse_clock_ms() + ROUSE_SIGNAL_TIMEOUT,
	};
	struct rouse_err e = { 0 };
	char printed[512];
	int result = rouse_fetch(fetcher, &t, &e);

	rouse_buf_done(&t.body_out);
	note(r, "phoneHome", rouse_print_url(printed, sizeof(printed), url),
	     result < 0 ? e.text : NULL);
}

void rouse_health_signal(struct rouse_report *r, const struct rouse_health *h)
{
	const struct rouse_health_signals *s = h ? h->signals : NULL;
	const char *asked = NULL;

	if (s && s->ci)
		asked = s->ci->virtio ? s->ci->virtio : ROUSE_PORT_NAME;
	rouse_report_set(r, "announced", json_true());
	if (!json_is_array(json_object_get(r->json, "signals")))
		rouse_report_set(r, "signals", json_array());
	if (asked)
		signal_port(r, asked);
	if (!rouse_streq(asked, ROUSE_PORT_NAME) && rouse_port_present(ROUSE_PORT_NAME))
		signal_port(r, ROUSE_PORT_NAME);
	if (s && s->phone_home)
		signal_phone(r, s->phone_home->url);
}

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

void rouse_health_console(const struct rouse_report *r)
{
	auto_free char *state = rouse_report_console_line(r);
	auto_free char *line = rouse_asprintf("\r\n%s\r\n", state);
	auto_free char *record = rouse_asprintf("<7>%s\n", state);

	/* Level 7 reaches the log but no console: there it stands already, whatever `quiet` says. */
	(void)write_console("/dev/kmsg", record);
	if (!write_consoles(line))
		(void)write_console("/dev/console", line);
}
