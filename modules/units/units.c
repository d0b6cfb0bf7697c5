/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `units`: units of systemd. Whole files and drop-ins are written, enabling is the links that a unit's
 * [Install] asks for, masking a link to /dev/null; nothing is left to a program, so that it works on
 * a root that does not run as well. A unit that the running boot knows already is started or stopped
 * behind it, without waiting for it.
 */
#include <string.h>

#include <rouse/clock.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/made.h>
#include <rouse/proc.h>
#include <rouse/text.h>

#include "units.h"

enum { OP_UNITS, OP_RELOAD };

static const struct rouse_shape text_shape = { .type = ROUSE_STRING };
static const struct rouse_field unit_fields[] = {
	ROUSE_FIELD(struct unit, contents, "contents", "The whole text of the unit's file.",
		    .type = ROUSE_STRING, .max = ROUSE_MAX_UNIT_FILE),
	ROUSE_FIELD(struct unit, drop_ins, "dropIns",
		    "Texts that are read behind the unit's file, by the name of their file.",
		    .type = ROUSE_MAP, .format = "the name of a drop-in such as \"10-limits.conf\"",
		    .valid = unit_is_drop_in, .item = &text_shape, .max = 64),
	ROUSE_FIELD(
		struct unit, enable, "enable",
		"true: it is started with what its [Install] names; false: with nothing; absent: "
		"as it is.",
		.type = ROUSE_BOOL, .choice = true),
	ROUSE_FIELD(struct unit, mask, "mask", "Nothing can start it.", .type = ROUSE_BOOL),
};
static const struct rouse_shape unit_shape = { ROUSE_OBJECT_OF(struct unit, unit_fields) };
static const struct rouse_field fields[] = {
	ROUSE_FIELD(struct units_conf, units, "units", "Units of systemd, by name.",
		    .type = ROUSE_MAP, .format = "a unit's name such as \"web.service\"",
		    .valid = unit_is_name, .item = &unit_shape, .max = ROUSE_MAX_UNITS),
};

#define NAMES(member_, name_, doc_)                                                                \
	ROUSE_FIELD(struct unit_known, member_, name_, doc_, .type = ROUSE_LIST,                   \
		    .item = &text_shape)
static const struct rouse_field known_fields[] = {
	ROUSE_FIELD(struct unit_known, fragment, "fragment", "Its file.", .type = ROUSE_STRING),
	NAMES(install.wanted_by, "wantedBy", "Units that want it when it is enabled."),
	NAMES(install.required_by, "requiredBy", "Units that require it then."),
	NAMES(install.upheld_by, "upheldBy", "Units that uphold it then."),
	NAMES(install.alias, "alias", "Other names that it has then."),
	NAMES(install.also, "also", "Units that are enabled with it."),
	ROUSE_FIELD(struct unit_known, install.default_instance, "defaultInstance",
		    "Of a template.", .type = ROUSE_STRING),
	NAMES(links, "links", "Links that enable it."),
};
static const struct rouse_shape known_shape = { ROUSE_OBJECT_OF(struct unit_known, known_fields) };
static const struct rouse_field former_fields[] = {
	ROUSE_FIELD(struct unit_former, is, "is", "What rouse left there.", .type = ROUSE_LIST,
		    .item = &text_shape),
	ROUSE_FIELD(struct unit_former, was, "was", "What was there before.", .type = ROUSE_STRING,
		    .words = rouse_made_was_words),
	ROUSE_FIELD(struct unit_former, now, "now", "What is there.", .type = ROUSE_STRING),
};
static const struct rouse_shape former_shape = {
	ROUSE_OBJECT_OF(struct unit_former, former_fields),
};
static const struct rouse_field fact_fields[] = {
	ROUSE_FIELD(struct units_facts, unseen, "unseen", "The root filesystem was not mounted.",
		    .type = ROUSE_BOOL),
	ROUSE_FIELD(struct units_facts, running, "running",
		    "The service manager of this root is process 1.", .type = ROUSE_BOOL),
	ROUSE_FIELD(struct units_facts, dir, "dir", "Where units are written.",
		    .type = ROUSE_STRING),
	ROUSE_FIELD(struct units_facts, why, "why", "Why they can be written nowhere.",
		    .type = ROUSE_STRING),
	ROUSE_FIELD(struct units_facts, known, "units", "Units to be enabled or disabled.",
		    .type = ROUSE_MAP, .item = &known_shape),
	ROUSE_FIELD(struct units_facts, now, "now", "What stands at the paths.", .type = ROUSE_MAP,
		    .item = &text_shape),
	ROUSE_FIELD(struct units_facts, former, "former", "What earlier documents made.",
		    .type = ROUSE_MAP, .item = &former_shape),
};
static const struct rouse_shape facts_shape = { ROUSE_OBJECT_OF(struct units_facts, fact_fields) };

