/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a machine says on its consoles: the verdict, and the host keys of its SSH server, so that whoever connects for
 * the first time can compare them with what the cloud shows of the console. The lines around them are those of
 * cloud-init, for which tools look; the fingerprints those of ssh-keygen(1) -l.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/health.h>
#include <rouse/limits.h>
#include <rouse/port.h>
#include <rouse/report.h>
#include <rouse/text.h>
#include <rouse/trust.h>

#include "console.h"

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

bool rouse_health_console(const struct rouse_report *r)
{
	auto_free char *state = rouse_report_console_line(r);
	auto_free char *line = rouse_asprintf("\r\n%s\r\n", state);
	auto_free char *record = rouse_asprintf("<7>%s\n", state);

	/* Level 7 reaches the log but no console: there it stands already, whatever `quiet` says. */
	(void)write_console("/dev/kmsg", record);
	return write_consoles(line) || write_console("/dev/console", line);
}

/* --- host keys -------------------------------------------------------------------------------- */

/* A string of RFC 4251, section 5, at *at; NULL when it is not whole. */
static const uint8_t *take_string(const uint8_t *blob, size_t size, size_t *at, size_t *ret_len)
{
	const uint8_t *p = blob + *at;
	size_t n;

	if (size - *at < 4)
		return NULL;
	n = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
	if (size - *at - 4 < n)
		return NULL;
	*at += 4 + n;
	*ret_len = n;
	return p + 4;
}

/* RFC 4253, section 6.6: "ssh-rsa", e, n. 0: not an RSA key. */
static unsigned rsa_bits(const uint8_t *blob, size_t size)
{
	const uint8_t *n = NULL;
	size_t at = 0, len = 0;
	unsigned bits;

	for (int i = 0; i < 3; i++) {
		n = take_string(blob, size, &at, &len);
		if (!n)
			return 0;
	}
	while (len && !*n) {
		n++;
		len--;
	}
	bits = (unsigned)len * 8;
	for (unsigned top = len ? *n : 0x80; len && !(top & 0x80); top <<= 1)
		bits--;
	return bits;
}

static const struct {
	const char *type, *name;
	unsigned bits; /* 0: those of the key */
} kinds[] = {
	{ "ssh-ed25519", "ED25519", 256 },
	{ "ecdsa-sha2-nistp256", "ECDSA", 256 },
	{ "ecdsa-sha2-nistp384", "ECDSA", 384 },
	{ "ecdsa-sha2-nistp521", "ECDSA", 521 },
	{ "ssh-rsa", "RSA", 0 },
};

char *console_fingerprint(const char *line)
{
	size_t type = strcspn(line, " "), key = line[type] ? strcspn(line + type + 1, " ") : 0;
	const char *text = line + type + 1, *comment;
	uint8_t blob[1024], digest[ROUSE_SHA256_LEN];
	auto_free char *print = NULL;
	int64_t n;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strlen(kinds[i].type) != type || memcmp(line, kinds[i].type, type) != 0 || !key)
			continue;
		n = rouse_unbase64(blob, sizeof(blob), text, key);
		if (n <= 0)
			return NULL;
		rouse_sha256_of(blob, (size_t)n, digest);
		print = rouse_base64(digest, sizeof(digest));
		print[strcspn(print, "=")] = '\0';
		comment = text[key] && text[key + 1] ? text + key + 1 : "no comment";
		return rouse_asprintf("%u SHA256:%s %s (%s)",
				      kinds[i].bits ? kinds[i].bits : rsa_bits(blob, (size_t)n),
				      print, comment, kinds[i].name);
	}
	return NULL;
}

static int is_public_host_key(const struct dirent *entry)
{
	const char *rest = rouse_strip_prefix(entry->d_name, "ssh_host_");
	size_t n = rest ? strlen(rest) : 0;

	return n > 8 && rouse_streq(rest + n - 8, "_key.pub");
}

int console_each_host_key(const char *dir,
			  int (*each)(void *arg, const char *line, struct rouse_err *e), void *arg,
			  struct rouse_err *e)
{
	struct dirent **entries = NULL;
	int n = scandir(dir, &entries, is_public_host_key, alphasort), r = 0;

	for (int i = 0; i < n; i++) {
		auto_free char *path = rouse_asprintf("%s/%s", dir, entries[i]->d_name);
		auto_free char *print = NULL;
		char line[2048];

		if (r == 0 && rouse_read_line(path, line, sizeof(line)) &&
		    rouse_utf8_valid(line, strlen(line))) {
			rouse_one_line(line);
			print = console_fingerprint(line);
		}
		if (print)
			r = each(arg, line, e);
		free(entries[i]);
	}
	free(entries);
	return r;
}

struct texts {
	struct rouse_buf prints, keys;
};

static int add_texts(void *arg, const char *line, struct rouse_err *e unused_arg)
{
	auto_free char *print = console_fingerprint(line);
	struct texts *t = arg;

	rouse_buf_printf(&t->prints, "%s\r\n", print);
	rouse_buf_printf(&t->keys, "%s\r\n", line);
	return 0;
}

char *console_host_keys(const char *dir)
{
	struct texts t = { 0 };
	struct rouse_err never;
	char *ret = NULL;

	(void)console_each_host_key(dir, add_texts, &t, &never);
	if (t.prints.len)
		ret = rouse_asprintf("\r\n-----BEGIN SSH HOST KEY FINGERPRINTS-----\r\n%s"
				     "-----END SSH HOST KEY FINGERPRINTS-----\r\n"
				     "-----BEGIN SSH HOST KEY KEYS-----\r\n%s"
				     "-----END SSH HOST KEY KEYS-----\r\n",
				     t.prints.data, t.keys.data);
	rouse_buf_done(&t.prints);
	rouse_buf_done(&t.keys);
	return ret;
}

void rouse_health_host_keys(void)
{
	auto_free char *text = console_host_keys("/etc/ssh");

	if (text && !write_consoles(text))
		(void)write_console("/dev/console", text);
}
