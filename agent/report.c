/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/report.h>

#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <rouse/clock.h>
#include <rouse/document.h>
#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/mem.h>
#include <rouse/module.h>
#include <rouse/plan.h>
#include <rouse/text.h>

static const char *const verdict_words[] = {
	[ROUSE_PENDING] = "pending",
	[ROUSE_READY] = "ready",
	[ROUSE_FALLBACK] = "degraded",
	[ROUSE_FAILED] = "failed",
};
_Static_assert(ARRAY_SIZE(verdict_words) == ROUSE_VERDICTS_, "a word for each verdict");

static const char *const effect_words[] = {
	[ROUSE_CREATE] = "create",
	[ROUSE_CHANGE] = "change",
	[ROUSE_DESTROY] = "destroy",
	[ROUSE_USE] = "use",
};
_Static_assert(ARRAY_SIZE(effect_words) == ROUSE_EFFECTS_, "a word for each effect");

const char *rouse_verdict_word(enum rouse_verdict v)
{
	return v < ROUSE_VERDICTS_ ? verdict_words[v] : "failed";
}

static const char *string_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

bool rouse_report_is_final(const struct rouse_report *r)
{
	const char *word = string_at(r->json, "verdict");

	return word && strcmp(word, rouse_verdict_word(ROUSE_PENDING)) != 0;
}

int rouse_report_begin(struct rouse_report *r, const char *dir, struct rouse_err *e)
{
	if (dir && mkdir(dir, 0755) < 0 && errno != EEXIST)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make directory '%s'", dir);

	*r = (struct rouse_report){ .json = json_object(), .dir = dir };
	rouse_json_set_int(r->json, "rouse", 1);
	rouse_json_set_string(r->json, "version", ROUSE_VERSION);
	rouse_json_set_string(r->json, "verdict", rouse_verdict_word(ROUSE_PENDING));
	rouse_json_set_int(r->json, "status", ROUSE_OK);
	rouse_json_set_string(r->json, "word", rouse_kind_word(ROUSE_OK));
	rouse_json_set(r->json, "reason", json_null());
	rouse_json_set_int(r->json, "since", rouse_clock_ms());
	rouse_json_set(r->json, "instance", json_object());
	rouse_json_set(r->json, "document", json_object());
	rouse_json_set(r->json, "phases", json_array());
	rouse_json_set(r->json, "counters", json_object());
	rouse_json_set(r->json, "checks", json_array());
	rouse_json_set(r->json, "signals", json_array());
	rouse_json_set_int(r->json, "peakRss", 0);
	return 0;
}

int rouse_report_load(struct rouse_report *r, const char *dir, struct rouse_err *e)
{
	auto_free char *path = rouse_asprintf("%s/report.json", dir);
	auto_buf struct rouse_buf text = { 0 };
	auto_json json_t *json = NULL;

	if (rouse_read_file(path, ROUSE_MAX_FACTS, &text, e) < 0)
		return -1;
	json = rouse_json_parse(path, text.data ? text.data : "", text.len, e);
	if (!json)
		return -1;
	if (json_integer_value(json_object_get(json, "rouse")) != 1 ||
	    !json_is_array(json_object_get(json, "phases")) || !string_at(json, "verdict"))
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "'%s' is not a report of rouse", path);
	*r = (struct rouse_report){ .json = take(json, NULL), .dir = dir };
	return 0;
}

/* The last one of a list that has not ended. */
static json_t *find_open(const json_t *list)
{
	json_t *last = json_array_get(list, json_array_size(list) - 1);

	return json_object_get(last, "end") ? NULL : last;
}

const char *rouse_report_reenter(struct rouse_report *r)
{
	r->phase = find_open(json_object_get(r->json, "phases"));
	r->step = find_open(json_object_get(r->phase, "steps"));
	return string_at(r->phase, "name");
}

int rouse_report_resume(struct rouse_report *r, const char *dir, struct rouse_err *e)
{
	if (rouse_report_load(r, dir, e) < 0)
		return -1;
	if (rouse_report_is_final(r)) { /* of an earlier try: this one did not come that far */
		rouse_report_done(r);
		return rouse_fail(e, ROUSE_BUG, 0, "the report in '%s' is closed", dir);
	}
	(void)rouse_report_reenter(r); /* it may have none */
	return 0;
}

void rouse_report_done(struct rouse_report *r)
{
	json_decref(r->json);
	free(r->now);
	*r = (struct rouse_report){ 0 };
}

