/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/policy.h>

#include <string.h>

#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/schema.h>
#include <rouse/text.h>

static const char *const action_words[] = {
	[ROUSE_ACT_NONE] = "none",     [ROUSE_ACT_FALLBACK] = "fallback",
	[ROUSE_ACT_HOLD] = "hold",     [ROUSE_ACT_ABANDON] = "abandon",
	[ROUSE_ACT_REBOOT] = "reboot",
};
_Static_assert(ARRAY_SIZE(action_words) == ROUSE_ACTIONS_, "a word for each action");

const char *const rouse_on_failure_words[] = { "fallback", "hold", "abandon", "reboot", NULL };

const char *rouse_action_word(enum rouse_action a)
{
	return a < ROUSE_ACTIONS_ ? action_words[a] : "none";
}

static const char *string_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static uint64_t number_at(const json_t *object, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(object, key));

	return n > 0 ? (uint64_t)n : 0;
}

/* --- what is wanted --------------------------------------------------------------------------- */

void rouse_policy_merge(struct rouse_policy *p, const struct rouse_policy *other)
{
	if (!p->on_failure)
		p->on_failure = other->on_failure;
	if (!p->hold_max)
		p->hold_max = other->hold_max;
	if (!p->hold_poll)
		p->hold_poll = other->hold_poll;
	if (!p->baked)
		p->baked = other->baked;
}

uint64_t rouse_policy_hold_max(const struct rouse_policy *p)
{
	return p->hold_max ? p->hold_max : ROUSE_HOLD_MAX;
}

uint64_t rouse_policy_pause(const struct rouse_policy *p, uint64_t random)
{
	uint64_t poll = p->hold_poll ? p->hold_poll : ROUSE_HOLD_POLL;

	return poll / 3 + random % (poll * 4 / 3 + 1);
}

int rouse_policy_save(const char *dir, const struct rouse_policy *p, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_json json_t *json = json_object();
	auto_free char *text = NULL;

	rouse_json_set_string(json, "onFailure", p->on_failure);
	rouse_json_set_int(json, "holdMax", p->hold_max);
	rouse_json_set_int(json, "holdPoll", p->hold_poll);
	rouse_json_set_string(json, "fallback", p->baked);
	text = rouse_json_print(json);
	if (rouse_root_open(&root, dir, e) < 0)
		return -1;
	return rouse_fs_replace(&root, "/" ROUSE_POLICY_FILE, text, strlen(text), 0644, (uid_t)-1,
				(gid_t)-1, e);
}

int rouse_policy_load(const char *dir, struct rouse_policy *ret, json_t **ret_json,
		      struct rouse_err *e)
{
	auto_free char *path = rouse_asprintf("%s/" ROUSE_POLICY_FILE, dir);
	auto_buf struct rouse_buf text = { 0 };
	auto_json json_t *json = NULL;

	*ret = (struct rouse_policy){ 0 };
	*ret_json = NULL;
	if (rouse_read_file(path, ROUSE_MAX_METADATA, &text, e) < 0)
		return e->sys == ENOENT ? 0 : -1;
	json = rouse_json_parse(path, text.data ? text.data : "", text.len, e);
	if (!json)
		return -1;
	ret->on_failure = string_at(json, "onFailure");
	ret->hold_max = number_at(json, "holdMax");
	ret->hold_poll = number_at(json, "holdPoll");
	ret->baked = string_at(json, "fallback");
	*ret_json = take(json, NULL);
	return 0;
}

/* --- what has happened ------------------------------------------------------------------------ */

static void copy_digest(char ret[static 65], const char *text)
{
	(void)snprintf(ret, 65, "%s", text && rouse_is_sha256_hex(text) ? text : "");
}

static json_t *read_file(const char *root_path, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	auto_buf struct rouse_buf text = { 0 };

	if (rouse_root_open(&root, root_path, e) < 0 ||
	    rouse_fs_read(&root, ROUSE_ATTEMPTS_FILE, ROUSE_MAX_METADATA, &text, e) < 0)
		return NULL;
	return rouse_json_parse(ROUSE_ATTEMPTS_FILE, text.data ? text.data : "", text.len, e);
}

