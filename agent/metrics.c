/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/metrics.h>

#include <string.h>

#include <rouse/report.h>
#include <rouse/text.h>

static const char *string_at(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

static double seconds(const json_t *object, const char *key)
{
	return (double)json_integer_value(json_object_get(object, key)) / 1000;
}

static double took(const json_t *span)
{
	double start = seconds(span, "start"), end = seconds(span, "end");

	return end > start ? end - start : 0;
}

static void head(struct rouse_buf *out, const char *name, const char *help)
{
	rouse_buf_printf(out, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
}

/* In a label's value backslash, quote and end of line are escaped; nothing else. */
static void label(struct rouse_buf *out, char before, const char *name, const char *value)
{
	rouse_buf_printf(out, "%c%s=\"", before, name);
	for (const char *p = value; *p; p++)
		if (*p == '\n')
			rouse_buf_printf(out, "\\n");
		else
			rouse_buf_printf(out, "%s%c", *p == '"' || *p == '\\' ? "\\" : "", *p);
	rouse_buf_printf(out, "\"");
}

static void one(struct rouse_buf *out, const char *name, const char *help, double value)
{
	head(out, name, help);
	rouse_buf_printf(out, "%s %.15g\n", name, value);
}

static void labelled(struct rouse_buf *out, const char *name, const char *key, const char *of,
		     double value)
{
	rouse_buf_printf(out, "%s", name);
	label(out, '{', key, of);
	rouse_buf_printf(out, "} %.15g\n", value);
}

static void put_info(const json_t *report, struct rouse_buf *out)
{
	const json_t *instance = json_object_get(report, "instance");

	head(out, "rouse_info", "Who booted what.");
	rouse_buf_printf(out, "rouse_info");
	label(out, '{', "version", string_at(report, "version"));
	label(out, ',', "instance_id", string_at(instance, "id"));
	label(out, ',', "cloud", string_at(instance, "cloud"));
	label(out, ',', "document", string_at(json_object_get(report, "document"), "sha256"));
	rouse_buf_printf(out, "} 1\n");
}

static void put_verdict(const json_t *report, struct rouse_buf *out)
{
	const char *is = string_at(report, "verdict");

	head(out, "rouse_verdict", "1 for the verdict of this boot.");
	for (unsigned v = 0; v < ROUSE_VERDICTS_; v++)
		labelled(out, "rouse_verdict", "verdict", rouse_verdict_word((enum rouse_verdict)v),
			 rouse_streq(is, rouse_verdict_word((enum rouse_verdict)v)));
	one(out, "rouse_exit_status", "Exit status of the boot: 0 ok, 3 degraded, else failed.",
	    (double)json_integer_value(json_object_get(report, "status")));
	one(out, "rouse_verdict_seconds", "From the start of the kernel to the verdict.",
	    seconds(report, "since"));
	one(out, "rouse_changes", "What this boot changed, in steps.",
	    (double)json_integer_value(json_object_get(report, "changes")));
	one(out, "rouse_memory_peak_bytes", "Highest resident size of the agent.",
	    (double)json_integer_value(json_object_get(report, "peakRss")) * 1024);
}

static void put_phases(const json_t *report, struct rouse_buf *out)
{
	const json_t *phase;
	size_t i;

	head(out, "rouse_phase_seconds", "How long each phase took.");
	json_array_foreach (json_object_get(report, "phases"), i, phase)
		labelled(out, "rouse_phase_seconds", "phase", string_at(phase, "name"),
			 took(phase));
	head(out, "rouse_phase_cpu_seconds",
	     "CPU time of the agent and its programs in each phase.");
	json_array_foreach (json_object_get(report, "phases"), i, phase)
		labelled(out, "rouse_phase_cpu_seconds", "phase", string_at(phase, "name"),
			 seconds(phase, "cpu"));
}

static void put_results(const json_t *report, struct rouse_buf *out)
{
	const json_t *item;
	size_t i;

	head(out, "rouse_check_ok", "1 for a health check that passed.");
	json_array_foreach (json_object_get(report, "checks"), i, item)
		labelled(out, "rouse_check_ok", "check", string_at(item, "name"),
			 json_is_true(json_object_get(item, "ok")));
	head(out, "rouse_check_seconds", "How long each health check took to pass.");
	json_array_foreach (json_object_get(report, "checks"), i, item)
		labelled(out, "rouse_check_seconds", "check", string_at(item, "name"), took(item));
}

static void put_counters(const json_t *report, struct rouse_buf *out)
{
	const char *name;
	json_t *value;

	head(out, "rouse_counter", "What the phases counted.");
	json_object_foreach (json_object_get(report, "counters"), name, value)
		if (json_is_integer(value))
			labelled(out, "rouse_counter", "name", name,
				 (double)json_integer_value(value));
}

void rouse_metrics(const json_t *report, struct rouse_buf *out)
{
	put_info(report, out);
	put_verdict(report, out);
	put_phases(report, out);
	put_results(report, out);
	put_counters(report, out);
}
