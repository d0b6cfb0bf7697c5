/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/proxy.h>

#include <stdlib.h>
#include <sys/stat.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/text.h>

#include "../lib/server.h"
#include "../lib/tap.h"

#define LONG 60000 /* no test waits for it */
#define HELLO "[{\"body\": \"hello\"}]"
/* name:password */
#define ONLY_KNOWN                                                                                 \
	"[{\"body\": \"hello\", \"needs\": {\"proxy-authorization\": \"Basic "                     \
	"bmFtZTpwYXNzd29yZA==\"}}]"

/* A server that stands for the proxy: it is asked with the whole URL (RFC 9112, section 3.2.2). */
struct fixture {
	struct server server;
	struct rouse_fetcher *f;
	struct rouse_fetch t;
	struct rouse_err e;
	char *proxy;
};

static void fixture_done(struct fixture *x)
{
	server_stop(&x->server);
	rouse_fetcher_free(x->f);
	rouse_buf_done(&x->t.body_out);
	free(x->proxy);
}
#define auto_fixture __attribute__((cleanup(fixture_done)))
#define FIXTURE                                                                                    \
	{                                                                                          \
		.server = SERVER_INIT                                                              \
	}

/* `before` stands in the proxy's URL before its host. */
static bool begin(struct fixture *x, const char *scenario, const char *before)
{
	auto_free char *url = NULL;

	x->f = rouse_fetcher_new();
	if (!server_start(&x->server, scenario))
		return false;
	url = server_url(&x->server, "");
	x->proxy = rouse_asprintf("http://%s%s", before, rouse_strip_prefix(url, "http://"));
	return true;
}

static void set(struct fixture *x, const char *const *except, size_t n)
{
	rouse_fetcher_set_proxy(
		x->f, &(struct rouse_proxy){ .url = x->proxy,
					     .except = { n, (void *)(uintptr_t)except } });
}

static int fetch(struct fixture *x, struct rouse_fetcher *f, const char *url)
{
	rouse_buf_done(&x->t.body_out);
	x->e = (struct rouse_err){ 0 };
	x->t = (struct rouse_fetch){
		.url = url, .max_bytes = 100, .deadline = rouse_clock_ms() + LONG, .max_tries = 1
	};
	return rouse_fetch(f, &x->t, &x->e);
}

static void a_proxy_is_asked_with_name_and_password(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "{\"GET http://cache.invalid/a\": " ONLY_KNOWN "}", "name:password@"));
	set(&x, NULL, 0);
	T_CHECK(t, fetch(&x, x.f, "http://cache.invalid/a") == 0);
	T_STR(t, x.t.body_out.data, "hello");
}

static void clones_ask_it_as_well(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	struct rouse_fetcher *clone;

	T_CHECK(t, begin(&x, "{\"GET http://cache.invalid/a\": " HELLO "}", ""));
	set(&x, NULL, 0);
	clone = rouse_fetcher_clone(x.f);
	T_CHECK(t, fetch(&x, clone, "http://cache.invalid/a") == 0);
	rouse_fetcher_free(clone);
}

static void none_any_more_means_directly(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "{\"*\": " HELLO "}", ""));
	set(&x, NULL, 0);
	rouse_fetcher_set_proxy(x.f, NULL);
	T_CHECK(t, fetch(&x, x.f, "http://cache.invalid/a") < 0);
	T_CHECK(t, server_count(&x.server, "http://cache.invalid/a") == 0);
}

static void what_is_excepted_is_asked_directly(struct t *t)
{
	static const char *const urls[] = { "http://cache.invalid/", "http://a.cache.invalid/" };
	const char *except[] = { "other.example", "cache.invalid" };
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "{\"*\": " HELLO "}", ""));
	set(&x, except, ARRAY_SIZE(except));
	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		T_CHECK(t, fetch(&x, x.f, urls[i]) < 0 && x.e.kind == ROUSE_UNAVAILABLE);
		T_CHECK(t, server_count(&x.server, urls[i]) == 0);
	}
	T_CHECK(t, fetch(&x, x.f, "http://notcache.invalid/") == 0);
}

static void this_machine_is_asked_directly(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	auto_free char *url = NULL;

	T_CHECK(t, begin(&x, "{\"GET /a\": " HELLO "}", ""));
	url = server_url(&x.server, "/a");
	set(&x, NULL, 0);
	T_CHECK(t, fetch(&x, x.f, url) == 0);
	T_CHECK(t, server_count(&x.server, "/a") == 1);
}

static void a_proxy_is_not_asked_for_a_metadata_service(struct t *t)
{
	static const char *const urls[] = { "http://169.254.169.254/latest/user-data",
					    "http://2852039166/latest/user-data",
					    "https://[fd00:ec2::254]/",
					    "http://[::ffff:169.254.169.254]/",
					    "http://168.63.129.16/machine" };
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "{\"*\": " HELLO "}", ""));
	set(&x, NULL, 0);
	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		T_CHECK(t, fetch(&x, x.f, urls[i]) < 0 && x.e.kind == ROUSE_DOCUMENT);
		T_HAS(t, x.e.text, "metadata service");
		T_CHECK(t, server_count(&x.server, urls[i]) == 0);
	}
}

