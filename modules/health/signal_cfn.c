/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AWS CloudFormation. SignalResource needs no permission: the identity document of the instance, which its
 * metadata service signs, authorizes it ("CFN_V1"). A stack that is not being made or updated refuses it,
 * which is nothing to worry about. A wait condition's handle is a presigned URL, which also takes a reason.
 */
#include "signals.h"

#include <string.h>

#include <rouse/clock.h>
#include <rouse/imds.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/mem.h>
#include <rouse/query.h>
#include <rouse/text.h>

const struct rouse_field signal_cfn_fields[5] = {
	ROUSE_FIELD(struct signal_cfn, stack, "stack", "Name or ARN of the stack.",
		    .type = ROUSE_STRING, .min = 1, .max = 2048, .interpolate = true),
	ROUSE_FIELD(struct signal_cfn, resource, "resource",
		    "Logical name of the resource that waits (its CreationPolicy).",
		    .type = ROUSE_STRING, .min = 1, .max = 255),
	ROUSE_FIELD(struct signal_cfn, region, "region",
		    "The stack's region; without it, this instance's.", .type = ROUSE_STRING,
		    .min = 1, .max = 32),
	ROUSE_FIELD(struct signal_cfn, endpoint, "endpoint",
		    "Where the service is asked, such as a VPC endpoint; without it, Amazon's.",
		    .type = ROUSE_STRING, .format = "an http:// or https:// URL",
		    .valid = signal_is_http_url),
	ROUSE_FIELD(struct signal_cfn, handle, "handle",
		    "The presigned URL of a wait condition's handle, in place of a resource.",
		    .type = ROUSE_STRING, .format = "an http:// or https:// URL",
		    .valid = signal_is_http_url),
};

/* "CFN_V1 DOCUMENT:SIGNATURE", both base64, each in one line. */
static int authorize(struct signal_call *c, char **ret, struct rouse_err *e)
{
	char document[8192], signature[2048], *out = signature;
	auto_free char *encoded = NULL;
	struct rouse_imds i;
	int r;

	if (signal_imds(c, &i, e) < 0)
		return -1;
	/* Its bytes are what was signed: the end of line is kept out of it by the service itself. */
	r = signal_imds_get(&i, "dynamic/instance-identity/document", document, sizeof(document),
			    e);
	if (r == 0)
		r = signal_imds_get(&i, "dynamic/instance-identity/signature", signature,
				    sizeof(signature), e);
	rouse_imds_done(&i);
	if (r < 0)
		return -1;
	if (!document[0] || !signature[0])
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "the metadata service has no signed identity of this instance");
	for (const char *p = signature; *p; p++) /* it comes in lines of 64 */
		if (*p > ' ' && *p <= '~')
			*out++ = *p;
	*out = '\0';
	encoded = rouse_base64((const uint8_t *)document, strlen(document));
	*ret = rouse_asprintf("Authorization: CFN_V1 %s:%s", encoded, signature);
	return 0;
}

static int cfn_probe(struct signal_call *c, struct rouse_err *e)
{
	const struct signal_cfn *conf = c->conf;
	auto_free char *authorization = NULL;

	(void)snprintf(c->to, sizeof(c->to), "%s", conf->stack ? conf->stack : "wait condition");
	return conf->handle ? 0 : authorize(c, &authorization, e);
}

static int signal_resource(struct signal_call *c, struct rouse_err *e)
{
	const struct signal_cfn *conf = c->conf;
	auto_buf struct rouse_buf body = { 0 };
	auto_free char *authorization = NULL;
	struct rouse_query q = { .service = "cloudformation",
				 .region = conf->region ? conf->region : c->region,
				 .endpoint = conf->endpoint,
				 .deadline = c->deadline };
	int r;

	(void)snprintf(c->to, sizeof(c->to), "%.120s/%.120s", conf->stack, conf->resource);
	if (authorize(c, &authorization, e) < 0)
		return -1;
	rouse_buf_printf(&body, "Action=SignalResource&Version=2010-05-15");
	rouse_query_add(&body, "StackName", conf->stack);
	rouse_query_add(&body, "LogicalResourceId", conf->resource);
	rouse_query_add(&body, "UniqueId", c->id);
	rouse_query_add(&body, "Status", signal_is_good(c) ? "SUCCESS" : "FAILURE");
	q.body = body.data;
	q.authorization = authorization;
	r = rouse_query(c->f, &q, e);
	rouse_buf_done(&q.answer);
	if (r < 0 && q.status == 400 && strstr(q.message, "cannot be signaled")) {
		(void)snprintf(c->note, sizeof(c->note),
			       "the stack is neither being made nor updated");
		return 0;
	}
	return r;
}

static int put_handle(struct signal_call *c, struct rouse_err *e)
{
	/* The URL is signed for an empty type. */
	static const char *const headers[] = { "Content-Type:", NULL };
	const struct signal_cfn *conf = c->conf;
	auto_json json_t *json = json_object();
	auto_free char *body = NULL;

	(void)rouse_print_url(c->to, sizeof(c->to), conf->handle);
	rouse_json_set_string(json, "Status", signal_is_good(c) ? "SUCCESS" : "FAILURE");
	rouse_json_set_string(json, "Reason", *c->reason ? c->reason : "ready");
	rouse_json_set_string(json, "UniqueId", *c->id ? c->id : "rouse");
	rouse_json_set_string(json, "Data", rouse_verdict_word(c->verdict));
	body = json_dumps(json, JSON_COMPACT);
	return signal_send(c, "PUT", conf->handle, headers, body, false, NULL, e);
}

static int cfn_tell(struct signal_call *c, struct rouse_err *e)
{
	const struct signal_cfn *conf = c->conf;

	return conf->handle ? put_handle(c, e) : signal_resource(c, e);
}

const struct signal signal_cfn = {
	.name = "cloudformation",
	.slot = SLOT_CFN,
	.stage = SIGNAL_GROUP,
	.timeout = ROUSE_SIGNAL_GROUP,
	.probe = cfn_probe,
	.tell = cfn_tell,
};
