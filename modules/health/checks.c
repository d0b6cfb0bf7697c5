/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of checks: one try of each. */
#include <rouse/health.h>

#include <arpa/inet.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/fs.h>
#include <rouse/limits.h>
#include <rouse/mem.h>
#include <rouse/proc.h>
#include <rouse/text.h>

#include "tools.h"

static const char *tcp_host(const struct rouse_health_check *c)
{
	return c->host ? c->host : "127.0.0.1";
}

char *rouse_health_describe(const struct rouse_health_check *c)
{
	char url[512];

	if (c->http)
		return rouse_asprintf("http %s", rouse_print_url(url, sizeof(url), c->http));
	if (c->tcp)
		return rouse_asprintf(strchr(tcp_host(c), ':') ? "tcp [%s]:%lld" : "tcp %s:%lld",
				      tcp_host(c), (long long)c->tcp);
	return rouse_asprintf("unit %s", c->unit ? c->unit : "?");
}

/* The answer of the service is what counts; its body is read only to end the exchange well. */
static int try_http(const struct rouse_health_check *c, uint64_t deadline, struct rouse_err *e)
{
	auto_fetcher struct rouse_fetcher *fetcher = rouse_fetcher_new();
	struct rouse_fetch t = {
		.url = c->http,
		.max_bytes = ROUSE_MAX_CHECK_BODY,
		.deadline = deadline,
		.max_tries = 1,
	};
	char url[512];
	int r = rouse_fetch(fetcher, &t, e);

	rouse_buf_done(&t.body_out);
	if (c->status && t.status == (long)c->status)
		return 0;
	if (c->status && t.status)
		return rouse_fail(e, ROUSE_SYSTEM, 0, "'%s' answered %ld, not %lld",
				  rouse_print_url(url, sizeof(url), c->http), t.status,
				  (long long)c->status);
	return r;
}

static socklen_t tcp_address(const struct rouse_health_check *c, struct sockaddr_storage *ret)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;

	*ret = (struct sockaddr_storage){ 0 };
	if (inet_pton(AF_INET, tcp_host(c), &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)c->tcp);
		return sizeof(*v4);
	}
	if (inet_pton(AF_INET6, tcp_host(c), &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)c->tcp);
		return sizeof(*v6);
	}
	return 0;
}

static int try_tcp(const struct rouse_health_check *c, uint64_t deadline, struct rouse_err *e)
{
	auto_free char *what = rouse_health_describe(c);
	struct sockaddr_storage address;
	socklen_t size = tcp_address(c, &address);
	auto_fd int fd = -1;
	struct pollfd p;
	int r, failure = 0;
	socklen_t n = sizeof(failure);

	if (!size)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "'%s' is not an IP address", tcp_host(c));
	fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make a socket for '%s'", what);
	if (connect(fd, (const struct sockaddr *)&address, size) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot connect to '%s'", what);

	p = (struct pollfd){ .fd = fd, .events = POLLOUT };
	do
		r = poll(&p, 1, rouse_clock_left(deadline));
	while (r < 0 && errno == EINTR);
	if (r == 0)
		failure = ETIMEDOUT;
	else if (r < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &n) < 0)
		failure = errno;
	if (failure)
		return rouse_fail(e, ROUSE_SYSTEM, failure, "cannot connect to '%s'", what);
	return 0;
}

/* A closure keeps its tools elsewhere than a distribution does. */
bool health_find_systemctl(char *buf, size_t size)
{
	static const char *const more[] = {
		"/run/booted-system/sw/bin/systemctl",
		"/nix/var/nix/profiles/system/sw/bin/systemctl",
		"/nix/var/nix/profiles/system/systemd/bin/systemctl",
		"/nix/var/nix/profiles/system/bin/systemctl",
	};

	if (rouse_proc_find("systemctl", NULL, buf, size))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(more); i++)
		if (rouse_proc_find(more[i], NULL, buf, size))
			return true;
	return false;
}

/* The value of a line "KEY=value" of `systemctl show`; buf is returned. */
static const char *property(char *buf, size_t size, const char *text, const char *key)
{
	size_t n = strlen(key);

	*buf = '\0';
	for (const char *line = text; line && *line;) {
		const char *end = strchrnul(line, '\n');

		if (strncmp(line, key, n) == 0 && line[n] == '=') {
			(void)snprintf(buf, size, "%.*s", (int)(end - line - (ssize_t)n - 1),
				       line + n + 1);
			break;
		}
		line = *end ? end + 1 : NULL;
	}
	return buf;
}

