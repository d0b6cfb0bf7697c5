/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/fetch.h>

#include <sys/stat.h>

#include <rouse/clock.h>
#include <rouse/limits.h>
#include <rouse/proc.h>

#include "../lib/server.h"
#include "../lib/tap.h"

/* Long enough for a loaded machine; no test waits for it. */
#define LONG 60000

struct fixture {
	struct server server;
	struct rouse_fetcher *f;
	struct rouse_fetch t;
	struct rouse_err e;
	char *url;
};

static void fixture_done(struct fixture *x)
{
	server_stop(&x->server);
	rouse_fetcher_free(x->f);
	rouse_buf_done(&x->t.body_out);
	free(x->url);
}
#define auto_fixture __attribute__((cleanup(fixture_done)))
#define FIXTURE                                                                                    \
	{                                                                                          \
		.server = SERVER_INIT                                                              \
	}

/* A server with this scenario, and a transfer of `path` from it. */
static bool begin(struct fixture *x, const char *path, const char *scenario)
{
	x->f = rouse_fetcher_new();
	if (scenario && !server_start(&x->server, scenario))
		return false;
	x->url = scenario ? server_url(&x->server, path) : rouse_strdup(path);
	x->t = (struct rouse_fetch){ .url = x->url,
				     .max_bytes = 1 << 20,
				     .deadline = rouse_clock_ms() + LONG };
	return true;
}

static int run(struct fixture *x)
{
	return rouse_fetch(x->f, &x->t, &x->e);
}

static void a_body_is_delivered_whole(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "/a", "{\"GET /a\": [{\"body\": \"hello\"}]}"));
	T_CHECK(t, run(&x) == 0);
	T_CHECK(t, x.t.status == 200);
	T_STR(t, x.t.body_out.data, "hello");
	T_CHECK(t, rouse_fetcher_counters(x.f).requests == 1);
	T_CHECK(t, rouse_fetcher_counters(x.f).bytes == 5);
	T_CHECK(t, rouse_fetcher_counters(x.f).retries == 0);
}

static void chunked_and_close_delimited_bodies_are_delivered_whole(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "/a",
			 "{\"GET /a\": [{\"body\": \"hello\", \"chunked\": true},"
			 "{\"body\": \"hello\", \"no_length\": true}]}"));
	for (int i = 0; i < 2; i++) {
		T_CHECK(t, run(&x) == 0);
		T_STR(t, x.t.body_out.data, "hello");
	}
}

static void missing_is_an_answer_and_is_not_asked_again(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "/a?secret=1",
			 "{\"GET /a\": [{\"status\": 404, \"body\": \"NoSuchKey\"}]}"));
	T_CHECK(t, run(&x) < 0);
	T_CHECK(t, x.e.kind == ROUSE_DOCUMENT && x.e.sys == ENOENT && x.t.status == 404);
	T_HAS(t, x.e.text, "it is not there (HTTP 404)");
	T_CHECK(t, !strstr(x.e.text, "secret"));
	T_STR(t, x.t.body_out.data, "NoSuchKey");
	T_CHECK(t, server_count(&x.server, "/a") == 1);
}

static void denied_is_not_asked_again(struct t *t)
{
	static const char *const status[] = { "401", "403" };

	for (size_t i = 0; i < 2; i++) {
		auto_fixture struct fixture x = FIXTURE;
		auto_free char *scenario = rouse_asprintf("{\"GET /a\": [{\"status\": %s}]}",
							  status[i]);

		T_CHECK(t, begin(&x, "/a", scenario));
		T_CHECK(t, run(&x) < 0);
		T_CHECK(t, x.e.kind == ROUSE_DOCUMENT && x.e.sys == EACCES);
		T_HAS(t, x.e.text, "access denied");
		T_CHECK(t, server_count(&x.server, "/a") == 1);
	}
}

static void statuses_that_pass_are_asked_again(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "/a",
			 "{\"GET /a\": [{\"status\": 503}, {\"status\": 429}, {\"status\": 500},"
			 "{\"status\": 408}, {\"body\": \"ok\"}]}"));
	T_CHECK(t, run(&x) == 0);
	T_STR(t, x.t.body_out.data, "ok");
	T_CHECK(t, server_count(&x.server, "/a") == 5);
	T_CHECK(t, rouse_fetcher_counters(x.f).retries == 4);
}

static void not_implemented_is_not_asked_again(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "/a", "{\"GET /a\": [{\"status\": 501}]}"));
	T_CHECK(t, run(&x) < 0 && x.e.kind == ROUSE_UNAVAILABLE);
	T_CHECK(t, server_count(&x.server, "/a") == 1);
}

