/* SPDX-License-Identifier: Apache-2.0 */
#include "../../agent/s3.h"

#include <rouse/fetch.h>
#include <rouse/schema.h>

#include "../lib/tap.h"

#define auto_target __attribute__((cleanup(s3_target_auto)))

static inline void place_auto(struct s3_place *p)
{
	s3_place_done(p);
}
#define auto_place __attribute__((cleanup(place_auto)))

/* Where the object of a URL is asked for, as "https://host/path?query"; NULL when it is refused. */
static char *asked_at(const char *url, const char *region)
{
	auto_target struct s3_target t = { 0 };
	auto_place struct s3_place p = { 0 };
	struct rouse_err e = { 0 };

	if (s3_parse(&t, url, &e) < 0)
		return NULL;
	s3_place_init(&p, &t, t.region ? t.region : region, t.dualstack);
	return rouse_asprintf("%s://%s%s%s%s", t.plain ? "http" : "https", p.host, p.path,
			      p.query[0] ? "?" : "", p.query);
}

static void urls_become_requests(struct t *t)
{
	static const char *const cases[][2] = {
		{ "s3://acme/web.json", "https://acme.s3.eu-west-1.amazonaws.com/web.json" },
		{ "s3://acme/a/b?region=us-east-1", "https://acme.s3.us-east-1.amazonaws.com/a/b" },
		{ "s3://acme/a?region=cn-north-1",
		  "https://acme.s3.cn-north-1.amazonaws.com.cn/a" },
		{ "s3://acme/a?region=eusc-de-east-1",
		  "https://acme.s3.eusc-de-east-1.amazonaws.eu/a" },
		{ "s3://a.b/x", "https://s3.eu-west-1.amazonaws.com/a.b/x" },
		{ "s3://Acme/x", "https://s3.eu-west-1.amazonaws.com/Acme/x" },
		{ "s3://a_b/x", "https://s3.eu-west-1.amazonaws.com/a_b/x" },
		{ "s3://-ab/x", "https://s3.eu-west-1.amazonaws.com/-ab/x" },
		{ "s3://acme/a%20b+c=d(e)",
		  "https://acme.s3.eu-west-1.amazonaws.com/a%20b%2Bc%3Dd%28e%29" },
		{ "s3://acme/%c3%a9%7e", "https://acme.s3.eu-west-1.amazonaws.com/%C3%A9~" },
		{ "s3://acme//a//../b", "https://acme.s3.eu-west-1.amazonaws.com//a//../b" },
		{ "s3://acme/a?versionId=x/y%3d",
		  "https://acme.s3.eu-west-1.amazonaws.com/a?versionId=x%2Fy%3D" },
		{ "s3://acme/a?endpoint=r2.example&region=auto", "https://r2.example/acme/a" },
		{ "s3://acme/a?endpoint=https%3A%2F%2FR2.Example:443/",
		  "https://r2.example/acme/a" },
		{ "s3://acme/a?endpoint=http://minio:9000", "http://minio:9000/acme/a" },
		{ "s3://acme/a?endpoint=minio:80&scheme=http", "http://minio/acme/a" },
		{ "s3://acme/a?scheme=http&endpoint=[::1]:9000", "http://[::1]:9000/acme/a" },
		{ "s3://acme/a?", "https://acme.s3.eu-west-1.amazonaws.com/a" },
		{ "s3://acme/a?dualstack=true",
		  "https://acme.s3.dualstack.eu-west-1.amazonaws.com/a" },
		{ "s3://a.b/x?dualstack=true&region=cn-north-1",
		  "https://s3.dualstack.cn-north-1.amazonaws.com.cn/a.b/x" },
		{ "s3://acme/a?addressing-style=path",
		  "https://s3.eu-west-1.amazonaws.com/acme/a" },
		{ "s3://acme/a?addressing-style=auto",
		  "https://acme.s3.eu-west-1.amazonaws.com/a" },
		{ "s3://acme/a?addressing-style=virtual&endpoint=r2.example",
		  "https://acme.r2.example/a" },
		{ "s3://acme/a?requestPayer=requester",
		  "https://acme.s3.eu-west-1.amazonaws.com/a" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *got = asked_at(cases[i][0], "eu-west-1");

		T_STR(t, got, cases[i][1]);
	}
}

static void urls_that_cannot_be_are_refused(struct t *t)
{
	static const char *const cases[] = {
		"s3://",
		"s3:///a",
		"s3://a@b/c",
		"s3://a:1/c",
		"s3://.a/c",
		"s3://a./c",
		"s3://a%2fb/c",
		"s3://acme/a#b",
		"s3://acme/a%00b",
		"s3://acme/a?regoin=x",
		"s3://acme/a?region",
		"s3://acme/a?region=",
		"s3://acme/a?region=EU",
		"s3://acme/a?region=a.evil.example/",
		"s3://acme/a?region=a&region=a",
		"s3://acme/a?region=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		"s3://acme/a?scheme=http",
		"s3://acme/a?scheme=ftp&endpoint=a",
		"s3://acme/a?endpoint=http://a&scheme=https",
		"s3://acme/a?endpoint=a/b",
		"s3://acme/a?endpoint=u@a",
		"s3://acme/a?endpoint=a:0",
		"s3://acme/a?endpoint=a:65536",
		"s3://acme/a?endpoint=a:",
		"s3://acme/a?endpoint=:1",
		"s3://acme/a?endpoint=[::1",
		"s3://acme/a?endpoint=[a.example]x",
		"s3://acme/a?endpoint=https://",
		"s3://acme/a?endpoint=a%0d%0ax:y",
		"s3://acme/a?versionId=",
		"s3://acme/a?profile=x",
		"s3://acme/a?dualstack=yes",
		"s3://acme/a?requestPayer=me",
		"s3://acme/a?addressing-style=dns",
		"s3://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/a",
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *got = asked_at(cases[i], "eu-west-1");

		if (got)
			printf("# '%s'\n", cases[i]);
		T_CHECK(t, !got);
		T_CHECK(t, !rouse_is_url(cases[i]));
	}
}

static void a_version_is_of_no_cache(struct t *t)
{
	T_CHECK(t, rouse_is_cache_url("s3://acme/x?region=eu-west-1"));
	T_CHECK(t, rouse_is_cache_url("s3://acme") && rouse_is_cache_url("https://acme/x"));
	T_CHECK(t, !rouse_is_cache_url("s3://acme/x?versionId=1"));
	T_CHECK(t,
		!rouse_is_cache_url("https://acme/x?y") && !rouse_is_cache_url("https://acme/x#y"));
}

static void what_is_beneath_comes_before_the_query(struct t *t)
{
	static const char *const cases[][3] = {
		{ "s3://b/p?region=x", "/h.narinfo", "s3://b/p/h.narinfo?region=x" },
		{ "s3://b/p/?region=x", "/h.narinfo", "s3://b/p/h.narinfo?region=x" },
		{ "s3://b?region=x", "/h", "s3://b/h?region=x" },
		{ "s3://b", "/h", "s3://b/h" },
		{ "s3://b/", "/h", "s3://b/h" },
		{ "s3://b/p//", "/h", "s3://b/p/h" },
		{ "s3://b/d.json?versionId=1&region=x", ".sig", "s3://b/d.json.sig?region=x" },
		{ "s3://b/d.json?region=x&versionId=1&scheme=https", ".sig",
		  "s3://b/d.json.sig?region=x&scheme=https" },
		{ "s3://b/d.json?versionId=1", ".sig", "s3://b/d.json.sig" },
		/* What a cache says of its archives adds no parameters. */
		{ "s3://b?region=x", "/nar/a?endpoint=evil#x",
		  "s3://b/nar/a%3Fendpoint=evil%23x?region=x" },
		{ "https://h/p", "/a?b", "https://h/p/a?b" },
		{ "https://h/d.json?token=1", ".sig", "https://h/d.json.sig?token=1" },
		{ "https://h/", "/a", "https://h/a" },
		{ "file:///d/", "/a", "file:///d/a" },
		{ "file:///", "/a", "file:///a" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *got = rouse_fetch_url(cases[i][0], cases[i][1]);

		T_STR(t, got, cases[i][2]);
	}
}

/* An answer with this body and these headers, about bucket "acme". */
static struct s3_answer read_answer(const char *body, const char *region, const char *location,
				    const char *date)
{
	struct s3_answer a;

	s3_answer_read(&a, "acme", body, region, location, date);
	return a;
}

static void regions_are_found_where_they_are_said(struct t *t)
{
	static const struct {
		const char *body, *header, *location, *want;
	} cases[] = {
		{ "", "eu-west-1", "", "eu-west-1" },
		{ "<Region>eu-west-2</Region>", "", "", "eu-west-2" },
		{ "<Region>eu-west-2</Region>", "eu-west-1",
		  "https://acme.s3.eu-west-3.amazonaws.com/", "eu-west-1" },
		{ "<Endpoint>acme.s3.eu-west-1.amazonaws.com</Endpoint>", "", "", "eu-west-1" },
		{ "<Endpoint>acme.s3-eu-west-1.amazonaws.com</Endpoint>", "", "", "eu-west-1" },
		{ "<Endpoint>acme.s3.dualstack.eu-west-1.amazonaws.com</Endpoint>", "", "",
		  "eu-west-1" },
		{ "<Endpoint>s3.cn-north-1.amazonaws.com.cn</Endpoint>", "", "", "cn-north-1" },
		{ "", "", "https://s3.eu-west-1.amazonaws.com/acme/x", "eu-west-1" },
		{ "", "", "http://acme.s3.eu-west-1.amazonaws.com/x", "" },
		{ "", "", "https://evil.example/acme.s3.eu-west-1.amazonaws.com/", "" },
		{ "", "", "https://acme.s3.eu-west-1.amazonaws.com.evil.example/", "" },
		{ "", "", "https://acme.s3.eu-west-1.amazonaws.com@evil.example/", "" },
		{ "", "", "https://acme.s3.cn-north-1.amazonaws.com/", "" },
		{ "<Endpoint>acme.s3.amazonaws.com</Endpoint>", "", "", "" },
		{ "<Region>../evil</Region>", "EU", "", "" },
		{ "<Region>aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa</Region>", "", "",
		  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" },
		{ "<Region>", "", "", "" },
		{ "not XML", "", "", "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct s3_answer a = read_answer(cases[i].body, cases[i].header, cases[i].location,
						 "");

		T_STR(t, a.region, cases[i].want);
	}
}

static void messages_are_one_line_of_text(struct t *t)
{
	struct s3_answer a = read_answer(
		"<Error><Code>A&amp;lt;\x1b[1m</Code><Message>x\ny &lt;&quot;z&apos;&gt;</Message>",
		"", "", "");
	char body[700];

	T_STR(t, a.code, "A&lt; [1m");
	T_STR(t, a.message, "x y <\"z'>");
	a = read_answer("<Code>\xff\xfe</Code>", "", "", "");
	T_STR(t, a.code, "");
	(void)snprintf(body, sizeof(body), "<Message>%0300d%s</Message>", 0, "\xc3\xa9");
	a = read_answer(body, "", "", "");
	T_CHECK(t, strlen(a.message) == sizeof(a.message) - 1);
	(void)snprintf(body, sizeof(body), "<Code>%062d%s</Code>", 0, "\xc3\xa9");
	a = read_answer(body, "", "", "");
	T_CHECK(t, strlen(a.code) == 62); /* half a character is none */
}

static void the_servers_time_is_found(struct t *t)
{
	struct s3_answer a = read_answer("<ServerTime>2026-11-21T20:00:00Z</ServerTime>", "", "",
					 "Sat, 21 Nov 2026 21:00:00 GMT");

	T_CHECK(t, a.time == 1795291200);
	a = read_answer("<ServerTime>soon</ServerTime>", "", "", "Sat, 21 Nov 2026 21:00:00 GMT");
	T_CHECK(t, a.time == 1795294800);
	a = read_answer("", "", "", "soon");
	T_CHECK(t, a.time == 0);
}

static void answers_have_their_remedy(struct t *t)
{
	static const struct {
		long status;
		const char *code, *region;
		enum s3_verdict want;
	} cases[] = {
		{ 301, "PermanentRedirect", "a", S3_MOVED },
		{ 307, "TemporaryRedirect", "a", S3_MOVED },
		{ 307, "TemporaryRedirect", "", S3_FINAL },
		{ 400, "AuthorizationHeaderMalformed", "a", S3_MOVED },
		{ 400, "AuthorizationHeaderMalformed", "", S3_FINAL },
		{ 400, "", "a", S3_MOVED },
		{ 400, "ExpiredToken", "a", S3_CREDENTIALS },
		{ 403, "InvalidAccessKeyId", "", S3_CREDENTIALS },
		{ 403, "RequestTimeTooSkewed", "a", S3_CLOCK },
		{ 403, "AccessDenied", "a", S3_FINAL },
		{ 403, "SignatureDoesNotMatch", "", S3_FINAL },
		{ 404, "NoSuchKey", "a", S3_FINAL },
		{ 304, "", "", S3_FINAL },
		{ 503, "SlowDown", "", S3_AGAIN },
		{ 500, "", "", S3_AGAIN },
		{ 501, "", "", S3_FINAL },
		{ 429, "", "", S3_AGAIN },
		{ 400, "Throttling", "", S3_AGAIN },
		{ 400, "RequestTimeout", "a", S3_AGAIN },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct s3_answer a = { .time = 1 };

		(void)snprintf(a.code, sizeof(a.code), "%s", cases[i].code);
		(void)snprintf(a.region, sizeof(a.region), "%s", cases[i].region);
		T_CHECK(t, s3_judge(cases[i].status, &a) == cases[i].want);
	}
}

static void credentials_stay_in_their_partition(struct t *t)
{
	T_CHECK(t, s3_same_partition("us-east-1", "eu-west-1"));
	T_CHECK(t, s3_same_partition("cn-north-1", "cn-northwest-1"));
	T_CHECK(t, !s3_same_partition("us-east-1", "cn-north-1"));
	T_CHECK(t, !s3_same_partition("us-east-1", "us-gov-west-1"));
	T_CHECK(t, !s3_same_partition("eusc-de-east-1", "eu-west-1"));
}

T_MAIN(T(urls_become_requests), T(urls_that_cannot_be_are_refused), T(a_version_is_of_no_cache),
       T(what_is_beneath_comes_before_the_query), T(regions_are_found_where_they_are_said),
       T(messages_are_one_line_of_text), T(the_servers_time_is_found), T(answers_have_their_remedy),
       T(credentials_stay_in_their_partition))
