/* SPDX-License-Identifier: Apache-2.0 */
#include "blob.h"

#include <string.h>

#include <rouse/sigv4.h>
#include <rouse/text.h>

#define DIGITS "0123456789"
#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define ENCODED LOWER "ABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS "-._~%"

#define GOOGLE "https://storage.googleapis.com"

/* What stands behind the '?'. */
struct parameter {
	const char *name;
	const char *characters; /* that its value may have; NULL: a word of `words` */
	const char *const *words;
	const char *value; /* "" when it was not given */
};

static const char *const azure_words[] = { "china", "usgov", NULL };

bool blob_is_url(const char *url)
{
	return rouse_strip_prefix(url, "gs://") || rouse_strip_prefix(url, "az://");
}

void blob_target_done(struct blob_target *t)
{
	rouse_arena_done(&t->arena);
	*t = (struct blob_target){ 0 };
}

static bool is_word(const char *s, const char *const *words)
{
	for (; *words; words++)
		if (rouse_streq(s, *words))
			return true;
	return false;
}

static int take_parameter(struct blob_target *t, const char *text, size_t n, struct parameter *all,
			  size_t n_all, struct rouse_err *e)
{
	const char *equals = memchr(text, '=', n);
	size_t name_len = equals ? (size_t)(equals - text) : n;

	for (size_t i = 0; i < n_all; i++) {
		struct parameter *p = &all[i];
		const char *value;

		if (strlen(p->name) != name_len || strncmp(p->name, text, name_len) != 0)
			continue;
		value = equals ? rouse_arena_strndup(&t->arena, equals + 1, n - name_len - 1) : "";
		if (*p->value || !*value)
			return rouse_fail(e, ROUSE_DOCUMENT, 0,
					  "'%s' must be given once, with a value", p->name);
		if (p->characters ? strspn(value, p->characters) != strlen(value)
				  : !is_word(value, p->words))
			return rouse_fail(e, ROUSE_DOCUMENT, 0, "'%s' has a value that is none",
					  p->name);
		p->value = value;
		return 0;
	}
	return rouse_fail(e, ROUSE_DOCUMENT, 0, "'%.*s' is no parameter of such a URL",
			  (int)(name_len < 32 ? name_len : 32), text);
}

static int take_query(struct blob_target *t, const char *query, struct parameter *all, size_t n_all,
		      struct rouse_err *e)
{
	for (const char *p = query; *p;) {
		size_t n = strcspn(p, "&");

		if (n && take_parameter(t, p, n, all, n_all, e) < 0)
			return -1;
		p += n + (p[n] == '&');
	}
	return 0;
}

/* Decoded and encoded anew, so that there is one spelling; NULL when it has a NUL inside. */
static const char *spell(struct blob_target *t, const char *text, size_t n, const char *also)
{
	size_t len = 0;
	auto_free char *plain = rouse_sigv4_decode(text, n, &len);
	auto_free char *encoded = rouse_sigv4_encode(plain, len, also);

	return memchr(plain, '\0', len) ? NULL : rouse_arena_strdup(&t->arena, encoded);
}

static bool is_name(const char *s, size_t n, const char *characters, size_t least, size_t most)
{
	return n >= least && n <= most && strspn(s, characters) >= n && *s != '.' && *s != '-' &&
	       s[n - 1] != '.';
}

/* What both are asked for a page of: what begins so, and what the page before said of the next. */
static int take_listing(struct blob_target *t, const struct parameter *prefix,
			const struct parameter *marker, struct rouse_err *e)
{
	t->is_listing = *prefix->value != '\0';
	if (t->is_object ? t->is_listing || *marker->value : !t->is_listing && *marker->value)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "an object has no '%s'", prefix->name);
	return 0;
}

