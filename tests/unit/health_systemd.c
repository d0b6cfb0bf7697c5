/* SPDX-License-Identifier: Apache-2.0 */
/* Asking systemd about a unit, against a server that says what it is told to. */
#include "../lib/tap.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <rouse/auto.h>
#include <rouse/clock.h>

#include "../../modules/health/tools.h"

struct bytes {
	unsigned char data[1024];
	size_t len;
};

struct server {
	char dir[64], path[96];
	int fd;
	const char *auth; /* its first answer */
	struct bytes answer;
	char asked[1024]; /* all of the call, NUL for NUL */
	size_t n_asked;
	pthread_t thread;
};

static void add(struct bytes *b, const void *data, size_t n)
{
	memcpy(b->data + b->len, data, n);
	b->len += n;
}

static void add_u32(struct bytes *b, size_t n)
{
	uint32_t value = (uint32_t)n;

	while (b->len % 4)
		b->data[b->len++] = 0;
	add(b, &value, sizeof(value));
}

static void add_string(struct bytes *b, const char *s)
{
	add_u32(b, strlen(s));
	add(b, s, strlen(s) + 1);
}

/* The body of an answer: one unit, with what comes before its state. */
static void add_body(struct bytes *b, const char *load, const char *active, const char *sub)
{
	struct bytes body = { 0 };

	add_u32(&body, 100);
	add_u32(&body, 0);
	add_string(&body, "nginx.service");
	add_string(&body, "A web server");
	add_string(&body, load);
	add_string(&body, active);
	add_string(&body, sub);
	add_string(&body, "");
	add(b, body.data, body.len);
}

/* A message with no fields but eight bytes that nobody reads. */
static void add_message(struct bytes *b, unsigned char type, const struct bytes *body)
{
	const unsigned char order = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 'l' : 'B';
	const unsigned char head[] = { order, type, 0, 1 };

	add(b, head, sizeof(head));
	add_u32(b, body->len);
	add_u32(b, 7);
	add_u32(b, 8);
	add(b, "fields..", 8);
	add(b, body->data, body->len);
}

static void *serve(void *arg)
{
	struct server *s = arg;
	auto_fd int fd = accept(s->fd, NULL, NULL);
	char auth[256];
	ssize_t n;

	if (fd < 0 || read(fd, auth, sizeof(auth)) <= 0)
		return NULL;
	(void)!write(fd, s->auth, strlen(s->auth));
	n = read(fd, s->asked, sizeof(s->asked));
	s->n_asked = n > 0 ? (size_t)n : 0;
	/* In two parts, as a stream may deliver it. */
	if (n > 0 && s->answer.len) {
		(void)!write(fd, s->answer.data, 9);
		(void)!write(fd, s->answer.data + 9, s->answer.len - 9);
	}
	return NULL;
}

static void server_stop(struct server *s)
{
	(void)shutdown(s->fd, SHUT_RDWR);
	(void)pthread_join(s->thread, NULL);
	(void)close(s->fd);
	(void)unlink(s->path);
	(void)rmdir(s->dir);
}

static bool server_start(struct server *s)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	(void)snprintf(s->dir, sizeof(s->dir), "/tmp/rouse-systemd-XXXXXX");
	if (!mkdtemp(s->dir))
		return false;
	(void)snprintf(s->path, sizeof(s->path), "%s/private", s->dir);
	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", s->path);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return s->fd >= 0 && bind(s->fd, (const struct sockaddr *)&a, sizeof(a)) == 0 &&
	       listen(s->fd, 1) == 0 && pthread_create(&s->thread, NULL, serve, s) == 0;
}

static bool ask(struct server *s, struct health_unit *ret)
{
	bool answered;

	if (!s->auth)
		s->auth = "OK 0123456789abcdef0123456789abcdef\r\n";
	if (!server_start(s))
		return false;
	answered = health_ask_systemd(s->path, "nginx.service", rouse_clock_ms() + 20000, ret);
	server_stop(s);
	return answered;
}

static void systemd_is_asked_for_the_state_of_a_unit(struct t *t)
{
	struct server s = { 0 };
	struct health_unit is = { 0 };
	struct bytes body = { 0 };

	add_body(&body, "loaded", "active", "running");
	add_message(&s.answer, 2, &body);
	T_CHECK(t, ask(&s, &is));
	T_STR(t, is.load, "loaded");
	T_STR(t, is.active, "active");
	T_STR(t, is.sub, "running");
	T_CHECK(t, memmem(s.asked, s.n_asked, "ListUnitsByNames", 17));
	T_CHECK(t, memmem(s.asked, s.n_asked, "\x0d\0\0\0nginx.service", 18));
}

