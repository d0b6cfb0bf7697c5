/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the metadata service says about a role:
 *
 *   request             answer                        means
 *   GET …credentials/   404                           no role: requests are anonymous
 *   GET …credentials/R  404                           the same
 *                       200, no JSON                  retry to the deadline, then unavailable
 *                       200, Code is not "Success"    failed: the role cannot be assumed
 *                       200, without a key            failed
 *                       200, expired already          used: the service is behind, S3 has the last word
 *   any                 everything else               as in rouse/imds.h; a key that we have is used on
 */
#include "aws.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/imds.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/retry.h>
#include <rouse/source.h>
#include <rouse/text.h>

#define CREDENTIALS "meta-data/iam/security-credentials/"
/* New keys are there five minutes before the old ones expire. */
#define RENEW_BEFORE 300000
/* Between two questions for what the service did not have, or had expired. */
#define ASK_AGAIN 60000
#define ROLE_AGAIN 250
/* Where a bucket is looked for that nobody has named a region for; it answers where else it is. */
#define FIRST_REGION "us-east-1"

struct bucket_place {
	char *name; /* with the endpoint before it, if it is not Amazon's */
	char region[S3_REGION];
	bool is_public;
};

struct aws {
	pthread_mutex_t mutex;
	unsigned references;
	char *base;   /* of a metadata service, given for tests; NULL: where EC2 has it */
	bool trusted; /* there is one that is what it seems */
	bool looked;  /* at the firmware */
	struct rouse_imds imds;

	struct rouse_aws_key key;
	char role[65];
	unsigned generation;
	uint64_t asked, renew, missing_since; /* for the role; 0: not yet */
	int64_t offset;                       /* seconds from our clock to the server's */
	bool knows_region;
	char region[S3_REGION];
	struct bucket_place buckets[ROUSE_MAX_BUCKETS];
	size_t n_buckets;
};

struct aws *aws_new(const char *imds)
{
	struct aws *a = rouse_calloc(1, sizeof(*a));

	(void)pthread_mutex_init(&a->mutex, NULL);
	a->references = 1;
	a->base = imds ? rouse_strdup(imds) : NULL;
	a->looked = a->trusted = imds != NULL;
	return a;
}

static void lock(struct aws *a)
{
	(void)pthread_mutex_lock(&a->mutex);
}

static void unlock(struct aws *a)
{
	(void)pthread_mutex_unlock(&a->mutex);
}

struct aws *aws_ref(struct aws *a)
{
	lock(a);
	a->references++;
	unlock(a);
	return a;
}

void aws_forget(struct aws *a)
{
	a->imds.f = NULL;
}

void aws_unref(struct aws *a)
{
	bool last;

	if (!a)
		return;
	lock(a);
	last = --a->references == 0;
	unlock(a);
	if (!last)
		return;
	rouse_fetcher_free(a->imds.f);
	rouse_imds_done(&a->imds);
	rouse_aws_key_wipe(&a->key);
	for (size_t i = 0; i < a->n_buckets; i++)
		free(a->buckets[i].name);
	(void)pthread_mutex_destroy(&a->mutex);
	free(a->base);
	free(a);
}

/* --- asking ----------------------------------------------------------------------------------- */

/* Whoever answers at the link-local address of another cloud's machine is not to be believed. */
static int look(struct aws *a, struct rouse_err *e)
{
	struct rouse_machine m = { 0 };
	char why[256];

	if (a->looked)
		return 0;
	if (rouse_machine_open(&m, "", e) < 0)
		return -1;
	a->trusted = rouse_imds_expected(&m, why, sizeof(why));
	rouse_machine_done(&m);
	a->looked = true;
	return 0;
}

/* One conversation for all questions: its token is good for many. */
static struct rouse_imds *conversation(struct aws *a, uint64_t deadline)
{
	if (!a->imds.f)
		a->imds.f = rouse_fetcher_new();
	if (a->base)
		a->imds.base = a->base;
	a->imds.deadline = deadline;
	return &a->imds;
}

static void wipe(struct rouse_buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->len);
	rouse_buf_done(b);
}

/* Forgets the strings of an answer that had a secret in it. */
static void forget(json_t *json)
{
	const char *name;
	json_t *value;

	json_object_foreach (json, name, value)
		if (json_is_string(value))
			explicit_bzero((char *)json_string_value(value), json_string_length(value));
	json_decref(json);
}
AUTO_DEFINE(json_t *, secret, forget, NULL)

