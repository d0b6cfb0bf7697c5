/* SPDX-License-Identifier: Apache-2.0 */
/* The agent behind the hand-off: a closure that has never heard of rouse still reports. */
#pragma once

#include <rouse/err.h>

/* Leaves in /run, which survives the switch of the root, all that the health unit needs: this
 * program with the libraries it runs with, the CA bundle, and the unit itself. */
must_check int travel_prepare(struct rouse_err *e);
