/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals: who is told the verdict. Each is a row of one table (signals.c); a family of them is one file,
 * signal_NAME.c, with the table of its part of the document, and the functions of its rows.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include <rouse/err.h>
#include <rouse/health.h>
#include <rouse/report.h>
#include <rouse/schema.h>

struct rouse_fetcher;
struct rouse_imds;

/* One telling. */
struct signal_call {
	const void *conf; /* this signal's object in the document */
	enum rouse_verdict verdict;
	const json_t *report; /* NULL in a heartbeat */
	const char *id;       /* of the instance; "": not known */
	const char *region;   /* NULL: not known */
	const char *reason;   /* "" when all is well */
	const char *state_dir;
	struct rouse_fetcher *f;
	uint64_t deadline;
	/* out */
	char to[256]; /* who was told, for people */
	char note
		[256]; /* what else there is to say of a signal that worked, or had nothing to do */
};

/* The order in which they are told; those of one stage are told side by side. The reason goes out before
 * anything that could end the machine. */
enum signal_stage {
	SIGNAL_LOCAL,  /* files, the service manager, the host */
	SIGNAL_REASON, /* objects and URLs that keep it */
	SIGNAL_GROUP,  /* who acts upon the machine: not told of a failure that may yet heal */
	SIGNAL_LAST,   /* ends the machine itself */
	SIGNAL_STAGES_
};

/* The objects of "signals" in the document; a family may have several rows for one. */
enum signal_slot {
	SLOT_ASG,
	SLOT_CFN,
	SLOT_GCE,
	SLOT_AZURE,
	SLOT_HEAT,
	SLOT_PHONE,
	SLOT_OBJECT,
	SLOT_CLUSTER,
	SLOT_CLOUD_INIT,
	SLOT_PROMETHEUS,
	SLOT_CI,
	SIGNAL_SLOTS
};
struct rouse_health_signals {
	const void *conf[SIGNAL_SLOTS]; /* NULL: not asked for */
};
_Static_assert(SIGNAL_SLOTS == ROUSE_SIGNALS_FIELDS, "the count that the settings know");
_Static_assert(sizeof(struct rouse_health_signals) == ROUSE_SIGNALS_SIZE, "their size, too");

struct signal {
	const char *name; /* in the report */
	enum signal_slot slot;
	enum signal_stage stage;
	uint64_t timeout;                 /* ms */
	bool (*wanted)(const void *conf); /* NULL: when its object is there */
	/* Is the channel there? Called before the long work. NULL: that cannot be known before. */
	int (*probe)(struct signal_call *c, struct rouse_err *e);
	/* Still at work; every interval() ms (0: nobody waits any more). NULL: nobody waits for it. */
	int (*beat)(struct signal_call *c, struct rouse_err *e);
	uint64_t (*interval)(const void *conf);
	int (*tell)(struct signal_call *c, struct rouse_err *e);
};

/* One row at work, with the outcome; rows run side by side. */
struct signal_turn {
	const struct signal *signal;
	struct signal_call call;
	struct rouse_err err;
	bool failed;
};
/* Fills turns (at least SIGNAL_ROWS of them) for what `h` (may be NULL) asks of one stage; the fetcher and
 * strings are borrowed. Returns the count. */
#define SIGNAL_ROWS 16
size_t signal_turns(struct signal_turn *turns, enum signal_stage stage,
		    const struct rouse_health *h, const struct signal_call *like);
/* Runs `what(turn)` for each that has it, side by side, each with a fetcher of its own, until all are over. */
enum signal_act { SIGNAL_PROBE, SIGNAL_BEAT, SIGNAL_TELL };
void signal_run(struct signal_turn *turns, size_t n, enum signal_act act, uint64_t most);
/* The shortest pause between heartbeats that one of them asks for; 0: nobody waits. */
uint64_t signal_interval(const struct signal_turn *turns, size_t n);
/* A heartbeat of those that have one, and a warning of each that fails. */
void signal_beat(struct signal_turn *turns, size_t n);
/* Notes the outcome in an array of the report, and warns of a failure. */
void signal_note(json_t *array, const struct signal_turn *t);
/* What every call of this report has in common. */
struct signal_call signal_call_of(const struct rouse_report *r, struct rouse_fetcher *f);

/* Is the machine up, if need be on a fallback? */
bool signal_is_good(const struct signal_call *c);
/* The verdict and who speaks, not the whole report. A new reference. */
json_t *signal_body(const struct signal_call *c);
/* One request with a body of `type`; 2xx is success. *ret_status may be NULL. */
must_check int signal_send(struct signal_call *c, const char *method, const char *url,
			   const char *const *headers, const char *body, bool link_local,
			   long *ret_status, struct rouse_err *e);
/* A conversation with the metadata service of EC2; fails where the firmware does not say EC2. */
must_check int signal_imds(struct signal_call *c, struct rouse_imds *ret, struct rouse_err *e);
/* GET below /latest/, without the end of line; "" and 0 when there is none. */
must_check int signal_imds_get(struct rouse_imds *i, const char *path, char *buf, size_t size,
			       struct rouse_err *e);

bool signal_is_http_url(const char *s);

struct signal_asg {
	const char *group, *hook, *region, *endpoint;
	uint64_t heartbeat; /* ms; 0: ROUSE_HOOK_TIMEOUT */
	const char *degraded;
	bool set_health;
};
/* Below /latest/: where the group wants the machine, "InService", "Warmed:Stopped"…; missing in no group. */
#define SIGNAL_ASG_STATE "meta-data/autoscaling/target-lifecycle-state"
extern const struct rouse_field signal_asg_fields[7];
extern const struct signal signal_asg;

struct signal_cfn {
	const char *stack, *resource, *region, *endpoint, *handle;
};
extern const struct rouse_field signal_cfn_fields[5];
extern const struct signal signal_cfn;

struct signal_gce {
	const char *name_space, *key;
};
extern const struct rouse_field signal_gce_fields[2];
extern const struct signal signal_gce;

extern const struct signal signal_azure, signal_azure_host;

struct signal_heat {
	const char *url, *method, *token, *id;
};
extern const struct rouse_field signal_heat_fields[4];
extern const struct signal signal_heat;

struct signal_phone {
	const char *url, *format;
};
extern const struct rouse_field signal_phone_fields[2];
extern const struct signal signal_phone;

struct signal_object {
	const char *url;
};
extern const struct rouse_field signal_object_fields[1];
extern const struct signal signal_object;

/* Asked for by the image's settings, not by the document: its conf is the report's "fleet". */
extern const struct signal signal_fleet;

extern const struct signal signal_cluster, signal_cloud_init;

struct signal_prometheus {
	const char *file; /* NULL: where Debian's node_exporter looks */
};
extern const struct rouse_field signal_prometheus_fields[1];
extern const struct signal signal_prometheus;

struct signal_ci {
	const char *virtio; /* name of the port; NULL: ROUSE_PORT_NAME */
	bool vsock;
	int64_t debug_exit; /* I/O port; 0: none */
};
extern const struct rouse_field signal_ci_fields[3];
extern const struct signal signal_virtio, signal_vsock, signal_debug_exit;
