/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <getopt.h>
#include <langinfo.h>
#include <locale.h>
#include <string.h>

#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/metrics.h>
#include <rouse/text.h>

#include "analysis.h"

#define REPORT "/run/rouse/report.json"
#define BAR_WIDTH 24
#define MIN_NAME 24

struct options {
	const char *report, *svg, *metrics;
	bool json, all;
};

static int parse(struct options *o, int argc, char **argv, struct rouse_err *e)
{
	static const struct option options[] = { { "report", required_argument, NULL, 'r' },
						 { "svg", required_argument, NULL, 's' },
						 { "prometheus", required_argument, NULL, 'p' },
						 { "json", no_argument, NULL, 'j' },
						 { "all", no_argument, NULL, 'a' },
						 { 0 } };
	int c;

	*o = (struct options){ .report = REPORT };
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'r')
			o->report = optarg;
		else if (c == 's')
			o->svg = optarg;
		else if (c == 'p')
			o->metrics = optarg;
		else if (c == 'j')
			o->json = true;
		else if (c == 'a')
			o->all = true;
		else
			return rouse_usage(e, "unknown option '%s'", argv[optind - 1]);
	}
	if (optind < argc)
		return rouse_usage(e, "expected no argument, found '%s'", argv[optind]);
	return 0;
}

static json_t *load(const char *path, struct rouse_err *e)
{
	auto_buf struct rouse_buf text = { 0 };
	auto_json json_t *json = NULL;

	if (rouse_read_file(path, ROUSE_MAX_FACTS, &text, e) < 0) {
		if (e->sys == ENOENT && rouse_streq(path, REPORT))
			(void)rouse_fail(e, ROUSE_SYSTEM, 0,
					 "rouse did not boot this machine: '%s' is missing", path);
		return NULL;
	}
	json = rouse_json_parse(path, text.data ? text.data : "", text.len, e);
	if (json && !json_is_array(json_object_get(json, "phases"))) {
		(void)rouse_fail(e, ROUSE_DOCUMENT, 0, "'%s' is not a report of rouse", path);
		return NULL;
	}
	return take(json, NULL);
}

/* How the table is drawn: block characters only where a terminal will show them as such. */
struct style {
	bool utf8, colour;
	int name; /* columns of the name */
};

static struct style find_style(void)
{
	struct style s = { .name = 44 };
	size_t columns = rouse_columns();

	(void)setlocale(LC_CTYPE, "");
	s.utf8 = isatty(STDOUT_FILENO) && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	s.colour = rouse_use_colour();
	if (columns)
		s.name = (int)columns - BAR_WIDTH - 34;
	if (s.name < MIN_NAME)
		s.name = MIN_NAME;
	if (s.name > 64)
		s.name = 64;
	return s;
}

/* Where in the boot it was: eighths of a column as U+2588…U+258F, or '#' rounded to whole columns. */
static void print_bar(struct rouse_buf *out, const struct style *s, uint64_t start, uint64_t part,
		      uint64_t whole)
{
	uint64_t eighths = whole ? part * BAR_WIDTH * 8 / whole : 0;
	char block[] = "\xe2\x96\x88";

	if (part && !eighths)
		eighths = 1;
	rouse_buf_printf(out, "%*s", whole ? (int)(start * BAR_WIDTH / whole) : 0, "");
	if (!s->utf8) {
		for (uint64_t i = 0; i < (eighths + 7) / 8; i++)
			rouse_buf_printf(out, "#");
		return;
	}
	for (uint64_t i = 0; i < eighths / 8; i++)
		rouse_buf_printf(out, "%s", block);
	block[2] = (char)(0x88 + (8 - eighths % 8));
	if (eighths % 8)
		rouse_buf_printf(out, "%s", block);
}

/* A name cut to `width` characters (not bytes), padded. */
static void print_name(struct rouse_buf *out, const char *name, int indent, int width)
{
	const char *p = name;
	int room = width - indent, n = 0;

	while (*p && n < room) {
		for (p++; ((unsigned char)*p & 0xc0) == 0x80;)
			p++;
		n++;
	}
	if (*p) { /* the last two characters become ".." */
		for (int i = 0; i < 2 && p > name; i++)
			for (p--; p > name && ((unsigned char)*p & 0xc0) == 0x80;)
				p--;
		rouse_buf_printf(out, "%*s%.*s..", indent, "", (int)(p - name), name);
		return;
	}
	rouse_buf_printf(out, "%*s%s%*s", indent, "", name, room - n, "");
}