static bool take_string(const json_t *json, const char *name, char *buf, size_t size)
{
	const char *value = json_string_value(json_object_get(json, name));
	size_t n = value ? strlen(value) : 0;

	if (!n || n >= size)
		return false;
	for (size_t i = 0; i < n; i++)
		if (value[i] <= ' ' || value[i] > '~') /* they go into headers */
			return false;
	memcpy(buf, value, n + 1);
	return true;
}

/* When to ask for the next key, by the time at which this one ends. */
static uint64_t renewal(const struct aws *a, const json_t *json)
{
	const char *text = json_string_value(json_object_get(json, "Expiration"));
	struct tm tm = { 0 };
	const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	int64_t left = end ? (int64_t)timegm(&tm) - ((int64_t)time(NULL) + a->offset) : 0;

	if (left <= (RENEW_BEFORE + ASK_AGAIN) / 1000)
		return rouse_clock_ms() + ASK_AGAIN;
	/* A clock that is years behind must not make this overflow. */
	return rouse_clock_ms() + (left < INT32_MAX ? (uint64_t)left * 1000 : INT32_MAX) -
	       RENEW_BEFORE;
}

static int take_key(struct aws *a, const char *role, const json_t *json, struct rouse_err *e)
{
	struct rouse_aws_key key = { 0 };
	char code[64] = "";

	if (!take_string(json, "Code", code, sizeof(code)) || !rouse_streq(code, "Success"))
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "the metadata service has no credentials of the instance's role "
				  "'%s' (code '%s'): "
				  "look at its trust policy",
				  role, code);
	if (!take_string(json, "AccessKeyId", key.id, sizeof(key.id)) ||
	    !take_string(json, "SecretAccessKey", key.secret, sizeof(key.secret)) ||
	    !take_string(json, "Token", key.token, sizeof(key.token))) {
		rouse_aws_key_wipe(&key);
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "the metadata service's credentials of the instance's role '%s' "
				  "are incomplete",
				  role);
	}
	a->key = key;
	rouse_aws_key_wipe(&key);
	(void)snprintf(a->role, sizeof(a->role), "%s", role);
	a->generation++;
	a->renew = renewal(a, json);
	return 0;
}

