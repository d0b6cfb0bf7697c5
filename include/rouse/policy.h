/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The failure policy: what a machine does when it is not as its document says (DESIGN, section 6).
 * Who decides is the document's `health`, and for what it does not say, or cannot because it is the
 * document that is wrong, the image's settings. What must outlive a reboot (how often a document
 * failed here, and which was well) is in /var/lib/rouse/attempts.json of the machine's root.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include <rouse/err.h>

#define ROUSE_POLICY_FILE                                                                          \
	"policy.json" /* in the run directory: travels to the machine's own init */
/* The document with which the machine was healthy last (0600); with its system, the fallback. */
#define ROUSE_GOOD_DOCUMENT "/var/lib/rouse/good.json"
#define ROUSE_ATTEMPTS_FILE "/var/lib/rouse/attempts.json"

enum rouse_action {
	ROUSE_ACT_NONE,
	ROUSE_ACT_FALLBACK, /* go on with the last healthy generation, or the baked one */
	ROUSE_ACT_HOLD,     /* stay up, out of service, and try again until holdMax */
	ROUSE_ACT_ABANDON,  /* say at once that this machine will not come */
	ROUSE_ACT_REBOOT,
	ROUSE_ACTIONS_
};
const char *rouse_action_word(enum rouse_action a); /* "none", "fallback", "hold"… */
extern const char *const rouse_on_failure_words[];  /* of the schema: "fallback", "hold"… */

/* Borrows its strings. NULL and 0 mean that nobody has said. */
struct rouse_policy {
	const char *on_failure; /* NULL: "fallback" */
	uint64_t hold_max;      /* ms; 0: ROUSE_HOLD_MAX */
	uint64_t hold_poll;     /* ms; 0: ROUSE_HOLD_POLL */
	const char *baked;      /* a system closure that the image brought; may be NULL */
};
/* What `p` leaves open, `other` says. */
void rouse_policy_merge(struct rouse_policy *p, const struct rouse_policy *other);
uint64_t rouse_policy_hold_max(const struct rouse_policy *p);
/* The pause before the next try of a held machine: between a third of holdPoll and five thirds of
 * it, so that a fleet does not ask in step. `random` is any number. */
uint64_t rouse_policy_pause(const struct rouse_policy *p, uint64_t random);

/* Into `dir`, an absolute path, for the health check behind the hand-off. */
must_check int rouse_policy_save(const char *dir, const struct rouse_policy *p,
				 struct rouse_err *e);
/* Strings of *ret live as long as *ret_json. Missing is a policy of which nothing is said. */
must_check int rouse_policy_load(const char *dir, struct rouse_policy *ret, json_t **ret_json,
				 struct rouse_err *e);

/* Counted for one document: another one begins anew. */
struct rouse_attempts {
	char document[65]; /* SHA-256 of the document, hex */
	char good[65];     /* of the last one with which this machine was ready; "" for none */
	unsigned failed;   /* so often in a row */
	unsigned reboots;  /* of onFailure "reboot" */
	bool open;         /* control was given to its system, and no verdict came back yet */
	bool fall_back;    /* the next boot is for the fallback, without a try of the document */
	char reason[256];  /* of the last failure */
};
/* What is known below `root` of the document with this digest ("" when it is not known which one
 * it is). A file that is missing or broken is no attempt. */
must_check int rouse_attempts_read(const char *root, const char *digest, struct rouse_attempts *ret,
				   struct rouse_err *e);
/* Durable when it returns. Writes nothing when that is what the file says already. */
must_check int rouse_attempts_write(const char *root, const struct rouse_attempts *a,
				    struct rouse_err *e);
void rouse_attempts_hand_off(struct rouse_attempts *a); /* control is about to be given away */
void rouse_attempts_fail(struct rouse_attempts *a, const char *reason);
void rouse_attempts_ready(struct rouse_attempts *a);
/* Is the fallback due before the document is tried once more? */
bool rouse_attempts_spent(const struct rouse_attempts *a);

/* What to do about a failure. `fallback`: there is one, and this is not it. Pure. */
enum rouse_action rouse_policy_decide(const struct rouse_policy *p, enum rouse_fault fault,
				      const struct rouse_attempts *a, bool fallback);
