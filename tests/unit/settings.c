/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/settings.h>

#include <sys/stat.h>

#include <rouse/fs.h>
#include <rouse/limits.h>
#include <rouse/text.h>

#include "../../agent/phases.h"
#include "../lib/tap.h"

struct fixture {
	char path[64];
	struct rouse_settings s;
	struct rouse_err e;
};

static void fixture_done(struct fixture *x)
{
	rouse_settings_done(&x->s);
	(void)unlink(x->path);
}
#define auto_fixture __attribute__((cleanup(fixture_done)))

/* Loads settings of this text; -2 when the test itself could not write them. */
static int load(struct fixture *x, const char *text, mode_t mode)
{
	int fd, r;

	(void)snprintf(x->path, sizeof(x->path), "/tmp/rouse-settings-XXXXXX");
	fd = mkstemp(x->path);
	if (fd < 0)
		return -2;
	r = rouse_write_all(fd, text, strlen(text)) < 0 || fchmod(fd, mode) < 0 ? -2 : 0;
	(void)close(fd);
	return r < 0 ? r : rouse_settings_load(&x->s, x->path, &x->e);
}

#define KEY "fleet-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="

static void a_missing_file_means_the_defaults(struct t *t)
{
	struct rouse_settings s = { .require_signature = true };
	struct rouse_err e = { 0 };

	T_CHECK(t, rouse_settings_load(&s, "/no/such/agent.json", &e) == 0);
	T_CHECK(t, !s.document && !s.require_signature && !s.keys.n && !s.caches.n && !s.deadline);
}

static void every_setting_is_read(struct t *t)
{
	auto_fixture struct fixture x = { 0 };
	const struct rouse_cache_conf *cache;

	T_CHECK(t, load(&x,
			"{\"document\": \"https://example.com/a.json\", \"requireSignature\": true,"
			"\"keys\": [\"" KEY "\"], \"deadline\": \"5m\","
			"\"caches\": {\"acme\": {\"url\": \"https://cache.example.com\", \"keys\": "
			"[\"" KEY "\"]}},"
			"\"sha256\": "
			"\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}",
			0644) == 0);
	T_STR(t, x.s.document, "https://example.com/a.json");
	T_CHECK(t, x.s.require_signature && x.s.deadline == 300000 && x.s.keys.n == 1);
	T_STR(t, ((const char *const *)x.s.keys.items)[0], KEY);
	T_CHECK(t, x.s.caches.n == 1);
	cache = x.s.caches.items;
	T_STR(t, cache->key, "acme");
	T_STR(t, cache->url, "https://cache.example.com");
	T_CHECK(t, cache->keys.n == 1);
}

static void signals_keep_the_names_of_the_instance(struct t *t)
{
	auto_fixture struct fixture x = { 0 };
	const char *url = "s3://b/{instance.id}.json";

	T_CHECK(t, load(&x, "{\"signals\": {\"object\": {\"url\": \"s3://b/{instance.id}.json\"}}}",
			0644) == 0);
	T_CHECK(t, x.s.signals);
	T_STR(t,
	      json_string_value(json_object_get(
		      json_object_get(json_object_get(x.s.json, "signals"), "object"), "url")),
	      url);
}

static void fleet_may_be_a_url_alone(struct t *t)
{
	auto_fixture struct fixture x = { 0 };

	T_CHECK(t, load(&x, "{\"fleet\": \"s3://b/x?region=eu-west-1\"}", 0644) == 0);
	T_CHECK(t, x.s.fleet && x.s.fleet->failures == 0);
	T_STR(t, x.s.fleet->url, "s3://b/x?region=eu-west-1");
}

static void settings_that_others_may_write_are_refused(struct t *t)
{
	static const mode_t modes[] = { 0664, 0646, 0666 };

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		auto_fixture struct fixture x = { 0 };

		T_CHECK(t, load(&x, "{}", modes[i]) == -1);
		T_CHECK(t, x.e.kind == ROUSE_UNTRUSTED);
		T_HAS(t, x.e.text, "may be written by others");
	}
}

