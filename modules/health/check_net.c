/* SPDX-License-Identifier: Apache-2.0 */
/* What answers on the network, of this machine or another one. */
#include "tools.h"

#include <arpa/inet.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/limits.h>
#include <rouse/mem.h>
#include <rouse/text.h>

/* --- http ------------------------------------------------------------------------------------- */

static bool is_http(const struct rouse_health_check *c)
{
	return c->http;
}

static char *describe_http(const struct rouse_health_check *c)
{
	char url[512];

	return rouse_asprintf("http %s", rouse_print_url(url, sizeof(url), c->http));
}

/* The value of a header among the lines of an answer; "" when there is none. Caller frees. */
static char *header_of(const struct rouse_buf *lines, const char *name)
{
	size_t n = strlen(name);

	for (const char *line = lines->data; line && *line;) {
		const char *end = strchrnul(line, '\n');

		if (strncasecmp(line, name, n) == 0 && line[n] == ':') {
			line += n + 1;
			line += strspn(line, " \t");
			return rouse_strndup(line, strcspn(line, "\r\n"));
		}
		line = *end ? end + 1 : NULL;
	}
	return rouse_strdup("");
}

static int judge_answer(const struct rouse_health_check *c, const struct rouse_fetch *t,
			const struct rouse_buf *headers, struct rouse_err *e)
{
	const struct rouse_pair *answers = c->answers.items;
	const struct rouse_buf *body = &t->body_out;
	char url[512];

	(void)rouse_print_url(url, sizeof(url), c->http);
	if (c->status && t->status != (long)c->status)
		return rouse_fail(e, ROUSE_SYSTEM, 0, "'%s' answered %ld, not %lld", url, t->status,
				  (long long)c->status);
	for (size_t i = 0; i < c->answers.n; i++) {
		auto_free char *value = header_of(headers, answers[i].key);

		rouse_one_line(value);
		if (!strstr(value, answers[i].value))
			return rouse_fail(
				e, ROUSE_SYSTEM, 0,
				"'%s' answered with the header '%.64s: %.128s', without '%.128s'",
				url, answers[i].key, value, answers[i].value);
	}
	if (c->contains &&
	    !(body->data && memmem(body->data, body->len, c->contains, strlen(c->contains))))
		return rouse_fail(e, ROUSE_SYSTEM, 0, "'%s' answered %ld, without '%.128s'", url,
				  t->status, c->contains);
	return 0;
}

static char **request_headers(const struct rouse_health_check *c)
{
	const struct rouse_pair *pairs = c->headers.items;
	char **lines = rouse_calloc(c->headers.n + 1, sizeof(*lines));

	for (size_t i = 0; i < c->headers.n; i++)
		lines[i] = rouse_asprintf("%s: %s", pairs[i].key, pairs[i].value);
	return lines;
}

static void free_lines(char **lines)
{
	for (size_t i = 0; lines[i]; i++) {
		explicit_bzero(lines[i], strlen(lines[i])); /* one may be a token */
		free(lines[i]);
	}
	free(lines);
}

static int try_http(const struct rouse_health_check *c, uint64_t deadline,
		    unused_arg char **ret_note, struct rouse_err *e)
{
	auto_fetcher struct rouse_fetcher *fetcher = rouse_fetcher_new();
	auto_buf struct rouse_buf headers = { 0 };
	char **lines = request_headers(c);
	struct rouse_fetch t = {
		.url = c->http,
		.headers = (const char *const *)lines,
		.headers_out = &headers,
		.connect = c->host,
		.max_bytes = ROUSE_MAX_CHECK_BODY,
		.deadline = deadline,
		.max_tries = 1,
	};
	int r = rouse_fetch(fetcher, &t, e);

	/* An answer that is wanted is none of the transfer's failures. */
	if (r == 0 || (c->status && t.status))
		r = judge_answer(c, &t, &headers, e);
	rouse_buf_done(&t.body_out);
	free_lines(lines);
	return r;
}

const struct health_kind health_kind_http = { .name = "http",
					      .is = is_http,
					      .describe = describe_http,
					      .timeout = ROUSE_CHECK_TIMEOUT,
					      .interval = ROUSE_CHECK_INTERVAL,
					      .try = try_http };

/* --- tcp -------------------------------------------------------------------------------------- */

static const char *tcp_host(const struct rouse_health_check *c)
{
	return c->host ? c->host : "127.0.0.1";
}

static bool is_tcp(const struct rouse_health_check *c)
{
	return c->tcp != 0;
}

static char *describe_tcp(const struct rouse_health_check *c)
{
	return rouse_asprintf(strchr(tcp_host(c), ':') ? "tcp [%s]:%lld" : "tcp %s:%lld",
			      tcp_host(c), (long long)c->tcp);
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

static int try_tcp(const struct rouse_health_check *c, uint64_t deadline,
		   unused_arg char **ret_note, struct rouse_err *e)
{
	auto_free char *what = describe_tcp(c);
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

const struct health_kind health_kind_tcp = { .name = "tcp",
					     .is = is_tcp,
					     .describe = describe_tcp,
					     .timeout = ROUSE_CHECK_TIMEOUT,
					     .interval = ROUSE_CHECK_INTERVAL,
					     .try = try_tcp };
