/* SPDX-License-Identifier: Apache-2.0 */
#include "analysis.h"

#include <string.h>

#include <rouse/text.h>

/* Gaps shorter than this are the agent's own bookkeeping. */
#define SHORTEST_GAP 20

static uint64_t number(const json_t *object, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(object, key));

	return n > 0 ? (uint64_t)n : 0;
}

static const char *string_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* "/nix/store/<hash>-name" tells a person "name". */
static const char *shorten(struct rouse_arena *arena, const char *name)
{
	static const char store[] = "/nix/store/";
	const size_t prefix = sizeof(store) - 1 + 32 + 1; /* a hash is 32 digits, then "-" */
	auto_buf struct rouse_buf out = { 0 };
	const char *at;

	for (; (at = strstr(name, store)); name = at + prefix) {
		if (strnlen(at, prefix) < prefix || at[prefix - 1] != '-')
			break;
		rouse_buf_printf(&out, "%.*s", (int)(at - name), name);
	}
	rouse_buf_printf(&out, "%s", name);
	return rouse_arena_strdup(arena, out.data);
}

static struct rouse_span *add(struct rouse_analysis *a, enum rouse_span_kind kind, const char *name,
			      uint64_t start, uint64_t end)
{
	struct rouse_span *s = &a->spans[a->n++];

	*s = (struct rouse_span){ .kind = kind,
				  .name = name ? name : "?",
				  .start = start,
				  .end = end < start ? start : end,
				  .cpu = -1 };
	if (s->end > a->total)
		a->total = s->end;
	return s;
}

/* A span without an end was open when the report was written: the boot died in it. */
static struct rouse_span *add_json(struct rouse_analysis *a, enum rouse_span_kind kind,
				   const json_t *json, const char *name, uint64_t last)
{
	const json_t *cpu = json_object_get(json, "cpu"), *end = json_object_get(json, "end");
	struct rouse_span *s = add(a, kind, name, number(json, "start"),
				   json_is_integer(end) ? number(json, "end") : last);

	s->module = string_at(json, "module");
	if (json_is_integer(cpu))
		s->cpu = (int64_t)number(json, "cpu");
	s->failed = !json_is_integer(end) || json_is_false(json_object_get(json, "ok"));
	return s;
}

static const char *gap_name(const struct rouse_analysis *a, const char *next)
{
	if (a->n == 0)
		return "before rouse";
	return rouse_streq(next, "health") ? "init starts" : "between";
}

static size_t count(const json_t *report)
{
	const json_t *phases = json_object_get(report, "phases"), *phase;
	size_t n = json_array_size(json_object_get(report, "checks")), i;

	json_array_foreach ((json_t *)phases, i, phase)
		n += 2 + json_array_size(json_object_get(phase, "steps"));
	return n;
}

void rouse_analyze(struct rouse_analysis *ret, const json_t *report, struct rouse_arena *arena)
{
	const json_t *phases = json_object_get(report, "phases"), *phase, *item;
	uint64_t last = 0, since = number(report, "since");
	size_t i, j;

	*ret = (struct rouse_analysis){ .verdict = string_at(report, "verdict") };
	if (ret->verdict && strcmp(ret->verdict, "pending") != 0)
		ret->verdict_at = since;
	ret->spans = rouse_arena_alloc(arena, (count(report) + 1) * sizeof(*ret->spans));
	json_array_foreach ((json_t *)phases, i, phase) {
		const char *name = string_at(phase, "name");
		uint64_t start = number(phase, "start");
		struct rouse_span *s;

		if (start > last && start - last >= SHORTEST_GAP)
			(void)add(ret, ROUSE_SPAN_GAP, gap_name(ret, name), last, start);
		if (i == 0)
			ret->before = start;
		s = add_json(ret, ROUSE_SPAN_PHASE, phase, name, since);
		last = s->end;
		ret->cpu += s->cpu > 0 ? (uint64_t)s->cpu : 0;
		json_array_foreach (json_object_get(phase, "steps"), j, item)
			(void)add_json(ret, ROUSE_SPAN_STEP, item, string_at(item, "what"), last);
	}
	json_array_foreach (json_object_get(report, "checks"), j, item)
		(void)add_json(ret, ROUSE_SPAN_CHECK, item, string_at(item, "name"), last);
	for (i = 0; i < ret->n; i++)
		ret->spans[i].label = shorten(arena, ret->spans[i].name);
}

static bool is_of(const struct rouse_span *s, const char *module, size_t n)
{
	return s->kind == ROUSE_SPAN_STEP && s->module && strlen(s->module) == n &&
	       strncmp(s->module, module, n) == 0;
}

uint64_t rouse_analysis_rate(const struct rouse_analysis *a, const char *counter, uint64_t value)
{
	size_t n = strcspn(counter, ".");
	uint64_t time = 0;

	for (size_t i = 0; i < a->n; i++)
		if (is_of(&a->spans[i], counter, n))
			time += a->spans[i].end - a->spans[i].start;
	return time && value < UINT64_MAX / 1000 ? value * 1000 / time : 0;
}
