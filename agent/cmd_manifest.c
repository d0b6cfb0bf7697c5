/* SPDX-License-Identifier: Apache-2.0 */
/* rouse manifest: every path of a closure in one text, for a document to pin by its digest. */
#include "command.h"

#include <getopt.h>
#include <string.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/fs.h>
#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/manifest.h>
#include <rouse/proxy.h>
#include <rouse/text.h>

#include "pull_options.h"

/* What a document says of it; where it will be is the caller's to decide. */
static void print_pin(const struct rouse_manifest *m, const struct pull_options *o)
{
	auto_json json_t *pins = json_array();
	auto_free char *text = NULL;

	for (size_t i = 0; i < m->n_roots; i++) {
		json_t *pin = json_object(), *manifest = json_object();

		rouse_json_set_string(pin, "path", o->roots[i].path);
		rouse_json_set_string(pin, "narHash", m->nar_hashes[i]);
		rouse_json_set_string(manifest, "url", "");
		rouse_json_set_string(manifest, "sha256", m->sha256);
		rouse_json_set_int(manifest, "paths", m->paths);
		rouse_json_set_int(manifest, "narSize", m->nar_bytes);
		if (m->download_bytes)
			rouse_json_set_int(manifest, "downloadSize", m->download_bytes);
		rouse_json_set(pin, "manifest", manifest);
		rouse_json_append(pins, pin);
	}
	text = rouse_json_print(m->n_roots == 1 ? json_array_get(pins, 0) : pins);
	(void)fputs(text, stdout);
}

int rouse_cmd_manifest(int argc, char **argv, struct rouse_err *e)
{
	static const struct option options[] = { PULL_OPTIONS,
						 { "output", required_argument, NULL, 'o' },
						 { 0 } };
	auto_pull_options struct pull_options o = { .timeout = ROUSE_DEADLINE_PREPARE };
	auto_fetcher struct rouse_fetcher *f = NULL;
	auto_manifest struct rouse_manifest m = { 0 };
	const char *output = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?')
			return rouse_usage(e, "unknown or incomplete option '%s'",
					   argv[optind - 1]);
		if (c == 'o')
			output = optarg;
		else if (pull_options_take(&o, c, optarg, e) < 0)
			return -1;
	}
	if (pull_options_paths(&o, argc - optind, argv + optind, e) < 0)
		return -1;
	f = rouse_fetcher_new();
	rouse_fetcher_use_environment(f);
	if (rouse_manifest_make(&m, &o.spec, f, rouse_clock_ms() + o.timeout, e) < 0)
		return -1;
	if (!output) {
		(void)fputs(m.text.data, stdout);
		return 0;
	}
	if (rouse_write_file(output, m.text.data, m.text.len, 0644, e) < 0)
		return rouse_wrap(e, "--output");
	print_pin(&m, &o);
	return 0;
}
