/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include "../lib/run.h"

#define DOC(directories) "{\"rouse\":1,\"directories\":{" directories "}}"

static unsigned mode_of(const struct t_root *r, const char *path)
{
	return t_root_stat(r, path).st_mode & (S_IFMT | 07777);
}

static void directory_is_made_with_what_is_around_it(struct t *t)
{
	static const char doc[] = DOC("\"/srv/a/b\":{\"mode\":\"0710\"},\"/srv/a\":{}");
	auto_t_root struct t_root r = t_root_new();
	auto_free char *plan = NULL;
	struct rouse_err e = { 0 };

	T_CHECK(t, t_run_module(&r, "files", doc, true, &plan, &e) == 0);
	T_HAS(t, plan,
	      "  + files     make directory /srv/a (0755)\n"
	      "  + files     make directory /srv/a/b (0710)\n");
	T_CHECK(t, mode_of(&r, "/srv/a/b") == (S_IFDIR | 0710));
	T_CHECK(t, mode_of(&r, "/srv/a") == (S_IFDIR | 0755));
	T_CHECK(t, t_run_is_done(&r, "files", doc));
}

/* A mount point has the owner of the filesystem's root until it gets another. */
static void directory_that_is_there_keeps_what_it_holds(struct t *t)
{
	static const char doc[] = DOC("\"/data\":{\"mode\":\"2770\"}");
	auto_t_root struct t_root r = t_root_new();
	auto_free char *plan = NULL, *text = NULL;
	struct rouse_err e = { 0 };

	t_root_write(&r, "/data/kept", "kept", 0600);
	T_CHECK(t, t_run_module(&r, "files", doc, true, &plan, &e) == 0);
	T_HAS(t, plan, "~ files     change directory /data (2770)\n");
	T_CHECK(t, mode_of(&r, "/data") == (S_IFDIR | 02770));
	text = t_root_read(&r, "/data/kept");
	T_STR(t, text, "kept");
	T_CHECK(t, t_run_is_done(&r, "files", doc));
}

static void owner_is_one_of_the_roots_own_accounts(struct t *t)
{
	static const char doc[] = DOC("\"/d\":{\"user\":\"postgres\",\"group\":\"26\"}");
	auto_t_root struct t_root r = t_root_new();
	struct rouse_err e = { 0 };

	if (geteuid() != 0)
		return;
	t_root_write(&r, "/etc/passwd", "postgres:x:1234:26::/:/bin/sh\n", 0644);
	T_CHECK(t, t_run_module(&r, "files", doc, true, NULL, &e) == 0);
	T_CHECK(t, t_root_stat(&r, "/d").st_uid == 1234 && t_root_stat(&r, "/d").st_gid == 26);
	T_CHECK(t, t_run_is_done(&r, "files", doc));
	T_CHECK(t, t_run_module(&r, "files", DOC("\"/d\":{\"user\":\"nobody-here\"}"), true, NULL,
				&e) < 0);
	T_HAS(t, e.text,
	      "'/d' is to belong to user 'nobody-here', which this machine does not have");
}

static void what_is_no_directory_is_refused(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	auto_free char *link = rouse_asprintf("%s/link", r.path);
	struct rouse_err e = { 0 };

	t_root_write(&r, "/file", "x", 0644);
	T_CHECK(t, symlink("/tmp", link) == 0);
	T_CHECK(t, t_run_module(&r, "files", DOC("\"/file\":{}"), true, NULL, &e) < 0);
	T_HAS(t, e.text, "'/file' is a file on this machine, where a directory is wanted");
	T_CHECK(t, t_run_module(&r, "files", DOC("\"/link\":{}"), true, NULL, &e) < 0);
	T_HAS(t, e.text, "'/link' is a symlink");
	T_CHECK(t, t_run_blind(&r, "files", DOC("\"/link\":{\"mode\":\"0777\"}"), &e) < 0);
	T_HAS(t, e.text, "'/link' is a symlink");
}

static void root_that_was_out_of_sight_is_looked_at_again(struct t *t)
{
	static const char doc[] = DOC("\"/srv/a\":{\"mode\":\"0700\"}");
	auto_t_root struct t_root r = t_root_new();
	struct rouse_err e = { 0 };

	T_CHECK(t, t_run_blind(&r, "files", doc, &e) == 0);
	T_CHECK(t, mode_of(&r, "/srv/a") == (S_IFDIR | 0700));
	T_CHECK(t, t_run_blind(&r, "files", doc, &e) == 0);
}

int main(void)
{
	static const struct t_test tests[] = {
		T(directory_is_made_with_what_is_around_it),
		T(directory_that_is_there_keeps_what_it_holds),
		T(owner_is_one_of_the_roots_own_accounts),
		T(what_is_no_directory_is_refused),
		T(root_that_was_out_of_sight_is_looked_at_again),
	};

	return t_run(tests, ARRAY_SIZE(tests));
}
