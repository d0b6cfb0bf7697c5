/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Amazon EC2: instance metadata service, version 2 only. What its answers mean:
 *
 *   request             answer                       means
 *   PUT token           200 and a token              go on
 *                       400                          bug: our request is wrong
 *                       403                          failed: metadata is switched off for this instance
 *                       404, 405                     failed: no IMDSv2 here, and v1 is not used
 *                       408, 429, 5xx, no answer     retry to the deadline, then unavailable
 *   GET (any)           401                          the token has expired, or is not known yet (seen for
 *                                                    seconds on fresh instances): another PUT, then retry
 *                       408, 429, 5xx, no answer     retry to the deadline, then unavailable
 *                       403, 3xx, other 4xx          failed
 *   GET user-data       200, some bytes              the user-data
 *                       200, no byte; 404            none: this is an answer
 *   GET identity        404                          a clone without it: single values are asked instead
 *   GET local-hostname, 404                          none
 *       tags
 *
 * Nothing that is not listed as "none" is ever taken for it.
 */
#include "ec2.h"

#include <string.h>
#include <strings.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/retry.h>
#include <rouse/schema.h>
#include <rouse/text.h>

#include "sources.h"

#define BASE "http://169.254.169.254"
#define TOKEN_HEADER "X-aws-ec2-metadata-token: "
/* The whole phase lasts two minutes; a token that outlives the agent is of use to nobody else. */
#define TOKEN_TTL "X-aws-ec2-metadata-token-ttl-seconds: 600"
#define CONNECT_TIMEOUT 2000
#define MAX_TOKEN 1024 /* real ones have 56 bytes */
#define MAX_TAGS 50    /* EC2's own limit */

/* One conversation: the token belongs to the address that gave it. */
struct imds {
	const char *base;
	struct rouse_fetcher *f;
	uint64_t deadline;
	char header[sizeof(TOKEN_HEADER) + MAX_TOKEN]; /* empty: no token yet */
};

/* --- who am I, by the firmware ---------------------------------------------------------------- */

/* "ec2…", or the same with the first group's bytes swapped, as old firmware shows it: "????2?ec-". */
static bool is_ec2_uuid(const char *uuid)
{
	return strncasecmp(uuid, "ec2", 3) == 0 ||
	       (strlen(uuid) > 8 && uuid[4] == '2' && strncasecmp(uuid + 6, "ec-", 3) == 0);
}

/* Xen instances: the UUID alone is right by chance once in 2000 machines, so Amazon's hypervisor must
 * have left its name too. */
static bool is_xen_instance(const struct rouse_machine *m)
{
	auto_free char *path = rouse_asprintf("%s/sys/hypervisor/uuid", m->sysroot);
	char uuid[64], version[64];

	if (!rouse_machine_dmi(m, "product_uuid", uuid, sizeof(uuid)) &&
	    !rouse_read_line(path, uuid, sizeof(uuid)))
		return false;
	return is_ec2_uuid(uuid) && rouse_machine_dmi(m, "bios_version", version, sizeof(version)) &&
	       strcasestr(version, "amazon");
}

static bool ec2_detect(const struct rouse_machine *m, char *why, size_t why_size)
{
	char vendor[64];

	if (rouse_machine_dmi(m, "sys_vendor", vendor, sizeof(vendor)) &&
	    rouse_streq(vendor, "Amazon EC2")) {
		(void)snprintf(why, why_size, "the firmware's vendor is 'Amazon EC2'");
		return true;
	}
	if (!is_xen_instance(m))
		return false;
	(void)snprintf(why, why_size, "the machine's UUID and BIOS version are those of an EC2 instance on Xen");
	return true;
}

/* --- requests --------------------------------------------------------------------------------- */

/* What is wrong with the service is no fault of a document. */
static int blame_machine(struct rouse_err *e)
{
	if (e->kind == ROUSE_DOCUMENT)
		e->kind = ROUSE_SYSTEM;
	return -1;
}

