/* SPDX-License-Identifier: Apache-2.0 */
#include "tokens.h"

#include <jansson.h>
#include <pthread.h>
#include <string.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/imds.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/source.h>
#include <rouse/text.h>

/* New ones are asked for this long before the old ones expire. */
#define RENEW_BEFORE 60000
/* A lifetime that is not told, or is longer, counts as this. */
#define LONGEST_LIFE 3600000

/* Azure's says 404 while it is not ready, and 400 to machines without an identity. */
static const struct rouse_answer azure_answers[] = {
	{ 400, 400, ROUSE_MEANS_NONE, 0, NULL },
	{ 404, 404, ROUSE_MEANS_RETRY, 0, NULL },
	{ 410, 410, ROUSE_MEANS_RETRY, 0, NULL },
};

static const struct {
	const char *word, *dmi_field, *dmi_value, *path;
	struct rouse_imds_api api;
} kinds[] = {
	[TOKEN_GOOGLE] = { "service account",
			   "product_name",
			   "Google Compute Engine",
			   "/computeMetadata/v1/instance/service-accounts/default/token",
			   { .bases = { "http://169.254.169.254" },
			     .root = "/",
			     .headers = { "Metadata-Flavor: Google" } } },
	[TOKEN_AZURE] = { "managed identity",
			  "chassis_asset_tag",
			  "7783-7084-3265-9085-8269-3286-77",
			  "/metadata/identity/oauth2/token?api-version=2018-02-01"
			  "&resource=https%3A%2F%2Fstorage.azure.com%2F",
			  { .bases = { "http://169.254.169.254" },
			    .root = "/",
			    .headers = { "Metadata: true" },
			    .answers = azure_answers,
			    .n_answers = ARRAY_SIZE(azure_answers) } },
};
_Static_assert(ARRAY_SIZE(kinds) == TOKEN_KINDS_, "a row for each kind");

const char *token_kind_word(enum token_kind k)
{
	return kinds[k].word;
}

struct held {
	struct token token;
	char client_id[64]; /* whose it is; "": the only identity's */
	bool asked;
	uint64_t renew;
};

struct tokens {
	pthread_mutex_t mutex;
	unsigned references;
	char *imds;
	struct rouse_fetcher *fetcher;
	struct held held[TOKEN_KINDS_];
};

struct tokens *tokens_new(const char *imds)
{
	struct tokens *t = rouse_calloc(1, sizeof(*t));

	(void)pthread_mutex_init(&t->mutex, NULL);
	t->references = 1;
	t->imds = imds ? rouse_strdup(imds) : NULL;
	return t;
}

static void lock(struct tokens *t)
{
	(void)pthread_mutex_lock(&t->mutex);
}

static void unlock(struct tokens *t)
{
	(void)pthread_mutex_unlock(&t->mutex);
}

struct tokens *tokens_ref(struct tokens *t)
{
	lock(t);
	t->references++;
	unlock(t);
	return t;
}

void tokens_forget(struct tokens *t)
{
	t->fetcher = NULL;
}

void tokens_unref(struct tokens *t)
{
	bool last;

	if (!t)
		return;
	lock(t);
	last = --t->references == 0;
	unlock(t);
	if (!last)
		return;
	rouse_fetcher_free(t->fetcher);
	explicit_bzero(t->held, sizeof(t->held));
	(void)pthread_mutex_destroy(&t->mutex);
	free(t->imds);
	free(t);
}

/* --- asking ----------------------------------------------------------------------------------- */

/* Whoever answers at the link-local address of another cloud's machine is not to be believed. */
static int is_instance(const struct tokens *t, enum token_kind kind, bool *ret, struct rouse_err *e)
{
	struct rouse_machine m = { 0 };
	char value[64];

	*ret = true;
	if (t->imds)
		return 0;
	if (rouse_machine_open(&m, "", e) < 0)
		return -1;
	*ret = rouse_machine_dmi(&m, kinds[kind].dmi_field, value, sizeof(value)) &&
	       rouse_streq(value, kinds[kind].dmi_value);
	rouse_machine_done(&m);
	return 0;
}

