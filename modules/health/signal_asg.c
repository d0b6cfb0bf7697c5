/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AWS Auto Scaling. A launch hook keeps the machine in Pending:Wait until its action is completed: CONTINUE
 * puts it into service, ABANDON replaces it. What the answers mean:
 *
 *   answer                              means
 *   200                                 done
 *   400 "No active Lifecycle Action"    not yet known to the group: asked again for 45 s; then there is
 *                                       none (launched before the hook was made, completed already)
 *   403                                 the role may not: for good
 *   500 ResourceContention, 5xx, 429    asked again until the deadline
 *
 * A machine that is in service already is left in peace: a reboot of it signals nothing.
 */
#include "signals.h"

#include <string.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/imds.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/mem.h>
#include <rouse/query.h>
#include <rouse/text.h>

#define VERSION "&Version=2011-01-01"
#define MARKER "signalled.json" /* {"instance": id, "state": state} in the state directory */

static const char *const degraded_words[] = { "continue", "abandon", NULL };

const struct rouse_field signal_asg_fields[7] = {
	ROUSE_FIELD(struct signal_asg, group, "group",
		    "The group's name; without it, what the instance's tags or the service say.",
		    .type = ROUSE_STRING, .min = 1, .max = 255, .interpolate = true),
	ROUSE_FIELD(struct signal_asg, hook, "hook",
		    "The launch hook's name; without it, that of the group's first launch hook.",
		    .type = ROUSE_STRING, .min = 1, .max = 255),
	ROUSE_FIELD(struct signal_asg, region, "region",
		    "The group's region; without it, this instance's.", .type = ROUSE_STRING,
		    .min = 1, .max = 32),
	ROUSE_FIELD(struct signal_asg, endpoint, "endpoint",
		    "Where the service is asked, such as a VPC endpoint; without it, Amazon's.",
		    .type = ROUSE_STRING, .format = "an http:// or https:// URL",
		    .valid = signal_is_http_url),
	ROUSE_FIELD(struct signal_asg, heartbeat, "heartbeat",
		    "The hook's heartbeat time-out: a third of it is the pause between heartbeats, "
		    "which are sent only while the boot moves on. Without it, 1h.",
		    .type = ROUSE_DURATION, .min = 30000, .max = 7200000),
	ROUSE_FIELD(struct signal_asg, degraded, "degraded",
		    "Of a machine that is up on a fallback: continue (the default) or abandon.",
		    .type = ROUSE_STRING, .words = degraded_words),
	ROUSE_FIELD(struct signal_asg, set_health, "setHealth",
		    "Reports a machine that fails while it is in service as Unhealthy.",
		    .type = ROUSE_BOOL),
};

/* What is known of the group, once it was asked. */
struct group {
	const struct signal_asg *conf;
	char state
		[64]; /* where the group wants the machine: "InService", "Warmed:Stopped"; "": no group */
	char name[256], hook[256];
	char current[64]; /* where it is, "": not asked: "Pending:Wait", "InService" */
};

static int ask(struct signal_call *c, const char *body, struct rouse_query *q, struct rouse_err *e)
{
	const struct signal_asg *conf = c->conf;

	*q = (struct rouse_query){ .service = "autoscaling",
				   .region = conf->region ? conf->region : c->region,
				   .endpoint = conf->endpoint,
				   .body = body,
				   .deadline = c->deadline };
	return rouse_query(c->f, q, e);
}

static int describe_instance(struct signal_call *c, struct group *g, struct rouse_err *e)
{
	auto_buf struct rouse_buf body = { 0 };
	auto_buf struct rouse_buf answer = { 0 };
	struct rouse_query q;
	int r;

	rouse_buf_printf(&body, "Action=DescribeAutoScalingInstances" VERSION);
	rouse_query_add(&body, "InstanceIds.member.1", c->id);
	r = ask(c, body.data, &q, e);
	answer = q.answer;
	if (r < 0)
		return rouse_wrap(e, "which group is this instance's?");
	rouse_query_element(g->name, sizeof(g->name), answer.data ? answer.data : "",
			    "AutoScalingGroupName");
	rouse_query_element(g->current, sizeof(g->current), answer.data ? answer.data : "",
			    "LifecycleState");
	return 0;
}

/* The members of a list are alike; the first that is about launches has the name. */
static void find_launch_hook(const char *xml, char *buf, size_t size)
{
	for (const char *p = xml; (p = strstr(p, "<member>")); p += strlen("<member>")) {
		const char *end = strstr(p, "</member>");
		auto_free char *member = rouse_strndup(p, end ? (size_t)(end - p) : strlen(p));
		char transition[64];

		rouse_query_element(transition, sizeof(transition), member, "LifecycleTransition");
		if (!rouse_streq(transition, "autoscaling:EC2_INSTANCE_LAUNCHING"))
			continue;
		rouse_query_element(buf, size, member, "LifecycleHookName");
		return;
	}
}

