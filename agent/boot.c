/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/boot.h>

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/fallback.h>
#include <rouse/fetch.h>
#include <rouse/fs.h>
#include <rouse/health.h>
#include <rouse/init.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/notify.h>
#include <rouse/port.h>
#include <rouse/report.h>
#include <rouse/run.h>
#include <rouse/text.h>

#include "acquire.h"
#include "freshness.h"
#include "layers.h"
#include "progress.h"

/* What this machine was last provisioned with, below its root. */
#define LAST_DIR "/var/lib/rouse"
#define LAST_DOCUMENT LAST_DIR "/document.json"

struct boot {
	const struct rouse_boot_options *options;
	struct rouse_report report;
	struct rouse_settings settings;
	struct rouse_fetcher *fetcher;
	struct rouse_found found;
	struct rouse_running last; /* who this machine was, when nobody can be asked */
	struct rouse_document document;
	struct rouse_run run;
	json_t *counters;
	struct rouse_herald *herald;
	struct progress progress;
	uint64_t begin;
};

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

static void begin_phase(struct boot *b, const char *name)
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

static void record_instance(struct boot *b)
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

static void prepare_run(struct boot *b)
{
	b->run.document = &b->document;
	b->run.report = &b->report;
	b->run.context = (struct rouse_context){
		.root = b->options->root,
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

static int acquire(struct boot *b, struct rouse_err *e)
{
	begin_phase(b, "source");
	if (rouse_settings_load(&b->settings, b->options->settings, e) < 0 ||
	    rouse_acquire_source(b->options, &b->settings, b->fetcher,
				 deadline_in(b, ROUSE_DEADLINE_SOURCE), &b->found, e) < 0)
		return -1;
	record_instance(b);

	begin_phase(b, "document");
	if (rouse_acquire_document(b->options, &b->settings, &b->found, b->fetcher,
				   deadline_in(b, ROUSE_DEADLINE_DOCUMENT), &b->document, e) < 0)
		return -1;
	record_document(b);
	return keep_document(b, b->options->run, "", e);
}

/* The health section of the document, when the document is valid. */
static bool read_health(struct boot *b, struct rouse_arena *arena, struct rouse_health *ret)
{
	const json_t *section = json_object_get(b->document.merged, "health");
	struct rouse_problems problems = { 0 };
	bool known = section && b->document.sha256[0] &&
		     rouse_schema_read(&rouse_health_shape, section, &b->found.instance, ret, arena,
				       &problems) == 0;

	rouse_problems_done(&problems);
	return known;
}

/* From here on the work may be long: who is to hear of it is tried now. */
static void start_herald(struct boot *b)
{
	auto_arena struct rouse_arena arena = { 0 };
	struct rouse_health health = { 0 };
	struct rouse_err e;

	if (!read_health(b, &arena, &health))
		return;
	if (rouse_health_needs_network(&health) &&
	    rouse_acquire_network(b->options, deadline_in(b, ROUSE_DEADLINE_LEASE), &e) < 0)
		rouse_log(ROUSE_LOG_WARNING, "health", "no signal can be sent yet: %s", e.text);
	b->herald = rouse_herald_start(&b->report, &health, true);
}

static int provision(struct boot *b, struct rouse_err *e)
{
	struct rouse_run *run = &b->run;

	prepare_run(b);
	begin_phase(b, "facts");
	run->context.deadline = deadline_in(b, ROUSE_DEADLINE_FACTS);
	if (rouse_run_observe(run, e) < 0)
		return -1;

	begin_phase(b, "plan");
	if (rouse_run_plan(run, e) < 0 || rouse_run_enter(run, e) < 0 ||
	    rouse_freshness_check_seen(&b->document, b->options->root, e) < 0)
		return -1;
	log_plan(&run->plan);
	rouse_report_set(&b->report, "changes",
			 json_integer((json_int_t)rouse_plan_changes(&run->plan)));

	start_herald(b);
	begin_phase(b, "prepare");
	run->context.deadline = deadline_in(b, ROUSE_DEADLINE_PREPARE);
	if (rouse_run_prepare(run, e) < 0)
		return -1;

	begin_phase(b, "apply");
	run->context.deadline = deadline_in(b, ROUSE_DEADLINE_APPLY);
	if (rouse_run_apply(run, e) < 0 ||
	    rouse_freshness_remember(&b->document, b->options->root, e) < 0)
		return -1;
	return keep_document(b, b->options->root, LAST_DIR, e);
}

/* The metadata service may be away: the firmware tells that this is still the same machine. */
static void recall_instance(struct boot *b, const struct rouse_root *root)
{
	if (b->last.json || !rouse_layers_recall(root, &b->found.instance, &b->last))
		return;
	b->found.instance = b->last.instance;
	record_instance(b);
}

static int apply_last(struct boot *b, struct rouse_document *d, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_buf struct rouse_buf text = { 0 };

	if (rouse_root_open(&root, b->options->root, e) < 0)
		return -1;
	recall_instance(b, &root);
	if (rouse_fs_read(&root, LAST_DOCUMENT, ROUSE_MAX_FACTS, &text, e) < 0 ||
	    rouse_document_add(d, LAST_DOCUMENT, text.data, text.len, false, e) < 0 ||
	    rouse_document_finish(d, &b->found.instance, e) < 0 ||
	    rouse_run_observe(&b->run, e) < 0 || rouse_run_plan(&b->run, e) < 0)
		return -1;
	return rouse_run_apply(&b->run, e);
}

/* Boots what the machine was last provisioned with: its hand-off and its health checks, nothing else. */
static int run_last(struct boot *b, const char *only, struct rouse_err *e)
{
	auto_document struct rouse_document d = { 0 };
	int r;

	rouse_run_done(&b->run);
	prepare_run(b);
	b->run.document = &d;
	b->run.only = only;
	b->run.context.fallback = true;
	b->run.context.deadline = rouse_clock_ms() + ROUSE_DEADLINE_HANDOFF;
	r = apply_last(b, &d, e);
	rouse_run_done(&b->run); /* before the document, which it borrows from */
	return r;
}

static int fall_back(struct boot *b, const struct rouse_err *cause, struct rouse_err *e)
{
	struct rouse_err health = { 0 };
	json_t *j = json_object();

	rouse_log(ROUSE_LOG_ERROR, "boot", "%s; trying the generation that this machine has",
		  cause->text);
	begin_phase(b, "fallback");
	if (rouse_fallback_mount(b->options->root, e) < 0 || run_last(b, "handoff", e) < 0) {
		json_decref(j);
		return -1;
	}
	if (run_last(b, "health", &health) < 0)
		rouse_log(ROUSE_LOG_WARNING, "boot", "the fallback boots without health checks: %s",
			  health.text);
	rouse_json_set_string(j, "word", rouse_kind_word(cause->kind));
	rouse_json_set_string(j, "reason", cause->text);
	rouse_report_set(&b->report, "fallback", j);
	return 0;
}

/* A document that could not be read did not say; then a machine that runs is better than none. */
static bool may_fall_back(struct boot *b)
{
	auto_arena struct rouse_arena arena = { 0 };
	struct rouse_health health = { 0 };

	return b->options->initramfs &&
	       !(read_health(b, &arena, &health) && rouse_streq(health.on_failure, "hold"));
}

static void fail_boot(struct boot *b, const struct rouse_err *e)
{
	auto_arena struct rouse_arena arena = { 0 };
	struct rouse_health health = { 0 };
	bool known = read_health(b, &arena, &health);

	if (!b->options->initramfs) /* where the journal is read: 'systemctl status' shows it */
		rouse_log(ROUSE_LOG_ERROR, "boot", "%s", e->text);
	rouse_report_verdict(&b->report, ROUSE_FAILED, e->kind, e->text);
	rouse_report_write(&b->report);
	rouse_health_console(&b->report);
	rouse_health_signal(&b->report, known ? &health : NULL);
	rouse_report_write(&b->report);
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
	rouse_report_done(&b->report);
}

int rouse_boot_run(const struct rouse_boot_options *o)
{
	struct boot b = { .options = o, .begin = rouse_clock_ms() };
	struct rouse_err e = { 0 }, second = { 0 };
	/* What an earlier run left says nothing about the network that is there now. */
	bool borrows = !o->initramfs && access(ROUSE_NETWORK_FILE, F_OK) < 0;
	enum rouse_kind kind = ROUSE_OK;
	int r;

	if (rouse_report_begin(&b.report, o->run, &e) < 0) {
		rouse_log(ROUSE_LOG_ERROR, "boot", "%s", e.text);
		return ROUSE_SYSTEM;
	}
	if (o->drivers.end)
		rouse_report_past(&b.report, "drivers", o->drivers.start, o->drivers.end,
				  o->drivers.cpu);
	b.fetcher = rouse_fetcher_new();
	b.counters = json_object();
	r = acquire(&b, &e);
	if (r == 0)
		r = provision(&b, &e);
	rouse_report_phase_end(&b.report, r < 0 ? &e : NULL);
	rouse_herald_stop(take(b.herald, NULL), &b.report);
	record_counters(&b);
	if (r < 0) {
		kind = e.kind;
		if (may_fall_back(&b) && fall_back(&b, &e, &second) == 0) {
			kind = ROUSE_OK;
		} else {
			if (second.text[0])
				rouse_log(ROUSE_LOG_WARNING, "boot", "no fallback: %s",
					  second.text);
			fail_boot(&b, &e);
		}
		rouse_report_phase_end(&b.report, second.text[0] ? &second : NULL);
	}
	if (borrows)
		rouse_net_down();
	rouse_report_write(&b.report);
	boot_done(&b);
	return (int)kind;
}

void rouse_boot_aborted(const struct rouse_boot_options *o, const char *reason)
{
	struct rouse_report report = { 0 };
	struct rouse_err e = { 0 };

	if (rouse_report_load(&report, o->run, &e) < 0 &&
	    rouse_report_begin(&report, o->run, &e) < 0) {
		rouse_log(ROUSE_LOG_ERROR, "boot", "%s; %s", reason, e.text);
		return;
	}
	rouse_report_verdict(&report, ROUSE_FAILED, ROUSE_SYSTEM, reason);
	rouse_report_write(&report);
	rouse_health_console(&report);
	rouse_health_signal(&report, NULL);
	rouse_report_write(&report);
	rouse_report_done(&report);
}
