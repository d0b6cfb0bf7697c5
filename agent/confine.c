/* SPDX-License-Identifier: Apache-2.0 */
/* Capabilities, descriptors and Landlock; which system calls there are is in agent/syscalls.c. */
#include <rouse/confine.h>

#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <rouse/log.h>
#include <rouse/mem.h>
#include <rouse/text.h>

#include "forks.h"
#include "syscalls.h"

/* Landlock as in linux/landlock.h, which is younger than some systems' headers. */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444 /* the same on all architectures */
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif
#define CREATE_RULESET_VERSION 1u
#define RULE_PATH_BENEATH 1u
struct ruleset {
	uint64_t fs, net, scoped;
};
struct path_beneath {
	uint64_t allowed;
	int32_t parent;
} __attribute__((packed));

#define BIT64(n) (UINT64_C(1) << (n))
#define FS_WRITE_FILE BIT64(1)
#define FS_READ_FILE BIT64(2)
#define FS_READ_DIR BIT64(3)
#define FS_REMOVE_DIR BIT64(4)
#define FS_REMOVE_FILE BIT64(5)
#define FS_MAKE_DIR BIT64(7)
#define FS_MAKE_REG BIT64(8)
#define FS_MAKE_SYM BIT64(12)
#define FS_TRUNCATE BIT64(14)
#define NET_BIND_TCP BIT64(0)
#define SCOPE_ABSTRACT_UNIX_SOCKET BIT64(0)
#define SCOPE_SIGNAL BIT64(1)

#define FS_READ (FS_READ_FILE | FS_READ_DIR)
#define FS_OF_FILES (FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE)
#define FS_CHANGE                                                                                  \
	(FS_READ | FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG |    \
	 FS_MAKE_SYM | FS_TRUNCATE)

/* What the C library reads to look a name up, with the modules that do it, and OpenSSL to check a
 * certificate; whether this is a cloud's machine, whose bucket may be asked as such. */
static const char *const readable[] = {
	"/etc/resolv.conf",
	"/etc/hosts",
	"/etc/host.conf",
	"/etc/nsswitch.conf",
	"/etc/gai.conf",
	"/etc/services",
	"/etc/localtime",
	"/etc/ld.so.cache",
	"/etc/ssl/certs",
	"/etc/pki/tls/certs",
	"/etc/pki/ca-trust",
	"/etc/crypto-policies",
	"/lib",
	"/lib64",
	"/usr/lib",
	"/usr/lib64",
	"/usr/share",
	"/nix/store",
	"/run/systemd/resolve",
	"/proc/cmdline",
	"/proc/1/cmdline",
	"/sys/devices",
	"/sys/hypervisor",
};

static int landlock_version(void)
{
	return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);
}

struct rouse_confine_measure rouse_confine_measure(void)
{
	int version = landlock_version();

	return (struct rouse_confine_measure){ .landlock = version > 0 ? (unsigned)version : 0,
					       .seccomp = syscalls_can_be_limited() };
}

const char *rouse_confine_print(char buf[static 80], struct rouse_confine_measure m)
{
	char landlock[32] = "no Landlock";

	if (m.landlock)
		(void)snprintf(landlock, sizeof(landlock), "Landlock %u", m.landlock);
	(void)snprintf(buf, 80, "no capabilities, %sseccomp, %s", m.seccomp ? "" : "no ", landlock);
	return buf;
}

pid_t rouse_confine_fork(void)
{
	pid_t parent = getpid(), pid;
	sigset_t term, before;

	(void)sigemptyset(&term);
	(void)sigaddset(&term, SIGTERM);
	(void)pthread_sigmask(SIG_BLOCK, &term, &before);
	pid = forks_fork();
	if (pid != 0) {
		(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
		return pid;
	}
	rouse_log_forget();
	/* The keyboard's goes to all of us; the parent says when it is over. */
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGTERM, SIG_DFL);
	(void)signal(SIGPIPE, SIG_IGN);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(ROUSE_SYSTEM);
	return 0;
}

bool rouse_confine_ended(void)
{
	sigset_t pending;

	return sigpending(&pending) == 0 && sigismember(&pending, SIGTERM) == 1;
}

