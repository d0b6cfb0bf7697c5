/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/imds.h>

#include <string.h>
#include <strings.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/fs.h>
#include <rouse/limits.h>
#include <rouse/retry.h>
#include <rouse/source.h>
#include <rouse/text.h>

/* The whole phase lasts two minutes; a token that outlives the agent is of use to nobody else. */
#define TOKEN_TTL "X-aws-ec2-metadata-token-ttl-seconds: 600"
#define CONNECT_TIMEOUT 2000

void rouse_imds_done(struct rouse_imds *i)
{
	explicit_bzero(i->header, sizeof(i->header));
}

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
		return rouse_fail(
			e, ROUSE_BUG, 0,
			"the metadata service rejects the request for a token (HTTP 400)");
	if (t->status == 403)
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "the metadata service is disabled for this instance (HTTP 403): "
				  "enable it in the "
				  "instance's metadata options");
	if (t->status == 404 || t->status == 405)
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "this metadata service has no session tokens (IMDSv2; HTTP %ld), "
				  "and IMDSv1 is not used",
				  t->status);
	if (t->status == 0 && e->kind == ROUSE_UNAVAILABLE)
		return rouse_wrap(e, "no answer from the metadata service (no route, or a hop "
				     "limit that is too low)");
	return blame_machine(e);
}

static int get_token(struct rouse_imds *i, struct rouse_err *e)
{
	auto_free char *url = rouse_asprintf("%s/latest/api/token", i->base);
	static const char *const headers[] = { TOKEN_TTL, NULL };
	struct rouse_fetch t = { .url = url,
				 .method = "PUT",
				 .headers = headers,
				 .max_bytes = ROUSE_IMDS_MAX_TOKEN,
				 .deadline = i->deadline,
				 .connect_timeout = CONNECT_TIMEOUT,
				 .link_local = true };
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
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "the metadata service gave a token that is empty or not text");
	(void)snprintf(i->header, sizeof(i->header), ROUSE_IMDS_TOKEN_HEADER "%s", body.data);
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

int rouse_imds_get(struct rouse_imds *i, const char *path, uint64_t max, struct rouse_buf *ret,
		   struct rouse_err *e)
{
	auto_free char *url = rouse_asprintf("%s/latest/%s", i->base, path);

	for (unsigned refused = 0;; refused++) {
		const char *headers[] = { i->header, NULL };
		struct rouse_fetch t = { .url = url,
					 .headers = headers,
					 .max_bytes = max,
					 .deadline = i->deadline,
					 .connect_timeout = CONNECT_TIMEOUT,
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
