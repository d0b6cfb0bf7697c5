/* SPDX-License-Identifier: Apache-2.0 */
#include "../lib/tap.h"

#include "../lib/run.h"

#include <rouse/accounts.h>

#define DOC(files) "{\"rouse\":1,\"files\":{" files "}}"

static void file_is_written_and_then_kept(struct t *t)
{
	static const char doc[] = DOC("\"/etc/app/app.conf\":{\"contents\":\"port = 80\\n\"}");
	auto_t_root struct t_root r = t_root_new();
	auto_free char *plan = NULL, *text = NULL;
	struct rouse_err e = { 0 };

	T_CHECK(t, t_run_module(&r, "files", doc, true, &plan, &e) == 0);
	T_HAS(t, plan, "+ files     write /etc/app/app.conf (10 bytes, 0644)\n");
	T_CHECK(t, !strstr(plan, "port"));
	text = t_root_read(&r, "/etc/app/app.conf");
	T_STR(t, text, "port = 80\n");
	T_CHECK(t, (t_root_stat(&r, "/etc/app/app.conf").st_mode & 07777) == 0644);
	T_CHECK(t, t_run_is_done(&r, "files", doc));
}

static void file_with_another_byte_is_changed(struct t *t)
{
	static const char doc[] = DOC("\"/a\":{\"contents\":\"new\"}");
	auto_t_root struct t_root r = t_root_new();
	auto_free char *plan = NULL, *text = NULL;
	struct rouse_err e = { 0 };

	t_root_write(&r, "/a", "old", 0644);
	T_CHECK(t, t_run_module(&r, "files", doc, true, &plan, &e) == 0);
	T_HAS(t, plan, "~ files     write /a (3 bytes, 0644)\n");
	text = t_root_read(&r, "/a");
	T_STR(t, text, "new");
}

static void file_with_another_mode_is_changed(struct t *t)
{
	static const char doc[] = DOC("\"/a\":{\"contents\":\"x\",\"mode\":\"0000\"}");
	auto_t_root struct t_root r = t_root_new();
	struct rouse_err e = { 0 };

	t_root_write(&r, "/a", "x", 0644);
	T_CHECK(t, t_run_module(&r, "files", doc, true, NULL, &e) == 0);
	T_CHECK(t, (t_root_stat(&r, "/a").st_mode & 07777) == 0);
	T_CHECK(t, geteuid() != 0 || t_run_is_done(&r, "files", doc));
}

static void file_keeps_setuid_through_its_owner(struct t *t)
{
	static const char doc[] = DOC("\"/a\":{\"contents\":\"x\",\"mode\":\"6755\"}");
	auto_t_root struct t_root r = t_root_new();
	struct rouse_err e = { 0 };

	T_CHECK(t, t_run_module(&r, "files", doc, true, NULL, &e) == 0);
	T_CHECK(t, (t_root_stat(&r, "/a").st_mode & 07777) == 06755);
	T_CHECK(t, t_run_is_done(&r, "files", doc));
}

static void file_from_base64_has_its_bytes(struct t *t)
{
	static const char doc[] = DOC("\"/a\":{\"base64\":\"AAEC/w==\"}");
	auto_t_root struct t_root r = t_root_new();
	struct rouse_err e = { 0 };

	T_CHECK(t, t_run_module(&r, "files", doc, true, NULL, &e) == 0);
	T_CHECK(t, t_root_stat(&r, "/a").st_size == 4);
	T_CHECK(t, t_run_is_done(&r, "files", doc));
}

static void file_may_be_empty(struct t *t)
{
	static const char doc[] = DOC("\"/a\":{\"contents\":\"\"},\"/b\":{\"base64\":\"\"}");
	auto_t_root struct t_root r = t_root_new();
	struct rouse_err e = { 0 };

	T_CHECK(t, t_run_module(&r, "files", doc, true, NULL, &e) == 0);
	T_CHECK(t, S_ISREG(t_root_stat(&r, "/a").st_mode) && t_root_stat(&r, "/a").st_size == 0);
	T_CHECK(t, S_ISREG(t_root_stat(&r, "/b").st_mode));
	T_CHECK(t, t_run_is_done(&r, "files", doc));
}

