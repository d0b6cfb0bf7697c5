/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <getopt.h>

#include <rouse/json.h>
#include <rouse/source.h>
#include <rouse/text.h>

#include "target.h"

/* What sources go by; all of it is local. */
static json_t *firmware(const struct rouse_machine *m)
{
	static const char *const fields[] = { "sys_vendor",        "product_name",
					      "product_serial",    "product_uuid",
					      "chassis_asset_tag", "board_asset_tag",
					      "bios_version" };
	json_t *j = json_object();
	char value[256];

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (rouse_machine_dmi(m, fields[i], value, sizeof(value))) {
			rouse_one_line(value);
			rouse_json_set_string(j, fields[i], value);
		}
	return j;
}

/* Which cloud the local evidence points to; the network is not asked. */
static int add_source(json_t *facts, struct rouse_err *e)
{
	struct rouse_found found = { 0 };
	struct rouse_machine m = { 0 };
	const struct rouse_source *source;
	json_t *j = json_object();
	char why[256] = "";

	if (rouse_machine_open(&m, "", e) < 0) {
		json_decref(j);
		return -1;
	}
	source = rouse_source_detect(&m, why, sizeof(why));
	rouse_source_recall(source, &m, &found);
	rouse_json_set(j, "name", source ? json_string(source->name) : json_null());
	rouse_json_set_string(
		j, "why",
		source ? why
		       : "no firmware, disk, port or file names a source, nor does the "
			 "kernel command line");
	rouse_json_set_string(j, "id", found.instance.id);
	rouse_json_set_bool(j, "container", m.container);
	rouse_json_set(j, "firmware", firmware(&m));
	rouse_json_set(facts, "source", j);
	rouse_found_done(&found);
	rouse_machine_done(&m);
	return 0;
}

int rouse_cmd_facts(int argc, char **argv, struct rouse_err *e)
{
	auto_target struct rouse_target t = { 0 };
	auto_document struct rouse_document d = { 0 };
	auto_run struct rouse_run run = { 0 };
	auto_free char *text = NULL;

	if (rouse_target_parse(&t, argc, argv, "rdj", e) < 0)
		return -1;
	if (argc - optind > 1)
		return rouse_usage(e, "expected at most one document, found %d arguments",
				   argc - optind);
	if (rouse_target_open(&t, argv[optind], &d, &run, e) < 0 || add_source(run.facts, e) < 0)
		return -1;
	text = rouse_json_print(run.facts);
	(void)fputs(text, stdout);
	return 0;
}
