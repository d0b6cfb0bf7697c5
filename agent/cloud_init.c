/* SPDX-License-Identifier: Apache-2.0 */
#include "cloud_init.h"

#include <getopt.h>
#include <string.h>
#include <time.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/proc.h>
#include <rouse/report.h>
#include <rouse/text.h>

#include "verdict.h"

#define RUN_DIR "/run/rouse"

/* As cloud-init's: 0 done, 1 error, 2 done with errors that were recovered from. */
enum { CLOUD_DONE = 0, CLOUD_ERROR = 1, CLOUD_RECOVERED = 2 };

static const struct {
	const char *cloud, *name, *datasource;
} clouds[] = {
	{ "ec2", "aws", "DataSourceEc2" },
	{ "gce", "gce", "DataSourceGCE" },
	{ "azure", "azure", "DataSourceAzure" },
	{ "openstack", "openstack", "DataSourceOpenStack" },
	{ "nocloud", "nocloud", "DataSourceNoCloud" },
	{ "digitalocean", "digitalocean", "DataSourceDigitalOcean" },
	{ "hetzner", "hetzner", "DataSourceHetzner" },
	{ "oracle", "oracle", "DataSourceOracle" },
	{ "scaleway", "scaleway", "DataSourceScaleway" },
	{ "vultr", "vultr", "DataSourceVultr" },
	{ "exoscale", "exoscale", "DataSourceExoscale" },
	{ "alibaba", "aliyun", "DataSourceAliYun" },
};

const char *cloud_name(const char *cloud)
{
	for (size_t i = 0; cloud && i < ARRAY_SIZE(clouds); i++)
		if (rouse_streq(cloud, clouds[i].cloud))
			return clouds[i].name;
	return cloud && *cloud ? cloud : "none";
}

/* "DataSourceEc2"… */
static const char *datasource_of(const char *cloud)
{
	for (size_t i = 0; cloud && i < ARRAY_SIZE(clouds); i++)
		if (rouse_streq(cloud, clouds[i].cloud))
			return clouds[i].datasource;
	return "DataSourceNone";
}

static int complain(const char *what, const char *which)
{
	(void)fprintf(stderr, "cloud-init (rouse): %s%s%s\n", what, which ? " " : "",
		      which ? which : "");
	return CLOUD_RECOVERED; /* what its argument parser ends with, too */
}

static int fail(const char *what, const char *which)
{
	(void)complain(what, which);
	return CLOUD_ERROR;
}

/* --- status ----------------------------------------------------------------------------------- */

struct state {
	json_t *status, *report; /* NULL: rouse has not begun */
	const char *word;        /* "not started", "running", "done", "error", "disabled" */
	const char *extended;    /* the same, or "degraded done" */
	const char *reason;
	int result;
};

static void state_done(struct state *s)
{
	json_decref(s->status);
	json_decref(s->report);
}

static const char *string_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static bool is_disabled(void)
{
	char line[ROUSE_MAX_CMDLINE + 2];
	const char *at;

	if (!rouse_read_line("/proc/cmdline", line, sizeof(line)))
		return false;
	at = strstr(line, "rouse=off");
	return at && (at == line || at[-1] == ' ') && (!at[9] || at[9] == ' ');
}

static void judge(struct state *s)
{
	const char *verdict = string_at(s->status, "verdict");

	s->reason = string_at(s->status, "reason");
	if (!s->status)
		s->word = is_disabled() ? "disabled" : "not started";
	else if (verdict_is_pending(s->status))
		s->word = "running";
	else
		s->word = rouse_streq(verdict, rouse_verdict_word(ROUSE_FAILED)) ? "error" : "done";
	s->extended = s->word;
	if (rouse_streq(s->word, "error")) {
		s->result = CLOUD_ERROR;
	} else if (rouse_streq(verdict, rouse_verdict_word(ROUSE_FALLBACK))) {
		s->extended = "degraded done";
		s->result = CLOUD_RECOVERED;
	}
}

