/* SPDX-License-Identifier: Apache-2.0 */
/* NoCloud's meta-data, and the kernel's command line: names that come out can stand in a document. */
#include "fuzz.h"

#include <rouse/text.h>

#include "../../modules/sources/sources.h"

static void check_name(const char *s)
{
	HOLDS(!s || (fuzz_is_one_line(s) && rouse_utf8_valid(s, strlen(s))));
}

static void meta_data(const uint8_t *data, size_t size)
{
	struct rouse_found f = { 0 };
	auto_buf struct rouse_buf text = { 0 };
	struct rouse_err e = { 0 };

	HOLDS(rouse_buf_add(&text, data, size, SIZE_MAX / 4) == 0);
	if (source_meta_data(&f, &text, &e) < 0)
		HOLDS(fuzz_is_one_line(e.text));
	check_name(f.instance.id);
	check_name(f.instance.hostname);
	rouse_found_done(&f);
}

FUZZ(metadata)
{
	auto_free char *line = rouse_strndup((const char *)data, size);
	const struct rouse_machine m = { .sysroot = "", .cmdline = line };
	auto_free char *url = rouse_machine_cmdline(&m, "rouse.document"),
		       *ds = rouse_machine_cmdline(&m, "ds");

	HOLDS((!url || strlen(url) <= size) && (!ds || strlen(ds) <= size));
	meta_data(data, size);
	return 0;
}
