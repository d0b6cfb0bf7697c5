/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <rouse/clock.h>
#include <rouse/health.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/mem.h>

/* A decoded section and what was wrong with it. */
struct section {
	json_t *json;
	struct rouse_health health;
	struct rouse_arena arena;
	struct rouse_problems problems;
	char text[512]; /* "path: message" of the first problem */
};

static void section_done(struct section *s)
{
	json_decref(s->json);
	rouse_arena_done(&s->arena);
	rouse_problems_done(&s->problems);
}
#define auto_section __attribute__((cleanup(section_done)))

static void section_read(struct section *s, const char *text)
{
	struct rouse_err e;

	s->json = rouse_json_parse("text", text, strlen(text), &e);
	if (!s->json || rouse_schema_read(&rouse_health_shape, s->json, NULL, &s->health, &s->arena,
					  &s->problems) == 0)
		rouse_health_verify(&s->health, &s->problems);
	if (s->problems.n)
		(void)snprintf(s->text, sizeof(s->text), "%s: %s", s->problems.items[0].path,
			       s->problems.items[0].message);
}

#define REFUSES(name, document, part)                                                              \
	static void name(struct t *t)                                                              \
	{                                                                                          \
		auto_section struct section s = { 0 };                                             \
                                                                                                   \
		section_read(&s, document);                                                        \
		T_HAS(t, s.text, part);                                                            \
	}

REFUSES(check_of_nothing_is_refused, "{\"checks\":{\"web\":{\"timeout\":\"2s\"}}}",
	"health.checks.web: checks nothing")
REFUSES(check_of_two_things_is_refused,
	"{\"checks\":{\"web\":{\"tcp\":80,\"unit\":\"nginx.service\"}}}", "only one of")
REFUSES(status_without_http_is_refused, "{\"checks\":{\"web\":{\"tcp\":80,\"status\":204}}}",
	"health.checks.web.status")
REFUSES(host_without_tcp_is_refused,
	"{\"checks\":{\"web\":{\"unit\":\"a.service\",\"host\":\"::1\"}}}",
	"health.checks.web.host")
REFUSES(host_by_name_is_refused, "{\"checks\":{\"db\":{\"tcp\":1,\"host\":\"localhost\"}}}",
	"an IP address")
REFUSES(port_zero_is_refused, "{\"checks\":{\"web\":{\"tcp\":0}}}", "tcp")
REFUSES(port_beyond_the_last_is_refused, "{\"checks\":{\"web\":{\"tcp\":65536}}}", "tcp")
REFUSES(url_of_a_file_is_refused, "{\"checks\":{\"web\":{\"http\":\"file:///etc/passwd\"}}}",
	"http:// or https://")
REFUSES(unit_without_a_type_is_refused, "{\"checks\":{\"web\":{\"unit\":\"nginx\"}}}",
	"nginx.service")
REFUSES(unit_like_an_option_is_refused, "{\"checks\":{\"web\":{\"unit\":\"--x.service\"}}}", "unit")
REFUSES(deadline_beyond_an_hour_is_refused, "{\"deadline\":\"61m\"}", "deadline")
REFUSES(contains_without_a_text_is_refused, "{\"checks\":{\"x\":{\"tcp\":1,\"contains\":\"x\"}}}",
	"\"contains\" belongs to an \"http\", \"file\" or \"exec\" check")
REFUSES(answers_without_http_are_refused,
	"{\"checks\":{\"x\":{\"file\":\"/x\",\"answers\":{\"A\":\"b\"}}}}",
	"health.checks.x.answers")
REFUSES(header_with_a_line_end_is_refused,
	"{\"checks\":{\"x\":{\"http\":\"http://x/\",\"headers\":{\"A\":\"b\\r\\nC: d\"}}}}",
	"of one line")
REFUSES(header_name_with_a_blank_is_refused,
	"{\"checks\":{\"x\":{\"http\":\"http://x/\",\"headers\":{\"A b\":\"c\"}}}}",
	"name of a header")