static void tries_are_bounded_and_said(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "/a", "{\"GET /a\": [{\"status\": 503}]}"));
	x.t.max_tries = 3;
	T_CHECK(t, run(&x) < 0);
	T_CHECK(t, x.e.kind == ROUSE_UNAVAILABLE && x.t.status == 503);
	T_HAS(t, x.e.text, "the server answered (HTTP 503), tried 3 times");
	T_CHECK(t, server_count(&x.server, "/a") == 3);
}

static void the_deadline_ends_the_tries(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	uint64_t start = rouse_clock_ms();

	T_CHECK(t, begin(&x, "/a", "{\"GET /a\": [{\"status\": 503}]}"));
	x.t.deadline = rouse_clock_ms() + 1000;
	T_CHECK(t, run(&x) < 0 && x.e.kind == ROUSE_UNAVAILABLE);
	T_CHECK(t, rouse_clock_ms() - start < LONG / 2);
	T_CHECK(t, server_count(&x.server, "/a") < 100);
}

static void retry_after_is_waited_for(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	uint64_t start;

	T_CHECK(t, begin(&x, "/a",
			 "{\"GET /a\": [{\"status\": 429, \"headers\": {\"Retry-After\": \"1\"}},"
			 "{\"body\": \"ok\"}]}"));
	start = rouse_clock_ms();
	T_CHECK(t, run(&x) == 0);
	T_CHECK(t, rouse_clock_ms() - start >= 1000);
}

static void retry_after_counts_from_the_servers_own_clock(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	uint64_t start;

	T_CHECK(t, begin(&x, "/a",
			 "{\"GET /a\": [{\"status\": 503, \"headers\": {\"Date\": \"Sun, 06 Nov "
			 "1994 08:49:37 GMT\","
			 "\"Retry-After\": \"Sun, 06 Nov 1994 08:49:38 GMT\"}}, {\"body\": "
			 "\"ok\"}]}"));
	start = rouse_clock_ms();
	T_CHECK(t, run(&x) == 0);
	T_CHECK(t, rouse_clock_ms() - start >= 1000);
}

static void garbage_and_past_dates_in_retry_after_do_not_delay(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "/a",
			 "{\"GET /a\": [{\"status\": 503, \"headers\": {\"Retry-After\": \"abc\"}},"
			 "{\"status\": 503, \"headers\": {\"Retry-After\": \"Sun, 06 Nov 1994 "
			 "08:49:38 GMT\"}},"
			 "{\"body\": \"ok\"}]}"));
	T_CHECK(t, run(&x) == 0);
	T_CHECK(t, server_count(&x.server, "/a") == 3);
}

static void retry_after_beyond_the_deadline_fails_at_once(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	uint64_t start;

	T_CHECK(t, begin(&x, "/a",
			 "{\"GET /a\": [{\"status\": 503, \"headers\": {\"Retry-After\": "
			 "\"86400\"}}]}"));
	start = rouse_clock_ms();
	T_CHECK(t, run(&x) < 0 && x.e.kind == ROUSE_UNAVAILABLE);
	T_CHECK(t, rouse_clock_ms() - start < LONG / 2);
	T_CHECK(t, server_count(&x.server, "/a") == 1);
}

static void each_truncation_is_noticed_and_tried_again(struct t *t)
{
	static const char *const how[] = { "\"truncate\": 3",
					   "\"truncate\": 3, \"chunked\": true",
					   "\"truncate\": 3, \"rst\": true",
					   "\"drop\": true",
					   "\"rst\": true",
					   "\"length\": 9" };

	for (size_t i = 0; i < ARRAY_SIZE(how); i++) {
		auto_fixture struct fixture x = FIXTURE;
		auto_free char *scenario = rouse_asprintf(
			"{\"GET /a\": [{\"body\": \"hello\", %s}, {\"body\": \"hello\"}]}", how[i]);

		T_CHECK(t, begin(&x, "/a", scenario));
		T_CHECK(t, run(&x) == 0);
		T_STR(t, x.t.body_out.data, "hello");
		T_CHECK(t, rouse_fetcher_counters(x.f).retries == 1);
	}
}

static void a_truncated_answer_of_missing_is_not_believed(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "/a",
			 "{\"GET /a\": [{\"status\": 404, \"body\": \"hello\", \"truncate\": 3},"
			 "{\"body\": \"ok\"}]}"));
	T_CHECK(t, run(&x) == 0);
	T_STR(t, x.t.body_out.data, "ok");
}

static void nobody_listening_is_unavailable(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "http://127.0.0.1:1/a", NULL));
	x.t.max_tries = 2;
	T_CHECK(t, run(&x) < 0);
	T_CHECK(t, x.e.kind == ROUSE_UNAVAILABLE && x.t.status == 0);
	T_HAS(t, x.e.text, "cannot fetch 'http://127.0.0.1:1/a': Failed to connect");
}

