/* SPDX-License-Identifier: Apache-2.0 */
/* Every cloud's table against answers as they were recorded (tests/cloud/clouds.json), well and ill. */
#include "../../modules/sources/services.h"

#include <arpa/inet.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/json.h>

#include "../../agent/metadata_address.h"
#include "../lib/server.h"
#include "../lib/tap.h"

#define LONG 60000 /* no test waits for it */
#define SHORT 300

static const struct service *const services[] = {
	&service_ec2,       &service_ec2_compatible, &service_gce,        &service_azure,
	&service_openstack, &service_digitalocean,   &service_hetzner,    &service_oracle,
	&service_vultr,     &service_scaleway,       &service_akamai,     &service_exoscale,
	&service_upcloud,   &service_aliyun,         &service_cloudstack,
};

/* Says of which row a check failed. */
#define CHECK_OF(t, row, condition)                                                                \
	do {                                                                                       \
		bool holds_ = (condition);                                                         \
		if (!holds_)                                                                       \
			printf("# of %s\n", row);                                                  \
		T_CHECK(t, holds_);                                                                \
	} while (0)

/* One server plays everything: it is told what comes next. */
struct fixture {
	struct server server;
	struct rouse_fetcher *f;
	struct rouse_found found;
	struct rouse_err e;
	json_t *clouds;
	uint64_t took;
};

static void fixture_done(struct fixture *x)
{
	server_stop(&x->server);
	rouse_fetcher_free(x->f);
	rouse_found_done(&x->found);
	json_decref(x->clouds);
}
#define auto_fixture __attribute__((cleanup(fixture_done)))
#define FIXTURE                                                                                    \
	{                                                                                          \
		.server = SERVER_INIT                                                              \
	}

static bool begin(struct fixture *x)
{
	auto_buf struct rouse_buf text = { 0 };

	x->f = rouse_fetcher_new();
	if (!server_start(&x->server, "{}") ||
	    rouse_read_file("tests/cloud/clouds.json", 1 << 20, &text, &x->e) < 0)
		return false;
	x->clouds = rouse_json_parse("clouds.json", text.data, text.len, &x->e);
	return x->clouds != NULL;
}

static const char *text_of(const struct fixture *x, const struct service *s, const char *member)
{
	return json_string_value(json_object_get(json_object_get(x->clouds, s->cloud), member));
}

static bool play(struct fixture *x, const char *scenario)
{
	auto_free char *url = server_url(&x->server, "/");
	struct rouse_fetch t = { .url = url,
				 .method = "SCENARIO",
				 .body = scenario,
				 .body_len = strlen(scenario),
				 .max_bytes = 1,
				 .deadline = rouse_clock_ms() + LONG };
	int r = rouse_fetch(x->f, &t, &x->e);

	rouse_buf_done(&t.body_out);
	return r == 0;
}

/* Asks the service, whose answer to the request for user-data is replaced by these (NULL: it is
 * well). -2 when the test itself fails. */
static int ask(struct fixture *x, const struct service *s, const char *answers, uint64_t budget)
{
	auto_free char *base = server_url(&x->server, "");
	auto_free char *scenario = answers ? rouse_asprintf("{\"cloud\": \"%s\", \"%s\": [%s]}",
							    s->cloud, text_of(x, s, "userData"),
							    answers)
					   : rouse_asprintf("{\"cloud\": \"%s\"}", s->cloud);
	uint64_t start;
	int r;

	if (!play(x, scenario))
		return -2;
	rouse_found_done(&x->found);
	x->e = (struct rouse_err){ 0 };
	start = rouse_clock_ms();
	r = service_fetch(s, base, NULL, x->f, start + budget, &x->found, &x->e);
	x->took = rouse_clock_ms() - start;
	return r;
}

