/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the agent as pid 1 share: init.c supervises, worker.c works, switch.c leaves. */
#pragma once

#include <stdint.h>

#include <rouse/boot.h>
#include <rouse/err.h>
#include <rouse/init.h>

/* What the worker tells the parent through a pipe; smaller than PIPE_BUF, so each write is whole. */
struct init_message {
	enum {
		/* `number`: ms for the whole boot, 0: not said. `result`: how to be held should the worker
		 * have no chance to say it */
		INIT_SETTINGS = 1,
		INIT_TARGET, /* `handoff` and `previous`: where to go */
		INIT_DONE,   /* `result`: of rouse_boot_run(); a verdict is written */
	} type;
	uint64_t number;
	struct rouse_boot_result result;
	struct rouse_handoff handoff;
	char previous[512]; /* init of the previous generation in the same root; "" for none */
};

/* The child: does the work of a boot and tells the parent. */
_Noreturn void init_work(const struct rouse_boot_options *parents, int pipe);

/* Leaves the initramfs for `root`: moves the mounts of /dev, /proc, /sys and /run, makes `root`
 * the root of this process and deletes the files of the initramfs, which are memory. When it
 * fails, everything is where it was. */
must_check int init_switch_root(const char *root, struct rouse_err *e);
/* Leaves a child behind that runs the health checks, under an `init` that is not systemd. */
void init_leave_watcher(const char *init);
/* Starts `init` with nothing of ours but the console. Returns only when that failed. */
must_check int init_exec(const char *init, char **argv, struct rouse_err *e);
/* Opens the console (or, without one, /dev/null) as 0, 1 and 2. */
void init_console(void);
