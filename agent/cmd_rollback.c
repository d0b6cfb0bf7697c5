/* SPDX-License-Identifier: Apache-2.0 */
/* rouse rollback: makes another generation of the system current. */
#include "command.h"

#include <getopt.h>

#include <rouse/clock.h>
#include <rouse/fs.h>
#include <rouse/generations.h>
#include <rouse/limits.h>
#include <rouse/proc.h>
#include <rouse/text.h>

struct options {
	const char *root;
	uint64_t number; /* 0: not said */
	bool now;        /* the running system is to become it */
};

static int parse(struct options *o, int argc, char **argv, struct rouse_err *e)
{
	static const struct option options[] = { { "root", required_argument, NULL, 'r' },
						 { "switch", no_argument, NULL, 's' },
						 { 0 } };
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'r')
			o->root = optarg;
		else if (c == 's')
			o->now = true;
		else
			return rouse_usage(e, "unknown or incomplete option '%s'",
					   argv[optind - 1]);
	}
	if (o->now && !rouse_streq(o->root, "/"))
		return rouse_usage(e, "--switch is about the running system, and --root is not");
	if (argc - optind > 1)
		return rouse_usage(e, "expected one generation, found %d arguments", argc - optind);
	if (optind < argc && (!rouse_parse_u64(argv[optind], UINT32_MAX, &o->number) || !o->number))
		return rouse_usage(e, "'%s' is not the number of a generation", argv[optind]);
	return rouse_take_root(&o->root, o->root, e);
}

/* NULL with *e when there is none that could be started. */
static const struct rouse_system *find(const struct options *o, const struct rouse_systems *s,
				       struct rouse_err *e)
{
	const struct rouse_system *to = o->number ? NULL : rouse_systems_before(s);

	for (size_t i = 0; o->number && i < s->n; i++)
		if (s->items[i].number == o->number)
			to = &s->items[i];
	if (to && to->there)
		return to;
	if (to)
		(void)rouse_fail(e, ROUSE_SYSTEM, 0,
				 "generation %llu is incomplete: '%s', or what it needs, is not in "
				 "the store",
				 (unsigned long long)to->number, to->path);
	else if (o->number)
		(void)rouse_fail(e, ROUSE_USAGE, 0,
				 "there is no generation %llu; `rouse generations` lists them",
				 (unsigned long long)o->number);
	else
		(void)rouse_fail(e, ROUSE_SYSTEM, 0,
				 "there is no generation before the current one to go back to");
	return NULL;
}

/* A NixOS system tells its boot loader; where rouse boots the machine, the profile is all there is.
 * *ret_done: it was told. */
static int tell_boot_loader(const struct rouse_system *to, bool now, bool *ret_done,
			    struct rouse_err *e)
{
	auto_free char *program = rouse_asprintf("%s/bin/switch-to-configuration", to->path);
	const char *const argv[] = { program, now ? "switch" : "boot", NULL };
	const struct rouse_proc p = { .argv = argv,
				      .deadline = rouse_clock_ms() + ROUSE_DEADLINE_SWITCH };

	*ret_done = false;
	if (access(program, X_OK) < 0 && now)
		return rouse_fail(
			e, ROUSE_SYSTEM, ENOENT,
			"generation %llu is current, but a running system cannot become it: "
			"'%s'",
			(unsigned long long)to->number, program);
	if (access(program, X_OK) < 0)
		return 0;
	if (rouse_proc_check(&p, e) < 0)
		return rouse_wrap(e, "generation %llu is current, but %s",
				  (unsigned long long)to->number,
				  now ? "the running system did not become it"
				      : "the boot loader was not told");
	*ret_done = true;
	return 0;
}

static int explain(const struct options *o, const struct rouse_system *to, bool told,
		   struct rouse_err *e)
{
	auto_systems struct rouse_systems s = { 0 };

	if (rouse_systems_read(o->root, &s, e) < 0)
		return -1;
	(void)printf("system generation %llu is current: %s\n", (unsigned long long)to->number,
		     to->path);
	if (!to->healthy)
		(void)printf("note: it was never seen healthy\n");
	if (s.rolled_from[0])
		(void)printf("It stays so until the document names another system than %s\n",
			     s.rolled_from);
	if (told)
		(void)printf("The boot loader will start it\n");
	if (o->now)
		(void)printf("The running system has become it\n");
	else if (rouse_streq(o->root, "/"))
		(void)printf("%s\n", to->booted ? "It is what this machine was booted with"
						: "Reboot to start it");
	return 0;
}

int rouse_cmd_rollback(int argc, char **argv, struct rouse_err *e)
{
	auto_systems struct rouse_systems s = { 0 };
	struct options o = { .root = "/" };
	const struct rouse_system *to = NULL;
	auto_fd int hold = -1;
	bool told = false;

	if (parse(&o, argc, argv, e) < 0 ||
	    rouse_store_hold(o.root, false, rouse_clock_ms() + ROUSE_DEADLINE_SWITCH, &hold, e) <
		    0 ||
	    rouse_systems_read(o.root, &s, e) < 0)
		return -1;
	to = find(&o, &s, e);
	if (!to)
		return -1;
	if (!to->current && rouse_rollback(o.root, &s, to, e) < 0)
		return -1;
	if (rouse_streq(o.root, "/") && tell_boot_loader(to, o.now, &told, e) < 0)
		return -1;
	return explain(&o, to, told, e);
}
