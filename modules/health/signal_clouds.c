/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What other clouds want to hear, each at an address of its own: Google's guest attributes (nothing but
 * "enable-guest-attributes" is needed), Azure's provisioning health (a machine that does not report is
 * given up) and its host, and the wait conditions of OpenStack Heat.
 */
#include "signals.h"

#include "console.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <rouse/clock.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/mem.h>
#include <rouse/source.h>
#include <rouse/text.h>

/* --- Google ----------------------------------------------------------------------------------- */

#define GCE_ATTRIBUTES "http://169.254.169.254/computeMetadata/v1/instance/guest-attributes"

/* What a path of the service may hold. */
static bool is_attribute(const char *s)
{
	return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
		       strlen(s) &&
	       *s && *s != '.';
}

const struct rouse_field signal_gce_fields[2] = {
	ROUSE_FIELD(struct signal_gce, name_space, "namespace",
		    "Namespace of the guest attribute; without it, rouse.", .type = ROUSE_STRING,
		    .max = 128, .format = "letters, digits, '-', '_' and '.'",
		    .valid = is_attribute),
	ROUSE_FIELD(struct signal_gce, key, "key", "Its key; without it, status.",
		    .type = ROUSE_STRING, .max = 128, .format = "letters, digits, '-', '_' and '.'",
		    .valid = is_attribute),
};

/* Whoever answers at the link-local address of another cloud's machine is not to be told. */
static int expect_firmware(const char *name, const char *wanted, const char *cloud,
			   struct rouse_err *e)
{
	struct rouse_machine m = { 0 };
	char value[128] = "";
	bool is;

	if (rouse_machine_open(&m, "", e) < 0)
		return -1;
	is = rouse_machine_dmi(&m, name, value, sizeof(value)) && rouse_strip_prefix(value, wanted);
	rouse_machine_done(&m);
	return is ? 0
		  : rouse_fail(e, ROUSE_DOCUMENT, 0, "this is no machine of %s, says its firmware",
			       cloud);
}

/* Where `gcloud compute ssh` finds what the machine must prove to be: hostkeys/<type> has the key in base64. */
static int gce_tell_host_key(void *arg, const char *line, struct rouse_err *e)
{
	static const char *const headers[] = { "Metadata-Flavor: Google",
					       "Content-Type: text/plain", NULL };
	size_t type = strcspn(line, " ");
	auto_free char *url = rouse_asprintf(GCE_ATTRIBUTES "/hostkeys/%.*s", (int)type, line);
	auto_free char *key = rouse_strndup(line + type + 1, strcspn(line + type + 1, " "));
	long status = 0;

	return signal_send(arg, "PUT", url, headers, key, true, &status, e);
}

static int gce_tell(struct signal_call *c, struct rouse_err *e)
{
	static const char *const headers[] = { "Metadata-Flavor: Google",
					       "Content-Type: application/json", NULL };
	const struct signal_gce *conf = c->conf;
	auto_json json_t *json = signal_body(c);
	auto_free char *body = json_dumps(json, JSON_COMPACT);
	auto_free char *url = rouse_asprintf(GCE_ATTRIBUTES "/%s/%s",
					     conf->name_space ? conf->name_space : "rouse",
					     conf->key ? conf->key : "status");
	long status = 0;
	int r;

	(void)snprintf(c->to, sizeof(c->to), "%s", url + sizeof(GCE_ATTRIBUTES));
	if (expect_firmware("product_name", "Google", "Google", e) < 0)
		return -1;
	r = signal_send(c, "PUT", url, headers, body, true, &status, e);
	if (r < 0 && status == 403)
		return rouse_fail(e, ROUSE_DOCUMENT, EACCES,
				  "guest attributes are off: set the metadata "
				  "'enable-guest-attributes' to TRUE");
	if (r < 0 || c->verdict == ROUSE_PENDING)
		return r;
	return console_each_host_key("/etc/ssh", gce_tell_host_key, c, e);
}