static int describe_hooks(struct signal_call *c, struct group *g, struct rouse_err *e)
{
	auto_buf struct rouse_buf body = { 0 };
	auto_buf struct rouse_buf answer = { 0 };
	struct rouse_query q;
	int r;

	rouse_buf_printf(&body, "Action=DescribeLifecycleHooks" VERSION);
	rouse_query_add(&body, "AutoScalingGroupName", g->name);
	r = ask(c, body.data, &q, e);
	answer = q.answer;
	if (r < 0)
		return rouse_wrap(e, "which launch hook has the group '%s'?", g->name);
	find_launch_hook(answer.data ? answer.data : "", g->hook, sizeof(g->hook));
	return 0;
}

/* Finds group and hook. *ret_none: there is nobody to tell, and c->note says why. */
static int find(struct signal_call *c, struct group *g, bool *ret_none, struct rouse_err *e)
{
	const struct signal_asg *conf = c->conf;
	struct rouse_imds i;
	int r;

	*g = (struct group){ .conf = conf };
	*ret_none = false;
	if (signal_imds(c, &i, e) < 0)
		return -1;
	r = signal_imds_get(&i, SIGNAL_ASG_STATE, g->state, sizeof(g->state), e);
	if (r == 0 && g->state[0] && !conf->group)
		r = signal_imds_get(&i, "meta-data/tags/instance/aws:autoscaling:groupName",
				    g->name, sizeof(g->name), e);
	rouse_imds_done(&i);
	if (r < 0)
		return -1;
	if (!g->state[0]) {
		(void)snprintf(c->note, sizeof(c->note), "this instance is in no group");
		*ret_none = true;
		return 0;
	}
	if (conf->group)
		(void)snprintf(g->name, sizeof(g->name), "%s", conf->group);
	if (conf->hook)
		(void)snprintf(g->hook, sizeof(g->hook), "%s", conf->hook);
	if (!g->name[0] && describe_instance(c, g, e) < 0)
		return -1;
	if (!g->hook[0] && describe_hooks(c, g, e) < 0)
		return -1;
	(void)snprintf(c->to, sizeof(c->to), "%.120s/%.120s", g->name, g->hook);
	if (!g->name[0] || !g->hook[0]) {
		(void)snprintf(c->note, sizeof(c->note), "%s",
			       g->name[0] ? "the group has no launch hook"
					  : "the service knows of no group of this instance");
		*ret_none = true;
	}
	return 0;
}

static char *hook_body(const struct group *g, const char *action, const char *result,
		       const char *id)
{
	struct rouse_buf body = { 0 };

	rouse_buf_printf(&body, "Action=%s" VERSION, action);
	rouse_query_add(&body, "LifecycleHookName", g->hook);
	rouse_query_add(&body, "AutoScalingGroupName", g->name);
	if (result)
		rouse_query_add(&body, "LifecycleActionResult", result);
	rouse_query_add(&body, "InstanceId", id);
	return body.data;
}

static bool is_no_action(const struct rouse_query *q)
{
	return q->status == 400 && rouse_streq(q->code, "ValidationError") &&
	       strstr(q->message, "No active Lifecycle Action");
}

/* One heartbeat; *ret_none: the group knows of no action. */
static int beat_once(struct signal_call *c, const struct group *g, bool *ret_none,
		     struct rouse_err *e)
{
	auto_free char *body = hook_body(g, "RecordLifecycleActionHeartbeat", NULL, c->id);
	struct rouse_query q;
	int r = ask(c, body, &q, e);

	rouse_buf_done(&q.answer);
	*ret_none = r < 0 && is_no_action(&q);
	return *ret_none ? 0 : r;
}

/* A heartbeat needs the same permission, name and route as the end; it is made before the hour of work. */
static int asg_beat(struct signal_call *c, struct rouse_err *e)
{
	struct group g;
	bool none;

	if (find(c, &g, &none, e) < 0)
		return -1;
	if (none)
		return 0;
	if (beat_once(c, &g, &none, e) < 0)
		return -1;
	if (none)
		(void)snprintf(c->note, sizeof(c->note), "no lifecycle action is waiting (yet)");
	return 0;
}

/* A hook waits since the machine was launched, which is when its clock began. */
static uint64_t asg_interval(const void *conf)
{
	const struct signal_asg *asg = conf;
	uint64_t timeout = asg->heartbeat ? asg->heartbeat : ROUSE_HOOK_TIMEOUT;
	uint64_t most = timeout * ROUSE_HOOK_TIMEOUTS;

	return rouse_clock_ms() < (most < ROUSE_HOOK_LONGEST ? most : ROUSE_HOOK_LONGEST)
		       ? timeout / 3
		       : 0;
}

/* --- the end ---------------------------------------------------------------------------------- */

static char *marker_path(const struct signal_call *c)
{
	return rouse_asprintf("%s/" MARKER, c->state_dir);
}