static void a_name_that_does_not_resolve_is_unavailable(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "http://no.such.host.invalid/a", NULL));
	x.t.max_tries = 1;
	x.t.deadline = rouse_clock_ms() + 5000;
	T_CHECK(t, run(&x) < 0 && x.e.kind == ROUSE_UNAVAILABLE);
	T_HAS(t, x.e.text, "no.such.host.invalid");
}

static void silence_ends_at_the_deadline(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	uint64_t start = rouse_clock_ms();

	T_CHECK(t, begin(&x, "/a", "{\"GET /a\": [{\"delay\": 30000}]}"));
	x.t.deadline = rouse_clock_ms() + 500;
	T_CHECK(t, run(&x) < 0 && x.e.kind == ROUSE_UNAVAILABLE);
	T_CHECK(t, rouse_clock_ms() - start < 20000);
}

static void silence_after_a_failure_says_what_failed(struct t *t)
{
	/* As long as this machine needs to ask twice. */
	for (uint64_t time = 1500;; time *= 3) {
		auto_fixture struct fixture x = FIXTURE;

		T_CHECK(t,
			begin(&x, "/a", "{\"GET /a\": [{\"status\": 503}, {\"delay\": 90000}]}"));
		x.t.deadline = rouse_clock_ms() + time;
		T_CHECK(t, run(&x) < 0 && x.e.kind == ROUSE_UNAVAILABLE);
		if (server_count(&x.server, "/a") < 2 && time < LONG / 3)
			continue;
		T_HAS(t, x.e.text,
		      "(HTTP 503); then no complete answer before the deadline, tried 2");
		return;
	}
}

static uint64_t moving(void *arg)
{
	return *(uint64_t *)arg;
}

static void a_deadline_that_moves_ends_the_wait_for_another_try(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	uint64_t until;

	T_CHECK(t,
		begin(&x, "/a",
		      "{\"GET /a\": [{\"status\": 503, \"headers\": {\"Retry-After\": \"30\"}}]}"));
	until = rouse_clock_ms() + 500;
	x.t.until = moving;
	x.t.arg = &until;
	T_CHECK(t, run(&x) < 0 && x.e.kind == ROUSE_UNAVAILABLE);
	T_HAS(t, x.e.text, "(HTTP 503); then no byte has come for too long");
	T_CHECK(t, rouse_fetcher_counters(x.f).requests == 1);
}

static void a_drip_of_bytes_ends_at_the_deadline(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	uint64_t start = rouse_clock_ms();

	T_CHECK(t, begin(&x, "/a", "{\"GET /a\": [{\"size\": 100000, \"drip\": 20}]}"));
	x.t.deadline = rouse_clock_ms() + 500;
	T_CHECK(t, run(&x) < 0 && x.e.kind == ROUSE_UNAVAILABLE);
	T_CHECK(t, rouse_clock_ms() - start < 20000);
}

static void the_size_limit_holds_for_chunked_bodies(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "/a", "{\"GET /a\": [{\"size\": 1073741824, \"chunked\": true}]}"));
	T_CHECK(t, run(&x) < 0);
	T_CHECK(t, x.e.kind == ROUSE_DOCUMENT && x.e.sys == EFBIG);
	T_HAS(t, x.e.text, "larger than the 1048576 bytes allowed");
	T_CHECK(t, server_count(&x.server, "/a") == 1);
	T_CHECK(t, rouse_fetcher_counters(x.f).bytes <= 1 << 20);
}

static void a_length_above_the_limit_delivers_nothing(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "/a", "{\"GET /a\": [{\"size\": 1048577}]}"));
	T_CHECK(t, run(&x) < 0 && x.e.sys == EFBIG);
	T_CHECK(t, rouse_fetcher_counters(x.f).bytes == 0);
}

static void a_body_of_exactly_the_limit_passes(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "/a", "{\"GET /a\": [{\"size\": 1048576, \"chunked\": true}]}"));
	T_CHECK(t, run(&x) == 0);
	T_CHECK(t, x.t.body_out.len == 1 << 20);
}

static void the_huge_body_of_an_error_is_cut_and_the_status_counts(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "/a", "{\"GET /a\": [{\"status\": 404, \"size\": 104857600}]}"));
	T_CHECK(t, run(&x) < 0 && x.e.sys == ENOENT);
	T_CHECK(t, x.t.body_out.len <= ROUSE_MAX_ERROR_BODY);
}

static void a_flood_of_headers_is_refused(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	auto_buf struct rouse_buf s = { 0 };

	rouse_buf_printf(&s, "{\"GET /a\": [{\"body\": \"x\", \"headers\": {\"X-Flood\": [\"");
	for (int i = 0; i < 80; i++)
		rouse_buf_printf(&s, "%01000d\",\"", i);
	rouse_buf_printf(&s, "\"]}}]}");
	T_CHECK(t, begin(&x, "/a", s.data));
	T_CHECK(t, run(&x) < 0 && x.e.kind == ROUSE_UNAVAILABLE);
	T_HAS(t, x.e.text, "header is larger");
}

