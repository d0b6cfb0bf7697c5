/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/boot.h>

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/init.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/notify.h>
#include <rouse/port.h>
#include <rouse/proxy.h>
#include <rouse/report.h>
#include <rouse/text.h>

#include "acquire.h"
#include "freshness.h"
#include "layers.h"
#include "load.h"
#include "phases.h"

static void say_progress(void *arg, const char *what, uint64_t done, uint64_t total)
{
	struct boot *b = arg;
	uint64_t now = rouse_clock_ms();
	char text[256];

	if (done != b->progress.done || (!done && !total))
		rouse_report_moved(&b->report);
	if (!progress_due(&b->progress, done, total, now))
		return;
	(void)progress_text(&b->progress, text, sizeof(text), what, now);
	rouse_log(ROUSE_LOG_INFO, "progress", "%s", text);
	rouse_report_now(&b->report, text);
	rouse_notify("STATUS=%s\nEXTEND_TIMEOUT_USEC=%u", text, 2 * ROUSE_PROGRESS_MOST * 1000);
	rouse_port_progress(ROUSE_PORT_NAME, what, done, total);
}

void boot_begin_phase(struct boot *b, const char *name)
{
	json_t *event = json_object();

	progress_begin(&b->progress, isatty(STDERR_FILENO) ? true : progress_on_screen(),
		       rouse_clock_ms());
	rouse_log_context("ROUSE_PHASE", name);
	rouse_notify("STATUS=%s\nEXTEND_TIMEOUT_USEC=%u", name, 2 * ROUSE_PROGRESS_MOST * 1000);
	rouse_report_phase(&b->report, name);
	rouse_report_write(&b->report);
	rouse_json_set_string(event, "event", "phase");
	rouse_json_set_string(event, "phase", name);
	rouse_json_set_int(event, "up", rouse_clock_ms());
	(void)rouse_port_send(ROUSE_PORT_NAME, event);
}

/* The deadline of a phase that may take `ms`, inside that of the whole boot. */
static uint64_t deadline_in(const struct boot *b, uint64_t ms)
{
	uint64_t own = rouse_clock_ms() + ms, whole = b->begin + b->settings.deadline;

	return b->settings.deadline && whole < own ? whole : own;
}

void boot_record_instance(struct boot *b)
{
	const struct rouse_instance *i = &b->found.instance;
	json_t *j = json_object();

	rouse_json_set_string(j, "source", b->found.source);
	rouse_json_set_string(j, "cloud", i->cloud);
	rouse_json_set_string(j, "id", i->id);
	rouse_json_set_string(j, "type", i->type);
	rouse_json_set_string(j, "region", i->region);
	rouse_json_set_string(j, "zone", i->zone);
	rouse_log_context("ROUSE_INSTANCE", i->id);
	rouse_report_set(&b->report, "instance", j);
}

static void record_document(struct boot *b)
{
	json_t *j = json_object(), *layers = json_array();

	rouse_json_set_string(j, "sha256", b->document.sha256);
	for (size_t i = 0; i < b->document.n_layers; i++) {
		json_t *layer = json_object();

		rouse_json_set_string(layer, "name", b->document.layers[i].name);
		rouse_json_set_string(layer, "sha256", b->document.layers[i].sha256);
		rouse_json_append(layers, layer);
	}
	rouse_json_set(j, "layers", layers);
	rouse_log_context("ROUSE_DOCUMENT", b->document.sha256);
	rouse_report_set(&b->report, "document", j);
}

/* A file that may hold secrets. */
static int keep_text(const struct rouse_root *root, const char *path, const char *text,
		     struct rouse_err *e)
{
	auto_buf struct rouse_buf old = { 0 };
	struct rouse_err ignored = { 0 };

	if (rouse_fs_read(root, path, ROUSE_MAX_LAYERS_TEXT, &old, &ignored) == 0 &&
	    strcmp(old.data, text) == 0)
		return 0; /* a boot that changes nothing writes nothing */
	if (rouse_fs_mkdirs(root, path, false, e) < 0)
		return -1;
	return rouse_fs_replace(root, path, text, strlen(text), 0600, (uid_t)-1, (gid_t)-1, e);
}

/* DIR/document.json, what all layers together say, and DIR/layers.json, for the commands of a running
 * machine. */
static int keep_document(const struct boot *b, const char *root_path, const char *dir,
			 struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_free char *document = rouse_asprintf("%s/document.json", dir),
		       *layers = rouse_asprintf("%s/" ROUSE_LAYERS_NAME, dir),
		       *merged = rouse_json_print(b->document.merged),
		       *text = rouse_layers_print(&b->document, &b->found.instance,
						  b->options->initramfs);

	if (rouse_root_open(&root, root_path, e) < 0 || keep_text(&root, document, merged, e) < 0)
		return -1;
	return keep_text(&root, layers, text, e);
}

