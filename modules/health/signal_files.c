/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that others wait for: Cluster API's sentinel, those of cloud-init, which third parties
 * poll, and what node_exporter collects.
 */
#include "signals.h"

#include <string.h>
#include <time.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/mem.h>
#include <rouse/metrics.h>
#include <rouse/text.h>

static int write_file(const char *path, const char *text, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;

	if (rouse_root_open(&root, "/", e) < 0 || rouse_fs_mkdirs(&root, path, false, e) < 0)
		return -1;
	return rouse_fs_replace(&root, path, text, strlen(text), 0644, (uid_t)-1, (gid_t)-1, e);
}

/* --- Cluster API ------------------------------------------------------------------------------ */

#define SENTINEL "/run/cluster-api/bootstrap-success.complete"

static int cluster_tell(struct signal_call *c, struct rouse_err *e)
{
	(void)snprintf(c->to, sizeof(c->to), SENTINEL);
	if (!signal_is_good(c)) {
		(void)snprintf(c->note, sizeof(c->note), "it is absent: this boot has failed");
		return 0;
	}
	/* Some readers compare the text (KubeVirt's). */
	return write_file(SENTINEL, "success", e);
}

const struct signal signal_cluster = {
	.name = "clusterApi",
	.slot = SLOT_CLUSTER,
	.stage = SIGNAL_LOCAL,
	.timeout = ROUSE_SIGNAL_TIMEOUT,
	.tell = cluster_tell,
};

/* --- cloud-init ------------------------------------------------------------------------------- */

#define CLOUD_RUN "/run/cloud-init"
#define CLOUD_FINISHED "/var/lib/cloud/instance/boot-finished"

static const char *datasource(const struct signal_call *c)
{
	static const char *const names[][2] = {
		{ "ec2", "DataSourceEc2" },         { "gce", "DataSourceGCE" },
		{ "azure", "DataSourceAzure" },     { "openstack", "DataSourceOpenStack" },
		{ "nocloud", "DataSourceNoCloud" },
	};
	const char *cloud = json_string_value(
		json_object_get(json_object_get(c->report, "instance"), "cloud"));

	for (size_t i = 0; cloud && i < ARRAY_SIZE(names); i++)
		if (rouse_streq(cloud, names[i][0]))
			return names[i][1];
	return "DataSourceNone";
}

static json_t *errors_of(const struct signal_call *c)
{
	json_t *errors = json_array();

	if (c->verdict == ROUSE_FAILED)
		rouse_json_append_string(errors, *c->reason ? c->reason : "failed");
	return errors;
}

/* The four stages that its readers know, all over; times are seconds since 1970. */
static char *cloud_status(const struct signal_call *c)
{
	static const char *const stages[] = { "init-local", "init", "modules-config",
					      "modules-final" };
	auto_json json_t *j = json_object();
	json_t *v1 = json_object();
	double now = (double)time(NULL), up = (double)rouse_clock_ms() / 1000;

	for (size_t i = 0; i < ARRAY_SIZE(stages); i++) {
		json_t *stage = json_object(), *warnings = json_object();

		rouse_json_set(stage, "start", json_real(now - up));
		rouse_json_set(stage, "finished", json_real(now));
		rouse_json_set(stage, "errors",
			       i + 1 == ARRAY_SIZE(stages) ? errors_of(c) : json_array());
		if (c->verdict == ROUSE_FALLBACK && i + 1 == ARRAY_SIZE(stages)) {
			json_t *list = json_array();

			rouse_json_append_string(list, c->reason);
			rouse_json_set(warnings, "WARNING", list);
		}
		rouse_json_set(stage, "recoverable_errors", warnings);
		rouse_json_set(v1, stages[i], stage);
	}
	rouse_json_set_string(v1, "datasource", datasource(c));
	rouse_json_set(v1, "stage", json_null());
	rouse_json_set(j, "v1", v1);
	return rouse_json_print(j);
}

static char *cloud_result(const struct signal_call *c)
{
	auto_json json_t *j = json_object();
	json_t *v1 = json_object();

	rouse_json_set_string(v1, "datasource", datasource(c));
	rouse_json_set(v1, "errors", errors_of(c));
	rouse_json_set(j, "v1", v1);
	return rouse_json_print(j);
}

/* Who waits for boot-finished looks at the result next: it is the last. */
static int cloud_tell(struct signal_call *c, struct rouse_err *e)
{
	auto_free char *status = cloud_status(c), *result = cloud_result(c), *finished = NULL;
	time_t now = time(NULL);
	char date[64] = "";
	struct tm tm;

	(void)snprintf(c->to, sizeof(c->to), CLOUD_RUN);
	if (gmtime_r(&now, &tm))
		(void)strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000", &tm);
	finished = rouse_asprintf("%.2f - %s - v. rouse " ROUSE_VERSION "\n",
				  (double)rouse_clock_ms() / 1000, date);
	if (write_file(CLOUD_RUN "/status.json", status, e) < 0 ||
	    write_file(CLOUD_RUN "/result.json", result, e) < 0)
		return -1;
	return write_file(CLOUD_FINISHED, finished, e);
}

const struct signal signal_cloud_init = {
	.name = "cloudInit",
	.slot = SLOT_CLOUD_INIT,
	.stage = SIGNAL_LOCAL,
	.timeout = ROUSE_SIGNAL_TIMEOUT,
	.tell = cloud_tell,
};

/* --- Prometheus ------------------------------------------------------------------------------- */

#define METRICS "/var/lib/prometheus/node-exporter/rouse.prom"

static bool is_metrics_file(const char *s)
{
	size_t n = strlen(s);

	return rouse_is_absolute_path(s) && n > 6 && rouse_streq(s + n - 5, ".prom");
}

const struct rouse_field signal_prometheus_fields[1] = {
	ROUSE_FIELD(struct signal_prometheus, file, "file",
		    "The file; without it, " METRICS ", where Debian's looks.",
		    .type = ROUSE_STRING, .format = "an absolute path that ends in .prom",
		    .valid = is_metrics_file),
};

static int prometheus_tell(struct signal_call *c, struct rouse_err *e)
{
	const struct signal_prometheus *conf = c->conf;
	auto_buf struct rouse_buf text = { 0 };

	(void)snprintf(c->to, sizeof(c->to), "%s", conf->file ? conf->file : METRICS);
	rouse_metrics(c->report, &text);
	return write_file(c->to, text.data, e);
}

const struct signal signal_prometheus = {
	.name = "prometheus",
	.slot = SLOT_PROMETHEUS,
	.stage = SIGNAL_LOCAL,
	.timeout = ROUSE_SIGNAL_TIMEOUT,
	.tell = prometheus_tell,
};
