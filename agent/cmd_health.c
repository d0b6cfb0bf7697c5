/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <fcntl.h>
#include <getopt.h>
#include <string.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/closure.h>
#include <rouse/generations.h>
#include <rouse/health.h>
#include <rouse/init.h>
#include <rouse/json.h>
#include <rouse/log.h>
#include <rouse/report.h>
#include <rouse/text.h>

#include "hold.h"
#include "supervise.h"

#define RUN_DIR "/run/rouse"

struct session {
	const char *run;
	bool hold;        /* as a unit: a machine that is held stays so until this ends */
	bool boot_failed; /* the verdict was there before any check */
	bool json, supervise;
	struct rouse_report report;
	struct rouse_health health; /* all zero: this boot asked for no checks */
	struct rouse_arena arena;
	json_t *conf;    /* holds the strings of health */
	json_t *signals; /* … and of its signals, when the document has none */
	struct rouse_policy policy;
	json_t *policy_json; /* holds its strings */
	const char *
		crash; /* how the run of the checks before this one has ended, when that is known */
};

static void session_auto(struct session *s)
{
	rouse_report_done(&s->report);
	rouse_arena_done(&s->arena);
	json_decref(s->conf);
	json_decref(s->signals);
	json_decref(s->policy_json);
}

static int parse(struct session *s, int argc, char **argv, struct rouse_err *e)
{
	static const struct option options[] = { { "run", required_argument, NULL, 'r' },
						 { "json", no_argument, NULL, 'j' },
						 { "hold", no_argument, NULL, 'h' },
						 { "supervise", no_argument, NULL, 's' },
						 { 0 } };
	int c;

	s->run = RUN_DIR;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'r')
			s->run = optarg;
		else if (c == 'j')
			s->json = true;
		else if (c == 'h')
			s->hold = true;
		else if (c == 's')
			s->supervise = true;
		else
			return rouse_usage(e, "unknown option '%s'", argv[optind - 1]);
	}
	if (optind < argc)
		return rouse_usage(e, "expected no argument, found '%s'", argv[optind]);
	return 0;
}

static bool comes_from_initramfs(void)
{
	return access(ROUSE_HANDOFF_FILE, F_OK) == 0;
}

/* What boots the machine, and what checks it, closes each phase it opens. One that is open belongs to a run
 * that was killed or has crashed. Of a boot that is the verdict: its checks would judge half a machine. Checks
 * are made once more. */
static void note_crash(struct session *s)
{
	const char *name = rouse_report_reenter(&s->report);
	json_int_t crashes = json_integer_value(json_object_get(s->report.json, "healthCrashes"));
	bool checks = rouse_streq(name, "health");
	struct rouse_err e;

	if (!name)
		return;
	if (checks)
		rouse_report_set(&s->report, "healthCrashes", json_integer(++crashes));
	if (checks && s->crash)
		(void)rouse_fail(&e, ROUSE_SYSTEM, 0, "%s, in the midst of the health checks",
				 s->crash);
	else
		(void)rouse_fail(&e, ROUSE_SYSTEM, 0,
				 checks ? "the agent has ended in the midst of the health checks: "
					  "'systemctl status rouse-health.service' says how"
					: "the agent ended in phase '%s', before the boot was "
					  "over: 'systemctl status rouse.service' says how",
				 name);
	rouse_log(ROUSE_LOG_ERROR, "health", "%s", e.text);
	rouse_report_phase_end(&s->report, &e);
	if (checks && crashes < ROUSE_MAX_CRASHES)
		return;
	rouse_report_verdict(&s->report, ROUSE_FAILED, ROUSE_SYSTEM, e.text);
	s->health.checks = (struct rouse_list){ 0 };
	s->boot_failed |=
		!checks; /* while it is held, the boot is tried again, and not its checks */
	rouse_report_set(&s->report, "bootFailed", json_boolean(s->boot_failed));
}

/* Had the boot its verdict before there was a check? What a run of the checks says, it says for the next one. */
static void note_boot(struct session *s)
{
	const json_t *before = json_object_get(s->report.json, "bootFailed");

	s->boot_failed = before ? json_is_true(before)
				: rouse_report_is_final(&s->report) && !comes_from_initramfs();
	rouse_report_set(&s->report, "bootFailed", json_boolean(s->boot_failed));
}

/* A system that the boot has made current, for a unit to switch to, and which never was: 0 on a machine
 * that runs what it should. */