/* 0; or -1, with e->sys == ENOENT when there is no role, and EBADMSG when it is worth another try. */
static int ask_key(struct aws *a, struct rouse_imds *i, struct rouse_err *e)
{
	auto_buf struct rouse_buf name = { 0 };
	struct rouse_buf text = { 0 };
	json_t *json auto_of(secret) = NULL;
	auto_free char *path = NULL;
	size_t n;

	if (rouse_imds_get(i, CREDENTIALS, ROUSE_MAX_METADATA, &name, e) < 0)
		return -1;
	n = strcspn(name.data ? name.data : "", "\r\n");
	if (!n || n >= sizeof(a->role) ||
	    strspn(name.data,
		   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+=,.@_-") < n)
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "the metadata service's name of the instance's role is none");
	name.data[n] = '\0';
	path = rouse_asprintf(CREDENTIALS "%s", name.data);
	if (rouse_imds_get(i, path, ROUSE_MAX_METADATA, &text, e) < 0)
		return -1;
	json = rouse_json_parse("credentials", text.data ? text.data : "", text.len, e);
	wipe(&text);
	if (!json_is_object(json))
		return rouse_fail(
			e, ROUSE_UNAVAILABLE, EBADMSG,
			"the metadata service's answer about the instance's role '%s' is not JSON",
			name.data);
	return take_key(a, name.data, json, e);
}

static int ask_role(struct aws *a, uint64_t deadline, struct rouse_err *e)
{
	struct rouse_imds *i = conversation(a, deadline);
	int r;

	for (unsigned tries = 1;; tries++) {
		uint64_t when;

		r = ask_key(a, i, e);
		if (r == 0 || e->sys != EBADMSG)
			break;
		when = rouse_clock_ms() + rouse_retry_delay(tries, 0, rouse_jitter(UINT64_MAX));
		if (when >= deadline)
			break;
		rouse_clock_sleep_until(when);
	}
	a->asked = rouse_clock_ms();
	if (r < 0 && e->sys == ENOENT && !a->role[0]) {
		a->missing_since = a->missing_since ? a->missing_since : a->asked;
		return 0;
	}
	return r;
}

static bool must_ask(const struct aws *a, bool again)
{
	uint64_t now = rouse_clock_ms();

	if (!a->trusted)
		return false;
	if (a->role[0])
		return now >= a->renew;
	return !a->asked || (again && now >= a->asked + ROLE_AGAIN);
}

int aws_sign(struct aws *a, bool again, uint64_t deadline, struct aws_signer *ret,
	     struct rouse_err *e)
{
	int r;

	lock(a);
	r = look(a, e);
	if (r == 0 && must_ask(a, again))
		r = ask_role(a, deadline, e);
	if (r < 0 && a->role[0]) {
		rouse_log(ROUSE_LOG_WARNING, "aws",
			  "the credentials of role '%s' cannot be renewed, and are used on: %s",
			  a->role, e->text);
		a->renew = rouse_clock_ms() + ASK_AGAIN;
		r = 0;
	}
	if (r == 0) {
		*ret = (struct aws_signer){ .key = a->key,
					    .instance = a->trusted,
					    .generation = a->generation,
					    .time = (int64_t)time(NULL) + a->offset };
		memcpy(ret->role, a->role, sizeof(a->role));
	}
	unlock(a);
	return r;
}

void aws_refused(struct aws *a, unsigned generation)
{
	lock(a);
	if (a->generation == generation)
		a->renew = 0;
	unlock(a);
}

bool aws_may_come(struct aws *a)
{
	bool ret;

	lock(a);
	ret = a->trusted && (a->role[0] || !a->missing_since ||
			     rouse_clock_ms() < a->missing_since + ROUSE_ROLE_WAIT);
	unlock(a);
	return ret;
}

void aws_set_time(struct aws *a, int64_t now)
{
	lock(a);
	a->offset = now - (int64_t)time(NULL);
	unlock(a);
}

/* --- buckets ---------------------------------------------------------------------------------- */

/* With the mutex held; NULL when it is new and there is no room for more. */
static struct bucket_place *find(struct aws *a, const struct s3_target *t, bool make)
{
	auto_free char *name = rouse_asprintf("%s/%s", t->endpoint ? t->endpoint : "", t->bucket);

	for (size_t i = 0; i < a->n_buckets; i++)
		if (rouse_streq(a->buckets[i].name, name))
			return &a->buckets[i];
	if (!make || a->n_buckets == ARRAY_SIZE(a->buckets))
		return NULL;
	a->buckets[a->n_buckets].name = take(name, NULL);
	return &a->buckets[a->n_buckets++];
}

static int ask_region(struct aws *a, uint64_t deadline, struct rouse_err *e)
{
	struct rouse_imds *i = conversation(a, deadline);
	auto_buf struct rouse_buf text = { 0 };
	int r = rouse_imds_get(i, "meta-data/placement/region", ROUSE_MAX_METADATA, &text, e);

	if (r < 0 && e->sys != ENOENT)
		return -1;
	if (text.data)
		text.data[strcspn(text.data, "\r\n")] = '\0';
	if (text.data && s3_is_region(text.data))
		memcpy(a->region, text.data, strlen(text.data) + 1);
	a->knows_region = true;
	return 0;
}

int aws_region(struct aws *a, const struct s3_target *t, uint64_t deadline,
	       char ret[static S3_REGION], struct rouse_err *e)
{
	const struct bucket_place *b;
	const char *region = NULL;
	int r = 0;

	lock(a);
	b = find(a, t, false);
	region = b && b->region[0] ? b->region : t->region;
	if (!region) {
		r = look(a, e);
		if (r == 0 && a->trusted && !a->knows_region)
			r = ask_region(a, deadline, e);
		region = a->region[0] ? a->region : FIRST_REGION;
	}
	(void)snprintf(ret, S3_REGION, "%s", region);
	unlock(a);
	return r;
}

void aws_bucket_is_in(struct aws *a, const struct s3_target *t, const char *region)
{
	struct bucket_place *b;

	assert(s3_is_region(region));
	lock(a);
	b = find(a, t, true);
	if (b)
		memcpy(b->region, region, strlen(region) + 1);
	unlock(a);
}

void aws_bucket_is_public(struct aws *a, const struct s3_target *t)
{
	struct bucket_place *b;

	lock(a);
	b = find(a, t, true);
	if (b)
		b->is_public = true;
	unlock(a);
}

bool aws_is_public(struct aws *a, const struct s3_target *t)
{
	const struct bucket_place *b;
	bool ret;

	lock(a);
	b = find(a, t, false);
	ret = b && b->is_public;
	unlock(a);
	return ret;
}