/* What is different, or "". */
static const char *difference(const struct rouse_instance *i, const json_t *expect)
{
	const struct {
		const char *name, *value;
	} facts[] = { { "id", i->id },
		      { "type", i->type },
		      { "region", i->region },
		      { "zone", i->zone },
		      { "hostname", i->hostname } };
	const json_t *tags = json_object_get(expect, "tags"),
		     *keys = json_object_get(expect, "keys");

	for (size_t n = 0; n < ARRAY_SIZE(facts); n++) {
		const char *want = json_string_value(json_object_get(expect, facts[n].name));
		bool same = want && facts[n].value ? strcmp(want, facts[n].value) == 0
						   : want == facts[n].value;

		if (!same)
			return facts[n].name;
	}
	if (i->tags.n != json_object_size(tags))
		return "the number of tags";
	for (size_t n = 0; n < i->tags.n; n++) {
		const struct rouse_pair *p = (const struct rouse_pair *)i->tags.items + n;
		const char *want = json_string_value(json_object_get(tags, p->key));

		if (!want || strcmp(want, p->value) != 0)
			return p->key;
	}
	if (i->ssh_keys.n != json_array_size(keys))
		return "the number of keys";
	for (size_t n = 0; n < i->ssh_keys.n; n++)
		if (strcmp(((const char *const *)i->ssh_keys.items)[n],
			   json_string_value(json_array_get(keys, n))) != 0)
			return "a key";
	return "";
}

static void every_cloud_is_read_whole(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x));
	for (size_t i = 0; i < ARRAY_SIZE(services); i++) {
		const json_t *cloud = json_object_get(x.clouds, services[i]->cloud);
		json_int_t requests = json_integer_value(json_object_get(cloud, "requests"));

		if (services[i]->api->low_port && geteuid() != 0)
			continue;
		CHECK_OF(t, services[i]->cloud, ask(&x, services[i], NULL, LONG) == 0);
		T_STR(t, difference(&x.found.instance, json_object_get(cloud, "expect")), "");
		T_STR(t, x.found.instance.cloud, services[i]->cloud);
		CHECK_OF(t, services[i]->cloud, rouse_userdata_unwrap(&x.found, &x.e) == 0);
		T_HAS(t, x.found.user_data, "canary-4711");
		CHECK_OF(t, services[i]->cloud,
			 server_count(&x.server, "path") == (unsigned)requests);
	}
}

/* 404: "none" is each cloud's own, in clouds.json. */
static void what_is_not_there_is_none_where_the_table_says_so(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x));
	for (size_t i = 0; i < ARRAY_SIZE(services); i++) {
		const char *none = text_of(&x, services[i], "none");
		int r;

		if (services[i]->api->low_port && geteuid() != 0)
			continue;
		r = ask(&x, services[i], "{\"status\": 404}", strcmp(none, "retry") ? LONG : SHORT);
		CHECK_OF(t, services[i]->cloud, r == (strcmp(none, "none") ? -1 : 0));
		CHECK_OF(t, services[i]->cloud, !x.found.user_data);
		if (strcmp(none, "retry") == 0)
			CHECK_OF(t, services[i]->cloud, x.e.kind == ROUSE_UNAVAILABLE);
		if (strcmp(none, "failed") == 0)
			T_HAS(t, x.e.text, "does not say which instance this is");
	}
}

static void what_cannot_be_known_yet_is_never_none(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x));
	for (size_t i = 0; i < ARRAY_SIZE(services); i++) {
		if (services[i]->api->low_port && geteuid() != 0)
			continue;
		CHECK_OF(t, services[i]->cloud,
			 ask(&x, services[i], "{\"status\": 500}", SHORT) == -1);
		CHECK_OF(t, services[i]->cloud, x.e.kind == ROUSE_UNAVAILABLE);
		CHECK_OF(t, services[i]->cloud, !x.found.user_data);
		CHECK_OF(t, services[i]->cloud,
			 server_count(&x.server, "path") < 20); /* it backs off */
	}
}

static void a_refusal_is_this_machines_fault(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x));
	for (size_t i = 0; i < ARRAY_SIZE(services); i++) {
		if (services[i]->api->low_port && geteuid() != 0)
			continue;
		CHECK_OF(t, services[i]->cloud,
			 ask(&x, services[i], "{\"status\": 403}", LONG) == -1);
		CHECK_OF(t, services[i]->cloud, x.e.kind == ROUSE_SYSTEM);
	}
}

