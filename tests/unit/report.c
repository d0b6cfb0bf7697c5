/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include <sys/stat.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/mem.h>
#include <rouse/module.h>
#include <rouse/plan.h>
#include <rouse/report.h>

struct fixture {
	char dir[64];
	struct rouse_report r;
};

static void fixture_done(struct fixture *f)
{
	static const char *const names[] = { "report.json", "status.json" };

	rouse_report_done(&f->r);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		auto_free char *path = rouse_asprintf("%s/%s", f->dir, names[i]);

		(void)unlink(path);
	}
	(void)rmdir(f->dir);
}
#define auto_fixture __attribute__((cleanup(fixture_done)))

static bool fixture_make(struct fixture *f)
{
	struct rouse_err e;

	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/rouse-report.XXXXXX");
	return mkdtemp(f->dir) && rouse_report_begin(&f->r, f->dir, &e) == 0;
}

static json_t *read_back(const struct fixture *f, const char *name)
{
	auto_free char *path = rouse_asprintf("%s/%s", f->dir, name);
	auto_buf struct rouse_buf text = { 0 };
	struct rouse_err e;

	if (rouse_read_file(path, ROUSE_MAX_FACTS, &text, &e) < 0)
		return NULL;
	return rouse_json_parse(path, text.data, text.len, &e);
}

static const char *word(const json_t *j, const char *key)
{
	return json_string_value(json_object_get(j, key));
}

static const struct rouse_module module = { .name = "disks" };
static const struct rouse_step step = { .module = &module,
					.effect = ROUSE_CREATE,
					.what = "make ext4 'root' on /dev/vda2" };

static void report_begins_pending(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	auto_json json_t *status = NULL;

	T_CHECK(t, fixture_make(&f));
	rouse_report_write(&f.r);
	status = read_back(&f, "status.json");
	T_STR(t, word(status, "verdict"), "pending");
	T_STR(t, word(f.r.json, "verdict"), "pending");
	T_CHECK(t, json_is_null(json_object_get(status, "reason")));
}

static void status_says_what_happens_now(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	auto_json json_t *status = NULL;

	T_CHECK(t, fixture_make(&f));
	rouse_report_phase(&f.r, "apply");
	rouse_report_step(&f.r, &step);
	status = read_back(&f, "status.json");
	T_STR(t, word(status, "phase"), "apply");
	T_STR(t, word(status, "step"), step.what);
	T_CHECK(t, !word(status, "now"));
}

static void status_forgets_progress_when_its_step_ends(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	auto_json json_t *during = NULL, *after = NULL;

	T_CHECK(t, fixture_make(&f));
	rouse_report_phase(&f.r, "apply");
	rouse_report_step(&f.r, &step);
	rouse_report_now(&f.r, "12 of 80 paths");
	during = read_back(&f, "status.json");
	rouse_report_step_end(&f.r, NULL);
	rouse_report_phase(&f.r, "handoff");
	rouse_report_write(&f.r);
	after = read_back(&f, "status.json");
	T_STR(t, word(during, "now"), "12 of 80 paths");
	T_CHECK(t, after && !word(after, "now"));
}

static void report_keeps_phases_and_steps_in_order(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	const json_t *phases, *apply, *s;

	T_CHECK(t, fixture_make(&f));
	rouse_report_phase(&f.r, "source");
	rouse_report_phase(&f.r, "apply"); /* ends the open one */
	rouse_report_step(&f.r, &step);
	rouse_report_step_end(&f.r, NULL);
	rouse_report_phase_end(&f.r, NULL);

	phases = json_object_get(f.r.json, "phases");
	T_CHECK(t, json_array_size(phases) == 2);
	T_STR(t, word(json_array_get(phases, 0), "name"), "source");
	T_CHECK(t, json_is_true(json_object_get(json_array_get(phases, 0), "ok")));
	apply = json_array_get(phases, 1);
	T_CHECK(t, json_is_integer(json_object_get(apply, "cpu")));
	T_CHECK(t, json_integer_value(json_object_get(apply, "end")) >=
			   json_integer_value(json_object_get(apply, "start")));
	s = json_array_get(json_object_get(apply, "steps"), 0);
	T_STR(t, word(s, "module"), "disks");
	T_STR(t, word(s, "effect"), "create");
	T_STR(t, word(s, "what"), step.what);
}