static void what_a_proxy_refuses_is_not_tried_again(struct t *t)
{
	static const struct {
		const char *scenario, *url, *asked, *says;
	} cases[] = {
		{ "{\"CONNECT cache.invalid:443\": [{\"status\": 407}]}", "https://cache.invalid/",
		  "cache.invalid:443", "the proxy wants another name and password" },
		{ "{\"CONNECT cache.invalid:443\": [{\"status\": 403}]}", "https://cache.invalid/",
		  "cache.invalid:443", "the proxy does not let it pass" },
		{ "{\"GET http://cache.invalid/\": [{\"status\": 407}]}", "http://cache.invalid/",
		  "http://cache.invalid/", "the proxy wants another name and password" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_fixture struct fixture x = FIXTURE;

		T_CHECK(t, begin(&x, cases[i].scenario, "name:wrong@"));
		set(&x, NULL, 0);
		T_CHECK(t, fetch(&x, x.f, cases[i].url) < 0 && x.e.kind == ROUSE_DOCUMENT);
		T_HAS(t, x.e.text, cases[i].says);
		T_CHECK(t, !strstr(x.e.text, "wrong"));
		T_CHECK(t, server_count(&x.server, cases[i].asked) == 1);
	}
}

static void a_proxy_in_trouble_is_asked_again(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t,
		begin(&x,
		      "{\"GET http://cache.invalid/\": [{\"status\": 502}, {\"body\": \"hello\"}]}",
		      ""));
	set(&x, NULL, 0);
	x.t = (struct rouse_fetch){ .url = "http://cache.invalid/",
				    .max_bytes = 100,
				    .deadline = rouse_clock_ms() + LONG };
	T_CHECK(t, rouse_fetch(x.f, &x.t, &x.e) == 0);
}

static void the_environment_counts_for_commands(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "{\"GET http://cache.invalid/a\": " HELLO "}", ""));
	T_CHECK(t, setenv("http_proxy", x.proxy, 1) == 0);
	T_CHECK(t, fetch(&x, x.f, "http://cache.invalid/a") < 0);
	rouse_fetcher_use_environment(x.f);
	T_CHECK(t, fetch(&x, x.f, "http://cache.invalid/a") == 0);
	T_CHECK(t, fetch(&x, x.f, "http://169.254.169.254/") < 0);
	T_HAS(t, x.e.text, "metadata service");
	T_CHECK(t, setenv("no_proxy", "other.example,cache.invalid", 1) == 0);
	rouse_fetcher_use_environment(x.f);
	T_CHECK(t, fetch(&x, x.f, "http://cache.invalid/a") < 0);
	T_CHECK(t, setenv("no_proxy", "*", 1) == 0);
	rouse_fetcher_use_environment(x.f);
	T_CHECK(t, fetch(&x, x.f, "http://cache.invalid/a") < 0);
	T_CHECK(t, server_count(&x.server, "http://cache.invalid/a") == 1);
	T_CHECK(t, unsetenv("http_proxy") == 0 && unsetenv("no_proxy") == 0);
}

static void what_is_saved_is_for_others_of_this_machine_only(struct t *t)
{
	char dir[] = "/tmp/rouse-proxy-XXXXXX";
	auto_fixture struct fixture x = FIXTURE;
	auto_free char *path = NULL;
	struct rouse_fetcher *other;
	struct rouse_proxy proxy;
	struct stat st;

	T_CHECK(t, mkdtemp(dir) && begin(&x, "{\"GET http://cache.invalid/a\": " ONLY_KNOWN "}",
					 "name:password@"));
	path = rouse_asprintf("%s/" ROUSE_PROXY_FILE, dir);
	proxy = (struct rouse_proxy){ .url = x.proxy };
	T_CHECK(t, rouse_proxy_save(dir, &proxy, &x.e) == 0);
	T_CHECK(t, stat(path, &st) == 0 && (st.st_mode & 07777) == 0600);
	other = rouse_fetcher_new_in(dir);
	T_CHECK(t, fetch(&x, other, "http://cache.invalid/a") == 0);
	rouse_fetcher_free(other);
	T_CHECK(t, rouse_proxy_save(dir, NULL, &x.e) == 0 && access(path, F_OK) < 0);
	T_CHECK(t, rouse_proxy_save(dir, NULL, &x.e) == 0);
	T_CHECK(t, rmdir(dir) == 0);
}

T_MAIN(T(a_proxy_is_asked_with_name_and_password), T(clones_ask_it_as_well),
       T(none_any_more_means_directly), T(what_is_excepted_is_asked_directly),
       T(this_machine_is_asked_directly), T(a_proxy_is_not_asked_for_a_metadata_service),
       T(what_a_proxy_refuses_is_not_tried_again), T(a_proxy_in_trouble_is_asked_again),
       T(the_environment_counts_for_commands), T(what_is_saved_is_for_others_of_this_machine_only))
