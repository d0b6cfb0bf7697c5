/* SPDX-License-Identifier: Apache-2.0 */
#include "pull_options.h"

#include <stdlib.h>
#include <string.h>

#include <rouse/fs.h>
#include <rouse/limits.h>
#include <rouse/netrc.h>
#include <rouse/schema.h>
#include <rouse/text.h>

#include "command.h"

void pull_options_done(struct pull_options *o)
{
	for (size_t i = 0; i < o->spec.n_caches; i++)
		rouse_secret_free(o->headers[i][0]);
	rouse_arena_done(&o->arena);
}

/* A directory, or a host, where a URL is wanted. */
static int no_cache_url(const char *url, struct rouse_err *e)
{
	auto_free char *near = rouse_asprintf("%s://%s", *url == '/' ? "file" : "https", url);
	char text[256];

	if (!strstr(url, "://") && rouse_is_cache_url(near))
		return rouse_usage(e, "--cache: '%s' is not a URL, did you mean '%s'?", url, near);
	return rouse_usage(e,
			   "--cache: '%s' is not an https, http or file URL without a query, or an "
			   "s3, gs or az URL",
			   rouse_print_url(text, sizeof(text), url));
}

static int add_cache(struct pull_options *o, const char *url, struct rouse_err *e)
{
	size_t len = strlen(url);

	if (o->spec.n_caches == PULL_MOST)
		return rouse_usage(e, "more than %d caches", PULL_MOST);
	if (!rouse_is_cache_url(url))
		return no_cache_url(url, e);
	while (len && url[len - 1] == '/')
		len--;
	url = rouse_arena_strndup(&o->arena, url, len);
	o->caches[o->spec.n_caches++] = (struct rouse_cache){ .name = url, .url = url };
	return 0;
}

static int add_key(struct pull_options *o, const char *text, struct rouse_err *e)
{
	if (o->spec.n_keys == PULL_MOST)
		return rouse_usage(e, "more than %d keys", PULL_MOST);
	if (rouse_key_parse(&o->keys[o->spec.n_keys], text, e) < 0) {
		e->kind = ROUSE_USAGE;
		return rouse_wrap(e, "--key");
	}
	o->spec.n_keys++;
	return 0;
}

int pull_options_take(struct pull_options *o, int c, const char *arg, struct rouse_err *e)
{
	switch (c) {
	case 'c':
		return add_cache(o, arg, e);
	case 'k':
		return add_key(o, arg, e);
	case 'N':
		o->netrc = arg;
		return 0;
	default:
		return rouse_parse_duration(arg, &o->timeout) && o->timeout
			       ? 0
			       : rouse_usage(e, "--timeout: '%s' is not a time such as \"90s\"",
					     arg);
	}
}

/* Without "/nix/store/", or with something below it. */
static int no_store_path(const char *text, struct rouse_err *e)
{
	const char *base = rouse_strip_prefix(text, "/nix/store/");
	auto_free char *near = NULL;

	base = base ? base : text;
	near = rouse_asprintf("/nix/store/%.*s", (int)strcspn(base, "/"), base);
	if (rouse_is_store_path(near))
		return rouse_usage(e, "'%s' is not a store path, did you mean '%s'?", text, near);
	return rouse_usage(e, "'%s' is not a store path, \"/nix/store/HASH-NAME\"%s", text,
			   strchr(text, '/') ? "" : "; `rouse lock` finds those of names");
}

/* PATH, or PATH#sha256-…: the hash that its archive must have. */
static int add_root(struct pull_options *o, const char *text, struct rouse_err *e)
{
	const char *hash = strchr(text, '#');
	const char *path = rouse_arena_strndup(&o->arena, text,
					       hash ? (size_t)(hash - text) : strlen(text));

	if (o->spec.n_roots == PULL_MOST)
		return rouse_usage(e, "more than %d paths", PULL_MOST);
	if (!rouse_is_store_path(path))
		return no_store_path(path, e);
	if (hash && !rouse_is_nar_hash(hash + 1))
		return rouse_usage(e, "'%s' is not a SHA-256 such as \"sha256-…\"", hash + 1);
	o->roots[o->spec.n_roots++] = (struct rouse_pin){
		.path = path,
		.nar_hash = hash ? hash + 1 : NULL,
	};
	return 0;
}

/* Tells private caches who asks. */
static int introduce(struct pull_options *o, struct rouse_err *e)
{
	for (size_t i = 0; o->netrc && i < o->spec.n_caches; i++) {
		if (rouse_netrc_read(&o->headers[i][0], o->netrc, o->caches[i].url, e) < 0)
			return -1;
		o->caches[i].headers = (const char *const *)o->headers[i];
	}
	return 0;
}

int pull_options_paths(struct pull_options *o, int argc, char **argv, struct rouse_err *e)
{
	if (!argc)
		return rouse_usage(e, "expected a store path");
	if (!o->spec.n_caches)
		return rouse_usage(e, "expected --cache URL");
	for (int i = 0; i < argc; i++)
		if (add_root(o, argv[i], e) < 0)
			return -1;
	if (introduce(o, e) < 0)
		return -1;
	o->spec.caches = o->caches;
	o->spec.keys = o->keys;
	o->spec.roots = o->roots;
	return 0;
}

static void set_manifest(struct pull_options *o, const char *url, const char *sha256)
{
	url = rouse_arena_strdup(&o->arena, url);
	sha256 = rouse_arena_strdup(&o->arena, sha256);
	for (size_t i = 0; i < o->spec.n_roots; i++) {
		o->roots[i].manifest_url = url;
		o->roots[i].manifest_sha256 = sha256;
	}
}

static int take_file(struct pull_options *o, const char *name, struct rouse_err *e)
{
	auto_buf struct rouse_buf text = { 0 };
	auto_free char *real = realpath(name, NULL), *url = NULL;
	char hex[65];

	if (!real)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot read '%s'", name);
	if (rouse_read_file(real, ROUSE_MAX_MANIFEST, &text, e) < 0)
		return -1;
	rouse_sha256_hex(text.data ? text.data : "", text.len, hex);
	url = rouse_asprintf("file://%s", real);
	set_manifest(o, url, hex);
	return 0;
}

int pull_options_manifest(struct pull_options *o, const char *text, struct rouse_err *e)
{
	const char *digest = strstr(text, "#sha256=");
	auto_free char *url = rouse_strndup(text, digest ? (size_t)(digest - text) : strlen(text));

	if (!digest && !strstr(text, "://"))
		return take_file(o, text, e);
	if (!digest || !rouse_is_sha256_hex(digest + strlen("#sha256=")) || !rouse_is_url(url))
		return rouse_usage(e, "--manifest: expected FILE, or URL#sha256=DIGEST");
	set_manifest(o, url, digest + strlen("#sha256="));
	return 0;
}
