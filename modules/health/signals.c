/* SPDX-License-Identifier: Apache-2.0 */
/* Who is told the verdict: the table of signals, and their order. Each is bounded, its outcome is in the
 * report, and one that fails changes nothing else. */
#include "signals.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/imds.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/mem.h>
#include <rouse/notify.h>
#include <rouse/port.h>
#include <rouse/proxy.h>
#include <rouse/source.h>
#include <rouse/text.h>

#define STATE_DIR "/var/lib/rouse"
#define RUN_DIR "/run/rouse"

static const struct signal *const rows[] = {
	&signal_cluster, &signal_cloud_init, &signal_prometheus, &signal_virtio,
	&signal_vsock,   &signal_azure_host, &signal_object,     &signal_phone,
	&signal_gce,     &signal_azure,      &signal_heat,       &signal_cfn,
	&signal_asg,     &signal_debug_exit,
};
_Static_assert(ARRAY_SIZE(rows) + 2 <= SIGNAL_ROWS,
	       "and two that no document asks for: the usual port, the fleet's tally");

#define OBJECT(slot, name_, doc_, table, type_)                                                    \
	[slot] = {                                                                                 \
		.name = (name_),                                                                   \
		.doc = (doc_),                                                                     \
		.offset = (slot) * sizeof(void *),                                                 \
		.shape = { .type = ROUSE_OBJECT,                                                   \
			   .fields = (table),                                                      \
			   .n_fields = ARRAY_SIZE(table),                                          \
			   .size = sizeof(struct type_) },                                         \
	}
#define BARE(slot, name_, doc_)                                                                    \
	[slot] = {                                                                                 \
		.name = (name_),                                                                   \
		.doc = (doc_),                                                                     \
		.offset = (slot) * sizeof(void *),                                                 \
		.shape = { .type = ROUSE_OBJECT, .size = 1 },                                      \
	}
const struct rouse_field rouse_signals_fields[ROUSE_SIGNALS_FIELDS] = {
	OBJECT(SLOT_ASG, "asg",
	       "Completes the launch hook of an AWS Auto Scaling group: CONTINUE, or ABANDON when "
	       "the boot failed.",
	       signal_asg_fields, signal_asg),
	OBJECT(SLOT_CFN, "cloudformation",
	       "Signals the stack that waits for this machine; needs no permission.",
	       signal_cfn_fields, signal_cfn),
	OBJECT(SLOT_GCE, "gce", "Writes the verdict into a guest attribute of a Google machine.",
	       signal_gce_fields, signal_gce),
	BARE(SLOT_AZURE, "azure",
	     "Reports the provisioning to Azure, which waits for it, and to its host, which needs "
	     "no network."),
	OBJECT(SLOT_HEAT, "heat", "Signals a wait condition of OpenStack Heat.", signal_heat_fields,
	       signal_heat),
	OBJECT(SLOT_PHONE, "phoneHome", "Sends the verdict to a URL, for at most 10 s.",
	       signal_phone_fields, signal_phone),
	OBJECT(SLOT_OBJECT, "object", "Puts the report into a bucket, for at most 10 s.",
	       signal_object_fields, signal_object),
	BARE(SLOT_CLUSTER, "clusterApi", "Writes the sentinel file of Cluster API."),
	BARE(SLOT_CLOUD_INIT, "cloudInit",
	     "Writes the files by which cloud-init says that it is done."),
	OBJECT(SLOT_PROMETHEUS, "prometheus",
	       "Writes the verdict and the boot's times for node_exporter's textfile collector.",
	       signal_prometheus_fields, signal_prometheus),
	OBJECT(SLOT_CI, "ci", "Sends the report to the host, which needs no network for it.",
	       signal_ci_fields, signal_ci),
};

/* --- what the rows share ---------------------------------------------------------------------- */

bool signal_is_good(const struct signal_call *c)
{
	return c->verdict == ROUSE_READY || c->verdict == ROUSE_FALLBACK;
}