REFUSES(exec_of_nothing_is_refused, "{\"checks\":{\"x\":{\"exec\":[]}}}", "1 to 64 entries")
REFUSES(exec_as_a_line_is_refused, "{\"checks\":{\"x\":{\"exec\":\"rm -r /\"}}}", "exec")
REFUSES(file_that_is_relative_is_refused, "{\"checks\":{\"x\":{\"file\":\"etc/x\"}}}",
	"absolute path")
REFUSES(system_in_another_state_is_refused, "{\"checks\":{\"x\":{\"system\":\"starting\"}}}",
	"degraded")
REFUSES(check_after_one_that_is_not_there_is_refused,
	"{\"checks\":{\"x\":{\"tcp\":1,\"after\":[\"y\"]}}}", "there is no check 'y'")
REFUSES(check_after_itself_is_refused, "{\"checks\":{\"x\":{\"tcp\":1,\"after\":\"x\"}}}",
	"waits for itself")
REFUSES(checks_that_wait_for_each_other_are_refused,
	"{\"checks\":{\"a\":{\"tcp\":1,\"after\":\"c\"},\"b\":{\"tcp\":1,\"after\":\"a\"},"
	"\"c\":{\"tcp\":1,\"after\":\"b\"}}}",
	"waits for itself")
REFUSES(unknown_policy_is_refused, "{\"onFailure\":\"explode\"}", "onFailure")
REFUSES(unknown_key_is_refused, "{\"cheks\":{}}", "cheks")
REFUSES(phone_home_without_url_is_refused, "{\"signals\":{\"phoneHome\":{}}}", "url")

static const char whole[] =
	"{\"deadline\":\"90s\",\"checks\":{"
	"\"web\":{\"http\":\"http://127.0.0.1/"
	"healthz?token=s3cret\",\"status\":204,\"timeout\":\"2s\"},"
	"\"ssh\":{\"tcp\":22,\"host\":\"::1\",\"interval\":\"250ms\"},"
	"\"nginx\":{\"unit\":\"nginx.service\"},"
	"\"all\":{\"system\":\"running\",\"after\":[\"ssh\",\"nginx\"],\"retries\":3},"
	"\"prog\":{\"exec\":[\"/bin/true\",\"a b\"],\"contains\":\"x\"},"
	"\"plan\":{\"planned\":true},\"name\":{\"http\":\"https://x.test/\","
	"\"host\":\"127.0.0.1\",\"headers\":{\"A\":\"b\"},\"answers\":{\"C\":\"d\"}}},"
	"\"signals\":{\"ci\":{\"virtio\":\"org.example.x\"},\"phoneHome\":{"
	"\"url\":\"https://x.test/a\"}},"
	"\"onFailure\":\"reboot\"}";

static const char *at(const json_t *j, const char *a, const char *b, const char *c)
{
	return json_string_value(json_object_get(json_object_get(json_object_get(j, a), b), c));
}

static void section_survives_the_journey(struct t *t)
{
	auto_section struct section a = { 0 }, b = { 0 };
	auto_json json_t *json = NULL;
	auto_free char *text = NULL, *again = NULL;
	const struct rouse_health_check *checks;

	section_read(&a, whole);
	T_STR(t, a.text, "");
	json = rouse_health_json(&a.health);
	text = rouse_json_print(json);
	section_read(&b, text);
	T_STR(t, b.text, "");
	T_CHECK(t, b.health.deadline == 90000 && b.health.checks.n == 7);
	checks = b.health.checks.items;
	T_CHECK(t, checks[0].status == 204 && checks[0].timeout == 2000);
	T_CHECK(t, checks[1].tcp == 22 && checks[1].interval == 250);
	T_STR(t, checks[1].host, "::1");
	T_STR(t, checks[2].unit, "nginx.service");
	T_STR(t, at(b.json, "signals", "ci", "virtio"), "org.example.x");
	T_STR(t, at(b.json, "signals", "phoneHome", "url"), "https://x.test/a");
	T_STR(t, b.health.on_failure, "reboot");
	again = rouse_json_print(b.json);
	T_STR(t, again, text);
}

