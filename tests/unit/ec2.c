/* SPDX-License-Identifier: Apache-2.0 */
#include "../../modules/sources/services.h"

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/limits.h>

#include "../lib/server.h"
#include "../lib/tap.h"

#define LONG 60000 /* no test waits for it */
#define SHORT 1000

struct fixture {
	struct server server;
	struct rouse_fetcher *f;
	struct rouse_found found;
	struct rouse_err e;
	uint64_t took;
};

static void fixture_done(struct fixture *x)
{
	server_stop(&x->server);
	rouse_fetcher_free(x->f);
	rouse_found_done(&x->found);
}
#define auto_fixture __attribute__((cleanup(fixture_done)))
#define FIXTURE                                                                                    \
	{                                                                                          \
		.server = SERVER_INIT                                                              \
	}

/* Asks a service that behaves like this for at most `budget`; -2 when it did not start. */
static int ask(struct fixture *x, const char *scenario, uint64_t budget)
{
	auto_free char *base = NULL;
	uint64_t start;
	int r;

	if (!server_start(&x->server, scenario))
		return -2;
	x->f = rouse_fetcher_new();
	base = server_url(&x->server, "");
	start = rouse_clock_ms();
	r = service_fetch(&service_ec2, base, NULL, x->f, start + budget, &x->found, &x->e);
	x->took = rouse_clock_ms() - start;
	return r;
}

#define USER_DATA "\"GET /latest/user-data\""
#define TOKEN "\"PUT /latest/api/token\""
#define IDENTITY "\"GET /latest/dynamic/instance-identity/document\""

static const struct rouse_pair *tag(const struct fixture *x, size_t i)
{
	return &((const struct rouse_pair *)x->found.instance.tags.items)[i];
}

static void a_happy_instance_is_read_whole(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t,
		ask(&x, "{" USER_DATA ": [{\"body\": \"{}\", \"needs_token\": true}]}", LONG) == 0);
	T_STR(t, x.found.instance.cloud, "ec2");
	T_STR(t, x.found.instance.id, "i-0abc123def4567890");
	T_STR(t, x.found.instance.type, "m7i.large");
	T_STR(t, x.found.instance.region, "eu-west-1");
	T_STR(t, x.found.instance.zone, "eu-west-1b");
	T_STR(t, x.found.instance.hostname, "ip-10-0-0-7.eu-west-1.compute.internal");
	T_STR(t, x.found.user_data, "{}");
	T_CHECK(t, x.found.instance.tags.n == 2);
	T_STR(t, tag(&x, 0)->key, "Name");
	T_STR(t, tag(&x, 0)->value, "web one");
	T_STR(t, tag(&x, 1)->value, "web");
	T_CHECK(t, server_count(&x.server, "\"PUT\"") == 1);
	T_CHECK(t, server_count(&x.server, "path") == 8);
}

static void no_user_data_is_an_answer(struct t *t)
{
	static const char *const none[] = { "{\"status\": 404, \"needs_token\": true}",
					    "{\"body\": \"\"}" };

	for (size_t i = 0; i < 2; i++) {
		auto_fixture struct fixture x = FIXTURE;
		auto_free char *scenario = rouse_asprintf("{" USER_DATA ": [%s]}", none[i]);

		T_CHECK(t, ask(&x, scenario, LONG) == 0);
		T_CHECK(t, x.found.user_data == NULL);
		T_CHECK(t, server_count(&x.server, "user-data") == 1);
	}
}