static void print_span(struct rouse_buf *out, const struct style *style,
		       const struct rouse_analysis *a, const struct rouse_span *s)
{
	static const char *const colours[] = { [ROUSE_SPAN_GAP] = "\033[2m",
					       [ROUSE_SPAN_PHASE] = "\033[1m",
					       [ROUSE_SPAN_STEP] = "",
					       [ROUSE_SPAN_CHECK] = "" };
	bool sub = s->kind == ROUSE_SPAN_STEP || s->kind == ROUSE_SPAN_CHECK;
	char start[24], took[24], cpu[24] = "";
	const char *colour = s->failed ? "\033[31m" : colours[s->kind];

	if (s->cpu >= 0)
		(void)rouse_print_duration(cpu, (uint64_t)s->cpu);
	rouse_buf_printf(out, "%s", style->colour ? colour : "");
	print_name(out, s->label, sub ? 2 : 0, style->name);
	rouse_buf_printf(out, " %9s %9s %9s  ", rouse_print_duration(start, s->start),
			 rouse_print_duration(took, s->end - s->start), cpu);
	print_bar(out, style, s->start, s->end - s->start, a->total);
	rouse_buf_printf(out, "%s%s\n", s->failed ? " failed" : "", style->colour ? "\033[0m" : "");
}

static bool counts_bytes(const char *name)
{
	size_t n = strlen(name);

	return n >= 5 && strcasecmp(name + n - 5, "bytes") == 0;
}

static void print_counter(struct rouse_buf *out, const struct rouse_analysis *a, const char *name,
			  uint64_t value)
{
	uint64_t rate = rouse_analysis_rate(a, name, value);
	char size[16], per_second[16];

	if (!counts_bytes(name)) {
		rouse_buf_printf(out, "%-32s %12llu\n", name, (unsigned long long)value);
		return;
	}
	rouse_buf_printf(out, "%-32s %12s", name, rouse_print_size(size, value));
	if (rate)
		rouse_buf_printf(out, " %12s/s", rouse_print_size(per_second, rate));
	rouse_buf_printf(out, "\n");
}

static void print_summary(struct rouse_buf *out, const struct rouse_analysis *a,
			  const json_t *report)
{
	json_int_t rss = json_integer_value(json_object_get(report, "peakRss"));
	char total[24], before[24], cpu[24], at[24], size[16];

	if (a->verdict_at)
		rouse_buf_printf(out, "%s after %s", a->verdict,
				 rouse_print_duration(at, a->verdict_at));
	else
		rouse_buf_printf(out, "no verdict after %s", rouse_print_duration(total, a->total));
	rouse_buf_printf(out, "; %s before rouse, %s CPU of rouse and its programs",
			 rouse_print_duration(before, a->before),
			 rouse_print_duration(cpu, a->cpu));
	if (rss > 0)
		rouse_buf_printf(out, ", at most %s memory",
				 rouse_print_size(size, (uint64_t)rss * KIB));
	rouse_buf_printf(out, "\n\n");
}

/* A step that nobody looks for when he asks where the time went: under a hundredth of the boot. */
static bool is_short(const struct rouse_analysis *a, const struct rouse_span *s)
{
	return s->kind == ROUSE_SPAN_STEP && !s->failed && (s->end - s->start) * 100 < a->total;
}

/* Prints the spans from `i` on that are one line of the table; returns how many. */
static size_t print_line(struct rouse_buf *out, const struct style *style,
			 const struct rouse_analysis *a, size_t i, bool all)
{
	struct rouse_span sum = a->spans[i];
	char label[40];
	size_t n = 1;

	while (!all && is_short(a, &sum) && i + n < a->n && is_short(a, &a->spans[i + n]))
		n++;
	if (n > 1) {
		(void)snprintf(label, sizeof(label), "%zu short steps", n);
		sum.label = label;
		sum.end = a->spans[i + n - 1].end;
		for (size_t k = 1; k < n && sum.cpu >= 0; k++)
			sum.cpu = a->spans[i + k].cpu < 0 ? -1 : sum.cpu + a->spans[i + k].cpu;
	}
	print_span(out, style, a, &sum);
	return n;
}

