/* SPDX-License-Identifier: Apache-2.0 */
#include "../../agent/blob.h"

#include "../lib/tap.h"

#include <rouse/fetch.h>
#include <rouse/schema.h>

static char *asked_at(const char *url)
{
	struct blob_target t __attribute__((cleanup(blob_target_auto))) = { 0 };
	struct rouse_err e = { 0 };

	return blob_parse(&t, url, &e) < 0 ? NULL : rouse_strdup(t.url);
}

#define GOOGLE "https://storage.googleapis.com/storage/v1/b/"

static void urls_become_requests(struct t *t)
{
	static const char *const cases[][2] = {
		{ "gs://acme/web.json", GOOGLE "acme/o/web.json?alt=media" },
		{ "gs://acme.example_1/a/b//c", GOOGLE "acme.example_1/o/a%2Fb%2F%2Fc?alt=media" },
		{ "gs://acme/%c3%a9%7e(x)", GOOGLE "acme/o/%C3%A9~%28x%29?alt=media" },
		{ "gs://acme/..?", GOOGLE "acme/o/..?alt=media" },
		{ "gs://acme/a?generation=17&userProject=my-project",
		  GOOGLE "acme/o/a?alt=media&generation=17&userProject=my-project" },
		{ "az://acme/fleet/web.json", "https://acme.blob.core.windows.net/fleet/web.json" },
		{ "az://acme/$root/a%20b/c", "https://acme.blob.core.windows.net/$root/a%20b/c" },
		{ "az://acme1/fleet/a?cloud=usgov",
		  "https://acme1.blob.core.usgovcloudapi.net/fleet/a" },
		{ "az://acme/fleet/a?cloud=china&versionid=2026-01-01T00:00:00.1Z&client_id=0-aF",
		  "https://acme.blob.core.chinacloudapi.cn/fleet/"
		  "a?versionid=2026-01-01T00%3A00%3A00.1Z" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *got = asked_at(cases[i][0]);

		T_STR(t, got, cases[i][1]);
		T_CHECK(t, rouse_is_url(cases[i][0]));
	}
}

static void objects_are_put_and_listed(struct t *t)
{
	static const char *const cases[][3] = {
		{ "gs://acme/a%2fb/c d", "https://storage.googleapis.com/acme/a/b/c%20d",
		  GOOGLE "acme/o/a%2Fb%2Fc%20d?alt=media" },
		{ "gs://acme/?prefix=a%2Fb&marker=c%3D", NULL,
		  "https://storage.googleapis.com/acme?list-type=2&max-keys=1000&prefix=a%2Fb"
		  "&continuation-token=c%3D" },
		{ "az://acme/fleet/a?versionid=2026", "https://acme.blob.core.windows.net/fleet/a",
		  "https://acme.blob.core.windows.net/fleet/a?versionid=2026" },
		{ "az://acme/fleet/?prefix=a&cloud=china", NULL,
		  "https://acme.blob.core.chinacloudapi.cn/fleet?restype=container&comp=list"
		  "&maxresults=500&prefix=a" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct blob_target target __attribute__((cleanup(blob_target_auto))) = { 0 };
		struct rouse_err e = { 0 };

		T_CHECK(t, blob_parse(&target, cases[i][0], &e) == 0);
		T_STR(t, target.url, cases[i][2]);
		T_CHECK(t, target.is_listing == !cases[i][1]);
		if (cases[i][1])
			T_STR(t, target.put_url, cases[i][1]);
	}
}

static void urls_that_cannot_be_are_refused(struct t *t)
{
	static const char *const cases[] = {
		"gs://",
		"gs:///a",
		"gs://ab/c",
		"gs://acme.evil.example:443/c",
		"gs://u@acme/c",
		"gs://ACME/c",
		"gs://-acme/c",
		"gs://acme./c",
		"gs://acme/a%00b",
		"gs://acme/a#b",
		"gs://acme/a?prefix=a",
		"gs://acme/?marker=a",
		"gs://acme/?prefix=a b",
		"az://acme/fleet/a?prefix=a",
		"gs://acme/a?generation=",
		"gs://acme/a?generation=x",
		"gs://acme/a?generation=1&generation=1",
		"gs://acme/a?alt=json",
		"gs://acme/a?userProject=a%26b",
		"az://acme",
		"az://acme/",
		"az://ac/fleet/a",
		"az://acme.evil.example/fleet/a",
		"az://acme-1/fleet/a",
		"az://aaaaaaaaaaaaaaaaaaaaaaaaa/fleet/a",
		"az://acme/f/a",
		"az://acme/fle%2fet/a",
		"az://acme/fleet/a?cloud=mars",
		"az://acme/fleet/a?client_id=a%26b",
		"az://acme/fleet/a?sig=x",
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *got = asked_at(cases[i]);

		if (got)
			printf("# '%s'\n", cases[i]);
		T_CHECK(t, !got && !rouse_is_url(cases[i]));
	}
}

static void what_is_beneath_leaves_the_version_behind(struct t *t)
{
	static const char *const cases[][3] = {
		{ "gs://acme/a?generation=7", ".sig", "gs://acme/a.sig" },
		{ "gs://acme/p?userProject=x", "/h.narinfo",
		  "gs://acme/p/h.narinfo?userProject=x" },
		{ "az://acme/fleet/a?versionid=1&cloud=china", ".sig",
		  "az://acme/fleet/a.sig?cloud=china" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *got = rouse_fetch_url(cases[i][0], cases[i][1]);

		T_STR(t, got, cases[i][2]);
	}
	T_CHECK(t, rouse_is_cache_url("gs://acme/cache") && rouse_is_cache_url("az://acme/cache"));
	T_CHECK(t, !rouse_is_cache_url("gs://acme/a?generation=7"));
	T_CHECK(t, !rouse_is_cache_url("az://acme/fleet/a?versionid=7"));
}

T_MAIN(T(urls_become_requests), T(objects_are_put_and_listed), T(urls_that_cannot_be_are_refused),
       T(what_is_beneath_leaves_the_version_behind))