static void secret_has_no_size_and_is_private(struct t *t)
{
	static const char doc[] = DOC("\"/a\":{\"contents\":\"hunter2\",\"secret\":true}");
	auto_t_root struct t_root r = t_root_new();
	auto_free char *plan = NULL;
	struct rouse_err e = { 0 };

	T_CHECK(t, t_run_module(&r, "files", doc, true, &plan, &e) == 0);
	T_HAS(t, plan, "write /a (secret, 0600)\n");
	T_CHECK(t, !strstr(plan, "7 bytes"));
	T_CHECK(t, (t_root_stat(&r, "/a").st_mode & 07777) == 0600);
}

static void symlink_is_replaced_not_followed(struct t *t)
{
	static const char doc[] = DOC("\"/a\":{\"contents\":\"new\"}");
	auto_t_root struct t_root r = t_root_new();
	auto_free char *plan = NULL, *text = NULL, *link = rouse_asprintf("%s/a", r.path);
	struct rouse_err e = { 0 };

	t_root_write(&r, "/target", "keep", 0644);
	T_CHECK(t, symlink("target", link) == 0);
	T_CHECK(t, t_run_module(&r, "files", doc, true, &plan, &e) == 0);
	T_HAS(t, plan, "write /a in place of a symlink (3 bytes, 0644)");
	text = t_root_read(&r, "/target");
	T_STR(t, text, "keep");
	T_CHECK(t, S_ISREG(t_root_stat(&r, "/a").st_mode));
}

static void directory_is_refused_while_planning(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	struct rouse_err e = { 0 };

	t_root_write(&r, "/etc/x", "", 0644);
	T_CHECK(t, t_run_module(&r, "files", DOC("\"/etc\":{\"contents\":\"\"}"), false, NULL, &e) <
			   0);
	T_STR(t, e.text,
	      "files: refused: '/etc' is a directory on this machine; only a file or a symlink "
	      "is replaced");
	T_CHECK(t, e.kind == ROUSE_DOCUMENT);
}

static void fifo_is_refused_without_opening_it(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	auto_free char *path = rouse_asprintf("%s/a", r.path);
	struct rouse_err e = { 0 };

	T_CHECK(t, mkfifo(path, 0600) == 0);
	T_CHECK(t,
		t_run_module(&r, "files", DOC("\"/a\":{\"contents\":\"\"}"), false, NULL, &e) < 0);
	T_HAS(t, e.text, "'/a' is a special file");
}

static void parent_that_is_a_file_fails_with_its_name(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	struct rouse_err e = { 0 };

	t_root_write(&r, "/a", "", 0644);
	T_CHECK(t,
		t_run_module(&r, "files", DOC("\"/a/b\":{\"contents\":\"\"}"), true, NULL, &e) < 0);
	T_HAS(t, e.text, "'/a'");
	T_CHECK(t, e.kind == ROUSE_SYSTEM);
}

static void link_of_the_root_does_not_lead_out(struct t *t)
{
	auto_t_root struct t_root r = t_root_new(), outside = t_root_new();
	auto_free char *link = rouse_asprintf("%s/etc", r.path), *text = NULL;
	struct rouse_err e = { 0 };

	t_root_write(&outside, "/passwd", "keep", 0644);
	T_CHECK(t, symlink(outside.path, link) == 0);
	T_CHECK(t, t_run_module(&r, "files", DOC("\"/etc/passwd\":{\"contents\":\"x\"}"), true,
				NULL, &e) < 0 ||
			   t_root_stat(&outside, "/passwd").st_size == 4);
	text = t_root_read(&outside, "/passwd");
	T_STR(t, text, "keep");
}

static void owner_by_name_is_of_the_root(struct t *t)
{
	static const char doc[] = DOC(
		"\"/a\":{\"contents\":\"x\",\"user\":\"app\",\"group\":\"4343\"}");
	auto_t_root struct t_root r = t_root_new();
	auto_free char *plan = NULL;
	struct rouse_err e = { 0 };

	if (geteuid() != 0) {
		T_CHECK(t, t_run_module(&r, "files", doc, false, NULL, &e) < 0);
		T_HAS(t, e.text, "only root can give '/a' to 'app'");
		return;
	}
	t_root_write(&r, "/etc/passwd", "root:x:0:0::/root:/bin/sh\napp:x:4242:4242::/:/bin/sh\n",
		     0644);
	T_CHECK(t, t_run_module(&r, "files", doc, true, &plan, &e) == 0);
	T_HAS(t, plan, "write /a (1 byte, 0644, user app, group 4343)");
	T_CHECK(t, t_root_stat(&r, "/a").st_uid == 4242 && t_root_stat(&r, "/a").st_gid == 4343);
	T_CHECK(t, t_run_is_done(&r, "files", doc));
}

