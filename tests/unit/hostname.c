/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include "../lib/run.h"

#define DOC(name) "{\"rouse\":1,\"hostname\":\"" name "\"}"

static void hostname_is_written_and_then_kept(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	auto_free char *plan = NULL, *text = NULL;
	struct rouse_err e = { 0 };

	T_CHECK(t, t_run_module(&r, "identity", DOC("web-1"), true, &plan, &e) == 0);
	T_HAS(t, plan, "+ identity  set host name 'web-1' in /etc/hostname\n");
	text = t_root_read(&r, "/etc/hostname");
	T_STR(t, text, "web-1\n");
	T_CHECK(t, (t_root_stat(&r, "/etc/hostname").st_mode & 07777) == 0644);
	T_CHECK(t, t_run_is_done(&r, "identity", DOC("web-1")));
}

static void hostname_change_names_the_old_one(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	auto_free char *plan = NULL;
	struct rouse_err e = { 0 };

	t_root_write(&r, "/etc/hostname", "# golden image\n\n old \n", 0644);
	T_CHECK(t, t_run_module(&r, "identity", DOC("new"), true, &plan, &e) == 0);
	T_HAS(t, plan, "~ identity  set host name 'new' in /etc/hostname (was 'old')\n");
	T_CHECK(t, t_run_is_done(&r, "identity", DOC("new")));
}

static void hostname_file_without_newline_is_right(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();

	t_root_write(&r, "/etc/hostname", "web-1", 0644);
	T_CHECK(t, t_run_is_done(&r, "identity", DOC("web-1")));
}

static void hostname_file_of_garbage_is_replaced(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	struct rouse_err e = { 0 };

	t_root_write(&r, "/etc/hostname", "\xff\xfe\n", 0644);
	T_CHECK(t, t_run_module(&r, "identity", DOC("web-1"), true, NULL, &e) == 0);
	T_CHECK(t, t_run_is_done(&r, "identity", DOC("web-1")));
}

static void hostname_link_out_of_the_root_is_not_followed(struct t *t)
{
	auto_t_root struct t_root r = t_root_new(), outside = t_root_new();
	auto_free char *link = rouse_asprintf("%s/etc/hostname", r.path);
	auto_free char *target = rouse_asprintf("%s/victim", outside.path), *text = NULL;
	struct rouse_err e = { 0 };

	t_root_write(&outside, "/victim", "keep\n", 0644);
	t_root_write(&r, "/etc/other", "", 0644);
	T_CHECK(t, symlink(target, link) == 0);
	T_CHECK(t, t_run_module(&r, "identity", DOC("web-1"), true, NULL, &e) == 0);
	text = t_root_read(&outside, "/victim");
	T_STR(t, text, "keep\n");
	T_CHECK(t, S_ISREG(t_root_stat(&r, "/etc/hostname").st_mode));
}

static void hostname_that_is_right_is_not_written_by_a_blind_plan(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	struct rouse_err e = { 0 };
	ino_t before;

	t_root_write(&r, "/etc/hostname", "web-1\n", 0644);
	before = t_root_stat(&r, "/etc/hostname").st_ino;
	T_CHECK(t, t_run_blind(&r, "identity", DOC("web-1"), &e) == 0);
	T_CHECK(t, t_root_stat(&r, "/etc/hostname").st_ino == before);
}

static void hostname_absent_from_the_document_is_left_alone(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();

	T_CHECK(t, t_run_is_done(&r, "identity", "{\"rouse\":1}"));
	T_CHECK(t, t_root_stat(&r, "/etc").st_mode == 0);
}

T_MAIN(T(hostname_is_written_and_then_kept), T(hostname_change_names_the_old_one),
       T(hostname_file_without_newline_is_right), T(hostname_file_of_garbage_is_replaced),
       T(hostname_link_out_of_the_root_is_not_followed),
       T(hostname_that_is_right_is_not_written_by_a_blind_plan),
       T(hostname_absent_from_the_document_is_left_alone))
