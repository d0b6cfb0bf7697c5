/* SPDX-License-Identifier: Apache-2.0 */
/* The image's own settings, /etc/rouse/agent.json; see DESIGN: owned by root, refused if others may
 * write it. */
#pragma once

#include <rouse/err.h>
#include <rouse/policy.h>
#include <rouse/schema.h>

struct rouse_keep;
struct rouse_proxy;
struct rouse_health_signals;

struct rouse_cache_conf {
	const char *key; /* its name */
	const char *url;
	struct rouse_list keys; /* const char *, "name:base64" */
};

/* The fleet's breaker (agent/fleet.c). */
struct rouse_fleet_conf {
	const char *url;
	int64_t failures; /* 0: ROUSE_FLEET_FAILURES */
	uint64_t window;  /* ms; 0: ROUSE_FLEET_WINDOW */
	int64_t gen;      /* of its control object, at least */
};

struct rouse_settings {
	const char *document; /* URL or source name, NULL: detect */
	const char *sha256;   /* pin of document, may be NULL */
	bool require_signature;
	struct rouse_list keys;   /* const char *: may sign documents, see agent/minisign.h */
	const char *ca;           /* path of PEM certificates, NULL: the system's */
	int64_t generation;       /* of a document, at least */
	struct rouse_list caches; /* struct rouse_cache_conf; if any, documents choose among them */
	struct rouse_policy policy;           /* for what documents do not say */
	const struct rouse_proxy *proxy;      /* NULL: none */
	uint64_t deadline;                    /* ms for the whole boot, 0: the sum of the phases */
	const struct rouse_fleet_conf *fleet; /* NULL: no breaker */
	struct rouse_keep *generations;       /* NULL: not said */
	/* NULL: not said. Names of the instance in it are not filled in; `json` has the text. */
	const struct rouse_health_signals *signals;
	struct rouse_arena arena;
	json_t *json;
};

/* What the file may say. */
extern const struct rouse_shape rouse_settings_shape;

/* A file that is not there means the defaults. ROUSE_UNTRUSTED when others than root, or whoever asks, may
 * write it; ROUSE_DOCUMENT, with file, line and column, when it says what it may not. */
must_check int rouse_settings_load(struct rouse_settings *ret, const char *path,
				   struct rouse_err *e);
/* A file that must be there, and `say` gets each line that is wrong; of other errors only *e tells. */
must_check int rouse_settings_check(const char *path, void (*say)(void *arg, const char *problem),
				    void *arg, struct rouse_err *e);
void rouse_settings_done(struct rouse_settings *s);