static int note_activation(const struct session *s, struct rouse_err *e)
{
	auto_free char *path = rouse_asprintf("%s/" ROUSE_ACTIVATION_NAME, s->run);
	char system[ROUSE_SYSTEM_PATH_SIZE];

	if (!rouse_read_line(path, system, sizeof(system)))
		return 0;
	return rouse_fail(e, ROUSE_SYSTEM, 0,
			  "the system '%s' was never activated: 'systemctl status "
			  "rouse-activate.service' says why",
			  system);
}

/* Each boot ends in one report: where only the checks survived, it begins here. */
static int open_session(struct session *s, struct rouse_err *e)
{
	struct rouse_err missing = { 0 };
	struct rouse_health kept = { 0 };
	bool asked = rouse_health_load(s->run, ROUSE_HEALTH_FILE, &s->health, &s->arena, &s->conf,
				       e) == 0;

	if (!asked && e->sys != ENOENT)
		return -1;
	if (!s->health.signals && rouse_health_load(s->run, ROUSE_SIGNALS_FILE, &kept, &s->arena,
						    &s->signals, &missing) == 0)
		s->health.signals = kept.signals;
	if (rouse_report_load(&s->report, s->run, &missing) == 0)
		return 0;
	if (!asked && missing.sys == ENOENT)
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "rouse did not boot this machine: '%s/report.json' is missing",
				  s->run);
	if (rouse_report_begin(&s->report, s->run, e) < 0)
		return -1;
	rouse_report_verdict(&s->report, ROUSE_FAILED, missing.kind, missing.text);
	return 0;
}

static void on_progress(void *arg, const char *what)
{
	if (what)
		rouse_report_now(arg, what);
	else
		rouse_report_moved(arg);
}

/* While the machine is held, what is live says that it is. */
static void on_try(void *arg, unused_arg const char *what)
{
	rouse_report_moved(arg);
}

/* The reason of a fallback, or NULL when the boot used none. */
static const char *fallback_reason(const struct rouse_report *r)
{
	const json_t *fallback = json_object_get(r->json, "fallback");
	const char *reason = json_string_value(json_object_get(fallback, "reason"));

	if (!fallback || json_is_null(fallback) || json_is_false(fallback))
		return NULL;
	if (reason)
		return reason;
	return json_is_string(fallback) ? json_string_value(fallback) : "a fallback was used";
}

static void judge(struct rouse_report *r, bool failed, const struct rouse_err *e)
{
	const char *fallback = fallback_reason(r);

	if (failed)
		rouse_report_verdict(r, ROUSE_FAILED, ROUSE_SYSTEM, e->text);
	else if (fallback)
		rouse_report_verdict(r, ROUSE_FALLBACK, ROUSE_DEGRADED, fallback);
	else
		rouse_report_verdict(r, ROUSE_READY, ROUSE_OK, NULL);
}

/* What was ready once is worth going back to. Where the system is not a generation, there is none. */
static void remember(const struct session *s)
{
	char system[ROUSE_SYSTEM_PATH_SIZE];
	struct rouse_err e = { 0 };

	if (rouse_streq(s->run, RUN_DIR) &&
	    json_integer_value(json_object_get(s->report.json, "status")) == ROUSE_OK &&
	    rouse_booted_system(system) && rouse_system_mark_healthy("/", system, &e) < 0)
		rouse_log(ROUSE_LOG_WARNING, "health", "%s, ignoring", e.text);
}

/* What a person outside can no longer be told is on the disk first, then on the console. */
static void announce(struct session *s)
{
	bool heard;

	rouse_report_write(&s->report);
	heard = rouse_streq(s->run, RUN_DIR) && rouse_health_console(&s->report);
	rouse_health_signal(&s->report, &s->health);
	rouse_report_write(&s->report);
	if (heard) /* a port that nobody reads takes its time, at which the group must not wait */
		rouse_health_host_keys();
}

static void print_check(const json_t *check)
{
	bool ok = json_is_true(json_object_get(check, "ok"));
	const char *note = json_string_value(json_object_get(check, ok ? "note" : "error"));

	(void)printf("  %-12s %-6s %s%s%s\n", json_string_value(json_object_get(check, "name")),
		     ok ? "ok" : "FAILED", json_string_value(json_object_get(check, "what")),
		     note ? ": " : "", note ? note : "");
}

static void print_session(const struct session *s, const json_t *checks)
{
	auto_free char *line = rouse_report_console_line(&s->report);
	auto_free char *text = NULL;
	const json_t *check;
	size_t i;

	if (s->json) {
		text = rouse_json_print(s->report.json);
		(void)fputs(text, stdout);
		return;
	}
	json_array_foreach ((json_t *)checks, i, check)
		print_check(check);
	(void)printf("%s\n", line);
}