static void log_plan(const struct rouse_plan *p)
{
	for (size_t i = 0; i < p->n_steps; i++)
		rouse_log(ROUSE_LOG_DEBUG, "plan", "%s: %s", p->steps[i].module->name,
			  p->steps[i].what);
	rouse_log(ROUSE_LOG_INFO, "plan", "%zu change%s", rouse_plan_changes(p),
		  rouse_plan_changes(p) == 1 ? "" : "s");
}

static int bring_network(void *arg, uint64_t deadline, struct rouse_err *e)
{
	const struct boot *b = arg;

	return rouse_acquire_network(b->options, deadline, e);
}

void boot_prepare_run(struct boot *b)
{
	b->run.document = &b->document;
	b->run.report = &b->report;
	b->run.context = (struct rouse_context){
		.root = b->options->root,
		.run = b->options->run,
		.initramfs = b->options->initramfs,
		.boot = true,
		.instance = &b->found.instance,
		.fetcher = b->fetcher,
		.network = bring_network,
		.network_arg = b,
		.progress = say_progress,
		.progress_arg = b,
		.counters = b->counters,
	};
}

static void use_proxy(struct boot *b)
{
	struct rouse_err e;

	rouse_fetcher_set_proxy(b->fetcher, b->settings.proxy);
	if (rouse_proxy_save(b->options->run, b->settings.proxy, &e) < 0)
		rouse_log(ROUSE_LOG_WARNING, "boot", "%s, ignoring", e.text);
}

static int acquire(struct boot *b, struct rouse_err *e)
{
	int r;

	boot_begin_phase(b, "source");
	if (rouse_settings_load(&b->settings, b->options->settings, e) < 0)
		return -1;
	use_proxy(b);
	boot_name_signals(b);
	r = rouse_acquire_source(b->options, &b->settings, b->fetcher,
				 deadline_in(b, ROUSE_DEADLINE_SOURCE), &b->found, e);
	/* Also when nobody answered: the firmware tells which machine it is that fails. */
	boot_record_instance(b);
	boot_name_signals(b);
	if (r < 0)
		return -1;

	boot_begin_phase(b, "document");
	if (rouse_acquire_document(b->options, &b->settings, &b->found, b->fetcher,
				   deadline_in(b, ROUSE_DEADLINE_DOCUMENT), &b->document, e) < 0)
		return -1;
	record_document(b);
	if (keep_document(b, b->options->run, "", e) < 0)
		return -1;
	boot_name_fleet(b);
	return boot_ask_fleet(b, e);
}

/* From here on the work may be long: who is to hear of it is tried now. */
static void start_herald(struct boot *b)
{
	auto_free char *checks = rouse_asprintf("%s/" ROUSE_HEALTH_FILE, b->options->run);
	auto_arena struct rouse_arena arena = { 0 };
	struct rouse_health health = { 0 };
	struct rouse_err e;

	/* What another document of this boot had to be checked is not asked of one that says nothing of it. */
	if (!boot_read_health(b, &arena, &health) && unlink(checks) < 0 && errno != ENOENT)
		rouse_log(ROUSE_LOG_WARNING, "health", "cannot remove '%s': %s, ignoring", checks,
			  strerror(errno));
	boot_add_signals(b, &arena, &health);
	if (rouse_health_save(b->options->run, ROUSE_SIGNALS_FILE, &health, &e) < 0)
		rouse_log(ROUSE_LOG_WARNING, "health", "%s, ignoring", e.text);
	if (rouse_health_needs_network(&health) &&
	    rouse_acquire_network(b->options, deadline_in(b, ROUSE_DEADLINE_LEASE), &e) < 0)
		rouse_log(ROUSE_LOG_WARNING, "health", "no signal can be sent yet: %s", e.text);
	b->herald = rouse_herald_start(&b->report, &health, true);
}

static int plan(struct boot *b, struct rouse_err *e)
{
	struct rouse_run *run = &b->run;

	boot_prepare_run(b);
	boot_begin_phase(b, "facts");
	run->context.deadline = deadline_in(b, ROUSE_DEADLINE_FACTS);
	if (rouse_run_observe(run, e) < 0)
		return -1;

	boot_begin_phase(b, "plan");
	return rouse_run_plan(run, e) < 0 ? -1 : rouse_run_enter(run, e);
}

/* An initramfs sees the overrides of the machine only now, when its root is mounted and nothing is
 * changed yet. They count as much as they do in a system: what is planned is planned anew with them. */
