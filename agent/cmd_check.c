/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <getopt.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/json.h>
#include <rouse/limits.h>

#include "load.h"

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

int rouse_cmd_check(int argc, char **argv, struct rouse_err *e)
{
	static const struct option options[] = { { "json", no_argument, NULL, 'j' }, { 0 } };
	auto_document struct rouse_document d = { 0 };
	auto_fetcher struct rouse_fetcher *f = NULL;
	struct rouse_loader l = { .offline = true };
	const char *path = NULL;
	bool json = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?')
			return rouse_usage(e, "unknown option '%s'", argv[optind - 1]);
		json = true;
	}
	if (rouse_one_argument(argc, argv, "document", &path, e) < 0)
		return -1;
	l.fetcher = f = rouse_fetcher_new();
	l.deadline = rouse_clock_ms() + ROUSE_DEADLINE_DOCUMENT;
	if (rouse_load_file(&d, path, e) < 0 || rouse_load_bases(&l, &d, e) < 0 ||
	    rouse_document_finish(&d, NULL, e) < 0) {
		if (e->kind != ROUSE_DOCUMENT)
			return -1;
		print_problems(&d, e, json);
		e->text[0] = '\0'; /* said already */
		return -1;
	}
	if (l.skipped)
		(void)fprintf(stderr, "rouse: check: the base '%s' was not fetched; this layer alone is valid\n",
			      l.skipped);
	if (json)
		(void)printf("[]\n");
	else
		(void)printf("%s: valid\n", path);
	return 0;
}
