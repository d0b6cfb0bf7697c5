/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/notify.h>

#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
/* The kernel's header needs sa_family_t, which it does not include. */
#include <linux/vm_sockets.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/limits.h>
#include <rouse/text.h>

/* --- addresses -------------------------------------------------------------------------------- */

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_un local;
		struct sockaddr_vm vsock;
	} to;
	socklen_t size;
	int type; /* of socket; 0: whatever the other end speaks */
};

static bool parse_local(const char *s, struct address *ret)
{
	size_t n = strlen(s);

	if (n >= sizeof(ret->to.local.sun_path))
		return false;
	ret->to.local.sun_family = AF_UNIX;
	memcpy(ret->to.local.sun_path, s, n + 1);
	if (*s == '@')
		ret->to.local.sun_path[0] = '\0';
	ret->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (*s == '/'));
	return true;
}

/* "CID:PORT"; a CID may be left out: the host's. */
static bool parse_vsock(const char *s, struct address *ret)
{
	const char *colon = strchr(s, ':');
	auto_free char *cid = colon ? rouse_strndup(s, (size_t)(colon - s)) : NULL;
	uint64_t number = VMADDR_CID_HOST, port;

	if (!colon || (*cid && !rouse_parse_u64(cid, UINT32_MAX, &number)) ||
	    !rouse_parse_u64(colon + 1, UINT32_MAX, &port))
		return false;
	ret->to.vsock = (struct sockaddr_vm){ .svm_family = AF_VSOCK,
					      .svm_cid = (unsigned)number,
					      .svm_port = (unsigned)port };
	ret->size = sizeof(ret->to.vsock);
	return true;
}

static bool parse(const char *s, struct address *ret)
{
	static const struct {
		const char *prefix;
		int type;
	} kinds[] = { { "vsock:", 0 },
		      { "vsock-stream:", SOCK_STREAM },
		      { "vsock-dgram:", SOCK_DGRAM },
		      { "vsock-seqpacket:", SOCK_SEQPACKET } };

	*ret = (struct address){ 0 };
	if (*s == '/' || *s == '@')
		return s[1] && parse_local(s, ret);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const char *rest = rouse_strip_prefix(s, kinds[i].prefix);

		ret->type = kinds[i].type;
		if (rest)
			return parse_vsock(rest, ret);
	}
	return false;
}

/* --- sending ---------------------------------------------------------------------------------- */

/* A host takes messages of the machine itself by their port: those below 1024 are root's. */
static void bind_privileged(int fd)
{
	for (unsigned port = 1023; port >= 512; port--) {
		const struct sockaddr_vm from = { .svm_family = AF_VSOCK,
						  .svm_cid = VMADDR_CID_ANY,
						  .svm_port = port };

		if (bind(fd, (const struct sockaddr *)&from, sizeof(from)) == 0 ||
		    errno != EADDRINUSE)
			return; /* without the right to one, any port must do */
	}
}

/* Who has heard it closes: only then is it certain that it did not get lost with the machine. Nobody is listened to
 * for longer than that takes. */
static void await_end(int fd)
{
	uint64_t end = rouse_clock_ms() + ROUSE_PORT_TIMEOUT;
	char ignored[64];
	ssize_t n;

	(void)shutdown(fd, SHUT_WR);
	do
		n = recv(fd, ignored, sizeof(ignored), 0);
	while ((n > 0 || (n < 0 && errno == EINTR)) && rouse_clock_left(end));
}

static int send_as(const struct address *a, int type, const char *message)
{
	const struct timeval wait = { .tv_sec = ROUSE_PORT_TIMEOUT / 1000 };
	auto_fd int fd = socket(a->to.any.sa_family, type | SOCK_CLOEXEC, 0);
	size_t n = strlen(message);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0)
		return -1;
	if (a->to.any.sa_family == AF_VSOCK) {
		(void)setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &wait, sizeof(wait));
		bind_privileged(fd);
	}
	if (connect(fd, &a->to.any, a->size) < 0)
		return -1;
	if (send(fd, message, n, MSG_NOSIGNAL) != (ssize_t)n)
		return -1;
	if (type != SOCK_DGRAM)
		await_end(fd);
	return 0;
}

