/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel command line: rouse.document=URL[#sha256=…] or /path, and rouse.sha256=….
 *
 *   it is there and well-formed    the document is that; whether it can be had is not asked here
 *   it is there and malformed      failed: somebody typed it, and meant it
 *   it is not there                another source is asked
 */
#include "sources.h"

#include <string.h>

#include <rouse/schema.h>
#include <rouse/text.h>

static bool cmdline_detect(unused_arg const struct rouse_source *s, struct rouse_machine *m,
			   char *why, size_t why_size)
{
	auto_free char *url = rouse_machine_cmdline(m, "rouse.document");
	char shown[160];

	if (!url || !*url)
		return false;
	(void)snprintf(why, why_size, "the kernel command line has rouse.document=%s",
		       rouse_print_url(shown, sizeof(shown), url));
	return true;
}

static int cmdline_fetch(unused_arg const struct rouse_source *s, struct rouse_machine *m,
			 unused_arg struct rouse_fetcher *f, unused_arg uint64_t deadline,
			 struct rouse_found *ret, struct rouse_err *e)
{
	auto_free char *given = rouse_machine_cmdline(m, "rouse.document");
	auto_free char *sha256 = rouse_machine_cmdline(m, "rouse.sha256");
	auto_free char *url = given && *given == '/' ? rouse_asprintf("file://%s", given)
						     : take(given, NULL);
	int r;

	ret->instance.cloud = "cmdline";
	if (!url)
		return rouse_fail(e, ROUSE_BUG, 0,
				  "rouse.document= has gone from the kernel command line");
	r = source_pointer(ret, url, strlen(url), e);
	if (r < 0)
		return rouse_wrap(e, "rouse.document");
	if (r == 0)
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "rouse.document= on the kernel command line is not an https, "
				  "http, file, s3, gs or az URL");
	if (!sha256)
		return 0;
	if (!rouse_is_sha256_hex(sha256))
		return rouse_fail(
			e, ROUSE_DOCUMENT, 0,
			"rouse.sha256= on the kernel command line is not 64 lower-case hex digits");
	if (ret->sha256 && !rouse_streq(ret->sha256, sha256))
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "rouse.document= and rouse.sha256= on the kernel command line "
				  "name two digests");
	free(ret->sha256);
	ret->sha256 = take(sha256, NULL);
	return 0;
}

const struct rouse_source source_cmdline = { .name = "cmdline",
					     .detect = cmdline_detect,
					     .fetch = cmdline_fetch };
