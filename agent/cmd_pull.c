/* SPDX-License-Identifier: Apache-2.0 */
/* rouse pull: the closures of store paths, without a document. */
#include "command.h"

#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include <rouse/clock.h>
#include <rouse/closure.h>
#include <rouse/fetch.h>
#include <rouse/fs.h>
#include <rouse/generations.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/module.h>
#include <rouse/proxy.h>
#include <rouse/schema.h>
#include <rouse/text.h>

#include "progress.h"
#include "pull_options.h"

struct options {
	struct pull_options common;
	const char *store, *profile, *manifest, *from;
	struct rouse_root other; /* --from */
	uint64_t jobs;
	bool json, dry_run, check;
};

static void options_done(struct options *o)
{
	pull_options_done(&o->common);
	rouse_root_done(&o->other);
}
#define auto_options __attribute__((cleanup(options_done)))

static int take_profile(struct options *o, struct rouse_err *e)
{
	o->profile = optarg;
	if (!rouse_is_absolute_path(optarg) || !optarg[1])
		return rouse_usage(e,
				   "--profile: '%s' is not an absolute path such as "
				   "\"" ROUSE_PROFILE_SYSTEM "\", without \"..\" or a last \"/\"",
				   optarg);
	if (rouse_strip_prefix(optarg, "/nix/store/"))
		return rouse_usage(e, "--profile: '%s' is in the store, where no profile may be",
				   optarg);
	return 0;
}

static int take_option(struct options *o, int c, struct rouse_err *e)
{
	switch (c) {
	case 's':
		o->store = optarg;
		return 0;
	case 'p':
		return take_profile(o, e);
	case 'f':
		o->from = optarg;
		return 0;
	case 'm':
		o->manifest = optarg;
		return 0;
	case 'd':
		o->common.spec.deduplicate = true;
		return 0;
	case 'j':
		o->json = true;
		return 0;
	case 'n':
		o->dry_run = true;
		return 0;
	case 'v':
		o->check = true;
		return 0;
	case 'J':
		return rouse_parse_u64(optarg, ROUSE_MAX_PULL_WORKERS, &o->jobs) && o->jobs
			       ? 0
			       : rouse_usage(e, "--jobs: '%s' is not a number from 1 to %d", optarg,
					     ROUSE_MAX_PULL_WORKERS);
	default:
		return pull_options_take(&o->common, c, optarg, e);
	}
}

