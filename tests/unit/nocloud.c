/* SPDX-License-Identifier: Apache-2.0 */
#include <rouse/source.h>

#include <sys/stat.h>

#include <rouse/clock.h>
#include <rouse/fetch.h>
#include <rouse/fs.h>
#include <rouse/proc.h>

#include "../lib/server.h"
#include "../lib/tap.h"

#define LONG 60000 /* no test waits for it */

/* A machine whose disks are image files. The mount itself needs a kernel: tests/boot has it. */
struct fixture {
	char dir[64];
	struct rouse_machine m;
	struct rouse_found found;
	struct rouse_fetcher *f;
	struct server server;
	struct rouse_err e;
	char why[256];
};

static void put(const struct fixture *x, const char *path, const char *text)
{
	auto_free char *full = rouse_asprintf("%s%s", x->dir, path);
	auto_file FILE *f = NULL;

	for (char *p = full + strlen(x->dir) + 1; (p = strchr(p, '/')); *p++ = '/') {
		*p = '\0';
		(void)mkdir(full, 0755);
	}
	f = fopen(full, "we");
	if (f)
		(void)fputs(text, f);
}

static void run(const char *const *argv)
{
	struct rouse_proc p = { .argv = argv, .deadline = rouse_clock_ms() + LONG };
	struct rouse_err e;

	if (rouse_proc_check(&p, &e) < 0)
		printf("# %s\n", e.text);
}

static void fixture_done(struct fixture *x)
{
	const char *const argv[] = { "rm", "-rf", x->dir, NULL };

	rouse_machine_done(&x->m);
	rouse_found_done(&x->found);
	rouse_fetcher_free(x->f);
	server_stop(&x->server);
	if (*x->dir)
		run(argv);
}
#define auto_fixture __attribute__((cleanup(fixture_done)))
#define FIXTURE                                                                                    \
	{                                                                                          \
		.server = SERVER_INIT                                                              \
	}

static bool make(struct fixture *x, const char *cmdline)
{
	(void)snprintf(x->dir, sizeof(x->dir), "/tmp/rouse-nocloud-XXXXXX");
	if (!mkdtemp(x->dir))
		return false;
	put(x, "/proc/cmdline", cmdline);
	put(x, "/dev/null", "");
	return rouse_machine_open(&x->m, x->dir, &x->e) == 0;
}

static void add_vfat(struct fixture *x, const char *name, const char *label)
{
	auto_free char *sys = rouse_asprintf("/sys/class/block/%s", name);
	auto_free char *path = rouse_asprintf("%s/dev/%s", x->dir, name);
	const char *const argv[] = { "mkfs.vfat", "-C", "-n", label, path, "1024", NULL };

	put(x, sys, "");
	run(argv);
}

static void add_iso(struct fixture *x, const char *name, const char *label)
{
	auto_free char *sys = rouse_asprintf("/sys/class/block/%s", name);
	auto_free char *path = rouse_asprintf("%s/dev/%s", x->dir, name);
	auto_free char *files = rouse_asprintf("%s/proc", x->dir);
	const char *const argv[] = { "xorriso", "-as", "mkisofs", "-quiet", "-V",
				     label,     "-o",  path,      files,    NULL };

	put(x, sys, "");
	run(argv);
}

static const char *detected(struct fixture *x)
{
	const struct rouse_source *s = rouse_source_detect(&x->m, x->why, sizeof(x->why));

	return s ? s->name : "nothing";
}

static int fetch(struct fixture *x, uint64_t budget)
{
	const struct rouse_source *s = rouse_source_detect(&x->m, x->why, sizeof(x->why));

	x->f = rouse_fetcher_new();
	return s ? s->fetch(s, &x->m, x->f, rouse_clock_ms() + budget, &x->found, &x->e) : -2;
}

static void a_disk_with_the_label_is_found_in_either_filesystem(struct t *t)
{
	auto_fixture struct fixture vfat = FIXTURE, iso = FIXTURE;

	T_CHECK(t, make(&vfat, ""));
	add_vfat(&vfat, "vda", "OTHER");
	T_STR(t, detected(&vfat), "nothing");
	add_vfat(&vfat, "vdb", "CIDATA");
	T_STR(t, detected(&vfat), "nocloud");
	T_HAS(t, vfat.why, "/dev/vdb' is labelled cidata (vfat)");

	T_CHECK(t, make(&iso, ""));
	add_iso(&iso, "sr0", "cidata");
	T_STR(t, detected(&iso), "nocloud");
	T_HAS(t, iso.why, "/dev/sr0' is labelled cidata (iso9660)");
}

