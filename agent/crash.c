/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A run of the agent that ended in the midst of a boot, as the next one sees it when systemd starts its unit again.
 * The first crash is tried again as if nothing had been, for re-running is the recovery. After the second only
 * what needs nothing of the boot is left, a fallback or the verdict; after another one, the verdict. As process 1
 * the agent needs none of this: there its parent sees the crash.
 */
#include "phases.h"

#include <string.h>
#include <unistd.h>

#include <rouse/json.h>
#include <rouse/limits.h>
#include <rouse/log.h>
#include <rouse/text.h>

void boot_note_crash(struct boot *b)
{
	const struct rouse_boot_options *o = b->options;
	struct rouse_report old = { 0 };
	struct rouse_err ignored;
	const char *phase;

	/* Who interrupts a boot at a terminal has crashed nothing. */
	if (o->again || o->crashed || getppid() != 1 ||
	    rouse_report_resume(&old, o->run, &ignored) < 0)
		return;
	phase = json_string_value(json_object_get(old.phase, "name"));
	if (phase && !rouse_streq(phase, "health")) {
		b->crashes = (unsigned)json_integer_value(json_object_get(old.json, "crashes")) + 1;
		rouse_log(ROUSE_LOG_ERROR, "boot", "the agent has crashed in phase '%s'", phase);
	}
	if (b->crashes >= ROUSE_MAX_CRASHES)
		b->crashed = rouse_asprintf("the agent has crashed %u times", b->crashes);
	rouse_report_done(&old);
}