json_t *signal_body(const struct signal_call *c)
{
	static const char *const keys[] = { "rouse",  "version", "verdict",  "status",  "word",
					    "reason", "since",   "instance", "document" };
	json_t *body = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		json_t *value = json_object_get(c->report, keys[i]);

		if (value)
			rouse_json_set(body, keys[i], json_incref(value));
	}
	return body;
}

int signal_send(struct signal_call *c, const char *method, const char *url,
		const char *const *headers, const char *body, bool link_local, long *ret_status,
		struct rouse_err *e)
{
	struct rouse_fetch t = {
		.url = url,
		.method = method,
		.headers = headers,
		.body = body,
		.body_len = strlen(body),
		.max_bytes = ROUSE_MAX_CHECK_BODY,
		.deadline = c->deadline,
		.link_local = link_local,
	};
	int r = rouse_fetch(c->f, &t, e);

	rouse_buf_done(&t.body_out);
	if (ret_status)
		*ret_status = t.status;
	return r;
}

int signal_imds(struct signal_call *c, struct rouse_imds *ret, struct rouse_err *e)
{
	struct rouse_machine m = { 0 };
	char why[256];
	bool is;

	if (rouse_machine_open(&m, "", e) < 0)
		return -1;
	is = rouse_imds_expected(&m, why, sizeof(why));
	rouse_machine_done(&m);
	if (!is || !*c->id)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "this is no instance of EC2");
	*ret = (struct rouse_imds){ .f = c->f, .deadline = c->deadline };
	return 0;
}

int signal_imds_get(struct rouse_imds *i, const char *path, char *buf, size_t size,
		    struct rouse_err *e)
{
	auto_buf struct rouse_buf text = { 0 };

	*buf = '\0';
	if (rouse_imds_get(i, path, size - 1, &text, e) < 0)
		return e->sys == ENOENT ? 0 : -1;
	while (text.len && strchr("\r\n", text.data[text.len - 1]))
		text.len--;
	if (text.len && !memchr(text.data, '\0', text.len)) {
		memcpy(buf, text.data, text.len);
		buf[text.len] = '\0';
	}
	return 0;
}

/* --- running them ----------------------------------------------------------------------------- */

static enum rouse_verdict verdict_of(const json_t *report)
{
	const char *word = json_string_value(json_object_get(report, "verdict"));

	for (unsigned v = 0; v < ROUSE_VERDICTS_; v++)
		if (rouse_streq(word, rouse_verdict_word((enum rouse_verdict)v)))
			return (enum rouse_verdict)v;
	return ROUSE_FAILED;
}

struct signal_call signal_call_of(const struct rouse_report *r, struct rouse_fetcher *f)
{
	const json_t *instance = json_object_get(r->json, "instance");
	const char *id = json_string_value(json_object_get(instance, "id"));
	const char *reason = json_string_value(json_object_get(r->json, "reason"));

	return (struct signal_call){
		.verdict = verdict_of(r->json),
		.report = r->json,
		.id = id ? id : "",
		.region = json_string_value(json_object_get(instance, "region")),
		.reason = reason ? reason : "",
		.state_dir = rouse_streq(r->dir, RUN_DIR) ? STATE_DIR : r->dir,
		.f = f,
	};
}

size_t signal_turns(struct signal_turn *turns, enum signal_stage stage,
		    const struct rouse_health *h, const struct signal_call *like)
{
	static const struct signal_ci usual = { 0 };
	const struct rouse_health_signals *s = h ? h->signals : NULL;
	const struct signal_ci *ci = s ? s->conf[SLOT_CI] : NULL;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const void *conf = s ? s->conf[rows[i]->slot] : NULL;

		if (!conf || rows[i]->stage != stage || (rows[i]->wanted && !rows[i]->wanted(conf)))
			continue;
		turns[n] = (struct signal_turn){ .signal = rows[i], .call = *like };
		turns[n++].call.conf = conf;
	}
	/* A host that attached our port listens, whatever the document says. */
	if (stage == SIGNAL_LOCAL && (!ci || ci->virtio) &&
	    !rouse_streq(ci ? ci->virtio : NULL, ROUSE_PORT_NAME) &&
	    rouse_port_present(ROUSE_PORT_NAME)) {
		turns[n] = (struct signal_turn){ .signal = &signal_virtio, .call = *like };
		turns[n++].call.conf = &usual;
	}
	if (stage == SIGNAL_REASON && json_is_object(json_object_get(like->report, "fleet"))) {
		turns[n] = (struct signal_turn){ .signal = &signal_fleet, .call = *like };
		turns[n++].call.conf = json_object_get(like->report, "fleet");
	}
	return n;
}