/* --- descriptors ------------------------------------------------------------------------------ */

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static int close_others(const struct rouse_confinement *c, struct rouse_err *e)
{
	size_t n = c->n_keep;
	auto_free int *sorted = rouse_calloc(n + 1, sizeof(*sorted));
	auto_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	unsigned next = 3;

	/* Somebody without /dev has nothing there that could be read. */
	for (int fd = 0; fd < 2; fd++)
		if (null < 0)
			(void)close(fd);
		else if (null != fd && dup2(null, fd) < 0)
			return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '/dev/null'");
	if (n)
		memcpy(sorted, c->keep, n * sizeof(*sorted));
	if (c->write >= 0)
		sorted[n++] = c->write;
	qsort(sorted, n, sizeof(*sorted), by_number);
	for (size_t i = 0; i < n; i++) {
		if (sorted[i] > (int)next)
			(void)syscall(SYS_close_range, next, (unsigned)sorted[i] - 1, 0);
		if (sorted[i] >= (int)next)
			next = (unsigned)sorted[i] + 1;
	}
	(void)syscall(SYS_close_range, next, ~0u, 0);
	if (null > 1)
		(void)take(null, -1); /* is closed */
	return 0;
}

/* --- capabilities ----------------------------------------------------------------------------- */

static int drop_capabilities(struct rouse_err *e)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };

	/* The set of what programs could gain: without CAP_SETPCAP it stays, and no program is started. */
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		(void)prctl(PR_CAPBSET_DROP, cap);
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, none) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot drop capabilities");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot give up new privileges");
	return 0;
}

/* --- Landlock --------------------------------------------------------------------------------- */

static int allow(int ruleset, int fd, uint64_t access, uint64_t handled)
{
	struct path_beneath rule = { .parent = fd };
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -1;
	rule.allowed = access & handled & (S_ISDIR(st.st_mode) ? UINT64_MAX : FS_OF_FILES);
	return (int)syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0);
}

static int allow_reading(int ruleset, const char *path, uint64_t handled)
{
	auto_fd int fd = open(path, O_PATH | O_CLOEXEC);

	return fd < 0 ? 0 : allow(ruleset, fd, FS_READ, handled);
}

/* A file that is replaced while we run, like that of a lease, is read from where it really is. */
static int allow_around(int ruleset, const char *path, uint64_t handled)
{
	char real[PATH_MAX];

	if (!realpath(path, real))
		return 0;
	*strrchr(real, '/') = '\0';
	/* Of these, not all is anybody's business. */
	if (!*real || rouse_streq(real, "/etc") || rouse_streq(real, "/run"))
		return 0;
	return allow_reading(ruleset, real, handled);
}

static int add_rules(int ruleset, const struct rouse_confinement *c, uint64_t handled)
{
	for (size_t i = 0; i < ARRAY_SIZE(readable); i++)
		if (allow_reading(ruleset, readable[i], handled) < 0)
			return -1;
	for (size_t i = 0; i < c->n_read; i++)
		if (allow_reading(ruleset, c->read[i], handled) < 0)
			return -1;
	if (allow_around(ruleset, "/etc/resolv.conf", handled) < 0)
		return -1;
	return c->write < 0 ? 0 : allow(ruleset, c->write, FS_CHANGE, handled);
}

/* What each version of the interface can refuse; later ones refuse no less of it. */
static struct ruleset handled_by(int version)
{
	struct ruleset r = { .fs = BIT64(13) - 1 };

	if (version >= 2)
		r.fs |= BIT64(13); /* renames between directories: without it none is allowed */
	if (version >= 3)
		r.fs |= FS_TRUNCATE;
	if (version >= 4)
		r.net = NET_BIND_TCP;
	if (version >= 5)
		r.fs |= BIT64(15); /* ioctl(2) of devices */
	if (version >= 6)
		r.scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL;
	return r;
}

static size_t ruleset_size(int version)
{
	return version >= 6   ? sizeof(struct ruleset)
	       : version >= 4 ? offsetof(struct ruleset, scoped)
			      : offsetof(struct ruleset, net);
}

static int restrict_files(const struct rouse_confinement *c, struct rouse_err *e)
{
	int version = landlock_version();
	struct ruleset r = handled_by(version);
	auto_fd int fd = -1;

	if (version <= 0)
		return 0;
	fd = (int)syscall(SYS_landlock_create_ruleset, &r, ruleset_size(version), 0);
	if (fd < 0 || add_rules(fd, c, r.fs) < 0 || syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot restrict access to files");
	return 0;
}

int rouse_confine(const struct rouse_confinement *c, struct rouse_err *e)
{
	if (close_others(c, e) < 0 || drop_capabilities(e) < 0 || restrict_files(c, e) < 0)
		return -1;
	return syscalls_limit(e);
}
