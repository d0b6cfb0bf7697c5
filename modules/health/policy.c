/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to a machine that is not healthy: a bounded number of reboots, else it stays up. */
#include <rouse/health.h>

#include <string.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/mem.h>
#include <rouse/proc.h>
#include <rouse/text.h>

#include "tools.h"

#define COUNT_FILE "reboots.json" /* {"document": digest, "count": n} in the state directory */

static const char *string_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static const char *digest_of(const struct rouse_report *r)
{
	const char *digest = string_at(json_object_get(r->json, "document"), "sha256");

	return digest ? digest : "";
}

/* How often this machine was rebooted for this very document; another document begins anew. */
static json_int_t count_reboots(const char *path, const char *digest)
{
	auto_buf struct rouse_buf text = { 0 };
	auto_json json_t *json = NULL;
	struct rouse_err e = { 0 };

	if (rouse_read_file(path, ROUSE_MAX_METADATA, &text, &e) < 0)
		return 0;
	json = rouse_json_parse(path, text.data ? text.data : "", text.len, &e);
	if (!json || !rouse_streq(string_at(json, "document"), digest))
		return 0;
	return json_integer_value(json_object_get(json, "count"));
}

/* On the disk before the reboot: a count that could be lost would not end the loop. */
static int save_count(const char *path, const char *digest, json_int_t count, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_json json_t *json = json_object();
	auto_free char *text = NULL;

	rouse_json_set_string(json, "document", digest);
	rouse_json_set_int(json, "count", (uint64_t)count);
	text = rouse_json_print(json);
	if (rouse_root_open(&root, "/", e) < 0 || rouse_fs_mkdirs(&root, path, false, e) < 0)
		return -1;
	return rouse_fs_replace(&root, path, text, strlen(text), 0600, (uid_t)-1, (gid_t)-1, e);
}

static int reboot_machine(struct rouse_err *e)
{
	char systemctl[256];
	const char *const argv[] = { systemctl, "--no-block", "reboot", NULL };
	const struct rouse_proc p = { .argv = argv,
				      .deadline = rouse_clock_ms() + ROUSE_SIGNAL_TIMEOUT };

	if (!health_find_systemctl(systemctl, sizeof(systemctl)))
		return rouse_fail(e, ROUSE_SYSTEM, ENOENT, "cannot reboot: no program 'systemctl'");
	return rouse_proc_check(&p, e);
}

int rouse_health_react(const struct rouse_report *r, const struct rouse_health *h,
		       const char *state_dir, struct rouse_err *e)
{
	auto_free char *path = rouse_asprintf("%s/" COUNT_FILE, state_dir);
	const char *verdict = string_at(r->json, "verdict");
	json_int_t count;

	if (!rouse_streq(verdict, rouse_verdict_word(ROUSE_FAILED))) {
		(void)unlink(path); /* it is absent on nearly every machine */
		return 0;
	}
	if (!rouse_streq(h->on_failure, "reboot"))
		return 0;
	count = count_reboots(path, digest_of(r));
	if (count >= ROUSE_MAX_REBOOTS) {
		rouse_log(ROUSE_LOG_WARNING, "health",
			  "rebooted %lld times for this document, holding: fix the document",
			  (long long)count);
		return 0;
	}
	rouse_log(ROUSE_LOG_WARNING, "health", "reboot %lld of %d for this document",
		  (long long)count + 1, ROUSE_MAX_REBOOTS);
	if (save_count(path, digest_of(r), count + 1, e) < 0)
		return -1;
	return reboot_machine(e);
}