/* One cloud of each kind: text, JSON, tokens, its own table. */
static const struct service *const kinds[] = { &service_gce, &service_digitalocean, &service_akamai,
					       &service_azure };

static void each_way_to_misbehave_has_its_outcome(struct t *t)
{
	static const struct {
		const char *answers;
		enum rouse_kind kind;
		uint64_t budget;
	} ways[] = {
		{ "{\"rst\": true}", ROUSE_UNAVAILABLE, SHORT },
		{ "{\"drop\": true}", ROUSE_UNAVAILABLE, SHORT },
		{ "{\"raw\": \"garbage, and no HTTP\\r\\n\\r\\n\"}", ROUSE_SYSTEM, LONG },
		{ "{\"delay\": 30000}", ROUSE_UNAVAILABLE, SHORT },
		{ "{\"body\": \"{}xxxx\", \"drip\": 200}", ROUSE_UNAVAILABLE, SHORT },
		{ "{\"body\": \"canary-4711\", \"truncate\": 2}", ROUSE_UNAVAILABLE, SHORT },
		{ "{\"status\": 429}", ROUSE_UNAVAILABLE, SHORT },
		{ "{\"status\": 503, \"headers\": {\"Retry-After\": \"60\"}}", ROUSE_UNAVAILABLE,
		  SHORT },
		{ "{\"status\": 302, \"headers\": {\"Location\": "
		  "\"http://127.0.0.1:1/canary-4711\"}}",
		  ROUSE_SYSTEM, LONG },
		{ "{\"status\": 405}", ROUSE_SYSTEM, LONG },
		{ "{\"size\": 4000000}", ROUSE_SYSTEM, LONG },
	};

	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x));
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
			CHECK_OF(t, ways[i].answers,
				 ask(&x, kinds[k], ways[i].answers, ways[i].budget) == -1);
			CHECK_OF(t, ways[i].answers, x.e.kind == ways[i].kind);
			CHECK_OF(t, ways[i].answers, !x.found.user_data);
			CHECK_OF(t, ways[i].answers, x.took < 30000);
			CHECK_OF(t, ways[i].answers, !strstr(x.e.text, "canary-4711/"));
		}
}

#define HTML "\"headers\": {\"Content-Type\": \"text/html\"}"

static void json_that_is_none_is_this_machines_fault(struct t *t)
{
	static const char *const bodies[] = {
		"{\"body\": \"<html>canary-4711</html>\", " HTML "}", "{\"body\": \"\"}",
		"{\"body\": \"{\\\"droplet_id\\\": \\\"canary-4711\"}",
		"{\"body\": \"{\\\"droplet_id\\\": 99999999999999999999}\"}"
	};
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x));
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		T_CHECK(t, ask(&x, &service_digitalocean, bodies[i], LONG) == -1);
		T_CHECK(t, x.e.kind == ROUSE_SYSTEM);
		T_CHECK(t, !strstr(x.e.text, "canary-4711"));
	}
}

static void a_service_that_recovers_is_asked_again_after_what_it_said(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x));
	T_CHECK(t,
		ask(&x, &service_gce,
		    "{\"status\": 503, \"headers\": {\"Retry-After\": \"1\"}}, {\"body\": \"{}\"}",
		    LONG) == 0);
	T_STR(t, x.found.user_data, "{}");
	T_CHECK(t, x.took >= 1000);
	T_CHECK(t, server_count(&x.server, "user-data") == 2);
	/* Azure's service says 404 and 410 of what will be there soon. */
	T_CHECK(t, ask(&x, &service_azure,
		       "{\"status\": 404}, {\"status\": 410}, {\"body\": \"{\\\"compute\\\": "
		       "{\\\"vmId\\\": "
		       "\\\"x\\\"}}\"}",
		       LONG) == 0);
	T_STR(t, x.found.instance.id, "x");
	T_CHECK(t, server_count(&x.server, "path") == 3);
}