static void load_report(struct state *s, const char *run)
{
	struct rouse_report r = { 0 };
	struct rouse_err ignored;

	if (rouse_report_load(&r, run, &ignored) == 0)
		s->report = json_incref(r.json);
	rouse_report_done(&r);
}

static const char *cloud_of(const struct state *s)
{
	return string_at(json_object_get(s->report, "instance"), "cloud");
}

static void last_update(const struct state *s, char buf[static 64])
{
	json_int_t since = json_integer_value(json_object_get(s->status, "since"));
	time_t when = time(NULL) - (time_t)(rouse_clock_ms() / 1000) + (time_t)(since / 1000);
	struct tm tm;

	*buf = '\0';
	if (s->status && gmtime_r(&when, &tm))
		(void)strftime(buf, 64, "%a, %d %b %Y %H:%M:%S +0000", &tm);
}

static json_t *strings(const char *only)
{
	json_t *list = json_array();

	if (only)
		rouse_json_append_string(list, only);
	return list;
}

static json_t *warnings_of(const struct state *s)
{
	json_t *warnings = json_object();

	if (s->result == CLOUD_RECOVERED)
		rouse_json_set(warnings, "WARNING", strings(s->reason ? s->reason : "degraded"));
	return warnings;
}

/* The fields that its readers look for, in its schema's version 1. */
static json_t *status_json(const struct state *s)
{
	json_t *j = json_object();
	auto_free char *source = rouse_strdup(datasource_of(cloud_of(s)));
	const char *datasource = source + strlen("DataSource");
	char at[64], lower[64];

	last_update(s, at);
	(void)snprintf(lower, sizeof(lower), "%s", s->report ? datasource : "");
	for (char *p = lower; *p; p++)
		*p = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
	rouse_json_set_string(j, "_schema_version", "1");
	rouse_json_set_string(j, "boot_status_code",
			      rouse_streq(s->word, "disabled") ? "disabled-by-kernel-command-line"
							       : "enabled-by-generator");
	rouse_json_set_string(j, "datasource", lower);
	rouse_json_set_string(j, "detail", s->report ? source : "");
	rouse_json_set(j, "errors", strings(s->result == CLOUD_ERROR ? s->reason : NULL));
	rouse_json_set_string(j, "extended_status", s->extended);
	rouse_json_set_string(j, "last_update", at);
	rouse_json_set(j, "recoverable_errors", warnings_of(s));
	rouse_json_set(j, "schemas", json_object());
	if (rouse_streq(s->word, "running"))
		rouse_json_set_string(j, "stage", string_at(s->status, "phase"));
	else
		rouse_json_set(j, "stage", json_null());
	rouse_json_set_string(j, "status", s->word);
	return j;
}

/* Flat enough for lists and objects in JSON, which is YAML. */
static void print_yaml(const json_t *j)
{
	const char *key;
	json_t *value;

	(void)printf("---\n");
	json_object_foreach ((json_t *)j, key, value) {
		auto_free char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

		(void)printf("%s: %s\n", key, text);
	}
	(void)printf("...\n");
}

static void print_long(const struct state *s)
{
	char at[64];

	last_update(s, at);
	(void)printf("status: %s\nextended_status: %s\nboot_status_code: %s\n", s->word,
		     s->extended,
		     rouse_streq(s->word, "disabled") ? "disabled-by-kernel-command-line"
						      : "enabled-by-generator");
	if (*at)
		(void)printf("last_update: %s\n", at);
	(void)printf("detail: %s\n", s->report ? datasource_of(cloud_of(s)) : "");
	if (s->result == CLOUD_ERROR && s->reason)
		(void)printf("errors:\n\t- %s\n", s->reason);
	else
		(void)printf("errors: []\n");
	if (s->result == CLOUD_RECOVERED && s->reason)
		(void)printf("recoverable_errors:\nWARNING:\n\t- %s\n", s->reason);
	else
		(void)printf("recoverable_errors: {}\n");
}