const struct signal signal_gce = {
	.name = "gce",
	.slot = SLOT_GCE,
	.stage = SIGNAL_REASON,
	.timeout = ROUSE_SIGNAL_TIMEOUT,
	.probe = gce_tell, /* it says "pending", for whoever looks */
	.tell = gce_tell,
};

/* --- Azure ------------------------------------------------------------------------------------ */

#define AZURE_HEALTH "http://168.63.129.16/provisioning/health"
/* Every machine of Azure has it, and no other (Microsoft's documentation of its images). */
#define AZURE_TAG "7783-7084-3265-9085-8269-3286-77"
#define AZURE_DESCRIPTION 512

/* "result=error|reason=…|agent=rouse/…|vm_id=…|timestamp=…", as all agents of Azure say it. */
static char *azure_description(const struct signal_call *c)
{
	bool good = signal_is_good(c);
	char text[AZURE_DESCRIPTION + 1], at[32] = "";
	auto_free char *reason = rouse_strdup(c->reason);
	time_t now = time(NULL);
	struct tm tm;

	for (char *p = reason; *p; p++)
		if (*p == '|') /* which parts the fields */
			*p = '/';
	if (gmtime_r(&now, &tm))
		(void)strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%SZ", &tm);
	(void)snprintf(text, sizeof(text),
		       "result=%s%s%.300s|agent=rouse/" ROUSE_VERSION "|vm_id=%.64s|timestamp=%s",
		       good ? "success" : "error", good ? "" : "|reason=", good ? "" : reason,
		       c->id, at);
	rouse_one_line(text);
	return rouse_strdup(text);
}

static int azure_tell(struct signal_call *c, struct rouse_err *e)
{
	static const char *const headers[] = { "Content-Type: application/json",
					       "x-ms-guest-agent-name: rouse v" ROUSE_VERSION,
					       NULL };
	auto_json json_t *json = json_object();
	auto_free char *body = NULL;

	(void)snprintf(c->to, sizeof(c->to), "168.63.129.16");
	if (expect_firmware("chassis_asset_tag", AZURE_TAG, "Azure", e) < 0)
		return -1;
	rouse_json_set_string(json, "state", signal_is_good(c) ? "Ready" : "NotReady");
	if (!signal_is_good(c)) {
		auto_free char *text = azure_description(c);
		json_t *details = json_object();

		rouse_json_set_string(details, "subStatus",
				      c->verdict == ROUSE_PENDING ? "Provisioning"
								  : "ProvisioningFailed");
		rouse_json_set_string(details, "description",
				      c->verdict == ROUSE_PENDING ? "provisioning" : text);
		rouse_json_set(json, "details", details);
	}
	body = json_dumps(json, JSON_COMPACT);
	return signal_send(c, "POST", AZURE_HEALTH, headers, body, true, NULL, e);
}

const struct signal signal_azure = {
	.name = "azure",
	.slot = SLOT_AZURE,
	.stage = SIGNAL_GROUP,
	.timeout = ROUSE_SIGNAL_GROUP,
	.probe = azure_tell, /* "Provisioning": the fabric sees that somebody is at work */
	.tell = azure_tell,
};

/* --- Azure's host ----------------------------------------------------------------------------- */

/* Which needs no network: what Hyper-V asks hv_kvp_daemon for, which reads the file that all who write to it lock
 * (struct kvp_record in the kernel's tools/hv/hv_kvp_daemon.c). */
#define KVP_POOL "/var/lib/hyperv/.kvp_pool_1"
#define KVP_KEY "PROVISIONING_REPORT"
#define KVP_PAUSE 50

struct kvp_record {
	char key[512], value[2048];
};

static int kvp_lock(int fd, uint64_t deadline, struct rouse_err *e)
{
	const struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	while (fcntl(fd, F_OFD_SETLK, &whole) < 0) {
		if (errno != EAGAIN && errno != EACCES)
			return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot lock '" KVP_POOL "'");
		if (!rouse_clock_left(deadline))
			return rouse_fail(e, ROUSE_SYSTEM, 0,
					  "'" KVP_POOL "' was locked all the time");
		rouse_clock_sleep_until(rouse_clock_ms() + KVP_PAUSE);
	}
	return 0;
}

