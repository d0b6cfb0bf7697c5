/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/run.h>

#include <string.h>

#include <rouse/clock.h>
#include <rouse/json.h>
#include <rouse/log.h>
#include <rouse/text.h>

void rouse_run_done(struct rouse_run *r)
{
	for (size_t i = 0; i < rouse_n_modules; i++)
		if (rouse_modules[i]->state_free)
			rouse_modules[i]->state_free(r->state[i]);
	rouse_plan_done(&r->plan);
	json_decref(r->facts);
	*r = (struct rouse_run){ 0 };
}

static bool is_wanted(const struct rouse_run *r, const struct rouse_module *m)
{
	return !r->only || strcmp(r->only, (m->reads ? m->reads : m)->name) == 0;
}

/* Of the modules from the `first` on. */
static int observe_from(struct rouse_run *r, size_t first, struct rouse_err *e)
{
	if (!r->facts)
		r->facts = json_object();
	for (size_t i = first; i < rouse_n_modules; i++) {
		const struct rouse_module *m = rouse_modules[i];
		auto_json json_t *facts = json_object();

		if (!m->observe || !is_wanted(r, m))
			continue;
		if (m->observe(r->document->conf[i], &r->context, facts, e) < 0)
			return rouse_wrap(e, "%s", m->name);
		rouse_json_set(r->facts, m->name, take(facts, NULL));
	}
	return 0;
}

int rouse_run_observe(struct rouse_run *r, struct rouse_err *e)
{
	return observe_from(r, 0, e);
}

/* Does the document say anything to this module? */
static bool is_declared(const struct rouse_run *r, const struct rouse_module *m)
{
	if (m->reads)
		m = m->reads;
	for (size_t i = 0; i < m->n_fields; i++)
		if (json_object_get(r->document->merged, m->fields[i].name))
			return true;
	return false;
}

/* Decodes what observe() wrote, or what was recorded on another machine. */
static int read_facts(const struct rouse_run *r, const struct rouse_module *m,
		      struct rouse_arena *arena, void **ret, struct rouse_err *e)
{
	const struct rouse_shape shape = {
		.type = ROUSE_OBJECT,
		.fields = m->facts,
		.n_fields = m->n_facts,
		.size = m->facts_size,
		.open = true,
	};
	const json_t *json = json_object_get(r->facts, m->name);
	struct rouse_problems problems = { 0 };
	void *facts = rouse_arena_alloc(arena, m->facts_size ? m->facts_size : 1);
	int failed = 0;

	*ret = facts;
	if (!m->n_facts || (!json && !is_declared(r, m)))
		return 0;
	if (!json)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "the facts have no section \"%s\"",
				  m->name);
	if (rouse_schema_read(&shape, json, NULL, facts, arena, &problems) > 0)
		failed = rouse_fail(e, ROUSE_DOCUMENT, 0, "facts: %s.%s: %s", m->name,
				    problems.items[0].path, problems.items[0].message);
	rouse_problems_done(&problems);
	return failed;
}

static int plan_from(struct rouse_run *r, size_t first, struct rouse_err *e)
{
	for (size_t i = first; i < rouse_n_modules; i++) {
		const struct rouse_module *m = rouse_modules[i];
		void *facts = NULL;

		if (!m->plan || !is_wanted(r, m))
			continue;
		if (read_facts(r, m, &r->plan.arena, &facts, e) < 0)
			return -1;
		r->plan.module = m;
		if (m->plan(r->document->conf[i], facts, &r->context, &r->plan, e) < 0)
			return rouse_wrap(e, "%s", m->name);
		if (r->draw && m->draw)
			m->draw(r->document->conf[i], facts, &r->context, &r->plan);
	}
	rouse_plan_identify(&r->plan, r->document->sha256);
	return 0;
}

int rouse_run_plan(struct rouse_run *r, struct rouse_err *e)
{
	return plan_from(r, 0, e);
}

int rouse_run_prepare(struct rouse_run *r, struct rouse_err *e)
{
	for (size_t i = 0; i < rouse_n_modules; i++) {
		const struct rouse_module *m = rouse_modules[i];

		if (!m->prepare || !is_wanted(r, m))
			continue;
		if (m->prepare(r->document->conf[i], &r->plan, &r->context, &r->state[i], e) < 0)
			return rouse_wrap(e, "%s", m->name);
	}
	return 0;
}

static void *state_of(struct rouse_run *r, const struct rouse_module *m)
{
	for (size_t i = 0; i < rouse_n_modules; i++)
		if (rouse_modules[i] == m)
			return r->state[i];
	return NULL;
}

static int apply_first(struct rouse_run *r, size_t n, struct rouse_err *e)
{
	for (size_t i = 0; i < n; i++) {
		const struct rouse_step *s = &r->plan.steps[i];
		uint64_t begin = rouse_clock_ms();
		char took[24];
		int failed;

		if (rouse_clock_left(r->context.deadline) == 0)
			return rouse_fail(e, ROUSE_UNAVAILABLE, ETIMEDOUT,
					  "no time left before '%s'", s->what);
		if (r->report)
			rouse_report_step(r->report, s);
		failed = s->module->apply(s, &r->context, state_of(r, s->module), e);
		if (failed)
			(void)rouse_wrap(e, "%s", s->module->name);
		if (r->report)
			rouse_report_step_end(r->report, failed ? e : NULL);
		if (failed)
			return -1;
		rouse_log(ROUSE_LOG_INFO, s->module->name, "%s (%s)", s->what,
			  rouse_print_duration(took, rouse_clock_ms() - begin));
	}
	return 0;
}

/* How many steps are entered by: in an initramfs all that use what is there, else what is opened. */
static size_t count_first(const struct rouse_run *r, bool *ret_opens)
{
	const struct rouse_plan *p = &r->plan;
	size_t n = 0;

	*ret_opens = false;
	while (n < p->n_steps && p->steps[n].module == rouse_modules[0] &&
	       p->steps[n].effect == ROUSE_USE && (r->context.initramfs || p->steps[n].opens))
		*ret_opens |= p->steps[n++].opens;
	return n;
}

int rouse_run_enter(struct rouse_run *r, struct rouse_err *e)
{
	bool opens = true;

	for (int round = 0; opens && round < ROUSE_MAX_ENTER; round++) {
		const struct rouse_plan *p = &r->plan;
		size_t n = count_first(r, &opens), first;

		if (!n)
			return 0;
		/* With more to do there, the disks are looked at again: what is mounted or opened
		 * changes it. */
		first = opens || (n < p->n_steps && p->steps[n].module == rouse_modules[0]) ? 0 : 1;
		if (apply_first(r, n, e) < 0)
			return -1;
		rouse_plan_done(&r->plan);
		if (observe_from(r, first, e) < 0 || plan_from(r, first, e) < 0)
			return -1;
	}
	return 0;
}

int rouse_run_apply(struct rouse_run *r, struct rouse_err *e)
{
	return apply_first(r, r->plan.n_steps, e);
}
