/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <rouse/json.h>
#include <rouse/picture.h>

#include "target.h"

int rouse_cmd_plan(int argc, char **argv, struct rouse_err *e)
{
	auto_target struct rouse_target t = { 0 };
	auto_document struct rouse_document d = { 0 };
	auto_run struct rouse_run run = { 0 };
	auto_buf struct rouse_buf out = { 0 };
	const char *path = NULL;

	if (rouse_target_parse(&t, argc, argv, "rdfojp", e) < 0 ||
	    rouse_target_document(argc, argv, &path, e) < 0 ||
	    rouse_target_open(&t, path, &d, &run, e) < 0 || rouse_run_plan(&run, e) < 0)
		return -1;
	if (t.facts_file) /* of a machine that is not here: nobody can apply it */
		run.plan.id[0] = '\0';
	if (t.json) {
		auto_json json_t *json = rouse_plan_json(&run.plan);
		auto_free char *text = rouse_json_print(json);

		(void)fputs(text, stdout);
		return 0;
	}
	rouse_pictures_print(run.plan.pictures, &out, rouse_columns(), rouse_use_colour());
	rouse_plan_print(&run.plan, &out, rouse_use_colour());
	if (*run.plan.id && rouse_plan_changes(&run.plan))
		rouse_buf_printf(&out, "plan id: %s\n", run.plan.id);
	(void)fputs(out.data, stdout);
	return 0;
}
