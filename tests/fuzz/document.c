/* SPDX-License-Identifier: Apache-2.0 */
/* A document, and behind a NUL byte the facts of a machine: no text ends the agent by a signal, and
 * the same input gives the same plan. */
#include "fuzz.h"

#include <rouse/document.h>
#include <rouse/json.h>
#include <rouse/run.h>

static void check_problems(const struct rouse_document *d, const struct rouse_err *e)
{
	size_t kept = d->problems.n < ROUSE_MAX_PROBLEMS ? d->problems.n : ROUSE_MAX_PROBLEMS;

	HOLDS(e->kind == ROUSE_DOCUMENT);
	HOLDS(e->text[0] && fuzz_is_one_line(e->text));
	for (size_t i = 0; i < kept; i++) {
		auto_free char *line = rouse_document_describe(d, &d->problems.items[i]);

		HOLDS(fuzz_is_one_line(line));
	}
}

/* Facts of every module, empty where the input has none. */
static json_t *make_facts(const uint8_t *data, size_t size)
{
	struct rouse_err e = { 0 };
	auto_json json_t *given = size ? rouse_json_parse("facts", (const char *)data, size, &e)
				       : NULL;
	json_t *facts = json_object();

	for (size_t i = 0; i < rouse_n_modules; i++) {
		json_t *section = json_object_get(given, rouse_modules[i]->name);

		rouse_json_set(facts, rouse_modules[i]->name,
			       section ? json_incref(section) : json_object());
	}
	return facts;
}

static char *plan(const struct rouse_document *d, json_t *facts)
{
	auto_buf struct rouse_buf out = { 0 };
	auto_run struct rouse_run run = { .document = d,
					  .facts = json_incref(facts),
					  .context = { .root = "/nonexistent", .image = true } };
	struct rouse_err e = { 0 };

	if (rouse_run_plan(&run, &e) < 0) {
		HOLDS(e.kind != ROUSE_OK && fuzz_is_one_line(e.text));
		return rouse_strdup(e.text);
	}
	rouse_plan_print(&run.plan, &out, false);
	return rouse_strdup(out.data);
}

FUZZ(document)
{
	static const struct rouse_instance instance = { .id = "i-1",
							.region = "eu\n-west-1",
							.zone = "" };
	const uint8_t *nul = size ? memchr(data, '\0', size) : NULL;
	size_t len = nul ? (size_t)(nul - data) : size;
	auto_document struct rouse_document d = { 0 };
	const char *url = NULL, *sha256 = NULL;
	struct rouse_err e = { 0 };

	if (rouse_document_add(&d, "d", (const char *)data, len, false, &e) < 0) {
		check_problems(&d, &e);
		return 0;
	}
	if (rouse_document_from(&d, &url, &sha256, &e) < 0)
		HOLDS(fuzz_is_one_line(e.text));
	if (rouse_document_finish(&d, &instance, &e) < 0)
		check_problems(&d, &e);
	if (rouse_document_finish(&d, NULL, &e) < 0) {
		check_problems(&d, &e);
	} else {
		auto_json json_t *facts = make_facts(data + len + 1,
						     size > len ? size - len - 1 : 0);
		auto_free char *one = plan(&d, facts), *two = plan(&d, facts);

		HOLDS(strcmp(one, two) == 0);
	}
	return 0;
}