/* --- the document ----------------------------------------------------------------------------- */

static void check_text(const char *text, const char *const *keys, struct rouse_problems *problems)
{
	auto_arena struct rouse_arena arena = { 0 };
	struct unit_install install = { 0 };
	const char *why = NULL;
	unsigned line = 0;

	if (!unit_parse(text, strlen(text), &install, &arena, &line, &why))
		rouse_problem(problems, keys, "line %u: %s", line, why);
}

static void check(const void *conf_, struct rouse_problems *problems)
{
	const struct units_conf *conf = conf_;
	const struct unit *u = conf->units.items;

	for (size_t i = 0; i < conf->units.n; i++) {
		const struct rouse_pair *d = u[i].drop_ins.items;
		const char *const keys[] = { "units", u[i].name, NULL };
		const char *const contents[] = { "units", u[i].name, "contents", NULL };

		if (u[i].mask && (u[i].contents || u[i].drop_ins.n || u[i].enable == ROUSE_YES))
			rouse_problem(
				problems, keys,
				"\"mask\" leaves nothing that could have contents, drop-ins, or "
				"be enabled");
		if (u[i].contents)
			check_text(u[i].contents, contents, problems);
		for (size_t k = 0; k < u[i].drop_ins.n; k++) {
			const char *const drop_in[] = { "units", u[i].name, "dropIns", d[k].key,
							NULL };

			check_text(d[k].value, drop_in, problems);
		}
	}
}

static int observe(const void *conf, const struct rouse_context *c, json_t *facts,
		   struct rouse_err *e)
{
	auto_arena struct rouse_arena arena = { 0 };
	auto_json json_t *j = NULL;
	struct units_facts f = { 0 };

	if (units_look(conf, c, &arena, &f, e) < 0)
		return -1;
	j = rouse_schema_write(&facts_shape, &f);
	if (json_object_update(facts, j) < 0)
		return rouse_fail(e, ROUSE_SYSTEM, ENOMEM, "cannot write the facts about units");
	return 0;
}

/* --- the plan --------------------------------------------------------------------------------- */

/* What the running service manager is told, in this order. */
struct reload {
	/* NULL-terminated names. `again`: those that run and have changed. */
	const char **stop, **start, **restart, **again;
};

struct planner {
	struct rouse_plan *p;
	const struct units_facts *facts;
	struct reload *reload;
	size_t n_stop, n_start, n_again;
	bool any;
};

static void add_name(const char **names, size_t *n, const char *name)
{
	for (size_t i = 0; i < *n; i++)
		if (rouse_streq(names[i], name))
			return;
	names[(*n)++] = name;
}

