/* SPDX-License-Identifier: Apache-2.0 */
/* The boot: source, document, facts, plan, prepare, apply, hand-off; see DESIGN section 5. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rouse/err.h>
#include <rouse/policy.h>

struct rouse_boot_options {
	bool initramfs;       /* root is ours to make, at /sysroot; hand-off is switch-root */
	const char *root;     /* "/" or "/sysroot" */
	const char *run;      /* "/run/rouse" */
	const char *settings; /* "/etc/rouse/agent.json" */
	/* When the kernel's drivers were loaded, and for how much CPU, in ms; zero where that is
	 * somebody else's task. It is the kernel's work, and told apart from the agent's. */
	struct {
		uint64_t start, end, cpu;
	} drivers;
	bool again; /* a try before this one has failed, and the machine is held since */
	const char
		*crashed; /* why the run before this one could not end: only the fallback is left */
	/* The run before this one has crashed, or may have: the report says in which phase, and how often. The
	 * first crash is tried again as if nothing had been; from the second on only the fallback is left. */
	bool resume;
	const char *crash; /* … and how, when that is known */
};

/* What is to be done next, when the status is not 0. */
struct rouse_boot_result {
	int status;
	enum rouse_action action; /* HOLD or ABANDON: nothing was found to go on with */
	uint64_t hold_max;        /* ms */
	uint64_t pause;           /* ms before the next try, with its jitter */
};

/* Runs all phases; the report and, on failure, the verdict are written. Returns the exit status:
 * 0 when the hand-off may happen (also on a fallback). */
int rouse_boot_run(const struct rouse_boot_options *o, struct rouse_boot_result *ret);

/* The same in a child (supervise.h), for a unit or a command: a run that crashes is tried again, and what cannot
 * even tell that there is no other way ends in a verdict, too. `then` (may be NULL) is the hand-off of a boot that
 * may have one; when it fails, the machine is held. Returns the exit status. */
int rouse_boot_supervised(const struct rouse_boot_options *o, int (*then)(struct rouse_err *e),
			  struct rouse_boot_result *ret);

/* Writes the verdict of a boot whose worker died: `reason` is for people. */
void rouse_boot_aborted(const struct rouse_boot_options *o, const char *reason);
/* Behind the boot of an image: switches a NixOS to the configuration that the boot has made current,
 * and says in the report how that went. */
must_check int rouse_boot_activate(const struct rouse_boot_options *o, struct rouse_err *e);

struct rouse_document;
/* Fetches the document of this machine as it is now, without doing anything. */
must_check int rouse_boot_look(const struct rouse_boot_options *o, struct rouse_document *ret,
			       struct rouse_err *e);
/* Waits until `until` (CLOCK_BOOTTIME, ms), between two tries of a machine that is held: whoever waits for it
 * goes on waiting. */
void rouse_boot_wait(const struct rouse_boot_options *o, uint64_t until);
/* Tells that a machine which was held will not come. */
void rouse_boot_abandoned(const struct rouse_boot_options *o);
/* Counts one more reboot for the document of the failed boot (rouse/policy.h) on the disk of the machine, the
 * one that a fallback would be on; false when it had ROUSE_MAX_REBOOTS, or has no such disk. */
bool rouse_boot_count_reboot(const struct rouse_boot_options *o);
