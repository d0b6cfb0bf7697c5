/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Amazon EC2: instance metadata service, version 2 only; rouse/imds.h tells what its answers mean in
 * general. Here:
 *
 *   request             answer                       means
 *   GET user-data       200, some bytes              the user-data
 *                       200, no byte; 404            none: this is an answer
 *   GET identity        404                          a clone without it: single values are asked instead
 *   GET local-hostname, 404                          none
 *       tags
 */
#include "ec2.h"

#include <string.h>

#include <rouse/fetch.h>
#include <rouse/imds.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/schema.h>
#include <rouse/text.h>

#include "sources.h"

#define MAX_TAGS 50 /* EC2's own limit */

/* A short text value; NULL in *ret when the service has none. */
static int get_text(struct rouse_imds *i, struct rouse_found *f, const char *path, const char **ret,
		    struct rouse_err *e)
{
	auto_buf struct rouse_buf body = { 0 };

	*ret = NULL;
	if (rouse_imds_get(i, path, ROUSE_MAX_METADATA, &body, e) < 0)
		return e->sys == ENOENT ? 0 : -1;
	if (body.data)
		*ret = source_keep(f, body.data, strcspn(body.data, "\r\n"));
	return 0;
}

/* --- what is asked ---------------------------------------------------------------------------- */

static int get_user_data(struct rouse_imds *i, struct rouse_found *f, struct rouse_err *e)
{
	auto_buf struct rouse_buf body = { 0 };

	if (rouse_imds_get(i, "user-data", ROUSE_MAX_USERDATA, &body, e) < 0)
		return e->sys == ENOENT ? 0 : -1;
	if (body.len) {
		f->user_data_len = body.len;
		f->user_data = take(body.data, NULL);
	}
	return 0;
}

static const char *member(struct rouse_found *f, const json_t *json, const char *name)
{
	const char *value = json_string_value(json_object_get(json, name));

	return value ? source_keep(f, value, strlen(value)) : NULL;
}

static int get_identity(struct rouse_imds *i, struct rouse_found *f, struct rouse_err *e)
{
	struct rouse_instance *who = &f->instance;
	auto_buf struct rouse_buf body = { 0 };
	auto_json json_t *json = NULL;

	if (rouse_imds_get(i, "dynamic/instance-identity/document", ROUSE_MAX_METADATA, &body, e) <
	    0) {
		if (e->sys != ENOENT)
			return -1;
		return get_text(i, f, "meta-data/instance-id", &who->id, e) < 0 ||
				       get_text(i, f, "meta-data/instance-type", &who->type, e) <
					       0 ||
				       get_text(i, f, "meta-data/placement/region", &who->region,
						e) < 0 ||
				       get_text(i, f, "meta-data/placement/availability-zone",
						&who->zone, e) < 0
			       ? -1
			       : 0;
	}
	json = rouse_json_parse("identity document", body.data ? body.data : "", body.len, e);
	if (!json) {
		e->kind =
			ROUSE_SYSTEM; /* what is wrong with the service is no fault of a document */
		return -1;
	}
	who->id = member(f, json, "instanceId");
	who->type = member(f, json, "instanceType");
	who->region = member(f, json, "region");
	who->zone = member(f, json, "availabilityZone");
	return 0;
}

/* The firmware knows it too: another who answers at the link-local address is found out. */
static int check_identity(const struct rouse_found *f, const char *asset, struct rouse_err *e)
{
	if (!f->instance.id)
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "the metadata service does not say which instance this is");
	if (asset && rouse_strip_prefix(asset, "i-") && !rouse_streq(asset, f->instance.id))
		return rouse_fail(e, ROUSE_UNTRUSTED, 0,
				  "the metadata service says that this is instance '%s', the "
				  "firmware says '%s'",
				  f->instance.id, asset);
	return 0;
}

static int get_tag(struct rouse_imds *i, struct rouse_found *f, const char *name,
		   struct rouse_pair *ret, struct rouse_err *e)
{
	auto_buf struct rouse_buf path = { 0 };

	rouse_buf_printf(&path, "meta-data/tags/instance/");
	for (const char *p = name; *p; p++) {
		bool plain = (*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') ||
			     (*p >= 'a' && *p <= 'z') || strchr("-._~", *p);

		rouse_buf_printf(&path, plain ? "%c" : "%%%02X", (unsigned char)*p);
	}
	ret->key = name;
	return get_text(i, f, path.data, &ret->value, e);
}

/* Only instances whose options say so have tags here. */
static int get_tags(struct rouse_imds *i, struct rouse_found *f, struct rouse_err *e)
{
	struct rouse_pair *pairs = rouse_arena_alloc(&f->arena, MAX_TAGS * sizeof(*pairs));
	auto_buf struct rouse_buf body = { 0 };
	char *rest, *name;
	size_t n = 0;

	if (rouse_imds_get(i, "meta-data/tags/instance", ROUSE_MAX_METADATA, &body, e) < 0)
		return e->sys == ENOENT ? 0 : -1;
	for (rest = body.data; n < MAX_TAGS && (name = strsep(&rest, "\r\n"));) {
		const char *kept = source_keep(f, name, strlen(name));

		if (!kept)
			continue;
		if (get_tag(i, f, kept, &pairs[n], e) < 0)
			return -1;
		n += pairs[n].value != NULL;
	}
	f->instance.tags = (struct rouse_list){ .n = n, .items = pairs };
	return 0;
}

int ec2_fetch_from(const char *base, const char *asset, struct rouse_fetcher *f, uint64_t deadline,
		   struct rouse_found *ret, struct rouse_err *e)
{
	struct rouse_imds i = { .base = base, .f = f, .deadline = deadline };
	int r = -1;

	ret->instance.cloud = "ec2";
	if (get_identity(&i, ret, e) == 0 && check_identity(ret, asset, e) == 0 &&
	    get_user_data(&i, ret, e) == 0 &&
	    get_text(&i, ret, "meta-data/local-hostname", &ret->instance.hostname, e) == 0 &&
	    get_tags(&i, ret, e) == 0)
		r = 0;
	rouse_imds_done(&i);
	return r;
}

static int ec2_fetch(const struct rouse_machine *m, struct rouse_fetcher *f, uint64_t deadline,
		     struct rouse_found *ret, struct rouse_err *e)
{
	char asset[64];
	bool known = rouse_machine_dmi(m, "board_asset_tag", asset, sizeof(asset));

	return ec2_fetch_from(ROUSE_IMDS_BASE, known ? asset : NULL, f, deadline, ret, e);
}

const struct rouse_source source_ec2 = {
	.name = "ec2", .network = true, .detect = rouse_imds_expected, .fetch = ec2_fetch
};