/* Of the document, and where that does not say, of what the boot left. */
static void settle_policy(struct session *s)
{
	struct rouse_policy image = { 0 };
	struct rouse_err e = { 0 };

	s->policy = (struct rouse_policy){ .on_failure = s->health.on_failure,
					   .hold_max = s->health.hold_max,
					   .hold_poll = s->health.hold_poll };
	json_decref(take(s->policy_json, NULL));
	if (rouse_policy_load(s->run, &image, &s->policy_json, &e) < 0)
		rouse_log(ROUSE_LOG_WARNING, "health", "%s, ignoring", e.text);
	rouse_policy_merge(&s->policy, &image);
}

/* Before anybody is told. Elsewhere than in its own run directory, this command speaks of another
 * machine. */
static void decide(struct session *s)
{
	settle_policy(s);
	if (rouse_streq(s->run, RUN_DIR))
		rouse_health_decide(&s->report, &s->policy, s->run);
}

/* The last thing: the machine may go down with it. */
static void react(const struct session *s)
{
	struct rouse_err e = { 0 };

	if (rouse_streq(s->run, RUN_DIR) && rouse_health_react(&s->report, &e) < 0)
		rouse_log(ROUSE_LOG_ERROR, "health", "%s; holding", e.text);
}

/* A new verdict, and all that follows from it. */
static void conclude(struct session *s, json_t *checks, bool failed, const struct rouse_err *e)
{
	rouse_report_phase_end(&s->report, failed ? e : NULL);
	rouse_report_set(&s->report, "checks", json_incref(checks));
	judge(&s->report, failed, e);
	remember(s); /* who hears of it finds it written */
	decide(s);
	announce(s);
}

static uint64_t deadline_of(const struct session *s)
{
	return rouse_clock_ms() + (s->health.deadline ? s->health.deadline : ROUSE_DEADLINE_HEALTH);
}

/* Reads what another run of the boot has left. */
static int reload(struct session *s, struct rouse_err *e)
{
	rouse_report_done(&s->report);
	json_decref(take(s->conf, NULL));
	json_decref(take(s->signals, NULL));
	s->health = (struct rouse_health){ 0 };
	return open_session(s, e);
}

/* One try of a held machine: 0 when it is well now, or reboots into what may be. */
static int try_again(void *arg, struct rouse_err *e)
{
	struct session *s = arg;
	auto_json json_t *checks = NULL;
	struct rouse_herald *herald;
	bool failed = false;

	if (s->boot_failed) {
		struct rouse_err lost;
		int r = hold_boot_again(e);

		if (reload(s, r < 0 ? &lost : e) < 0 || r < 0)
			return -1;
	} else if (hold_document_changed(&s->report)) {
		rouse_log(ROUSE_LOG_WARNING, "health", "there is another document: rebooting");
		return rouse_health_reboot(e);
	}
	herald = rouse_herald_start(&s->report, &s->health, false);
	checks = rouse_health_run(&s->health, deadline_of(s), on_try, &s->report, &failed, e);
	rouse_herald_stop(herald, &s->report);
	if (failed)
		return -1;
	rouse_report_reopen(&s->report);
	rouse_report_phase(&s->report, "health");
	conclude(s, checks, false, e);
	return 0;
}

/* True when the machine is well now. */
static bool keep_holding(struct session *s)
{
	if (!s->hold || rouse_health_action(&s->report) != ROUSE_ACT_HOLD)
		return false;
	if (hold_until(&s->report, &s->policy, try_again, s))
		return true;
	announce(s);
	return false;
}

/* In a warm pool this run is over, and the group is told once more when it wants the machine: by a child, which
 * stays. */
static void watch_pool(struct session *s)
{
	auto_fd int null = -1;
	pid_t pid;

	if ((!s->hold && !s->supervise) || !s->health.signals ||
	    !rouse_health_is_parked(&s->report, &s->health))
		return;
	(void)fflush(NULL);
	pid = fork();
	if (pid < 0)
		rouse_log(ROUSE_LOG_WARNING, "health", "cannot watch the warm pool: %s",
			  strerror(errno));
	if (pid != 0)
		return;
	(void)setsid();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; null >= 0 && fd <= STDERR_FILENO; fd++)
		(void)dup2(null, fd); /* nobody waits for the end of what is said there */
	rouse_health_await_service(&s->report, &s->health);
	_exit(0);
}

