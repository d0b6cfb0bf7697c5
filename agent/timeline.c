/* SPDX-License-Identifier: Apache-2.0 */
/* Draws an analysis as an SVG: one row a span, time to the right; no script, no outside resource. */
#include "analysis.h"

#include <string.h>

#include <rouse/text.h>

#define WIDTH 1200
#define LABELS 340 /* columns of the names */
#define RIGHT 90   /* room for the duration behind the last bar */
#define TOP 116
#define ROW 22
#define BAR 14
#define LEGEND 44

struct drawing {
	const struct rouse_analysis *a;
	struct rouse_buf *out;
	uint64_t whole; /* ms that the width stands for */
	uint64_t tick;
};

/* What comes from documents and metadata is text, never markup. */
static void put_text(struct rouse_buf *out, const char *s, size_t max)
{
	size_t n = 0;

	for (; *s && n < max; s++) {
		bool follows = ((unsigned char)*s & 0xc0) == 0x80;

		if (*s == '<')
			rouse_buf_printf(out, "&lt;");
		else if (*s == '>')
			rouse_buf_printf(out, "&gt;");
		else if (*s == '&')
			rouse_buf_printf(out, "&amp;");
		else if ((unsigned char)*s < 0x20)
			rouse_buf_printf(out, " ");
		else
			rouse_buf_printf(out, "%c", *s);
		n += !follows;
	}
	while (((unsigned char)*s & 0xc0) == 0x80) /* the rest of the last character */
		rouse_buf_printf(out, "%c", *s++);
	if (*s)
		rouse_buf_printf(out, "…");
}

/* 1, 2 or 5 times a power of ten, so that 8 to 20 ticks fit. */
static uint64_t tick_of(uint64_t whole)
{
	static const unsigned steps[] = { 1, 2, 5 };

	for (uint64_t scale = 10;; scale *= 10)
		for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
			if (whole / (scale * steps[i]) <= 12)
				return scale * steps[i];
}

static double x_of(const struct drawing *d, uint64_t ms)
{
	return LABELS + (double)ms * (WIDTH - LABELS - RIGHT) / (double)d->whole;
}

static void draw_axis(const struct drawing *d, int bottom)
{
	for (uint64_t t = 0; t <= d->whole; t += d->tick) {
		double x = x_of(d, t);

		rouse_buf_printf(
			d->out,
			"<line class=\"grid\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>\n", x,
			TOP - 6, x, bottom);
		rouse_buf_printf(d->out, "<text class=\"tick\" x=\"%.1f\" y=\"%d\">", x, TOP - 12);
		if (d->tick < 1000)
			rouse_buf_printf(d->out, "%.*f s</text>\n", d->tick < 100 ? 2 : 1,
					 (double)t / 1000);
		else
			rouse_buf_printf(d->out, "%llu s</text>\n", (unsigned long long)(t / 1000));
	}
}

static const char *class_of(const struct rouse_span *s)
{
	static const char *const classes[] = { [ROUSE_SPAN_GAP] = "gap",
					       [ROUSE_SPAN_PHASE] = "phase",
					       [ROUSE_SPAN_STEP] = "step",
					       [ROUSE_SPAN_CHECK] = "check" };

	return s->failed ? "bad" : classes[s->kind];
}

/* The bar, and in it, darker, the share of it in which a CPU was busy for the agent. */
static void draw_bar(const struct drawing *d, const struct rouse_span *s, int y)
{
	double x = x_of(d, s->start), width = x_of(d, s->end) - x, busy = 0;
	uint64_t took = s->end - s->start;

	if (width < 1.5)
		width = 1.5;
	rouse_buf_printf(
		d->out,
		"<rect class=\"%s\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\" rx=\"2\"/>\n",
		class_of(s), x, y, width, BAR);
	if (s->cpu > 0 && took)
		busy = (double)s->cpu / (double)took;
	if (busy > 0)
		rouse_buf_printf(
			d->out,
			"<rect class=\"cpu\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"4\"/>\n",
			x, y + BAR - 4, width * (busy < 1 ? busy : 1));
}

static void draw_span(const struct drawing *d, const struct rouse_span *s, int y)
{
	bool sub = s->kind == ROUSE_SPAN_STEP || s->kind == ROUSE_SPAN_CHECK;
	char took[24], cpu[24];

	(void)rouse_print_duration(took, s->end - s->start);
	rouse_buf_printf(d->out, "<g><title>");
	put_text(d->out, s->name, 400);
	rouse_buf_printf(d->out, ": %s", took);
	if (s->cpu >= 0)
		rouse_buf_printf(d->out, ", %s CPU", rouse_print_duration(cpu, (uint64_t)s->cpu));
	rouse_buf_printf(d->out, "%s</title>\n<text class=\"%s\" x=\"%d\" y=\"%d\">",
			 s->failed ? ", failed" : "", sub ? "sub" : "name", sub ? 36 : 20,
			 y + BAR - 3);
	put_text(d->out, s->label, sub ? 43 : 40);
	rouse_buf_printf(d->out, "</text>\n");
	draw_bar(d, s, y);
	rouse_buf_printf(d->out, "<text class=\"took\" x=\"%.1f\" y=\"%d\">%s</text></g>\n",
			 x_of(d, s->end) + 6, y + BAR - 3, took);
}