static void no_cpu_time_is_lost_between_phases(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	uint64_t before = rouse_clock_cpu_ms() + 20;
	json_int_t sum = 0;
	const json_t *phase;
	size_t i;

	T_CHECK(t, fixture_make(&f));
	while (rouse_clock_cpu_ms() < before)
		; /* what a process needs to start */
	rouse_report_phase(&f.r, "source");
	rouse_report_phase_end(&f.r, NULL);
	before = rouse_clock_cpu_ms() + 20;
	while (rouse_clock_cpu_ms() < before)
		; /* between two phases */
	rouse_report_phase(&f.r, "document");
	rouse_report_phase_end(&f.r, NULL);
	json_array_foreach (json_object_get(f.r.json, "phases"), i, phase)
		sum += json_integer_value(json_object_get(phase, "cpu"));
	T_CHECK(t, (uint64_t)sum >= before);
}

static void failed_phase_fails_its_open_step(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	struct rouse_err e;
	const json_t *phase, *s;

	T_CHECK(t, fixture_make(&f));
	rouse_report_phase(&f.r, "apply");
	rouse_report_step(&f.r, &step);
	(void)rouse_fail(&e, ROUSE_SYSTEM, EIO, "cannot write '/dev/vda2'");
	rouse_report_phase_end(&f.r, &e);
	phase = json_array_get(json_object_get(f.r.json, "phases"), 0);
	T_CHECK(t, json_is_false(json_object_get(phase, "ok")));
	T_HAS(t, word(phase, "error"), "/dev/vda2");
	s = json_array_get(json_object_get(phase, "steps"), 0);
	T_HAS(t, word(s, "error"), "/dev/vda2");
	T_CHECK(t, !f.r.phase && !f.r.step);
}

static void verdict_is_given_once(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	auto_json json_t *status = NULL;

	T_CHECK(t, fixture_make(&f));
	rouse_report_verdict(&f.r, ROUSE_FAILED, ROUSE_UNTRUSTED, "digest of 'x' is wrong");
	rouse_report_verdict(&f.r, ROUSE_READY, ROUSE_OK, NULL);
	rouse_report_write(&f.r);
	status = read_back(&f, "status.json");
	T_STR(t, word(status, "verdict"), "failed");
	T_STR(t, word(status, "word"), "untrusted");
	T_CHECK(t, json_integer_value(json_object_get(status, "status")) == 77);
	T_STR(t, word(status, "reason"), "digest of 'x' is wrong");
	T_STR(t, word(status, "advice"), rouse_kind_advice(ROUSE_UNTRUSTED));
}

static void phase_that_is_over_takes_nothing_from_the_next(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	const json_t *phases, *first;

	T_CHECK(t, fixture_make(&f));
	rouse_report_past(&f.r, "drivers", 1000, 1300, 250);
	T_CHECK(t, f.r.phase_cpu == 250 && !f.r.phase);
	rouse_report_phase(&f.r, "source");
	rouse_report_phase_end(&f.r, NULL);
	phases = json_object_get(f.r.json, "phases");
	first = json_array_get(phases, 0);
	T_CHECK(t, json_array_size(phases) == 2);
	T_STR(t, json_string_value(json_object_get(first, "name")), "drivers");
	T_CHECK(t, json_integer_value(json_object_get(first, "start")) == 1000 &&
			   json_integer_value(json_object_get(first, "end")) == 1300 &&
			   json_integer_value(json_object_get(first, "cpu")) == 250);
}

static void report_loads_what_it_wrote(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	struct rouse_report again = { 0 };
	struct rouse_err e = { 0 };
	bool same;

	T_CHECK(t, fixture_make(&f));
	rouse_report_phase(&f.r, "apply");
	rouse_report_phase_end(&f.r, NULL);
	rouse_report_set(&f.r, "fallback", json_string("baked"));
	rouse_report_write(&f.r);
	T_CHECK(t, rouse_report_load(&again, f.dir, &e) == 0);
	same = json_equal(again.json, f.r.json);
	rouse_report_done(&again);
	T_CHECK(t, same);
}