/* The exit status: the verdict of this boot, or what the checks say today. */
static int result(const struct rouse_report *r, bool failed, struct rouse_err *e)
{
	json_int_t status = json_integer_value(json_object_get(r->json, "status"));
	const char *reason = json_string_value(json_object_get(r->json, "reason"));

	if (failed)
		return rouse_wrap(e, "not healthy");
	if (status == ROUSE_OK)
		return 0;
	return rouse_fail(e, (enum rouse_kind)status, 0, "%s", reason ? reason : "no reason");
}

/* A system that was pulled in an initramfs may have brought a Nix that could not run there. */
static void tell_nix(void)
{
	struct rouse_err e = { 0 };

	if (rouse_store_tell_first("/", rouse_clock_ms() + ROUSE_DEADLINE_NIX, &e) < 0)
		rouse_log(ROUSE_LOG_WARNING, "health", "%s, ignoring", e.text);
}

static int check_health(struct session *s, struct rouse_err *e)
{
	auto_json json_t *checks = NULL;
	struct rouse_herald *herald = NULL;
	bool failed = false, first;
	uint64_t deadline;

	if (open_session(s, e) < 0)
		return -1;
	(void)rouse_log_open_journal();
	rouse_log_context("ROUSE_PHASE", "health");
	/* The verdict goes out once; later runs look, and tell only who asks. */
	first = !json_is_true(json_object_get(s->report.json, "announced"));
	note_boot(s);
	if (first) {
		note_crash(s);
		tell_nix();
	}
	deadline = deadline_of(s);
	if (first) {
		rouse_report_phase(&s->report, "health");
		rouse_report_write(&s->report); /* should this run crash, the next one knows */
		herald = rouse_herald_start(&s->report, &s->health, false);
	}
	checks = rouse_health_run(&s->health, deadline, first ? on_progress : NULL, &s->report,
				  &failed, e);
	if (!failed)
		failed = note_activation(s, e) < 0;
	if (first) {
		rouse_herald_stop(herald, &s->report);
		conclude(s, checks, failed, e);
	} else {
		settle_policy(s);
	}
	print_session(s, checks);
	if (first)
		react(s);
	if (keep_holding(s))
		failed = false;
	watch_pool(s);
	return result(&s->report, failed, e);
}

/* --- whatever becomes of it ------------------------------------------------------------------- */

struct outcome {
	int result;
	struct rouse_err e;
};

static void work(void *arg, void *ret)
{
	struct outcome *o = ret;

	o->result = check_health(arg, &o->e);
}

/* What nobody else says any more. */
static int give_verdict(const char *run, const char *reason, struct rouse_err *e)
{
	struct rouse_report r = { 0 };
	bool told;

	if (rouse_report_load(&r, run, e) < 0 && rouse_report_begin(&r, run, e) < 0)
		return -1;
	told = json_is_true(json_object_get(r.json, "announced"));
	(void)rouse_report_reenter(&r);
	rouse_report_phase_end(&r, e);
	rouse_report_verdict(&r, ROUSE_FAILED, ROUSE_SYSTEM, reason);
	rouse_report_write(&r);
	if (!told) {
		if (rouse_streq(run, RUN_DIR))
			(void)rouse_health_console(&r);
		rouse_health_signal(&r, NULL);
		rouse_report_write(&r);
	}
	rouse_report_done(&r);
	return rouse_fail(e, ROUSE_SYSTEM, 0, "%s", reason);
}

/* Each run finds in the report how often those before it have crashed, and what that means. */
static int check_supervised(struct session *s, struct rouse_err *e)
{
	char reason[SUPERVISE_REASON] = "";
	struct outcome o = { 0 };
	bool late = false;

	for (unsigned i = 0; !late && i <= ROUSE_MAX_CRASHES; i++) {
		if (supervise(work, s, &o, sizeof(o), ROUSE_DEADLINE_SUPERVISE, &late, reason)) {
			*e = o.e;
			return o.result;
		}
		s->crash = reason;
	}
	(void)rouse_fail(e, ROUSE_SYSTEM, 0, "%s", reason);
	return give_verdict(s->run, reason, e);
}

int rouse_cmd_health(int argc, char **argv, struct rouse_err *e)
{
	__attribute__((cleanup(session_auto))) struct session s = { 0 };

	if (parse(&s, argc, argv, e) < 0)
		return -1;
	return s.hold || s.supervise ? check_supervised(&s, e) : check_health(&s, e);
}