struct status_options {
	const char *run, *format;
	bool wait, with_details;
};

static int parse_status(struct status_options *o, int argc, char **argv)
{
	static const struct option options[] = {
		{ "wait", no_argument, NULL, 'w' },
		{ "long", no_argument, NULL, 'l' },
		{ "format", required_argument, NULL, 'f' },
		{ "run", required_argument, NULL, 'r' },
		{ 0 },
	};
	int c;

	*o = (struct status_options){ .run = RUN_DIR, .format = "tabular" };
	while ((c = getopt_long(argc, argv, "wl", options, NULL)) != -1) {
		if (c == 'w')
			o->wait = true;
		else if (c == 'l')
			o->with_details = true;
		else if (c == 'f')
			o->format = optarg;
		else if (c == 'r')
			o->run = optarg;
		else
			return complain("status: unknown or incomplete option", argv[optind - 1]);
	}
	if (optind < argc)
		return complain("status: unexpected argument", argv[optind]);
	if (!rouse_streq(o->format, "json") && !rouse_streq(o->format, "yaml") &&
	    !rouse_streq(o->format, "tabular"))
		return complain("status: --format is json, yaml or tabular, not", o->format);
	return 0;
}

static int cloud_status(int argc, char **argv)
{
	__attribute__((cleanup(state_done))) struct state s = { 0 };
	struct status_options o;
	struct rouse_err e = { 0 };
	auto_json json_t *j = NULL;

	if (parse_status(&o, argc, argv) != 0)
		return CLOUD_RECOVERED;
	s.status = verdict_load(o.run, &e);
	if (o.wait && !(s.status == NULL && is_disabled()) &&
	    (!s.status || verdict_is_pending(s.status))) {
		json_decref(s.status);
		s.status = NULL;
		if (verdict_wait(o.run, ROUSE_STATUS_TIMEOUT, &s.status, &e) < 0) {
			return fail(e.text, NULL);
		}
	}
	load_report(&s, o.run);
	judge(&s);
	j = status_json(&s);
	if (rouse_streq(o.format, "json")) {
		auto_free char *text = rouse_json_print(j);

		(void)fputs(text, stdout);
	} else if (rouse_streq(o.format, "yaml")) {
		print_yaml(j);
	} else if (o.with_details) {
		print_long(&s);
	} else {
		(void)printf("status: %s\n", s.word);
	}
	return s.result;
}

/* --- id --------------------------------------------------------------------------------------- */

int cloud_id_main(int argc, char **argv)
{
	static const struct option options[] = { { "long", no_argument, NULL, 'l' },
						 { "json", no_argument, NULL, 'j' },
						 { "run", required_argument, NULL, 'r' },
						 { 0 } };
	__attribute__((cleanup(state_done))) struct state s = { 0 };
	const char *run = RUN_DIR, *name, *region;
	bool with_region = false, as_json = false;
	int c;

	while ((c = getopt_long(argc, argv, "lj", options, NULL)) != -1) {
		if (c == 'l')
			with_region = true;
		else if (c == 'j')
			as_json = true;
		else if (c == 'r')
			run = optarg;
		else
			return complain("cloud-id: unknown option", argv[optind - 1]);
	}
	load_report(&s, run);
	if (!s.report)
		return fail("rouse did not boot this machine", NULL);
	name = cloud_name(cloud_of(&s));
	region = string_at(json_object_get(s.report, "instance"), "region");
	if (as_json) {
		auto_json json_t *j = json_object();
		auto_free char *text = NULL;

		rouse_json_set_string(j, "cloud_id", name);
		rouse_json_set_string(j, "region", region ? region : "");
		text = rouse_json_print(j);
		(void)fputs(text, stdout);
	} else {
		(void)printf("%s%s%s\n", name, with_region ? "\t" : "",
			     with_region ? (region ? region : "") : "");
	}
	return 0;
}