static int parse_google(struct blob_target *t, const char *rest, struct rouse_err *e)
{
	struct parameter all[] = { { "generation", DIGITS, NULL, "" },
				   { "userProject", LOWER DIGITS "-:.", NULL, "" },
				   { "prefix", ENCODED, NULL, "" },
				   { "marker", ENCODED, NULL, "" } };
	size_t n = strcspn(rest, "/?"), end = strcspn(rest, "?");
	const char *key = rest[n] == '/' ? rest + n + 1 : rest + n, *object, *path;
	struct rouse_buf url = { 0 };

	if (!is_name(rest, n, LOWER DIGITS "._-", 3, 222))
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "it does not begin with the name of a bucket");
	object = spell(t, key, (size_t)(rest + end - key), "");
	path = spell(t, key, (size_t)(rest + end - key), "/");
	if (!object || !path)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "a name has no NUL byte");
	if (take_query(t, rest[end] ? rest + end + 1 : "", all, ARRAY_SIZE(all), e) < 0)
		return -1;
	t->is_object = *object != '\0';
	if (take_listing(t, &all[2], &all[3], e) < 0)
		return -1;
	/* What writes and lists is the interface that is as S3's. */
	t->put_url = rouse_arena_printf(&t->arena, GOOGLE "/%.*s/%s", (int)n, rest, path);
	if (t->is_listing) {
		t->url = rouse_arena_printf(
			&t->arena, GOOGLE "/%.*s?list-type=2&max-keys=1000&prefix=%s%s%s", (int)n,
			rest, all[2].value, *all[3].value ? "&continuation-token=" : "",
			all[3].value);
		return 0;
	}
	rouse_buf_printf(&url, GOOGLE "/storage/v1/b/%.*s/o/%s?alt=media", (int)n, rest, object);
	for (size_t i = 0; i < 2; i++)
		if (*all[i].value)
			rouse_buf_printf(&url, "&%s=%s", all[i].name, all[i].value);
	t->url = rouse_arena_strdup(&t->arena, url.data);
	rouse_buf_done(&url);
	return 0;
}

static const char *azure_suffix(const char *cloud)
{
	if (rouse_streq(cloud, "china"))
		return "core.chinacloudapi.cn";
	return rouse_streq(cloud, "usgov") ? "core.usgovcloudapi.net" : "core.windows.net";
}

static int parse_azure(struct blob_target *t, const char *rest, struct rouse_err *e)
{
	struct parameter all[] = { { "versionid", DIGITS "-:.TZ", NULL, "" },
				   { "client_id", DIGITS "abcdefABCDEF-", NULL, "" },
				   { "cloud", NULL, azure_words, "" },
				   { "prefix", ENCODED, NULL, "" },
				   { "marker", ENCODED, NULL, "" } };
	size_t account = strcspn(rest, "/?"), end = strcspn(rest, "?"), container;
	const char *path = rest[account] == '/' ? rest + account + 1 : rest + account, *object;
	auto_free char *version = NULL;

	container = strcspn(path, "/?");
	if (!is_name(rest, account, LOWER DIGITS, 3, 24))
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "it does not begin with the name of a storage account");
	if (!is_name(path, container, LOWER DIGITS "$-", 3, 63))
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "the storage account is not followed by a container's name");
	object = spell(t, path + container, (size_t)(rest + end - path) - container, "/");
	if (!object)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "a name has no NUL byte");
	if (take_query(t, rest[end] ? rest + end + 1 : "", all, ARRAY_SIZE(all), e) < 0)
		return -1;
	version = rouse_sigv4_encode(all[0].value, strlen(all[0].value), "");
	t->client_id = *all[1].value ? all[1].value : NULL;
	t->is_object = object[0] == '/' && object[1];
	if (take_listing(t, &all[3], &all[4], e) < 0)
		return -1;
	t->put_url = rouse_arena_printf(&t->arena, "https://%.*s.blob.%s/%.*s%s", (int)account,
					rest, azure_suffix(all[2].value), (int)container, path,
					t->is_listing ? "" : object);
	if (t->is_listing)
		t->url = rouse_arena_printf(
			&t->arena, "%s?restype=container&comp=list&maxresults=500&prefix=%s%s%s",
			t->put_url, all[3].value, *all[4].value ? "&marker=" : "", all[4].value);
	else
		t->url = rouse_arena_printf(&t->arena, "%s%s%s", t->put_url,
					    *version ? "?versionid=" : "", version);
	return 0;
}

int blob_parse(struct blob_target *ret, const char *url, struct rouse_err *e)
{
	const char *google = rouse_strip_prefix(url, "gs://"),
		   *azure = rouse_strip_prefix(url, "az://");
	struct blob_target t = { .kind = google ? TOKEN_GOOGLE : TOKEN_AZURE };
	int r;

	if ((!google && !azure) || strchr(url, '#'))
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "it is not a gs or az URL");
	r = google ? parse_google(&t, google, e) : parse_azure(&t, azure, e);
	if (r < 0) {
		blob_target_done(&t);
		return -1;
	}
	*ret = t;
	return 0;
}
