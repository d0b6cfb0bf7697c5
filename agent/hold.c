/* SPDX-License-Identifier: Apache-2.0 */
#include "hold.h"

#include <string.h>
#include <unistd.h>

#include <rouse/boot.h>
#include <rouse/clock.h>
#include <rouse/health.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/proc.h>
#include <rouse/text.h>

#include "layers.h"

static uint64_t number_at(const json_t *object, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(object, key));

	return n > 0 ? (uint64_t)n : 0;
}

/* The report may be another one after each try: of a boot, which has counted it, with the reason that whoever was
 * told once need not hear again. */
static void count_try(struct rouse_report *r, const json_t *before, const char *reason)
{
	const json_t *now = json_object_get(r->json, "hold");
	json_t *hold;

	if (number_at(now, "tries") > number_at(before, "tries"))
		return;
	hold = json_object();
	rouse_json_set_int(hold, "since", number_at(before, "since"));
	rouse_json_set_int(hold, "until", number_at(before, "until"));
	rouse_json_set_int(hold, "tries", number_at(before, "tries") + 1);
	rouse_json_set_string(hold, "reason", reason);
	rouse_report_set(r, "hold", hold);
	rouse_report_write(r);
}

bool hold_until(struct rouse_report *r, const struct rouse_policy *p,
		int (*again)(void *arg, struct rouse_err *e), void *arg)
{
	for (;;) {
		auto_json json_t *hold = json_incref(json_object_get(r->json, "hold"));
		uint64_t until = number_at(hold, "until");
		uint64_t next = rouse_clock_ms() + rouse_policy_pause(p, rouse_jitter(UINT64_MAX));
		struct rouse_err e = { 0 };

		rouse_health_wait(r, next < until ? next : until);
		if (next >= until)
			break;
		if (again(arg, &e) == 0)
			return true;
		rouse_log(ROUSE_LOG_WARNING, "health", "%s; holding", e.text);
		count_try(r, hold, e.text);
	}
	rouse_report_set(r, "action", json_string(rouse_action_word(ROUSE_ACT_ABANDON)));
	return false;
}

/* A unit of ours that has failed would count against a system which is well now. */
static void forget_failure(void)
{
	const char *const argv[] = { "systemctl", "reset-failed", "rouse.service", NULL };
	const struct rouse_proc p = { .argv = argv,
				      .deadline = rouse_clock_ms() + ROUSE_DEADLINE_SYSTEMCTL };
	struct rouse_err e;

	if (access("/run/systemd/system", F_OK) == 0 && rouse_proc_check(&p, &e) < 0)
		rouse_log(ROUSE_LOG_WARNING, "health", "%s, ignoring", e.text);
}

int hold_boot_again(struct rouse_err *e)
{
	const char *const argv[] = { ROUSE_PROC_SELF, "boot", "--again", NULL };
	const struct rouse_proc p = { .argv = argv,
				      .deadline = rouse_clock_ms() + ROUSE_DEADLINE_BOOT };

	if (rouse_proc_check(&p, e) < 0)
		return -1;
	forget_failure();
	return 0;
}

static bool has_layer(const json_t *layers, const char *sha256)
{
	const json_t *layer;
	size_t i;

	json_array_foreach (layers, i, layer)
		if (rouse_streq(json_string_value(json_object_get(layer, "sha256")), sha256))
			return true;
	return false;
}

/* Overrides are the machine's own, and the initramfs has others: they are not compared. */
static bool differs(const struct rouse_document *d, const json_t *layers)
{
	const json_t *layer;
	size_t i, now = 0, then = 0;

	json_array_foreach (layers, i, layer) {
		const char *name = json_string_value(json_object_get(layer, "name"));

		then += !name || !rouse_strip_prefix(name, ROUSE_OVERRIDE_DIR "/");
	}
	for (i = 0; i < d->n_layers; i++) {
		if (d->layers[i].is_override)
			continue;
		now++;
		if (!has_layer(layers, d->layers[i].sha256))
			return true;
	}
	return now != then;
}

bool hold_document_changed(const struct rouse_report *r)
{
	const json_t *document = json_object_get(r->json, "document");
	const struct rouse_boot_options o = { .root = "/",
					      .run = "/run/rouse",
					      .settings = "/run/rouse/agent/agent.json" };
	auto_document struct rouse_document d = { 0 };
	struct rouse_err e = { 0 };

	if (rouse_boot_look(&o, &d, &e) == 0)
		return differs(&d, json_object_get(document, "layers"));
	rouse_log(ROUSE_LOG_INFO, "health", "no other document: %s", e.text);
	return false;
}