int rouse_attempts_read(const char *root, const char *digest, struct rouse_attempts *ret,
			struct rouse_err *e)
{
	struct rouse_attempts a = { 0 };
	auto_json json_t *json = read_file(root, e);
	const char *reason;

	if (!json && e->kind != ROUSE_DOCUMENT && e->sys != ENOENT)
		return -1;
	if (!json && e->sys != ENOENT)
		rouse_log(ROUSE_LOG_WARNING, "policy", "%s; earlier failures are forgotten",
			  e->text);
	copy_digest(a.good, string_at(json, "good"));
	copy_digest(a.document, digest);
	if (rouse_streq(string_at(json, "document"), a.document)) {
		a.failed = (unsigned)number_at(json, "failed");
		a.reboots = (unsigned)number_at(json, "reboots");
		a.open = json_is_true(json_object_get(json, "open"));
		a.fall_back = json_is_true(json_object_get(json, "fallBack"));
		reason = string_at(json, "reason");
		(void)snprintf(a.reason, sizeof(a.reason), "%s", reason ? reason : "");
	}
	*ret = a;
	return 0;
}

static json_t *attempts_json(const struct rouse_attempts *a)
{
	json_t *json = json_object();

	rouse_json_set_string(json, "document", a->document);
	rouse_json_set_string(json, "good", a->good);
	rouse_json_set_int(json, "failed", a->failed);
	rouse_json_set_int(json, "reboots", a->reboots);
	rouse_json_set_bool(json, "open", a->open);
	rouse_json_set_bool(json, "fallBack", a->fall_back);
	rouse_json_set_string(json, "reason", a->reason);
	return json;
}

int rouse_attempts_write(const char *root_path, const struct rouse_attempts *a, struct rouse_err *e)
{
	auto_root struct rouse_root root = ROUSE_ROOT_INIT;
	struct rouse_err ignored = { 0 };
	auto_json json_t *json = attempts_json(a), *old = read_file(root_path, &ignored);
	auto_free char *text = NULL;

	if (json_equal(json, old))
		return 0;
	text = rouse_json_print(json);
	if (rouse_root_open(&root, root_path, e) < 0 ||
	    rouse_fs_mkdirs(&root, ROUSE_ATTEMPTS_FILE, false, e) < 0)
		return -1;
	return rouse_fs_replace(&root, ROUSE_ATTEMPTS_FILE, text, strlen(text), 0600, (uid_t)-1,
				(gid_t)-1, e);
}

void rouse_attempts_hand_off(struct rouse_attempts *a)
{
	/* What was well before is not on trial: such a boot writes nothing. */
	a->open = a->document[0] && !rouse_streq(a->document, a->good);
}

void rouse_attempts_fail(struct rouse_attempts *a, const char *reason)
{
	a->open = false;
	if (a->failed < ROUSE_MAX_FAILED)
		a->failed++;
	(void)snprintf(a->reason, sizeof(a->reason), "%s", reason);
}

void rouse_attempts_ready(struct rouse_attempts *a)
{
	struct rouse_attempts well = { 0 };

	(void)snprintf(well.document, sizeof(well.document), "%s", a->document);
	(void)snprintf(well.good, sizeof(well.good), "%s", a->document);
	*a = well;
}

bool rouse_attempts_spent(const struct rouse_attempts *a)
{
	return a->fall_back || a->failed >= ROUSE_MAX_TRIES;
}

/* --- what to do ------------------------------------------------------------------------------- */

enum rouse_action rouse_policy_decide(const struct rouse_policy *p, enum rouse_fault fault,
				      const struct rouse_attempts *a, bool fallback)
{
	const char *word = p->on_failure ? p->on_failure : "fallback";

	if (rouse_streq(word, "abandon"))
		return ROUSE_ACT_ABANDON;
	/* Once more, unless that is known to end the same way and something better is there. */
	if (rouse_streq(word, "reboot") && a->reboots < ROUSE_MAX_REBOOTS &&
	    !(fallback && a->failed >= ROUSE_MAX_TRIES))
		return ROUSE_ACT_REBOOT;
	if (fallback && !rouse_streq(word, "hold"))
		return ROUSE_ACT_FALLBACK;
	/* A replacement that would work should come now, and one that would not should not come. */
	return fault == ROUSE_LOCAL ? ROUSE_ACT_ABANDON : ROUSE_ACT_HOLD;
}