static int parse(struct options *o, int argc, char **argv, struct rouse_err *e)
{
	static const struct option options[] = {
		PULL_OPTIONS,
		{ "store", required_argument, NULL, 's' },
		{ "profile", required_argument, NULL, 'p' },
		{ "from", required_argument, NULL, 'f' },
		{ "manifest", required_argument, NULL, 'm' },
		{ "jobs", required_argument, NULL, 'J' },
		{ "deduplicate", no_argument, NULL, 'd' },
		{ "dry-run", no_argument, NULL, 'n' },
		{ "check", no_argument, NULL, 'v' },
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
	if (pull_options_paths(&o->common, argc - optind, argv + optind, e) < 0)
		return -1;
	if (o->check && (o->dry_run || o->profile))
		return rouse_usage(e, "--check writes nothing: no --profile, and no --dry-run");
	if (o->from) {
		if (rouse_root_open(&o->other, o->from, e) < 0)
			return rouse_wrap(e, "--from");
		o->common.spec.other = &o->other;
	}
	o->common.spec.jobs = (unsigned)o->jobs;
	o->common.spec.elsewhere = o->common.spec.all_problems = o->check;
	return o->manifest ? pull_options_manifest(&o->common, o->manifest, e) : 0;
}

/* What is printed next takes the place of the line that showed how far it is. */
static void end_progress(struct rouse_context *ctx)
{
	if (ctx->progress)
		progress_clear();
	ctx->progress = NULL;
}

static void print_done(const struct options *o, const struct rouse_closure_size *s, uint64_t ms,
		       uint64_t generation, const json_t *counters)
{
	char size[16], got[16], took[24];
	uint64_t bytes = (uint64_t)json_integer_value(
		json_object_get(counters, "closure.downloadBytes"));
	json_int_t copied = json_integer_value(json_object_get(counters, "closure.copied"));

	if (!s->missing)
		(void)printf("%zu path%s in the store already\n", s->paths,
			     s->paths == 1 ? "" : "s");
	else
		(void)printf("pulled %zu of %zu path%s: %s, downloaded %s, in %s\n", s->missing,
			     s->paths, s->paths == 1 ? "" : "s",
			     rouse_print_size(size, s->missing_bytes), rouse_print_size(got, bytes),
			     rouse_print_duration(took, ms));
	if (o->common.spec.deduplicate)
		(void)printf("%lld files share the content of others: %s\n",
			     json_integer_value(json_object_get(counters, "closure.sharedFiles")),
			     rouse_print_size(size, (uint64_t)json_integer_value(json_object_get(
							    counters, "closure.sharedBytes"))));
	if (copied)
		(void)printf("%lld copied from %s\n", copied, o->from);
	if (generation)
		(void)printf("%s is generation %llu\n", o->profile, (unsigned long long)generation);
}

static void print_json(const struct rouse_closure *c, const struct rouse_context *ctx,
		       uint64_t begin, uint64_t generation)
{
	auto_free char *text = NULL;

	rouse_json_set_int(ctx->counters, "closure.milliseconds", rouse_clock_ms() - begin);
	if (generation)
		rouse_json_set_int(ctx->counters, "closure.generation", generation);
	rouse_json_set(ctx->counters, "paths", rouse_closure_json(c));
	text = rouse_json_print(ctx->counters);
	(void)fputs(text, stdout);
}

/* Somebody pressed ^C, or the system goes down: what is complete is kept. */
static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	interrupted = number;
}

static int pull_until_interrupted(struct rouse_closure *c, struct rouse_context *ctx,
				  struct rouse_err *e)
{
	const struct sigaction catch = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct sigaction term, inter;
	int r;

	(void)sigaction(SIGTERM, &catch, &term);
	(void)sigaction(SIGINT, &catch, &inter);
	ctx->cancelled = &interrupted;
	r = rouse_closure_pull(c, ctx, e);
	ctx->cancelled = NULL;
	(void)sigaction(SIGTERM, &term, NULL);
	(void)sigaction(SIGINT, &inter, NULL);
	if (!interrupted)
		return r;
	if (ctx->progress)
		(void)fputs("\r\033[K", stderr);
	(void)raise(interrupted); /* whoever waits for us learns why */
	return r;
}

static void print_missing(const struct rouse_closure *c)
{
	struct rouse_closure_size s = rouse_closure_measure(c);
	auto_json json_t *paths = rouse_closure_json(c);
	char size[16], download[16];
	const json_t *path;
	size_t i;

	json_array_foreach (paths, i, path)
		if (!json_is_true(json_object_get(path, "present")))
			(void)printf(
				"%10s  %s\n",
				rouse_print_size(size, (uint64_t)json_integer_value(
							       json_object_get(path, "narSize"))),
				json_string_value(json_object_get(path, "path")));
	(void)printf("would pull %zu of %zu path%s: %s", s.missing, s.paths,
		     s.paths == 1 ? "" : "s", rouse_print_size(size, s.missing_bytes));
	if (s.download_bytes)
		(void)printf(", %s to download", rouse_print_size(download, s.download_bytes));
	(void)printf("\n");
}

static int dry_run(struct options *o, struct rouse_context *ctx, struct rouse_err *e)
{
	auto_closure struct rouse_closure *c = rouse_closure_new(&o->common.spec);
	uint64_t begin = rouse_clock_ms();

	if (rouse_closure_resolve(c, ctx, e) < 0)
		return -1;
	end_progress(ctx);
	if (o->json)
		print_json(c, ctx, begin, 0);
	else
		print_missing(c);
	return rouse_closure_fits(c, ctx, NULL, e);
}

