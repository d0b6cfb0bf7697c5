/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of what is allowed: what glibc, libcurl, OpenSSL and the decoders use for transfers, threads and
 * plain files. Refused is what is not on it; the notes say why something near is not.
 */
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#define ARCHITECTURE 0
#endif

/* The youngest call that is known here: file_setattr. */
#define YOUNGEST 469

enum test {
	ANY,
	EQUAL, /* the argument is `value` */
	SOME,  /* … has a bit of `value` */
	NONE,  /* … has none */
	OWN,   /* … is our process id */
};

struct allowed {
	int number;
	enum test test;
	unsigned argument;
	uint32_t value;
};

#define CALL(name)                                                                                 \
	{                                                                                          \
		.number = SYS_##name                                                               \
	}
#define CALL_IF(name, n, how, what)                                                                \
	{                                                                                          \
		.number = SYS_##name, .test = (how), .argument = (n), .value = (what)              \
	}

/* Files that others may write, or that run as somebody else. */
#define BAD_MODE 07022
#define SET_ID 07000

static const struct allowed calls[] = {
	/* The most frequent first: a kernel before 5.11 goes through the list at each call. */
	CALL(read),
	CALL(write),
	CALL(futex),
	CALL(recvfrom),
	CALL(sendto),
	CALL(close),
	CALL_IF(openat, 3, NONE, SET_ID),
	CALL(ppoll),
	CALL(utimensat),
	CALL_IF(fchmod, 1, NONE, BAD_MODE),
	CALL(mmap),
	CALL(munmap),
	CALL(clock_gettime),

	/* Files. Not: chown, chmod by name, link, mknod, xattr, openat2 (whose mode cannot be seen). */
	CALL(readv),
	CALL(writev),
	CALL(pread64),
	CALL(pwrite64),
	CALL(lseek),
	CALL(fstat),
	CALL(newfstatat),
	CALL(statx),
	CALL(getdents64),
	CALL(faccessat),
	CALL(readlinkat),
	CALL(getcwd),
	CALL_IF(mkdirat, 2, NONE, SET_ID),
	CALL(symlinkat),
	CALL(unlinkat),
	CALL(syncfs),
	CALL(fdatasync),
	CALL(dup),
	CALL(dup3),
	CALL(pipe2),
	CALL(close_range),
	/* Not F_SETOWN and F_SETSIG: whoever owns a descriptor gets signals. */
	CALL_IF(fcntl, 1, EQUAL, F_DUPFD),
	CALL_IF(fcntl, 1, EQUAL, F_GETFD),
	CALL_IF(fcntl, 1, EQUAL, F_SETFD),
	CALL_IF(fcntl, 1, EQUAL, F_GETFL),
	CALL_IF(fcntl, 1, EQUAL, F_SETFL),
	CALL_IF(fcntl, 1, EQUAL, F_DUPFD_CLOEXEC),
	CALL_IF(ioctl, 1, EQUAL, FIONBIO),
	CALL_IF(ioctl, 1, EQUAL, FIONREAD),
	CALL_IF(ioctl, 1, EQUAL, TCGETS),

	/* The network; not: listen, accept, and sockets of this machine's daemons. */
	CALL_IF(socket, 0, EQUAL, AF_INET),
	CALL_IF(socket, 0, EQUAL, AF_INET6),
	CALL_IF(socket, 0, EQUAL, AF_NETLINK), /* which addresses we have, for getaddrinfo(3) */
	/* A pair of datagrams could still be connected to one of those. */
	CALL_IF(socketpair, 1, EQUAL, SOCK_STREAM),
	CALL_IF(socketpair, 1, EQUAL, SOCK_STREAM | SOCK_CLOEXEC),
	CALL_IF(socketpair, 1, EQUAL, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK),
	CALL(connect),
	CALL(bind),
	CALL(getsockname),
	CALL(getpeername),
	CALL(getsockopt),
	CALL(setsockopt),
	CALL(sendmsg),
	CALL(recvmsg),
	CALL(sendmmsg),
	CALL(recvmmsg),
	CALL(shutdown),

	/* Waiting. */
	CALL(pselect6),
	CALL(epoll_create1),
	CALL(epoll_ctl),
	CALL(epoll_pwait),
	CALL(eventfd2),
	CALL(nanosleep),
	CALL(clock_nanosleep),
	CALL(clock_getres),
	CALL(gettimeofday),
	CALL(restart_syscall),

	/* Memory. */
	CALL(mprotect),
	CALL(mremap),
	CALL(madvise),
	CALL(brk),
	CALL(membarrier),

	/* Threads, but no processes. clone3(2) has its flags where no filter can see them. */
	CALL_IF(clone, 0, SOME, CLONE_THREAD),
	CALL(set_robust_list),
	CALL(get_robust_list),
	CALL(set_tid_address),
	CALL(gettid),
	CALL(getpid),
	CALL(getppid),
	CALL(getuid),
	CALL(geteuid),
	CALL(getgid),
	CALL(getegid),
	CALL(sched_yield),
	CALL(sched_getaffinity),
	CALL(sched_getparam),
	CALL(sched_getscheduler),
	CALL(getcpu),
	CALL_IF(prctl, 0, EQUAL, PR_SET_NAME),
	CALL(exit),
	CALL(exit_group),
	CALL(uname),
	CALL(sysinfo),
	CALL(getrusage),
	CALL(getrandom),
	CALL_IF(prlimit64, 0, EQUAL, 0),

	/* Signals, to ourselves. */
	CALL(rt_sigaction),
	CALL(rt_sigprocmask),
	CALL(rt_sigreturn),
	CALL(rt_sigpending),
	CALL(sigaltstack),
	CALL_IF(tgkill, 0, OWN, 0),

#ifdef SYS_rseq
	CALL(rseq),
#endif
#ifdef SYS_faccessat2
	CALL(faccessat2),
#endif
#ifdef __x86_64__ /* younger architectures are without these */
	CALL(poll),
	CALL(select),
	CALL(epoll_wait),
	CALL(eventfd),
	CALL(pipe),
	CALL(dup2),
	CALL_IF(open, 2, NONE, SET_ID),
	CALL(stat),
	CALL(lstat),
	CALL(access),
	CALL(readlink),
	CALL(time),
	CALL(getrlimit),
	CALL(unlink),
	CALL(rmdir),
	CALL_IF(mkdir, 1, NONE, SET_ID),
	CALL(arch_prctl),
#endif
};