static void symlink_of_a_user_is_not_followed(struct t *t)
{
	static const char doc[] = DOC(
		"\"/home/eve/conf/x\":{\"contents\":\"x\",\"user\":\"1000\"}");
	auto_t_root struct t_root r = t_root_new();
	auto_free char *home = rouse_asprintf("%s/home/eve", r.path),
		       *link = rouse_asprintf("%s/conf", home);
	struct rouse_err e = { 0 };

	if (geteuid() != 0)
		return;
	t_root_write(&r, "/etc/sudoers.d/y", "", 0644);
	t_root_write(&r, "/home/eve/y", "", 0644);
	T_CHECK(t, chown(home, 1000, 1000) == 0 && symlink("/etc/sudoers.d", link) == 0);
	T_CHECK(t, t_run_module(&r, "files", doc, true, NULL, &e) < 0);
	T_HAS(t, e.text, "refused: '/home/eve/conf' is a symlink that a user may have put there");
	T_CHECK(t, t_root_stat(&r, "/etc/sudoers.d/x").st_mode == 0);
}

static void symlink_of_root_is_followed_inside_the_root(struct t *t)
{
	static const char doc[] = DOC("\"/lib/a/b\":{\"contents\":\"x\"}");
	auto_t_root struct t_root r = t_root_new();
	auto_free char *link = rouse_asprintf("%s/lib", r.path), *text = NULL;
	struct rouse_err e = { 0 };

	t_root_write(&r, "/usr/lib/y", "", 0644);
	T_CHECK(t, symlink("/usr/lib", link) == 0);
	T_CHECK(t, t_run_module(&r, "files", doc, true, NULL, &e) == 0);
	text = t_root_read(&r, "/usr/lib/a/b");
	T_STR(t, text, "x");
	T_CHECK(t, S_ISLNK(t_root_stat(&r, "/lib").st_mode));
	T_CHECK(t, t_run_is_done(&r, "files", doc));
}

static void new_directories_belong_to_who_owns_the_one_around(struct t *t)
{
	static const char doc[] = DOC(
		"\"/home/eve/.config/app/x\":{\"contents\":\"x\",\"user\":\"1000\"}");
	auto_t_root struct t_root r = t_root_new();
	auto_free char *home = rouse_asprintf("%s/home/eve", r.path);
	struct rouse_err e = { 0 };

	if (geteuid() != 0)
		return;
	t_root_write(&r, "/home/eve/y", "", 0644);
	T_CHECK(t, chown(home, 1000, 1001) == 0);
	T_CHECK(t, t_run_module(&r, "files", doc, true, NULL, &e) == 0);
	T_CHECK(t, t_root_stat(&r, "/home/eve/.config").st_uid == 1000);
	T_CHECK(t, t_root_stat(&r, "/home/eve/.config/app").st_gid == 1001);
	T_CHECK(t, t_run_is_done(&r, "files", doc));
}

static void file_that_is_right_is_not_written_by_a_blind_plan(struct t *t)
{
	static const char doc[] = DOC(
		"\"/etc/a\":{\"contents\":\"x\"},\"/etc/b\":{\"contents\":\"y\"}");
	auto_t_root struct t_root r = t_root_new();
	auto_free char *b = NULL;
	struct rouse_err e = { 0 };
	ino_t before;

	t_root_write(&r, "/etc/a", "x", 0644);
	before = t_root_stat(&r, "/etc/a").st_ino;
	T_CHECK(t, t_run_blind(&r, "files", doc, &e) == 0);
	T_CHECK(t, t_root_stat(&r, "/etc/a").st_ino == before);
	b = t_root_read(&r, "/etc/b");
	T_STR(t, b, "y");
}

static void unknown_owner_fails_with_advice(struct t *t)
{
	static const char doc[] = DOC("\"/a\":{\"contents\":\"x\",\"user\":\"nobodyhere\"}");
	auto_t_root struct t_root r = t_root_new();
	struct rouse_err e = { 0 };

	if (geteuid() != 0)
		return;
	T_CHECK(t, t_run_module(&r, "files", doc, true, NULL, &e) < 0);
	T_HAS(t, e.text,
	      "'/a' is to belong to user 'nobodyhere', which this machine does not have");
	T_CHECK(t, t_root_stat(&r, "/a").st_mode == 0);
}

