/* SPDX-License-Identifier: Apache-2.0 */
/* One service at two addresses: the first that gives an answer is it. */
#include <rouse/imds.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>

#include "../lib/server.h"
#include "../lib/tap.h"

#define LONG 60000 /* no test waits for it */
#define SHORT 1000
#define STAGGER 250 /* what the first address may take before the second is asked */
#define DEAD "http://127.0.0.1:1"
#define HAPPY "{}"
#define SLOW "{\"PUT /latest/api/token\": [{\"token\": true, \"delay\": 20000}]}"
#define BROKEN "{\"PUT /latest/api/token\": [{\"status\": 503}]}"
#define REFUSING "{\"PUT /latest/api/token\": [{\"status\": 403}]}"

struct fixture {
	struct server first, second;
	char bases[2][64];
	struct rouse_imds_api api;
	struct rouse_imds i;
	struct rouse_err e;
	struct rouse_buf body;
	uint64_t took;
};

static void fixture_done(struct fixture *x)
{
	server_stop(&x->first);
	server_stop(&x->second);
	rouse_fetcher_free(x->i.f);
	rouse_imds_done(&x->i);
	rouse_buf_done(&x->body);
}
#define auto_fixture __attribute__((cleanup(fixture_done)))
#define FIXTURE                                                                                    \
	{                                                                                          \
		.first = SERVER_INIT, .second = SERVER_INIT                                        \
	}

static bool serve(struct server *s, const char *scenario, char *base, size_t size)
{
	(void)snprintf(base, size, DEAD);
	if (!scenario)
		return true;
	if (!server_start(s, scenario))
		return false;
	(void)snprintf(base, size, "http://127.0.0.1:%u", s->port);
	return true;
}

static int get(struct fixture *x, uint64_t budget)
{
	uint64_t start = rouse_clock_ms();
	int r;

	x->i.deadline = start + budget;
	rouse_buf_done(&x->body);
	r = rouse_imds_get(&x->i, "meta-data/instance-id", 4096, &x->body, &x->e);
	x->took = rouse_clock_ms() - start;
	return r;
}

/* Asks a service whose two addresses behave like this (NULL: nobody listens). */
static int ask(struct fixture *x, const char *first, const char *second, uint64_t budget)
{
	if (!serve(&x->first, first, x->bases[0], sizeof(x->bases[0])) ||
	    !serve(&x->second, second, x->bases[1], sizeof(x->bases[1])))
		return -2;
	x->api = rouse_imds_ec2;
	x->api.bases[0] = x->bases[0];
	x->api.bases[1] = x->bases[1];
	x->i.api = &x->api;
	x->i.f = rouse_fetcher_new();
	return get(x, budget);
}

static void the_first_address_is_asked_first_and_alone(struct t *t)
{
	/* Until the first is as quick as it has to be for that. */
	for (int tries = 1;; tries++) {
		auto_fixture struct fixture x = FIXTURE;

		T_CHECK(t, ask(&x, HAPPY, HAPPY, LONG) == 0);
		T_STR(t, x.body.data, "i-0abc123def4567890");
		if (x.took >= STAGGER && tries < 50)
			continue;
		T_CHECK(t, server_count(&x.second, "path") == 0);
		T_CHECK(t, server_count(&x.first, "path") == 2);
		return;
	}
}

static void the_other_address_answers_for_a_dead_or_slow_one(struct t *t)
{
	static const char *const bad[] = { NULL, SLOW, BROKEN };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		for (int swap = 0; swap < 2; swap++) {
			auto_fixture struct fixture x = FIXTURE;

			T_CHECK(t, (swap ? ask(&x, HAPPY, bad[i], LONG)
					 : ask(&x, bad[i], HAPPY, LONG)) == 0);
			T_STR(t, x.body.data, "i-0abc123def4567890");
			T_CHECK(t, x.took < 15000); /* the slow one has 20 s */
		}
}

static void a_token_is_never_shown_to_the_other_address(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, ask(&x, SLOW, HAPPY, LONG) == 0);
	for (int n = 0; n < 3; n++)
		T_CHECK(t, get(&x, LONG) == 0);
	T_CHECK(t, server_count(&x.first, "metadata-token\"") == 0);
	T_CHECK(t, server_count(&x.first, "\"GET\"") == 0);
	T_CHECK(t, server_count(&x.second, "\"PUT\"") == 1);
	T_CHECK(t, server_count(&x.second, "\"GET\"") == 4);
}

static void a_refusal_is_an_answer_and_ends_the_race(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, ask(&x, REFUSING, SLOW, LONG) == -1);
	T_CHECK(t, x.e.kind == ROUSE_SYSTEM && x.took < 10000);
	T_HAS(t, x.e.text, "disabled for this instance (HTTP 403)");
}

static void no_answer_from_either_ends_at_the_deadline(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, ask(&x, NULL, NULL, SHORT) == -1);
	T_CHECK(t, x.e.kind == ROUSE_UNAVAILABLE && x.took < 10000);
	T_HAS(t, x.e.text, "no answer from the metadata service");
}

static void a_service_that_comes_up_late_is_waited_for(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	/* The first connections are reset, as by a host that is not ready. */
	T_CHECK(t, ask(&x, "{\"connections\": [\"rst\", \"rst\", \"rst\"]}", NULL, LONG) == 0);
	T_STR(t, x.body.data, "i-0abc123def4567890");
}

T_MAIN(T(the_first_address_is_asked_first_and_alone),
       T(the_other_address_answers_for_a_dead_or_slow_one),
       T(a_token_is_never_shown_to_the_other_address), T(a_refusal_is_an_answer_and_ends_the_race),
       T(no_answer_from_either_ends_at_the_deadline), T(a_service_that_comes_up_late_is_waited_for))