/* Where the record is, or has room: behind the last whole one. */
static off_t kvp_find(int fd)
{
	struct kvp_record r;
	off_t at = 0;

	while (pread(fd, &r, sizeof(r), at) == sizeof(r) &&
	       strncmp(r.key, KVP_KEY, sizeof(r.key)) != 0)
		at += (off_t)sizeof(r);
	return at;
}

static int kvp_tell(struct signal_call *c, struct rouse_err *e)
{
	auto_free char *text = azure_description(c);
	struct kvp_record r = { .key = KVP_KEY };
	auto_fd int fd = -1;

	(void)snprintf(c->to, sizeof(c->to), KVP_KEY);
	if (expect_firmware("chassis_asset_tag", AZURE_TAG, "Azure", e) < 0)
		return -1;
	fd = open(KVP_POOL, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT) {
		(void)snprintf(c->note, sizeof(c->note),
			       "no hv_kvp_daemon shows it to the host: '" KVP_POOL
			       "' is not there");
		return 0;
	}
	(void)snprintf(r.value, sizeof(r.value), "%s", text);
	if (fd < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open '" KVP_POOL "'");
	if (kvp_lock(fd, c->deadline, e) < 0)
		return -1;
	if (pwrite(fd, &r, sizeof(r), kvp_find(fd)) != (ssize_t)sizeof(r))
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot write '" KVP_POOL "'");
	return 0;
}

const struct signal signal_azure_host = {
	.name = "azureHost",
	.slot = SLOT_AZURE,
	.stage = SIGNAL_LOCAL,
	.timeout = ROUSE_SIGNAL_TIMEOUT,
	.tell = kvp_tell,
};

/* --- OpenStack -------------------------------------------------------------------------------- */

static const char *const heat_methods[] = { "POST", "PUT", NULL };

const struct rouse_field signal_heat_fields[4] = {
	ROUSE_REQUIRED(struct signal_heat, url, "url", "The wait condition handle's URL.",
		       .type = ROUSE_STRING, .format = "an http:// or https:// URL",
		       .valid = signal_is_http_url, .pattern = "^https?://", .interpolate = true),
	ROUSE_FIELD(struct signal_heat, method, "method",
		    "POST (the default), or PUT for a handle that is a temporary URL of Swift.",
		    .type = ROUSE_STRING, .words = heat_methods),
	ROUSE_FIELD(struct signal_heat, token, "token",
		    "Sent as X-Auth-Token, for a handle that has one.", .type = ROUSE_STRING,
		    .secret = true, .min = 1, .max = 8192),
	ROUSE_FIELD(struct signal_heat, id, "id",
		    "Tells apart the signals of one condition; without it, the instance's id.",
		    .type = ROUSE_STRING, .min = 1, .max = 255, .interpolate = true),
};

static int heat_tell(struct signal_call *c, struct rouse_err *e)
{
	const struct signal_heat *conf = c->conf;
	auto_free char *token = conf->token ? rouse_asprintf("X-Auth-Token: %s", conf->token)
					    : NULL;
	const char *const headers[] = { "Content-Type: application/json", token, NULL };
	auto_json json_t *json = json_object();
	auto_free char *body = NULL;

	(void)rouse_print_url(c->to, sizeof(c->to), conf->url);
	rouse_json_set_string(json, "status", signal_is_good(c) ? "SUCCESS" : "FAILURE");
	rouse_json_set_string(json, "reason", *c->reason ? c->reason : "ready");
	rouse_json_set_string(json, "data", rouse_verdict_word(c->verdict));
	if (conf->id || *c->id)
		rouse_json_set_string(json, "id", conf->id ? conf->id : c->id);
	body = json_dumps(json, JSON_COMPACT);
	return signal_send(c, conf->method ? conf->method : "POST", conf->url, headers, body, false,
			   NULL, e);
}

const struct signal signal_heat = {
	.name = "heat",
	.slot = SLOT_HEAT,
	.stage = SIGNAL_GROUP,
	.timeout = ROUSE_SIGNAL_GROUP,
	.tell = heat_tell,
};