static void plan_item(struct planner *pl, const struct unit_item *item)
{
	const char *state = units_state(pl->facts, item->path);
	enum rouse_effect effect = strcmp(state, "absent") == 0 ? ROUSE_CREATE : ROUSE_CHANGE;
	size_t len = item->data ? strlen(item->data) : 0;

	if (units_is_right(item, state))
		return;
	pl->any = true;
	if (item->data) {
		rouse_plan_add(pl->p, effect, OP_UNITS, NULL, "write %s (%zu byte%s)", item->path,
			       len, len == 1 ? "" : "s");
		add_name(pl->reload->again, &pl->n_again, item->unit);
		return;
	}
	rouse_plan_add(pl->p, effect, OP_UNITS, NULL, "%s %s: %s%s", item->what, item->unit,
		       item->target ? "" : "remove ", item->path);
	if (strcmp(item->what, "enable") == 0)
		add_name(pl->reload->start, &pl->n_start, item->unit);
	else
		add_name(pl->reload->stop, &pl->n_stop, item->unit);
}

static bool holds(const struct rouse_list *states, const char *state)
{
	for (size_t i = 0; i < states->n; i++)
		if (rouse_streq(((const char *const *)states->items)[i], state))
			return true;
	return false;
}

static void plan_former(struct planner *pl, const struct unit_former *f)
{
	const char *what = "remove %s, which no document has any more";

	if (!holds(&f->is, f->now))
		what = strcmp(f->now, "absent") == 0
			       ? "forget %s, which is gone"
			       : "forget %s, and leave it as others have changed it";
	else if (rouse_streq(f->was, rouse_made_was_words[ROUSE_WAS_KEPT]))
		what = "restore %s as it was before a document had it";
	else if (rouse_streq(f->was, rouse_made_was_words[ROUSE_WAS_LOST]))
		what = "forget %s, and leave it: what was there before was not kept";
	pl->any = true;
	{
		/* The words are ours, and the path is not a format. */
		const char *at = strstr(what, "%s");

		rouse_plan_add(pl->p, ROUSE_CHANGE, OP_UNITS, NULL, "%.*s%s%s", (int)(at - what),
			       what, f->path, at + 2);
	}
}

/* What is to be started and has changed may run already. */
static void join(struct planner *pl)
{
	struct reload *r = pl->reload;
	size_t started = 0, n = 0;

	for (size_t i = 0; i < pl->n_start; i++) {
		size_t k = 0;

		while (k < pl->n_again && !rouse_streq(r->again[k], r->start[i]))
			k++;
		if (k == pl->n_again) {
			r->start[started++] = r->start[i];
			continue;
		}
		r->restart[n++] = r->start[i];
		memmove(r->again + k, r->again + k + 1,
			(pl->n_again - k) * sizeof(*r->again)); /* and the NULL behind them */
		pl->n_again--;
	}
	r->start[started] = NULL;
}

static void name_all(struct rouse_buf *out, const char *verb, const char *const *names)
{
	for (size_t i = 0; names[i]; i++)
		rouse_buf_printf(out, "%s%s", i ? " " : verb, names[i]);
}

static void plan_reload(struct planner *pl)
{
	auto_buf struct rouse_buf text = { 0 };

	join(pl);
	rouse_buf_printf(&text, "reload systemd");
	name_all(&text, "; stop ", pl->reload->stop);
	name_all(&text, "; start ", pl->reload->start);
	name_all(&text, "; start anew ", pl->reload->restart);
	name_all(&text, "; start anew, where it runs, ", pl->reload->again);
	rouse_plan_add(pl->p, ROUSE_USE, OP_RELOAD, pl->reload, "%s", text.data);
}

static void plan_unseen(const struct units_conf *conf, struct rouse_plan *p)
{
	const struct unit *u = conf->units.items;

	for (size_t i = 0; i < conf->units.n; i++)
		rouse_plan_add(p, ROUSE_CREATE, OP_UNITS, NULL, "set up %s, unless it is so",
			       u[i].name);
}

static struct reload *make_reload(struct rouse_arena *arena, size_t n)
{
	struct reload *r = rouse_arena_alloc(arena, sizeof(*r));

	r->stop = rouse_arena_alloc(arena, (n + 1) * sizeof(*r->stop));
	r->start = rouse_arena_alloc(arena, (n + 1) * sizeof(*r->start));
	r->restart = rouse_arena_alloc(arena, (n + 1) * sizeof(*r->restart));
	r->again = rouse_arena_alloc(arena, (n + 1) * sizeof(*r->again));
	return r;
}