/* Why it is not ready; else what was pulled, and how fast. */
static void draw_reason(const struct drawing *d, const json_t *report)
{
	const char *reason = json_string_value(json_object_get(report, "reason"));
	json_int_t bytes = json_integer_value(
		json_object_get(json_object_get(report, "counters"), "closure.bytes"));
	uint64_t rate = bytes > 0 ? rouse_analysis_rate(d->a, "closure.bytes", (uint64_t)bytes) : 0;
	char size[16], per_second[16];

	if (reason) {
		rouse_buf_printf(d->out, "<text class=\"why\" x=\"20\" y=\"74\">");
		put_text(d->out, reason, 160);
		rouse_buf_printf(d->out, "</text>\n");
	} else if (rate) {
		rouse_buf_printf(
			d->out, "<text class=\"note\" x=\"20\" y=\"74\">closure: %s, %s/s</text>\n",
			rouse_print_size(size, (uint64_t)bytes),
			rouse_print_size(per_second, rate));
	}
}

static void draw_head(const struct drawing *d, const json_t *report, int height)
{
	static const char style[] =
		"text{font:12px system-ui,\"DejaVu Sans\",sans-serif;fill:#1f2933}"
		".title{font-size:18px;font-weight:600}.note,.tick,.took,.sub{fill:#52606d}"
		".tick{font-size:11px;text-anchor:middle}.took{font-size:11px}.name{font-weight:"
		"600}"
		".grid{stroke:#e4e7eb}.gap{fill:#cbd2d9}.phase{fill:#4c8fd6}.step{fill:#9cc5f0}"
		".check{fill:#7bc47f}.bad{fill:#e0524d}.why{fill:#ab2b26}.cpu{fill:#1b3a5c}.end{"
		"stroke-width:1.5}";
	const char *id = json_string_value(
		json_object_get(json_object_get(report, "instance"), "id"));
	const struct rouse_analysis *a = d->a;
	char at[24], cpu[24], before[24];

	rouse_buf_printf(d->out,
			 "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
			 "viewBox=\"0 0 %d %d\">\n<style>%s</style>\n"
			 "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n"
			 "<text class=\"title\" x=\"20\" y=\"32\">",
			 WIDTH, height, WIDTH, height, style);
	put_text(d->out, id && *id ? id : "this machine", 80);
	if (a->verdict_at)
		rouse_buf_printf(d->out, ": %s after %s", a->verdict,
				 rouse_print_duration(at, a->verdict_at));
	rouse_buf_printf(d->out,
			 "</text>\n<text class=\"note\" x=\"20\" y=\"54\">%s before rouse, %s CPU "
			 "of rouse and "
			 "its programs; time since the kernel started</text>\n",
			 rouse_print_duration(before, a->before),
			 rouse_print_duration(cpu, a->cpu));
	draw_reason(d, report);
}

static void draw_legend(const struct drawing *d, int y)
{
	static const struct {
		const char *class, *text;
	} items[] = { { "gap", "kernel, init" }, { "phase", "phase" },
		      { "step", "step" },        { "check", "health check" },
		      { "bad", "failed" },       { "cpu", "CPU busy (share)" } };

	for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
		int x = LABELS + (int)i * 130;

		rouse_buf_printf(
			d->out,
			"<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"14\" height=\"%d\" rx=\"2\"/>"
			"<text class=\"note\" x=\"%d\" y=\"%d\">%s</text>\n",
			items[i].class, x, y, strcmp(items[i].class, "cpu") == 0 ? 4 : BAR, x + 20,
			y + BAR - 3, items[i].text);
	}
}

static void draw_verdict(const struct drawing *d, int bottom)
{
	bool ready = rouse_streq(d->a->verdict, "ready");
	double x = x_of(d, d->a->verdict_at);

	if (d->a->verdict_at && d->a->verdict_at <= d->whole)
		rouse_buf_printf(d->out,
				 "<line class=\"end\" stroke=\"%s\" stroke-dasharray=\"4 3\" "
				 "x1=\"%.1f\" y1=\"%d\" "
				 "x2=\"%.1f\" y2=\"%d\"/>\n",
				 ready ? "#2f8132" : "#ab2b26", x, TOP - 6, x, bottom);
}

void rouse_analysis_svg(const struct rouse_analysis *a, const json_t *report, struct rouse_buf *out)
{
	struct drawing d = { .a = a, .out = out, .whole = a->total ? a->total : 1 };
	int bottom = TOP + (int)a->n * ROW + 4;

	if (a->verdict_at > d.whole && a->verdict_at - d.whole < 1000)
		d.whole = a->verdict_at;
	d.tick = tick_of(d.whole);
	draw_head(&d, report, bottom + LEGEND);
	draw_axis(&d, bottom);
	for (size_t i = 0; i < a->n; i++)
		draw_span(&d, &a->spans[i], TOP + (int)i * ROW);
	draw_verdict(&d, bottom);
	draw_legend(&d, bottom + 16);
	rouse_buf_printf(out, "</svg>\n");
}