static int plan_with_overrides(struct boot *b, struct rouse_err *e)
{
	size_t before = b->document.n_layers;

	if (!b->options->initramfs)
		return 0;
	if (rouse_load_overrides(&b->document, b->options->root, e) < 0)
		return -1;
	if (b->document.n_layers == before)
		return 0;
	rouse_run_done(&b->run); /* borrows from the document as it was */
	if (rouse_document_finish(&b->document, &b->found.instance, e) < 0 ||
	    rouse_acquire_check_caches(&b->settings, &b->document, e) < 0)
		return -1;
	record_document(b);
	return keep_document(b, b->options->run, "", e) < 0 ? -1 : plan(b, e);
}

static int provision(struct boot *b, struct rouse_err *e)
{
	struct rouse_run *run = &b->run;

	if (plan(b, e) < 0 || plan_with_overrides(b, e) < 0 ||
	    rouse_freshness_check_seen(&b->document, b->options->root, e) < 0 ||
	    boot_ask_fleet_again(b, e) < 0)
		return -1;
	if (boot_check_attempts(b, e) < 0)
		return -1;
	log_plan(&run->plan);
	rouse_report_set(&b->report, "changes",
			 json_integer((json_int_t)rouse_plan_changes(&run->plan)));

	start_herald(b);
	boot_begin_phase(b, "prepare");
	run->context.deadline = deadline_in(b, ROUSE_DEADLINE_PREPARE);
	if (rouse_run_prepare(run, e) < 0)
		return -1;

	boot_begin_phase(b, "apply");
	run->context.deadline = deadline_in(b, ROUSE_DEADLINE_APPLY);
	if (rouse_run_apply(run, e) < 0 ||
	    rouse_freshness_remember(&b->document, b->options->root, e) < 0 ||
	    rouse_freshness_remember_control(b->control, b->options->root, e) < 0)
		return -1;
	if (keep_document(b, b->options->root, LAST_DIR, e) < 0)
		return -1;
	return boot_record_hand_off(b, e);
}

static void record_counters(struct boot *b)
{
	rouse_json_set_int(b->counters, "retries", rouse_fetcher_counters(b->fetcher).retries);
	rouse_report_set(&b->report, "counters", json_incref(b->counters));
}

static void boot_done(struct boot *b)
{
	rouse_run_done(&b->run);
	rouse_document_done(&b->document);
	rouse_found_done(&b->found);
	rouse_running_done(&b->last);
	rouse_settings_done(&b->settings);
	rouse_fetcher_free(b->fetcher);
	json_decref(b->counters);
	json_decref(b->hold);
	json_decref(b->held_instance);
	free(b->held_reason);
	free(b->crashed);
	rouse_report_done(&b->report);
}

/* An earlier try, of which the report speaks. */
static void remember_hold(struct boot *b)
{
	struct rouse_report old = { 0 };
	json_t *hold;
	const char *reason;
	struct rouse_err e;

	if (rouse_report_load(&old, b->options->run, &e) < 0)
		return;
	hold = json_object_get(old.json, "hold");
	reason = json_string_value(json_object_get(hold, "reason"));
	b->held = true;
	b->held_reason = rouse_strdup(reason ? reason : "");
	b->held_since = (uint64_t)json_integer_value(json_object_get(hold, "since"));
	b->held_tries = (uint64_t)json_integer_value(json_object_get(hold, "tries"));
	if (!b->held_since)
		b->held_since = rouse_clock_ms();
	b->hold = json_incref(hold);
	b->held_instance = json_incref(json_object_get(old.json, "instance"));
	rouse_report_done(&old);
}

static int open_report(struct boot *b, struct rouse_err *e)
{
	const struct rouse_boot_options *o = b->options;

	if (o->again)
		remember_hold(b);
	if (o->crashed)
		b->crashed = rouse_strdup(o->crashed);
	else
		boot_note_crash(b);
	/* What came before the crash stays in the report. */
	if (!b->crashed || rouse_report_resume(&b->report, o->run, e) < 0) {
		if (rouse_report_begin(&b->report, o->run, e) < 0)
			return -1;
	}
	if (b->crashes)
		rouse_report_set(&b->report, "crashes", json_integer(b->crashes));
	if (b->hold) /* should this try crash, the next one still knows */
		rouse_report_set(&b->report, "hold", json_incref(b->hold));
	return 0;
}

/* The agent has failed in a way that it could not tell. A fallback needs nothing of what broke it. */
static int give_up(struct boot *b, struct rouse_err *e)
{
	const char *phase = json_string_value(json_object_get(b->report.phase, "name"));
	const char *crash = b->options->crash;
	struct rouse_err ignored;

	if (rouse_settings_load(&b->settings, b->options->settings, &ignored) < 0)
		b->settings = (struct rouse_settings){ 0 };
	use_proxy(b);
	boot_name_signals(b);
	(void)rouse_fail(e, ROUSE_SYSTEM, 0, "%s%s%s%s%s%s", b->crashed,
			 phase ? ", in phase '" : "", phase ? phase : "", phase ? "'" : "",
			 crash ? ": " : "", crash ? crash : "");
	return rouse_blame(e, ROUSE_FLEET); /* the same agent meets the same document elsewhere */
}

