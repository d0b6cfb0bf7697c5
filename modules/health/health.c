/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/health.h>

#include <string.h>

#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/mem.h>
#include <rouse/module.h>
#include <rouse/plan.h>
#include <rouse/policy.h>
#include <rouse/text.h>

#include "signals.h"
#include "tools.h"

#define RUN_DIR "/run/rouse"

struct conf {
	const struct rouse_health *health;
};

static const struct rouse_field health_fields[] = {
	ROUSE_FIELD(struct rouse_health, deadline, "deadline",
		    "Within this time every check must have passed once; without it, 5m.",
		    .type = ROUSE_DURATION, .min = 1, .max = 3600000),
	ROUSE_FIELD(struct rouse_health, checks, "checks", "What must work before it is ready.",
		    .type = ROUSE_MAP, .format = "a name of letters, digits, '.', '_' and '-'",
		    .valid = rouse_is_label, .max = ROUSE_MAX_CHECKS, .item = &health_check_shape),
	ROUSE_FIELD(struct rouse_health, signals, "signals", "Who is told the verdict.",
		    ROUSE_OBJECT_OF(struct rouse_health_signals, rouse_signals_fields)),
	ROUSE_FIELD(
		struct rouse_health, on_failure, "onFailure",
		"What a machine does that is not as the document says. fallback (the default): it "
		"starts the last system that was healthy, if need be by a reboot; without one, or "
		"with hold, it stays up, out of service, and tries again until holdMax, unless "
		"only another machine could help; abandon: it says at once that it will not come; "
		"reboot: as fallback, but a machine that is not healthy in time is first rebooted, "
		"at most three times for one document.",
		.type = ROUSE_STRING, .words = rouse_on_failure_words),
	ROUSE_FIELD(struct rouse_health, hold_max, "holdMax",
		    "How long a machine is held before it is given up; without it, 45m.",
		    .type = ROUSE_DURATION, .min = ROUSE_HOLD_POLL_MIN, .max = ROUSE_HOLD_LONGEST),
	ROUSE_FIELD(struct rouse_health, hold_poll, "holdPoll",
		    "The pause between the tries of a held machine, with up to two thirds of it as "
		    "jitter; without it, 3m.",
		    .type = ROUSE_DURATION, .min = ROUSE_HOLD_POLL_MIN,
		    .max = ROUSE_HOLD_POLL_LONGEST),
};
const struct rouse_shape rouse_health_shape = {
	ROUSE_OBJECT_OF(struct rouse_health, health_fields),
};

static const struct rouse_field section_fields[] = {
	ROUSE_FIELD(struct conf, health, "health", "How it is known that the machine works.",
		    ROUSE_OBJECT_OF(struct rouse_health, health_fields)),
};

static void verify_signals(const struct rouse_health_signals *s, struct rouse_problems *problems)
{
	const char *const keys[] = { "health", "signals", "cloudformation", NULL };
	const struct signal_cfn *cfn = s->conf[SLOT_CFN];

	if (cfn && !cfn->handle == !(cfn->stack && cfn->resource))
		rouse_problem(problems, keys,
			      "needs a \"stack\" and a \"resource\" in it, or a \"handle\"");
}

void rouse_health_verify(const struct rouse_health *h, struct rouse_problems *problems)
{
	health_verify_checks(&h->checks, problems);
	if (h->signals)
		verify_signals(h->signals, problems);
}

json_t *rouse_health_json(const struct rouse_health *h)
{
	return rouse_schema_write(&rouse_health_shape, h);
}

int rouse_health_save(const char *dir, const char *name, const struct rouse_health *h,
		      struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_json json_t *json = rouse_health_json(h);
	auto_free char *text = rouse_json_print(json);
	auto_free char *path = rouse_asprintf("%s/%s", dir, name);

	if (rouse_root_open(&root, "/", e) < 0 || rouse_fs_mkdirs(&root, path, false, e) < 0)
		return -1;
	return rouse_fs_replace(&root, path, text, strlen(text), 0600, (uid_t)-1, (gid_t)-1, e);
}

int rouse_health_load(const char *dir, const char *name, struct rouse_health *ret,
		      struct rouse_arena *arena, json_t **ret_json, struct rouse_err *e)
{
	auto_free char *path = rouse_asprintf("%s/%s", dir, name);
	auto_buf struct rouse_buf text = { 0 };
	auto_json json_t *json = NULL;
	auto_free struct rouse_problems *problems = rouse_calloc(1, sizeof(*problems));
	struct rouse_health h = { 0 };

	if (rouse_read_file(path, ROUSE_MAX_DOCUMENT, &text, e) < 0)
		return -1;
	json = rouse_json_parse(path, text.data ? text.data : "", text.len, e);
	if (!json)
		return -1;
	if (rouse_schema_read(&rouse_health_shape, json, NULL, &h, arena, problems) == 0)
		rouse_health_verify(&h, problems);
	if (problems->n) {
		(void)rouse_fail(e, ROUSE_DOCUMENT, 0, "%s: %s: %s", path, problems->items[0].path,
				 problems->items[0].message);
		rouse_problems_done(problems);
		return -1;
	}
	*ret = h;
	*ret_json = take(json, NULL);
	return 0;
}

static void health_check(const void *conf, struct rouse_problems *problems)
{
	const struct conf *c = conf;

	if (c->health)
		rouse_health_verify(c->health, problems);
}

static int health_plan(const void *conf, const void *facts unused_arg,
		       const struct rouse_context *context, struct rouse_plan *plan,
		       struct rouse_err *e unused_arg)
{
	const struct conf *c = conf;
	const struct rouse_health_check *checks = c->health ? c->health->checks.items : NULL;
	auto_buf struct rouse_buf names = { 0 };

	if (!c->health || context->image) /* nobody hands off to a tree or an image file */
		return 0;
	for (size_t i = 0; i < c->health->checks.n; i++) {
		auto_free char *what = rouse_health_describe(&checks[i]);

		rouse_buf_printf(&names, "%s%s (%s)", i ? ", " : "", checks[i].key, what);
	}
	rouse_plan_add(plan, ROUSE_USE, 0, c->health, "check health after hand-off: %s",
		       names.len ? names.data : "nothing but that init is up");
	return 0;
}

static int health_apply(const struct rouse_step *step, const struct rouse_context *c,
			void *state unused_arg, struct rouse_err *e)
{
	return rouse_health_save(c->run ? c->run : RUN_DIR, ROUSE_HEALTH_FILE, step->arg, e);
}

extern const struct rouse_module rouse_module_health;
const struct rouse_module rouse_module_health = {
	.name = "health",
	.fields = section_fields,
	.n_fields = ARRAY_SIZE(section_fields),
	.conf_size = sizeof(struct conf),
	.check = health_check,
	.plan = health_plan,
	.apply = health_apply,
};
