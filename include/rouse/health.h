/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Health: the checks of the document's `health` section, and the signals that carry the verdict
 * outside. The section is decoded while the boot runs and travels in /run across the hand-off,
 * because what runs the checks is the machine that the boot made.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include <rouse/err.h>
#include <rouse/policy.h>
#include <rouse/report.h>
#include <rouse/schema.h>

#define ROUSE_HEALTH_FILE "health.json" /* in the run directory; 0600: URLs may hold secrets */
/* The same, of the document whose boot goes on or has failed: whom to tell when nothing else is known. */
#define ROUSE_SIGNALS_FILE "signals.json"

/* Exactly one of http, tcp, unit, system, exec, file and planned is given. */
struct rouse_health_check {
	const char *key;
	const char *http;          /* URL */
	int64_t status;            /* the HTTP status that is wanted, 0: any 2xx */
	struct rouse_list headers; /* struct rouse_pair, of the request */
	struct rouse_list answers; /* struct rouse_pair: what headers of the answer must contain */
	const char *contains;    /* text that must be in the body, the file, the output; or NULL */
	int64_t tcp;             /* port */
	const char *host;        /* … on this address; NULL: 127.0.0.1. Of http: connects to it */
	const char *unit;        /* systemd unit that must be active */
	const char *system;      /* "running", or "degraded": units may have failed */
	struct rouse_list exec;  /* const char *, argv */
	const char *file;        /* path of a file that must be there */
	bool planned;            /* mounts and the generation are what the document says */
	struct rouse_list after; /* const char *: checks that must have passed before */
	uint64_t timeout;        /* of one try, ms; 0: ROUSE_CHECK_TIMEOUT */
	uint64_t interval;       /* between tries, ms; 0: ROUSE_CHECK_INTERVAL(_UNIT) */
	int64_t retries;         /* after the first try; 0: as many as the deadline allows */
};

struct rouse_health_signals; /* modules/health/signals.h */

struct rouse_health {
	uint64_t deadline;        /* ms, 0: ROUSE_DEADLINE_HEALTH */
	struct rouse_list checks; /* struct rouse_health_check */
	const struct rouse_health_signals *signals;
	const char *on_failure; /* "fallback", "hold"…; NULL: not said, see rouse/policy.h */
	uint64_t hold_max, hold_poll; /* ms, 0: not said */
};
extern const struct rouse_shape rouse_health_shape;
/* The fields of "signals", which an image may have in its settings, too. */
#define ROUSE_SIGNALS_FIELDS 11
#define ROUSE_SIGNALS_SIZE (ROUSE_SIGNALS_FIELDS * sizeof(void *))
extern const struct rouse_field rouse_signals_fields[ROUSE_SIGNALS_FIELDS];

/* What tables cannot say; `keys` of the problems begin with "health". */
void rouse_health_verify(const struct rouse_health *h, struct rouse_problems *problems);
/* The section as JSON again, in the document's shape; a new reference. */
json_t *rouse_health_json(const struct rouse_health *h);
/* Writes DIR/NAME (one of the two above), and reads it; strings of *ret live as long as *ret_json and the arena.
 * ENOENT in e->sys: this boot asked for no checks. */
must_check int rouse_health_save(const char *dir, const char *name, const struct rouse_health *h,
				 struct rouse_err *e);
must_check int rouse_health_load(const char *dir, const char *name, struct rouse_health *ret,
				 struct rouse_arena *arena, json_t **ret_json, struct rouse_err *e);

/* "http http://127.0.0.1/healthz", "tcp 127.0.0.1:22", "unit nginx.service": URLs without what may
 * be secret; caller frees. */
char *rouse_health_describe(const struct rouse_health_check *c);
/* One try, bounded by its time-out and the deadline. *ret_note (may stay NULL; caller frees) is for
 * people: how it was found out when that was not the usual way. */
must_check int rouse_health_try(const struct rouse_health_check *c, uint64_t deadline,
				char **ret_note, struct rouse_err *e);

/* Runs all checks side by side until each has passed once, or the deadline. `progress` (may be
 * NULL) is called from the caller's thread after each try, with NULL when there is no news. Returns the checks as JSON
 * for the report (a new reference); *ret_failed says whether one never passed, and e holds the
 * first of them then. */
json_t *rouse_health_run(const struct rouse_health *h, uint64_t deadline,
			 void (*progress)(void *arg, const char *what), void *arg, bool *ret_failed,
			 struct rouse_err *e);

/* Sends the verdict that is in the report on every channel that `h` asks for (NULL, or without signals:
 * ROUSE_SIGNALS_FILE, if it is there), local ones first. Bounded; a signal that fails is noted in the report ("signals") and fails nothing. Groups that
 * would replace the machine are not told of a failure while the report's "action" is hold, reboot or
 * fallback. */
void rouse_health_signal(struct rouse_report *r, const struct rouse_health *h);
/* Waits until `until` (CLOCK_BOOTTIME, ms), as a machine that is held does: those of ROUSE_SIGNALS_FILE who wait
 * with a time-out hear a heartbeat now, and as often as they need one. */
void rouse_health_wait(const struct rouse_report *r, uint64_t until);
/* Does this machine, which is well, wait in the warm pool of a group that `h` tells of it? Asks the metadata
 * service. */
bool rouse_health_is_parked(const struct rouse_report *r, const struct rouse_health *h);
/* Waits, as long as that lasts, until the group wants it elsewhere, and tells the group once more. */
void rouse_health_await_service(struct rouse_report *r, const struct rouse_health *h);
/* Does a signal leave the machine by its network? */
bool rouse_health_needs_network(const struct rouse_health *h);
/* While the boot is at work: with `probe` tries every channel once, at the same time as the work, and keeps
 * those who wait with a time-out waiting, with heartbeats while report->moves moves on. NULL when there is
 * nothing to do. `r` must outlive the herald; `h` need not. */
struct rouse_herald;
struct rouse_herald *rouse_herald_start(const struct rouse_report *r, const struct rouse_health *h,
					bool probe);
/* Ends it, which may take as long as one signal, and notes in the report what it found ("channels",
 * "heartbeats"). Accepts NULL. */
void rouse_herald_stop(struct rouse_herald *h, struct rouse_report *r);
/* Writes the state line to all consoles of the machine and to the kernel log. False: none of them took it. */
bool rouse_health_console(const struct rouse_report *r);
/* The host keys of this machine's SSH server, if it has any, on every console. */
void rouse_health_host_keys(void);
/* What comes next, into the report ("fault", "action", "hold") and on the disk of the machine: that a
 * document was well, or how often it was not. Once, between the verdict and its announcement: a group
 * must not be told that a machine is lost which is about to help itself. `run`: where the document
 * of this boot is. */
void rouse_health_decide(struct rouse_report *r, const struct rouse_policy *p, const char *run);
enum rouse_action rouse_health_action(const struct rouse_report *r);
/* Asks init for a reboot, in order. */
must_check int rouse_health_reboot(struct rouse_err *e);
/* Does it: the machine may go down with the call. Holding is the caller's. */
must_check int rouse_health_react(const struct rouse_report *r, struct rouse_err *e);
