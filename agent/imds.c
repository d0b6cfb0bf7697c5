/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/imds.h>

#include <net/if.h>
#include <string.h>
#include <strings.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/fs.h>
#include <rouse/limits.h>
#include <rouse/retry.h>
#include <rouse/source.h>
#include <rouse/text.h>

#define CONNECT_TIMEOUT 2000
/* What the service's first address may take before the second is asked as well (RFC 8305 says 250). */
#define STAGGER 250
#define MAX_RUNNERS 8 /* an IPv4 address, and one of IPv6 on each of a few cards */

/* --- what answers mean ------------------------------------------------------------------------ */

/* Of all services; what is not here has failed. */
static const struct rouse_answer general[] = {
	{ 204, 204, ROUSE_MEANS_NONE, 0, NULL },   { 200, 299, ROUSE_MEANS_VALUE, 0, NULL },
	{ 404, 404, ROUSE_MEANS_NONE, 0, NULL },   { 410, 410, ROUSE_MEANS_NONE, 0, NULL },
	{ 401, 401, ROUSE_MEANS_RENEW, 0, NULL },  { 408, 408, ROUSE_MEANS_RETRY, 0, NULL },
	{ 429, 429, ROUSE_MEANS_RETRY, 0, NULL },  { 501, 501, ROUSE_MEANS_FAILED, 0, NULL },
	{ 505, 505, ROUSE_MEANS_FAILED, 0, NULL }, { 500, 599, ROUSE_MEANS_RETRY, 0, NULL },
};
static const struct rouse_answer general_token[] = {
	{ 400, 400, ROUSE_MEANS_FAILED, ROUSE_BUG,
	  "the metadata service rejects the request for a token (HTTP %ld)" },
	{ 401, 401, ROUSE_MEANS_FAILED, 0, NULL },
	{ 403, 403, ROUSE_MEANS_FAILED, 0,
	  "the metadata service is disabled for this instance (HTTP %ld): enable it in the "
	  "instance's metadata options" },
	{ 404, 405, ROUSE_MEANS_FAILED, 0,
	  "this metadata service has no session tokens (HTTP %ld), and without them it is not "
	  "used" },
};

static const struct rouse_answer *find(const struct rouse_answer *table, size_t n, long status)
{
	for (size_t i = 0; i < n; i++)
		if (status >= table[i].first && status <= table[i].last)
			return &table[i];
	return NULL;
}

static const struct rouse_answer *look_up(const struct rouse_imds_api *api, bool token, long status)
{
	const struct rouse_answer *a = token ? find(api->token_answers, api->n_token_answers,
						    status)
					     : find(api->answers, api->n_answers, status);

	if (!a && token)
		a = find(general_token, ARRAY_SIZE(general_token), status);
	return a ? a : find(general, ARRAY_SIZE(general), status);
}

enum rouse_means rouse_imds_means(const struct rouse_imds_api *api, bool token, long status)
{
	const struct rouse_answer *a = look_up(api, token, status);

	if (!a)
		return ROUSE_MEANS_FAILED;
	/* Without tokens there is none to renew. */
	return a->means == ROUSE_MEANS_RENEW && !api->token_path ? ROUSE_MEANS_FAILED : a->means;
}

/* --- EC2 -------------------------------------------------------------------------------------- */

/* The whole phase lasts two minutes; a token that outlives the agent is of use to nobody else. */
static const struct rouse_answer ec2_token[] = {
	{ 404, 405, ROUSE_MEANS_FAILED, 0,
	  "this metadata service has no session tokens (IMDSv2; HTTP %ld), and IMDSv1 is not "
	  "used" },
};

const struct rouse_imds_api rouse_imds_ec2 = {
	.bases = { "http://169.254.169.254", "http://[fd00:ec2::254]" },
	.root = "/latest/",
	.token_path = "/latest/api/token",
	.token_request = "X-aws-ec2-metadata-token-ttl-seconds: 600",
	.token_header = "X-aws-ec2-metadata-token: ",
	.token_answers = ec2_token,
	.n_token_answers = ARRAY_SIZE(ec2_token),
};

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
	return is_ec2_uuid(uuid) &&
	       rouse_machine_dmi(m, "bios_version", version, sizeof(version)) &&
	       strcasestr(version, "amazon");
}

bool rouse_imds_expected(const struct rouse_machine *m, char *why, size_t why_size)
{
	char vendor[64];

	if (rouse_machine_dmi(m, "sys_vendor", vendor, sizeof(vendor)) &&
	    rouse_streq(vendor, "Amazon EC2")) {
		(void)snprintf(why, why_size, "the firmware's vendor is 'Amazon EC2'");
		return true;
	}
	if (!is_xen_instance(m))
		return false;
	(void)snprintf(why, why_size,
		       "the machine's UUID and BIOS version are those of an EC2 instance on Xen");
	return true;
}

