/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <getopt.h>
#include <string.h>
#include <time.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/report.h>
#include <rouse/text.h>

#include "verdict.h"

struct options {
	const char *run;
	bool json, wait;
	uint64_t timeout; /* ms */
};

static int parse(struct options *o, int argc, char **argv, struct rouse_err *e)
{
	static const struct option options[] = { { "run", required_argument, NULL, 'r' },
						 { "json", no_argument, NULL, 'j' },
						 { "wait", no_argument, NULL, 'w' },
						 { "timeout", required_argument, NULL, 't' },
						 { 0 } };
	int c;

	*o = (struct options){ .run = "/run/rouse", .timeout = ROUSE_STATUS_TIMEOUT };
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'r')
			o->run = optarg;
		else if (c == 'j')
			o->json = true;
		else if (c == 'w')
			o->wait = true;
		else if (c == 't' && !rouse_parse_duration(optarg, &o->timeout))
			return rouse_usage(e, "'%s' is no duration such as \"90s\" or \"5m\"",
					   optarg);
		else if (c == '?')
			return rouse_usage(e, "unknown option '%s'", argv[optind - 1]);
	}
	if (optind < argc)
		return rouse_usage(e, "expected no argument, found '%s'", argv[optind]);
	return 0;
}

static const char *string_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void print_since(const json_t *status, struct rouse_buf *out)
{
	uint64_t since = (uint64_t)json_integer_value(json_object_get(status, "since"));
	uint64_t now = rouse_clock_ms();
	char text[64], up[24];
	struct tm tm;
	time_t when;

	rouse_buf_printf(out, " since %s after the start of the kernel",
			 rouse_print_duration(up, since));
	if (since > now) /* the report of another boot */
		return;
	when = time(NULL) - (time_t)((now - since) / 1000);
	if (localtime_r(&when, &tm) && strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S %Z", &tm))
		rouse_buf_printf(out, " (%s)", text);
}

static void print_line(struct rouse_buf *out, const char *label, const char *text)
{
	if (text && *text)
		rouse_buf_printf(out, "%10s  %s\n", label, text);
}

/* The string members of an object as "a, b": who this machine is, where its document is from. */
static void print_object(struct rouse_buf *out, const char *label, const json_t *object)
{
	auto_buf struct rouse_buf text = { 0 };
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)object, key, value)
		if (json_is_string(value) && json_string_length(value))
			rouse_buf_printf(&text, "%s%s %s", text.len ? ", " : "", key,
					 json_string_value(value));
	print_line(out, label, text.data);
}

static bool is_bad(const json_t *span)
{
	return json_is_false(json_object_get(span, "ok"));
}

/* One screen: `rouse analyze --all` has the rest. */
#define MOST_STEPS 10

/* Steps: what this boot changed, and what failed of it. */
static void print_steps(struct rouse_buf *out, const json_t *report, bool failed)
{
	const char *label = failed ? "failed" : "changed";
	const json_t *phase, *s;
	size_t i, j, n = 0;

	json_array_foreach (json_object_get(report, "phases"), i, phase) {
		const json_t *steps = json_object_get(phase, "steps");
		bool told = false;

		json_array_foreach ((json_t *)steps, j, s) {
			const char *effect = string_at(s, "effect"), *error = string_at(s, "error");
			bool use = effect && strcmp(effect, "use") == 0;

			if (is_bad(s) != failed || (use && !failed) || !string_at(s, "what"))
				continue;
			told = true;
			if (n++ >= MOST_STEPS)
				continue;
			rouse_buf_printf(out, "%10s  %s%s%s\n", label, string_at(s, "what"),
					 error ? ": " : "", error ? error : "");
			label = "";
		}
		/* The reason of the verdict stands further up already. */
		if (!failed || !is_bad(phase) || told || !string_at(phase, "name") ||
		    rouse_streq(string_at(phase, "error"), string_at(report, "reason")))
			continue;
		rouse_buf_printf(out, "%10s  phase '%s': %s\n", label, string_at(phase, "name"),
				 string_at(phase, "error") ? string_at(phase, "error") : "?");
		label = "";
	}
	if (n > MOST_STEPS)
		rouse_buf_printf(out, "%10s  … and %zu more, see `rouse analyze --all`\n", "",
				 n - MOST_STEPS);
	if (!failed && *label)
		print_line(out, label, "nothing");
}