/* --- clean ------------------------------------------------------------------------------------ */

/* What makes this machine this instance. Generations stay: they are what the disk holds. */
static const char *const instance_files[] = {
	"/var/lib/rouse/document.json",  "/var/lib/rouse/layers.json",
	"/var/lib/rouse/signalled.json", "/var/lib/rouse/reboots.json",
	"/var/lib/rouse/attempts.json",  "/run/cloud-init/result.json",
	"/run/cloud-init/status.json",   "/var/lib/cloud/instance/boot-finished",
};

static int remove_files(const struct rouse_root *root)
{
	int result = 0;

	for (size_t i = 0; i < ARRAY_SIZE(instance_files); i++) {
		struct rouse_err e;
		const char *name;
		auto_fd int dir = rouse_fs_open_parent(root, instance_files[i], &name, &e);

		if (dir < 0 && e.sys == ENOENT)
			continue;
		if (dir >= 0 && (unlinkat(dir, name, 0) == 0 || errno == ENOENT))
			continue;
		result = fail("clean: cannot remove", instance_files[i]);
	}
	return result;
}

static int reboot_machine(void)
{
	static const char *const argv[] = { "systemctl", "--no-block", "reboot", NULL };
	const struct rouse_proc p = { .argv = argv,
				      .deadline = rouse_clock_ms() + ROUSE_SIGNAL_TIMEOUT };
	struct rouse_err e;

	if (rouse_proc_check(&p, &e) == 0)
		return 0;
	return fail(e.text, NULL);
}

static int cloud_clean(int argc, char **argv)
{
	static const struct option options[] = {
		{ "logs", no_argument, NULL, 'l' },
		{ "seed", no_argument, NULL, 's' },
		{ "reboot", no_argument, NULL, 'r' },
		{ "machine-id", no_argument, NULL, 'm' },
		{ "configs", required_argument, NULL, 'c' },
		{ "root", required_argument, NULL, 'R' },
		{ 0 },
	};
	bool reboot = false, machine_id = false;
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	static const char uninitialized[] = "uninitialized\n";
	const char *top = "/";
	struct rouse_err e;
	int c;

	while ((c = getopt_long(argc, argv, "lsrc:", options, NULL)) != -1) {
		if (c == 'r')
			reboot = true;
		else if (c == 'm')
			machine_id = true;
		else if (c == 'R')
			top = optarg;
		else if (c == '?')
			return complain("clean: unknown option", argv[optind - 1]);
		/* rouse keeps no logs but the journal's, no seed and writes no configuration of these. */
	}
	if (rouse_root_open(&root, top, &e) < 0)
		return fail(e.text, NULL);
	if (remove_files(&root) != 0)
		return CLOUD_ERROR;
	if (machine_id &&
	    rouse_fs_replace(&root, "/etc/machine-id", uninitialized, sizeof(uninitialized) - 1,
			     0444, (uid_t)-1, (gid_t)-1, &e) < 0)
		return fail(e.text, NULL);
	return reboot ? reboot_machine() : 0;
}

/* --- all -------------------------------------------------------------------------------------- */

int cloud_init_main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
	} commands[] = { { "status", cloud_status },
			 { "query", cloud_query },
			 { "clean", cloud_clean } };

	opterr = 0;
	if (argc > 1 && (rouse_streq(argv[1], "--version") || rouse_streq(argv[1], "-v"))) {
		(void)printf("%s rouse-" ROUSE_VERSION "\n", argv[0]);
		return 0;
	}
	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(commands); i++)
		if (rouse_streq(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	(void)fprintf(stderr,
		      "usage: cloud-init {status,query,clean} [OPTIONS]\n"
		      "This machine is provisioned by rouse, which answers these commands of "
		      "cloud-init; see rouse(8).\n");
	return argc > 1 && (rouse_streq(argv[1], "--help") || rouse_streq(argv[1], "-h"))
		       ? 0
		       : CLOUD_RECOVERED;
}