/* The mistake that others made: each of these was taken for "no user-data". */
static void user_data_that_cannot_be_read_is_never_none(struct t *t)
{
	static const char *const broken[] = { "{\"status\": 500}",
					      "{\"status\": 503}",
					      "{\"status\": 429}",
					      "{\"drop\": true}",
					      "{\"rst\": true}",
					      "{\"status\": 401}",
					      "{\"body\": \"{}xx\", \"truncate\": 2}",
					      "{\"delay\": 30000}",
					      "{\"status\": 404, \"body\": \"x\", \"length\": 9}" };

	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		auto_fixture struct fixture x = FIXTURE;
		auto_free char *scenario = rouse_asprintf("{" USER_DATA ": [%s]}", broken[i]);

		T_CHECK(t, ask(&x, scenario, SHORT) == -1);
		T_CHECK(t, x.e.kind == ROUSE_UNAVAILABLE);
		T_CHECK(t, x.found.user_data == NULL);
		T_CHECK(t, x.took < 30000);
		T_CHECK(t, server_count(&x.server, "user-data") < 50);
	}
}

static void denied_user_data_is_this_machines_fault(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, ask(&x, "{" USER_DATA ": [{\"status\": 403}]}", LONG) == -1);
	T_CHECK(t, x.e.kind == ROUSE_SYSTEM);
	T_CHECK(t, server_count(&x.server, "user-data") == 1);
}

static void a_service_that_recovers_is_waited_for(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t,
		ask(&x,
		    "{\"connections\": [\"rst\", \"drop\", \"rst\"], " TOKEN ": [{\"status\": 503},"
		    "{\"status\": 500}, {\"token\": true}], " USER_DATA
		    ": [{\"status\": 503}, {\"body\": \"{}\"}]}",
		    LONG) == 0);
	T_STR(t, x.found.user_data, "{}");
	T_CHECK(t, server_count(&x.server, "\"PUT\"") == 3);
}

static void a_refused_token_is_replaced_before_every_retry(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, ask(&x,
		       "{" IDENTITY ": [{\"status\": 401}, {\"status\": 401}, {\"status\": 401},"
		       "{\"body\": \"{\\\"instanceId\\\": \\\"i-1\\\"}\", \"needs_token\": true}]}",
		       LONG) == 0);
	T_STR(t, x.found.instance.id, "i-1");
	T_CHECK(t, server_count(&x.server, "\"PUT\"") == 4);
	T_CHECK(t, server_count(&x.server, "instance-identity") == 4);
}

static void a_token_that_expires_between_requests_is_replaced(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, ask(&x, "{" TOKEN ": [{\"token\": true, \"token_uses\": 1}]}", LONG) == 0);
	T_STR(t, x.found.instance.id, "i-0abc123def4567890");
	T_CHECK(t, x.found.instance.tags.n == 2);
	/* Six values, each with a token of its own. */
	T_CHECK(t, server_count(&x.server, "\"PUT\"") == 6);
}

static void tokens_that_are_never_accepted_end_at_the_deadline(struct t *t)
{
	/* As long as this machine needs to be refused twice. */
	for (uint64_t time = SHORT;; time *= 3) {
		auto_fixture struct fixture x = FIXTURE;

		T_CHECK(t, ask(&x,
			       "{\"*\": [{\"status\": 401}], \"ec2\": false, " TOKEN
			       ": [{\"token\": true}]}",
			       time) == -1);
		T_CHECK(t, x.e.kind == ROUSE_UNAVAILABLE);
		if (server_count(&x.server, "\"status\": 401") < 2 && time < LONG / 3)
			continue;
		T_HAS(t, x.e.text, "tokens that it had just given (HTTP 401)");
		T_CHECK(t, x.took < time + 29000);
		return;
	}
}

