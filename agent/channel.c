/* SPDX-License-Identifier: Apache-2.0 */
#include "channel.h"

#include <string.h>

#include <rouse/decompress.h>
#include <rouse/fetch.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/lock.h>
#include <rouse/text.h>

void rouse_channels_done(struct rouse_channels *c)
{
	for (struct rouse_release *r = c->releases; r; r = r->next)
		json_decref(r->packages);
	for (struct rouse_store_index *i = c->indexes; i; i = i->next)
		rouse_store_list_done(&i->list);
	rouse_arena_done(&c->arena);
	*c = (struct rouse_channels){ 0 };
}

/* One file; *ret_from (may be NULL) is where it was found, in the arena. */
static int get(struct rouse_channels *c, const char *url, uint64_t max, const char *accept,
	       struct rouse_buf *ret, const char **ret_from, struct rouse_err *e)
{
	const char *const headers[] = { accept, NULL };
	struct rouse_fetch t = { .url = url,
				 .max_bytes = max,
				 .deadline = c->deadline,
				 .headers = accept ? headers : NULL,
				 .max_redirects = 3 };
	int r = rouse_fetch(c->fetcher, &t, e);

	if (r == 0 && ret_from)
		*ret_from = rouse_arena_strdup(&c->arena, t.effective);
	if (r == 0)
		*ret = take(t.body_out, (struct rouse_buf){ 0 });
	rouse_buf_done(&t.body_out);
	return r;
}

/* A file with one line; *ret is NULL when there is none. */
static int get_line(struct rouse_channels *c, const char *base, const char *name, const char **ret,
		    const char **ret_from, struct rouse_err *e)
{
	auto_free char *url = rouse_fetch_url(base, name);
	auto_buf struct rouse_buf text = { 0 };

	*ret = NULL;
	if (get(c, url, ROUSE_MAX_METADATA, NULL, &text, ret_from, e) < 0)
		return e->sys == ENOENT ? 0 : -1;
	*ret = rouse_arena_strndup(&c->arena, text.data ? text.data : "",
				   text.data ? strcspn(text.data, " \t\r\n") : 0);
	return 0;
}

static bool is_revision(const char *s)
{
	return strlen(s) == 40 && strspn(s, "0123456789abcdef") == 40;
}

static const char *last_part(const char *url)
{
	const char *slash = strrchr(url, '/');

	return slash ? slash + 1 : url;
}

/* The directory of "…/git-revision". */
static const char *directory_of(struct rouse_channels *c, const char *url)
{
	const char *slash = strrchr(url, '/');

	return rouse_arena_strndup(&c->arena, url, slash ? (size_t)(slash - url) : strlen(url));
}

/* A release's own words about where to look may lead to where nothing protects them no more than a
 * document's may. */
static int check_url(const char *where, const char *name, const char *url, struct rouse_err *e)
{
	if (!url || rouse_is_channel(url))
		return 0;
	return rouse_fail(e, ROUSE_DOCUMENT, 0, "'%s' of '%s' is not an https or file URL", name,
			  where);
}

static int read_release(struct rouse_channels *c, struct rouse_release *r, const char *url,
			struct rouse_err *e)
{
	const char *from = NULL;

	if (get_line(c, url, "/git-revision", &r->revision, &from, e) < 0)
		return -1;
	if (!r->revision)
		return rouse_fail(e, ROUSE_DOCUMENT, ENOENT,
				  "there is no channel at '%s': it has no 'git-revision'", url);
	if (!is_revision(r->revision))
		return rouse_fail(e, ROUSE_DOCUMENT, 0,
				  "'%s/git-revision' is not a revision of 40 hex digits", url);
	if (from && *from)
		url = directory_of(c, from);
	r->url = rouse_arena_strdup(&c->arena, url);
	r->name = last_part(r->url);
	if (get_line(c, r->url, "/src-url", &r->evaluation, NULL, e) < 0 ||
	    get_line(c, r->url, "/binary-cache-url", &r->binary_cache, NULL, e) < 0)
		return -1;
	return check_url(r->url, "src-url", r->evaluation, e);
}

int rouse_channels_open(struct rouse_channels *c, const char *channel, const char *pinned,
			struct rouse_release **ret, struct rouse_err *e)
{
	struct rouse_release *r;
	auto_free char *url = NULL;

	for (r = c->releases; r; r = r->next)
		if (pinned ? rouse_streq(r->url, pinned) : rouse_streq(r->channel, channel)) {
			*ret = r;
			return 0;
		}
	if (pinned)
		url = rouse_strdup(pinned);
	else
		url = strstr(channel, "://") ? rouse_strdup(channel)
					     : rouse_asprintf("%s/%s", c->base, channel);
	while (strlen(url) > 8 && url[strlen(url) - 1] == '/')
		url[strlen(url) - 1] = '\0';
	r = rouse_arena_alloc(&c->arena, sizeof(*r));
	/* A pinned release does not say what is new in its channel. */
	r->channel = pinned ? NULL : rouse_arena_strdup(&c->arena, channel);
	if (read_release(c, r, url, e) < 0)
		return -1;
	r->next = c->releases;
	c->releases = r;
	*ret = r;
	return 0;
}