static void lines_keep_what_they_do_not_understand(struct t *t)
{
	static const char text[] =
		"# a comment\n\nroot:x:0:0:root:/root:/bin/sh\nbroken\n:::\n+::::::\n";
	struct rouse_lines l = { 0 };
	auto_buf struct rouse_buf out = { 0 };

	T_CHECK(t, rouse_lines_parse(&l, text, sizeof(text) - 1));
	rouse_lines_print(&l, &out);
	T_STR(t, out.data, text);
	rouse_lines_add(&l, "a:x:1:1:::");
	rouse_lines_done(&l);
}

static void lines_are_added_before_nis_entries(struct t *t)
{
	static const char text[] = "root:x:0:\n+::::::\n";
	struct rouse_lines l = { 0 };
	auto_buf struct rouse_buf out = { 0 };

	T_CHECK(t, rouse_lines_parse(&l, text, sizeof(text) - 1));
	rouse_lines_add(&l, "app:x:5:");
	rouse_lines_add_member(&l, "app", ROUSE_GR_MEMBERS, "a");
	rouse_lines_add_member(&l, "app", ROUSE_GR_MEMBERS, "bb");
	rouse_lines_add_member(&l, "app", ROUSE_GR_MEMBERS, "a");
	rouse_lines_print(&l, &out);
	rouse_lines_done(&l);
	T_STR(t, out.data, "root:x:0:\napp:x:5:a,bb\n+::::::\n");
}

static void short_lines_grow_to_the_field_that_is_set(struct t *t)
{
	struct rouse_lines l = { 0 };
	auto_buf struct rouse_buf out = { 0 };

	T_CHECK(t, rouse_lines_parse(&l, "a:x", 3));
	rouse_lines_set(&l, "a", ROUSE_PW_SHELL, "/bin/sh");
	rouse_lines_print(&l, &out);
	rouse_lines_done(&l);
	T_STR(t, out.data, "a:x:::::/bin/sh\n");
}

static void member_is_whole_word(struct t *t)
{
	struct rouse_lines l = { 0 };
	bool part, whole;

	T_CHECK(t, rouse_lines_parse(&l, "g:x:1:alice,bob", 15));
	part = rouse_lines_has_member(&l, "g", ROUSE_GR_MEMBERS, "ali");
	whole = rouse_lines_has_member(&l, "g", ROUSE_GR_MEMBERS, "bob");
	rouse_lines_done(&l);
	T_CHECK(t, !part && whole);
}

static bool run(const struct t_root *r, const char *doc, char **ret_plan)
{
	struct rouse_err e = { 0 };

	free(*ret_plan);
	*ret_plan = NULL;
	return t_run_module(r, "files", doc, true, ret_plan, &e) == 0 &&
	       t_run_is_done(r, "files", doc);
}

static void file_goes_with_its_document(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	auto_free char *plan = NULL;

	T_CHECK(t, run(&r, DOC("\"/etc/a\":{\"contents\":\"1\"},\"/etc/b\":{\"contents\":\"2\"}"),
		       &plan));
	T_CHECK(t, run(&r, DOC("\"/etc/b\":{\"contents\":\"2\"}"), &plan));
	T_HAS(t, plan, "~ files     remove /etc/a, which no document has any more\n");
	T_CHECK(t, !t_root_stat(&r, "/etc/a").st_mode && t_root_stat(&r, "/etc/b").st_mode);
	T_CHECK(t, run(&r, "{\"rouse\":1}", &plan));
	T_CHECK(t, !t_root_stat(&r, "/etc/b").st_mode);
}

