/* SPDX-License-Identifier: Apache-2.0 */
/* rouse pull: the closures of store paths, without a document. */
#include "command.h"

#include <getopt.h>
#include <string.h>

#include <rouse/clock.h>
#include <rouse/closure.h>
#include <rouse/fetch.h>
#include <rouse/generations.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/module.h>
#include <rouse/schema.h>
#include <rouse/text.h>

#define MOST 32 /* of each option, and of paths */

struct options {
	struct rouse_cache caches[MOST];
	struct rouse_key keys[MOST];
	struct rouse_pin roots[MOST];
	struct rouse_closure_spec spec;
	const char *store, *profile;
	uint64_t timeout;
	bool json;
	struct rouse_arena arena;
};

static void options_done(struct options *o)
{
	rouse_arena_done(&o->arena);
}
#define auto_options __attribute__((cleanup(options_done)))

static int add_cache(struct options *o, const char *url, struct rouse_err *e)
{
	size_t len = strlen(url);
	char text[256];

	if (o->spec.n_caches == MOST)
		return rouse_usage(e, "more than %d caches", MOST);
	if (!rouse_is_cache_url(url))
		return rouse_usage(e,
				   "--cache: '%s' is not an https, http or file URL without a "
				   "query, or an s3 URL",
				   rouse_print_url(text, sizeof(text), url));
	while (len && url[len - 1] == '/')
		len--;
	url = rouse_arena_strndup(&o->arena, url, len);
	o->caches[o->spec.n_caches++] = (struct rouse_cache){ url, url };
	return 0;
}

static int add_key(struct options *o, const char *text, struct rouse_err *e)
{
	if (o->spec.n_keys == MOST)
		return rouse_usage(e, "more than %d keys", MOST);
	if (rouse_key_parse(&o->keys[o->spec.n_keys], text, e) < 0) {
		e->kind = ROUSE_USAGE;
		return rouse_wrap(e, "--key");
	}
	o->spec.n_keys++;
	return 0;
}

static int take_option(struct options *o, int c, struct rouse_err *e)
{
	switch (c) {
	case 'c':
		return add_cache(o, optarg, e);
	case 'k':
		return add_key(o, optarg, e);
	case 's':
		o->store = optarg;
		return 0;
	case 'p':
		o->profile = optarg;
		return rouse_is_absolute_path(optarg) && optarg[1]
			       ? 0
			       : rouse_usage(e, "--profile: '%s' is not an absolute path", optarg);
	case 't':
		return rouse_parse_duration(optarg, &o->timeout) && o->timeout
			       ? 0
			       : rouse_usage(e, "--timeout: '%s' is not a time such as \"90s\"",
					     optarg);
	default:
		o->json = true;
		return 0;
	}
}

/* PATH, or PATH#sha256-…: the hash that its archive must have. */
static int add_root(struct options *o, const char *text, struct rouse_err *e)
{
	const char *hash = strchr(text, '#');
	const char *path = rouse_arena_strndup(&o->arena, text,
					       hash ? (size_t)(hash - text) : strlen(text));

	if (o->spec.n_roots == MOST)
		return rouse_usage(e, "more than %d paths", MOST);
	if (!rouse_is_store_path(path))
		return rouse_usage(e, "'%s' is not a store path", path);
	if (hash && !rouse_is_nar_hash(hash + 1))
		return rouse_usage(e, "'%s' is not a SHA-256 such as \"sha256-…\"", hash + 1);
	o->roots[o->spec.n_roots++] = (struct rouse_pin){ path, hash ? hash + 1 : NULL };
	return 0;
}

