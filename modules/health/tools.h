/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this module share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rouse/err.h>
#include <rouse/health.h>
#include <rouse/schema.h>

/* Where systemd listens for root. */
#define HEALTH_SYSTEMD_SOCKET "/run/systemd/private"

/* What systemd says of a unit: "loaded", "active", "running". */
struct health_unit {
	char name[256], load[32], active[32], sub[32];
};

/* The path of systemctl, wherever this system keeps it; false when there is none. */
bool health_find_systemctl(char *buf, size_t size);

/* False when nobody at the socket `path` gave an answer that can be used; *ret is then undefined. */
bool health_ask_systemd(const char *path, const char *unit, uint64_t deadline,
			struct health_unit *ret);
/* The first unit that has failed: 1, 0 when none has, -1 when nobody gave an answer that can be used. */
int health_ask_failed(const char *path, uint64_t deadline, struct health_unit *ret);
/* The first unit in the body of the answer to ListUnitsByNames and ListUnitsFiltered: 1, 0 when it is empty,
 * -1 when it is none. */
int health_read_unit(const void *body, size_t n, struct health_unit *ret);

/* The kinds of checks: one try of each. */
struct health_kind {
	const char *name; /* its key in the document */
	bool (*is)(const struct rouse_health_check *c);
	char *(*describe)(const struct rouse_health_check *c); /* for people; caller frees */
	uint64_t timeout, interval; /* ms, when the document says nothing */
	int (*try)(const struct rouse_health_check *c, uint64_t deadline, char **ret_note,
		   struct rouse_err *e);
};
extern const struct health_kind health_kind_http, health_kind_tcp;    /* check_net.c */
extern const struct health_kind health_kind_unit, health_kind_system; /* check_units.c */
extern const struct health_kind health_kind_exec, health_kind_file;   /* check_local.c */
extern const struct health_kind health_kind_planned;                  /* check_planned.c */
/* NULL for a check of nothing; with `after` the next one that it is, too. */
const struct health_kind *health_kind_of(const struct rouse_health_check *c,
					 const struct health_kind *after);

extern const struct rouse_shape health_check_shape;
/* What tables cannot say of the checks of one section. */
void health_verify_checks(const struct rouse_list *checks, struct rouse_problems *problems);
