/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <getopt.h>
#include <limits.h>

#include <rouse/json.h>
#include <rouse/settings.h>

int rouse_cmd_schema(int argc, char **argv, struct rouse_err *e)
{
	static const struct option options[] = {
		{ "man", no_argument, NULL, 'm' },
		{ "dictionary", no_argument, NULL, 'd' },
		{ "settings", no_argument, NULL, 's' },
		{ 0 },
	};
	const struct rouse_shape *shape = rouse_document_shape();
	bool man = false, dictionary = false;
	auto_buf struct rouse_buf out = { 0 };
	auto_json json_t *schema = NULL;
	auto_free char *text = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?')
			return rouse_usage(e, "unknown option '%s'", argv[optind - 1]);
		man |= c == 'm';
		dictionary |= c == 'd';
		if (c == 's')
			shape = &rouse_settings_shape;
	}
	if (argc != optind)
		return rouse_usage(e, "expected no argument, found '%s'", argv[optind]);
	/* What the settings share with the document is explained there. */
	if (man)
		rouse_schema_man(shape, "", shape == &rouse_settings_shape ? 2 : UINT_MAX, &out);
	else if (dictionary)
		rouse_schema_dictionary(shape, &out);
	if (out.data) {
		(void)fputs(out.data, stdout);
		return 0;
	}
	schema = rouse_schema_json(shape);
	if (shape == &rouse_settings_shape)
		rouse_json_set_string(schema, "title", "rouse image settings");
	text = rouse_json_print(schema);
	(void)fputs(text, stdout);
	return 0;
}
