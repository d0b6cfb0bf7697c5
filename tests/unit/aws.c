/* SPDX-License-Identifier: Apache-2.0 */
#include "../../agent/aws.h"

#include <pthread.h>

#include <rouse/clock.h>

#include "../lib/server.h"
#include "../lib/tap.h"

#define LONG 60000 /* no test waits for it */
#define SHORT 1000

#define ROLES "\"GET /latest/meta-data/iam/security-credentials/\""
#define WEB "\"GET /latest/meta-data/iam/security-credentials/web\""
#define HAS_ROLE ROLES ": [{\"body\": \"web\", \"needs_token\": true}], "
#define KEY(id)                                                                                    \
	"{\"body\": \"{\\\"Code\\\":\\\"Success\\\",\\\"AccessKeyId\\\":\\\"" id                   \
	"\\\",\\\"SecretAccessKey\\\":\\\"s\\\",\\\"Token\\\":\\\"t\\\",\\\"Expiration\\\":"       \
	"\\\"2099-01-01T00:00:00Z\\\"}\", \"needs_token\": true}"

struct fixture {
	struct server server;
	struct aws *aws;
	struct aws_signer who;
	struct rouse_err e;
};

static void fixture_done(struct fixture *x)
{
	server_stop(&x->server);
	aws_unref(x->aws);
}
#define auto_fixture __attribute__((cleanup(fixture_done)))
#define FIXTURE                                                                                    \
	{                                                                                          \
		.server = SERVER_INIT                                                              \
	}

static bool begin(struct fixture *x, const char *scenario)
{
	auto_free char *base = NULL;

	if (!server_start(&x->server, scenario))
		return false;
	base = server_url(&x->server, "");
	x->aws = aws_new(base);
	return true;
}

static int sign(struct fixture *x, bool again, uint64_t budget)
{
	return aws_sign(x->aws, again, rouse_clock_ms() + budget, &x->who, &x->e);
}

static void credentials_are_asked_for_once(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "{" HAS_ROLE WEB ": [" KEY("A") "," KEY("B") "]}"));
	for (int i = 0; i < 3; i++) {
		T_CHECK(t, sign(&x, false, LONG) == 0);
		T_STR(t, x.who.role, "web");
		T_STR(t, x.who.key.id, "A");
		T_STR(t, x.who.key.token, "t");
	}
	T_CHECK(t, server_count(&x.server, "credentials/web") == 1);
}

static void refused_credentials_are_renewed_once_for_all(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	unsigned first;

	T_CHECK(t, begin(&x, "{" HAS_ROLE WEB ": [" KEY("A") "," KEY("B") "," KEY("C") "]}"));
	T_CHECK(t, sign(&x, false, LONG) == 0);
	first = x.who.generation;
	aws_refused(x.aws, first);
	T_CHECK(t, sign(&x, false, LONG) == 0);
	T_STR(t, x.who.key.id, "B");
	aws_refused(x.aws, first); /* another request that was signed before */
	T_CHECK(t, sign(&x, false, LONG) == 0);
	T_STR(t, x.who.key.id, "B");
}

static void credentials_outlive_the_service(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "{" HAS_ROLE WEB ": [" KEY("A") ", {\"status\": 503}]}"));
	T_CHECK(t, sign(&x, false, LONG) == 0);
	aws_refused(x.aws, x.who.generation);
	T_CHECK(t, sign(&x, false, SHORT) == 0);
	T_STR(t, x.who.key.id, "A");
}

static void no_role_is_nobody_until_there_is_one(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "{" ROLES ": [{\"status\": 404}, {\"body\": \"web\"}], " WEB
			     ": [" KEY("A") "]}"));
	T_CHECK(t, aws_may_come(x.aws));
	T_CHECK(t, sign(&x, false, LONG) == 0);
	T_STR(t, x.who.role, "");
	T_STR(t, x.who.key.secret, "");
	T_CHECK(t, x.who.instance && aws_may_come(x.aws));
	T_CHECK(t, sign(&x, false, LONG) == 0); /* nobody asked for more */
	T_STR(t, x.who.role, "");
	rouse_clock_sleep_until(rouse_clock_ms() + 300);
	T_CHECK(t, sign(&x, true, LONG) == 0);
	T_STR(t, x.who.role, "web");
	T_CHECK(t, server_count(&x.server, "security-credentials/\"") == 2);
}

