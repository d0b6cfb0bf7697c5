/* SPDX-License-Identifier: Apache-2.0 */
#include "ways.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/limits.h>
#include <rouse/proc.h>
#include <rouse/text.h>

static int open_part(const struct rouse_root *root, const char *system, const char *name)
{
	auto_free char *path = rouse_asprintf("%s/%s", system, name);

	return rouse_fs_open(root, path, O_RDONLY | O_NOCTTY | O_NONBLOCK, 0);
}

static bool is_file(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

bool ways_has_kernel(const struct rouse_root *root, const char *system)
{
	auto_fd int kernel = open_part(root, system, "kernel");
	auto_fd int initrd = open_part(root, system, "initrd");

	return is_file(kernel) && is_file(initrd);
}

bool ways_modules_match(const struct rouse_root *root, const char *system, const char *release)
{
	auto_fd int any = open_part(root, system, "kernel-modules");
	auto_free char *name = rouse_asprintf("kernel-modules/lib/modules/%s", release);
	auto_fd int ours = open_part(root, system, name);

	return any < 0 || ours >= 0;
}

/* One line: what the system wants, and which one it is. */
static int read_parameters(const struct rouse_root *root, const char *system, char **ret,
			   struct rouse_err *e)
{
	auto_free char *path = rouse_asprintf("%s/kernel-params", system);
	auto_buf struct rouse_buf text = { 0 };

	if (rouse_fs_read(root, path, ROUSE_MAX_CMDLINE, &text, e) < 0 && e->sys != ENOENT)
		return -1;
	if (text.data)
		rouse_one_line(text.data);
	*ret = rouse_asprintf("%s%sinit=%s/init", text.data ? text.data : "", text.len ? " " : "",
			      system);
	if (strlen(*ret) < ROUSE_MAX_CMDLINE)
		return 0;
	free(take(*ret, NULL));
	return rouse_fail(e, ROUSE_DOCUMENT, E2BIG, "'%s'", path);
}

int ways_load_kernel(const struct rouse_root *root, const char *system, struct rouse_err *e)
{
	auto_fd int kernel = open_part(root, system, "kernel");
	auto_fd int initrd = open_part(root, system, "initrd");
	auto_free char *line = NULL;

	if (!is_file(kernel) || !is_file(initrd))
		return rouse_fail(e, ROUSE_DOCUMENT, ENOENT,
				  "the system '%s' has no kernel with an initrd", system);
	if (read_parameters(root, system, &line, e) < 0)
		return -1;
	if (syscall(SYS_kexec_file_load, kernel, initrd, strlen(line) + 1, line, 0UL) == 0)
		return 0;
	if (errno == ENOEXEC || errno == EINVAL)
		return rouse_fail(e, ROUSE_DOCUMENT, errno, "cannot load the kernel of '%s'",
				  system);
	return rouse_fail(e, ROUSE_SYSTEM, errno,
			  "this kernel does not load that of '%s' (kexec is not built in, or "
			  "locked down)",
			  system);
}

/* --- systemd ---------------------------------------------------------------------------------- */

int ways_systemd_version(const char *text)
{
	const char *digits = rouse_strip_prefix(text, "systemd ");
	char number[8] = "";
	uint64_t n = 0;
	size_t len = digits ? strspn(digits, "0123456789") : 0;

	if (!len || len >= sizeof(number))
		return 0;
	memcpy(number, digits, len);
	return rouse_parse_u64(number, 100000, &n) ? (int)n : 0;
}

int ways_running_systemd(void)
{
	const char *const argv[] = { "systemctl", "--version", NULL };
	const struct rouse_proc p = { .argv = argv,
				      .deadline = rouse_clock_ms() + ROUSE_SIGNAL_TIMEOUT };
	auto_buf struct rouse_buf out = { 0 };
	struct rouse_err e;
	int status;

	if (access("/run/systemd/system", F_OK) < 0 || rouse_proc_run(&p, &status, &out, &e) < 0 ||
	    status != 0)
		return 0;
	return ways_systemd_version(out.data ? out.data : "");
}

int ways_systemctl(const char *verb, const char *unit, struct rouse_err *e)
{
	const char *const argv[] = { "systemctl", "--no-block", verb, unit, NULL };
	const struct rouse_proc p = { .argv = argv,
				      .deadline = rouse_clock_ms() + ROUSE_DEADLINE_HANDOFF };

	return rouse_proc_check(&p, e);
}

/* --- the same userspace ----------------------------------------------------------------------- */

/* What the program said last is why. */
static const char *last_line(struct rouse_buf *out)
{
	char *end, *line;

	if (!out->data)
		return "it said nothing";
	for (end = out->data + out->len; end > out->data && (end[-1] == '\n' || end[-1] == ' ');)
		*--end = '\0';
	line = strrchr(out->data, '\n');
	return line ? line + 1 : *out->data ? out->data : "it said nothing";
}

int ways_prepare(const char *system, uint64_t deadline, struct rouse_err *e)
{
	auto_free char *program = rouse_asprintf("%s/activate", system);
	const char *const argv[] = { program, NULL };
	const struct rouse_proc p = { .argv = argv, .deadline = deadline };

	if (access(program, X_OK) < 0)
		return 0;
	return rouse_proc_check(&p, e) < 0 ? rouse_wrap(e, "the system was not activated") : 0;
}

int ways_activate(const char *root, const char *system, uint64_t deadline,
		  enum ways_activation *ret, struct rouse_err *e)
{
	auto_root struct rouse_root r = ROUSE_ROOT_INIT;
	auto_free char *program = rouse_asprintf("%s/bin/switch-to-configuration", system);
	const char *const argv[] = { program, "switch", NULL };
	struct rouse_proc p = { .argv = argv, .deadline = deadline };
	auto_buf struct rouse_buf out = { 0 };
	auto_fd int fd = -1;
	int status;

	*ret = WAYS_NONE;
	if (rouse_root_open(&r, root, e) < 0)
		return -1;
	fd = rouse_fs_open(&r, program, O_PATH, 0);
	if (fd < 0)
		return 0;
	if (!rouse_streq(root, "/"))
		p.chroot = root;
	if (rouse_proc_run(&p, &status, &out, e) < 0)
		return rouse_wrap(e, "the system was not activated");
	if (status != 0 && status != 4)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "'%s switch' ended with status %d: %s",
				  program, status, last_line(&out));
	*ret = status == 4 ? WAYS_UNITS_FAILED : WAYS_ACTIVE;
	return 0;
}