static int judge_unit(const char *unit, const struct health_unit *is, const char *result,
		      struct rouse_err *e)
{
	if (rouse_streq(is->active, "active") || rouse_streq(is->active, "reloading"))
		return 0;
	if (rouse_streq(is->load, "not-found"))
		return rouse_fail(e, ROUSE_SYSTEM, 0, "unit '%s' does not exist on this machine",
				  unit);
	if (rouse_streq(is->active, "failed"))
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "unit '%s' has failed (%s): look at `journalctl -u %s`", unit,
				  *result ? result : "no result", unit);
	return rouse_fail(e, ROUSE_SYSTEM, 0, "unit '%s' is %s (%s), not active", unit,
			  *is->active ? is->active : "in no known state",
			  *is->sub ? is->sub : "unknown");
}

static int judge_shown(const char *unit, const char *shown, struct rouse_err *e)
{
	struct health_unit is;
	char result[64];

	(void)property(is.load, sizeof(is.load), shown, "LoadState");
	(void)property(is.active, sizeof(is.active), shown, "ActiveState");
	(void)property(is.sub, sizeof(is.sub), shown, "SubState");
	return judge_unit(unit, &is, property(result, sizeof(result), shown, "Result"), e);
}

/* Without systemctl: does the control group of the unit hold processes? */
static int try_cgroup(const char *unit, char **ret_note, struct rouse_err *e)
{
	static const char *const slices[] = { "/sys/fs/cgroup/system.slice",
					      "/sys/fs/cgroup/systemd/system.slice",
					      "/sys/fs/cgroup/unified/system.slice" };

	for (size_t i = 0; i < ARRAY_SIZE(slices); i++) {
		auto_free char *path = rouse_asprintf("%s/%s/cgroup.procs", slices[i], unit);
		char line[32];

		if (!rouse_read_line(path, line, sizeof(line)) || !*line)
			continue;
		*ret_note = rouse_strdup("systemctl is missing: its control group has processes");
		return 0;
	}
	return rouse_fail(e, ROUSE_SYSTEM, 0,
			  "unit '%s' has no processes in its control group (systemctl is missing)",
			  unit);
}

static int try_unit(const struct rouse_health_check *c, uint64_t deadline, char **ret_note,
		    struct rouse_err *e)
{
	char systemctl[256];
	const char *const argv[] = {
		systemctl,    "show",
		"--no-pager", "--property=LoadState,ActiveState,SubState,Result",
		"--",         c->unit,
		NULL
	};
	struct rouse_proc p = { .argv = argv, .deadline = deadline };
	auto_buf struct rouse_buf out = { 0 };
	struct health_unit is;
	int status = 0;

	/* Why a unit has failed is a matter of its kind, which systemctl knows better. */
	if (health_ask_systemd(HEALTH_SYSTEMD_SOCKET, c->unit, deadline, &is) &&
	    !rouse_streq(is.active, "failed"))
		return judge_unit(c->unit, &is, "", e);
	if (!health_find_systemctl(systemctl, sizeof(systemctl)))
		return try_cgroup(c->unit, ret_note, e);
	if (rouse_proc_run(&p, &status, &out, e) < 0)
		return -1;
	if (status != 0) /* "System has not been booted with systemd", "Failed to connect to bus" */
		return rouse_fail(e, ROUSE_SYSTEM, 0, "cannot ask systemd about unit '%s': %.*s",
				  c->unit, (int)strcspn(out.data ? out.data : "", "\n"),
				  out.data ? out.data : "");
	return judge_shown(c->unit, out.data ? out.data : "", e);
}

int rouse_health_try(const struct rouse_health_check *c, uint64_t deadline, char **ret_note,
		     struct rouse_err *e)
{
	uint64_t end = rouse_clock_ms() + (c->timeout ? c->timeout : ROUSE_CHECK_TIMEOUT);

	if (end > deadline)
		end = deadline;
	if (c->http)
		return try_http(c, end, e);
	if (c->tcp)
		return try_tcp(c, end, e);
	return try_unit(c, end, ret_note, e);
}