static void file_that_was_there_comes_back(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	auto_free char *plan = NULL, *text = NULL, *link = NULL;

	t_root_write(&r, "/etc/a", "of the image", 0640);
	link = rouse_asprintf("%s/etc/b", r.path);
	T_CHECK(t, symlink("a", link) == 0);
	T_CHECK(t, run(&r, DOC("\"/etc/a\":{\"contents\":\"1\"},\"/etc/b\":{\"contents\":\"2\"}"),
		       &plan));
	T_CHECK(t, run(&r, DOC("\"/etc/a\":{\"contents\":\"2\"},\"/etc/b\":{\"contents\":\"2\"}"),
		       &plan));
	T_CHECK(t, run(&r, "{\"rouse\":1}", &plan));
	T_HAS(t, plan, "restore /etc/a as it was before a document had it");
	text = t_root_read(&r, "/etc/a");
	T_STR(t, text, "of the image");
	T_CHECK(t, (t_root_stat(&r, "/etc/a").st_mode & 07777) == 0640);
	T_CHECK(t, S_ISLNK(t_root_stat(&r, "/etc/b").st_mode));
	/* … and nothing of it is kept any longer. */
	free(link);
	link = rouse_asprintf("%s/var/lib/rouse/originals", r.path);
	T_CHECK(t, rmdir(link) == 0);
}

static void file_that_somebody_changed_stays(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	auto_free char *plan = NULL, *text = NULL;

	T_CHECK(t, run(&r, DOC("\"/etc/a\":{\"contents\":\"1\"}"), &plan));
	t_root_write(&r, "/etc/a", "by hand", 0644);
	T_CHECK(t, run(&r, "{\"rouse\":1}", &plan));
	T_HAS(t, plan, "forget /etc/a, and leave it as others have changed it");
	text = t_root_read(&r, "/etc/a");
	T_STR(t, text, "by hand");
}

static void file_of_the_image_is_not_ours(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	auto_free char *plan = NULL;

	t_root_write(&r, "/etc/a", "1", 0644);
	T_CHECK(t, run(&r, DOC("\"/etc/a\":{\"contents\":\"1\"}"), &plan));
	T_CHECK(t, run(&r, "{\"rouse\":1}", &plan));
	T_STR(t, plan, "plan: nothing to change\n");
	T_CHECK(t, t_root_stat(&r, "/etc/a").st_mode);
}

/* Recorded, and not written: the power failed between the two. */
static void file_that_was_never_written_needs_no_undoing(struct t *t)
{
	static const char record[] =
		"{\"files\":{\"/etc/a\":{\"is\":[\"file:0\"],\"was\":{\"type\":\"file\","
		"\"sha256\":\"0\"}},\"/etc/b\":{\"is\":[\"file:0\"]}}}";
	auto_t_root struct t_root r = t_root_new();
	auto_free char *plan = NULL, *text = NULL;

	t_root_write(&r, "/etc/a", "of the image", 0644);
	t_root_write(&r, "/var/lib/rouse/made.json", record, 0600);
	T_CHECK(t, run(&r, "{\"rouse\":1}", &plan));
	text = t_root_read(&r, "/etc/a");
	T_STR(t, text, "of the image");
}

static void file_record_that_is_damaged_is_forgotten(struct t *t)
{
	auto_t_root struct t_root r = t_root_new();
	auto_free char *plan = NULL;

	t_root_write(&r, "/var/lib/rouse/made.json", "{ \"files\": ", 0600);
	T_CHECK(t, run(&r, DOC("\"/etc/a\":{\"contents\":\"1\"}"), &plan));
}

T_MAIN(T(file_is_written_and_then_kept), T(file_with_another_byte_is_changed),
       T(file_with_another_mode_is_changed), T(file_keeps_setuid_through_its_owner),
       T(file_from_base64_has_its_bytes), T(file_may_be_empty),
       T(secret_has_no_size_and_is_private), T(symlink_is_replaced_not_followed),
       T(directory_is_refused_while_planning), T(fifo_is_refused_without_opening_it),
       T(parent_that_is_a_file_fails_with_its_name), T(link_of_the_root_does_not_lead_out),
       T(owner_by_name_is_of_the_root), T(symlink_of_a_user_is_not_followed),
       T(symlink_of_root_is_followed_inside_the_root),
       T(new_directories_belong_to_who_owns_the_one_around),
       T(file_that_is_right_is_not_written_by_a_blind_plan), T(unknown_owner_fails_with_advice),
       T(lines_keep_what_they_do_not_understand), T(lines_are_added_before_nis_entries),
       T(short_lines_grow_to_the_field_that_is_set), T(member_is_whole_word),
       T(file_goes_with_its_document), T(file_that_was_there_comes_back),
       T(file_that_somebody_changed_stays), T(file_of_the_image_is_not_ours),
       T(file_that_was_never_written_needs_no_undoing), T(file_record_that_is_damaged_is_forgotten))