/* Per call at most six instructions, and a dozen around them. */
#define MOST (ARRAY_SIZE(calls) * 6 + 12)

struct program {
	struct sock_filter code[MOST];
	unsigned short n;
};

static void add(struct program *p, unsigned code, uint32_t k, unsigned yes, unsigned no)
{
	p->code[p->n++] = (struct sock_filter){ (uint16_t)code, (uint8_t)yes, (uint8_t)no, k };
}

static void load(struct program *p, size_t offset)
{
	add(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

/* What is returned when it matches; else the program goes on, with the call's number loaded. */
static void add_call(struct program *p, const struct allowed *c)
{
	size_t low = offsetof(struct seccomp_data, args) + c->argument * sizeof(uint64_t);
	bool bits = c->test == SOME || c->test == NONE;
	uint32_t value = c->test == OWN ? (uint32_t)getpid() : c->value;

	if (c->test == ANY) {
		add(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)c->number, 0, 1);
		add(p, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
		return;
	}
	add(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)c->number, 0, 4);
	load(p, low); /* little endian, and all of these are ints */
	add(p, BPF_JMP | (bits ? BPF_JSET : BPF_JEQ) | BPF_K, value, c->test == NONE,
	    c->test != NONE);
	add(p, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
	load(p, offsetof(struct seccomp_data, nr));
}

static void build(struct program *p)
{
	load(p, offsetof(struct seccomp_data, arch));
	add(p, BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
	add(p, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS, 0, 0);
	load(p, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		add_call(p, &calls[i]);
		/* What is as if too young: clone3(2), and all x32 calls, whose flag makes them large. */
#ifdef SYS_clone3
	add(p, BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 1, 0);
#endif
	add(p, BPF_JMP | BPF_JGT | BPF_K, YOUNGEST, 0, 1);
	add(p, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS, 0, 0);
	add(p, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM, 0, 0);
}

bool syscalls_can_be_limited(void)
{
	const uint32_t action = SECCOMP_RET_KILL_PROCESS;

	return ARCHITECTURE && syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

int syscalls_limit(struct rouse_err *e)
{
	struct program p = { .n = 0 };
	struct sock_fprog f = { .filter = p.code };

	if (!syscalls_can_be_limited())
		return 0;
	build(&p);
	f.len = p.n;
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &f) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot limit the system calls");
	return 0;
}