static void what_goes_into_a_header_is_text(struct t *t)
{
	static const char *const cases[] = { KEY("A\\\\r\\\\nx: y"), KEY("a b"), KEY("") };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_fixture struct fixture x = FIXTURE;
		auto_free char *scenario = rouse_asprintf("{" HAS_ROLE WEB ": [%s]}", cases[i]);

		T_CHECK(t, begin(&x, scenario));
		T_CHECK(t, sign(&x, false, LONG) == -1);
		T_CHECK(t, x.e.kind == ROUSE_SYSTEM);
		T_HAS(t, x.e.text, "incomplete");
	}
}

static void role_names_lead_nowhere_else(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "{" ROLES ": [{\"body\": \"../../user-data\"}]}"));
	T_CHECK(t, sign(&x, false, LONG) == -1);
	T_CHECK(t, server_count(&x.server, "user-data") == 0);
}

static void signatures_go_by_the_servers_clock(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "{" HAS_ROLE WEB ": [" KEY("A") "]}"));
	aws_set_time(x.aws, 4000000000);
	T_CHECK(t, sign(&x, false, LONG) == 0);
	T_CHECK(t, x.who.time >= 4000000000 && x.who.time < 4000000060);
}

static void buckets_are_remembered(struct t *t)
{
	static const struct s3_target a = { .bucket = "acme" },
				      b = { .bucket = "other", .region = "eu-west-2" },
				      c = { .bucket = "acme", .endpoint = "minio" };
	auto_fixture struct fixture x = FIXTURE;
	uint64_t deadline = rouse_clock_ms() + LONG;
	char region[S3_REGION];

	T_CHECK(t, begin(&x, "{}"));
	T_CHECK(t, aws_region(x.aws, &b, deadline, region, &x.e) == 0);
	T_STR(t, region, "eu-west-2");
	T_CHECK(t, server_count(&x.server, "placement/region") == 0);
	T_CHECK(t, aws_region(x.aws, &a, deadline, region, &x.e) == 0);
	T_STR(t, region, "eu-west-1"); /* the instance's */
	aws_bucket_is_in(x.aws, &a, "us-east-2");
	aws_bucket_is_in(x.aws, &b, "us-east-2");
	aws_bucket_is_public(x.aws, &a);
	T_CHECK(t, aws_region(x.aws, &a, deadline, region, &x.e) == 0);
	T_STR(t, region, "us-east-2");
	T_CHECK(t, aws_region(x.aws, &b, deadline, region, &x.e) == 0);
	T_STR(t, region, "us-east-2");
	T_CHECK(t, aws_region(x.aws, &c, deadline, region, &x.e) == 0);
	T_STR(t, region, "eu-west-1"); /* one of the same name elsewhere is another */
	T_CHECK(t,
		aws_is_public(x.aws, &a) && !aws_is_public(x.aws, &b) && !aws_is_public(x.aws, &c));
	T_CHECK(t, server_count(&x.server, "placement/region") == 1);
}

static void more_buckets_than_are_remembered_are_asked_anew(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "{}"));
	for (int i = 0; i < 100; i++) {
		char name[32];
		const struct s3_target b = { .bucket = name };

		(void)snprintf(name, sizeof(name), "bucket-%d", i);
		aws_bucket_is_in(x.aws, &b, "us-east-2");
		T_CHECK(t, !aws_is_public(x.aws, &b));
	}
}

static void *sign_often(void *arg)
{
	struct aws *aws = arg;

	for (int i = 0; i < 20; i++) {
		struct aws_signer who = { 0 };
		struct rouse_err e = { 0 };

		if (aws_sign(aws, false, rouse_clock_ms() + LONG, &who, &e) < 0 ||
		    strcmp(who.key.id, "A") != 0)
			return NULL;
	}
	return aws;
}

static void threads_share_one_answer(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	pthread_t threads[8];
	unsigned good = 0;

	T_CHECK(t, begin(&x, "{" HAS_ROLE WEB ": [" KEY("A") "," KEY("B") "]}"));
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		T_CHECK(t, pthread_create(&threads[i], NULL, sign_often, x.aws) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		void *ret = NULL;

		(void)pthread_join(threads[i], &ret);
		good += ret != NULL;
	}
	T_CHECK(t, good == ARRAY_SIZE(threads));
	T_CHECK(t, server_count(&x.server, "credentials/web") == 1);
}

T_MAIN(T(credentials_are_asked_for_once), T(refused_credentials_are_renewed_once_for_all),
       T(credentials_outlive_the_service), T(no_role_is_nobody_until_there_is_one),
       T(what_goes_into_a_header_is_text), T(role_names_lead_nowhere_else),
       T(signatures_go_by_the_servers_clock), T(buckets_are_remembered),
       T(more_buckets_than_are_remembered_are_asked_anew), T(threads_share_one_answer))