static void saved_section_is_for_root_only(struct t *t)
{
	char dir[] = "/tmp/rouse-health.XXXXXX";
	auto_section struct section s = { 0 };
	auto_arena struct rouse_arena arena = { 0 };
	auto_json json_t *json = NULL;
	auto_free char *path = NULL;
	struct rouse_health back = { 0 };
	struct rouse_err e = { 0 };
	struct stat st = { 0 };
	int saved, loaded;

	section_read(&s, whole);
	T_CHECK(t, mkdtemp(dir));
	path = rouse_asprintf("%s/health.json", dir);
	saved = rouse_health_save(dir, ROUSE_HEALTH_FILE, &s.health, &e);
	loaded = rouse_health_load(dir, ROUSE_HEALTH_FILE, &back, &arena, &json, &e);
	(void)stat(path, &st);
	(void)unlink(path);
	(void)rmdir(dir);
	T_CHECK(t, saved == 0 && loaded == 0);
	T_CHECK(t, (st.st_mode & 07777) == 0600);
	T_CHECK(t, back.checks.n == 7);
}

static void no_saved_section_is_an_answer(struct t *t)
{
	struct rouse_health h = { 0 };
	struct rouse_arena arena = { 0 };
	struct rouse_err e = { 0 };
	json_t *json = NULL;

	T_CHECK(t, rouse_health_load("/tmp/rouse-no-such-dir", ROUSE_HEALTH_FILE, &h, &arena, &json,
				     &e) < 0);
	T_CHECK(t, e.sys == ENOENT && !json);
}

static void described_url_hides_its_query(struct t *t)
{
	const struct rouse_health_check c = { .http = "http://127.0.0.1/healthz?token=s3cret" };
	auto_free char *what = rouse_health_describe(&c);

	T_STR(t, what, "http http://127.0.0.1/healthz");
}

static void described_address_is_readable(struct t *t)
{
	const struct rouse_health_check c = { .tcp = 22, .host = "::1" };
	auto_free char *what = rouse_health_describe(&c);

	T_STR(t, what, "tcp [::1]:22");
}

/* A socket on a free port of 127.0.0.1 that refuses whoever comes: nobody else gets the port meanwhile. */
static int refuse_somewhere(int64_t *ret_port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, n) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &n) < 0)
		return -1;
	*ret_port = ntohs(a.sin_port);
	return fd;
}

static int listen_somewhere(int64_t *ret_port)
{
	int fd = refuse_somewhere(ret_port);

	return fd >= 0 && listen(fd, 8) < 0 ? -1 : fd;
}

static void tcp_check_passes_when_somebody_listens(struct t *t)
{
	struct rouse_health_check c = { .key = "a" };
	struct rouse_err e = { 0 };
	auto_free char *note = NULL;
	auto_fd int fd = listen_somewhere(&c.tcp);

	T_CHECK(t, fd >= 0);
	T_CHECK(t, rouse_health_try(&c, rouse_clock_ms() + 60000, &note, &e) == 0);
}

static void tcp_check_names_who_refused(struct t *t)
{
	struct rouse_health_check c = { .key = "a" };
	struct rouse_err e = { 0 };
	auto_free char *note = NULL;
	auto_fd int fd = refuse_somewhere(&c.tcp);

	T_CHECK(t, fd >= 0);
	T_CHECK(t, rouse_health_try(&c, rouse_clock_ms() + 60000, &note, &e) < 0);
	T_HAS(t, e.text, "cannot connect to 'tcp 127.0.0.1:");
	T_HAS(t, e.text, "refused");
}

static void http_check_that_nobody_answers_ends(struct t *t)
{
	struct rouse_health_check c = { .key = "a", .timeout = 200 };
	struct rouse_err e = { 0 };
	auto_free char *url = NULL, *note = NULL;
	int64_t port = 0;
	auto_fd int fd = listen_somewhere(&port); /* accepts, and never answers */

	T_CHECK(t, fd >= 0);
	c.http = url = rouse_asprintf("http://127.0.0.1:%lld/", (long long)port);
	T_CHECK(t, rouse_health_try(&c, rouse_clock_ms() + 60000, &note, &e) < 0);
	T_CHECK(t, e.text[0]);
}

