/* SPDX-License-Identifier: Apache-2.0 */
/* rouse generations: the system closures on this machine. */
#include "command.h"

#include <getopt.h>
#include <time.h>

#include <rouse/generations.h>
#include <rouse/json.h>
#include <rouse/text.h>

static int parse(const char **root, bool *json, int argc, char **argv, struct rouse_err *e)
{
	static const struct option options[] = { { "root", required_argument, NULL, 'r' },
						 { "json", no_argument, NULL, 'j' },
						 { 0 } };
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'j')
			*json = true;
		else if (c == 'r' && rouse_take_root(root, optarg, e) < 0)
			return -1;
		else if (c == '?')
			return rouse_usage(e, "unknown or incomplete option '%s'",
					   argv[optind - 1]);
	}
	if (optind < argc)
		return rouse_usage(e, "expected no argument, found '%s'", argv[optind]);
	return 0;
}

static void print_one(const struct rouse_system *g)
{
	char when[32] = "?", size[16] = "?", path[ROUSE_SYSTEM_PATH_SIZE];
	const char *const marks[] = { g->current ? "current" : NULL, g->booted ? "booted" : NULL,
				      g->healthy ? "healthy" : NULL,
				      g->there ? NULL : "incomplete" };
	const char *comma = "  ";
	time_t t = (time_t)g->time;
	struct tm tm;

	if (localtime_r(&t, &tm))
		(void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M", &tm);
	if (g->bytes)
		(void)rouse_print_size(size, g->bytes);
	(void)snprintf(path, sizeof(path), "%s", g->path);
	rouse_one_line(path);
	(void)printf("%5llu  %s  %9s  %s", (unsigned long long)g->number, when, size, path);
	for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
		if (!marks[i])
			continue;
		(void)printf("%s%s", comma, marks[i]);
		comma = ", ";
	}
	(void)putchar('\n');
}

static void print_json(const struct rouse_systems *s)
{
	auto_json json_t *j = json_object();
	auto_free char *text = NULL;
	json_t *list = json_array();

	rouse_json_set(j, "generations", list);
	for (size_t i = 0; i < s->n; i++) {
		const struct rouse_system *g = &s->items[i];
		json_t *one = json_object();

		rouse_json_set_int(one, "number", g->number);
		rouse_json_set_string(one, "path", g->path);
		rouse_json_set(one, "time", json_integer(g->time));
		if (g->bytes)
			rouse_json_set_int(one, "bytes", g->bytes);
		rouse_json_set_bool(one, "complete", g->there);
		rouse_json_set_bool(one, "current", g->current);
		rouse_json_set_bool(one, "booted", g->booted);
		rouse_json_set_bool(one, "healthy", g->healthy);
		rouse_json_append(list, one);
	}
	if (s->rolled_from[0]) {
		json_t *r = json_object();

		rouse_json_set_string(r, "from", s->rolled_from);
		rouse_json_set_string(r, "to", s->rolled_to);
		rouse_json_set(j, "rollback", r);
	}
	text = rouse_json_print(j);
	(void)fputs(text, stdout);
}

int rouse_cmd_generations(int argc, char **argv, struct rouse_err *e)
{
	auto_systems struct rouse_systems s = { 0 };
	const char *root = "/";
	bool json = false;

	if (parse(&root, &json, argc, argv, e) < 0 || rouse_systems_read(root, &s, e) < 0)
		return -1;
	if (json) {
		print_json(&s);
		return 0;
	}
	if (!s.n)
		(void)printf("no system generations\n");
	for (size_t i = 0; i < s.n; i++)
		print_one(&s.items[i]);
	if (s.rolled_from[0])
		(void)printf("rolled back from %s, until the document names another system\n",
			     s.rolled_from);
	return 0;
}
