/* SPDX-License-Identifier: Apache-2.0 */
/* The host of a virtual machine, which needs no network to hear: for tests and image builds. */
#include "signals.h"

#include <fcntl.h>
#include <string.h>
#if defined(__x86_64__) || defined(__i386__)
#include <sys/io.h>
#define HAVE_PORTS
#endif

#include <rouse/clock.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/mem.h>
#include <rouse/notify.h>
#include <rouse/port.h>
#include <rouse/text.h>

#define CREDENTIAL "vmm.notify_socket"
#define PORTS "/dev/port"
/* The device ends QEMU with twice the byte and one: 33, 39 (degraded), 175 (system)… QEMU itself ends with
 * 0 and 1, a signal with 128 and more of small numbers. */
#define DEBUG_EXIT_BASE 16

static bool is_port_name(const char *s)
{
	size_t n = strlen(s);

	return n && n <= 255 && *s != '-' && *s != '.' &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

const struct rouse_field signal_ci_fields[3] = {
	ROUSE_FIELD(struct signal_ci, virtio, "virtio",
		    "Name of the virtio-serial port; without it, org.rouse.status.",
		    .type = ROUSE_STRING, .format = "the name of a port", .valid = is_port_name),
	ROUSE_FIELD(struct signal_ci, vsock, "vsock",
		    "Notifies the address in the credential vmm.notify_socket, in systemd's "
		    "protocol, with the verdict as X_ROUSE_STATE.",
		    .type = ROUSE_BOOL),
	ROUSE_FIELD(struct signal_ci, debug_exit, "debugExit",
		    "I/O port of an isa-debug-exit device (1281 is usual), which ends the machine "
		    "after all else: QEMU's exit status is 33, plus twice the status of the boot.",
		    .type = ROUSE_INT, .min = 1, .max = 65535),
};

/* --- virtio-serial ---------------------------------------------------------------------------- */

static const char *port_name(const struct signal_call *c)
{
	const struct signal_ci *conf = c->conf;

	return conf->virtio ? conf->virtio : ROUSE_PORT_NAME;
}

/* Whoever only wants another channel need not attach a port for this one. */
static bool wants_virtio(const void *conf)
{
	const struct signal_ci *ci = conf;

	return ci->virtio || rouse_port_present(ROUSE_PORT_NAME) || (!ci->vsock && !ci->debug_exit);
}

static int no_port(const char *name, struct rouse_err *e)
{
	return rouse_fail(e, ROUSE_SYSTEM, 0, "%s",
			  rouse_port_present(name) ? "the host does not read it"
						   : "this machine has no such port");
}

static int virtio_probe(struct signal_call *c, struct rouse_err *e)
{
	(void)snprintf(c->to, sizeof(c->to), "%s", port_name(c));
	return rouse_port_present(port_name(c)) ? 0 : no_port(port_name(c), e);
}

static int virtio_tell(struct signal_call *c, struct rouse_err *e)
{
	json_t *event = json_object();

	(void)snprintf(c->to, sizeof(c->to), "%s", port_name(c));
	rouse_json_set_string(event, "event", "report");
	rouse_json_set(event, "report", json_incref((json_t *)c->report));
	return rouse_port_send(port_name(c), event) ? 0 : no_port(port_name(c), e);
}

const struct signal signal_virtio = {
	.name = "virtio",
	.slot = SLOT_CI,
	.stage = SIGNAL_LOCAL,
	.timeout = ROUSE_SIGNAL_TIMEOUT,
	.wanted = wants_virtio,
	.probe = virtio_probe,
	.tell = virtio_tell,
};

/* --- vsock ------------------------------------------------------------------------------------ */

static bool wants_vsock(const void *conf)
{
	return ((const struct signal_ci *)conf)->vsock;
}

static int vsock_probe(struct signal_call *c, struct rouse_err *e)
{
	if (rouse_credential("", CREDENTIAL, c->to, sizeof(c->to)))
		return 0;
	(void)snprintf(c->to, sizeof(c->to), CREDENTIAL);
	return rouse_fail(e, ROUSE_SYSTEM, 0, "the host gave this machine no such credential");
}

static int vsock_tell(struct signal_call *c, struct rouse_err *e)
{
	json_int_t status = json_integer_value(json_object_get(c->report, "status"));
	auto_buf struct rouse_buf text = { 0 };

	if (vsock_probe(c, e) < 0)
		return -1;
	rouse_buf_printf(&text, "X_ROUSE_STATE=%s\nX_ROUSE_INSTANCE=%s\nX_ROUSE_REASON=%s\n",
			 rouse_verdict_word(c->verdict), c->id, c->reason);
	rouse_buf_printf(&text, "STATUS=rouse: %s%s%s\n", rouse_verdict_word(c->verdict),
			 *c->reason ? ": " : "", c->reason);
	if (signal_is_good(c))
		rouse_buf_printf(&text, "READY=1\n");
	else
		rouse_buf_printf(&text, "EXIT_STATUS=%lld\n", (long long)status);
	return rouse_notify_send(c->to, text.data, e);
}

const struct signal signal_vsock = {
	.name = "vsock",
	.slot = SLOT_CI,
	.stage = SIGNAL_LOCAL,
	.timeout = ROUSE_SIGNAL_TIMEOUT,
	.wanted = wants_vsock,
	.probe = vsock_probe,
	.tell = vsock_tell,
};

/* --- isa-debug-exit --------------------------------------------------------------------------- */

static bool wants_debug_exit(const void *conf)
{
	return ((const struct signal_ci *)conf)->debug_exit != 0;
}

/* Kernels for clouds have no /dev/port. */
static int write_port(int64_t port, unsigned char byte, struct rouse_err *e)
{
	auto_fd int fd = open(PORTS, O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && pwrite(fd, &byte, 1, port) == 1)
		return 0;
#ifdef HAVE_PORTS
	if (fd < 0 && errno == ENOENT && ioperm((unsigned long)port, 1, 1) == 0) {
		outb(byte, (unsigned short)port);
		return 0;
	}
#endif
	return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot write to the I/O port");
}

static int debug_exit_tell(struct signal_call *c, struct rouse_err *e)
{
	const struct signal_ci *conf = c->conf;
	json_int_t status = json_integer_value(json_object_get(c->report, "status"));
	unsigned char byte = (unsigned char)(DEBUG_EXIT_BASE + status);

	(void)snprintf(c->to, sizeof(c->to), "0x%llx", (unsigned long long)conf->debug_exit);
	sync(); /* the machine is gone with the next call */
	return write_port(conf->debug_exit, byte, e);
}

const struct signal signal_debug_exit = {
	.name = "debugExit",
	.slot = SLOT_CI,
	.stage = SIGNAL_LAST,
	.timeout = ROUSE_SIGNAL_TIMEOUT,
	.wanted = wants_debug_exit,
	.tell = debug_exit_tell,
};
