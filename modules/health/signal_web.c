/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verdict over HTTP: posted to a URL in one of three forms, and put into a bucket as an object, which
 * outlives the machine and is the best place for the reason.
 */
#include "signals.h"

#include <string.h>
#include <time.h>

#include <rouse/fetch.h>
#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/mem.h>
#include <rouse/sigv4.h>
#include <rouse/text.h>

bool signal_is_http_url(const char *s)
{
	return (rouse_strip_prefix(s, "http://") || rouse_strip_prefix(s, "https://")) &&
	       rouse_is_url(s);
}

/* --- a URL ------------------------------------------------------------------------------------ */

static const char *const phone_formats[] = { "rouse", "cloud-init", "webhook", NULL };

const struct rouse_field signal_phone_fields[2] = {
	ROUSE_REQUIRED(struct signal_phone, url, "url", "Gets the verdict by POST.",
		       .type = ROUSE_STRING, .format = "an http:// or https:// URL",
		       .valid = signal_is_http_url, .pattern = "^https?://", .interpolate = true),
	ROUSE_FIELD(struct signal_phone, format, "format",
		    "rouse (the default): a JSON object with verdict, reason and instance; "
		    "cloud-init: the form that cloud-init's phone_home sends, of a machine that is "
		    "up; webhook: the JSON object of cloud-init's reporting.",
		    .type = ROUSE_STRING, .words = phone_formats),
};

static void add_host_key(struct rouse_buf *form, const char *kind)
{
	auto_free char *path = rouse_asprintf("/etc/ssh/ssh_host_%s_key.pub", kind);
	auto_free char *name = rouse_asprintf("pub_key_%s", kind), *value = NULL;
	char key[2048];

	if (!rouse_read_line(path, key, sizeof(key)) || !*key)
		memcpy(key, "N/A", sizeof("N/A"));
	value = rouse_sigv4_encode(key, strlen(key), "");
	rouse_buf_printf(form, "%s%s=%s", form->len ? "&" : "", name, value);
}

/* The fields of cloud-init's phone_home, all of them. */
static char *phone_form(const struct signal_call *c)
{
	static const char *const keys[] = { "rsa", "ecdsa", "ed25519" };
	const char *domain;
	char host[128] = "N/A";
	struct rouse_buf form = { 0 };

	(void)gethostname(host, sizeof(host) - 1);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		add_host_key(&form, keys[i]);
	domain = strchr(host, '.');
	{
		auto_free char *id = rouse_sigv4_encode(*c->id ? c->id : "N/A",
							strlen(*c->id ? c->id : "N/A"), "");
		auto_free char *fqdn = rouse_sigv4_encode(host, strlen(host), "");
		auto_free char *name = rouse_sigv4_encode(
			host, domain ? (size_t)(domain - host) : strlen(host), "");

		rouse_buf_printf(&form, "&instance_id=%s&hostname=%s&fqdn=%s", id, name, fqdn);
	}
	return form.data;
}

static char *webhook_body(const struct signal_call *c)
{
	static const char *const results[] = { [ROUSE_PENDING] = "WARN",
					       [ROUSE_READY] = "SUCCESS",
					       [ROUSE_FALLBACK] = "WARN",
					       [ROUSE_FAILED] = "FAIL" };
	auto_json json_t *j = json_object();
	json_int_t up = json_integer_value(json_object_get(c->report, "since"));

	rouse_json_set_string(j, "name", "rouse");
	rouse_json_set_string(j, "description",
			      *c->reason ? c->reason : rouse_verdict_word(c->verdict));
	rouse_json_set_string(j, "event_type", "finish");
	rouse_json_set_string(j, "origin", "rouse");
	rouse_json_set(j, "timestamp", json_real((double)time(NULL)));
	rouse_json_set_string(j, "result", results[c->verdict]);
	rouse_json_set(j, "duration", json_real((double)up / 1000));
	rouse_json_set_string(j, "instance_id", c->id);
	return json_dumps(j, JSON_COMPACT);
}

static int phone_tell(struct signal_call *c, struct rouse_err *e)
{
	static const char *const as_json[] = { "Content-Type: application/json", NULL };
	static const char *const as_form[] = { "Content-Type: application/x-www-form-urlencoded",
					       NULL };
	const struct signal_phone *conf = c->conf;
	bool form = rouse_streq(conf->format, "cloud-init");
	auto_free char *body = NULL;

	(void)rouse_print_url(c->to, sizeof(c->to), conf->url);
	if (form && !signal_is_good(c)) {
		(void)snprintf(c->note, sizeof(c->note),
			       "this form is sent by machines that are up, which this one is not");
		return 0;
	}
	if (form) {
		body = phone_form(c);
	} else if (rouse_streq(conf->format, "webhook")) {
		body = webhook_body(c);
	} else {
		auto_json json_t *json = signal_body(c);

		body = json_dumps(json, JSON_COMPACT);
	}
	return signal_send(c, "POST", conf->url, form ? as_form : as_json, body, false, NULL, e);
}

const struct signal signal_phone = {
	.name = "phoneHome",
	.slot = SLOT_PHONE,
	.stage = SIGNAL_REASON,
	.timeout = ROUSE_SIGNAL_TIMEOUT,
	.tell = phone_tell,
};

/* --- an object -------------------------------------------------------------------------------- */

static bool is_object_url(const char *s)
{
	return rouse_is_url(s) &&
	       (signal_is_http_url(s) || rouse_strip_prefix(s, "s3://") ||
		rouse_strip_prefix(s, "gs://") || rouse_strip_prefix(s, "az://"));
}

const struct rouse_field signal_object_fields[1] = {
	ROUSE_REQUIRED(struct signal_object, url, "url",
		       "Gets the report by PUT: an object such as "
		       "s3://fleet/boot/{instance.id}.json, or a presigned URL.",
		       .type = ROUSE_STRING, .format = "an s3://, gs://, az:// or https:// URL",
		       .valid = is_object_url, .interpolate = true),
};

static int object_put(struct signal_call *c, struct rouse_err *e)
{
	const struct signal_object *conf = c->conf;
	/* Azure's blobs ask for their kind. */
	const char *const headers[] = { "Content-Type: application/json",
					strstr(conf->url, ".blob.core.windows.net/")
						? "x-ms-blob-type: BlockBlob"
						: NULL,
					NULL };
	auto_json json_t *pending = c->verdict == ROUSE_PENDING ? signal_body(c) : NULL;
	auto_free char *body = rouse_json_print(pending ? pending : c->report);

	(void)rouse_print_url(c->to, sizeof(c->to), conf->url);
	return signal_send(c, "PUT", conf->url, headers, body, false, NULL, e);
}

const struct signal signal_object = {
	.name = "object",
	.slot = SLOT_OBJECT,
	.stage = SIGNAL_REASON,
	.timeout = ROUSE_SIGNAL_TIMEOUT,
	.probe = object_put, /* an object that says "pending", until the verdict replaces it */
	.tell = object_put,
};
