/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fleet's breaker: a document that failed on a few machines, and was well on none, is not tried by all the
 * others. What they know stands in a bucket (agent/tally.h); people may overrule it with a signed object,
 * CONTROL. Whatever cannot be read stops nobody: the breaker is a help, and no gate.
 */
#include "phases.h"

#include <string.h>
#include <time.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/text.h>
#include <rouse/trust.h>

#include "acquire.h"
#include "freshness.h"
#include "load.h"
#include "minisign.h"
#include "bucket_list.h"
#include "tally.h"

#define CONTROL "/CONTROL"

/* The document, or, when it could not be read, where it was to come from. */
static void name_digest(const struct boot *b, char ret[static 65])
{
	const char *pin = b->found.sha256 ? b->found.sha256 : b->settings.sha256;
	const char *from = b->found.url           ? b->found.url
			   : b->settings.document ? b->settings.document
						  : "";

	if (b->document.sha256[0])
		memcpy(ret, b->document.sha256, 65);
	else if (b->document.n_layers)
		memcpy(ret, b->document.layers[b->document.n_layers - 1].sha256, 65);
	else if (pin)
		(void)snprintf(ret, 65, "%s", pin);
	else
		rouse_sha256_hex(from, strlen(from), ret);
}

/* Where nobody says which instance this is, each boot is another one. */
static void name_instance(const struct boot *b, char ret[static 128])
{
	const char *id = b->found.instance.id;

	if (id && rouse_is_label(id))
		(void)snprintf(ret, 128, "%s", id);
	else if (!rouse_read_line("/proc/sys/kernel/random/boot_id", ret, 128))
		(void)snprintf(ret, 128, "unknown");
}

void boot_name_fleet(struct boot *b)
{
	const struct rouse_fleet_conf *conf = b->settings.fleet;
	char digest[65], instance[128];
	json_t *j;

	if (!conf)
		return;
	name_digest(b, digest);
	name_instance(b, instance);
	j = json_object();
	rouse_json_set_string(j, "url", conf->url);
	rouse_json_set_string(j, "digest", digest);
	rouse_json_set_string(j, "instance", instance);
	rouse_report_set(&b->report, "fleet", j);
}

/* --- what people say -------------------------------------------------------------------------- */

/* An old one, which somebody brings back, must not count: neither that of a day past, nor one before another
 * that this image or this machine knows of. */
static bool is_stale(const struct boot *b, const json_t *json)
{
	const json_t *expires = json_object_get(json, "expires");
	int64_t gen = json_integer_value(json_object_get(json, "gen")),
		seen = b->options->initramfs ? 0 : rouse_freshness_control(b->options->root),
		least = b->settings.fleet->gen > seen ? b->settings.fleet->gen : seen;

	if (expires && json_integer_value(expires) < (json_int_t)time(NULL)) {
		rouse_log(ROUSE_LOG_INFO, "fleet", "the control object has expired, ignoring");
		return true;
	}
	if (gen >= least)
		return false;
	rouse_log(ROUSE_LOG_WARNING, "fleet",
		  "the control object's \"gen\" is %lld, and there was one with %lld, ignoring",
		  (long long)gen, (long long)least);
	return true;
}

/* "" when it says nothing that counts. */
static void judge_control(struct boot *b, const json_t *json, char mode[static 16])
{
	const char *said = json_string_value(json_object_get(json, "mode"));
	struct rouse_err e = { 0 };

	if (is_stale(b, json))
		return;
	if (!rouse_streq(said, "normal") && !rouse_streq(said, "hold") &&
	    !rouse_streq(said, "fallback")) {
		rouse_log(ROUSE_LOG_WARNING, "fleet",
			  "the control object's \"mode\" is none of normal, hold and fallback, "
			  "ignoring");
		return;
	}
	(void)snprintf(mode, 16, "%s", said);
	b->control = json_integer_value(json_object_get(json, "gen"));
	/* In an initramfs when the root is there. */
	if (!b->options->initramfs &&
	    rouse_freshness_remember_control(b->control, b->options->root, &e) < 0)
		rouse_log(ROUSE_LOG_WARNING, "fleet", "%s, ignoring", e.text);
}

static int load_control(struct boot *b, uint64_t deadline, struct rouse_document *ret,
			struct rouse_err *e)
{
	auto_arena struct rouse_arena arena = { 0 };
	const struct rouse_settings *s = &b->settings;
	struct rouse_key *keys = rouse_arena_alloc(&arena, s->keys.n * sizeof(*keys));
	auto_free char *url = rouse_fetch_url(s->fleet->url, CONTROL);
	struct rouse_loader l = { .fetcher = b->fetcher,
				  .deadline = deadline,
				  .keys = keys,
				  .n_keys = s->keys.n,
				  .require_signature = true };