int rouse_notify_send(const char *address, const char *message, struct rouse_err *e)
{
	static const int types[] = { SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM };
	struct address a;

	if (!parse(address, &a))
		return rouse_fail(e, ROUSE_SYSTEM, 0, "'%s' is no address for notifications",
				  address);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if ((!a.type || a.type == types[i]) && send_as(&a, types[i], message) == 0)
			return 0;
	return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot notify '%s'", address);
}

void rouse_notify(const char *fmt, ...)
{
	const char *address = getenv("NOTIFY_SOCKET");
	struct rouse_err ignored;
	char text[2048];
	va_list ap;

	if (!address)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)!rouse_notify_send(address, text, &ignored); /* it is a courtesy */
}

/* --- credentials ------------------------------------------------------------------------------ */

static bool read_text(const char *path, char *buf, size_t size)
{
	struct rouse_err ignored;
	auto_buf struct rouse_buf b = { 0 };

	if (rouse_read_file(path, ROUSE_MAX_SMBIOS, &b, &ignored) < 0 || !b.len || b.len >= size ||
	    memchr(b.data, '\0', b.len))
		return false;
	memcpy(buf, b.data, b.len + 1);
	buf[strcspn(buf, "\r\n")] = '\0';
	return *buf != '\0';
}

/* The strings behind a structure of type 11 (SMBIOS 3.6, 7.12): each ends with a NUL, the last with two. */
static bool find_string(const struct rouse_buf *raw, const char *prefix, char *buf, size_t size)
{
	size_t at = raw->len > 1 ? (unsigned char)raw->data[1] : 0;

	while (at < raw->len && raw->data[at]) {
		const char *s = raw->data + at;
		size_t n = strnlen(s, raw->len - at);
		const char *value = n < raw->len - at ? rouse_strip_prefix(s, prefix) : NULL;

		if (value && strlen(value) < size) {
			memcpy(buf, value, strlen(value) + 1);
			return true;
		}
		at += n + 1;
	}
	return false;
}

static bool in_firmware(const char *sysroot, const char *name, char *buf, size_t size)
{
	auto_free char *prefix = rouse_asprintf("io.systemd.credential:%s=", name);

	/* One structure is what everybody makes; a few are allowed. */
	for (unsigned i = 0; i < 16; i++) {
		auto_free char *path = rouse_asprintf("%s/sys/firmware/dmi/entries/11-%u/raw",
						      sysroot, i);
		auto_buf struct rouse_buf raw = { 0 };
		struct rouse_err ignored;

		if (rouse_read_file(path, ROUSE_MAX_SMBIOS, &raw, &ignored) < 0)
			return false;
		if (find_string(&raw, prefix, buf, size))
			return true;
	}
	return false;
}

bool rouse_credential(const char *sysroot, const char *name, char *buf, size_t size)
{
	static const char *const places[] = {
		"/run/credentials/@system", "/run/credentials/@initrd",
		"/sys/firmware/qemu_fw_cfg/by_name/opt/io.systemd.credentials"
	};
	const char *own = getenv("CREDENTIALS_DIRECTORY");
	auto_free char *given = own ? rouse_asprintf("%s/%s", own, name) : NULL;

	if (given && read_text(given, buf, size))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		/* fw_cfg shows a directory in which "raw" is the content. */
		auto_free char *path = rouse_asprintf("%s%s/%s%s", sysroot, places[i], name,
						      places[i][1] == 's' ? "/raw" : "");

		if (read_text(path, buf, size))
			return true;
	}
	return in_firmware(sysroot, name, buf, size);
}