struct job {
	struct signal_turn *turn;
	int (*act)(struct signal_call *c, struct rouse_err *e);
	struct rouse_fetcher *f;
	pthread_t thread;
	bool started;
};

static void *run_job(void *arg)
{
	struct job *j = arg;

	j->turn->failed = j->act(&j->turn->call, &j->turn->err) < 0;
	return NULL;
}

static void start_job(struct job *j, uint64_t most)
{
	uint64_t own = j->turn->signal->timeout;

	j->f = rouse_fetcher_clone(j->turn->call.f);
	j->turn->call.f = j->f;
	j->turn->call.deadline = rouse_clock_ms() + (own < most ? own : most);
	j->started = pthread_create(&j->thread, NULL, run_job, j) == 0;
	if (!j->started) /* then one after the other */
		(void)run_job(j);
}

void signal_run(struct signal_turn *turns, size_t n, enum signal_act act, uint64_t most)
{
	struct job jobs[SIGNAL_ROWS] = { 0 };

	for (size_t i = 0; i < n; i++) {
		const struct signal *s = turns[i].signal;

		jobs[i].turn = &turns[i];
		jobs[i].act = act == SIGNAL_TELL   ? s->tell
			      : act == SIGNAL_BEAT ? s->beat
						   : s->probe;
		if (jobs[i].act)
			start_job(&jobs[i], most);
	}
	for (size_t i = 0; i < n; i++) {
		if (jobs[i].started)
			(void)pthread_join(jobs[i].thread, NULL);
		rouse_fetcher_free(jobs[i].f);
	}
}

uint64_t signal_interval(const struct signal_turn *turns, size_t n)
{
	uint64_t least = 0;

	for (size_t i = 0; i < n; i++) {
		const struct signal *s = turns[i].signal;
		uint64_t own = s->beat ? s->interval(turns[i].call.conf) : 0;

		if (own && (!least || own < least))
			least = own;
	}
	return least;
}

void signal_beat(struct signal_turn *turns, size_t n)
{
	signal_run(turns, n, SIGNAL_BEAT, ROUSE_SIGNAL_TIMEOUT);
	for (size_t i = 0; i < n; i++)
		if (turns[i].failed)
			rouse_log(ROUSE_LOG_WARNING, "health", "no heartbeat to %s '%s': %s",
				  turns[i].signal->name, turns[i].call.to, turns[i].err.text);
}

void signal_note(json_t *array, const struct signal_turn *t)
{
	json_t *j = json_object();

	rouse_json_set_string(j, "name", t->signal->name);
	rouse_json_set_string(j, "to", t->call.to);
	rouse_json_set_bool(j, "ok", !t->failed);
	rouse_json_set_string(j, "note", t->call.note[0] ? t->call.note : NULL);
	rouse_json_set_string(j, "error", t->failed ? t->err.text : NULL);
	rouse_json_set_int(j, "at", rouse_clock_ms());
	rouse_json_append(array, j);
	if (t->failed)
		rouse_log(ROUSE_LOG_WARNING, "health", "cannot tell %s '%s': %s, ignoring",
			  t->signal->name, t->call.to, t->err.text);
}

/* What happens next is not the end of this machine: it may heal, or another boot of it will tell. */
static bool is_held(const struct rouse_report *r)
{
	const char *action = json_string_value(json_object_get(r->json, "action"));

	return rouse_streq(action, "hold") || rouse_streq(action, "reboot") ||
	       rouse_streq(action, "fallback");
}

