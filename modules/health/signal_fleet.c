/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The word of this machine for the fleet's tally of a document (agent/tally.h): PREFIX/DIGEST/INSTANCE. Only
 * what another machine would meet as well is held against the document.
 */
#include "signals.h"

#include <string.h>

#include <rouse/fetch.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/mem.h>
#include <rouse/text.h>

static const char *string_at(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

/* NULL: it counts; else why not. */
static const char *excuse(const struct signal_call *c)
{
	const json_t *fallback = json_object_get(c->report, "fallback");
	const json_t *of = c->verdict == ROUSE_FALLBACK ? fallback : c->report;

	if (json_is_true(json_object_get(c->conf, "tripped")))
		return "this machine did not try the document";
	if (c->verdict == ROUSE_READY)
		return NULL;
	if (rouse_streq(string_at(of, "fault"), rouse_fault_word(ROUSE_LOCAL)))
		return "the fault is this machine's own";
	if (rouse_streq(string_at(of, "word"), rouse_kind_word(ROUSE_UNAVAILABLE)))
		return "what was away may come back";
	return NULL;
}

static int fleet_tell(struct signal_call *c, struct rouse_err *e)
{
	static const char *const headers[] = { "Content-Type: text/plain", NULL };
	const json_t *conf = c->conf;
	auto_free char *more = rouse_asprintf("/%s/%s", string_at(conf, "digest"),
					      string_at(conf, "instance"));
	auto_free char *url = rouse_fetch_url(string_at(conf, "url"), more);
	auto_free char *body = NULL;
	const char *why_not = excuse(c);

	(void)rouse_print_url(c->to, sizeof(c->to), url);
	if (why_not) {
		(void)snprintf(c->note, sizeof(c->note), "%s", why_not);
		return 0;
	}
	if (c->verdict == ROUSE_READY)
		body = rouse_strdup("ready\n");
	else
		body = rouse_asprintf("%s: %s\n", rouse_verdict_word(c->verdict), c->reason);
	return signal_send(c, "PUT", url, headers, body, false, NULL, e);
}

const struct signal signal_fleet = {
	.name = "fleet",
	.stage = SIGNAL_REASON,
	.timeout = ROUSE_SIGNAL_TIMEOUT,
	.tell = fleet_tell,
};
