/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <getopt.h>

#include <rouse/json.h>

int rouse_cmd_schema(int argc, char **argv, struct rouse_err *e)
{
	static const struct option options[] = {
		{ "man", no_argument, NULL, 'm' },
		{ "dictionary", no_argument, NULL, 'd' },
		{ 0 },
	};
	auto_buf struct rouse_buf out = { 0 };
	auto_json json_t *schema = NULL;
	auto_free char *text = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?')
			return rouse_usage(e, "unknown option '%s'", argv[optind - 1]);
		if (c == 'm')
			rouse_schema_man(rouse_document_shape(), "", &out);
		else
			rouse_schema_dictionary(rouse_document_shape(), &out);
	}
	if (argc != optind)
		return rouse_usage(e, "expected no argument, found '%s'", argv[optind]);
	if (out.data) {
		(void)fputs(out.data, stdout);
		return 0;
	}
	schema = rouse_schema_json(rouse_document_shape());
	text = rouse_json_print(schema);
	(void)fputs(text, stdout);
	return 0;
}
