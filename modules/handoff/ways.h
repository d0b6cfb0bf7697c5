/* SPDX-License-Identifier: Apache-2.0 */
/* The ways into a system beside the switch of the root: another kernel, another userspace, or the
 * same ones with another configuration. */
#pragma once

#include <stdbool.h>

#include <rouse/err.h>
#include <rouse/fs.h>

/* Has the system a kernel and an initrd of its own? */
bool ways_has_kernel(const struct rouse_root *root, const char *system);
/* Are the modules of the running kernel (uname -r) in the system, or does it bring none at all? */
bool ways_modules_match(const struct rouse_root *root, const char *system, const char *release);
/* Loads the system's kernel, initrd and parameters for the next kexec reboot. What the running
 * kernel forbids (lockdown, a missing signature, no kexec) is ROUSE_SYSTEM. */
must_check int ways_load_kernel(const struct rouse_root *root, const char *system,
				struct rouse_err *e);

/* The N of "systemd N (…)", as systemctl --version prints it; 0 for anything else. */
int ways_systemd_version(const char *text);
/* … of the systemd that runs this machine; 0: there is none. */
int ways_running_systemd(void);
/* systemctl --no-block VERB */
must_check int ways_systemctl(const char *verb, const char *unit, struct rouse_err *e);

/* Runs the `activate` of a system of this machine, if it has one: makes /etc and the rest what the system wants it
 * to be, and leaves the units that run alone. */
must_check int ways_prepare(const char *system, uint64_t deadline, struct rouse_err *e);

enum ways_activation { WAYS_NONE, WAYS_ACTIVE, WAYS_UNITS_FAILED };
/* Runs the system's bin/switch-to-configuration, if it has one (WAYS_NONE), inside the root. Status 4
 * is WAYS_UNITS_FAILED: the system is the one that is wanted, but not all of its units run. */
must_check int ways_activate(const char *root, const char *system, uint64_t deadline,
			     enum ways_activation *ret, struct rouse_err *e);