static void wipe(struct rouse_buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->len);
	rouse_buf_done(b);
}

/* A number, or the digits of one: Azure quotes them. Milliseconds. */
static uint64_t life_of(const json_t *answer)
{
	const json_t *j = json_object_get(answer, "expires_in");
	const char *text = json_string_value(j);
	uint64_t seconds = 0;

	if (json_is_integer(j) && json_integer_value(j) > 0)
		seconds = (uint64_t)json_integer_value(j);
	else if (!text || !rouse_parse_u64(text, INT32_MAX, &seconds))
		return LONGEST_LIFE;
	return seconds < LONGEST_LIFE / 1000 ? seconds * 1000 : LONGEST_LIFE;
}

/* What goes into a header is one word. */
static bool is_token(const char *s)
{
	size_t n = s ? strlen(s) : 0;

	for (size_t i = 0; i < n; i++)
		if (s[i] <= ' ' || s[i] > '~')
			return false;
	return n && n < TOKEN_SIZE;
}

static int take_answer(struct held *h, enum token_kind kind, const struct rouse_buf *text,
		       struct rouse_err *e)
{
	json_t *answer = rouse_json_parse("token", text->data ? text->data : "", text->len, e);
	json_t *token = json_object_get(answer, "access_token");
	const char *s = json_string_value(token);
	uint64_t now = rouse_clock_ms(), life = life_of(answer);
	bool good = is_token(s);

	if (good) {
		(void)snprintf(h->token.text, sizeof(h->token.text), "%s", s);
		h->token.generation++;
		h->renew = now + (life > RENEW_BEFORE ? life - RENEW_BEFORE : 0);
	}
	if (s)
		explicit_bzero((char *)s, json_string_length(token));
	json_decref(answer);
	if (good)
		return 0;
	return rouse_fail(e, ROUSE_SYSTEM, 0,
			  "the metadata service's answer about the machine's %s has no token",
			  kinds[kind].word);
}

static int ask(struct tokens *t, enum token_kind kind, uint64_t deadline, struct rouse_err *e)
{
	struct held *h = &t->held[kind];
	struct rouse_imds i = { .api = &kinds[kind].api, .base = t->imds, .deadline = deadline };
	auto_free char *path = rouse_asprintf("%s%s%s", kinds[kind].path,
					      h->client_id[0] ? "&client_id=" : "", h->client_id);
	struct rouse_buf text = { 0 };
	int r;

	if (!t->fetcher)
		t->fetcher = rouse_fetcher_new();
	i.f = t->fetcher;
	r = rouse_imds_get(&i, path, ROUSE_MAX_METADATA, &text, e);
	if (r == 0)
		r = take_answer(h, kind, &text, e);
	else if (e->sys == ENOENT)
		r = 0; /* this machine has none, which is an answer */
	wipe(&text);
	rouse_imds_done(&i);
	h->asked = r == 0;
	return r;
}

int tokens_get(struct tokens *t, enum token_kind kind, const char *client_id, uint64_t deadline,
	       struct token *ret, struct rouse_err *e)
{
	struct held *h = &t->held[kind];
	const char *who = client_id ? client_id : "";
	int r;

	lock(t);
	if (!rouse_streq(h->client_id, who)) {
		unsigned generation = h->token.generation;

		explicit_bzero(h, sizeof(*h));
		h->token.generation = generation;
		(void)snprintf(h->client_id, sizeof(h->client_id), "%s", who);
	}
	r = is_instance(t, kind, &h->token.instance, e);
	if (r == 0 && h->token.instance &&
	    (!h->asked || (h->token.text[0] && rouse_clock_ms() >= h->renew)))
		r = ask(t, kind, deadline, e);
	if (r == 0)
		*ret = h->token;
	unlock(t);
	return r;
}

void tokens_refused(struct tokens *t, enum token_kind kind, unsigned generation)
{
	lock(t);
	if (t->held[kind].token.generation == generation)
		t->held[kind].asked = false;
	unlock(t);
}
