/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of a unit, asked of systemd itself: one D-Bus call over the socket that systemctl uses,
 * too. Starting systemctl for it costs a hundred times as much, again at each try, while the
 * machine has a boot to finish.
 */
#include "tools.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <rouse/auto.h>
#include <rouse/clock.h>
#include <rouse/limits.h>
#include <rouse/text.h>

#define MANAGER_PATH "/org/freedesktop/systemd1"
#define MANAGER "org.freedesktop.systemd1.Manager"

enum { METHOD_CALL = 1, METHOD_RETURN = 2, METHOD_ERROR = 3 };
enum { FIELD_PATH = 1, FIELD_INTERFACE = 2, FIELD_MEMBER = 3, FIELD_SIGNATURE = 8 };
enum { FIXED_HEADER = 16 };

/* Numbers are in the order of this processor, which the first byte of a message names. */
static const char byte_order = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 'l' : 'B';

/* --- writing a message ------------------------------------------------------------------------ */

struct message {
	unsigned char data[1024];
	size_t len;
	bool full;
};

static void put(struct message *m, const void *data, size_t n)
{
	if (m->full || n > sizeof(m->data) - m->len) {
		m->full = true;
		return;
	}
	memcpy(m->data + m->len, data, n);
	m->len += n;
}

static void put_align(struct message *m, size_t to)
{
	static const unsigned char zero[8];

	put(m, zero, (to - m->len % to) % to);
}

static void put_u32(struct message *m, uint32_t n)
{
	put_align(m, sizeof(n));
	put(m, &n, sizeof(n));
}

static void put_string(struct message *m, const char *s)
{
	put_u32(m, (uint32_t)strlen(s));
	put(m, s, strlen(s) + 1);
}

/* One field of the header: a number and a variant, whose type is `type`. */
static void put_field(struct message *m, unsigned char field, char type, const char *value)
{
	const unsigned char head[] = { field, 1, (unsigned char)type, 0 };
	const unsigned char len = (unsigned char)strlen(value);

	put_align(m, 8);
	put(m, head, sizeof(head));
	if (type == 'g') { /* a signature has its length in one byte */
		put(m, &len, sizeof(len));
		put(m, value, strlen(value) + 1);
	} else {
		put_string(m, value);
	}
}

static void set_u32(struct message *m, size_t at, size_t n)
{
	uint32_t value = (uint32_t)n;

	memcpy(m->data + at, &value, sizeof(value));
}

/* METHOD(["ARGUMENT"]) */
static bool write_call(struct message *m, const char *method, const char *argument)
{
	const unsigned char head[] = { (unsigned char)byte_order, METHOD_CALL, 0, 1 };
	size_t fields, body;

	put(m, head, sizeof(head));
	put_u32(m, 0); /* the length of the body, see below */
	put_u32(m, 1); /* the serial number */
	put_u32(m, 0); /* the length of the fields */
	fields = m->len;
	put_field(m, FIELD_PATH, 'o', MANAGER_PATH);
	put_field(m, FIELD_INTERFACE, 's', MANAGER);
	put_field(m, FIELD_MEMBER, 's', method);
	put_field(m, FIELD_SIGNATURE, 'g', "as");
	set_u32(m, 12, m->len - fields);
	put_align(m, 8);
	body = m->len;
	put_u32(m, 0);
	put_string(m, argument);
	set_u32(m, body, m->len - body - sizeof(uint32_t));
	set_u32(m, 4, m->len - body);
	return !m->full;
}

/* --- reading the answer ----------------------------------------------------------------------- */

struct cursor {
	const unsigned char *data;
	size_t at, len;
};

static bool get_u32(struct cursor *c, uint32_t *ret)
{
	size_t at = (c->at + 3) & ~(size_t)3;

	if (at > c->len || c->len - at < sizeof(*ret))
		return false;
	memcpy(ret, c->data + at, sizeof(*ret));
	c->at = at + sizeof(*ret);
	return true;
}

/* A string of at most size - 1 bytes; into a NULL buffer: any string. */
static bool get_string(struct cursor *c, char *buf, size_t size)
{
	uint32_t n;

	if (!get_u32(c, &n) || n >= c->len - c->at || c->data[c->at + n])
		return false;
	if (buf && n >= size)
		return false;
	if (buf)
		memcpy(buf, c->data + c->at, (size_t)n + 1);
	c->at += (size_t)n + 1;
	return true;
}

int health_read_unit(const void *body, size_t n, struct health_unit *ret)
{
	struct cursor c = { .data = body, .len = n };
	uint32_t array;

	if (!get_u32(&c, &array))
		return -1;
	if (!array)
		return 0;
	c.at = 8; /* a structure begins at a multiple of 8 */
	return c.at <= c.len && get_string(&c, ret->name, sizeof(ret->name)) &&
			       get_string(&c, NULL, 0) && /* description */
			       get_string(&c, ret->load, sizeof(ret->load)) &&
			       get_string(&c, ret->active, sizeof(ret->active)) &&
			       get_string(&c, ret->sub, sizeof(ret->sub))
		       ? 1
		       : -1;
}

