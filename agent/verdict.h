/* SPDX-License-Identifier: Apache-2.0 */
/* The live state of a boot, and waiting for its end. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include <rouse/err.h>

/* RUN/status.json, a new reference; NULL with ENOENT in e->sys when rouse did not boot this machine. */
must_check json_t *verdict_load(const char *run, struct rouse_err *e);
bool verdict_is_pending(const json_t *status);
/* Waits for a verdict, and for a boot to begin, at most `timeout` ms. */
must_check int verdict_wait(const char *run, uint64_t timeout, json_t **ret, struct rouse_err *e);