static void run_without_checks_passes_at_once(struct t *t)
{
	const struct rouse_health h = { 0 };
	struct rouse_err e = { 0 };
	bool failed = true;
	auto_json json_t *checks = rouse_health_run(&h, 0, NULL, NULL, &failed, &e);

	T_CHECK(t, !failed && json_is_array(checks) && json_array_size(checks) == 0);
}

static void remember(void *arg, const char *what)
{
	if (what)
		(void)snprintf(arg, 256, "%s", what);
}

static void run_names_the_check_that_never_passed(struct t *t)
{
	struct rouse_health_check c[] = { { .key = "good" }, { .key = "bad", .interval = 100 } };
	const struct rouse_health h = { .checks = { .n = 2, .items = c } };
	auto_fd int good = listen_somewhere(&c[0].tcp), bad = refuse_somewhere(&c[1].tcp);

	T_CHECK(t, good >= 0 && bad >= 0);
	/* As long as this machine needs to try it twice. */
	for (uint64_t time = 300;; time *= 3) {
		struct rouse_err e = { 0 };
		bool failed = false;
		char last[256] = "";
		auto_json json_t *checks = rouse_health_run(&h, rouse_clock_ms() + time, remember,
							    last, &failed, &e);
		json_int_t tries = json_integer_value(
			json_object_get(json_array_get(checks, 1), "tries"));

		T_CHECK(t, failed);
		if (tries < 2 && time < 30000)
			continue;
		T_HAS(t, e.text, "check 'bad' never passed: cannot connect to 'tcp 127.0.0.1:");
		T_HAS(t, last, "1 of 2 checks passed; waiting for bad");
		T_CHECK(t, json_is_true(json_object_get(json_array_get(checks, 0), "ok")));
		T_CHECK(t, json_is_false(json_object_get(json_array_get(checks, 1), "ok")));
		T_CHECK(t, tries >= 2);
		return;
	}
}

static void signals_that_fail_are_noted_and_fail_nothing(struct t *t)
{
	auto_section struct section s = { 0 };
	struct rouse_report r = { 0 };
	struct rouse_err e = { 0 };
	auto_free char *text = NULL;
	size_t n;

	section_read(&s, "{\"signals\":{\"ci\":{\"virtio\":\"org.example.absent\"}}}");
	T_CHECK(t, rouse_report_begin(&r, NULL, &e) == 0);
	rouse_health_signal(&r, &s.health);
	n = json_array_size(json_object_get(r.json, "signals"));
	text = rouse_json_print(r.json);
	rouse_report_done(&r);
	T_CHECK(t, n >= 1);
	T_HAS(t, text, "this machine has no such port");
}

T_MAIN(T(contains_without_a_text_is_refused), T(answers_without_http_are_refused),
       T(header_with_a_line_end_is_refused), T(header_name_with_a_blank_is_refused),
       T(exec_of_nothing_is_refused), T(exec_as_a_line_is_refused),
       T(file_that_is_relative_is_refused), T(system_in_another_state_is_refused),
       T(check_after_one_that_is_not_there_is_refused), T(check_after_itself_is_refused),
       T(checks_that_wait_for_each_other_are_refused), T(check_of_nothing_is_refused),
       T(check_of_two_things_is_refused), T(status_without_http_is_refused),
       T(host_without_tcp_is_refused), T(host_by_name_is_refused), T(port_zero_is_refused),
       T(port_beyond_the_last_is_refused), T(url_of_a_file_is_refused),
       T(unit_without_a_type_is_refused), T(unit_like_an_option_is_refused),
       T(deadline_beyond_an_hour_is_refused), T(unknown_policy_is_refused),
       T(unknown_key_is_refused), T(phone_home_without_url_is_refused),
       T(section_survives_the_journey), T(saved_section_is_for_root_only),
       T(no_saved_section_is_an_answer), T(described_url_hides_its_query),
       T(described_address_is_readable), T(tcp_check_passes_when_somebody_listens),
       T(tcp_check_names_who_refused), T(http_check_that_nobody_answers_ends),
       T(run_without_checks_passes_at_once), T(run_names_the_check_that_never_passed),
       T(signals_that_fail_are_noted_and_fail_nothing))