static void two_different_lengths_are_refused(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "/a",
			 "{\"GET /a\": [{\"body\": \"hello\", \"headers\": {\"Content-Length\": "
			 "\"2\"}}]}"));
	T_CHECK(t, run(&x) < 0 && x.e.kind == ROUSE_UNAVAILABLE);
	T_HAS(t, x.e.text, "two different Content-Length");
}

static void a_redirect_is_an_error_unless_allowed(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "/a",
			 "{\"GET /a\": [{\"status\": 302, \"headers\": {\"Location\": "
			 "\"/b?token=1\"}}]}"));
	T_CHECK(t, run(&x) < 0 && x.e.kind == ROUSE_DOCUMENT && x.t.status == 302);
	T_HAS(t, x.e.text, "is redirected (302) to '/b', which is not followed");
	T_CHECK(t, server_count(&x.server, "\"GET\"") == 1);
}

static void an_allowed_redirect_stays_on_its_origin_with_its_headers(struct t *t)
{
	static const char *const headers[] = { "X-Mine: 1", NULL };
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "/d/a",
			 "{\"GET /d/a\": [{\"status\": 307, \"headers\": {\"Location\": \"b\"}}],"
			 "\"GET /d/b\": [{\"body\": \"moved\"}]}"));
	x.t.max_redirects = 1;
	x.t.headers = headers;
	T_CHECK(t, run(&x) == 0);
	T_STR(t, x.t.body_out.data, "moved");
	T_CHECK(t, server_count(&x.server, "\"x-mine\": \"1\"") == 2);
}

static void a_redirect_to_another_scheme_or_plain_host_is_refused(struct t *t)
{
	static const char *const to[] = { "file:///etc/passwd",  "http://127.0.0.2:1/x",
					  "ftp://127.0.0.1/x",   "http://user:pw@127.0.0.1/x",
					  "gopher://127.0.0.1/", "https://u:p@h/" };

	for (size_t i = 0; i < ARRAY_SIZE(to); i++) {
		auto_fixture struct fixture x = FIXTURE;
		auto_free char *scenario = rouse_asprintf(
			"{\"GET /a\": [{\"status\": 302, \"headers\": {\"Location\": \"%s\"}}]}",
			to[i]);

		T_CHECK(t, begin(&x, "/a", scenario));
		x.t.max_redirects = 3;
		T_CHECK(t, run(&x) < 0 && x.e.kind == ROUSE_DOCUMENT);
		T_HAS(t, x.e.text, "a redirect may lead to https or to the same server only");
		T_CHECK(t, !strstr(x.e.text, "pw"));
	}
}

static void a_redirect_loop_ends(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "/a",
			 "{\"GET /a\": [{\"status\": 302, \"headers\": {\"Location\": \"/a\"}}]}"));
	x.t.max_redirects = 3;
	T_CHECK(t, run(&x) < 0 && x.e.kind == ROUSE_DOCUMENT);
	T_HAS(t, x.e.text, "one redirect too many");
	T_CHECK(t, server_count(&x.server, "\"GET\"") == 4);
}

static void a_url_may_not_lead_to_a_metadata_service(struct t *t)
{
	static const char *const urls[] = { "http://169.254.169.254/latest/user-data",
					    "http://2852039166/latest/user-data",
					    "http://[fd00:ec2::254]/",
					    "http://[::ffff:169.254.169.254]/",
					    "http://[64:ff9b::a9fe:a9fe]/",
					    "http://[fe80::a9fe:a9fe]/openstack",
					    "http://[fd20:ce::254]/",
					    "http://168.63.129.16/machine",
					    "http://100.100.100.200/latest/user-data" };

	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		auto_fixture struct fixture x = FIXTURE;

		T_CHECK(t, begin(&x, urls[i], NULL));
		T_CHECK(t, run(&x) < 0 && x.e.kind == ROUSE_DOCUMENT);
		T_HAS(t, x.e.text, "metadata service");
		T_CHECK(t, rouse_fetcher_counters(x.f).requests == 1);
	}
}

static void userinfo_and_other_schemes_are_refused(struct t *t)
{
	static const char *const urls[] = { "http://user:pw@127.0.0.1:1/", "ftp://127.0.0.1/",
					    "127.0.0.1", "" };

	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		auto_fixture struct fixture x = FIXTURE;

		T_CHECK(t, begin(&x, urls[i], NULL));
		T_CHECK(t, run(&x) < 0 && x.e.kind == ROUSE_DOCUMENT);
		T_CHECK(t, !strstr(x.e.text, "pw"));
	}
}

