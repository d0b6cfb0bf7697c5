/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine in a warm pool of an Auto Scaling group. The hook of its launch was completed when it went there;
 * there is another one when the group wants it in service, and a pool that keeps its machines running, or
 * hibernated, does not boot them in between. So the agent looks where the group wants the machine.
 */
#include "signals.h"

#include <string.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/imds.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/text.h>

/* Where the group wants this machine; false when nobody said so. */
static bool read_state(const struct rouse_report *r, char *buf, size_t size)
{
	auto_fetcher struct rouse_fetcher *f = rouse_fetcher_new();
	struct signal_call c = signal_call_of(r, f);
	struct rouse_imds i;
	struct rouse_err e;
	int got;

	c.deadline = rouse_clock_ms() + ROUSE_SIGNAL_TIMEOUT;
	if (signal_imds(&c, &i, &e) < 0)
		return false;
	got = signal_imds_get(&i, SIGNAL_ASG_STATE, buf, size, &e);
	rouse_imds_done(&i);
	return got == 0;
}

static bool is_warm(const char *state)
{
	return rouse_strip_prefix(state, "Warmed:");
}

bool rouse_health_is_parked(const struct rouse_report *r, const struct rouse_health *h)
{
	const struct signal_call c = signal_call_of(r, NULL);
	char state[64];

	return h->signals && h->signals->conf[SLOT_ASG] && signal_is_good(&c) &&
	       read_state(r, state, sizeof(state)) && is_warm(state);
}

static void tell_group(struct rouse_report *r, const struct rouse_health *h)
{
	auto_fetcher struct rouse_fetcher *f = rouse_fetcher_new();
	const struct signal_call like = signal_call_of(r, f);
	struct signal_turn turns[SIGNAL_ROWS];
	size_t n = signal_turns(turns, SIGNAL_GROUP, h, &like), kept = 0;

	for (size_t i = 0; i < n; i++)
		if (turns[i].signal == &signal_asg)
			turns[kept++] = turns[i];
	signal_run(turns, kept, SIGNAL_TELL, UINT64_MAX);
	for (size_t i = 0; i < kept; i++)
		signal_note(json_object_get(r->json, "signals"), &turns[i]);
	rouse_report_write(r);
}

void rouse_health_await_service(struct rouse_report *r, const struct rouse_health *h)
{
	char state[64] = "";

	rouse_log(ROUSE_LOG_INFO, "health", "in a warm pool, until the group wants this machine");
	do
		rouse_clock_sleep_until(rouse_clock_ms() + ROUSE_WARM_POLL);
	while (!read_state(r, state, sizeof(state)) || is_warm(state));
	tell_group(r, h); /* which looks itself at where the machine goes */
}