/* The highest resident sizes so far, in KiB: the agent's own, and of the largest program it ran. */
static void note_memory(struct rouse_report *r)
{
	static const struct {
		const char *key;
		int who;
	} sizes[] = { { "peakRss", RUSAGE_SELF }, { "peakRssPrograms", RUSAGE_CHILDREN } };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		json_int_t before = json_integer_value(json_object_get(r->json, sizes[i].key));
		struct rusage u = { 0 };

		(void)getrusage(sizes[i].who, &u); /* cannot fail with these arguments */
		if (u.ru_maxrss > before)
			rouse_json_set_int(r->json, sizes[i].key, (uint64_t)u.ru_maxrss);
	}
}

/* The short live state: what `rouse status` and people with an editor look at first. */
static json_t *status_json(const struct rouse_report *r)
{
	static const char *const copied[] = { "rouse", "version", "verdict", "status", "word" };
	json_t *s = json_object(), *reason = json_object_get(r->json, "reason");
	json_int_t status = json_integer_value(json_object_get(r->json, "status"));
	const json_t *since;

	for (size_t i = 0; i < ARRAY_SIZE(copied); i++) {
		json_t *value = json_object_get(r->json, copied[i]);

		if (value)
			rouse_json_set(s, copied[i], json_incref(value));
	}
	if (!rouse_report_is_final(r) && r->phase)
		since = json_object_get(r->phase, "start");
	else
		since = json_object_get(r->json, "since");
	rouse_json_set_int(s, "since", (uint64_t)json_integer_value(since));
	rouse_json_set_string(s, "phase", string_at(r->phase, "name"));
	rouse_json_set_string(s, "step", string_at(r->step, "what"));
	rouse_json_set_string(s, "now", r->now);
	rouse_json_set(s, "reason", reason ? json_incref(reason) : json_null());
	rouse_json_set_string(s, "advice", rouse_kind_advice((enum rouse_kind)status));
	return s;
}

/* A report that cannot be written is no reason to fail a machine that works. */
static void write_json(const struct rouse_report *r, const char *path, const json_t *json)
{
	auto_free char *text = rouse_json_print(json);
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	struct rouse_err e = { 0 };

	if (rouse_root_open(&root, r->dir, &e) < 0 ||
	    rouse_fs_replace(&root, path, text, strlen(text), 0644, (uid_t)-1, (gid_t)-1, &e) < 0)
		rouse_log(ROUSE_LOG_WARNING, "report", "%s, ignoring", e.text);
}

static void write_status(const struct rouse_report *r)
{
	auto_json json_t *status = NULL;

	if (!r->dir)
		return;
	status = status_json(r);
	write_json(r, "/status.json", status);
}

/* The report goes first: who waits for the status then finds the report that belongs to it. */
void rouse_report_write(const struct rouse_report *r)
{
	if (!r->dir || !r->json)
		return;
	write_json(r, "/report.json", r->json);
	write_status(r);
}

void rouse_report_moved(struct rouse_report *r)
{
	(void)__atomic_add_fetch(&r->moves, 1, __ATOMIC_RELAXED);
}

void rouse_report_now(struct rouse_report *r, const char *what)
{
	rouse_report_moved(r);
	free(r->now);
	r->now = what ? rouse_strdup(what) : NULL;
	write_status(r);
}

static void forget_now(struct rouse_report *r)
{
	free(r->now);
	r->now = NULL;
}

static void end_span(json_t *span, uint64_t cpu_before, const struct rouse_err *e)
{
	rouse_json_set_int(span, "end", rouse_clock_ms());
	rouse_json_set_int(span, "cpu", rouse_clock_cpu_ms() - cpu_before);
	rouse_json_set_bool(span, "ok", !e);
	if (e)
		rouse_json_set_string(span, "error", e->text);
}

static json_t *add_phase(struct rouse_report *r, const char *name, uint64_t start)
{
	json_t *phase = json_object();

	rouse_json_set_string(phase, "name", name);
	rouse_json_set_int(phase, "start", start);
	rouse_json_set(phase, "steps", json_array());
	rouse_json_append(json_object_get(r->json, "phases"), phase);
	return phase;
}

void rouse_report_phase(struct rouse_report *r, const char *name)
{
	rouse_report_moved(r);
	if (r->phase)
		rouse_report_phase_end(r, NULL);
	r->phase = add_phase(r, name, rouse_clock_ms());
}

