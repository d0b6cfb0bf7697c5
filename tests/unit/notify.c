/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/limits.h>
#include <rouse/mem.h>
#include <rouse/notify.h>

struct fixture {
	char top[64];
	char value[256];
};

static void fixture_done(struct fixture *f)
{
	auto_free char *command = rouse_asprintf("rm -r %s", f->top);

	if (f->top[0])
		(void)!system(command); /* a test may: the path is ours */
}
#define auto_fixture __attribute__((cleanup(fixture_done)))

static bool put(struct fixture *f, const char *path, const void *data, size_t n)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	struct rouse_err e;

	if (!f->top[0]) {
		(void)snprintf(f->top, sizeof(f->top), "/tmp/rouse-notify.XXXXXX");
		if (!mkdtemp(f->top))
			return false;
	}
	return rouse_root_open(&root, f->top, &e) == 0 &&
	       rouse_fs_mkdirs(&root, path, false, &e) == 0 &&
	       rouse_fs_replace(&root, path, data, n, 0600, (uid_t)-1, (gid_t)-1, &e) == 0;
}

static bool find(struct fixture *f)
{
	return rouse_credential(f->top, "vmm.notify_socket", f->value, sizeof(f->value));
}

#define SMBIOS "/sys/firmware/dmi/entries/11-0/raw"
#define LINE "io.systemd.credential:vmm.notify_socket=vsock:2:1234"

static void credential_of_the_manager_is_found(struct t *t)
{
	auto_fixture struct fixture f = { 0 };

	T_CHECK(t, put(&f, "/run/credentials/@system/vmm.notify_socket", "vsock:2:9\n", 10));
	T_CHECK(t, find(&f));
	T_STR(t, f.value, "vsock:2:9");
}

static void credential_of_fw_cfg_is_found(struct t *t)
{
	auto_fixture struct fixture f = { 0 };

	T_CHECK(t, put(&f,
		       "/sys/firmware/qemu_fw_cfg/by_name/opt/io.systemd.credentials/"
		       "vmm.notify_socket/raw",
		       "vsock-stream:2:7", 16));
	T_CHECK(t, find(&f));
	T_STR(t, f.value, "vsock-stream:2:7");
}

static void credential_of_the_firmware_is_found(struct t *t)
{
	static const char raw[] = "\x0b\x05\x00\x11\x02io.systemd.credential:other=x\0" LINE "\0";
	auto_fixture struct fixture f = { 0 };

	T_CHECK(t, put(&f, SMBIOS, raw, sizeof(raw)));
	T_CHECK(t, find(&f));
	T_STR(t, f.value, "vsock:2:1234");
}

static void credential_without_an_end_is_none(struct t *t)
{
	static const char raw[] = "\x0b\x05\x00\x11\x01" LINE;
	auto_fixture struct fixture f = { 0 };

	T_CHECK(t, put(&f, SMBIOS, raw, sizeof(raw) - 1)); /* the NUL is missing */
	T_CHECK(t, !find(&f));
}

static void firmware_that_lies_about_its_length_is_survived(struct t *t)
{
	static const char raw[] = "\x0b\xff\x00\x11\x01" LINE;
	auto_fixture struct fixture f = { 0 };

	T_CHECK(t, put(&f, SMBIOS, raw, sizeof(raw)));
	T_CHECK(t, !find(&f));
	T_CHECK(t, put(&f, SMBIOS, "\x0b", 1));
	T_CHECK(t, !find(&f));
	T_CHECK(t, put(&f, SMBIOS, "", 0));
	T_CHECK(t, !find(&f));
}

static void structure_is_read_up_to_its_bound(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	auto_free char *raw = rouse_calloc(ROUSE_MAX_SMBIOS + 1, 1);

	memset(raw, 'x', ROUSE_MAX_SMBIOS);
	memcpy(raw, "\x0b\x05\x00\x11\x02", 5);
	raw[ROUSE_MAX_SMBIOS - sizeof(LINE) - 2] = '\0';
	memcpy(raw + ROUSE_MAX_SMBIOS - sizeof(LINE) - 1, LINE, sizeof(LINE));
	raw[ROUSE_MAX_SMBIOS - 1] = '\0';
	T_CHECK(t, put(&f, SMBIOS, raw, ROUSE_MAX_SMBIOS));
	T_CHECK(t, find(&f));
	T_CHECK(t, put(&f, SMBIOS, raw, ROUSE_MAX_SMBIOS + 1));
	T_CHECK(t, !find(&f));
}

static void addresses_that_are_none_are_refused(struct t *t)
{
	static const char *const bad[] = { "",
					   "/",
					   "@",
					   "host:1",
					   "vsock:2",
					   "vsock:x:1",
					   "vsock:2:",
					   "vsock:2:4294967296",
					   "vsock-dgram",
					   "vsock-raw:2:1" };
	struct rouse_err e;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		T_CHECK(t, rouse_notify_send(bad[i], "READY=1", &e) < 0);
		T_HAS(t, e.text, "is no address for notifications");
	}
}

static void nobody_at_the_address_is_an_error(struct t *t)
{
	struct rouse_err e;

	T_CHECK(t, rouse_notify_send("/tmp/rouse-notify-nobody", "READY=1", &e) < 0);
	T_HAS(t, e.text, "cannot notify '/tmp/rouse-notify-nobody'");
}

static void abstract_socket_gets_the_message(struct t *t)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	auto_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	auto_free char *name = rouse_asprintf("@rouse-test-%d", (int)getpid());
	struct rouse_err e;
	char got[64];
	ssize_t n;

	memcpy(a.sun_path + 1, name + 1, strlen(name) - 1);
	T_CHECK(t, bind(fd, (const struct sockaddr *)&a,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))) == 0);
	T_CHECK(t, rouse_notify_send(name, "READY=1", &e) == 0);
	n = recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT);
	T_CHECK(t, n == 7 && memcmp(got, "READY=1", 7) == 0);
}

static void *talk(void *arg)
{
	auto_fd int fd = accept(*(int *)arg, NULL, NULL);
	static const char words[64] = "and another thing";

	while (send(fd, words, sizeof(words), MSG_NOSIGNAL) > 0)
		;
	return NULL;
}

static void host_that_never_stops_talking_is_left(struct t *t)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	auto_free char *name = rouse_asprintf("@rouse-talk-%d", (int)getpid());
	uint64_t begin = rouse_clock_ms();
	pthread_t host;
	struct rouse_err e;

	memcpy(a.sun_path + 1, name + 1, strlen(name) - 1);
	T_CHECK(t, bind(fd, (const struct sockaddr *)&a,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))) == 0);
	T_CHECK(t, listen(fd, 1) == 0 && pthread_create(&host, NULL, talk, &fd) == 0);
	T_CHECK(t, rouse_notify_send(name, "READY=1", &e) == 0);
	T_CHECK(t, rouse_clock_ms() - begin < 15 * ROUSE_PORT_TIMEOUT);
	(void)pthread_join(host, NULL);
}

T_MAIN(T(host_that_never_stops_talking_is_left), T(credential_of_the_manager_is_found),
       T(credential_of_fw_cfg_is_found), T(credential_of_the_firmware_is_found),
       T(credential_without_an_end_is_none), T(firmware_that_lies_about_its_length_is_survived),
       T(structure_is_read_up_to_its_bound), T(addresses_that_are_none_are_refused),
       T(nobody_at_the_address_is_an_error), T(abstract_socket_gets_the_message))