static void a_put_sends_its_body_and_says_an_empty_length(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "/a", "{\"PUT /a\": [{\"body\": \"ok\"}]}"));
	x.t.method = "PUT";
	T_CHECK(t, run(&x) == 0);
	T_CHECK(t, server_count(&x.server, "\"content-length\": \"0\"") == 1);
	T_CHECK(t, server_count(&x.server, "content-type") == 0);
	x.t.body = "hello";
	x.t.body_len = 5;
	T_CHECK(t, run(&x) == 0);
	T_CHECK(t, server_count(&x.server, "\"length\": 5") == 1);
}

static void the_proxy_of_the_environment_is_not_used(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, setenv("http_proxy", "http://127.0.0.1:1", 1) == 0);
	T_CHECK(t, setenv("all_proxy", "http://127.0.0.1:1", 1) == 0);
	T_CHECK(t, begin(&x, "/a", "{\"GET /a\": [{\"body\": \"hello\"}]}"));
	x.t.max_tries = 1;
	T_CHECK(t, run(&x) == 0);
}

static void connections_are_used_again(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	/* The second connection would be reset, and nothing tries again. */
	T_CHECK(t, begin(&x, "/a",
			 "{\"GET /a\": [{\"body\": \"hello\"}], \"connections\": [\"ok\", \"rst\", "
			 "\"rst\"]}"));
	x.t.max_tries = 1;
	for (int i = 0; i < 5; i++)
		T_CHECK(t, run(&x) == 0);
}

/* --- TLS ------------------------------------------------------------------------------------- */

/* A key and a self-signed certificate for `name` in the file `pem`. */
static bool make_certificate(const char *pem, const char *name)
{
	auto_free char *subject = rouse_asprintf("subjectAltName=DNS:%s", name);
	const char *const argv[] = { "openssl",
				     "req",
				     "-x509",
				     "-newkey",
				     "ec",
				     "-pkeyopt",
				     "ec_paramgen_curve:P-256",
				     "-nodes",
				     "-keyout",
				     pem,
				     "-out",
				     pem,
				     "-subj",
				     "/CN=rouse",
				     "-addext",
				     subject,
				     NULL };
	struct rouse_proc p = { .argv = argv, .deadline = rouse_clock_ms() + LONG };
	struct rouse_err e;

	return rouse_proc_check(&p, &e) == 0;
}

/* An https server for `name`, which is asked for as localhost; its certificate is in *pem. */
static bool begin_tls(struct fixture *x, const char *name, struct rouse_buf *pem)
{
	char path[] = "/tmp/rouse-pem-XXXXXX";
	int fd = mkstemp(path);
	bool good;

	x->f = rouse_fetcher_new();
	good = fd >= 0 && close(fd) == 0 && make_certificate(path, name) &&
	       server_start_tls(&x->server, "{\"GET /a\": [{\"body\": \"hello\"}]}", path) &&
	       rouse_read_file(path, 1 << 20, pem, &x->e) == 0;
	(void)unlink(path);
	x->url = rouse_asprintf("https://localhost:%u/a", x->server.port);
	x->t = (struct rouse_fetch){ .url = x->url,
				     .max_bytes = 1 << 20,
				     .deadline = rouse_clock_ms() + LONG };
	return good;
}

static void a_certificate_of_a_given_authority_is_trusted(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	auto_buf struct rouse_buf pem = { 0 };

	T_CHECK(t, begin_tls(&x, "localhost", &pem));
	rouse_fetcher_set_ca(x.f, pem.data);
	T_CHECK(t, run(&x) == 0);
	T_STR(t, x.t.body_out.data, "hello");
}

static void an_unknown_authority_is_untrusted_and_not_asked_again(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	auto_buf struct rouse_buf pem = { 0 };

	T_CHECK(t, begin_tls(&x, "localhost", &pem));
	T_CHECK(t, run(&x) < 0);
	T_CHECK(t, x.e.kind == ROUSE_UNTRUSTED);
	T_HAS(t, x.e.text, "certificate");
	T_CHECK(t, rouse_fetcher_counters(x.f).requests == 1);
}

static void a_certificate_of_another_name_is_untrusted(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	auto_buf struct rouse_buf pem = { 0 };

	T_CHECK(t, begin_tls(&x, "elsewhere.example", &pem));
	rouse_fetcher_set_ca(x.f, pem.data);
	T_CHECK(t, run(&x) < 0);
	T_CHECK(t, x.e.kind == ROUSE_UNTRUSTED);
}

