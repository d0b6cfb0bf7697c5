/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <fcntl.h>
#include <getopt.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/proxy.h>
#include <rouse/settings.h>
#include <rouse/text.h>

#include "load.h"
#include "origin.h"
#include "target.h"

static void print_problems(const struct rouse_document *d, const struct rouse_err *e, bool json)
{
	size_t kept = d->problems.n < ROUSE_MAX_PROBLEMS ? d->problems.n : ROUSE_MAX_PROBLEMS;
	auto_json json_t *list = json_array();
	auto_free char *text = NULL;

	for (size_t i = 0; i < kept; i++) {
		auto_free char *line = rouse_document_describe(d, &d->problems.items[i]);

		if (json)
			rouse_json_append_string(list, line);
		else
			(void)printf("%s\n", line);
	}
	if (!kept && json)
		rouse_json_append_string(list, e->text);
	else if (!kept)
		(void)printf("%s\n", e->text);
	if (d->problems.n > kept && !json)
		(void)printf("… and %zu more\n", d->problems.n - kept);
	if (json)
		(void)printf("%s", text = rouse_json_print(list));
}

struct origins {
	json_t *list; /* NULL: print lines */
};

/* A value as it may be shown: secrets not at all, URLs without what may be a token. */
static json_t *shown(const struct rouse_origin *o)
{
	const char *s = json_string_value(o->value);
	char url[1024];

	if (o->secret)
		return NULL;
	return s && rouse_is_like_url(s) ? json_string(rouse_print_url(url, sizeof(url), s))
					 : json_incref((json_t *)o->value);
}

static void print_origin(void *arg, const struct rouse_origin *o)
{
	const struct origins *to = arg;
	auto_json json_t *value = shown(o);
	auto_free char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
	json_t *item;

	if (!to->list) {
		if (o->layer)
			(void)printf("%s:%u:%u: ", o->layer, o->line, o->column);
		(void)printf("%s = %s\n", o->path, text ? text : "(secret)");
		return;
	}
	item = json_object();
	rouse_json_set_string(item, "path", o->path);
	if (value)
		rouse_json_set(item, "value", json_incref(value));
	else
		rouse_json_set_bool(item, "secret", true);
	rouse_json_set_string(item, "layer", o->layer);
	if (o->layer) {
		rouse_json_set_int(item, "line", o->line);
		rouse_json_set_int(item, "column", o->column);
	}
	rouse_json_append(to->list, item);
}

static void print_origins(const struct rouse_document *d, bool json)
{
	auto_json json_t *list = json ? json_array() : NULL;
	auto_free char *text = NULL;
	struct origins to = { .list = list };

	rouse_document_origins(d, print_origin, &to);
	if (json)
		(void)printf("%s", text = rouse_json_print(list));
}

struct check {
	const char *path, *overrides, *settings;
	bool json, origin;
};

static int parse(struct check *k, int argc, char **argv, struct rouse_err *e)
{
	static const struct option options[] = { { "json", no_argument, NULL, 'j' },
						 { "origin", no_argument, NULL, 'o' },
						 { "override", required_argument, NULL, 'd' },
						 { "settings", required_argument, NULL, 's' },
						 { 0 } };
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?')
			return rouse_usage(e, "unknown or incomplete option '%s'",
					   argv[optind - 1]);
		k->json |= c == 'j';
		k->origin |= c == 'o';
		if (c == 'd')
			k->overrides = optarg;
		if (c == 's')
			k->settings = optarg;
	}
	if (k->settings && (k->origin || k->overrides || argc > optind))
		return rouse_usage(e, "--settings: no document is checked with it");
	return rouse_target_document(argc, argv, &k->path, e);
}

static int load(const struct check *k, struct rouse_loader *l, struct rouse_document *d,
		struct rouse_running *running, struct rouse_err *e)
{
	auto_fd int dir = -1;

	if (!*k->path && rouse_load_running(d, "/", running, e) < 0)
		return -1;
	if (*k->path && (rouse_load_file(d, k->path, e) < 0 || rouse_load_bases(l, d, e) < 0))
		return -1;
	if (!k->overrides)
		return 0;
	dir = open(k->overrides, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return rouse_fail(e, ROUSE_SYSTEM, errno, "cannot open directory '%s'",
				  k->overrides);
	return rouse_load_overrides_at(d, dir, k->overrides, false, NULL, e);
}

static void add_problem(void *list, const char *problem)
{
	rouse_json_append_string(list, problem);
}

/* The image's, which otherwise only a boot reads. */
static int check_settings(const struct check *k, struct rouse_err *e)
{
	auto_json json_t *list = json_array();
	auto_free char *text = NULL;
	int r = rouse_settings_check(k->settings, add_problem, list, e);
	const json_t *line;
	size_t i;

	if (r < 0 && !json_array_size(list)) {
		if (!k->json && e->kind != ROUSE_DOCUMENT)
			return -1;
		add_problem(list, e->text);
	}
	if (k->json)
		(void)printf("%s", text = rouse_json_print(list));
	else if (r == 0)
		(void)printf("%s: valid\n", k->settings);
	else
		json_array_foreach (list, i, line)
			(void)printf("%s\n", json_string_value(line));
	e->text[0] = '\0'; /* said already */
	return r;
}

int rouse_cmd_check(int argc, char **argv, struct rouse_err *e)
{
	auto_document struct rouse_document d = { 0 };
	auto_running struct rouse_running running = { 0 };
	auto_fetcher struct rouse_fetcher *f = NULL;
	struct rouse_loader l = { .offline = true };
	struct check k = { 0 };

	if (parse(&k, argc, argv, e) < 0)
		return -1;
	if (k.settings)
		return check_settings(&k, e);
	l.fetcher = f = rouse_fetcher_new();
	rouse_fetcher_use_environment(f);
	l.deadline = rouse_clock_ms() + ROUSE_DEADLINE_DOCUMENT;
	if (load(&k, &l, &d, &running, e) < 0 ||
	    rouse_document_finish(&d, running.json ? &running.instance : NULL, e) < 0) {
		if (e->kind != ROUSE_DOCUMENT)
			return -1;
		print_problems(&d, e, k.json);
		e->text[0] = '\0'; /* said already */
		return -1;
	}
	if (l.skipped)
		(void)fprintf(stderr, "rouse: check: the base '%s' was not fetched; %s\n",
			      l.skipped,
			      k.origin ? "what it says is not shown" : "this layer alone is valid");
	if (k.origin)
		print_origins(&d, k.json);
	else if (k.json)
		(void)printf("[]\n");
	else
		(void)printf("%s: valid\n", *k.path ? k.path : running.name);
	return 0;
}