void rouse_report_past(struct rouse_report *r, const char *name, uint64_t start, uint64_t end,
		       uint64_t cpu)
{
	json_t *phase = add_phase(r, name, start);

	rouse_json_set_int(phase, "end", end);
	rouse_json_set_int(phase, "cpu", cpu);
	rouse_json_set_bool(phase, "ok", true);
	r->phase_cpu += cpu;
}

void rouse_report_phase_end(struct rouse_report *r, const struct rouse_err *e)
{
	if (!r->phase)
		return;
	if (r->step)
		rouse_report_step_end(r, e);
	end_span(r->phase, r->phase_cpu, e);
	r->phase_cpu = rouse_clock_cpu_ms();
	note_memory(r);
	forget_now(r);
	r->phase = NULL;
}

void rouse_report_step(struct rouse_report *r, const struct rouse_step *step)
{
	json_t *s = json_object();

	rouse_report_moved(r);
	if (!r->phase) /* a step outside of a phase has no place in the report */
		rouse_report_phase(r, "apply");
	if (r->step)
		rouse_report_step_end(r, NULL);
	rouse_json_set_string(s, "module", step->module ? step->module->name : NULL);
	if (step->effect < ROUSE_EFFECTS_)
		rouse_json_set_string(s, "effect", effect_words[step->effect]);
	rouse_json_set_string(s, "what", step->what);
	rouse_json_set_int(s, "start", rouse_clock_ms());
	rouse_json_append(json_object_get(r->phase, "steps"), s);
	r->step = s;
	r->step_cpu = rouse_clock_cpu_ms();
	write_status(r);
}

void rouse_report_step_end(struct rouse_report *r, const struct rouse_err *e)
{
	if (!r->step)
		return;
	end_span(r->step, r->step_cpu, e);
	forget_now(r);
	r->step = NULL;
}

void rouse_report_set(struct rouse_report *r, const char *key, json_t *value)
{
	rouse_json_set(r->json, key, value);
}

void rouse_report_verdict(struct rouse_report *r, enum rouse_verdict v, enum rouse_kind kind,
			  const char *reason)
{
	if (rouse_report_is_final(r))
		return;
	rouse_json_set_string(r->json, "verdict", rouse_verdict_word(v));
	rouse_json_set_int(r->json, "status", (uint64_t)kind);
	rouse_json_set_string(r->json, "word", rouse_kind_word(kind));
	rouse_json_set(r->json, "reason", json_null());
	rouse_json_set_string(r->json, "reason", reason);
	rouse_json_set_int(r->json, "since", rouse_clock_ms());
	note_memory(r);
}

void rouse_report_reopen(struct rouse_report *r)
{
	static const char *const ended[] = { "fault", "action", "hold", "announced" };

	rouse_json_set_string(r->json, "verdict", rouse_verdict_word(ROUSE_PENDING));
	rouse_json_set_int(r->json, "status", ROUSE_OK);
	rouse_json_set_string(r->json, "word", rouse_kind_word(ROUSE_OK));
	rouse_json_set(r->json, "reason", json_null());
	for (size_t i = 0; i < ARRAY_SIZE(ended); i++)
		(void)json_object_del(r->json, ended[i]); /* may be absent */
}

/* Values come from elsewhere (metadata, errors); one line stays one line, one word one word. */
static char *printable(const char *text, bool word)
{
	char *copy = rouse_strdup(text);

	rouse_one_line(copy);
	for (char *p = copy; word && *p; p++)
		if (*p == ' ')
			*p = '_';
	return copy;
}

char *rouse_report_console_line(const struct rouse_report *r)
{
	const char *id = string_at(json_object_get(r->json, "instance"), "id");
	const char *reason = string_at(r->json, "reason"), *verdict = string_at(r->json, "verdict");
	json_int_t up = json_integer_value(json_object_get(r->json, "since"));
	auto_free char *id_text = printable(id && *id ? id : "-", true);
	auto_free char *reason_text = printable(reason ? reason : "", false);

	return rouse_asprintf("ROUSE-STATE v=1 state=%s up=%lld.%lld id=%s%s%s",
			      verdict ? verdict : "failed", (long long)(up / 1000),
			      (long long)(up % 1000 / 100), id_text, *reason_text ? " reason=" : "",
			      reason_text);
}