static void a_redirect_to_another_host_goes_without_the_callers_headers(struct t *t)
{
	static const char *const headers[] = { "X-Secret: hunter2", NULL };
	auto_fixture struct fixture x = FIXTURE;
	auto_buf struct rouse_buf pem = { 0 };
	auto_server struct server first = SERVER_INIT;
	auto_free char *scenario = NULL, *url = NULL;

	T_CHECK(t, begin_tls(&x, "localhost", &pem));
	rouse_fetcher_set_ca(x.f, pem.data);
	scenario = rouse_asprintf(
		"{\"*\": [{\"status\": 302, \"headers\": {\"Location\": \"%s\"}}]}", x.url);
	T_CHECK(t, server_start(&first, scenario));
	url = server_url(&first, "/");
	x.t.url = url;
	x.t.headers = headers;
	x.t.max_redirects = 1;
	T_CHECK(t, run(&x) == 0);
	T_STR(t, x.t.body_out.data, "hello");
	T_CHECK(t, server_count(&first, "hunter2") == 1);
	T_CHECK(t, server_count(&x.server, "hunter2") == 0);
}

/* --- sinks ----------------------------------------------------------------------------------- */

struct sunk {
	struct rouse_buf got;
	unsigned restarts;
	bool refuse;
};

static int sink(void *arg, const void *data, size_t n, struct rouse_err *e)
{
	struct sunk *s = arg;

	if (s->refuse)
		return rouse_fail(e, ROUSE_SYSTEM, ENOSPC, "cannot write");
	return rouse_buf_add(&s->got, data, n, 1 << 20);
}

static int restart(void *arg, unused_arg struct rouse_err *e)
{
	struct sunk *s = arg;

	s->restarts++;
	rouse_buf_done(&s->got);
	return 0;
}

#define TRUNCATED_ONCE                                                                             \
	"{\"GET /a\": [{\"status\": 503, \"body\": \"busy\"}, {\"body\": \"hello\", "              \
	"\"truncate\": 3},"                                                                        \
	"{\"body\": \"hello\"}]}"

static void a_sink_without_restart_gets_no_byte_twice(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	struct sunk s = { 0 };
	auto_buf struct rouse_buf got = { 0 };

	T_CHECK(t, begin(&x, "/a", TRUNCATED_ONCE));
	x.t.sink = sink;
	x.t.arg = &s;
	T_CHECK(t, run(&x) < 0 && x.e.kind == ROUSE_UNAVAILABLE);
	got = s.got;
	T_STR(t, got.data, "hel");
	T_CHECK(t, server_count(&x.server, "/a") == 2); /* the 503 delivered nothing */
}

static void a_sink_with_restart_begins_anew(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	struct sunk s = { 0 };
	auto_buf struct rouse_buf got = { 0 };

	T_CHECK(t, begin(&x, "/a", TRUNCATED_ONCE));
	x.t.sink = sink;
	x.t.restart = restart;
	x.t.arg = &s;
	T_CHECK(t, run(&x) == 0);
	got = s.got;
	T_STR(t, got.data, "hello");
	T_CHECK(t, s.restarts == 1);
}

static void a_sinks_own_error_ends_the_transfer(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	struct sunk s = { .refuse = true };

	T_CHECK(t, begin(&x, "/a", "{\"GET /a\": [{\"body\": \"hello\"}]}"));
	x.t.sink = sink;
	x.t.arg = &s;
	T_CHECK(t, run(&x) < 0 && x.e.kind == ROUSE_SYSTEM && x.e.sys == ENOSPC);
	T_CHECK(t, server_count(&x.server, "/a") == 1);
}

/* --- files ----------------------------------------------------------------------------------- */

static void a_file_is_read_within_its_limit(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, begin(&x, "file:///proc/self/../../etc/host%6eame", NULL));
	T_CHECK(t, run(&x) == 0 && x.t.status == 200 && x.t.body_out.len > 0);
	x.t.max_bytes = 1;
	T_CHECK(t, run(&x) < 0 && x.e.kind == ROUSE_DOCUMENT && x.e.sys == EFBIG);
}

static void a_missing_file_is_told_from_an_unreadable_thing(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE, y = FIXTURE, z = FIXTURE;

	T_CHECK(t, begin(&x, "file:///no/such/file", NULL));
	T_CHECK(t, run(&x) < 0 && x.e.kind == ROUSE_DOCUMENT && x.e.sys == ENOENT);
	T_CHECK(t, begin(&y, "file:///dev/zero", NULL));
	T_CHECK(t, run(&y) < 0 && y.e.kind == ROUSE_DOCUMENT);
	T_HAS(t, y.e.text, "not a regular file");
	T_CHECK(t, begin(&z, "file://elsewhere/etc/hostname", NULL));
	T_CHECK(t, run(&z) < 0 && z.e.kind == ROUSE_DOCUMENT);
}

/* --- many ------------------------------------------------------------------------------------ */

#define MANY 200

struct crowd {
	struct rouse_fetch t[MANY];
	char *url[MANY];
	unsigned started, ended, failed, open, most;
	unsigned stop_at; /* done() refuses the n-th; 0: never */
};

static struct rouse_fetch *next_of_crowd(void *ctx)
{
	struct crowd *c = ctx;

	if (c->started == MANY)
		return NULL;
	c->open++;
	c->most = c->open > c->most ? c->open : c->most;
	return &c->t[c->started++];
}

