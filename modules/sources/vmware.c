/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMware: guestinfo.userdata and guestinfo.metadata of the virtual machine, by a program of its tools
 * that is in the image. What it answers:
 *
 *   exit status 0                       the value
 *   "No value found"                    none
 *   anything else, no program           failed
 *
 * A virtual machine that has neither value is no source: others run on VMware, too.
 */
#include "sources.h"

#include <string.h>

#include <rouse/clock.h>
#include <rouse/limits.h>
#include <rouse/proc.h>
#include <rouse/text.h>

/* The host answers at once, or not at all. */
#define PATIENCE 10000

/* 1 and the value, 0 when there is none, or -1. */
static int ask(const struct rouse_machine *m, const char *key, struct rouse_buf *ret,
	       struct rouse_err *e)
{
	auto_free char *command = rouse_asprintf("info-get guestinfo.%s", key);
	const char *const rpctool[] = { "vmware-rpctool", command, NULL };
	const char *const vmtoolsd[] = { "vmtoolsd", "--cmd", command, NULL };
	auto_buf struct rouse_buf out = { 0 };
	struct rouse_proc p = { .argv = rpctool, .deadline = rouse_clock_ms() + PATIENCE };
	char path[256];
	int status = 0;

	if (m->guestinfo)
		return m->guestinfo(key, ret, e);
	if (!rouse_proc_find(rpctool[0], NULL, path, sizeof(path)))
		p.argv = vmtoolsd;
	if (p.argv == vmtoolsd && !rouse_proc_find(vmtoolsd[0], NULL, path, sizeof(path)))
		return rouse_fail(e, ROUSE_SYSTEM, ENOENT,
				  "neither vmware-rpctool nor vmtoolsd is in this image");
	if (rouse_proc_run(&p, &status, &out, e) < 0)
		return -1;
	if (status != 0 && out.data && strstr(out.data, "No value found"))
		return 0;
	if (status != 0)
		return rouse_fail(e, ROUSE_SYSTEM, 0,
				  "%s ends with status %d when it is asked for guestinfo.%s",
				  p.argv[0], status, key);
	while (out.len && strchr("\r\n", out.data[out.len - 1]))
		out.data[--out.len] = '\0';
	if (!out.len || rouse_streq(out.data, "---")) /* what tools write to empty it */
		return 0;
	*ret = take(out, (struct rouse_buf){ 0 });
	return 1;
}

static bool has_value(const struct rouse_machine *m, const char *key)
{
	auto_buf struct rouse_buf value = { 0 };
	struct rouse_err e = { 0 };
	int r = ask(m, key, &value, &e);

	/* Tools that are there and fail are not passed over: fetch says what they said. */
	return r == 1 || (r < 0 && e.sys != ENOENT);
}

static bool vmware_detect(unused_arg const struct rouse_source *s, struct rouse_machine *m,
			  char *why, size_t why_size)
{
	static const char *const keys[] = { "userdata", "metadata" };
	char ignored[160];

	if (!source_dmi_is(m, "sys_vendor", "VMware*", ignored, sizeof(ignored)))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (has_value(m, keys[i])) {
			(void)snprintf(why, why_size,
				       "this machine runs on VMware and has guestinfo.%s", keys[i]);
			return true;
		}
	return false;
}

static int vmware_fetch(unused_arg const struct rouse_source *s, struct rouse_machine *m,
			unused_arg struct rouse_fetcher *f, unused_arg uint64_t deadline,
			struct rouse_found *ret, struct rouse_err *e)
{
	auto_buf struct rouse_buf meta = { 0 }, user = { 0 };

	ret->instance.cloud = "vmware";
	if (ask(m, "metadata", &meta, e) < 0 || source_unpack(&meta, e) < 0 ||
	    source_meta_data(ret, &meta, e) < 0 || ask(m, "userdata", &user, e) < 0)
		return -1;
	source_set_user_data(ret, &user);
	return 0;
}

const struct rouse_source source_vmware = {
	.name = "vmware", .detect = vmware_detect, .fetch = vmware_fetch, .identity = source_uuid
};
