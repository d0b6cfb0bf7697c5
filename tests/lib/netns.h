/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of the network: a cable between a namespace of our own and one of a child that serves. Needs
 * root and ip(8).
 */
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/init.h>
#include <rouse/json.h>
#include <rouse/proc.h>
#include <rouse/text.h>

#include "tap.h"

static inline bool run(const char *const *argv)
{
	struct rouse_proc p = { .argv = argv, .deadline = rouse_clock_ms() + 60000 };
	struct rouse_err e;

	if (rouse_proc_check(&p, &e) == 0)
		return true;
	printf("# %s\n", e.text);
	return false;
}
#define RUN(...) run((const char *const[]){ __VA_ARGS__, NULL })

/* The other end of the cable: a child in a network of its own that has nothing yet. */
struct far {
	pid_t pid;
	int go; /* a byte: the server may begin */
};

static inline void far_end(struct far *f)
{
	if (f->go >= 0)
		(void)close(f->go);
	if (f->pid > 0) {
		(void)kill(f->pid, SIGKILL);
		(void)waitpid(f->pid, NULL, 0);
	}
}
#define auto_far __attribute__((cleanup(far_end)))

/* `serve` is run in the child, in a network of its own, when start() is called. */
static inline struct far far_with(void (*serve)(const void *arg), const void *arg)
{
	struct far f = { .pid = -1, .go = -1 };
	int ready[2], go[2];
	char byte;

	if (pipe2(ready, O_CLOEXEC) < 0 || pipe2(go, O_CLOEXEC) < 0)
		abort();
	(void)fflush(stdout);
	f.pid = fork();
	if (f.pid == 0) {
		(void)close(go[1]);
		if (unshare(CLONE_NEWNET) == 0 && write(ready[1], "", 1) == 1 &&
		    read(go[0], &byte, 1) == 1)
			serve(arg);
		_exit(1);
	}
	(void)close(ready[1]);
	(void)close(go[0]);
	if (read(ready[0], &byte, 1) != 1)
		abort();
	(void)close(ready[0]);
	f.go = go[1];
	return f;
}

static inline bool plug(const struct far *f, const char *near, const char *name)
{
	char pid[16];

	(void)snprintf(pid, sizeof(pid), "%d", (int)f->pid);
	return RUN("ip", "link", "add", near, "type", "veth", "peer", "name", name, "netns", pid);
}

/* There is a link to the other end, and nobody is at home. */
static inline bool lift(const struct far *f, const char *name)
{
	char pid[16];

	(void)snprintf(pid, sizeof(pid), "%d", (int)f->pid);
	return RUN("nsenter", "-t", pid, "-n", "ip", "link", "set", name, "up");
}

static inline void start(struct far *f)
{
	/* A word, not the end of the pipe: children that were made later hold it open. */
	(void)!write(f->go, "", 1);
}

static inline char *slurp(const char *path)
{
	struct rouse_buf text = { 0 };
	struct rouse_err e;

	if (rouse_read_file(path, 1 << 20, &text, &e) < 0)
		return rouse_strdup("");
	return text.data ? text.data : rouse_strdup("");
}

/* The value of one member of network.json, "" when absent. */
static inline char *fact(const char *key)
{
	auto_free char *text = slurp(ROUSE_NETWORK_FILE);
	auto_json json_t *j = json_loads(text, 0, NULL);
	const json_t *v = json_object_get(j, key);

	if (json_is_integer(v))
		return rouse_asprintf("%lld", (long long)json_integer_value(v));
	return rouse_strdup(json_string_value(v) ? json_string_value(v) : "");
}

/* Each test in a child that has a network, a /run and an /etc of its own. */
static inline void isolate(struct t *t, void (*test)(struct t *t))
{
	int status = 0;
	pid_t pid;

	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 ||
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		    mount("tmpfs", "/run", "tmpfs", 0, NULL) < 0 ||
		    mount("tmpfs", "/etc", "tmpfs", 0, NULL) < 0 ||
		    mount("sysfs", "/sys", "sysfs", 0, NULL) < 0) {
			printf("# cannot isolate the test: %s\n", strerror(errno));
			_exit(1);
		}
		test(t);
		(void)fflush(stdout);
		_exit(t->failed ? 1 : 0);
	}
	(void)waitpid(pid, &status, 0);
	t->failed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

#define ISOLATED(function)                                                                         \
	static void in_##function(struct t *t)                                                     \
	{                                                                                          \
		isolate(t, function);                                                              \
	}