/* --- one request ------------------------------------------------------------------------------ */

void rouse_imds_done(struct rouse_imds *i)
{
	explicit_bzero(i->header, sizeof(i->header));
}

static const struct rouse_imds_api *api_of(const struct rouse_imds *i)
{
	return i->api ? i->api : &rouse_imds_ec2;
}

static bool worth_again(const struct rouse_fetch *t)
{
	return rouse_imds_means(t->user, false, t->status) == ROUSE_MEANS_RETRY;
}

static bool worth_again_for_token(const struct rouse_fetch *t)
{
	return rouse_imds_means(t->user, true, t->status) == ROUSE_MEANS_RETRY;
}

static void prepare(const struct rouse_imds *i, bool token, struct rouse_fetch *t)
{
	const struct rouse_imds_api *api = api_of(i);

	t->deadline = i->deadline;
	t->connect_timeout = CONNECT_TIMEOUT;
	t->link_local = true;
	t->low_port = api->low_port;
	t->socket = api->socket;
	t->again = token ? worth_again_for_token : worth_again;
	t->user = (void *)api; /* both callbacks only read it */
}

static char *url_of(const struct rouse_imds *i, const char *base, const char *path)
{
	return rouse_asprintf("%s%s%s", base, *path == '/' ? "" : api_of(i)->root, path);
}

struct race {
	struct rouse_fetch runners[MAX_RUNNERS];
	char *urls[MAX_RUNNERS], bases[MAX_RUNNERS][128];
	size_t n, started;
	struct rouse_fetch *winner;
};

static void add_runner(struct race *r, const char *base, const char *interface)
{
	const char *gap = strstr(base, "%s");

	if (r->n == MAX_RUNNERS)
		return;
	if (gap)
		(void)snprintf(r->bases[r->n], sizeof(r->bases[0]), "%.*s%s%s", (int)(gap - base),
			       base, interface, gap + 2);
	else
		(void)snprintf(r->bases[r->n], sizeof(r->bases[0]), "%s", base);
	r->n++;
}

static void add_runners(struct race *r, const struct rouse_imds_api *api)
{
	struct if_nameindex *all = if_nameindex();

	for (size_t i = 0; i < ROUSE_IMDS_MAX_BASES && api->bases[i]; i++) {
		if (!strstr(api->bases[i], "%s"))
			add_runner(r, api->bases[i], NULL);
		for (struct if_nameindex *p = all; strstr(api->bases[i], "%s") && p && p->if_index;
		     p++)
			if (!rouse_streq(p->if_name, "lo"))
				add_runner(r, api->bases[i], p->if_name);
	}
	if (all)
		if_freenameindex(all);
}

static struct rouse_fetch *next_runner(void *ctx)
{
	struct race *r = ctx;

	return r->started < r->n ? &r->runners[r->started++] : NULL;
}

/* The first that says anything is the service; who says nothing is waited for no longer. */
static int done_runner(void *ctx, struct rouse_fetch *t, struct rouse_err *e)
{
	struct race *r = ctx;

	if (t->result < 0 && !t->status)
		return 0;
	r->winner = t;
	return rouse_fail(e, ROUSE_OK, 0, "the race is over");
}

/* Sends a request to all addresses of the service, one after the other, and keeps to the one that
 * answers. */
static int race(struct rouse_imds *i, const char *path, struct rouse_fetch *t, struct rouse_err *e)
{
	struct race r = { .n = 0 };
	struct rouse_fetch *ended;
	int result;

	add_runners(&r, api_of(i));
	for (size_t k = 0; k < r.n; k++) {
		r.urls[k] = url_of(i, r.bases[k], path);
		r.runners[k] = *t;
		r.runners[k].url = r.urls[k];
		r.runners[k].not_before = k ? rouse_clock_ms() + k * STAGGER : 0;
	}
	result = rouse_fetch_many(i->f, MAX_RUNNERS, next_runner, done_runner, &r, e);
	ended = r.winner ? r.winner : &r.runners[0];
	if (r.winner)
		memcpy(i->chosen, r.bases[ended - r.runners], sizeof(i->chosen));
	if (r.winner || result == 0) {
		*e = ended->err;
		result = ended->result;
	}
	t->status = ended->status;
	t->body_out = take(ended->body_out, (struct rouse_buf){ 0 });
	for (size_t k = 0; k < r.n; k++) {
		rouse_buf_done(&r.runners[k].body_out);
		free(r.urls[k]);
	}
	return result;
}

static int send_request(struct rouse_imds *i, const char *path, struct rouse_fetch *t,
			struct rouse_err *e)
{
	const char *const *bases = api_of(i)->bases;
	const char *base = i->base ? i->base : i->chosen;
	auto_free char *url = NULL;
	int r;