/* The items of a list, or only those that failed. */
static void print_results(struct rouse_buf *out, const json_t *report, const char *key,
			  const char *object, bool only_bad)
{
	const char *label = key;
	const json_t *item;
	size_t i;

	json_array_foreach (json_object_get(report, key), i, item) {
		const char *more = string_at(item, is_bad(item) ? "error" : "note"),
			   *what = string_at(item, object);

		if (only_bad && !is_bad(item))
			continue;
		rouse_buf_printf(out, "%10s  %s (%s): %s%s%s\n", label, string_at(item, "name"),
				 what ? what : "", is_bad(item) ? "failed" : "ok", more ? ", " : "",
				 more ? more : "");
		label = "";
	}
}

static void print_report(struct rouse_buf *out, const json_t *report)
{
	print_object(out, "instance", json_object_get(report, "instance"));
	print_object(out, "document", json_object_get(report, "document"));
	print_steps(out, report, false);
	print_steps(out, report, true);
	print_results(out, report, "checks", "what", false);
	print_results(out, report, "channels", "to",
		      true); /* at the begin; what follows is the end */
	print_results(out, report, "signals", "to", false);
}

static const char *colour_of(const json_t *status)
{
	const char *verdict = string_at(status, "verdict");

	if (rouse_streq(verdict, rouse_verdict_word(ROUSE_READY)))
		return "\033[1;32m";
	return rouse_streq(verdict, rouse_verdict_word(ROUSE_FAILED)) ? "\033[1;31m" : "\033[1;33m";
}

static void print_status(const struct options *o, const json_t *status)
{
	auto_buf struct rouse_buf out = { 0 };
	struct rouse_report report = { 0 };
	struct rouse_err ignored = { 0 };
	const char *verdict = string_at(status, "verdict");
	bool colour = rouse_use_colour();

	rouse_buf_printf(&out, "%s%s%s", colour ? colour_of(status) : "",
			 verdict ? verdict : "unknown", colour ? "\033[0m" : "");
	print_since(status, &out);
	rouse_buf_printf(&out, "\n");
	if (verdict_is_pending(status))
		print_line(&out, "phase", string_at(status, "phase"));
	print_line(&out, "step", string_at(status, "step"));
	print_line(&out, "now", string_at(status, "now"));
	print_line(&out, "reason", string_at(status, "reason"));
	print_line(&out, "do", string_at(status, "advice"));
	/* While the boot runs there may be no report yet; the status stands on its own. */
	if (rouse_report_load(&report, o->run, &ignored) == 0)
		print_report(&out, report.json);
	rouse_report_done(&report);
	(void)fputs(out.data, stdout);
}

int rouse_cmd_status(int argc, char **argv, struct rouse_err *e)
{
	auto_json json_t *status = NULL;
	auto_free char *text = NULL;
	struct options o;

	if (parse(&o, argc, argv, e) < 0)
		return -1;
	if (o.wait) {
		if (verdict_wait(o.run, o.timeout, &status, e) < 0)
			return -1;
	} else {
		status = verdict_load(o.run, e);
	}
	if (!status && e->sys == ENOENT)
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "rouse did not boot this machine: '%s/status.json' is missing",
				  o.run);
	if (!status)
		return -1;
	if (o.json)
		(void)fputs(text = rouse_json_print(status), stdout);
	else
		print_status(&o, status);
	e->text[0] = '\0'; /* said already */
	e->kind = verdict_is_pending(status)
			  ? ROUSE_UNAVAILABLE
			  : (enum rouse_kind)json_integer_value(json_object_get(status, "status"));
	return e->kind == ROUSE_OK ? 0 : -1;
}