static void load_says_that_there_is_no_report(struct t *t)
{
	struct rouse_report r = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, rouse_report_load(&r, "/tmp/rouse-no-such-dir", &e) < 0);
	T_CHECK(t, e.sys == ENOENT);
	T_HAS(t, e.text, "/tmp/rouse-no-such-dir/report.json");
}

static void load_refuses_another_json(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	struct rouse_report r = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, fixture_make(&f));
	(void)json_object_del(f.r.json, "phases");
	rouse_report_write(&f.r);
	T_CHECK(t, rouse_report_load(&r, f.dir, &e) < 0);
	T_HAS(t, e.text, "not a report");
}

static void report_is_readable_by_all_and_leaves_no_temporary_file(struct t *t)
{
	static const char *const names[] = { "report.json", "status.json" };
	auto_fixture struct fixture f = { 0 };

	T_CHECK(t, fixture_make(&f));
	rouse_report_write(&f.r);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		auto_free char *path = rouse_asprintf("%s/%s", f.dir, names[i]);
		struct stat st;

		T_CHECK(t, stat(path, &st) == 0 && (st.st_mode & 07777) == 0644);
		T_CHECK(t, unlink(path) == 0);
	}
	T_CHECK(t, rmdir(f.dir) == 0); /* nothing else is in there */
}

static void console_line_is_one_greppable_line(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	auto_free char *line = NULL;

	T_CHECK(t, fixture_make(&f));
	rouse_json_set_string(json_object_get(f.r.json, "instance"), "id", "i-0 1\n2");
	rouse_report_verdict(&f.r, ROUSE_FAILED, ROUSE_SYSTEM, "check 'web' failed:\nno answer");
	rouse_json_set_int(f.r.json, "since", 12345);
	line = rouse_report_console_line(&f.r);
	T_STR(t, line,
	      "ROUSE-STATE v=1 state=failed up=12.3 id=i-0_1_2 reason=check 'web' failed: no "
	      "answer");
}

static void console_line_of_a_ready_machine_has_no_reason(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	auto_free char *line = NULL;

	T_CHECK(t, fixture_make(&f));
	rouse_report_verdict(&f.r, ROUSE_READY, ROUSE_OK, NULL);
	rouse_json_set_int(f.r.json, "since", 61007);
	line = rouse_report_console_line(&f.r);
	T_STR(t, line, "ROUSE-STATE v=1 state=ready up=61.0 id=-");
}

/* A cache, a disk or a path may put any bytes into an error, and a cut may part a character. */
static void verdict_is_given_whatever_bytes_are_in_its_reason(struct t *t)
{
	auto_fixture struct fixture f = { 0 };
	auto_free char *line = NULL;

	T_CHECK(t, fixture_make(&f));
	rouse_report_verdict(&f.r, ROUSE_FAILED, ROUSE_UNTRUSTED,
			     "not a name: 'a\xff \x9b' caf\xc3");
	rouse_report_write(&f.r);
	T_STR(t, word(f.r.json, "reason"), "not a name: 'a? ?' caf?");
	line = rouse_report_console_line(&f.r);
	T_CHECK(t, strstr(line, " reason=not a name: 'a? ?' caf?") != NULL);
}

static void report_without_a_directory_writes_nothing(struct t *t)
{
	struct rouse_report r = { 0 };
	struct rouse_err e = { 0 };

	T_CHECK(t, rouse_report_begin(&r, NULL, &e) == 0);
	rouse_report_phase(&r, "plan");
	rouse_report_write(&r);
	rouse_report_done(&r);
	T_CHECK(t, !r.json);
}

T_MAIN(T(report_begins_pending), T(status_says_what_happens_now),
       T(status_forgets_progress_when_its_step_ends), T(report_keeps_phases_and_steps_in_order),
       T(no_cpu_time_is_lost_between_phases), T(failed_phase_fails_its_open_step),
       T(phase_that_is_over_takes_nothing_from_the_next), T(verdict_is_given_once),
       T(report_loads_what_it_wrote), T(load_says_that_there_is_no_report),
       T(load_refuses_another_json), T(report_is_readable_by_all_and_leaves_no_temporary_file),
       T(console_line_is_one_greppable_line), T(console_line_of_a_ready_machine_has_no_reason),
       T(verdict_is_given_whatever_bytes_are_in_its_reason),
       T(report_without_a_directory_writes_nothing))
