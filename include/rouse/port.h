/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's ear: a virtio-serial port named "org.rouse.status" that the host attached. One JSON
 * object a line: {"event":"phase","phase":"apply","up":1234}, {"event":"progress",…}, and at the
 * end {"event":"report","report":{…}}. Writing never blocks for longer than 2 s and never fails a
 * boot; without such a port everything here does nothing.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROUSE_PORT_NAME "org.rouse.status"

/* Has the host attached a virtio-serial port of this name? */
bool rouse_port_present(const char *name);
/* Sends one event (the reference is stolen). False when there is no port or nobody reads it. */
bool rouse_port_send(const char *name, json_t *event);
/* Sends {"event":"progress","what":…,"done":…,"total":…,"up":…}, or, when the host does not take it at once,
 * nothing: work does not wait for who looks at it. */
void rouse_port_progress(const char *name, const char *what, uint64_t done, uint64_t total);
/* Writes all of it to a non-blocking descriptor before the (absolute) deadline, or gives up. */
bool rouse_port_write(int fd, const void *data, size_t n, uint64_t deadline);