static int unpack(const char *url, const struct rouse_buf *packed, struct rouse_buf *ret,
		  struct rouse_err *e)
{
	char name[512];

	return rouse_decompress(rouse_print_url(name, sizeof(name), url),
				packed->data ? packed->data : "", packed->len, ROUSE_MAX_INDEX, ret,
				e);
}

int rouse_release_packages(struct rouse_channels *c, struct rouse_release *r, const json_t **ret,
			   struct rouse_err *e)
{
	auto_free char *url = rouse_fetch_url(r->url, "/packages.json.br");
	auto_buf struct rouse_buf packed = { 0 }, text = { 0 };

	if (!r->asked) {
		if (get(c, url, ROUSE_MAX_INDEX, NULL, &packed, NULL, e) < 0) {
			if (e->sys != ENOENT)
				return -1;
		} else {
			if (unpack(url, &packed, &text, e) < 0)
				return -1;
			rouse_buf_done(&packed);
			r->packages = rouse_json_parse(url, text.data ? text.data : "", text.len,
						       e);
			if (!r->packages)
				return -1;
		}
		r->asked = true;
	}
	*ret = json_object_get(r->packages, "packages");
	if (r->packages && !json_is_object(*ret))
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "'%s' has no object \"packages\"", url);
	return 0;
}

static int take_build(struct rouse_channels *c, const char *url, const json_t *build,
		      const char *output, const char **ret, struct rouse_err *e)
{
	const json_t *status = json_object_get(build, "buildstatus"), *outputs, *out;
	const char *path;

	if (!json_is_integer(status))
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "'%s' is not built yet", url);
	if (json_integer_value(status) != 0)
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "'%s' is a build that failed (status %lld)",
				  url, (long long)json_integer_value(status));
	outputs = json_object_get(build, "buildoutputs");
	out = json_object_get(outputs, output);
	path = json_string_value(json_object_get(out, "path"));
	if (!out) {
		auto_buf struct rouse_buf names = { 0 };
		const char *name;
		json_t *value;

		json_object_foreach ((json_t *)outputs, name, value)
			rouse_buf_printf(&names, "%s%.32s", names.len ? ", " : "", name);
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "'%s' has no output '%s'; it has: %.200s",
				  url, output, names.data ? names.data : "none");
	}
	if (!path || !rouse_is_store_path(path))
		return rouse_fail(e, ROUSE_DOCUMENT, 0, "'%s' names no store path for '%s'", url,
				  output);
	*ret = rouse_arena_strdup(&c->arena, path);
	return 0;
}

int rouse_release_job(struct rouse_channels *c, const struct rouse_release *r, const char *job,
		      const char *output, const char **ret, struct rouse_err *e)
{
	auto_free char *more = rouse_asprintf("/job/%s", job);
	auto_free char *url = rouse_fetch_url(r->evaluation, more);
	auto_buf struct rouse_buf text = { 0 };
	auto_json json_t *build = NULL;

	if (get(c, url, ROUSE_MAX_JOB, "Accept: application/json", &text, NULL, e) < 0)
		return -1;
	build = rouse_json_parse(url, text.data ? text.data : "", text.len, e);
	if (!build)
		return -1;
	return take_build(c, url, build, output, ret, e);
}

int rouse_channels_list(struct rouse_channels *c, const char *url,
			const struct rouse_store_list **ret, struct rouse_err *e)
{
	auto_buf struct rouse_buf packed = { 0 }, text = { 0 };
	struct rouse_store_index *i;
	char name[512];

	for (i = c->indexes; i; i = i->next)
		if (rouse_streq(i->url, url)) {
			*ret = i->missing ? NULL : &i->list;
			return 0;
		}
	i = rouse_arena_alloc(&c->arena, sizeof(*i));
	i->url = rouse_arena_strdup(&c->arena, url);
	if (get(c, url, ROUSE_MAX_INDEX, NULL, &packed, NULL, e) < 0) {
		if (e->sys != ENOENT)
			return -1;
		i->missing = true;
	} else {
		if (unpack(url, &packed, &text, e) < 0)
			return -1;
		if (memchr(text.data ? text.data : "", '\0', text.len))
			return rouse_fail(e, ROUSE_DOCUMENT, 0, "'%s' is not a text",
					  rouse_print_url(name, sizeof(name), url));
		if (rouse_store_list_parse(&i->list, rouse_print_url(name, sizeof(name), url),
					   text.data ? take(text.data, NULL) : rouse_strdup(""),
					   e) < 0)
			return -1;
	}
	i->next = c->indexes;
	c->indexes = i;
	*ret = i->missing ? NULL : &i->list;
	return 0;
}