static int parse(struct options *o, int argc, char **argv, struct rouse_err *e)
{
	static const struct option options[] = {
		{ "cache", required_argument, NULL, 'c' },
		{ "key", required_argument, NULL, 'k' },
		{ "store", required_argument, NULL, 's' },
		{ "profile", required_argument, NULL, 'p' },
		{ "timeout", required_argument, NULL, 't' },
		{ "json", no_argument, NULL, 'j' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?')
			return rouse_usage(e, "unknown or incomplete option '%s'",
					   argv[optind - 1]);
		if (take_option(o, c, e) < 0)
			return -1;
	}
	if (optind == argc)
		return rouse_usage(e, "expected a store path");
	if (!o->spec.n_caches)
		return rouse_usage(e, "expected --cache URL");
	for (; optind < argc; optind++)
		if (add_root(o, argv[optind], e) < 0)
			return -1;
	return 0;
}

/* One line on a terminal that is written over. */
static void show_progress(void *arg unused_arg, const char *what, uint64_t done, uint64_t total)
{
	char a[16], b[16];

	if (!done && !total)
		(void)fprintf(stderr, "\r\033[K%s", what);
	else
		(void)fprintf(stderr, "\r\033[K%s: %s of %s", what, rouse_print_size(a, done),
			      rouse_print_size(b, total));
}

static void print_done(const struct options *o, const struct rouse_closure_size *s, uint64_t ms,
		       uint64_t generation, const json_t *counters)
{
	char size[16], got[16], took[24];
	uint64_t bytes = (uint64_t)json_integer_value(
		json_object_get(counters, "closure.downloadBytes"));

	if (!s->missing)
		(void)printf("%zu path%s in the store already\n", s->paths,
			     s->paths == 1 ? "" : "s");
	else
		(void)printf("pulled %zu of %zu path%s: %s, downloaded %s, in %s\n", s->missing,
			     s->paths, s->paths == 1 ? "" : "s",
			     rouse_print_size(size, s->missing_bytes), rouse_print_size(got, bytes),
			     rouse_print_duration(took, ms));
	if (generation)
		(void)printf("%s is generation %llu\n", o->profile, (unsigned long long)generation);
}

static int pull(struct options *o, struct rouse_context *ctx, struct rouse_err *e)
{
	auto_closure struct rouse_closure *c = NULL;
	auto_fd int hold = -1; /* until the profile points to it, nothing may collect it */
	struct rouse_closure_size size;
	uint64_t begin = rouse_clock_ms(), generation = 0;

	if (rouse_store_hold(ctx->root, false, ctx->deadline, &hold, e) < 0)
		return -1;
	c = rouse_closure_new(&o->spec);
	if (rouse_closure_resolve(c, ctx, e) < 0 || rouse_closure_fits(c, ctx, NULL, e) < 0)
		return -1;
	if (hold < 0 && rouse_store_hold(ctx->root, true, ctx->deadline, &hold, e) < 0)
		return -1;
	size = rouse_closure_measure(c);
	if (rouse_closure_pull(c, ctx, e) < 0)
		return -1;
	if (o->profile &&
	    rouse_generation_make(ctx->root, o->profile, o->roots[0].path, &generation, e) < 0)
		return -1;
	if (o->json) {
		auto_free char *text = NULL;

		rouse_json_set_int(ctx->counters, "closure.milliseconds", rouse_clock_ms() - begin);
		if (generation)
			rouse_json_set_int(ctx->counters, "closure.generation", generation);
		text = rouse_json_print(ctx->counters);
		(void)fputs(text, stdout);
	} else {
		print_done(o, &size, rouse_clock_ms() - begin, generation, ctx->counters);
	}
	return 0;
}

int rouse_cmd_pull(int argc, char **argv, struct rouse_err *e)
{
	auto_options struct options o = { .store = "/", .timeout = ROUSE_DEADLINE_APPLY };
	auto_fetcher struct rouse_fetcher *f = NULL;
	auto_json json_t *counters = NULL;
	struct rouse_context ctx = { 0 };
	int r;

	o.spec =
		(struct rouse_closure_spec){ .caches = o.caches, .keys = o.keys, .roots = o.roots };
	if (parse(&o, argc, argv, e) < 0)
		return -1;
	f = rouse_fetcher_new();
	counters = json_object();
	ctx = (struct rouse_context){
		.root = o.store,
		.image = strcmp(o.store, "/") != 0,
		.fetcher = f,
		.counters = counters,
		.deadline = rouse_clock_ms() + o.timeout,
		.progress = !o.json && isatty(STDERR_FILENO) ? show_progress : NULL,
	};
	r = pull(&o, &ctx, e);
	if (ctx.progress)
		(void)fputs("\r\033[K", stderr);
	return r;
}