/* Everything that is wrong, a line each; the exit status is that of the worst. */
static int check(struct options *o, struct rouse_context *ctx, struct rouse_err *e)
{
	auto_closure struct rouse_closure *c = rouse_closure_new(&o->common.spec);
	struct rouse_closure_size size;
	uint64_t begin = rouse_clock_ms();
	const char *const *problems;
	char bytes[16];
	size_t n = 0;
	int r = rouse_closure_resolve(c, ctx, e);

	if (r == 0)
		r = rouse_closure_check(c, ctx, e);
	end_progress(ctx);
	problems = rouse_closure_problems(c, &n);
	if (o->json) {
		json_t *list = json_array();

		for (size_t i = 0; i < n; i++)
			rouse_json_append_string(list, problems[i]);
		rouse_json_set(ctx->counters, "problems", list);
		print_json(c, ctx, begin, 0);
	}
	if (n) {
		for (size_t i = 0; i < n && !o->json; i++)
			(void)fprintf(stderr, "rouse: pull: %s\n", problems[i]);
		return rouse_fail(e, e->kind, 0, "the closure is not whole: %zu problem%s", n,
				  n == 1 ? "" : "s");
	}
	size = rouse_closure_measure(c);
	if (r == 0 && !o->json)
		(void)printf("whole: %zu path%s, %s, every narinfo, signature and archive\n",
			     size.paths, size.paths == 1 ? "" : "s",
			     rouse_print_size(bytes, size.nar_bytes));
	return r;
}

static int pull(struct options *o, struct rouse_context *ctx, struct rouse_err *e)
{
	auto_closure struct rouse_closure *c = NULL;
	auto_fd int hold = -1; /* until the profile points to it, nothing may collect it */
	struct rouse_closure_size size;
	uint64_t begin = rouse_clock_ms(), generation = 0;

	if (rouse_store_hold(ctx->root, false, ctx->deadline, &hold, e) < 0)
		return -1;
	c = rouse_closure_new(&o->common.spec);
	if (rouse_closure_resolve(c, ctx, e) < 0 ||
	    rouse_closure_make_room(c, ctx, NULL, NULL, 0, true, &hold, e) < 0)
		return -1;
	if (mkdir(ctx->root, 0755) < 0 && errno != EEXIST)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot make '%s'", ctx->root);
	if (hold < 0 && rouse_store_hold(ctx->root, true, ctx->deadline, &hold, e) < 0)
		return -1;
	size = rouse_closure_measure(c);
	if (pull_until_interrupted(c, ctx, e) < 0)
		return -1;
	if (o->profile && rouse_generation_make(ctx->root, o->profile, o->common.roots[0].path,
						&generation, e) < 0)
		return -1;
	end_progress(ctx);
	if (o->json)
		print_json(c, ctx, begin, generation);
	else
		print_done(o, &size, rouse_clock_ms() - begin, generation, ctx->counters);
	return 0;
}

int rouse_cmd_pull(int argc, char **argv, struct rouse_err *e)
{
	struct progress progress;
	auto_options struct options o = { .store = "/",
					  .other = ROUSE_ROOT_INIT,
					  .common.timeout = ROUSE_PULL_TIMEOUT };
	auto_fetcher struct rouse_fetcher *f = NULL;
	auto_json json_t *counters = NULL;
	struct rouse_context ctx = { 0 };
	int r;

	if (parse(&o, argc, argv, e) < 0)
		return -1;
	f = rouse_fetcher_new();
	rouse_fetcher_use_environment(f);
	counters = json_object();
	ctx = (struct rouse_context){
		.root = o.store,
		.image = strcmp(o.store, "/") != 0,
		.fetcher = f,
		.counters = counters,
		.deadline = rouse_clock_ms() + o.common.timeout,
		.progress = !o.json && isatty(STDERR_FILENO) ? progress_show : NULL,
		.progress_arg = &progress,
	};
	progress_begin(&progress, true, rouse_clock_ms());
	progress.next = 0; /* who typed the command looks at once */
	r = o.check ? check(&o, &ctx, e) : o.dry_run ? dry_run(&o, &ctx, e) : pull(&o, &ctx, e);
	end_progress(&ctx);
	return r;
}
