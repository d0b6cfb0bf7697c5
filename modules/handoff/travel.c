/* SPDX-License-Identifier: Apache-2.0 */
#include "travel.h"

#include <fcntl.h>
#include <link.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <rouse/fs.h>
#include <rouse/init.h>
#include <rouse/text.h>

#define AGENT_DIR "/run/rouse/agent"
#define UNIT_DIR "/run/systemd/system"
#define UNIT "rouse-health.service"
#define SETTINGS "/etc/rouse/agent.json"
#define CA_BUNDLE "/etc/ssl/certs/ca-certificates.crt"

/* No ordering but the one at the end: a unit of the closure that hangs must not keep the verdict
 * from being given, and waiting for it must not hold up multi-user.target. What a check needs, it
 * waits for itself, until the document's deadline. systemd counts a boot as good after
 * boot-complete.target, which does wait. */
static const char unit_text[] =
	"[Unit]\n"
	"Description=Health of this boot (rouse)\n"
	"DefaultDependencies=no\n"
	"Conflicts=shutdown.target\n"
	"Before=boot-complete.target shutdown.target\n"
	"ConditionPathExists=/run/rouse/report.json\n"
	"ConditionPathExists=!/etc/initrd-release\n"
	"\n"
	"[Service]\n"
	"Type=oneshot\n"
	"RemainAfterExit=yes\n"
	"ExecStart=" AGENT_DIR "/ld.so --library-path " AGENT_DIR " " AGENT_DIR
	"/rouse health --hold\n"
	"Environment=SSL_CERT_FILE=" AGENT_DIR "/ca-certificates.crt\n"
	"# Status 3 is \"degraded\": up, on a fallback\n"
	"SuccessExitStatus=3\n"
	"# More than health.deadline and health.holdMax can be\n"
	"TimeoutStartSec=26h\n"
	"# The worker is what runs out of memory: its parent gives the verdict then\n"
	"OOMPolicy=continue\n"
	"StandardOutput=journal\n";

static const char *const wants[] = {
	UNIT_DIR "/multi-user.target.wants/" UNIT,
	UNIT_DIR "/default.target.wants/" UNIT,
	UNIT_DIR "/boot-complete.target.requires/" UNIT,
};

/* Copies in the kernel: tens of megabytes need not pass through this process. */
static int copy_bytes(int from, int to)
{
	for (;;) {
		ssize_t n = copy_file_range(from, NULL, to, NULL, 1 << 30, 0);

		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			break;
	}
	/* EXDEV, ENOSYS, EINVAL: between filesystems that cannot; then by hand. */
	if (lseek(from, 0, SEEK_SET) < 0 || lseek(to, 0, SEEK_SET) < 0 || ftruncate(to, 0) < 0)
		return -1;
	for (;;) {
		char buf[65536];
		ssize_t n = read(from, buf, sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return (int)n;
		if (rouse_write_all(to, buf, (size_t)n) < 0)
			return -1;
	}
}

static int copy(const char *from, const char *name, struct rouse_err *e)
{
	auto_free char *kept = rouse_asprintf("/" ROUSE_KEPT_DIR "/%s", name);
	auto_free char *path = rouse_asprintf(AGENT_DIR "/%s", name);
	auto_fd int in = open(from, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	auto_fd int out = -1;

	if (in < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '%s'", from);
	/* A try before this one may have left it, and its process may still run it: ETXTBSY. */
	(void)unlink(path);
	if (linkat(AT_FDCWD, from, AT_FDCWD, kept, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	if (out < 0 || copy_bytes(in, out) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot copy '%s' to '%s'", from, path);
	return 0;
}

/* One loaded object. Its name is the one under which others ask for it, unlike the file's in
 * /proc/self/maps. */
static int copy_object(struct dl_phdr_info *info, unused_arg size_t size, void *arg)
{
	struct rouse_err *e = arg;
	const char *path = info->dlpi_name, *slash = strrchr(path, '/');

	if (info->dlpi_addr == getauxval(AT_BASE))
		return copy(path, "ld.so", e);
	if (!slash) /* the program itself, which has no name, and what the kernel maps */
		return 0;
	return copy(path, slash + 1, e);
}

/* The library that glibc loads by name when a thread ends, in the directory of the C library. */
static int copy_hidden(struct dl_phdr_info *info, unused_arg size_t size, void *arg)
{
	const char *slash = strrchr(info->dlpi_name, '/');
	auto_free char *path = NULL;

	if (!slash || !rouse_strip_prefix(slash, "/libc.so."))
		return 0;
	path = rouse_asprintf("%.*s/libgcc_s.so.1", (int)(slash - info->dlpi_name),
			      info->dlpi_name);
	return access(path, R_OK) == 0 ? copy(path, "libgcc_s.so.1", arg) : 0;
}

/* Where the initramfs is memory, its files need no copy in /run, which is memory, too: links to them
 * stay behind when it is deleted, and /run/rouse/agent shows their directory. Without that directory
 * there are no links, and copies are made. */
static int keep_initramfs(struct rouse_err *e)
{
	struct statfs s = { 0 };
	struct stat first, self;

	(void)umount2(AGENT_DIR, MNT_DETACH); /* of a try before this one */
	/* Who else leaves an initramfs deletes all of it. */
	if (stat("/proc/1/exe", &first) < 0 || stat("/proc/self/exe", &self) < 0 ||
	    first.st_dev != self.st_dev || first.st_ino != self.st_ino)
		return 0;
	if (statfs("/", &s) < 0 || (s.f_type != RAMFS_MAGIC && s.f_type != TMPFS_MAGIC) ||
	    (mkdir("/" ROUSE_KEPT_DIR, 0755) < 0 && errno != EEXIST))
		return 0;
	if (mount("/" ROUSE_KEPT_DIR, AGENT_DIR, NULL, MS_BIND, NULL) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot mount '%s'", AGENT_DIR);
	return 0;
}

static int copy_agent(struct rouse_err *e)
{
	if (keep_initramfs(e) < 0 || dl_iterate_phdr(copy_object, e) < 0 ||
	    dl_iterate_phdr(copy_hidden, e) < 0 || copy("/proc/self/exe", "rouse", e) < 0)
		return -1;
	if (access(SETTINGS, R_OK) == 0 && copy(SETTINGS, "agent.json", e) < 0)
		return -1;
	return access(CA_BUNDLE, R_OK) == 0 ? copy(CA_BUNDLE, "ca-certificates.crt", e) : 0;
}

static int write_unit(const struct rouse_root *root, struct rouse_err *e)
{
	if (rouse_fs_mkdirs(root, UNIT_DIR, true, e) < 0 ||
	    rouse_fs_replace(root, UNIT_DIR "/" UNIT, unit_text, strlen(unit_text), 0644, (uid_t)-1,
			     (gid_t)-1, e) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(wants); i++)
		if (rouse_fs_mkdirs(root, wants[i], false, e) < 0 ||
		    rouse_fs_symlink(root, "../" UNIT, wants[i], e) < 0)
			return -1;
	return 0;
}

int travel_prepare(struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;

	if (rouse_root_open(&root, "/", e) < 0 || rouse_fs_mkdirs(&root, AGENT_DIR, true, e) < 0 ||
	    copy_agent(e) < 0)
		return -1;
	return write_unit(&root, e);
}