static int done_of_crowd(void *ctx, struct rouse_fetch *t, struct rouse_err *e)
{
	struct crowd *c = ctx;

	c->open--;
	c->ended++;
	c->failed += t->result < 0;
	rouse_buf_done(&t->body_out);
	return c->ended == c->stop_at ? rouse_fail(e, ROUSE_UNTRUSTED, 0, "enough") : 0;
}

static void crowd_fill(struct crowd *c, const struct server *s)
{
	for (unsigned i = 0; i < MANY; i++) {
		c->url[i] = server_url(s, i % 10 == 3 ? "/missing" : i % 10 == 5 ? "/busy" : "/a");
		c->t[i] = (struct rouse_fetch){ .url = c->url[i],
						.max_bytes = 1000,
						.deadline = rouse_clock_ms() + LONG };
	}
}

static void crowd_done(struct crowd *c)
{
	for (unsigned i = 0; i < MANY; i++) {
		rouse_buf_done(&c->t[i].body_out);
		free(c->url[i]);
	}
}

static void many_run_side_by_side_and_fail_each_for_itself(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	static struct crowd c;

	T_CHECK(t, begin(&x, "/",
			 "{\"GET /a\": [{\"body\": \"hello\"}], \"GET /busy\": [{\"status\": 503}, "
			 "{}]}"));
	crowd_fill(&c, &x.server);
	T_CHECK(t, rouse_fetch_many(x.f, 16, next_of_crowd, done_of_crowd, &c, &x.e) == 0);
	crowd_done(&c);
	T_CHECK(t, c.started == MANY && c.ended == MANY);
	T_CHECK(t, c.failed == MANY / 10);
	T_CHECK(t, c.most == 16);
	T_CHECK(t, rouse_fetcher_counters(x.f).retries == 1);
}

static void done_can_stop_everything(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	static struct crowd c = { .stop_at = 20 };

	T_CHECK(t, begin(&x, "/a", "{\"*\": [{\"body\": \"hello\"}]}"));
	crowd_fill(&c, &x.server);
	T_CHECK(t, rouse_fetch_many(x.f, 8, next_of_crowd, done_of_crowd, &c, &x.e) < 0);
	crowd_done(&c);
	T_STR(t, x.e.text, "enough");
	T_CHECK(t, c.ended == 20);
	T_CHECK(t, run(&x) == 0); /* and the fetcher is as good as before */
}

/* --- bodies that wait ------------------------------------------------------------------------ */

#define WAITERS 40
#define BODY "0123456789abcdef"

struct waiter {
	struct rouse_fetch t;
	struct queue *q;
	struct rouse_buf got;
	bool asked, opened, refuse;
};

struct queue {
	struct waiter w[WAITERS];
	char *url;
	unsigned started, ended, failed, open, most, room;
	unsigned asked, crowd; /* nobody's turn comes before so many have asked */
};

static bool wait_for_turn(void *arg)
{
	struct waiter *w = arg;

	if (w->opened)
		return false;
	w->q->asked += !w->asked;
	w->asked = true;
	if (w->q->asked < w->q->crowd || w->q->open == w->q->room)
		return true;
	w->opened = true;
	w->q->open++;
	w->q->most = w->q->open > w->q->most ? w->q->open : w->q->most;
	return false;
}

static int take_waited(void *arg, const void *data, size_t n, struct rouse_err *e)
{
	struct waiter *w = arg;

	if (w->refuse)
		return rouse_fail(e, ROUSE_SYSTEM, ENOSPC, "cannot write");
	return w->opened ? rouse_buf_add(&w->got, data, n, 1 << 20)
			 : rouse_fail(e, ROUSE_BUG, 0, "it did not wait");
}

static struct rouse_fetch *next_of_queue(void *ctx)
{
	struct queue *q = ctx;

	return q->started == WAITERS ? NULL : &q->w[q->started++].t;
}

static int done_of_queue(void *ctx, struct rouse_fetch *t, struct rouse_err *e unused_arg)
{
	struct queue *q = ctx;
	struct waiter *w = t->arg;

	q->open -= w->opened;
	q->ended++;
	q->failed += t->result < 0;
	return 0;
}

static void queue_fill(struct queue *q, const struct server *s, uint64_t time)
{
	q->url = server_url(s, "/a");
	for (unsigned i = 0; i < WAITERS; i++) {
		q->w[i].q = q;
		q->w[i].refuse = i % 10 == 7;
		q->w[i].t = (struct rouse_fetch){ .url = q->url,
						  .max_bytes = 1 << 20,
						  .deadline = rouse_clock_ms() + time,
						  .max_tries = 1,
						  .sink = take_waited,
						  .hold = wait_for_turn,
						  .arg = &q->w[i] };
	}
}

