/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <getopt.h>

#include <rouse/boot.h>
#include <rouse/init.h>
#include <rouse/log.h>
#include <rouse/schema.h>

int rouse_cmd_boot(int argc, char **argv, struct rouse_err *e)
{
	static const struct option options[] = {
		{ "root", required_argument, NULL, 'r' },
		{ "run", required_argument, NULL, 'u' },
		{ "settings", required_argument, NULL, 's' },
		{ "again", no_argument, NULL, 'a' },
		{ "activate", no_argument, NULL, 'c' },
		{ "initrd", no_argument, NULL, 'i' },
		{ 0 },
	};
	struct rouse_boot_options o = { .root = "/",
					.run = "/run/rouse",
					.settings = "/etc/rouse/agent.json" };
	struct rouse_boot_result result;
	bool activate = false, initrd = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?')
			return rouse_usage(e, "unknown or incomplete option '%s'",
					   argv[optind - 1]);
		if (c == 'r')
			o.root = optarg;
		else if (c == 'a')
			o.again = true;
		else if (c == 'c')
			activate = true;
		else if (c == 'i')
			initrd = true;
		else if (c == 'u')
			o.run = optarg;
		else
			o.settings = optarg;
	}
	if (!rouse_is_absolute_path(o.run)) /* what is kept there outlives this process */
		return rouse_usage(e, "--run: '%s' is not an absolute path", o.run);
	if (argc != optind)
		return rouse_usage(e, "expected no argument, found '%s'", argv[optind]);
	/* The journal gets fields; it does not hand them on to the console, so that we write there. */
	if (rouse_log_open_journal())
		rouse_log_open_console("/dev/console");
	if (activate)
		return rouse_boot_activate(&o, e);
	o.resume = rouse_started_by_init(); /* perhaps not for the first time */
	if (initrd)
		return rouse_initrd_run(&o, e);
	e->kind = (enum rouse_kind)rouse_boot_supervised(&o, NULL, &result);
	return e->kind == ROUSE_OK ? 0 : -1; /* the report has said why */
}