static void another_instance_than_the_firmware_says_is_untrusted(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	auto_free char *base = NULL;

	T_CHECK(t, begin(&x));
	base = server_url(&x.server, "");
	T_CHECK(t, play(&x, "{\"cloud\": \"hetzner\"}"));
	T_CHECK(t, service_fetch(&service_hetzner, base, "1", x.f, rouse_clock_ms() + LONG,
				 &x.found, &x.e) == -1);
	T_CHECK(t, x.e.kind == ROUSE_UNTRUSTED && x.e.fault == ROUSE_LOCAL);
	T_CHECK(t, server_count(&x.server, "userdata") == 0);
}

static void tables_say_what_statuses_mean(struct t *t)
{
	static const struct {
		const struct service *s;
		bool token;
		long status;
		enum rouse_means means;
	} rows[] = {
		{ &service_gce, false, 200, ROUSE_MEANS_VALUE },
		{ &service_gce, false, 204, ROUSE_MEANS_NONE },
		{ &service_gce, false, 404, ROUSE_MEANS_NONE },
		{ &service_gce, false, 410, ROUSE_MEANS_NONE },
		{ &service_gce, false, 401, ROUSE_MEANS_FAILED },
		{ &service_gce, false, 403, ROUSE_MEANS_FAILED },
		{ &service_gce, false, 302, ROUSE_MEANS_FAILED },
		{ &service_gce, false, 408, ROUSE_MEANS_RETRY },
		{ &service_gce, false, 429, ROUSE_MEANS_RETRY },
		{ &service_gce, false, 500, ROUSE_MEANS_RETRY },
		{ &service_gce, false, 501, ROUSE_MEANS_FAILED },
		{ &service_gce, false, 599, ROUSE_MEANS_RETRY },
		{ &service_ec2, false, 401, ROUSE_MEANS_RENEW },
		{ &service_ec2, true, 401, ROUSE_MEANS_FAILED },
		{ &service_ec2, true, 404, ROUSE_MEANS_FAILED },
		{ &service_ec2, true, 503, ROUSE_MEANS_RETRY },
		{ &service_akamai, false, 401, ROUSE_MEANS_RENEW },
		{ &service_azure, false, 404, ROUSE_MEANS_RETRY },
		{ &service_azure, false, 410, ROUSE_MEANS_RETRY },
		{ &service_azure, false, 400, ROUSE_MEANS_FAILED },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CHECK_OF(t, rows[i].s->cloud,
			 rouse_imds_means(rows[i].s->api, rows[i].token, rows[i].status) ==
				 rows[i].means);
	}
}

/* The number of an address in a URL: "http://[fe80::1%25eth0]/x". */
static int address_of(const char *url, uint8_t ret[static 16])
{
	bool six = strchr(url, '[') != NULL;
	const char *scheme = strstr(url, "://"), *host = scheme ? scheme + 3 + six : url;
	char text[64];

	(void)snprintf(text, sizeof(text), "%.*s", (int)strcspn(host, six ? "]%" : ":/"), host);
	return inet_pton(six ? AF_INET6 : AF_INET, text, ret) == 1 ? six ? AF_INET6 : AF_INET : -1;
}

/* Or a cache could have us ask one of them, and read the answer. */
static void no_url_may_lead_to_any_of_them(struct t *t)
{
	for (size_t i = 0; i < ARRAY_SIZE(services); i++)
		for (size_t k = 0; k < ROUSE_IMDS_MAX_BASES && services[i]->api->bases[k]; k++) {
			const char *base = services[i]->api->bases[k];
			uint8_t address[16];
			int family = address_of(base, address);

			if (!*base) /* CloudStack's is that of a router, and gives out no credentials */
				continue;
			CHECK_OF(t, services[i]->cloud, family != -1);
			CHECK_OF(t, services[i]->cloud, metadata_address_is(family, address));
		}
}

T_MAIN(T(every_cloud_is_read_whole), T(what_is_not_there_is_none_where_the_table_says_so),
       T(what_cannot_be_known_yet_is_never_none), T(a_refusal_is_this_machines_fault),
       T(each_way_to_misbehave_has_its_outcome), T(json_that_is_none_is_this_machines_fault),
       T(a_service_that_recovers_is_asked_again_after_what_it_said),
       T(another_instance_than_the_firmware_says_is_untrusted), T(tables_say_what_statuses_mean),
       T(no_url_may_lead_to_any_of_them))