static int refuse_token(const struct rouse_fetch *t, struct rouse_err *e)
{
	if (t->status == 400)
		return rouse_fail(e, ROUSE_BUG, 0, "the metadata service rejects the request for a token (HTTP 400)");
	if (t->status == 403)
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "the metadata service is disabled for this instance (HTTP 403): enable it in the "
				  "instance's metadata options");
	if (t->status == 404 || t->status == 405)
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "this metadata service has no session tokens (IMDSv2; HTTP %ld), and IMDSv1 is not used",
				  t->status);
	if (t->status == 0 && e->kind == ROUSE_UNAVAILABLE)
		return rouse_wrap(e, "no answer from the metadata service (no route, or a hop limit that is too low)");
	return blame_machine(e);
}

static int get_token(struct imds *i, struct rouse_err *e)
{
	auto_free char *url = rouse_asprintf("%s/latest/api/token", i->base);
	static const char *const headers[] = { TOKEN_TTL, NULL };
	struct rouse_fetch t = { .url = url, .method = "PUT", .headers = headers, .max_bytes = MAX_TOKEN,
				 .deadline = i->deadline, .connect_timeout = CONNECT_TIMEOUT, .link_local = true };
	auto_buf struct rouse_buf body = { 0 };
	int r = rouse_fetch(i->f, &t, e);

	body = t.body_out;
	if (r < 0)
		return refuse_token(&t, e);
	/* It goes into a header: nothing but printable characters may. */
	for (size_t k = 0; k < body.len; k++)
		if (body.data[k] <= ' ' || body.data[k] > '~')
			body.len = 0;
	if (!body.len)
		return rouse_fail(e, ROUSE_SYSTEM, 0, "the metadata service gave a token that is empty or not text");
	(void)snprintf(i->header, sizeof(i->header), TOKEN_HEADER "%s", body.data);
	return 0;
}

/* Waits before the n-th new token; false when the deadline is nearer. */
static bool wait_for_token(const struct imds *i, unsigned n)
{
	uint64_t when = rouse_clock_ms() + rouse_retry_delay(n, 0, rouse_jitter(UINT64_MAX));

	if (when >= i->deadline)
		return false;
	rouse_clock_sleep_until(when);
	return true;
}

/* The time may end in any request of this loop; what used it up is worth more than how it ended. */
static int refused_before(unsigned refused, struct rouse_err *e)
{
	if (!refused || e->kind != ROUSE_UNAVAILABLE)
		return blame_machine(e);
	return rouse_fail(e, ROUSE_UNAVAILABLE, 0,
			  "the metadata service refused each of %u tokens that it had just given (HTTP 401)",
			  refused);
}

/* 0 and the body; or -1, with e->sys == ENOENT when the service says that there is none. */
static int get(struct imds *i, const char *path, uint64_t max, struct rouse_buf *ret, struct rouse_err *e)
{
	auto_free char *url = rouse_asprintf("%s/latest/%s", i->base, path);

	for (unsigned refused = 0;; refused++) {
		const char *headers[] = { i->header, NULL };
		struct rouse_fetch t = { .url = url, .headers = headers, .max_bytes = max,
					 .deadline = i->deadline, .connect_timeout = CONNECT_TIMEOUT,
					 .link_local = true };

		if (!i->header[0] && get_token(i, e) < 0)
			return refused_before(refused, e);
		if (rouse_fetch(i->f, &t, e) == 0) {
			*ret = t.body_out;
			return 0;
		}
		rouse_buf_done(&t.body_out);
		if (t.status != 401)
			return e->sys == ENOENT ? -1 : refused_before(refused, e);
		i->header[0] = '\0';
		if (!wait_for_token(i, refused + 1)) {
			e->kind = ROUSE_UNAVAILABLE;
			return refused_before(refused + 1, e);
		}
	}
}