static void queue_done(struct queue *q)
{
	for (unsigned i = 0; i < WAITERS; i++) {
		rouse_buf_done(&q->w[i].got);
		rouse_buf_done(&q->w[i].t.body_out);
	}
	free(q->url);
}

static void bodies_wait_until_others_have_ended(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;
	static struct queue q = { .room = 3, .crowd = 6 };

	T_CHECK(t, begin(&x, "/", "{\"GET /a\": [{\"body\": \"" BODY "\"}]}"));
	queue_fill(&q, &x.server, LONG);
	T_CHECK(t, rouse_fetch_many(x.f, 16, next_of_queue, done_of_queue, &q, &x.e) == 0);
	T_CHECK(t, q.ended == WAITERS && q.failed == WAITERS / 10);
	T_CHECK(t, q.most == 3 && !q.open);
	for (unsigned i = 0; i < WAITERS; i++) {
		const struct waiter *w = &q.w[i];

		if (w->refuse)
			T_CHECK(t, w->t.err.sys == ENOSPC);
		else
			T_STR(t, w->got.data, BODY);
	}
	queue_done(&q);
}

static void a_body_waits_no_longer_than_its_deadline(struct t *t)
{
	/* As long as this machine needs to ask for both. */
	for (uint64_t time = 1500;; time *= 3) {
		auto_fixture struct fixture x = FIXTURE;
		struct queue q = { .room = 0 };
		unsigned asked;

		T_CHECK(t, begin(&x, "/", "{\"GET /a\": [{\"body\": \"" BODY "\"}]}"));
		queue_fill(&q, &x.server, time);
		q.started = WAITERS - 2;
		T_CHECK(t, rouse_fetch_many(x.f, 16, next_of_queue, done_of_queue, &q, &x.e) == 0);
		queue_done(&q);
		T_CHECK(t, q.ended == 2 && q.failed == 2 && !q.most);
		T_CHECK(t, q.w[WAITERS - 1].t.err.kind == ROUSE_UNAVAILABLE);
		asked = server_count(&x.server, "/a");
		if (asked < 2 && time < LONG / 3)
			continue;
		T_CHECK(t, asked == 2);
		return;
	}
}

T_MAIN(T(a_body_is_delivered_whole), T(chunked_and_close_delimited_bodies_are_delivered_whole),
       T(missing_is_an_answer_and_is_not_asked_again), T(denied_is_not_asked_again),
       T(statuses_that_pass_are_asked_again), T(not_implemented_is_not_asked_again),
       T(tries_are_bounded_and_said), T(the_deadline_ends_the_tries), T(retry_after_is_waited_for),
       T(retry_after_counts_from_the_servers_own_clock),
       T(garbage_and_past_dates_in_retry_after_do_not_delay),
       T(retry_after_beyond_the_deadline_fails_at_once),
       T(each_truncation_is_noticed_and_tried_again),
       T(a_truncated_answer_of_missing_is_not_believed), T(nobody_listening_is_unavailable),
       T(a_name_that_does_not_resolve_is_unavailable), T(silence_ends_at_the_deadline),
       T(silence_after_a_failure_says_what_failed),
       T(a_deadline_that_moves_ends_the_wait_for_another_try),
       T(a_drip_of_bytes_ends_at_the_deadline), T(the_size_limit_holds_for_chunked_bodies),
       T(a_length_above_the_limit_delivers_nothing), T(a_body_of_exactly_the_limit_passes),
       T(the_huge_body_of_an_error_is_cut_and_the_status_counts), T(a_flood_of_headers_is_refused),
       T(two_different_lengths_are_refused), T(a_redirect_is_an_error_unless_allowed),
       T(an_allowed_redirect_stays_on_its_origin_with_its_headers),
       T(a_redirect_to_another_scheme_or_plain_host_is_refused), T(a_redirect_loop_ends),
       T(a_url_may_not_lead_to_a_metadata_service), T(userinfo_and_other_schemes_are_refused),
       T(a_put_sends_its_body_and_says_an_empty_length),
       T(the_proxy_of_the_environment_is_not_used), T(connections_are_used_again),
       T(a_certificate_of_a_given_authority_is_trusted),
       T(an_unknown_authority_is_untrusted_and_not_asked_again),
       T(a_certificate_of_another_name_is_untrusted),
       T(a_redirect_to_another_host_goes_without_the_callers_headers),
       T(a_sink_without_restart_gets_no_byte_twice), T(a_sink_with_restart_begins_anew),
       T(a_sinks_own_error_ends_the_transfer), T(a_file_is_read_within_its_limit),
       T(a_missing_file_is_told_from_an_unreadable_thing),
       T(many_run_side_by_side_and_fail_each_for_itself), T(done_can_stop_everything),
       T(bodies_wait_until_others_have_ended), T(a_body_waits_no_longer_than_its_deadline))