static int try_boot(struct boot *b, struct rouse_err *e)
{
	if (b->crashed)
		return give_up(b, e);
	return acquire(b, e) < 0 ? -1 : provision(b, e);
}

/* The budget is spent: what could have passed did not. What is beside this machine was found, or
 * its error would say so; the rest is the same for all. */
static void settle_fault(struct rouse_err *e)
{
	if (e->fault == ROUSE_TRANSIENT)
		e->fault = ROUSE_FLEET;
}

static int recover(struct boot *b, struct rouse_err *cause, struct rouse_boot_result *ret)
{
	struct rouse_err e = { 0 };
	int r;

	settle_fault(cause);
	if (!json_object_get(b->report.json, "fleet"))
		boot_name_fleet(b);
	boot_settle_policy(b);
	if (boot_fall_back(b, cause, &e) == 0)
		return 0;
	rouse_log(ROUSE_LOG_WARNING, "boot", "no fallback: %s", e.text);
	rouse_report_phase_end(&b->report, &e);
	if (b->spent) {
		b->spent = false;
		b->once_more = true;
		rouse_run_done(&b->run);
		r = provision(b, cause);
		rouse_herald_stop(take(b->herald, NULL), &b->report);
		if (r == 0)
			return 0;
		settle_fault(cause);
		rouse_report_phase_end(&b->report, cause);
	}
	boot_fail(b, cause, ret);
	return -1;
}

/* What the machine's own init is to know of the policy; without it, the defaults count there. */
static void leave_policy(struct boot *b)
{
	struct rouse_err e;

	boot_settle_policy(b);
	if (rouse_policy_save(b->options->run, &b->policy, &e) < 0)
		rouse_log(ROUSE_LOG_WARNING, "boot", "%s, ignoring", e.text);
}

int rouse_boot_run(const struct rouse_boot_options *o, struct rouse_boot_result *ret)
{
	struct boot b = { .options = o, .begin = rouse_clock_ms() };
	struct rouse_err e = { 0 };
	/* What an earlier run left says nothing about the network that is there now. */
	bool borrows = !o->initramfs && access(ROUSE_NETWORK_FILE, F_OK) < 0;
	struct rouse_boot_result result = { 0 };
	int r;

	if (open_report(&b, &e) < 0) {
		rouse_log(ROUSE_LOG_ERROR, "boot", "%s", e.text);
		*ret = (struct rouse_boot_result){ .status = ROUSE_SYSTEM };
		return ROUSE_SYSTEM;
	}
	if (o->drivers.end)
		rouse_report_past(&b.report, "drivers", o->drivers.start, o->drivers.end,
				  o->drivers.cpu);
	b.fetcher = rouse_fetcher_new();
	b.counters = json_object();
	if (o->again && b.held_instance)
		rouse_report_set(&b.report, "instance", json_incref(b.held_instance));
	r = try_boot(&b, &e);
	rouse_report_phase_end(&b.report, r < 0 ? &e : NULL);
	rouse_herald_stop(take(b.herald, NULL), &b.report);
	record_counters(&b);
	if (r < 0)
		r = recover(&b, &e, &result);
	rouse_report_phase_end(&b.report, NULL);
	leave_policy(&b);
	if (r == 0) {
		rouse_report_set(&b.report, "hold", json_null());
		/* Should its hand-off fail */
		result.hold_max = rouse_policy_hold_max(&b.policy);
		result.pause = rouse_policy_pause(&b.policy, rouse_jitter(UINT64_MAX));
	}
	if (borrows)
		rouse_net_down();
	rouse_report_write(&b.report);
	boot_done(&b);
	*ret = result;
	return result.status;
}

int rouse_boot_look(const struct rouse_boot_options *o, struct rouse_document *ret,
		    struct rouse_err *e)
{
	struct rouse_settings settings = { 0 };
	struct rouse_found found = { 0 };
	struct rouse_fetcher *fetcher = rouse_fetcher_new();
	uint64_t now = rouse_clock_ms();
	int r;

	r = rouse_settings_load(&settings, o->settings, e);
	if (r == 0) {
		rouse_fetcher_set_proxy(fetcher, settings.proxy);
		r = rouse_acquire_source(o, &settings, fetcher, now + ROUSE_DEADLINE_SOURCE, &found,
					 e);
	}
	if (r == 0)
		r = rouse_acquire_document(o, &settings, &found, fetcher,
					   now + ROUSE_DEADLINE_SOURCE + ROUSE_DEADLINE_DOCUMENT,
					   ret, e);
	rouse_found_done(&found);
	rouse_settings_done(&settings);
	rouse_fetcher_free(fetcher);
	return r;
}