static void tell_manager(const struct signal_call *c)
{
	rouse_notify("STATUS=%s%s%s\n%s", rouse_verdict_word(c->verdict), *c->reason ? ": " : "",
		     c->reason, signal_is_good(c) ? "READY=1" : "");
}

/* Where there is a journal; elsewhere the console has said it. */
static void tell_journal(const struct signal_call *c)
{
	const json_t *document = json_object_get(c->report, "document");
	char status[16];

	if (!rouse_log_has_journal())
		return;
	(void)snprintf(status, sizeof(status), "%lld",
		       (long long)json_integer_value(json_object_get(c->report, "status")));
	rouse_log_context("ROUSE_INSTANCE", c->id);
	rouse_log_context("ROUSE_DOCUMENT", json_string_value(json_object_get(document, "sha256")));
	rouse_log_context("ROUSE_VERDICT", rouse_verdict_word(c->verdict));
	rouse_log_context("ROUSE_STATUS", status);
	rouse_log_context("ROUSE_REASON", c->reason);
	rouse_log_context("MESSAGE_ID", ROUSE_VERDICT_MESSAGE);
	rouse_log(c->verdict == ROUSE_FAILED ? ROUSE_LOG_ERROR : ROUSE_LOG_NOTICE, "verdict",
		  "%s%s%s", rouse_verdict_word(c->verdict), *c->reason ? ": " : "", c->reason);
	rouse_log_context("MESSAGE_ID", NULL);
}

/* Of the last document of this boot that was valid. */
static bool recall(const struct rouse_report *r, struct rouse_health *ret,
		   struct rouse_arena *arena, json_t **ret_json)
{
	struct rouse_err ignored;

	return r->dir &&
	       rouse_health_load(r->dir, ROUSE_SIGNALS_FILE, ret, arena, ret_json, &ignored) == 0;
}

void rouse_health_wait(const struct rouse_report *r, uint64_t until)
{
	auto_arena struct rouse_arena arena = { 0 };
	auto_json json_t *json = NULL;
	struct rouse_health health = { 0 };
	bool known = recall(r, &health, &arena, &json);

	for (;;) {
		auto_fetcher struct rouse_fetcher *f = rouse_fetcher_new_in(r->dir);
		const struct signal_call like = signal_call_of(r, f);
		struct signal_turn turns[SIGNAL_ROWS];
		size_t n = known ? signal_turns(turns, SIGNAL_GROUP, &health, &like) : 0;
		uint64_t pause = signal_interval(turns, n), next = rouse_clock_ms() + pause;

		if (pause)
			signal_beat(turns, n);
		if (!pause || next >= until)
			break;
		rouse_clock_sleep_until(next);
	}
	rouse_clock_sleep_until(until);
}

void rouse_health_signal(struct rouse_report *r, const struct rouse_health *given)
{
	auto_arena struct rouse_arena arena = { 0 };
	auto_json json_t *json = NULL;
	struct rouse_health recalled = { 0 };
	const struct rouse_health *h = given;
	auto_fetcher struct rouse_fetcher *f = rouse_fetcher_new_in(r->dir);
	const struct signal_call like = signal_call_of(r, f);

	if ((!given || !given->signals) && recall(r, &recalled, &arena, &json))
		h = &recalled;
	rouse_report_set(r, "announced", json_true());
	if (!json_is_array(json_object_get(r->json, "signals")))
		rouse_report_set(r, "signals", json_array());
	tell_manager(&like);
	tell_journal(&like);
	for (unsigned stage = 0; stage < SIGNAL_STAGES_; stage++) {
		struct signal_turn turns[SIGNAL_ROWS];
		size_t n = signal_turns(turns, stage, h, &like);

		if (stage >= SIGNAL_GROUP && is_held(r) && like.verdict == ROUSE_FAILED)
			break;
		if (stage == SIGNAL_LAST && n)
			rouse_report_write(r);
		signal_run(turns, n, SIGNAL_TELL, UINT64_MAX);
		for (size_t i = 0; i < n; i++)
			signal_note(json_object_get(r->json, "signals"), &turns[i]);
	}
}