static void each_refusal_of_a_token_has_its_own_sentence(struct t *t)
{
	static const struct {
		const char *answer, *text;
		enum rouse_kind kind;
	} cases[] = {
		{ "{\"status\": 403}", "disabled for this instance (HTTP 403)", ROUSE_SYSTEM },
		{ "{\"status\": 404}", "IMDSv2; HTTP 404", ROUSE_SYSTEM },
		{ "{\"status\": 405}", "IMDSv2; HTTP 405", ROUSE_SYSTEM },
		{ "{\"status\": 400}", "rejects the request", ROUSE_BUG },
		{ "{\"body\": \"\"}", "a token that is empty", ROUSE_SYSTEM },
		{ "{\"body\": \"a\\r\\nX-Evil: 1\"}", "not text", ROUSE_SYSTEM },
		{ "{\"size\": 100000}", "larger than", ROUSE_SYSTEM },
		{ "{\"status\": 302, \"headers\": {\"Location\": \"http://evil.invalid/\"}}",
		  "not followed", ROUSE_SYSTEM },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_fixture struct fixture x = FIXTURE;
		auto_free char *scenario = rouse_asprintf("{" TOKEN ": [%s]}", cases[i].answer);

		T_CHECK(t, ask(&x, scenario, LONG) == -1);
		T_CHECK(t, x.e.kind == cases[i].kind);
		T_HAS(t, x.e.text, cases[i].text);
		T_CHECK(t, server_count(&x.server, "path") == 1);
	}
}

static void a_silent_service_is_unavailable_and_the_hop_limit_is_named(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, ask(&x, "{" TOKEN ": [{\"delay\": 30000}]}", SHORT) == -1);
	T_CHECK(t, x.e.kind == ROUSE_UNAVAILABLE);
	T_HAS(t, x.e.text, "hop limit");
	T_CHECK(t, x.took < 30000);
}

static void a_redirect_is_never_followed(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, ask(&x,
		       "{" USER_DATA ": [{\"status\": 302, \"headers\": {\"Location\": "
		       "\"/latest/meta-data/instance-id\"}}]}",
		       LONG) == -1);
	T_CHECK(t, x.e.kind == ROUSE_SYSTEM);
	T_CHECK(t, server_count(&x.server, "meta-data/instance-id") == 0);
}

static void user_data_is_kept_byte_for_byte_up_to_the_limit(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE, y = FIXTURE, z = FIXTURE;

	T_CHECK(t, ask(&x, "{" USER_DATA ": [{\"base64\": \"H4sAAP8ACg==\"}]}", LONG) == 0);
	T_CHECK(t, x.found.user_data_len == 7 &&
			   memcmp(x.found.user_data, "\x1f\x8b\0\0\xff\0\n", 7) == 0);
	T_CHECK(t, ask(&y, "{" USER_DATA ": [{\"size\": 1048576}]}", LONG) == 0);
	T_CHECK(t, y.found.user_data_len == ROUSE_MAX_USERDATA);
	T_CHECK(t,
		ask(&z, "{" USER_DATA ": [{\"size\": 1048577, \"chunked\": true}]}", LONG) == -1);
	T_CHECK(t, z.e.kind == ROUSE_SYSTEM && z.e.sys == EFBIG);
}

static void floods_and_drips_are_bounded(struct t *t)
{
	static const char *const floods[] = { "{\"size\": 104857600}",
					      "{\"size\": 104857600, \"chunked\": true}",
					      "{\"size\": 100000, \"drip\": 50}" };

	for (size_t i = 0; i < ARRAY_SIZE(floods); i++) {
		auto_fixture struct fixture x = FIXTURE;
		auto_free char *scenario = rouse_asprintf("{" IDENTITY ": [%s]}", floods[i]);

		T_CHECK(t, ask(&x, scenario, SHORT) == -1);
		T_CHECK(t, x.took < 30000);
		T_CHECK(t, rouse_fetcher_counters(x.f).bytes < 1 << 20);
	}
}

static void a_clone_without_an_identity_document_is_asked_value_by_value(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, ask(&x,
		       "{" IDENTITY ": [{\"status\": 404}], \"GET "
		       "/latest/meta-data/tags/instance\": [{\"status\": 404}],"
		       "\"GET /latest/meta-data/local-hostname\": [{\"status\": 404}]}",
		       LONG) == 0);
	T_STR(t, x.found.instance.id, "i-0abc123def4567890");
	T_STR(t, x.found.instance.zone, "eu-west-1b");
	T_CHECK(t, !x.found.instance.hostname && x.found.instance.tags.n == 0);
}