static void print_table(const struct rouse_analysis *a, const json_t *report, bool all)
{
	const struct style style = find_style();
	auto_buf struct rouse_buf out = { 0 };
	const char *name;
	json_t *value;

	print_summary(&out, a, report);
	print_name(&out, "", 0, style.name);
	rouse_buf_printf(&out, " %9s %9s %9s\n", "start", "took", "cpu");
	for (size_t i = 0; i < a->n;)
		i += print_line(&out, &style, a, i, all);
	if (json_object_size(json_object_get(report, "counters")))
		rouse_buf_printf(&out, "\n");
	json_object_foreach (json_object_get(report, "counters"), name, value)
		if (json_is_integer(value) && json_integer_value(value) >= 0)
			print_counter(&out, a, name, (uint64_t)json_integer_value(value));
	(void)fputs(out.data, stdout);
}

static json_t *span_json(const struct rouse_span *s)
{
	static const char *const kinds[] = { [ROUSE_SPAN_GAP] = "gap",
					     [ROUSE_SPAN_PHASE] = "phase",
					     [ROUSE_SPAN_STEP] = "step",
					     [ROUSE_SPAN_CHECK] = "check" };
	json_t *j = json_object();

	rouse_json_set_string(j, "kind", kinds[s->kind]);
	rouse_json_set_string(j, "name", s->name);
	rouse_json_set_string(j, "module", s->module);
	rouse_json_set_int(j, "start", s->start);
	rouse_json_set_int(j, "took", s->end - s->start);
	if (s->cpu >= 0)
		rouse_json_set_int(j, "cpu", (uint64_t)s->cpu);
	rouse_json_set_bool(j, "ok", !s->failed);
	return j;
}

static json_t *rates_json(const struct rouse_analysis *a, const json_t *counters)
{
	json_t *rates = json_object(), *value;
	const char *name;

	json_object_foreach ((json_t *)counters, name, value) {
		json_int_t n = json_integer_value(value);
		uint64_t rate = n > 0 ? rouse_analysis_rate(a, name, (uint64_t)n) : 0;

		if (counts_bytes(name) && rate)
			rouse_json_set_int(rates, name, rate);
	}
	return rates;
}

static void print_json(const struct rouse_analysis *a, const json_t *report)
{
	json_t *counters = json_object_get(report, "counters");
	json_t *rss = json_object_get(report, "peakRss");
	auto_json json_t *j = json_object();
	auto_free char *text = NULL;
	json_t *spans = json_array();

	rouse_json_set_string(j, "verdict", a->verdict);
	if (a->verdict_at)
		rouse_json_set_int(j, "verdictAt", a->verdict_at);
	rouse_json_set_int(j, "total", a->total);
	rouse_json_set_int(j, "beforeRouse", a->before);
	rouse_json_set_int(j, "cpu", a->cpu);
	if (rss)
		rouse_json_set(j, "peakRss", json_incref(rss));
	for (size_t i = 0; i < a->n; i++)
		rouse_json_append(spans, span_json(&a->spans[i]));
	rouse_json_set(j, "spans", spans);
	if (counters)
		rouse_json_set(j, "counters", json_incref(counters));
	rouse_json_set(j, "bytesPerSecond", rates_json(a, counters));
	text = rouse_json_print(j);
	(void)fputs(text, stdout);
}

static int write_files(const struct options *o, const struct rouse_analysis *a,
		       const json_t *report, struct rouse_err *e)
{
	auto_buf struct rouse_buf svg = { 0 }, metrics = { 0 };

	if (o->svg) {
		rouse_analysis_svg(a, report, &svg);
		if (rouse_write_file(o->svg, svg.data, svg.len, 0644, e) < 0)
			return rouse_wrap(e, "--svg");
	}
	if (!o->metrics)
		return 0;
	rouse_metrics(report, &metrics);
	if (rouse_write_file(o->metrics, metrics.data, metrics.len, 0644, e) < 0)
		return rouse_wrap(e, "--prometheus");
	return 0;
}

int rouse_cmd_analyze(int argc, char **argv, struct rouse_err *e)
{
	auto_arena struct rouse_arena arena = { 0 };
	auto_json json_t *report = NULL;
	struct rouse_analysis a;
	struct options o;

	if (parse(&o, argc, argv, e) < 0)
		return -1;
	report = load(o.report, e);
	if (!report)
		return -1;
	rouse_analyze(&a, report, &arena);
	if (write_files(&o, &a, report, e) < 0)
		return -1;
	if (o.json)
		print_json(&a, report);
	else
		print_table(&a, report, o.all);
	return 0;
}