static int plan(const void *conf_, const void *facts_, const struct rouse_context *c unused_arg,
		struct rouse_plan *p, struct rouse_err *e)
{
	const struct units_conf *conf = conf_;
	struct units_facts facts = *(const struct units_facts *)facts_;
	struct unit_item *items = NULL;
	size_t n = 0;
	struct planner pl = { .p = p, .facts = &facts };

	if (facts.unseen) {
		plan_unseen(conf, p);
		return 0;
	}
	if (!facts.dir)
		facts.dir = "/etc/systemd/system";
	if (facts.why && conf->units.n)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "%s", facts.why);
	if (units_list(conf, &facts, &p->arena, &items, &n, e) < 0)
		return -1;
	pl.reload = make_reload(&p->arena, n);
	for (size_t i = 0; i < facts.former.n; i++)
		plan_former(&pl, (const struct unit_former *)facts.former.items + i);
	for (size_t i = 0; i < n; i++)
		plan_item(&pl, &items[i]);
	if (pl.any && facts.running)
		plan_reload(&pl);
	return 0;
}

/* --- apply ------------------------------------------------------------------------------------ */

struct state {
	const struct units_conf *conf;
	bool done;
};

static int prepare(const void *conf, const struct rouse_plan *p unused_arg,
		   const struct rouse_context *c unused_arg, void **ret_state,
		   struct rouse_err *e unused_arg)
{
	struct state *s = rouse_calloc(1, sizeof(*s));

	s->conf = conf;
	*ret_state = s;
	return 0;
}

/* Jobs are queued, and not waited for: what a unit waits for may be us. */
static void tell_systemd(const char *verb, const char *const *names)
{
	static const char *const no_block = "--no-block";

	for (size_t i = 0; names[i]; i++) {
		const char *const argv[] = { "systemctl", no_block, verb, "--", names[i], NULL };
		const struct rouse_proc p = {
			.argv = argv, .deadline = rouse_clock_ms() + ROUSE_DEADLINE_SYSTEMCTL
		};
		struct rouse_err e = { 0 };

		/* Whether it came up is for health checks to say. */
		if (rouse_proc_check(&p, &e) < 0)
			rouse_log(ROUSE_LOG_WARNING, "units", "cannot %s '%s': %s, ignoring", verb,
				  names[i], e.text);
	}
}

static int reload(const struct reload *r, struct rouse_err *e)
{
	static const char *const argv[] = { "systemctl", "daemon-reload", NULL };
	const struct rouse_proc p = { .argv = argv,
				      .deadline = rouse_clock_ms() + ROUSE_DEADLINE_SYSTEMCTL };

	if (rouse_proc_check(&p, e) < 0)
		return -1;
	tell_systemd("stop", r->stop);
	tell_systemd("start", r->start);
	tell_systemd("restart", r->restart);
	tell_systemd("try-restart", r->again);
	return 0;
}

static int apply(const struct rouse_step *step, const struct rouse_context *c, void *state,
		 struct rouse_err *e)
{
	struct state *s = state;

	if (step->op == OP_RELOAD)
		return reload(step->arg, e);
	/* All units are set up together: the steps of the others find nothing to do. */
	if (s->done)
		return 0;
	s->done = true;
	return units_apply(s->conf, c, e);
}

const struct rouse_module rouse_module_units = {
	.name = "units",
	.fields = fields,
	.n_fields = ARRAY_SIZE(fields),
	.conf_size = sizeof(struct units_conf),
	.facts = fact_fields,
	.n_facts = ARRAY_SIZE(fact_fields),
	.facts_size = sizeof(struct units_facts),
	.check = check,
	.observe = observe,
	.plan = plan,
	.prepare = prepare,
	.apply = apply,
	.state_free = free,
};
