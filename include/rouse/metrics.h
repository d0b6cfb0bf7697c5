/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A report as metrics, in Prometheus's text format (version 0.0.4), for the textfile collector of
 * node_exporter: verdict, times of phases and checks, counters, signals.
 */
#pragma once

#include <jansson.h>

#include <rouse/mem.h>

void rouse_metrics(const json_t *report, struct rouse_buf *out); /* appended */