static void signals_before_the_answer_are_passed_over(struct t *t)
{
	struct server s = { 0 };
	struct health_unit is = { 0 };
	struct bytes body = { 0 }, eight = { .len = 8 };

	add_body(&body, "loaded", "activating", "start-pre");
	add_message(&s.answer, 4, &eight);
	add_message(&s.answer, 2, &body);
	T_CHECK(t, ask(&s, &is));
	T_STR(t, is.active, "activating");
}

static void an_error_is_no_answer(struct t *t)
{
	struct server s = { 0 };
	struct health_unit is = { 0 };
	struct bytes body = { 0 };

	add_string(&body, "No such method");
	add_message(&s.answer, 3, &body);
	T_CHECK(t, !ask(&s, &is));
}

static void a_refusal_is_no_answer(struct t *t)
{
	struct server s = { .auth = "REJECTED EXTERNAL\r\n" };
	struct health_unit is = { 0 };

	T_CHECK(t, !ask(&s, &is));
	T_CHECK(t, s.n_asked == 0);
}

static void an_end_is_no_answer(struct t *t)
{
	struct server s = { 0 };
	struct health_unit is = { 0 };

	T_CHECK(t, !ask(&s, &is));
}

static void nobody_is_no_answer(struct t *t)
{
	struct health_unit is = { 0 };

	T_CHECK(t, !health_ask_systemd("/nonexistent/private", "x.service",
				       rouse_clock_ms() + 20000, &is));
}

static int ask_failed(struct server *s, struct health_unit *ret)
{
	int found;

	s->auth = "OK 0123456789abcdef0123456789abcdef\r\n";
	if (!server_start(s))
		return -2;
	found = health_ask_failed(s->path, rouse_clock_ms() + 20000, ret);
	server_stop(s);
	return found;
}

static void systemd_is_asked_for_units_that_have_failed(struct t *t)
{
	struct server s = { 0 };
	struct health_unit is = { 0 };
	struct bytes body = { 0 };

	add_body(&body, "loaded", "failed", "failed");
	add_message(&s.answer, 2, &body);
	T_CHECK(t, ask_failed(&s, &is) == 1);
	T_STR(t, is.name, "nginx.service");
	T_CHECK(t, memmem(s.asked, s.n_asked, "ListUnitsFiltered", 17));
	T_CHECK(t, memmem(s.asked, s.n_asked, "failed", 7));
}

static void systemd_without_units_that_have_failed_is_understood(struct t *t)
{
	struct server s = { 0 };
	struct health_unit is = { 0 };
	struct bytes body = { 0 };

	add_u32(&body, 0);
	add_u32(&body, 0);
	add_message(&s.answer, 2, &body);
	T_CHECK(t, ask_failed(&s, &is) == 0);
	T_STR(t, is.name, "");
}

static void systemd_that_answers_nothing_is_no_answer(struct t *t)
{
	struct server s = { 0 };
	struct health_unit is = { 0 };

	T_CHECK(t, ask_failed(&s, &is) == -1);
}

static void a_body_that_is_cut_is_no_unit(struct t *t)
{
	struct health_unit is = { 0 };
	struct bytes body = { 0 };

	add_body(&body, "loaded", "active", "running");
	body.len -= 5; /* the string behind the state, which is not read */
	T_CHECK(t, health_read_unit(body.data, body.len, &is) > 0);
	for (size_t n = 0; n < body.len; n++) {
		auto_free unsigned char *exact = malloc(n ? n : 1); /* for the sanitizer */

		memcpy(exact, body.data, n);
		T_CHECK(t, health_read_unit(exact, n, &is) < 0);
	}
}

static void a_state_that_is_too_long_is_no_unit(struct t *t)
{
	struct health_unit is = { 0 };
	struct bytes body = { 0 };

	add_body(&body, "loaded", "active-but-longer-than-any-state-has-been", "running");
	T_CHECK(t, health_read_unit(body.data, body.len, &is) < 0);
}

T_MAIN(T(systemd_is_asked_for_units_that_have_failed),
       T(systemd_without_units_that_have_failed_is_understood),
       T(systemd_that_answers_nothing_is_no_answer), T(systemd_is_asked_for_the_state_of_a_unit),
       T(signals_before_the_answer_are_passed_over), T(an_error_is_no_answer),
       T(a_refusal_is_no_answer), T(an_end_is_no_answer), T(nobody_is_no_answer),
       T(a_body_that_is_cut_is_no_unit), T(a_state_that_is_too_long_is_no_unit))
