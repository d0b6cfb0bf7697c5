/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/health.h>

#include <arpa/inet.h>
#include <string.h>

#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/mem.h>
#include <rouse/module.h>
#include <rouse/plan.h>
#include <rouse/text.h>

#include "signals.h"

#define RUN_DIR "/run/rouse"

struct conf {
	const struct rouse_health *health;
};

/* Names would need a resolver, whose time-outs are not ours to bound. */
static bool is_address(const char *s)
{
	unsigned char address[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, s, address) == 1 || inet_pton(AF_INET6, s, address) == 1;
}

static bool is_one_of(const char *s, const char *more)
{
	size_t n = strlen(s);

	if (n == 0 || n > 255 || *s == '-' || *s == '.')
		return false;
	for (; *s; s++)
		if (!(*s >= '0' && *s <= '9') && !(*s >= 'a' && *s <= 'z') &&
		    !(*s >= 'A' && *s <= 'Z') && !strchr(more, *s))
			return false;
	return true;
}

/* systemd.unit(5): the name, a type, and the characters it allows. */
static bool is_unit(const char *s)
{
	static const char *const types[] = { ".service", ".socket", ".mount", ".target",
					     ".timer",   ".path",   ".slice", ".swap" };
	const char *dot = strrchr(s, '.');

	if (!dot || dot == s || !is_one_of(s, "._-:@\\"))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (rouse_streq(dot, types[i]))
			return true;
	return false;
}

#define CHECK_FIELD(member, name, doc, ...)                                                        \
	ROUSE_FIELD(struct rouse_health_check, member, name, doc, __VA_ARGS__)
static const struct rouse_field check_fields[] = {
	CHECK_FIELD(http, "http", "Passes when a GET of this URL answers with the wanted status.",
		    .type = ROUSE_STRING, .format = "an http:// or https:// URL",
		    .valid = signal_is_http_url, .pattern = "^https?://"),
	CHECK_FIELD(status, "status", "The HTTP status that is wanted; without it, any 2xx.",
		    .type = ROUSE_INT, .min = 100, .max = 599),
	CHECK_FIELD(tcp, "tcp", "Passes when this TCP port accepts a connection.",
		    .type = ROUSE_INT, .min = 1, .max = 65535),
	CHECK_FIELD(host, "host", "The address of `tcp`; without it, 127.0.0.1.",
		    .type = ROUSE_STRING, .format = "an IP address", .valid = is_address),
	CHECK_FIELD(unit, "unit", "Passes when this systemd unit is active.", .type = ROUSE_STRING,
		    .format = "a unit such as \"nginx.service\"", .valid = is_unit),
	CHECK_FIELD(timeout, "timeout", "How long one try may take; without it, 5s.",
		    .type = ROUSE_DURATION, .min = 1, .max = 60000),
	CHECK_FIELD(interval, "interval",
		    "The pause between tries; without it, 250ms, and 1s for a unit.",
		    .type = ROUSE_DURATION, .min = 100, .max = 60000),
};
static const struct rouse_shape check_shape = {
	.type = ROUSE_OBJECT,
	.fields = check_fields,
	.n_fields = ARRAY_SIZE(check_fields),
	.size = sizeof(struct rouse_health_check),
};

static const char *const on_failure_words[] = { "fallback", "hold", "reboot", NULL };

static const struct rouse_field health_fields[] = {
	ROUSE_FIELD(struct rouse_health, deadline, "deadline",
		    "Within this time every check must have passed once; without it, 5m.",
		    .type = ROUSE_DURATION, .min = 1, .max = 3600000),
	ROUSE_FIELD(struct rouse_health, checks, "checks", "What must work before it is ready.",
		    .type = ROUSE_MAP, .format = "a name of letters, digits, '.', '_' and '-'",
		    .valid = rouse_is_label, .max = ROUSE_MAX_CHECKS, .item = &check_shape),
	ROUSE_FIELD(struct rouse_health, signals, "signals", "Who is told the verdict.",
		    .type = ROUSE_OBJECT, .fields = signals_fields,
		    .n_fields = ARRAY_SIZE(signals_fields),
		    .size = sizeof(struct rouse_health_signals)),
	ROUSE_FIELD(
		struct rouse_health, on_failure, "onFailure",
		"fallback (the default): a boot that cannot do what the document says starts the "
		"generation that the machine has; hold: it does not; reboot: as fallback, and a "
		"machine that is not healthy in time is rebooted, at most three times for one "
		"document. Without reboot, a machine that is not healthy stays up.",
		.type = ROUSE_STRING, .words = on_failure_words),
};
const struct rouse_shape rouse_health_shape = {
	.type = ROUSE_OBJECT,
	.fields = health_fields,
	.n_fields = ARRAY_SIZE(health_fields),
	.size = sizeof(struct rouse_health),
};

static const struct rouse_field section_fields[] = {
	ROUSE_FIELD(struct conf, health, "health", "How it is known that the machine works.",
		    .type = ROUSE_OBJECT, .fields = health_fields,
		    .n_fields = ARRAY_SIZE(health_fields), .size = sizeof(struct rouse_health)),
};

static void verify_check(const struct rouse_health_check *c, struct rouse_problems *problems)
{
	const char *const keys[] = { "health", "checks", c->key, NULL };
	const char *const status[] = { "health", "checks", c->key, "status", NULL };
	const char *const host[] = { "health", "checks", c->key, "host", NULL };
	int kinds = (c->http ? 1 : 0) + (c->tcp ? 1 : 0) + (c->unit ? 1 : 0);

	if (kinds == 0)
		rouse_problem(problems, keys,
			      "checks nothing: expected one of \"http\", \"tcp\" and \"unit\"");
	else if (kinds > 1)
		rouse_problem(problems, keys,
			      "expected only one of \"http\", \"tcp\" and \"unit\"; "
			      "make a check of each");
	if (c->status && !c->http)
		rouse_problem(problems, status, "\"status\" belongs to an \"http\" check");
	if (c->host && !c->tcp)
		rouse_problem(problems, host, "\"host\" belongs to a \"tcp\" check");
}

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
	const struct rouse_health_check *checks = h->checks.items;

	if (h->signals)
		verify_signals(h->signals, problems);
	for (size_t i = 0; i < h->checks.n; i++)
		verify_check(&checks[i], problems);
}

json_t *rouse_health_json(const struct rouse_health *h)
{
	return rouse_schema_write(&rouse_health_shape, h);
}

int rouse_health_save(const char *dir, const struct rouse_health *h, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_json json_t *json = rouse_health_json(h);
	auto_free char *text = rouse_json_print(json);
	auto_free char *path = rouse_asprintf("%s/" ROUSE_HEALTH_FILE, dir);

	if (rouse_root_open(&root, "/", e) < 0 || rouse_fs_mkdirs(&root, path, false, e) < 0)
		return -1;
	return rouse_fs_replace(&root, path, text, strlen(text), 0600, (uid_t)-1, (gid_t)-1, e);
}

int rouse_health_load(const char *dir, struct rouse_health *ret, struct rouse_arena *arena,
		      json_t **ret_json, struct rouse_err *e)
{
	auto_free char *path = rouse_asprintf("%s/" ROUSE_HEALTH_FILE, dir);
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

static int health_apply(const struct rouse_step *step, const struct rouse_context *c unused_arg,
			void *state unused_arg, struct rouse_err *e)
{
	return rouse_health_save(RUN_DIR, step->arg, e);
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