static void an_identity_that_is_not_json_is_this_machines_fault(struct t *t)
{
	static const char *const broken[] = { "\"<html>\"", "\"[7\"", "\"\"",
					      "\"{\\\"a\\\": 1, \\\"a\\\": 1}\"" };

	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		auto_fixture struct fixture x = FIXTURE;
		auto_free char *scenario = rouse_asprintf("{" IDENTITY ": [{\"body\": %s}]}",
							  broken[i]);

		T_CHECK(t, ask(&x, scenario, LONG) == -1);
		T_CHECK(t, x.e.kind == ROUSE_SYSTEM);
	}
}

static void a_service_that_names_another_instance_than_the_firmware_is_untrusted(struct t *t)
{
	struct rouse_fetcher *f auto_of(fetcher) = rouse_fetcher_new();
	auto_server struct server s = SERVER_INIT;
	auto_free char *base = NULL;
	struct rouse_found found = { 0 };
	struct rouse_err e = { 0 };
	int r;

	T_CHECK(t, server_start(&s, "{}"));
	base = server_url(&s, "");
	r = service_fetch(&service_ec2, base, "i-0ffffffffffffffff", f, rouse_clock_ms() + LONG,
			  &found, &e);
	rouse_found_done(&found);
	T_CHECK(t, r < 0 && e.kind == ROUSE_UNTRUSTED && e.fault == ROUSE_LOCAL);
	T_CHECK(t, server_count(&s, "user-data") == 0);
	r = service_fetch(&service_ec2, base, "i-0abc123def4567890", f, rouse_clock_ms() + LONG,
			  &found, &e);
	rouse_found_done(&found);
	T_CHECK(t, r == 0);
}

static void tags_with_strange_names_are_asked_for_and_kept(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, ask(&x,
		       "{\"GET /latest/meta-data/tags/instance\": [{\"body\": \"a b/c\\nrole\"}],"
		       "\"GET /latest/meta-data/tags/instance/a%20b%2Fc\": [{\"body\": \"v\"}]}",
		       LONG) == 0);
	T_CHECK(t, x.found.instance.tags.n == 2);
	T_STR(t, tag(&x, 0)->key, "a b/c");
	T_STR(t, tag(&x, 0)->value, "v");
}

static void no_token_and_no_payload_is_in_an_error(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, ask(&x,
		       "{" TOKEN ": [{\"body\": \"hunter2\"}], " IDENTITY
		       ": [{\"status\": 403, \"body\": \"hunter2\"}]}",
		       LONG) == -1);
	T_CHECK(t, !strstr(x.e.text, "hunter2"));
}

T_MAIN(T(a_happy_instance_is_read_whole), T(no_user_data_is_an_answer),
       T(user_data_that_cannot_be_read_is_never_none), T(denied_user_data_is_this_machines_fault),
       T(a_service_that_recovers_is_waited_for), T(a_refused_token_is_replaced_before_every_retry),
       T(a_token_that_expires_between_requests_is_replaced),
       T(tokens_that_are_never_accepted_end_at_the_deadline),
       T(each_refusal_of_a_token_has_its_own_sentence),
       T(a_silent_service_is_unavailable_and_the_hop_limit_is_named),
       T(a_redirect_is_never_followed), T(user_data_is_kept_byte_for_byte_up_to_the_limit),
       T(floods_and_drips_are_bounded),
       T(a_clone_without_an_identity_document_is_asked_value_by_value),
       T(an_identity_that_is_not_json_is_this_machines_fault),
       T(a_service_that_names_another_instance_than_the_firmware_is_untrusted),
       T(tags_with_strange_names_are_asked_for_and_kept), T(no_token_and_no_payload_is_in_an_error))
