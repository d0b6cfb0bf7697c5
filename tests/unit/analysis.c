/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include <rouse/json.h>
#include <rouse/mem.h>

#include "../../agent/analysis.h"

struct scene {
	json_t *report;
	struct rouse_arena arena;
	struct rouse_analysis a;
	struct rouse_buf svg;
};

static void scene_done(struct scene *s)
{
	json_decref(s->report);
	rouse_arena_done(&s->arena);
	rouse_buf_done(&s->svg);
}
#define auto_scene __attribute__((cleanup(scene_done)))

static bool scene_make(struct scene *s, const char *text)
{
	struct rouse_err e;

	s->report = rouse_json_parse("report", text, strlen(text), &e);
	if (!s->report)
		return false;
	rouse_analyze(&s->a, s->report, &s->arena);
	rouse_analysis_svg(&s->a, s->report, &s->svg);
	return true;
}

static void time_before_the_agent_and_between_phases_is_shown(struct t *t)
{
	auto_scene struct scene s = { 0 };

	T_CHECK(t,
		scene_make(
			&s,
			"{\"verdict\":\"ready\",\"since\":900,\"phases\":["
			"{\"name\":\"apply\",\"start\":100,\"end\":300,\"cpu\":7,\"ok\":true},"
			"{\"name\":\"handoff\",\"start\":301,\"end\":310,\"cpu\":1,\"ok\":true},"
			"{\"name\":\"health\",\"start\":800,\"end\":900,\"cpu\":2,\"ok\":true}]}"));
	T_CHECK(t, s.a.n == 5);
	T_STR(t, s.a.spans[0].name, "before rouse");
	T_CHECK(t, s.a.before == 100 && s.a.total == 900 && s.a.cpu == 10 && s.a.verdict_at == 900);
	T_STR(t, s.a.spans[2].name, "handoff"); /* one millisecond is no gap */
	T_STR(t, s.a.spans[3].name, "init starts");
	T_CHECK(t, s.a.spans[3].start == 310 && s.a.spans[3].end == 800);
}

static void phase_that_never_ended_has_failed(struct t *t)
{
	auto_scene struct scene s = { 0 };

	T_CHECK(t, scene_make(&s, "{\"verdict\":\"failed\",\"since\":70,\"phases\":["
				  "{\"name\":\"apply\",\"start\":5,\"steps\":["
				  "{\"module\":\"disks\",\"what\":\"x\",\"start\":6}]}]}"));
	T_CHECK(t, s.a.n == 2 && s.a.spans[0].failed && s.a.spans[1].failed);
	T_CHECK(t, s.a.spans[0].end == 70 && s.a.spans[0].cpu == -1);
}

static void rate_counts_the_steps_of_its_module_only(struct t *t)
{
	auto_scene struct scene s = { 0 };

	T_CHECK(t,
		scene_make(
			&s,
			"{\"phases\":[{\"name\":\"apply\",\"start\":0,\"end\":9000,\"steps\":["
			"{\"module\":\"disks\",\"what\":\"x\",\"start\":0,\"end\":1000},"
			"{\"module\":\"closure\",\"what\":\"y\",\"start\":1000,\"end\":3000},"
			"{\"module\":\"closure\",\"what\":\"z\",\"start\":3000,\"end\":5000}]}]}"));
	T_CHECK(t, rouse_analysis_rate(&s.a, "closure.bytes", 8000) == 2000);
	T_CHECK(t, rouse_analysis_rate(&s.a, "closures.bytes", 8000) == 0);
	T_CHECK(t, rouse_analysis_rate(&s.a, "users.bytes", 8000) == 0);
}

static void times_that_make_no_sense_are_drawn_without_harm(struct t *t)
{
	auto_scene struct scene s = { 0 };

	T_CHECK(t, scene_make(&s,
			      "{\"since\":\"x\",\"verdict\":7,\"phases\":[{\"start\":50,\"end\":10,"
			      "\"cpu\":-3,\"steps\":7},8,{}],\"checks\":[null]}"));
	T_CHECK(t, s.a.spans[0].end >= s.a.spans[0].start);
	T_HAS(t, s.svg.data, "</svg>");
}

static void label_leaves_out_the_hashes_of_store_paths(struct t *t)
{
	auto_scene struct scene s = { 0 };

	T_CHECK(t, scene_make(&s, "{\"phases\":[{\"start\":1,\"end\":2,\"name\":"
				  "\"pull /nix/store/rm3nwk47a3ndgdwxiwv79qakfp4zfr52-web-1 and "
				  "/nix/store/x\"}]}"));
	T_STR(t, s.a.spans[0].label, "pull web-1 and /nix/store/x");
	T_HAS(t, s.a.spans[0].name, "rm3nwk47");
}

static void report_without_phases_is_drawn(struct t *t)
{
	auto_scene struct scene s = { 0 };

	T_CHECK(t, scene_make(&s, "{\"phases\":[]}"));
	T_CHECK(t, s.a.n == 0 && s.a.total == 0);
	T_HAS(t, s.svg.data, "</svg>");
}

static void names_in_the_picture_are_never_markup(struct t *t)
{
	auto_scene struct scene s = { 0 };

	T_CHECK(t,
		scene_make(&s, "{\"instance\":{\"id\":\"<script>\"},\"phases\":[{\"name\":\"<b>&\","
			       "\"start\":1,\"end\":2}]}"));
	T_CHECK(t, !strstr(s.svg.data, "<script>") && !strstr(s.svg.data, "<b>"));
	T_HAS(t, s.svg.data, "&lt;b&gt;&amp;");
}

T_MAIN(T(time_before_the_agent_and_between_phases_is_shown), T(phase_that_never_ended_has_failed),
       T(rate_counts_the_steps_of_its_module_only),
       T(times_that_make_no_sense_are_drawn_without_harm),
       T(label_leaves_out_the_hashes_of_store_paths), T(report_without_phases_is_drawn),
       T(names_in_the_picture_are_never_markup))