	if (!*base && (bases[1] || strstr(bases[0], "%s")))
		return race(i, path, t, e);
	url = url_of(i, *base ? base : bases[0], path);
	t->url = url;
	r = rouse_fetch(i->f, t, e);
	t->url = NULL;
	return r;
}

/* --- tokens ----------------------------------------------------------------------------------- */

/* What is wrong with the service is no fault of a document. */
static int blame_machine(struct rouse_err *e)
{
	if (e->kind == ROUSE_DOCUMENT)
		e->kind = ROUSE_SYSTEM;
	return rouse_blame(e, ROUSE_LOCAL);
}

static int refuse(const struct rouse_imds *i, bool token, long status, struct rouse_err *e)
{
	const struct rouse_answer *a = look_up(api_of(i), token, status);
	const char *gap = NULL;

	if (a && a->means == ROUSE_MEANS_FAILED && a->why && e->kind == ROUSE_DOCUMENT)
		gap = strstr(a->why, "%ld");
	if (gap)
		return rouse_fail(e, a->kind ? a->kind : ROUSE_SYSTEM, 0, "%.*s%ld%s",
				  (int)(gap - a->why), a->why, status, gap + 3);
	return blame_machine(e);
}

static int get_token(struct rouse_imds *i, struct rouse_err *e)
{
	const struct rouse_imds_api *api = api_of(i);
	const char *const headers[] = { api->token_request, api->headers[0], NULL };
	struct rouse_fetch t = { .method = "PUT",
				 .headers = headers,
				 .max_bytes = ROUSE_IMDS_MAX_TOKEN };
	auto_buf struct rouse_buf body = { 0 };
	int r;

	prepare(i, true, &t);
	r = send_request(i, api->token_path, &t, e);
	body = t.body_out;
	if (r < 0 && t.status == 0 && e->kind == ROUSE_UNAVAILABLE)
		return rouse_wrap(e, "no answer from the metadata service (no route, or a hop "
				     "limit that is too low)");
	if (r < 0)
		return refuse(i, true, t.status, e);
	/* It goes into a header: nothing but printable characters may. */
	for (size_t k = 0; k < body.len; k++)
		if (body.data[k] <= ' ' || body.data[k] > '~')
			body.len = 0;
	if (!body.len)
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "the metadata service gave a token that is empty or not text");
	(void)snprintf(i->header, sizeof(i->header), "%s%s", api->token_header, body.data);
	explicit_bzero(body.data, body.len);
	return 0;
}

/* Waits before the n-th new token; false when the deadline is nearer. */
static bool wait_for_token(const struct rouse_imds *i, unsigned n)
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
	return rouse_fail(
		e, ROUSE_UNAVAILABLE, 0,
		"the metadata service refused each of %u tokens that it had just given (HTTP 401)",
		refused);
}

static int none(const char *path, struct rouse_err *e)
{
	(void)rouse_fail(e, ROUSE_DOCUMENT, 0, "the metadata service has no '%s'", path);
	e->sys = ENOENT;
	return -1;
}

int rouse_imds_get(struct rouse_imds *i, const char *path, uint64_t max, struct rouse_buf *ret,
		   struct rouse_err *e)
{
	const struct rouse_imds_api *api = api_of(i);

	for (unsigned refused = 0;; refused++) {
		const char *headers[ROUSE_IMDS_MAX_HEADERS + 2] = { 0 };
		struct rouse_fetch t = { .headers = headers, .max_bytes = max };
		size_t n = 0;
		int r;

		if (api->token_path && !i->header[0] && get_token(i, e) < 0)
			return refused_before(refused, e);
		if (api->token_path)
			headers[n++] = i->header;
		for (size_t k = 0; k < ROUSE_IMDS_MAX_HEADERS && api->headers[k]; k++)
			headers[n++] = api->headers[k];
		prepare(i, false, &t);
		r = send_request(i, path, &t, e);
		if (r == 0 && rouse_imds_means(api, false, t.status) == ROUSE_MEANS_VALUE) {
			*ret = t.body_out;
			return 0;
		}
		rouse_buf_done(&t.body_out);
		/* What was cut short has said nothing, whatever its status. */
		if (!t.status || (r < 0 && e->kind != ROUSE_DOCUMENT)) {
			e->sys = 0;
			return refused_before(refused, e);
		}
		switch (rouse_imds_means(api, false, t.status)) {
		case ROUSE_MEANS_NONE:
			return none(path, e);
		case ROUSE_MEANS_VALUE: /* a body that is too large */
		case ROUSE_MEANS_RETRY:
			return refused_before(refused, e);
		case ROUSE_MEANS_FAILED:
			return refuse(i, false, t.status, e);
		case ROUSE_MEANS_RENEW:
			break;
		}
		i->header[0] = '\0';
		if (!wait_for_token(i, refused + 1)) {
			e->kind = ROUSE_UNAVAILABLE;
			return refused_before(refused + 1, e);
		}
	}
}