static void an_ec2_instance_does_not_listen_to_a_labelled_disk(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, make(&x, ""));
	add_vfat(&x, "vdb", "cidata");
	put(&x, "/sys/class/dmi/id/sys_vendor", "Amazon EC2\n");
	T_STR(t, detected(&x), "ec2");
}

static void two_labelled_disks_are_refused(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, make(&x, ""));
	add_vfat(&x, "vdb", "CIDATA");
	add_iso(&x, "sr0", "cidata");
	T_CHECK(t, fetch(&x, LONG) == -1 && x.e.kind == ROUSE_SYSTEM);
	T_HAS(t, x.e.text, "2 disks are labelled cidata");
}

static void a_disk_that_cannot_be_mounted_is_a_failure_and_not_none(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, make(&x, ""));
	add_vfat(&x, "vdb", "CIDATA"); /* a file is no block device, and not everybody is root */
	T_CHECK(t, fetch(&x, LONG) == -1 && x.e.kind == ROUSE_SYSTEM);
	T_HAS(t, x.e.text, "cannot m");
	T_CHECK(t, !x.found.user_data);
}

/* --- by URL ------------------------------------------------------------------------------------ */

static int fetch_url(struct fixture *x, const char *scenario, uint64_t budget)
{
	auto_free char *line = NULL;

	if (!server_start(&x->server, scenario))
		return -2;
	line = rouse_asprintf("ds=nocloud;s=http://127.0.0.1:%u/seed", x->server.port);
	return make(x, line) ? fetch(x, budget) : -2;
}

static void both_files_are_read_from_the_url(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, fetch_url(&x,
			     "{\"GET /seed/user-data\": [{\"body\": \"{}\"}], \"GET "
			     "/seed/meta-data\": [{\"body\": "
			     "\"# comment\\ninstance-id: \\\"iid-7\\\"\\nlocal-hostname:  "
			     "web\\r\\nnested:\\n  instance-id: no\\n\"}]}",
			     LONG) == 0);
	T_STR(t, x.found.instance.id, "iid-7");
	T_STR(t, x.found.instance.hostname, "web");
	T_STR(t, x.found.instance.cloud, "nocloud");
	T_STR(t, x.found.user_data, "{}");
}

static void meta_data_may_be_json(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE;

	T_CHECK(t, fetch_url(&x,
			     "{\"GET /seed/user-data\": [{\"body\": \"{}\"}], \"GET "
			     "/seed/meta-data\": [{\"body\": "
			     "\"{\\\"instance-id\\\": \\\"i\\\", \\\"hostname\\\": \\\"h\\\", "
			     "\\\"n\\\": 1}\"}]}",
			     LONG) == 0);
	T_STR(t, x.found.instance.id, "i");
	T_STR(t, x.found.instance.hostname, "h");
}

static void a_missing_file_is_none_and_a_broken_server_is_not(struct t *t)
{
	auto_fixture struct fixture x = FIXTURE, y = FIXTURE, z = FIXTURE;

	T_CHECK(t, fetch_url(&x, "{}", LONG) == 0);
	T_CHECK(t, !x.found.user_data && !x.found.instance.id);
	T_CHECK(t, server_count(&x.server, "path") == 2);
	T_CHECK(t, fetch_url(&y, "{\"GET /seed/user-data\": [{\"status\": 500}]}", 1000) == -1);
	T_CHECK(t, y.e.kind == ROUSE_UNAVAILABLE);
	T_CHECK(t, fetch_url(&z, "{\"GET /seed/user-data\": [{\"status\": 403}]}", LONG) == -1);
	T_CHECK(t, z.e.sys == EACCES);
}

T_MAIN(T(a_disk_with_the_label_is_found_in_either_filesystem),
       T(an_ec2_instance_does_not_listen_to_a_labelled_disk), T(two_labelled_disks_are_refused),
       T(a_disk_that_cannot_be_mounted_is_a_failure_and_not_none),
       T(both_files_are_read_from_the_url), T(meta_data_may_be_json),
       T(a_missing_file_is_none_and_a_broken_server_is_not))
