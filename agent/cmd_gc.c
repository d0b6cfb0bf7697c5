/* SPDX-License-Identifier: Apache-2.0 */
/* rouse gc: old generations, and what nothing needs. */
#include "command.h"

#include <getopt.h>
#include <time.h>

#include <rouse/clock.h>
#include <rouse/generations.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/text.h>

struct options {
	const char *root;
	struct rouse_keep said; /* on the command line */
	uint64_t timeout;
	bool dry, json;
};

static int take_age(struct options *o, struct rouse_err *e)
{
	uint64_t ms = 0;

	if (!rouse_parse_duration(optarg, &ms) || !ms)
		return rouse_usage(e, "--older-than: '%s' is not a time such as \"30d\"", optarg);
	o->said.older_than = ms;
	return 0;
}

static int take_option(struct options *o, int c, struct rouse_err *e)
{
	uint64_t keep = 0;

	switch (c) {
	case 'k':
		if (!rouse_parse_u64(optarg, UINT32_MAX, &keep) || !keep)
			return rouse_usage(e,
					   "--keep: '%s' is not a number of generations, 1 or more",
					   optarg);
		o->said.keep = (int64_t)keep;
		return 0;
	case 'o':
		return take_age(o, e);
	case 'm':
		return rouse_parse_size(optarg, &o->said.max_size.bytes) && o->said.max_size.bytes
			       ? 0
			       : rouse_usage(e, "--max-size: '%s' is not a size such as \"20GB\"",
					     optarg);
	case 't':
		return rouse_parse_duration(optarg, &o->timeout) && o->timeout
			       ? 0
			       : rouse_usage(e, "--timeout: '%s' is not a time such as \"90s\"",
					     optarg);
	case 'r':
		return rouse_take_root(&o->root, optarg, e);
	case 'd':
		o->dry = true;
		return 0;
	default:
		o->json = true;
		return 0;
	}
}

static int parse(struct options *o, int argc, char **argv, struct rouse_err *e)
{
	static const struct option options[] = {
		{ "keep", required_argument, NULL, 'k' },
		{ "older-than", required_argument, NULL, 'o' },
		{ "max-size", required_argument, NULL, 'm' },
		{ "timeout", required_argument, NULL, 't' },
		{ "root", required_argument, NULL, 'r' },
		{ "dry-run", no_argument, NULL, 'd' },
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
	if (optind < argc)
		return rouse_usage(e, "expected no argument, found '%s'", argv[optind]);
	return 0;
}

/* The same words whether it is done or only said. */
static void print_plan(const json_t *j)
{
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(j, "notes"), i, one)
		(void)printf("  note: %s\n", json_string_value(one));
	json_array_foreach (json_object_get(j, "generations"), i, one)
		(void)printf("  delete system generation %lld, %s\n",
			     (long long)json_integer_value(json_object_get(one, "number")),
			     json_string_value(json_object_get(one, "path")));
	json_array_foreach (json_object_get(j, "profiles"), i, one)
		(void)printf("  delete %s\n", json_string_value(one));
	json_array_foreach (json_object_get(j, "paths"), i, one) {
		const json_t *bytes = json_object_get(one, "bytes");
		char size[16];

		(void)printf("  delete %s (%s)\n", json_string_value(json_object_get(one, "path")),
			     bytes ? rouse_print_size(size, (uint64_t)json_integer_value(bytes))
				   : "not registered");
	}
}

static void print_sum(const json_t *j, bool dry)
{
	size_t generations = json_array_size(json_object_get(j, "generations")) +
			     json_array_size(json_object_get(j, "profiles")),
	       paths = json_array_size(json_object_get(j, "paths"));
	char size[16];

	(void)rouse_print_size(size, (uint64_t)json_integer_value(json_object_get(j, "bytes")));
	if (!generations && !paths)
		(void)printf("gc: nothing to delete\n");
	else
		(void)printf("gc: %s %s: %zu generation%s, %zu path%s\n",
			     dry ? "would free" : "freed", size, generations,
			     generations == 1 ? "" : "s", paths, paths == 1 ? "" : "s");
}

static int collect(const struct options *o, struct rouse_gc *g, struct rouse_err *e)
{
	auto_json json_t *plan = rouse_gc_json(g), *done = NULL;
	auto_free char *text = NULL;

	if (!o->json) {
		print_plan(plan);
		(void)fflush(stdout);
	}
	if (!o->dry && rouse_gc_apply(g, rouse_clock_ms() + o->timeout, e) < 0)
		return -1;
	done = rouse_gc_json(g);
	if (!o->json) {
		print_sum(done, o->dry);
		return 0;
	}
	text = rouse_json_print(done);
	(void)fputs(text, stdout);
	return 0;
}

int rouse_cmd_gc(int argc, char **argv, struct rouse_err *e)
{
	struct options o = {
		.root = "/",
		.timeout = ROUSE_DEADLINE_GC,
	};
	auto_gc struct rouse_gc *g = NULL;
	struct rouse_gc_policy policy;
	struct rouse_keep keep;

	if (parse(&o, argc, argv, e) < 0 || rouse_keep_read(o.root, &keep, e) < 0)
		return -1;
	keep.keep = o.said.keep ? o.said.keep : keep.keep;
	keep.older_than = o.said.older_than ? o.said.older_than : keep.older_than;
	if (o.said.max_size.bytes)
		keep.max_size = o.said.max_size;
	policy = rouse_keep_policy(&keep, (int64_t)time(NULL));
	if (rouse_gc_plan(o.root, &policy, !o.dry, &g, e) < 0)
		return -1;
	return collect(&o, g, e);
}