	for (size_t i = 0; i < s->keys.n; i++)
		if (rouse_document_key_parse(&keys[i], ((const char *const *)s->keys.items)[i], e) <
		    0)
			return -1;
	return rouse_load_url(&l, ret, url, NULL, false, e);
}

static void read_control(struct boot *b, uint64_t deadline, char mode[static 16])
{
	auto_document struct rouse_document d = { 0 };
	struct rouse_err e = { 0 };

	*mode = '\0';
	if (!b->settings.keys.n) /* nobody could sign one */
		return;
	if (load_control(b, deadline, &d, &e) == 0)
		judge_control(b, d.layers[0].json, mode);
	else if (e.sys != ENOENT)
		rouse_log(ROUSE_LOG_WARNING, "fleet", "%s, ignoring", e.text);
}

/* --- what the others found -------------------------------------------------------------------- */

struct counting {
	struct tally tally;
	uint64_t window; /* seconds */
	bool is_listing;
};

/* One that was well outweighs all the others. */
static bool count_page(void *arg, const char *xml, int64_t now)
{
	struct counting *c = arg;

	c->is_listing = tally_read(&c->tally, xml, now, c->window);
	return c->is_listing && !c->tally.ready;
}

static bool read_tally(struct boot *b, uint64_t deadline, struct tally *ret)
{
	const struct rouse_fleet_conf *conf = b->settings.fleet;
	struct counting c = { .window = (conf->window ? conf->window : ROUSE_FLEET_WINDOW) / 1000 };
	auto_free char *prefix = rouse_asprintf("%s/", b->document.sha256);
	struct rouse_err e = { 0 };

	if (bucket_list(b->fetcher, conf->url, prefix, deadline, count_page, &c, &e) < 0) {
		rouse_log(ROUSE_LOG_WARNING, "fleet", "%s, ignoring", e.text);
		return false;
	}
	*ret = c.tally;
	return c.is_listing;
}

static int trip(struct boot *b, const char *policy, struct rouse_err *e, const char *why)
{
	json_t *fleet = json_object_get(b->report.json, "fleet");

	rouse_json_set_bool(fleet, "tripped", true);
	b->fleet_policy = policy;
	(void)rouse_fail(e, ROUSE_DOCUMENT, 0, "the fleet's breaker is open: %s", why);
	return rouse_blame(e, ROUSE_FLEET);
}

static int ask_the_others(struct boot *b, uint64_t deadline, struct rouse_err *e)
{
	const struct rouse_fleet_conf *conf = b->settings.fleet;
	auto_free char *why = NULL;
	struct tally t = { 0 };
	json_t *fleet;

	if (!read_tally(b, deadline, &t))
		return 0;
	fleet = json_object_get(b->report.json, "fleet");
	rouse_json_set_int(fleet, "failed", t.failed);
	rouse_json_set_int(fleet, "ready", t.ready);
	if (!tally_trips(&t, conf->failures ? (uint64_t)conf->failures : ROUSE_FLEET_FAILURES))
		return 0;
	why = rouse_asprintf("this document has failed on %zu machines, and was well on none",
			     t.failed);
	return trip(b, "fallback", e, why);
}

int boot_ask_fleet(struct boot *b, struct rouse_err *e)
{
	uint64_t deadline = rouse_clock_ms() + ROUSE_FLEET_TIMEOUT;
	struct rouse_err ignored;
	char mode[16];

	if (!b->settings.fleet || rouse_acquire_network(b->options, deadline, &ignored) < 0)
		return 0;
	read_control(b, deadline, mode);
	b->overruled = rouse_streq(mode, "normal");
	if (b->overruled)
		return 0;
	if (*mode)
		return trip(b, rouse_streq(mode, "hold") ? "hold" : "fallback", e,
			    "its signed control object says so");
	return ask_the_others(b, deadline, e);
}

int boot_ask_fleet_again(struct boot *b, struct rouse_err *e)
{
	int64_t seen = b->overruled ? rouse_freshness_control(b->options->root) : 0;

	if (b->control >= seen)
		return 0;
	rouse_log(ROUSE_LOG_WARNING, "fleet",
		  "the control object's \"gen\" is %lld, and this machine has followed one with "
		  "%lld, "
		  "ignoring",
		  (long long)b->control, (long long)seen);
	return ask_the_others(b, rouse_clock_ms() + ROUSE_FLEET_TIMEOUT, e);
}