/* Was this state of this very instance told before? */
static bool is_told(const struct signal_call *c, const struct group *g)
{
	auto_free char *path = marker_path(c);
	auto_buf struct rouse_buf text = { 0 };
	auto_json json_t *j = NULL;
	struct rouse_err e;

	if (rouse_read_file(path, ROUSE_MAX_METADATA, &text, &e) < 0)
		return false;
	j = rouse_json_parse(path, text.data ? text.data : "", text.len, &e);
	return j && rouse_streq(json_string_value(json_object_get(j, "instance")), c->id) &&
	       rouse_streq(json_string_value(json_object_get(j, "state")), g->state);
}

/* Only what was acknowledged is remembered; what is told twice does no harm. */
static void mark_told(const struct signal_call *c, const struct group *g)
{
	auto_free char *path = marker_path(c), *text = NULL;
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_json json_t *j = json_object();
	struct rouse_err e;

	rouse_json_set_string(j, "instance", c->id);
	rouse_json_set_string(j, "state", g->state);
	text = rouse_json_print(j);
	if (rouse_root_open(&root, "/", &e) == 0 && rouse_fs_mkdirs(&root, path, false, &e) == 0)
		(void)!rouse_fs_replace(&root, path, text, strlen(text), 0600, (uid_t)-1, (gid_t)-1,
					&e);
}

/* Completes the action; asked again while the group does not know of one. */
static int complete(struct signal_call *c, const struct group *g, const char *result,
		    bool *ret_none, struct rouse_err *e)
{
	auto_free char *body = hook_body(g, "CompleteLifecycleAction", result, c->id);
	uint64_t until = rouse_clock_ms() + ROUSE_SIGNAL_RACE, pause = 1000;

	for (;;) {
		struct rouse_query q;
		int r = ask(c, body, &q, e);
		uint64_t next = rouse_clock_ms() + pause;

		rouse_buf_done(&q.answer);
		*ret_none = r < 0 && is_no_action(&q);
		if (!*ret_none)
			return r;
		if (next >= until || next >= c->deadline)
			return 0;
		rouse_clock_sleep_until(next);
		pause = pause + 1000 < ROUSE_SIGNAL_RACE_PAUSE ? pause + 1000
							       : ROUSE_SIGNAL_RACE_PAUSE;
	}
}

static int set_unhealthy(struct signal_call *c, struct rouse_err *e)
{
	auto_buf struct rouse_buf body = { 0 };
	struct rouse_query q;
	int r;

	rouse_buf_printf(&body, "Action=SetInstanceHealth" VERSION);
	rouse_query_add(&body, "InstanceId", c->id);
	rouse_buf_printf(&body, "&HealthStatus=Unhealthy&ShouldRespectGracePeriod=false");
	r = ask(c, body.data, &q, e);
	rouse_buf_done(&q.answer);
	if (r < 0)
		return rouse_wrap(e, "cannot set the instance's health");
	(void)snprintf(c->note, sizeof(c->note), "reported as Unhealthy");
	return 0;
}

static int tell_in_service(struct signal_call *c, struct rouse_err *e)
{
	const struct signal_asg *conf = c->conf;

	if (c->verdict == ROUSE_FAILED && conf->set_health)
		return set_unhealthy(c, e);
	(void)snprintf(c->note, sizeof(c->note), "this instance is in service already");
	return 0;
}

static int asg_tell(struct signal_call *c, struct rouse_err *e)
{
	const struct signal_asg *conf = c->conf;
	bool give_up = c->verdict == ROUSE_FAILED ||
		       (c->verdict == ROUSE_FALLBACK && rouse_streq(conf->degraded, "abandon"));
	const char *result = give_up ? "ABANDON" : "CONTINUE";
	struct group g;
	bool none;

	if (find(c, &g, &none, e) < 0)
		return -1;
	if (none)
		return 0;
	if (is_told(c, &g) || rouse_streq(g.current, "InService"))
		return tell_in_service(c, e);
	if (!give_up && (rouse_streq(g.state, "Terminated") || rouse_streq(g.state, "Detached"))) {
		(void)snprintf(c->note, sizeof(c->note), "the group is removing this instance (%s)",
			       g.state);
		return 0;
	}
	if (complete(c, &g, result, &none, e) < 0)
		return -1;
	if (none && give_up && conf->set_health)
		return set_unhealthy(c, e);
	if (none)
		(void)snprintf(c->note, sizeof(c->note), "no lifecycle action is waiting");
	else
		(void)snprintf(c->note, sizeof(c->note), "%s (%s)", result, g.state);
	if (!give_up)
		mark_told(c, &g);
	return 0;
}

const struct signal signal_asg = {
	.name = "asg",
	.slot = SLOT_ASG,
	.stage = SIGNAL_GROUP,
	.timeout = ROUSE_SIGNAL_GROUP,
	.probe = asg_beat,
	.beat = asg_beat,
	.interval = asg_interval,
	.tell = asg_tell,
};
