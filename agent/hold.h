/* SPDX-License-Identifier: Apache-2.0 */
/* A machine whose init runs, and that is held: it stays up, out of service, and tries again. */
#pragma once

#include <stdbool.h>

#include <rouse/err.h>
#include <rouse/policy.h>
#include <rouse/report.h>

/* Calls `again` after each pause until it returns 0 (true), or until the report's "hold" is over
 * (false; the report says "abandon" then). What `again` finds wrong is the new reason to be held. */
bool hold_until(struct rouse_report *r, const struct rouse_policy *p,
		int (*again)(void *arg, struct rouse_err *e), void *arg);

/* Where the boot itself failed in an image: does it once more. -1 when it fails again; else systemd forgets that its
 * unit has failed. */
must_check int hold_boot_again(struct rouse_err *e);
/* Where an initramfs made this machine: has somebody published another document, which is valid?
 * Only a reboot can follow it. */
bool hold_document_changed(const struct rouse_report *r);