/* A short text value; NULL in *ret when the service has none. */
static int get_text(struct imds *i, struct rouse_found *f, const char *path, const char **ret,
		    struct rouse_err *e)
{
	auto_buf struct rouse_buf body = { 0 };

	*ret = NULL;
	if (get(i, path, ROUSE_MAX_METADATA, &body, e) < 0)
		return e->sys == ENOENT ? 0 : -1;
	if (body.data)
		*ret = source_keep(f, body.data, strcspn(body.data, "\r\n"));
	return 0;
}

/* --- what is asked ---------------------------------------------------------------------------- */

static int get_user_data(struct imds *i, struct rouse_found *f, struct rouse_err *e)
{
	auto_buf struct rouse_buf body = { 0 };

	if (get(i, "user-data", ROUSE_MAX_USERDATA, &body, e) < 0)
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

static int get_identity(struct imds *i, struct rouse_found *f, struct rouse_err *e)
{
	struct rouse_instance *who = &f->instance;
	auto_buf struct rouse_buf body = { 0 };
	auto_json json_t *json = NULL;

	if (get(i, "dynamic/instance-identity/document", ROUSE_MAX_METADATA, &body, e) < 0) {
		if (e->sys != ENOENT)
			return -1;
		return get_text(i, f, "meta-data/instance-id", &who->id, e) < 0 ||
				       get_text(i, f, "meta-data/instance-type", &who->type, e) < 0 ||
				       get_text(i, f, "meta-data/placement/region", &who->region, e) < 0 ||
				       get_text(i, f, "meta-data/placement/availability-zone", &who->zone, e) < 0
			       ? -1
			       : 0;
	}
	json = rouse_json_parse("identity document", body.data ? body.data : "", body.len, e);
	if (!json)
		return blame_machine(e);
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
		return rouse_fail(e, ROUSE_SYSTEM, 0, "the metadata service does not say which instance this is");
	if (asset && rouse_strip_prefix(asset, "i-") && !rouse_streq(asset, f->instance.id))
		return rouse_fail(e, ROUSE_UNTRUSTED, 0,
				  "the metadata service says that this is instance '%s', the firmware says '%s'",
				  f->instance.id, asset);
	return 0;
}

static int get_tag(struct imds *i, struct rouse_found *f, const char *name, struct rouse_pair *ret,
		   struct rouse_err *e)
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
static int get_tags(struct imds *i, struct rouse_found *f, struct rouse_err *e)
{
	struct rouse_pair *pairs = rouse_arena_alloc(&f->arena, MAX_TAGS * sizeof(*pairs));
	auto_buf struct rouse_buf body = { 0 };
	char *rest, *name;
	size_t n = 0;

	if (get(i, "meta-data/tags/instance", ROUSE_MAX_METADATA, &body, e) < 0)
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
	struct imds i = { .base = base, .f = f, .deadline = deadline };
	int r = -1;

	ret->instance.cloud = "ec2";
	if (get_identity(&i, ret, e) == 0 && check_identity(ret, asset, e) == 0 &&
	    get_user_data(&i, ret, e) == 0 &&
	    get_text(&i, ret, "meta-data/local-hostname", &ret->instance.hostname, e) == 0 &&
	    get_tags(&i, ret, e) == 0)
		r = 0;
	explicit_bzero(i.header, sizeof(i.header));
	return r;
}

static int ec2_fetch(const struct rouse_machine *m, struct rouse_fetcher *f, uint64_t deadline,
		     struct rouse_found *ret, struct rouse_err *e)
{
	char asset[64];
	bool known = rouse_machine_dmi(m, "board_asset_tag", asset, sizeof(asset));

	return ec2_fetch_from(BASE, known ? asset : NULL, f, deadline, ret, e);
}

const struct rouse_source source_ec2 = { .name = "ec2",
					 .network = true,
					 .detect = ec2_detect,
					 .fetch = ec2_fetch };