static void settings_of_another_owner_are_refused(struct t *t)
{
	auto_fixture struct fixture x = { 0 };

	if (geteuid() != 0)
		return; /* only root can give a file away */
	T_CHECK(t, load(&x, "{}", 0644) == 0);
	T_CHECK(t, chown(x.path, 12345, 0) == 0);
	T_CHECK(t, rouse_settings_load(&x.s, x.path, &x.e) < 0);
	T_CHECK(t, x.e.kind == ROUSE_UNTRUSTED);
	T_HAS(t, x.e.text, "belongs to uid 12345");
}

static void wrong_settings_name_what_is_wrong(struct t *t)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ "", "the text is empty" },
		{ "{", "not JSON" },
		{ "[]", "object" },
		{ "{\"documnet\": \"/a\"}",
		  ":1:2: documnet: unknown key, did you mean \"document\"?" },
		{ "{\"deadline\": 1,\n\"keys\": 2}", ":1:14: deadline: expected a duration" },
		{ "{\"document\": 7}", "document" },
		{ "{\"document\": \"a.json\"}", "an absolute path, a URL or the name of a source" },
		{ "{\"document\": \"https://example.com/a.json\"}", "a URL needs \"sha256\"" },
		{ "{\"document\": \"/a\", \"document\": \"/b\"}", "duplicate" },
		{ "{\"keys\": [\"x\"]}", "a public key" },
		{ "{\"fleet\": \"https://bucket.example/x\"}", "an s3://, gs:// or az:// URL" },
		{ "{\"fleet\": {\"failures\": 3}}", "\"url\" is missing" },
		{ "{\"fleet\": {\"url\": \"s3://b/x\", \"failures\": 0}}", "from 1 to 500" },
		{ "{\"fleet\": {\"url\": \"s3://b/x\", \"window\": \"1s\"}}", "a duration from" },
		{ "{\"signals\": {\"asgg\": {}}}", "asgg" },
		{ "{\"signals\": {\"cloudformation\": {\"stack\": \"web\"}}}",
		  "signals.cloudformation: needs" },
		{ "{\"requireSignature\": true}", "no signature can be right without \"keys\"" },
		{ "{\"sha256\": "
		  "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}",
		  "no \"document\"" },
		{ "{\"deadline\": \"soon\"}", "deadline" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_fixture struct fixture x = { 0 };

		T_CHECK(t, load(&x, cases[i].text, 0600) == -1);
		T_CHECK(t, x.e.kind == ROUSE_DOCUMENT);
		T_HAS(t, x.e.text, cases[i].message);
		T_HAS(t, x.e.text, x.path);
	}
}

static void a_fifo_or_a_directory_is_refused_without_waiting(struct t *t)
{
	struct rouse_settings s = { 0 };
	struct rouse_err e = { 0 };
	char path[] = "/tmp/rouse-settings-XXXXXX";
	int fd = mkstemp(path), r;

	T_CHECK(t, fd >= 0 && close(fd) == 0 && unlink(path) == 0 && mkfifo(path, 0600) == 0);
	r = rouse_settings_load(&s, path, &e);
	(void)unlink(path);
	T_CHECK(t, r < 0);
	T_HAS(t, e.text, "not a regular file");
	T_CHECK(t, rouse_settings_load(&s, "/tmp", &e) < 0);
}

static void deadline_is_a_hung_runs_end(struct t *t)
{
	static const struct {
		const char *text;
		uint64_t most;
	} cases[] = {
		{ "{}", ROUSE_DEADLINE_BOOT },
		{ "{\"deadline\": \"2m\"}", 120000 + ROUSE_DEADLINE_HANDOFF },
		{ "{\"deadline\": \"10h\"}", ROUSE_DEADLINE_BOOT },
		{ "{\"deadline\": \"soon\"}", ROUSE_DEADLINE_BOOT },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_fixture struct fixture x = { 0 };

		T_CHECK(t, load(&x, cases[i].text, 0600) != -2);
		T_CHECK(t, boot_most_time(x.path) == cases[i].most);
	}
}

T_MAIN(T(deadline_is_a_hung_runs_end), T(fleet_may_be_a_url_alone),
       T(a_missing_file_means_the_defaults), T(every_setting_is_read),
       T(signals_keep_the_names_of_the_instance), T(settings_that_others_may_write_are_refused),
       T(settings_of_another_owner_are_refused), T(wrong_settings_name_what_is_wrong),
       T(a_fifo_or_a_directory_is_refused_without_waiting))