/* The whole length of the message at `data`, 0 while its beginning is missing, SIZE_MAX when this is
 * none; *ret_body is where its body begins. */
static size_t message_size(const unsigned char *data, size_t n, size_t *ret_body)
{
	uint32_t body, fields;

	if (n < FIXED_HEADER)
		return 0;
	memcpy(&body, data + 4, sizeof(body));
	memcpy(&fields, data + 12, sizeof(fields));
	if (data[0] != (unsigned char)byte_order || body > ROUSE_MAX_PROGRAM_OUTPUT ||
	    fields > ROUSE_MAX_PROGRAM_OUTPUT)
		return SIZE_MAX;
	*ret_body = (FIXED_HEADER + (size_t)fields + 7) & ~(size_t)7;
	return *ret_body + body;
}

/* Is the answer there? True, with what it says in *ret_found as health_read_unit() has it (-1: it is none).
 * Signals may come before it. */
static bool find_answer(const struct rouse_buf *in, struct health_unit *ret, int *ret_found)
{
	const unsigned char *p = (const unsigned char *)in->data, *end = p + in->len;
	size_t size, body;

	for (; (size = message_size(p, (size_t)(end - p), &body)) != 0; p += size) {
		*ret_found = -1;
		if (size == SIZE_MAX)
			return true;
		if (size > (size_t)(end - p))
			return false;
		if (p[1] == METHOD_RETURN)
			*ret_found = health_read_unit(p + body, size - body, ret);
		if (p[1] == METHOD_RETURN || p[1] == METHOD_CALL || p[1] == METHOD_ERROR)
			return true;
	}
	return false;
}

/* Bounded by SO_RCVTIMEO. */
static bool receive(int fd, struct rouse_buf *in)
{
	char chunk[2048];
	ssize_t n;

	do
		n = recv(fd, chunk, sizeof(chunk), 0);
	while (n < 0 && errno == EINTR);
	return n > 0 && rouse_buf_add(in, chunk, (size_t)n, ROUSE_MAX_PROGRAM_OUTPUT) == 0;
}

static int await_answer(int fd, struct health_unit *ret)
{
	auto_buf struct rouse_buf in = { 0 };
	int found = -1;

	while (receive(fd, &in))
		if (find_answer(&in, ret, &found))
			return found;
	return -1;
}

/* --- the conversation ------------------------------------------------------------------------- */

static int connect_to(const char *path, uint64_t deadline)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int left = rouse_clock_left(deadline);
	struct timeval wait = { .tv_sec = left / 1000, .tv_usec = left % 1000 * 1000 + 1 };
	auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(a.sun_path))
		return -1;
	memcpy(a.sun_path, path, strlen(path) + 1);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0 ||
	    connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0)
		return -1;
	return take(fd, -1);
}

static bool send_all(int fd, const struct message *m)
{
	return !m->full && send(fd, m->data, m->len, MSG_NOSIGNAL) == (ssize_t)m->len;
}

/* Says who we are, which the kernel confirms: the user's number, its digits in hexadecimal. */
static bool authenticate(int fd)
{
	auto_buf struct rouse_buf in = { 0 };
	struct message m = { 0 };
	char uid[16], digit[3];

	put(&m, "", 1); /* the protocol begins with NUL, for credentials to travel with */
	put(&m, "AUTH EXTERNAL ", 14);
	(void)snprintf(uid, sizeof(uid), "%u", (unsigned)geteuid());
	for (const char *p = uid; *p; p++) {
		(void)snprintf(digit, sizeof(digit), "%02x", (unsigned char)*p);
		put(&m, digit, 2);
	}
	put(&m, "\r\nBEGIN\r\n", 9);
	if (!send_all(fd, &m))
		return false;
	while (receive(fd, &in) && in.len < 256)
		if (memchr(in.data, '\n', in.len))
			return memcmp(in.data, "OK ", 3) == 0;
	return false;
}

/* systemd looks at a message only when it comes after the authentication, not along with it. */
static int ask(const char *path, const char *method, const char *argument, uint64_t deadline,
	       struct health_unit *ret)
{
	auto_fd int fd = connect_to(path, deadline);
	struct message call = { 0 };

	if (fd < 0 || !authenticate(fd) || !write_call(&call, method, argument) ||
	    !send_all(fd, &call))
		return -1;
	return await_answer(fd, ret);
}

bool health_ask_systemd(const char *path, const char *unit, uint64_t deadline,
			struct health_unit *ret)
{
	return ask(path, "ListUnitsByNames", unit, deadline, ret) > 0;
}

int health_ask_failed(const char *path, uint64_t deadline, struct health_unit *ret)
{
	return ask(path, "ListUnitsFiltered", "failed", deadline, ret);
}
