/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a boot share: boot.c has the phases in their order, failure.c what happens when
 * one of them fails. */
#pragma once

#include <jansson.h>

#include <rouse/boot.h>
#include <rouse/document.h>
#include <rouse/fetch.h>
#include <rouse/health.h>
#include <rouse/policy.h>
#include <rouse/report.h>
#include <rouse/run.h>
#include <rouse/settings.h>
#include <rouse/source.h>

#include "layers.h"
#include "progress.h"

/* What this machine was last provisioned with, below its root. */
#define LAST_DIR "/var/lib/rouse"
#define LAST_DOCUMENT LAST_DIR "/document.json"

struct boot {
	const struct rouse_boot_options *options;
	struct rouse_report report;
	struct rouse_settings settings;
	struct rouse_fetcher *fetcher;
	struct rouse_found found;
	struct rouse_running last; /* who this machine was, when nobody can be asked */
	struct rouse_document document;
	struct rouse_run run;
	struct rouse_policy policy;
	struct rouse_attempts attempts;
	bool spent;     /* the document was not tried: it has failed here too often */
	bool once_more; /* … but there is no fallback, so it is */
	bool held; /* an earlier try of this boot has failed, for `held_reason` since `held_since` */
	char *held_reason;
	uint64_t held_since, held_tries;
	json_t *hold, *held_instance; /* what the report said of it, and of who this is */
	json_t *counters;
	unsigned crashes; /* of runs before this one, in a row; not those that process 1 has seen */
	char *crashed;    /* why there is nothing left but the fallback and the verdict, or NULL */
	int64_t control; /* "gen" of the fleet's control object that counted, 0: none, or it has none */
	bool overruled;           /* … and said that the others do not count */
	const char *fleet_policy; /* what the fleet's breaker has in place of onFailure, or NULL */
	struct rouse_herald *herald;
	struct progress progress;
	uint64_t begin;
};

/* Looks for a run of this boot that has crashed: sets b->crashes and b->crashed. */
void boot_note_crash(struct boot *b);
/* How long a run with these settings (a file) may take before it counts as hung, ms: a little longer than they
 * say, so that the run itself says first what took so long. As without settings where they cannot be read. */
uint64_t boot_most_time(const char *settings);
void boot_begin_phase(struct boot *b, const char *name);
void boot_record_instance(struct boot *b);
void boot_prepare_run(struct boot *b);

/* The health section of the document, when the document is valid. */
bool boot_read_health(struct boot *b, struct rouse_arena *arena, struct rouse_health *ret);
/* Adds whom the image wants to be told, where the document does not say it. What names the instance is left out
 * until that is known. */
void boot_add_signals(const struct boot *b, struct rouse_arena *arena, struct rouse_health *health);
/* The same, for who must tell how this boot has ended before there is a document. */
void boot_name_signals(const struct boot *b);
/* Looks at what earlier boots made of this document: -1 when the fallback is due first, b->spent
 * then, or when the disk cannot be read. To be called when the root is there, if there is one. */
must_check int boot_check_attempts(struct boot *b, struct rouse_err *e);
/* Notes in the report whom this boot's outcome is told, for the fleet's tally; does nothing without one. */
void boot_name_fleet(struct boot *b);
/* Asks the fleet about this document: -1 when it is known not to work. */
must_check int boot_ask_fleet(struct boot *b, struct rouse_err *e);
/* Where the root is there only now: -1 when the others say no, and the control object that overruled them is
 * older than one that this machine has followed. */
must_check int boot_ask_fleet_again(struct boot *b, struct rouse_err *e);
/* Everything is applied: control is about to be given to the system. */
must_check int boot_record_hand_off(struct boot *b, struct rouse_err *e);
/* The policy of this machine, from the document as far as it is valid, and the settings. */
void boot_settle_policy(struct boot *b);
/* Goes on with what the machine was healthy with, if the policy allows and something is there. */
must_check int boot_fall_back(struct boot *b, const struct rouse_err *cause, struct rouse_err *e);
/* The verdict, told on all channels, and what comes next. `ret` may be NULL. */
void boot_fail(struct boot *b, const struct rouse_err *cause, struct rouse_boot_result *ret);
